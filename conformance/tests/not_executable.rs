//! Programs that the kernel does not execute, or that crash at once: each is judged within three
//! seconds, and no check ends in error.

mod common;

use std::time::Duration;

use common::host;
use common::suite;
use conformance::programs::REFERENCE;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Tar};
use rstest::rstest;
use serde_json::{Value, json};

/// How long a run may take on an idle machine.
const TIME: Duration = Duration::from_secs(3);

/// The ids of the checks that failed.
fn failures(name: &str, image: &ImageBuilder) -> Vec<String> {
    let folder = suite::folder(&format!("not-executable-{name}"));
    LayoutBuilder::single(image, "3.10")
        .write(&folder.join("image"))
        .expect("writing");
    let report = folder.join("report.json");
    std::fs::write(&report, "").expect("writing");
    let mut command = suite::program();
    command.args(["--image", "oci:image", "--report", "json=report.json"]);
    let ended = suite::run(command, &folder);
    let text = std::fs::read_to_string(report).expect("a report");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let with = |verdict: &str| -> Vec<String> {
        let of = checks.iter().filter(|check| check["verdict"] == verdict);
        of.map(|check| check["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(with("error"), [""; 0], "{text}");
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let took = ended.took;
    assert!(
        took <= TIME || took <= TIME.mul_f64(2.0 * suite::load()),
        "{took:?}"
    );
    with("fail")
}

/// An image of this file as /pause.
fn image(mode: u32, program: &[u8]) -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause", mode, program);
    ImageBuilder::of_layer(&layer, &host()).set("Entrypoint", json!(["/pause"]))
}

/// The reference with some bytes of its 64-bit ELF header changed.
fn edited(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut program = REFERENCE.to_vec();
    program[offset..offset + bytes.len()].copy_from_slice(bytes);
    program
}

/// The second program header: its address and its size in memory.
const ADDRESS: usize = 64 + 56 + 0x10;
const MEMORY: usize = 64 + 56 + 0x28;

#[rstest]
#[case::no_format(b"pause".to_vec())]
#[case::nothing(Vec::new())]
#[case::a_script_that_names_itself(b"#!/pause\n".to_vec())]
#[case::a_script_without_its_shell(b"#!/bin/sh\nsleep infinity\n".to_vec())]
#[case::an_elf_header_cut_off(REFERENCE[..50].to_vec())]
#[case::program_headers_cut_off(REFERENCE[..80].to_vec())]
#[case::more_program_headers_than_there_may_be(edited(56, &[0xff, 0xff]))]
#[case::program_headers_of_another_size(edited(54, &[57, 0]))]
#[case::an_address_that_no_program_has(edited(ADDRESS, &[0xff; 8]))]
#[case::more_memory_than_there_is(edited(MEMORY, &[0, 0, 0, 0, 0, 0x7f, 0, 0]))]
#[case::an_entry_where_nothing_is(edited(24, &[0; 8]))]
fn a_program_that_cannot_run_fails_at_once(#[case] program: Vec<u8>) {
    let name = std::thread::current()
        .name()
        .unwrap_or("case")
        .replace("::", "-");
    let failed = failures(&name, &image(0o755, &program));
    assert!(failed.iter().any(|id| id == "startup/stays"), "{failed:?}");
}

#[test]
fn a_program_without_its_loader_fails_at_once() {
    let mut mutations = fixtures::elf_mutations::MUTATIONS.iter();
    let mutation = mutations.find(|it| it.name == "declares-interpreter");
    let program = mutation
        .expect("one of them")
        .apply(REFERENCE)
        .expect("it fits");
    let failed = failures("no-loader", &image(0o755, &program));
    assert_eq!(failed, ["binary/static", "startup/stays"]);
}

/// A program that only root may execute needs root's uid, and the check on that fails.
#[test]
fn a_program_for_root_alone_needs_the_uid_of_root() {
    let image = image(0o750, REFERENCE).set("User", json!("65535:65535"));
    let failed = failures("mode-0750", &image);
    assert_eq!(
        failed,
        ["image/program-mode", "startup/stays", "startup/any-uid"]
    );
}

/// No runtime starts a program whose strings or paths the kernel would refuse.
#[rstest]
#[case::a_slash_behind_the_program("Entrypoint", json!(["/pause/"]))]
#[case::a_nul_in_its_name("Entrypoint", json!(["/pause\0"]))]
#[case::a_nul_in_an_argument("Cmd", json!(["a\0b"]))]
#[case::a_nul_in_a_variable("Env", json!(["A=b\0c"]))]
#[case::a_nul_in_the_working_directory("WorkingDir", json!("/\0"))]
fn what_no_kernel_takes_fails_the_entrypoint(#[case] field: &str, #[case] value: Value) {
    let image = ImageBuilder::pause(REFERENCE, &host()).set(field, value.clone());
    let name = format!("{field}-{}", value.to_string().len());
    let failed = failures(&name, &image);
    assert!(
        failed.iter().any(|id| id == "image/entrypoint-set"),
        "{failed:?}"
    );
    assert!(!failed.iter().any(|id| id == "startup/stays"), "{failed:?}");
}
