//! The output of the program itself.

#[path = "common/filter.rs"]
mod filter;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use assert_cmd::Command;
use conformance::programs::REFERENCE;
use conformance::self_test;
use filter::Named;
use libtest_mimic::{Arguments, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;

/// Judges only the file of the reference.
fn suite(folder: &tempfile::TempDir) -> Command {
    let program = folder.path().join("pause");
    std::fs::write(&program, REFERENCE).expect("written");
    let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    suite.args(["--filter", "binary", "--image"]);
    suite.arg(format!("binary:{}", program.display()));
    suite
}

#[test]
fn people_get_colours_where_they_want_them_and_files_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("report");
    let ended = suite(&folder)
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .arg("--report=human")
        .arg(format!("--report=human={}", file.display()))
        .assert()
        .code(0);
    let shown = String::from_utf8_lossy(&ended.get_output().stdout);
    let kept = std::fs::read_to_string(file).expect("it is there");
    assert!(shown.contains("\x1b[1m"), "{shown}");
    assert!(!kept.contains('\x1b'), "{kept}");
    assert_eq!(anstream::adapter::strip_str(&shown).to_string(), kept);
}

/// It is awaited: a SIGTERM that came before would be lost, and say nothing of how it waits.
#[test]
fn a_program_that_computes_first_is_not_failed_for_what_it_answers_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = fixtures::catalogue::slow().next().expect("there is one");
    let program = folder.path().join("slow");
    let bytes = slow
        .build(conformance::programs::FIXTURE)
        .expect("one stamp");
    std::fs::write(&program, bytes).expect("written");
    let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    suite
        .arg("--image")
        .arg(format!("binary:{}", program.display()));
    for check in [
        "signals/term-exits-zero",
        "signals/int-exits-zero",
        "reaping/one-orphan",
        "startup/safe-soon",
    ] {
        suite.args(["--filter", check]);
    }
    let ended = suite.args(["--report", "json"]).assert().code(0);
    let report: serde_json::Value =
        serde_json::from_slice(&ended.get_output().stdout).expect("a report");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let failed = checks.iter().filter(|check| check["verdict"] != "pass");
    let failed: Vec<_> = failed.map(|check| &check["id"]).collect();
    assert_eq!(failed, slow.breaks, "{report:#}");
}

/// By another that is started the same way and followed: nobody waits for the second to be over.
#[rstest]
#[case::of_its_start(
    "respects-ignored-term",
    "signals/blocked-at-exec",
    "(2), without an end"
)]
#[case::of_a_write("blocks-on-stderr", "signals/broken-stderr", "it rests in write(2)")]
#[case::of_a_zombie(
    "forgets-older-zombies",
    "reaping/before-handler",
    "(2), without an end"
)]
fn what_never_comes_is_shown_where_a_program_can_be_followed(
    #[case] name: &str,
    #[case] check: &str,
    #[case] shown: &str,
) {
    let folder = tempfile::tempdir().expect("a folder");
    let judged = judged(&folder, name, check);
    assert_eq!(judged["verdict"], "fail", "{judged:#}");
    assert!(judged.to_string().contains(shown), "{judged:#}");
}

#[rstest]
#[case::or_open_or_at_its_end("startup/stays")]
#[case::or_closed("startup/stays-without-stdin")]
fn one_that_computes_and_cannot_tell_its_streams_is_not_watched_with_each(#[case] check: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let judged = judged(&folder, "never-ready", check);
    assert_eq!(judged["verdict"], "pass", "{judged:#}");
    let shown = "asked for nothing before that has to do with its standard streams";
    assert!(judged.to_string().contains(shown), "{judged:#}");
}

/// The record of one check of a fixture.
fn judged(folder: &tempfile::TempDir, name: &str, check: &str) -> serde_json::Value {
    let mut all = fixtures::all().chain(fixtures::catalogue::hostile());
    let fixture = all.find(|fixture| fixture.name == name);
    let built = fixture.and_then(|it| it.build(conformance::programs::FIXTURE).ok());
    let program = folder.path().join(name);
    std::fs::write(&program, built.expect("it is one of them")).expect("written");
    let ended = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--report", "json", "--filter", check, "--image"])
        .arg(format!("binary:{}", program.display()))
        .output()
        .expect("the suite starts");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("a report");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let judged = checks.iter().find(|it| it["id"] == check);
    judged.expect("made").clone()
}

#[test]
fn each_image_is_judged_as_often_as_is_asked_for_and_the_runs_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = format!("binary:{}", folder.path().join("pause").display());
    let ended = suite(&folder)
        .args(["--repeat", "3", "--report", "json", "--image", &image])
        .assert()
        .code(0);
    let output = ended.get_output();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(6));
    let log = String::from_utf8_lossy(&output.stderr);
    let counted: Vec<_> = log
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        counted,
        ["[1/6]", "[2/6]", "[3/6]", "[4/6]", "[5/6]", "[6/6]"]
    );
}

#[test]
fn the_engine_of_wasi_pauses_is_looked_for_only_where_one_is_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let module = folder.path().join("module.wasm");
    std::fs::write(&module, conformance::wasi_host::SERVER).expect("written");
    let judge = |image: String, filter: &str| {
        Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
            .env("PATH", folder.path())
            .args(["--wasi-engine", "node", "--filter", filter])
            .args(["--image", &image])
            .assert()
    };
    let wasm = || format!("wasm:{}", module.display());
    judge(wasm(), "wasi/program-valid").code(0);
    let refused = judge(wasm(), "wasi/host-holds").code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("--wasi-engine node"), "{said}");
}

#[test]
fn a_self_test_that_is_interrupted_shows_what_it_has_and_that_it_is_not_all() {
    let mut suite = std::process::Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .arg("self-test")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the suite starts");
    let mut told = BufReader::new(suite.stderr.take().expect("it is piped"));
    let mut first = String::new();
    told.read_line(&mut first).expect("text");
    kill(Pid::from_raw(suite.id() as i32), Signal::SIGINT).expect("it is our child");
    let ended = suite.wait_with_output().expect("it is our child");
    let all = self_test::trials().count();
    assert!(first.starts_with(&format!("  1/{all} right ")), "{first}");
    assert_eq!(ended.status.code(), Some(2));
    let matrix = String::from_utf8_lossy(&ended.stdout);
    assert!(matrix.ends_with("; interrupted\n"), "{matrix}");
}

#[test]
fn static_checks_alone_need_no_sandbox_and_every_report_says_that_they_are_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("pause");
    std::fs::write(&program, REFERENCE).expect("written");
    let formats = ["json", "junit", "tap", "markdown", "html", "sarif"];
    let file = |format: &str| folder.path().join(format).display().to_string();
    // No user namespace can be made, and there is no root, who needs none.
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --bounding-set=-all \"$0\" \"$@\"";
    let mut suite = Command::new("unshare");
    suite
        .args(["--user", "--map-root-user", "sh", "-c", forbid])
        .arg(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--static-only", "--report", "human", "--image"])
        .arg(format!("binary:{}", program.display()))
        .args(formats.map(|format| format!("--report={format}={}", file(format))));
    let ended = suite.assert().code(0);
    let human = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    assert!(
        human.ends_with(" checks (--static-only)\n\n") && human.contains("\nconformant in "),
        "{human}"
    );
    for format in formats {
        let text = std::fs::read_to_string(file(format)).expect("it is there");
        assert!(text.contains("no sandbox (--static-only)"), "{text}");
    }
    let json = std::fs::read_to_string(file("json")).expect("it is there");
    let report: serde_json::Value = serde_json::from_str(&json).expect("a report");
    assert_eq!(report["static_only"], true);
    let run = &report["runs"][0];
    assert_eq!(run["static_only"], true);
    assert_eq!(run["conclusion"], "conformant");
    let records = run["checks"].as_array().expect("checks");
    let passed = |id: &str| {
        let is = |record: &&serde_json::Value| record["id"] == id;
        records
            .iter()
            .find(is)
            .map(|record| record["verdict"] == "pass")
    };
    assert_eq!(passed("binary/static"), Some(true));
    assert_eq!(passed("startup/stays"), None);
}

#[test]
fn static_checks_alone_of_what_is_none_are_wrong_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = suite(&folder)
        .args(["--static-only", "--filter", "binary"])
        .assert()
        .code(0);
    drop(ended);
    let program = format!("binary:{}", folder.path().join("pause").display());
    let refused = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--static-only", "--filter", "signals", "--image", &program])
        .assert()
        .code(64);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("--filter signals"), "{said}");
}

/// One check over every fixture takes minutes; one fixture and a wrong name do not.
#[test]
fn a_part_of_the_self_test_is_chosen_by_check_and_by_fixture() {
    let self_test = |args: &[&str]| {
        let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
        let ended = suite.arg("self-test").args(args).assert();
        let output = ended.get_output();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (status, matrix, log) = self_test(&["--check", "wasi/stays", "--fixture", "broken_*"]);
    assert_eq!(status, Some(0), "{matrix}");
    assert!(matrix.contains("  broken_exits "), "{matrix}");
    // It breaks another check.
    assert!(!matrix.contains("  broken_memory_grows "), "{matrix}");
    assert!(log.contains(" right guest broken_memory_grows\n"), "{log}");
    assert!(matrix.contains("; 1 checks, "), "{matrix}");

    let (status, matrix, log) = self_test(&["--fixture", "ignores-term"]);
    assert_eq!(status, Some(0), "{matrix}");
    assert_eq!(log, "  1/1 right program ignores-term\n");
    assert!(matrix.contains("signals/term-exits-zero"), "{matrix}");

    let (status, matrix, log) = self_test(&["--check", "signals/term-exit-zero"]);
    assert_eq!((status, &*matrix), (Some(64), ""));
    assert!(
        log.contains("did you mean signals/term-exits-zero?"),
        "{log}"
    );
}

#[test]
fn a_filter_of_trials_takes_names_kinds_and_checks() {
    let trial = |name: &str, kind: &str, checks: &[&str]| {
        let trial = Trial::test(name, || Ok(())).with_kind(kind);
        Named::new(trial, checks.iter().copied())
    };
    let chosen = |words: &[&str]| {
        let mut arguments = Arguments::from_iter([&["test"], words].concat());
        let trials = [
            trial("ignores-term", "program", &["signals/term-exits-zero"]),
            trial("ignores-int", "program", &["signals/int-exits-zero"]),
            trial("plain", "image", &[]),
        ];
        let chosen = filter::chosen(&mut arguments, trials);
        // `--skip` is applied by the harness.
        let kept = chosen
            .iter()
            .filter(|trial| !arguments.is_filtered_out(trial));
        kept.map(|trial| trial.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[]), ["ignores-term", "ignores-int", "plain"]);
    assert_eq!(chosen(&["ignores-int"]), ["ignores-int"]);
    assert_eq!(chosen(&["image"]), ["plain"]);
    assert_eq!(chosen(&["signals/"]), ["ignores-term", "ignores-int"]);
    assert_eq!(chosen(&["signals/term-exits-zero"]), ["ignores-term"]);
    assert_eq!(
        chosen(&["signals/term-exits-zero", "--exact"]),
        ["ignores-term"]
    );
    assert_eq!(chosen(&["signals/term", "--exact"]), [""; 0]);
    assert_eq!(
        chosen(&["signals/", "--skip", "ignores-term"]),
        ["ignores-int"]
    );
    assert_eq!(chosen(&["nothing"]), [""; 0]);
}

/// REQUIREMENTS.md is what this program lists.
#[test]
fn the_page_of_requirements_is_up_to_date() {
    let ended = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["list", "--format", "markdown"])
        .assert()
        .code(0);
    let listed = String::from_utf8_lossy(&ended.get_output().stdout).into_owned();
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/REQUIREMENTS.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    assert!(page == listed, "it is not; try: cargo xtask requirements");
}
