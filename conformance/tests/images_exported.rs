//! Images of engines' stores, from programs that export as podman and ctr do, and from ones that do
//! not. Those engines themselves are asked in xtask's tests.

mod common;
#[path = "common/script.rs"]
mod script;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Elf, host};
use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use conformance::subject::{Error, LoadOptions, Reference, Subject, load};
use rstest::rstest;

const STORES: [(&str, &str); 2] = [("containers-storage", "podman"), ("containerd", "ctr")];

/// A folder in which `program` is this script.
fn folder(program: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("#!/bin/sh\n{script}\n");
    script::write(&folder.path().join(program), &text);
    folder
}

fn options(programs: &Path) -> LoadOptions {
    LoadOptions {
        stall: Duration::from_millis(100),
        programs: Some(programs.to_owned()),
        ..LoadOptions::default()
    }
}

fn pull(text: &str, options: &LoadOptions) -> Result<Vec<Subject>, Error> {
    let reference: Reference = text.parse()?;
    load(&reference, options)
}

fn image() -> ImageBuilder {
    ImageBuilder::pause(&Elf::of(62).bytes(), &host())
}

#[rstest]
#[case::podman(
    "containers-storage:pause",
    "podman",
    "save --quiet --format docker-archive -- pause",
    image().docker_archive("localhost/pause:3.10")
)]
#[case::podman_by_id(
    "containers-storage:73ce2f4e4beb",
    "podman",
    "save --quiet --format docker-archive -- 73ce2f4e4beb",
    image().docker_archive("localhost/pause:3.10")
)]
#[case::containerd(
    "containerd:registry.k8s.io/pause:3.10",
    "ctr",
    "--namespace k8s.io images export - registry.k8s.io/pause:3.10",
    LayoutBuilder::single(&image(), "3.10").archive("")
)]
#[case::cri(
    "cri:pause:3.10",
    "ctr",
    "--namespace k8s.io images export - docker.io/library/pause:3.10",
    LayoutBuilder::single(&image(), "3.10").archive("")
)]
fn an_image_of_a_store_is_read(
    #[case] text: &str,
    #[case] program: &str,
    #[case] args: &str,
    #[case] archive: Vec<u8>,
) {
    let script = "cd \"${0%/*}\"; echo \"$*\" > args; echo noise >&2; cat archive";
    let folder = folder(program, script);
    fs::write(folder.path().join("archive"), archive).expect("a file");
    let subjects = pull(text, &options(folder.path())).expect("the image");
    assert_eq!(subjects.len(), 1);
    assert!(subjects[0].program.is_ok());
    let version = subjects[0].version().map(|version| version.to_string());
    assert_eq!(version.as_deref(), Some("3.10"));
    let asked = fs::read_to_string(folder.path().join("args")).expect("it was asked");
    assert_eq!(asked.trim_end(), args);
}

#[rstest]
#[case::says_why(
    "echo one >&2; printf '\\033[31mno such image\\n' >&2; exit 125",
    "\\x1b[31mno such image"
)]
#[case::says_nothing("exit 3", "ended with status 3")]
#[case::dies("kill -9 $$", "killed by signal 9")]
#[case::says_why_too_late("printf half; echo broken store >&2; exit 1", "broken store")]
#[case::is_silent("exec sleep 60", "nothing within 800ms")]
#[case::does_not_end("exec >&-; exec sleep 60", "nothing within 800ms")]
fn a_program_that_fails_is_an_error_in_time(#[case] script: &str, #[case] words: &str) {
    for (store, program) in STORES {
        let folder = folder(program, script);
        let start = Instant::now();
        let error = pull(&format!("{store}:pause:3.10"), &options(folder.path()));
        let error = error.expect_err("there is no image");
        let line = error.to_string();
        assert!(line.starts_with(&format!("{store}:")), "{line}");
        assert!(line.contains(words), "{line}");
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("lists")),
            "{line}"
        );
        assert!(start.elapsed() < Duration::from_secs(20), "{line}");
    }
}

#[test]
fn what_is_no_archive_or_too_much_is_refused() {
    for (store, program) in STORES {
        let text = format!("{store}:pause:3.10");
        let short = folder(program, "echo no archive");
        let error = pull(&text, &options(short.path())).expect_err("it is none");
        assert!(error.to_string().contains("not a tar archive"), "{error}");

        let endless = folder(program, "exec cat /dev/zero");
        let mut options = options(endless.path());
        options.limits.stored = 1 << 20;
        let error = pull(&text, &options).expect_err("it has no end");
        assert!(
            error.to_string().contains("more than 1048576 bytes from"),
            "{error}"
        );
    }
}

#[test]
fn where_there_is_no_program_the_hint_names_it() {
    let empty = tempfile::tempdir().expect("a folder");
    for (store, program) in STORES {
        let error = pull(&format!("{store}:pause"), &options(empty.path()));
        let error = error.expect_err("there is none");
        let hint = error.hint().unwrap_or_default();
        assert!(
            error
                .to_string()
                .contains(&format!("{program}: no such file")),
            "{error}"
        );
        assert!(hint.contains(&format!("install {program}")), "{hint}");
    }
}

/// What a user names becomes an argument of a program.
#[rstest]
#[case("containers-storage:--root=/x")]
#[case("containers-storage:[vfs@/x]pause")]
#[case("containers-storage:")]
#[case("containerd:-x")]
#[case("cri:")]
fn what_is_no_name_reaches_no_program(#[case] text: &str) {
    assert!(text.parse::<Reference>().is_err());
}
