//! The suite's own image: the static program and nothing else, for those who run containers only.

use super::{Names, Written, finish, write_images};
use crate::dist::{self, NAME, notices, program, route, sbom};
use crate::platform::Platform;
use anyhow::{Context as _, Result, bail};
use pause_image::build::{ImageBuilder, Tar};
use serde_json::{Value, json};
use std::path::Path;

const SUITE: Names = Names {
    title: NAME,
    layout: "oci-suite",
    archive: "suite",
};

/// Builds the program for these platforms, or for all that it is packed for, and writes the image of
/// those that can be built here. Returns what cannot beside it, with the hints.
///
/// # Errors
/// A platform that the suite is not packed for, or none that can be built here.
pub fn build(
    targets: Vec<Platform>,
    add_targets: bool,
    out: &Path,
) -> Result<(Written, Vec<String>)> {
    let targets = if targets.is_empty() {
        dist::packed()
    } else {
        targets
    };
    for target in &targets {
        if let Err(error) = dist::parse(target.name) {
            bail!("--target {}: {error}", target.name);
        }
    }
    if add_targets {
        dist::add_targets(&targets)?;
    }
    let built_in = program::built_in()?;
    let mut images = Vec::new();
    let mut missing = Vec::new();
    for target in targets {
        let built = route::find(target).and_then(|route| {
            let program = program::build(&route, &built_in)?;
            let notices = notices::write(&sbom::crates(&route.triple)?)?;
            Ok((target, program.bytes, notices))
        });
        match built {
            Ok(built) => images.push(built),
            Err(error) => missing.push(format!("linux/{}: {error:#}", target.name)),
        }
    }
    if images.is_empty() {
        bail!("not built: {}", missing.join("\n"));
    }
    Ok((write(&images, out)?, missing))
}

/// Writes the image of these programs, each with the licences of others in it, in every form.
pub fn write(programs: &[(Platform, Vec<u8>, String)], out: &Path) -> Result<Written> {
    let license = std::fs::read(crate::workspace().join("LICENSE")).context("read LICENSE")?;
    let images = programs.iter().map(|(platform, program, notices)| {
        let image = single_platform(*platform, program, &license, notices);
        (*platform, program.len(), image)
    });
    write_images(images.collect(), &SUITE, out)
}

/// The image of one platform. The suite decides by itself what it may do as which user, so the image
/// names none.
fn single_platform(
    platform: Platform,
    program: &[u8],
    license: &[u8],
    notices: &str,
) -> ImageBuilder {
    let mut layer = Tar::default();
    layer
        .file(NAME, 0o755, program)
        .directory("licenses/", 0o755)
        .file("licenses/LICENSE", 0o644, license)
        .file("licenses/NOTICES", 0o644, notices.as_bytes())
        // Where large images are written out.
        .directory("tmp/", 0o1777);
    let mut image = ImageBuilder::of_layer(&layer, platform.architecture)
        .set("User", Value::Null)
        .set("Entrypoint", json!([format!("/{NAME}")]))
        .set("WorkingDir", json!("/"));
    finish(&mut image, platform, SUITE.title);
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform;

    #[test]
    fn the_image_starts_the_program_as_whoever_runs_it() {
        let arm64 = platform::parse("arm64").expect("a platform");
        let image = single_platform(arm64, b"program", b"license", "notices");
        assert_eq!(
            image.config["config"]["Entrypoint"],
            json!(["/pause-conformance"])
        );
        assert_eq!(image.config["config"].get("User"), None);
        assert_eq!(image.config["architecture"], "arm64");
        assert_eq!(image.config["variant"], "v8");
        let layer = &image.layers[0].0;
        let mut members = tar::Archive::new(&layer[..]);
        let members = members.entries().expect("an archive").map(|member| {
            let member = member.expect("a member");
            let path = member.path().expect("a path").display().to_string();
            (path, member.header().mode().expect("a mode"))
        });
        let members: Vec<_> = members.collect();
        assert!(members.contains(&("pause-conformance".to_owned(), 0o755)));
        assert!(members.contains(&("tmp/".to_owned(), 0o1777)));
    }

    #[test]
    fn a_platform_that_is_not_packed_is_named() {
        let other = platform::parse("s390x").expect("a platform");
        let error = build(vec![other], false, Path::new("/nowhere")).expect_err("it is not packed");
        assert!(error.to_string().starts_with("--target s390x: "), "{error}");
    }
}
