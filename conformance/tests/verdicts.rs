//! What a verdict says of itself: of which part of the checks it is, what this host could not judge,
//! why nothing was judged, and the command that shows a failure again.

mod common;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::suite;
use conformance::checks::FAMILIES;
use conformance::programs::{FIXTURE, REFERENCE};
use fixtures::catalogue;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use serde_json::Value;

const FORMATS: [&str; 9] = [
    "human", "json", "junit", "tap", "markdown", "html", "github", "gitlab", "sarif",
];

/// A folder with the reference, and a program that ignores SIGTERM and has two threads' names.
fn folder(name: &str) -> PathBuf {
    let folder = suite::folder(&format!("verdicts-{name}"));
    std::fs::write(folder.join("pause"), REFERENCE).expect("written");
    for broken in ["ignores-term", "wait-thread"] {
        let fixture = catalogue::all().find(|it| it.name == broken);
        let program = fixture.expect("a fixture").build(FIXTURE);
        std::fs::write(folder.join(broken), program.expect("one stamp")).expect("written");
    }
    folder
}

fn judge(folder: &Path, line: &str) -> Output {
    command(folder, line).output().expect("it starts")
}

fn command(folder: &Path, line: &str) -> Command {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    suite
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env_remove("PAUSE_CONFORMANCE_COMMAND")
        .env_remove("PAUSE_CONFORMANCE_PROGRAMS")
        .env_remove("GITHUB_STEP_SUMMARY")
        .args(line.split_whitespace());
    suite
}

/// Every report that can be asked for, each in a file of its format's name.
fn in_all_formats() -> String {
    let report = |format: &str| format!(" --report {format}={format}.report");
    FORMATS.map(report).concat()
}

fn report(folder: &Path, format: &str) -> String {
    std::fs::read_to_string(folder.join(format!("{format}.report"))).expect("it is there")
}

fn json(folder: &Path) -> Value {
    let report: Value = serde_json::from_str(&report(folder, "json")).expect("JSON");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report-v1.json");
    let schema = std::fs::read_to_string(schema).expect("the schema");
    let schema = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator.iter_errors(&report).collect();
    assert!(errors.is_empty(), "{errors:?}");
    report
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The status with which a shell ends a command.
fn shell(folder: &Path, command: &str) -> Option<i32> {
    let mut shell = Command::new("bash");
    shell.args(["-c", command]).current_dir(folder);
    shell.output().expect("bash starts").status.code()
}

/// The last line of a report for people that says something.
fn last(human: &str) -> &str {
    let said = human.lines().rfind(|line| !line.is_empty());
    said.unwrap_or_default()
}

#[test]
fn a_part_of_the_checks_is_marked_in_every_report() {
    let folder = folder("part");
    let line = "--image binary:pause --filter binary --level should";
    let ended = judge(&folder, &format!("{line}{}", in_all_formats()));
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    let all: usize = FAMILIES.iter().map(|family| family.checks.len()).sum();
    let binary = FAMILIES.iter().find(|family| family.name == "binary");
    let some = binary.expect("a family").checks.len();
    let part = format!("{some} of {all} checks (--filter binary --level should)");
    let human = report(&folder, "human");
    assert_eq!(last(&human), format!("conformant in {part}"));
    for format in FORMATS {
        // Markdown escapes hyphens and parentheses of a line's begin only.
        let shown = report(&folder, format);
        let expected = match format {
            "json" => "\"--filter binary\"",
            _ => &part,
        };
        assert!(shown.contains(expected), "{format}: {shown}");
    }
    let report = json(&folder);
    for of in [&report, &report["runs"][0]] {
        assert_eq!(of["part"]["checks"], some);
        assert_eq!(of["part"]["of"], all);
        assert_eq!(of["part"]["options"][1], "--level should");
    }
    assert_eq!(report["conclusion"], "conformant");
    // Whoever asks for all is told of no part.
    judge(
        &folder,
        "--image binary:pause --static-only --filter * --report json=json.report",
    );
    let report = json(&folder);
    assert_eq!(report["part"]["options"][1], "--static-only");
}

/// The SHOULD that a program with two threads fails counts with `--strict`, and where the baseline
/// passes it; the last line says so.
#[test]
fn a_failed_should_is_a_warning_unless_an_option_makes_it_count_and_the_last_line_says_which() {
    let folder = folder("why");
    let id = "pid1/single-thread";
    let of = |options: &str| {
        let line = format!("--image binary:wait-thread --filter {id} --report human {options}");
        let ended = judge(&folder, &line);
        (ended.status.code(), text(&ended.stdout))
    };
    let (status, human) = of("");
    assert_eq!(status, Some(0), "{human}");
    assert!(human.contains("\nWARN "), "{human}");
    assert!(last(&human).starts_with("conformant in 1 of "), "{human}");

    let (status, human) = of("--strict");
    assert_eq!(status, Some(1), "{human}");
    assert!(human.contains("\nFAIL "), "{human}");
    let end = format!("(--filter {id}): {id} (--strict)");
    assert!(last(&human).ends_with(&end), "{human}");

    let (status, human) = of("--baseline binary:pause");
    assert_eq!(status, Some(1), "{human}");
    let end = format!("(--filter {id}): {id} (--baseline)");
    assert!(last(&human).ends_with(&end), "{human}");
}

/// Where one id is mapped, nothing can run as another user: a MUST and a SHOULD are skipped for want
/// of the host.
#[test]
fn musts_that_this_host_cannot_judge_are_counted_and_can_be_required() {
    let folder = folder("host");
    let of = |more: &str| {
        let ended = Command::new("unshare")
            .args(["--user", "--map-root-user"])
            .arg(env!("CARGO_BIN_EXE_pause-conformance"))
            .args(["--image", "binary:pause", "--report", "human"])
            .args([
                "--filter",
                "startup/user-namespace",
                "--filter",
                "startup/stays",
            ])
            .args([
                "--filter",
                "reaping/any-user",
                "--filter",
                "image/digests-hold",
            ])
            .args(["--report", "json=json.report", "--report=tap=tap.report"])
            .args(more.split_whitespace())
            .env("NO_COLOR", "1")
            .current_dir(&folder)
            .output()
            .expect("unshare starts");
        (ended.status.code(), text(&ended.stdout), json(&folder))
    };
    let (status, human, report) = of("");
    assert_eq!(status, Some(0), "{human}");
    let counted =
        "\nnot judged on this host: 1 MUST (1 skipped); --require-all makes each of them count\n";
    assert!(human.contains(counted), "{human}");
    let run = &report["runs"][0];
    assert_eq!(run["tally"]["unjudged_must"], 1);
    let wants: Vec<_> = (0..4).map(|at| &run["checks"][at]["skipped_for"]).collect();
    assert_eq!(
        wants,
        ["subject", "", "host", "host"]
            .map(|it| match it {
                "" => Value::Null,
                word => Value::from(word),
            })
            .iter()
            .collect::<Vec<_>>()
    );

    let (status, human, report) = of("--require-all");
    assert_eq!(status, Some(3), "{human}");
    assert!(last(&human).starts_with("inconclusive by 4 of "), "{human}");
    assert!(
        last(&human).ends_with(": reaping/any-user (--require-all)"),
        "{human}"
    );
    assert_eq!(report["conclusion"], "inconclusive");
    assert_eq!(report["runs"][0]["checks"][3]["required"], true);
    assert_eq!(report["runs"][0]["checks"][2]["required"], Value::Null);
    let tap = self::report(&folder, "tap");
    assert!(tap.contains("\nnot ok 4 - reaping/any-user"), "{tap}");
}

#[test]
fn what_could_not_be_judged_is_in_every_report_that_was_asked_for() {
    let folder = folder("unread");
    let ended = judge(&folder, &format!("--image oci:none{}", in_all_formats()));
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(text(&ended.stdout), "");
    let said = text(&ended.stderr);
    let message = said
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("error: "));
    let message = message.expect("one line says why");
    let report = json(&folder);
    assert_eq!(report["conclusion"], "not-judged");
    let error = report["error"].as_str().expect("why");
    assert!(error.starts_with(message), "{error}");
    for format in FORMATS {
        let shown = self::report(&folder, format);
        assert!(shown.contains("no such folder"), "{format}: {shown}");
    }
    assert!(last(&self::report(&folder, "human")).starts_with("not judged: "));
}

#[test]
fn of_several_images_those_that_can_be_read_are_judged() {
    let folder = folder("several");
    let line = "--image oci:none --image binary:pause --filter binary --report human --report json=json.report";
    let ended = judge(&folder, line);
    let human = text(&ended.stdout);
    assert_eq!(ended.status.code(), Some(2), "{human}");
    let report = json(&folder);
    let runs = report["runs"].as_array().expect("runs");
    let conclusions: Vec<_> = runs.iter().map(|run| &run["conclusion"]).collect();
    assert_eq!(conclusions, ["not-judged", "conformant"]);
    assert_eq!(runs[0]["image"], "oci:none");
    assert!(
        runs[0]["error"]
            .as_str()
            .is_some_and(|it| it.contains("no such folder"))
    );
    assert!(human.contains("could not be judged: "), "{human}");
    // A failure is definite, whatever could not be read.
    let line = line.replace(
        "binary:pause --filter binary",
        "binary:ignores-term --filter signals/term-exits-zero",
    );
    assert_eq!(judge(&folder, &line).status.code(), Some(1));
}

/// The command of a failed record, run by a shell, gives the same verdict for the same reason.
#[test]
fn the_command_that_is_shown_shows_the_failure_again() {
    let folder = folder("rerun");
    let odd = "it's a $pause;\tx";
    std::fs::copy(folder.join("ignores-term"), folder.join(odd)).expect("copied");
    std::fs::copy(folder.join("wait-thread"), folder.join("two threads")).expect("copied");
    std::fs::write(folder.join("known"), "startup/stays binary:none # never\n").expect("written");
    let cases = [
        (
            odd,
            "signals/term-exits-zero",
            "--timeout 45 --kubernetes 1.33",
        ),
        (
            "two threads",
            "pid1/single-thread",
            "--strict --expect known",
        ),
        (
            "two threads",
            "pid1/single-thread",
            "--baseline binary:pause --require-all",
        ),
    ];
    for (image, id, options) in cases {
        let mut first = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
        first
            .args(["--image", &format!("binary:{image}"), "--filter", id])
            .args(options.split(' '))
            .args(["--report", "json"]);
        let run = |command: &mut Command| {
            let ended = command
                .current_dir(&folder)
                .env_remove("PAUSE_CONFORMANCE_COMMAND")
                .env_remove("PAUSE_CONFORMANCE_PROGRAMS")
                .output()
                .expect("it starts");
            let report: Value = serde_json::from_slice(&ended.stdout).expect("a report");
            (ended.status.code(), report)
        };
        let (status, report) = run(&mut first);
        assert_eq!(status, Some(1), "{report}");
        let record = &report["runs"][0]["checks"][0];
        let again = record["reproduce"].as_str().expect("a command");
        for option in options.split(' ') {
            assert!(again.contains(option), "{again}");
        }
        let script = format!("{again} --report json");
        let (status, second) = run(Command::new("bash").args(["-c", &script]));
        assert_eq!(status, Some(1), "{script}");
        let twin = &second["runs"][0]["checks"][0];
        for field in ["id", "verdict", "baseline", "reproduce"] {
            assert_eq!(record[field], twin[field], "{script}");
        }
        assert_eq!(report["runs"][0]["image"], second["runs"][0]["image"]);
    }
}

#[test]
fn checks_can_be_left_out_and_listed_by_the_same_options() {
    let folder = folder("skip");
    let list = |line: &str| {
        let ended = judge(&folder, line);
        assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
        text(&ended.stdout)
    };
    let options = "--filter binary --skip binary/baseline-cpu --level should";
    let listed = list(&format!("list {options} --format json"));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let id = |check: &Value| check["id"].as_str().map(str::to_owned);
    let listed: Vec<_> = listed.as_array().expect("checks").iter().map(id).collect();
    assert!(
        !listed.is_empty()
            && listed
                .iter()
                .all(|id| id.as_deref() != Some("binary/baseline-cpu"))
    );
    judge(
        &folder,
        &format!("--image binary:pause {options} --report json=json.report"),
    );
    let report = json(&folder);
    let judged = report["runs"][0]["checks"].as_array().expect("checks");
    assert_eq!(judged.iter().map(id).collect::<Vec<_>>(), listed);
    let human = list("list --filter cli --skip cli/version*");
    assert_eq!(human.lines().count(), 1, "{human}");

    for (line, said) in [
        (
            "--image binary:pause --skip binary/statc",
            "did you mean binary/static?",
        ),
        (
            "--image binary:pause --filter cli --skip cli",
            "--filter cli --skip cli leaves no check",
        ),
        ("list --filter no/such", "no check matches --filter no/such"),
    ] {
        let refused = judge(&folder, line);
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_step_summary_is_added_to_and_other_files_are_replaced() {
    let folder = folder("summary");
    for name in ["summary", "other"] {
        std::fs::write(folder.join(name), "# Of another\n").expect("written");
    }
    let line =
        "--image binary:pause --filter binary --report markdown=summary --report markdown=other";
    let mut suite = command(&folder, line);
    let ended = suite.env("GITHUB_STEP_SUMMARY", "summary").output();
    assert_eq!(ended.expect("it starts").status.code(), Some(0));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it is there");
    let own = read("other");
    assert!(
        own.contains("binary/") && !own.contains("Of another"),
        "{own}"
    );
    let summary = read("summary");
    assert_eq!(summary, format!("# Of another\n{own}"));
}

#[test]
fn quiet_says_what_needs_attention_and_verbose_what_passed_too() {
    let folder = folder("quiet");
    let of = |options: &str| {
        let line = format!(
            "--image binary:ignores-term --filter signals/term-exits-zero --filter binary --filter image {options}"
        );
        let ended = judge(&folder, &line);
        assert_eq!(ended.status.code(), Some(1));
        (text(&ended.stdout), text(&ended.stderr))
    };
    let (usual, progress) = of("");
    assert!(
        usual.contains("  not for a subject of this kind: 2"),
        "{usual}"
    );
    assert!(usual.contains("[signals/term-exits-zero]") && !usual.contains("\npassed\n"));
    assert!(progress.contains("checks\n"), "{progress}");
    let (quiet, progress) = of("--quiet");
    assert_eq!(progress, "");
    assert!(quiet.contains("[signals/term-exits-zero]"), "{quiet}");
    assert!(!quiet.contains("\nskipped\n") && last(&quiet).starts_with("not conformant by"));
    let (verbose, _) = of("-v");
    assert!(verbose.contains("\npassed\n  binary/static: "), "{verbose}");
    assert!(verbose.contains("image/small"), "{verbose}");
    assert_eq!(judge(&folder, "--image x -q -v").status.code(), Some(64));
}

#[test]
fn a_failure_points_to_its_explanation_which_takes_families_and_formats() {
    let folder = folder("explain");
    let line = "--image binary:ignores-term --filter signals/term-exits-zero --report html=html.report --report json=json.report --report human";
    let human = text(&judge(&folder, line).stdout);
    let command = human
        .lines()
        .find_map(|line| line.strip_prefix("  explain     "));
    let command = command.expect("a command").to_owned();
    assert!(
        command.ends_with(" explain signals/term-exits-zero"),
        "{command}"
    );
    let explained = Command::new("bash")
        .args(["-c", &command])
        .output()
        .expect("bash starts");
    let explained = text(&explained.stdout);
    for label in [
        "  why     ",
        "  mend    ",
        "  in C    ",
        "  in Go   ",
        "  in Rust ",
        "  source  ",
    ] {
        assert!(explained.contains(label), "{explained}");
    }
    assert!(report(&folder, "html").contains(" id=\"signals/term-exits-zero\""));
    // Masks of signals and numbers of system calls are told in words too.
    let evidence = json(&folder)["runs"][0]["checks"][0]["evidence"].to_string();
    assert!(
        evidence.contains("SigCgt ") && evidence.contains("in system call "),
        "{evidence}"
    );

    let all = judge(&folder, "explain cli signals/term-exits-zero --format json");
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    let all = all.as_array().expect("checks");
    let cli = FAMILIES
        .iter()
        .find(|family| family.name == "cli")
        .expect("a family");
    assert_eq!(all.len(), cli.checks.len() + 1);
    for check in all {
        assert!(
            check["why"].is_string() && check["mend"].is_string(),
            "{check}"
        );
    }
    let markdown = text(&judge(&folder, "explain binary/static --format markdown").stdout);
    assert!(markdown.contains("### binary/static\n") && markdown.contains("```go\nCGO_ENABLED=0"));
}

#[test]
fn the_version_names_requirements_and_features() {
    let folder = folder("version");
    let short = text(&judge(&folder, "-V").stdout);
    assert_eq!(
        short,
        format!("pause-conformance {}\n", env!("CARGO_PKG_VERSION"))
    );
    let long = text(&judge(&folder, "--version").stdout);
    let all: usize = FAMILIES.iter().map(|family| family.checks.len()).sum();
    assert!(
        long.starts_with(&short) && long.contains(&format!(", {all} checks\n")),
        "{long}"
    );
    let commit = long.lines().find_map(|line| line.strip_prefix("commit "));
    assert!(commit.is_some_and(|commit| !commit.is_empty()), "{long}");
    assert!(
        long.contains("\nfeatures ") && long.contains("\nreport schema 1\n"),
        "{long}"
    );
    let help = text(&judge(&folder, "--help").stdout);
    for heading in ["Image:", "Checks:", "Verdict:", "Sandboxes:", "Reports:"] {
        assert!(help.lines().any(|line| line == heading), "{heading} {help}");
    }
}

#[test]
fn colours_can_be_forced_and_forbidden() {
    let folder = folder("colour");
    let coloured = |name: &str, value: &str| {
        let ended = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
            .current_dir(&folder)
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TERM", "xterm")
            .env(name, value)
            .args(["--image", "binary:pause", "--filter", "binary/static"])
            .output()
            .expect("it starts");
        text(&ended.stdout).contains('\x1b')
    };
    assert!(coloured("FORCE_COLOR", "1"));
    assert!(!coloured("FORCE_COLOR", "0"));
    assert!(!coloured("FORCE_COLOR", ""));
    assert!(!coloured("NO_COLOR", "1"));
}

/// Each native figure is measured by the check that is named with it.
#[test]
fn a_budget_is_held_against_what_its_check_measures() {
    let folder = folder("budget");
    let figures = [
        ("idle_wakeups=100000", "resources/idle-wakeups"),
        ("least_memory=1GiB", "startup/tiny-memory"),
        ("program_size=1MiB", "resources/memory"),
        ("reap_latency_p99=100s", "reaping/latency"),
        ("rss=1GiB", "resources/memory"),
        ("rss_anonymous=1GiB", "resources/memory"),
        ("term_latency_p50=100s", "signals/term-latency"),
        ("term_loss_window_max=100s", "startup/loss-window"),
        ("time_to_ready_p99=100s", "startup/time-to-ready"),
        ("wakes_in_30_days=100000", "startup/stays-for-days"),
    ];
    for (budget, check) in figures {
        let line = format!(
            "--image binary:pause --budget {budget} --filter {check} --report json=json.report"
        );
        let ended = judge(&folder, &line);
        let (name, _) = budget.split_once('=').expect("a limit");
        let report = json(&folder);
        let record = &report["runs"][0]["checks"][1];
        assert_eq!(record["id"], format!("budget/{name}"));
        // What this host cannot measure is no pass.
        let measured = report["runs"][0]["checks"][0]["verdict"] == "pass";
        let (verdict, status) = if measured {
            ("pass", 0)
        } else {
            ("inconclusive", 3)
        };
        assert_eq!(record["verdict"], verdict, "{record}");
        assert_eq!(ended.status.code(), Some(status), "{budget}");
    }
}

#[test]
fn a_run_past_its_budget_is_not_conformant_in_any_report() {
    let folder = folder("past");
    let line = "--image binary:pause --filter resources/memory --budget rss=1B,program_size=1MiB";
    let ended = judge(&folder, &format!("{line}{}", in_all_formats()));
    assert_eq!(ended.status.code(), Some(1));
    for format in FORMATS {
        assert!(report(&folder, format).contains("budget/rss"), "{format}");
    }
    let human = report(&folder, "human");
    assert!(
        last(&human).ends_with("(--filter resources/memory): budget/rss"),
        "{human}"
    );
    assert!(human.contains("(good: at most 1 MiB; known: "), "{human}");
    let rss = &json(&folder)["runs"][0]["measurements"]["rss"];
    assert_eq!(rss["good"].as_f64(), Some(1_048_576.0));
    let record = &json(&folder)["runs"][0]["checks"][1];
    let again = record["reproduce"].as_str().expect("a command");
    assert_eq!(shell(&folder, again), Some(1));
}

#[test]
fn a_budget_that_cannot_be_held_against_anything_is_wrong_usage() {
    let folder = folder("no-budget");
    for (options, said) in [
        ("--budget rs=1MiB", "did you mean rss?"),
        (
            "--budget rss=1MiB --budget rss=2MiB",
            "--budget rss is given twice",
        ),
        (
            "--budget rss=1MiB --filter cli",
            "hint: add --filter resources/memory",
        ),
    ] {
        let refused = judge(&folder, &format!("--image binary:pause {options}"));
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{stderr}");
        assert!(
            stderr.contains(said) && stderr.lines().count() == 2,
            "{stderr}"
        );
    }
}

const PROFILES: &str = r#"
[profile.release]
strict = true
budget = { rss = "1MiB" }

[profile.lenient]
levels = { "signals/term-exits-zero" = "info" }

[profile.stern]
levels = { "pid1/single-thread" = "must" }

[[profile.known.expect]]
id = "signals/term-exits-zero"
image = "binary:*"
reason = "being mended"
until = "9999-12-31"

[[profile.over.expect]]
id = "signals/term-exits-zero"
reason = "was being mended"
until = "2001-01-01"
"#;

/// A folder with the profiles.
fn with_profiles(name: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::write(folder.join(".pause-conformance.toml"), PROFILES).expect("written");
    folder
}

/// Judges an image by one check and a profile: the status, the record, and the report for people.
fn by_profile(folder: &Path, image: &str, id: &str, profile: &str) -> (Option<i32>, Value, String) {
    let line = format!(
        "--image binary:{image} --filter {id} --profile {profile} --report json=json.report --report human"
    );
    let ended = judge(folder, &line);
    let record = json(folder)["runs"][0]["checks"][0].clone();
    (ended.status.code(), record, text(&ended.stdout))
}

#[test]
fn a_profile_sets_options_and_levels_and_reports_name_it() {
    let folder = with_profiles("profile");
    let of = |image: &str, id: &str, profile: &str| by_profile(&folder, image, id, profile);
    let (threads, term) = ("pid1/single-thread", "signals/term-exits-zero");

    let (status, record, human) = of("wait-thread", threads, "release");
    assert_eq!(status, Some(1), "{human}");
    assert!(
        human.contains("\n  profile   release of .pause-conformance.toml\n"),
        "{human}"
    );
    let again = record["reproduce"].as_str().expect("a command");
    assert!(
        again.contains(" --profile release ") && again.contains(" --strict "),
        "{again}"
    );
    assert_eq!(shell(&folder, again), Some(1));

    let (status, record, human) = of("ignores-term", term, "lenient");
    assert_eq!(status, Some(0), "{human}");
    assert_eq!(
        (&record["level"], &record["declared_level"]),
        (&"info".into(), &"must".into())
    );
    assert!(
        human.contains("levels of its own: signals/term-exits-zero INFO"),
        "{human}"
    );
    // What is asked for less than the requirement says is not asked for.
    let end = format!("(--filter {term} --profile lenient)");
    assert!(last(&human).starts_with("conformant in 0 of "), "{human}");
    assert!(last(&human).ends_with(&end), "{human}");
    let (status, record, _) = of("wait-thread", threads, "stern");
    assert_eq!((status, &record["level"]), (Some(1), &"must".into()));
}

#[test]
fn an_expectation_of_a_profile_holds_until_its_day() {
    let folder = with_profiles("expectation");
    let term = "signals/term-exits-zero";
    let of = |profile: &str| by_profile(&folder, "ignores-term", term, profile);
    let (status, record, human) = of("known");
    assert_eq!(
        (status, &record["expected_failure"]),
        (Some(0), &"being mended".into()),
        "{human}"
    );
    let (status, record, human) = of("over");
    assert_eq!(
        (status, &record["expected_failure"]),
        (Some(1), &Value::Null)
    );
    assert!(human.contains("it was expected to fail until 2001-01-01 (was being mended)"));

    // Without a profile the file is not read.
    let line = format!("--image binary:ignores-term --filter {term}");
    assert_eq!(judge(&folder, &line).status.code(), Some(1));
}

#[test]
fn a_profile_that_is_not_there_or_wrong_is_named_in_a_line() {
    let folder = with_profiles("no-profile");
    let stict = "[profile.release]\nstict = true\n";
    std::fs::write(folder.join("other.toml"), stict).expect("written");
    for (options, said) in [
        (
            "--profile none",
            "it has known, lenient, over, release, stern",
        ),
        (
            "--profile release --config other.toml",
            "line 2: unknown field `stict`",
        ),
        ("--profile release --config missing.toml", "missing.toml"),
    ] {
        let refused = judge(&folder, &format!("--image binary:pause {options}"));
        let stderr = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{stderr}");
        assert!(
            stderr.contains(said) && stderr.lines().count() == 2,
            "{stderr}"
        );
    }
}

/// A terminal of so many columns: its reader, and the end that programs have.
fn terminal(columns: u16) -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let reader = rustix::pty::openpt(flags).expect("a terminal");
    rustix::pty::grantpt(&reader).expect("it is ours");
    rustix::pty::unlockpt(&reader).expect("it is ours");
    let path = rustix::pty::ptsname(&reader, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let terminal = rustix::fs::open(&path, flags, Mode::empty()).expect("it is ours");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&reader, size).expect("it is ours");
    (reader.into(), terminal.into())
}

/// On a narrow terminal no line of the report is broken by the terminal, but for what is pasted or
/// is one long word; and the progress line says how far the run is and what failed.
#[test]
fn a_terminal_gets_lines_that_fit_and_progress() {
    let folder = folder("terminal");
    let (mut reader, terminal) = terminal(40);
    let other = || terminal.try_clone().expect("a descriptor");
    let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .current_dir(&folder)
        .env("NO_COLOR", "1")
        .args(["--image", "binary:ignores-term", "--jobs", "1"])
        .args(["--filter", "signals/term-exits-zero", "--filter", "startup"])
        .stdout(other())
        .stderr(other())
        .spawn()
        .expect("it starts");
    drop(terminal);
    let (mut shown, mut part) = (Vec::new(), [0; 4096]);
    // It ends with an error once no program has the other end (pty(7)).
    while let Ok(length @ 1..) = reader.read(&mut part) {
        shown.extend_from_slice(&part[..length]);
    }
    assert_eq!(suite.wait().expect("it ends").code(), Some(1));
    let shown = text(&shown);
    assert!(shown.contains("s 1 failed  "), "{shown:?}");
    let report = shown.rsplit("\x1b[2K").next().expect("what stays");
    for line in report.lines().map(str::trim_end) {
        let label = line.trim_start().split(' ').next().unwrap_or_default();
        let is_pasted = ["rerun", "explain"].contains(&label);
        let is_word = !line.trim_start().contains(' ');
        assert!(
            is_pasted || is_word || line.chars().count() <= 40,
            "{line:?}"
        );
    }
    assert!(
        report.contains("  requirement MUST: The pause process\r\n    MUST exit"),
        "{report:?}"
    );
}

/// What is listed and explained fits too; data stays as it is.
#[test]
fn a_terminal_gets_a_list_that_fits() {
    let shown = |arguments: &[&str]| {
        let (mut reader, terminal) = terminal(40);
        let mut command = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
        let mut list = command.args(arguments).stdout(terminal).spawn();
        // It holds the other end as well.
        drop(command);
        let (mut shown, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = reader.read(&mut part) {
            shown.extend_from_slice(&part[..length]);
        }
        let ended = list.as_mut().expect("it starts").wait().expect("it ends");
        assert_eq!(ended.code(), Some(0));
        text(&shown)
    };
    for arguments in [&["list"][..], &["explain", "startup/stays"]] {
        let shown = shown(arguments);
        for line in shown.lines().map(str::trim_end) {
            let is_word = !line.trim_start().contains(' ');
            assert!(is_word || line.chars().count() <= 40, "{line:?}");
        }
        assert!(shown.contains("startup/stays"), "{shown}");
    }
    let data = shown(&["list", "--filter", "startup/stays", "--format", "json"]);
    assert!(serde_json::from_str::<Value>(&data).is_ok(), "{data}");
    assert!(data.lines().any(|line| line.chars().count() > 80), "{data}");
}

/// The code in C that is given for a wait that loses no signal makes a conformant pause.
#[test]
fn what_is_advised_in_c_is_conformant() {
    let cc = |folder: &Path, arguments: &[&str]| {
        let mut cc = Command::new("cc");
        cc.current_dir(folder).args(arguments).output()
    };
    if cc(Path::new("/"), &["--version"]).is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no C compiler");
        eprintln!("there is no C compiler here: nothing was compiled");
        return;
    }
    let folder = folder("advice");
    let code = |id: &str| {
        let explained = judge(&folder, &format!("explain {id} --format json"));
        let explained: Value = serde_json::from_slice(&explained.stdout).expect("JSON");
        let code = explained[0]["code"]["c"].as_str().expect("code");
        code.to_owned()
    };
    let headers = ["signal", "unistd", "errno", "sys/wait"];
    let headers = headers
        .map(|name| format!("#include <{name}.h>\n"))
        .concat();
    let (quiet, wait) = (code("reaping/stopped-child"), code("signals/no-lost-term"));
    let text = format!("{headers}int main(void) {{\n{quiet}\n{wait}\n}}\n");
    std::fs::write(folder.join("pause.c"), text).expect("written");
    let arguments = [
        "-Wall", "-Werror", "-static", "-Os", "-s", "-o", "advised", "pause.c",
    ];
    let compiled = cc(&folder, &arguments).expect("it starts");
    assert!(
        compiled.status.success(),
        "{}",
        self::text(&compiled.stderr)
    );
    let line = "--image binary:advised --filter signals --filter reaping --strict --report human";
    let ended = judge(&folder, line);
    assert_eq!(
        ended.status.code(),
        Some(0),
        "{}",
        self::text(&ended.stdout)
    );
}
