//! `cargo xtask dist`: the suite as a static program, packed for those who have no checkout.
//!
//! The same sources and compiler give the same bytes: archives hold no times, no owners and no names
//! of folders.

pub mod archive;
pub mod content;
pub mod debian;
pub mod notices;
pub mod program;
pub mod route;
pub mod sbom;

use crate::platform::{self, Platform};
use crate::toolchain;
use anyhow::{Context as _, Result, ensure};
use content::Content;
use pause_image::build::Packing;
use program::Program;
use route::Route;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The name of the program and of its packages.
pub const NAME: &str = "pause-conformance";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The architectures that the suite is packed for.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// An archive may have this many bytes at most.
const BUDGET: usize = 20 << 20;

/// Arguments of `dist`.
#[derive(Debug, clap::Args)]
pub struct Dist {
    /// Pack for these only: amd64, arm64
    #[arg(long = "target", value_name = "ARCH", value_parser = parse, value_delimiter = ',')]
    targets: Vec<Platform>,
    /// Write archives, Debian packages, bills of material and SHA256SUMS to DIR
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Have rustup add targets that no toolchain here builds for
    #[arg(long)]
    add_targets: bool,
}

/// An architecture that the suite is packed for.
pub fn parse(text: &str) -> Result<Platform, String> {
    let packed = |platform: &Platform| ARCHITECTURES.contains(&platform.name);
    let known = platform::parse(text).ok().filter(packed);
    known.ok_or_else(|| {
        let names = ARCHITECTURES.join(", ");
        format!("the suite is not packed for it, only for {names}")
    })
}

/// The platforms of [`ARCHITECTURES`].
pub fn packed() -> Vec<Platform> {
    let all = platform::ALL.into_iter();
    all.filter(|it| ARCHITECTURES.contains(&it.name)).collect()
}

/// Has rustup add the musl targets of those platforms that nothing here builds for.
pub fn add_targets(targets: &[Platform]) -> Result<()> {
    let missing = targets.iter().filter(|it| route::find(**it).is_err());
    let triples: Vec<String> = missing.map(route::musl).collect();
    let triples: Vec<&str> = triples.iter().map(String::as_str).collect();
    toolchain::add_targets(&triples)
}

impl Dist {
    /// Packs what can be built here. The error names what cannot.
    pub fn run(self) -> Result<()> {
        let targets = if self.targets.is_empty() {
            packed()
        } else {
            self.targets
        };
        if self.add_targets {
            add_targets(&targets)?;
        }
        let built_in = program::built_in()?;
        let pages = program::pages()?;
        let mut written = Vec::new();
        let mut missing = Vec::new();
        for target in targets {
            let files = route::find(target).and_then(|route| {
                let program = program::build(&route, &built_in)?;
                write(&route, &program, pages.path(), &self.out)
            });
            match files {
                Ok(files) => written.extend(files),
                Err(error) => missing.push(format!("linux/{}: {error:#}", target.name)),
            }
        }
        if !written.is_empty() {
            sums(&written, &self.out)?;
        }
        ensure!(missing.is_empty(), "not packed: {}", missing.join("\n"));
        Ok(())
    }
}

/// Packs one program in every form, and prints the size of each file.
fn write(route: &Route, program: &Program, pages: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let crates = sbom::crates(&route.triple)?;
    let sbom = sbom::write(route, program, &crates)?;
    let notices = notices::write(&crates)?;
    let content = Content::gather(&program.bytes, pages, &sbom, &notices)?;
    let architecture = route.platform.name;
    let folder = format!("{NAME}-{VERSION}-linux-{architecture}");

    let tar = Packing::SmallGzip.pack(&archive::write(&content, &folder).finish());
    ensure!(
        tar.len() <= BUDGET,
        "the archive has {} B, of {BUDGET} B that it may have",
        tar.len()
    );
    let files = [
        (format!("{folder}.tar.gz"), tar),
        (
            format!("{NAME}_{VERSION}_{architecture}.deb"),
            debian::write(&content, architecture),
        ),
        (format!("{folder}.cdx.json"), sbom),
    ];
    println!(
        "{:>9} B  {NAME} for linux/{architecture}, {}",
        program.bytes.len(),
        route.name()
    );
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = out.join(name);
        std::fs::write(&path, &bytes).with_context(|| format!("write {}", path.display()))?;
        println!("{:>9} B  {}", bytes.len(), path.display());
        paths.push(path);
    }
    Ok(paths)
}

/// Writes `SHA256SUMS` for these files, as sha256sum(1) checks it.
fn sums(files: &[PathBuf], out: &Path) -> Result<()> {
    let mut text = String::new();
    for path in files {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(text, "{}  {name}", sha256(&bytes))?;
    }
    let path = out.join("SHA256SUMS");
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("{:>11}  {}", "", path.display());
    Ok(())
}

/// In hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut text, byte| {
        // Text can always be written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_packed_can_be_asked_for() {
        let name = |text| parse(text).map(|platform| platform.name);
        assert_eq!(name("linux/arm64"), Ok("arm64"));
        assert_eq!(name("x86_64-unknown-linux-gnu"), Ok("amd64"));
        for other in ["s390x", "vax", ""] {
            let error = name(other).expect_err("it is not packed");
            assert!(error.contains("amd64, arm64"), "{error}");
        }
        assert_eq!(packed().len(), ARCHITECTURES.len());
    }

    /// A reader copies the commands.
    #[test]
    fn the_pages_name_this_version() {
        for (page, name) in [
            ("README.md", format!("{NAME}:{VERSION}")),
            ("conformance/docs/INSTALL.md", format!("{NAME}:{VERSION}")),
            ("conformance/docs/CI.md", format!("{NAME}@v{VERSION}")),
        ] {
            let text = std::fs::read_to_string(crate::workspace().join(page));
            assert!(text.expect("it is there").contains(&name), "{page}: {name}");
        }
    }

    /// FIPS 180-4, the digest of "abc".
    #[test]
    fn a_sum_is_as_the_standard_has_it() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }
}
