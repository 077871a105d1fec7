//! Static checks over subjects that are no image of the self-test's table, in which each
//! such check is broken: see `conformance::self_test`.

mod common;

use std::collections::BTreeSet;

use common::{Elf, failures, load_archive, load_text};
use conformance::check::Needs;
use conformance::context::CheckOptions;
use conformance::subject::Platforms;
use conformance::subject::build::ImageBuilder;

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
    assert!(!subjects[0].offers().contains(Needs::IMAGE));
    assert!(subjects[0].offers().contains(Needs::ELF));
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
