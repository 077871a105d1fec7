//! No report disagrees with the exit status, for every combination of verdict, level, expectation
//! and strictness, alone and together with a check that passed.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use conformance::check::Level;
use conformance::event::{Report, Verdict};
use conformance::report::{github, gitlab, junit, markdown, sarif, tap, text};

use crate::{readers, sample};

fn reports() -> Vec<(String, Report)> {
    use Verdict::{Error, Fail, Inconclusive, Pass, Skipped};
    let mut all = vec![
        ("empty".to_owned(), sample::report(false, Vec::new())),
        ("full".to_owned(), sample::full()),
        ("good".to_owned(), sample::good()),
        ("interrupted".to_owned(), sample::interrupted()),
        ("part".to_owned(), sample::part()),
        ("compared".to_owned(), sample::compared_images()),
        ("not judged".to_owned(), sample::not_judged()),
    ];
    let mut between = sample::good();
    between.interrupted = true;
    between.conclude();
    all.push(("interrupted between runs".to_owned(), between));
    let alone = sample::report(false, vec![sample::first_run()]);
    all.push(("one of each verdict in one run".to_owned(), alone));
    for verdict in [Pass, Fail, Skipped, Inconclusive, Error] {
        for level in [Level::Must, Level::Should, Level::Info] {
            for (known, strict, shape) in (0..12).map(|n| (n % 2 == 1, n / 2 % 2 == 1, n / 4)) {
                let mut record = sample::record("a/b", level, verdict);
                record.expected_failure = known.then(|| "known".to_owned());
                let passed = sample::record("a/c", Level::Must, Pass);
                let runs = match shape {
                    0 => vec![sample::run("linux/amd64", vec![record])],
                    1 => vec![sample::run("linux/amd64", vec![passed, record])],
                    _ => vec![
                        sample::run("linux/amd64", vec![passed]),
                        sample::run("linux/arm64", vec![record]),
                    ],
                };
                let name = format!("{level} {verdict:?} known {known} strict {strict} {shape}");
                all.push((name, sample::report(strict, runs)));
            }
        }
    }
    for level in [Level::Must, Level::Should, Level::Info] {
        for there in [Pass, Fail, Skipped, Inconclusive, Error] {
            for (known, verdict) in [(false, Fail), (true, Fail), (false, Pass)] {
                let mut record = sample::record("a/b", level, verdict);
                record.expected_failure = known.then(|| "known".to_owned());
                let passed = sample::record("a/c", Level::Must, Pass);
                let run = sample::compared(vec![passed, record], there);
                let name = format!("{level} {verdict:?} known {known}, {there:?} on the baseline");
                all.push((name, sample::report(false, vec![run])));
            }
        }
    }
    all
}

#[test]
fn junit_is_red_exactly_where_the_exit_status_is() {
    for (name, report) in reports() {
        let read = readers::junit(&junit::render(&report).unwrap());
        assert_eq!(
            read.is_red(),
            report.conclusion.exit_status() != 0,
            "{name}: {read:?}"
        );
    }
}

#[test]
fn tap_is_red_exactly_where_the_exit_status_is() {
    for (name, report) in reports() {
        let read = readers::tap(&tap::render(&report).unwrap());
        assert_eq!(
            read.is_red(),
            report.conclusion.exit_status() != 0,
            "{name}: {read:?}"
        );
        if report.runs.len() > 1 {
            assert_eq!(read.subtests.len(), report.runs.len(), "{name}");
        }
    }
}

#[test]
fn github_has_errors_exactly_where_the_exit_status_is_red() {
    for (name, report) in reports() {
        let read = readers::github(&github::render(&report).unwrap());
        let is_red = report.conclusion.exit_status() != 0;
        assert_eq!(
            read.iter().any(|it| it.command == "error"),
            is_red,
            "{name}"
        );
        let last = read.last().expect("the conclusion");
        assert!(
            last.message.starts_with(report.conclusion.as_str()),
            "{name}"
        );
    }
}

#[test]
fn gitlab_has_severe_issues_exactly_where_the_exit_status_is_red() {
    for (name, report) in reports() {
        let read = readers::gitlab(&gitlab::render(&report).unwrap());
        let is_severe =
            |severity: &&String| ["major", "critical", "blocker"].contains(&&***severity);
        assert_eq!(
            read.values().any(|severity| is_severe(&severity)),
            report.conclusion.exit_status() != 0,
            "{name}: {read:?}"
        );
    }
}

#[test]
fn sarif_says_what_the_exit_status_does() {
    for (name, report) in reports() {
        let read = readers::sarif(&sarif::render(&report).unwrap());
        let status = report.conclusion.exit_status();
        if status == 1 {
            assert!(read.errors > 0, "{name}: {read:?}");
        }
        if status == 2 {
            assert!(!read.succeeded, "{name}: {read:?}");
        }
        if status == 3 {
            assert!(read.open > 0, "{name}: {read:?}");
        }
        if status == 0 {
            assert!(read.errors == 0 && read.succeeded, "{name}: {read:?}");
        }
    }
}

#[test]
fn markdown_says_what_the_exit_status_does() {
    for (name, report) in reports() {
        let read = readers::markdown(&markdown::render(&report).unwrap());
        let (first, runs) = read.headings.split_first().expect("a heading");
        assert!(
            first.contains(report.conclusion.as_str()),
            "{name}: {first}"
        );
        assert_eq!(runs.len(), report.runs.len(), "{name}");
        // The first table has a head, and one row per run with its conclusion.
        for (row, run) in read.rows.iter().skip(1).zip(&report.runs) {
            assert!(row[3].contains(run.conclusion.as_str()), "{name}: {row:?}");
            assert_eq!(row[4], run.tally.pass.to_string(), "{name}");
            assert_eq!(row[5], run.tally.fail.to_string(), "{name}");
        }
    }
}

#[test]
fn the_samples_are_counted_as_they_are() {
    let full = sample::full();
    let read = readers::junit(&junit::render(&full).unwrap());
    let expected = readers::Junit {
        suites: 3,
        cases: 15,
        failures: 2,
        errors: 3,
        skipped: 6,
    };
    assert_eq!(read, expected);
    let read = readers::tap(&tap::render(&full).unwrap());
    assert_eq!((read.points, read.failed, read.bailed), (3, 2, false));
    let first = &read.subtests[0];
    assert_eq!(
        (first.points, first.failed, first.todo, first.skipped),
        (12, 4, 2, 4)
    );
}

/// The verdict of perl's TAP consumer; `None` if perl lacks it.
fn perl(script: &str) -> Option<Command> {
    let perl = |script: &str| {
        let mut command = Command::new("perl");
        command.args(["-MTAP::Parser", "-e", script]);
        command
    };
    match perl("1").stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Some(perl(script)),
        _ => {
            assert!(
                std::env::var_os("CI").is_none(),
                "perl has no TAP::Parser here"
            );
            eprintln!("perl has no TAP::Parser here: only the reader of these tests was used");
            None
        }
    }
}

/// Older harnesses know only version 13, which 14 extends.
fn for_perl(report: &Report) -> String {
    tap::render(report)
        .unwrap()
        .replacen("version 14", "version 13", 1)
}

#[test]
fn perls_tap_harness_agrees_with_the_exit_status() {
    let script = r#"
        my $number = 0;
        for my $file (@ARGV) {
            my $parser = TAP::Parser->new({ source => $file });
            my $bailed = 0;
            while (my $result = $parser->next) { $bailed = 1 if $result->is_bailout }
            my @errors = grep { !$bailed || !/plan/ } $parser->parse_errors;
            print $number++, " ", ($bailed || $parser->failed ? 1 : 0), " @errors\n";
        }
    "#;
    let Some(mut perl) = perl(script) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut expected = String::new();
    for (number, (_, report)) in reports().into_iter().enumerate() {
        let file = folder.path().join(format!("{number}.tap"));
        std::fs::write(&file, for_perl(&report)).unwrap();
        let red = u8::from(report.conclusion.exit_status() != 0);
        writeln!(expected, "{number} {red} ").unwrap();
        perl.arg(file);
    }
    let output = perl.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn perls_yaml_reader_gets_the_evidence_as_it_is() {
    let script = r#"
        my $parser = TAP::Parser->new({ source => $ARGV[0] });
        while (my $result = $parser->next) {
            print map { "$_\n" } @{ $result->data->{evidence} } if $result->is_yaml;
        }
        print map { "error: $_\n" } $parser->parse_errors;
    "#;
    let Some(mut perl) = perl(script) else { return };
    let lines = [
        "stderr: text",
        "key : value",
        "key  :",
        ":",
        ": x",
        "x:",
        "a:b: c",
        "",
        " leading",
        "\"q\": y",
        "'s': y",
        "- item",
        "---",
        "...",
        "~",
        "|",
        ">",
        "# x",
        "{}",
        "[]",
        "\\",
        "\\n",
        "ends with \\",
        "\"",
        "a\\\"b",
        "\\x41",
        sample::HOSTILE,
    ];
    let mut record = sample::record("a/b", Level::Must, Verdict::Fail);
    record.evidence = lines.map(str::to_owned).to_vec();
    let report = sample::report(false, vec![sample::run("linux/amd64", vec![record])]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.tap");
    std::fs::write(&file, for_perl(&report)).unwrap();
    let output = perl.arg(file).output().unwrap();
    let mut expected = String::new();
    for line in lines {
        writeln!(expected, "{}", text::escape(line)).unwrap();
    }
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
