//! The WASI pause and its images, read by the suite and by programs of other projects.

use std::process::Command;
use tempfile::TempDir;
use xtask::image::wasi::{self as image, Form};
use xtask::wasi::{self, Preview};
use xtask::{link, packages, toolchain};

/// Whether no toolchain here builds for WASI; then it prints that the test is skipped.
fn cannot_build() -> bool {
    let none = toolchain::all(link::WASI_TRIPLE).is_empty();
    if none {
        eprintln!(
            "skipped: no toolchain here builds for {}",
            link::WASI_TRIPLE
        );
    }
    none
}

#[test]
fn the_programs_are_small_and_the_same_each_time() {
    if cannot_build() {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let programs = wasi::programs(folder.path()).expect("they can be built here");
    for program in &programs {
        let size = program.bytes.len();
        assert!(size <= program.preview.budget(), "{size} B: {program:?}");
        assert!(program.bytes.starts_with(b"\0asm"));
    }
    let again = wasi::programs(folder.path()).expect("they can be built here");
    let bytes = |programs: Vec<wasi::Program>| programs.into_iter().map(|p| p.bytes);
    assert!(bytes(programs).eq(bytes(again)));
}

#[test]
fn the_suite_finds_every_image_conformant() {
    if cannot_build() {
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    let written = image::write(folder.path()).expect("it can be built here");
    // This build of the suite cannot run components: that takes a compiler, minutes to build.
    for (preview, options) in [("p1", &[][..]), ("p2", &["--static-only"][..])] {
        let mut suite = xtask::cargo::command();
        suite.args(["run", "--quiet", "--package", "pause-conformance"]);
        suite.args(["--bin", "pause-conformance", "--", "--strict"]);
        suite.args(options);
        let sizes = written.sizes.iter();
        for size in sizes.filter(|size| size.tag.starts_with(preview)) {
            suite.arg("--image");
            suite.arg(format!("oci:{}:{}", written.layout.display(), size.tag));
        }
        let output = suite.output().expect("it starts");
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{report}", output.status);
        assert!(report.contains("conformant"), "{report}");
    }
}

#[test]
fn skopeo_reads_every_form() {
    if cannot_build() {
        return;
    }
    packages::ensure(&["skopeo"]).expect("skopeo");
    let folder = TempDir::new().expect("a temporary folder");
    let written = image::write(folder.path()).expect("it can be built here");
    for preview in Preview::ALL {
        for form in Form::ALL {
            let tag = format!("{}-{}", preview.name(), form.name());
            let reference = format!("oci:{}:{tag}", written.layout.display());
            let raw = |what: &[&str]| {
                let output = Command::new("skopeo")
                    .args(["inspect", "--raw"])
                    .args(what)
                    .arg(&reference)
                    .output()
                    .expect("it starts");
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{tag}: {words}");
                serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
            };
            let config = raw(&["--config"]);
            assert_eq!(config["architecture"], "wasm", "{tag}");
            let manifest = raw(&[]);
            assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
            if form == Form::Artifact {
                assert_eq!(config["os"], preview.os());
                assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
            }
        }
    }
}
