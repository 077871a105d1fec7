//! `--baseline`: a check fails the run only if the baseline, the last release, passes it.

mod common;

use std::fs;
use std::path::Path;

use common::suite::{self, Ended};
use common::{Elf, host};
use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use fixtures::catalogue;
use rstest::rstest;
use serde_json::Value;

/// The reference, and a sound program with more than one thread, which fails a SHOULD.
fn write_images(folder: &Path) {
    let two_threads = catalogue::all()
        .find(|it| it.name == "wait-thread")
        .expect("a fixture")
        .build(conformance::programs::FIXTURE)
        .expect("one stamp");
    for (name, program) in [
        ("reference", conformance::programs::REFERENCE),
        ("threads", &two_threads),
    ] {
        LayoutBuilder::single(&ImageBuilder::pause(program, &host()), "3.10")
            .write(&folder.join(name))
            .expect("writing");
    }
    for (name, machine) in [("amd64", 62), ("arm64", 183)] {
        fs::write(folder.join(name), Elf::of(machine).bytes()).expect("writing");
    }
}

fn judge(name: &str, arguments: &[&str]) -> (Ended, Value) {
    let folder = suite::folder(&format!("baseline-{name}"));
    write_images(&folder);
    fs::write(folder.join("report.json"), "").expect("writing");
    let mut command = suite::program();
    command
        .args(arguments)
        .args(["--report", "human", "--report", "json=report.json"]);
    let ended = suite::run(command, &folder);
    let report = fs::read(folder.join("report.json")).unwrap_or_default();
    (ended, serde_json::from_slice(&report).unwrap_or_default())
}

#[rstest]
#[case::worse("threads", Some("reference"), 1, "worse     pid1/single-thread")]
#[case::better("reference", Some("threads"), 0, "better    pid1/single-thread")]
#[case::alike(
    "threads",
    Some("threads"),
    0,
    "alike     every check that passes on the baseline passes here"
)]
#[case::alone("threads", None, 0, "conformant")]
fn what_the_baseline_passes_must_pass(
    #[case] image: &str,
    #[case] baseline: Option<&str>,
    #[case] status: i32,
    #[case] line: &str,
) {
    let name = format!("{image}-{}", baseline.unwrap_or("alone"));
    let image = format!("oci:{image}");
    let mut arguments = vec![
        "--image",
        &image,
        "--filter",
        "pid1",
        "--filter",
        "resources",
    ];
    let baseline = baseline.map(|it| format!("oci:{it}"));
    if let Some(baseline) = &baseline {
        arguments.extend(["--baseline", baseline]);
    }
    let (ended, report) = judge(&name, &arguments);
    assert_eq!(ended.status, Some(status), "{}", ended.stdout);
    assert!(
        ended.stdout.lines().any(|it| it.trim().starts_with(line)),
        "{}",
        ended.stdout
    );
    // A fault of the baseline fails no check of the image.
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["image"], *image);
    let measured = &runs[0]["baseline"]["measurements"]["program_size"]["value"];
    assert_eq!(measured.is_number(), baseline.is_some(), "{measured}");
}

#[test]
fn a_platform_that_the_baseline_lacks_is_compared_with_nothing() {
    let arguments = ["--image", "binary:amd64", "--baseline", "binary:arm64"];
    let static_checks = ["--filter", "binary/static"];
    let (ended, report) = judge("platform", &[arguments.as_slice(), &static_checks].concat());
    assert_eq!(ended.status, Some(0), "{}{}", ended.stdout, ended.stderr);
    let run = &report["runs"][0];
    assert_eq!(run["baseline"]["error"], "it has no image for linux/amd64");
    assert_eq!(run["checks"][0]["baseline"], Value::Null);
}

#[test]
fn a_baseline_that_cannot_be_read_is_named() {
    let arguments = ["--image", "oci:reference", "--baseline", "oci:missing"];
    let (ended, _) = judge("missing", &arguments);
    assert_eq!(ended.status, Some(2));
    assert!(
        ended.stderr.contains("missing: no such folder"),
        "{}",
        ended.stderr
    );
}

/// What was measured in one round says nothing of the next.
#[test]
fn each_round_measures_times_anew() {
    let checks = ["signals/term-latency", "startup/time-to-ready"];
    let mut arguments = vec!["--image", "oci:reference", "--baseline", "oci:reference"];
    arguments.extend(checks.iter().flat_map(|check| ["--filter", check]));
    let (ended, report) = judge("rounds", &arguments);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let run = &report["runs"][0];
    for measured in [&run["measurements"], &run["baseline"]["measurements"]] {
        for name in ["term_latency", "time_to_ready"] {
            let rounds = measured[name]["rounds"].as_array().expect("rounds");
            assert!(rounds.len() >= 10, "{name}: {rounds:?}");
            let alike = rounds.iter().all(|median| *median == rounds[0]);
            assert!(!alike, "{name}: {rounds:?}");
        }
    }
}

/// Times of the same program, in turn: no difference is ever shown, of times, memory or sizes.
#[test]
fn an_image_is_not_different_from_itself() {
    let folder = suite::folder("baseline-itself");
    write_images(&folder);
    for _ in 0..3 {
        let mut command = suite::program();
        command.args(["--image", "oci:reference", "--baseline", "oci:reference"]);
        command.args([
            "--filter",
            "signals/term-latency",
            "--filter",
            "resources/memory",
        ]);
        let ended = suite::run(command, &folder);
        assert_eq!(ended.status, Some(0), "{}{}", ended.stdout, ended.stderr);
        let measured = |name: &str| {
            let line = ended.stdout.lines().find(|it| it.trim().starts_with(name));
            line.unwrap_or_else(|| panic!("no {name}: {}", ended.stdout))
        };
        for name in ["term_latency ", "rss ", "program_size ", "image_size "] {
            let line = measured(name);
            let alike = ["no difference shown)", "(baseline the same)"];
            assert!(alike.iter().any(|words| line.contains(words)), "{line}");
        }
    }
}
