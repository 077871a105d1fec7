//! Static checks on images that the self-test's table does not have. The images of that table break
//! each static check: see `conformance::self_test`.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::{Elf, failures, load_archive, load_text};
use conformance::context::CheckOptions;
use conformance::subject::Platforms;
use conformance::subject::Traits;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use rstest::rstest;
use serde_json::json;

// EM_X86_64 of elf(5).
const AMD64: u16 = 62;

fn sound() -> ImageBuilder {
    ImageBuilder::pause(&Elf::of(AMD64).bytes(), "amd64")
}

#[test]
fn a_bare_program_skips_the_image_checks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pause");
    std::fs::write(&path, Elf::of(AMD64).bytes()).expect("writing the program");
    let subjects = load_text(path.to_str().expect("UTF-8"), Platforms::Host).expect("a program");
    assert!(!subjects[0].traits().contains(Traits::IMAGE));
    assert!(subjects[0].traits().contains(Traits::ELF));
    assert_eq!(
        failures(&subjects[0], &CheckOptions::default()),
        BTreeSet::new()
    );
}

#[test]
fn a_docker_archive_is_judged_as_an_image() {
    let archive = sound().docker_archive("pause:3.10");
    let subjects = load_archive("docker-archive", &archive).expect("an image");
    assert_eq!(
        subjects[0]
            .version()
            .map(|version| version.to_string())
            .as_deref(),
        Some("3.10")
    );
    assert_eq!(
        failures(&subjects[0], &CheckOptions::default()),
        BTreeSet::new()
    );
}

/// Container engines accept further gzip streams after the first, and nothing else.
#[rstest]
#[case::nothing(0, b"", false)]
#[case::a_stream(1, b"", false)]
#[case::a_zero(0, b"\0", true)]
#[case::zeros(0, &[0; 512], true)]
#[case::garbage(0, b"garbage behind it", true)]
#[case::half_a_header(0, b"\x1f\x8b", true)]
#[case::zeros_behind_a_stream(1, &[0; 512], true)]
fn what_is_behind_a_layer_is_refused_where_umoci_refuses_it(
    #[case] streams: usize,
    #[case] tail: &[u8],
    #[case] refused: bool,
) {
    let mut layer = Tar::default();
    layer.file("pause", 0o755, &Elf::of(AMD64).bytes());
    let mut stored = Packing::Gzip.pack(&layer.finish());
    stored.extend(Packing::Gzip.pack(b"").repeat(streams));
    stored.extend_from_slice(tail);
    let image = ImageBuilder::of_layer(&layer, "amd64").stored_as("+gzip", stored);
    let layout = LayoutBuilder::single(&image, "x");
    let found = failures(&common::subject(&layout), &CheckOptions::default());
    assert_eq!(found.contains("image/layers-clean"), refused, "{found:?}");
    if !common::has("umoci") || !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    layout.write(&folder.path().join("image")).expect("written");
    let output = Command::new("umoci")
        .args(["unpack", "--image", "image:x", "bundle"])
        .current_dir(folder.path())
        .output()
        .expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), !refused, "{words}");
}

/// An image of these files, judged by its static checks.
fn failures_of(fill: impl FnOnce(&mut Tar)) -> BTreeSet<String> {
    let mut layer = Tar::default();
    fill(&mut layer);
    let image = ImageBuilder::of_layer(&layer, "amd64");
    let subject = common::subject(&LayoutBuilder::single(&image, "3.10"));
    failures(&subject, &CheckOptions::default())
}

#[test]
fn the_c_library_of_musl_is_its_loader() {
    let program = |interpreter, needed: &[&'static str]| Elf {
        interpreter: Some(interpreter),
        needed: needed.to_vec(),
        ..Elf::of(AMD64)
    };
    let musl = "/lib/ld-musl-x86_64.so.1";
    for needed in [
        &["libc.so"][..],
        &["libc.musl-x86_64.so.1", "libpthread.so.0"],
    ] {
        let failed = failures_of(|layer| {
            layer
                .file("pause", 0o755, &program(musl, needed).bytes())
                .file("lib/ld-musl-x86_64.so.1", 0o755, &Elf::of(AMD64).bytes());
        });
        assert_eq!(failed, BTreeSet::new(), "{needed:?}");
    }
    let other = failures_of(|layer| {
        layer
            .file("pause", 0o755, &program(musl, &["libcap.so.2"]).bytes())
            .file("lib/ld-musl-x86_64.so.1", 0o755, &Elf::of(AMD64).bytes());
    });
    assert_eq!(other, BTreeSet::from(["binary/static".to_owned()]));
    let glibc = failures_of(|layer| {
        let loader = "/lib64/ld-linux-x86-64.so.2";
        layer
            .file("pause", 0o755, &program(loader, &["libc.so"]).bytes())
            .file("lib64/ld-linux-x86-64.so.2", 0o755, &Elf::of(AMD64).bytes());
    });
    assert_eq!(glibc, BTreeSet::from(["binary/static".to_owned()]));
}

/// Docker 25 writes a layout without names if an image is saved by its id.
fn saved_by_id() -> Vec<u8> {
    let layout = LayoutBuilder::single(&sound(), "3.10");
    let mut archive = Tar::default();
    let named = |name: &str| name != "index.json";
    let files = layout.files();
    for (name, bytes) in files.iter().filter(|(name, _)| named(name)) {
        archive.file(name, 0o644, bytes);
    }
    let blob = |starts: &[u8]| {
        let mut found = files.iter();
        let found = found.find(|(_, bytes)| bytes.starts_with(starts));
        found.expect("a blob").0.clone()
    };
    let manifest = json!([{
        "Config": blob(b"{\"architecture"),
        "RepoTags": null,
        "Layers": [blob(&[0x1f, 0x8b])],
    }]);
    archive
        .file(
            "index.json",
            0o644,
            br#"{"schemaVersion":2,"manifests":null}"#,
        )
        .file("manifest.json", 0o644, manifest.to_string().as_bytes());
    archive.finish()
}

#[test]
fn what_docker_saves_by_id_is_read_by_its_manifest_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pause.tar");
    std::fs::write(&path, saved_by_id()).expect("writing");
    let path = path.to_str().expect("UTF-8");
    for reference in [path.to_owned(), format!("docker-archive:{path}")] {
        let subjects = load_text(&reference, Platforms::Host).expect("an image");
        let failed = failures(&subjects[0], &CheckOptions::default());
        assert_eq!(failed, BTreeSet::new(), "{reference}");
    }
    let error = load_text(&format!("oci-archive:{path}"), Platforms::Host).expect_err("no image");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("docker-archive:FILE"), "{error}: {hint}");
}

#[test]
fn an_image_that_does_not_say_its_platform_is_for_what_its_program_is_for() {
    for field in ["architecture", "os"] {
        let mut image = sound();
        image.config[field] = json!(null);
        let folder = tempfile::tempdir().expect("a folder");
        let layout = LayoutBuilder::single(&image, "3.10");
        layout.write(folder.path()).expect("writing");
        let reference = format!("oci:{}", folder.path().display());
        for asked in ["linux/amd64", "linux/arm64"] {
            let asked = Platforms::List(vec![asked.parse().expect("a platform")]);
            let subjects = load_text(&reference, asked).expect("an image");
            assert_eq!(subjects[0].platform.to_string(), "linux/amd64");
            let failed = failures(&subjects[0], &CheckOptions::default());
            assert_eq!(
                failed,
                BTreeSet::from(["image/platform-declared".to_owned()])
            );
        }
    }
}
