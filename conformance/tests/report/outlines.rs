//! Reasons that many checks share are shown once; and from how many on.

use std::io;

use conformance::check::Level;
use conformance::event::{Record, Run, Verdict};
use conformance::report::matrix::Matrix;
use conformance::report::output::Output;
use conformance::report::{markdown, outline};

use crate::sample;

fn of(verdict: Verdict, reason: &str, ids: &[&str]) -> Vec<Record> {
    let record = |id: &&str| Record {
        reason: Some(reason.to_owned()),
        ..sample::record(id, Level::Must, verdict)
    };
    ids.iter().map(record).collect()
}

fn run(parts: &[Vec<Record>]) -> Run {
    sample::run("linux/amd64", parts.concat())
}

#[test]
fn a_family_that_is_skipped_for_one_reason_is_one_entry() {
    let mut known = of(
        Verdict::Skipped,
        "no cgroup",
        &["known/a", "known/b", "known/c"],
    );
    known[1].expected_failure = Some("a reason".to_owned());
    let run = run(&[
        of(
            Verdict::Skipped,
            "no cgroup",
            &["three/a", "two/a", "three/b", "three/c", "two/b"],
        ),
        of(
            Verdict::Skipped,
            "no cgroup",
            &["most/a", "most/b", "most/c"],
        ),
        of(Verdict::Pass, "", &["most/d"]),
        known,
        of(
            Verdict::Skipped,
            "no image",
            &["four/a", "four/b", "four/c"],
        ),
        of(Verdict::Skipped, "no index", &["four/d"]),
    ]);
    let no_cgroup = [
        "three/* (3)",
        "two/a",
        "two/b",
        "most/a",
        "most/b",
        "most/c",
        "known/a",
        "known/b (known failure)",
        "known/c",
    ];
    let words = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        outline::skipped(&run),
        [
            ("no cgroup", words(&no_cgroup)),
            ("no image", words(&["four/a", "four/b", "four/c"])),
            ("no index", words(&["four/d"])),
        ]
    );
}

#[test]
fn four_that_are_inconclusive_for_one_reason_are_many() {
    let four = ["reaping/a", "reaping/b", "reaping/c", "signals/a"];
    let run = run(&[
        of(Verdict::Inconclusive, "no time", &four),
        of(
            Verdict::Inconclusive,
            "no sign",
            &["startup/a", "startup/b", "startup/c"],
        ),
        // The same reason, with another verdict.
        of(Verdict::Skipped, "no time", &["pid1/a"]),
        of(Verdict::Error, "no sign", &["pid1/b"]),
    ]);
    let ids = ["reaping/* (3)", "signals/a"].map(str::to_owned).to_vec();
    assert_eq!(outline::many_inconclusive(&run), [("no time", ids)]);
    for record in &run.checks {
        let one_of_many = four.contains(&&*record.id);
        assert_eq!(
            outline::is_one_of_many(&run, record),
            one_of_many,
            "{}",
            record.id
        );
    }
}

#[test]
fn two_runs_are_a_matrix_and_one_is_none() {
    let run = || run(&[of(Verdict::Pass, "", &["pid1/a"])]);
    assert!(Matrix::of(&sample::report(false, vec![run()])).is_none());
    let two = sample::report(false, vec![run(), run()]);
    let matrix = Matrix::of(&two).expect("two columns");
    assert_eq!(matrix.columns.len(), 2);
    assert_eq!(matrix.rows.len(), 1);
}

#[test]
fn what_evidence_is_left_out_is_counted() {
    for (lines, more) in [
        (19, None),
        (20, None),
        (21, Some("… 1 more")),
        (35, Some("… 15 more")),
    ] {
        let mut failed = of(Verdict::Fail, "", &["pid1/a"]);
        failed[0].evidence = (0..lines).map(|line| format!("line {line}")).collect();
        let text = markdown::render(&sample::report(false, vec![run(&[failed])])).unwrap();
        let said = text.lines().find(|line| line.starts_with('…'));
        assert_eq!(said, more, "{lines} lines");
    }
}

#[test]
fn a_folder_is_no_file_to_write_to() {
    let folder = tempfile::tempdir().unwrap();
    let error = Output::file(folder.path()).err().map(|error| error.kind());
    assert_eq!(error, Some(io::ErrorKind::IsADirectory));
}

#[test]
fn a_run_is_alike_only_where_nothing_differs() {
    use Verdict::{Fail, Inconclusive, Pass};
    let compared = |here, there| {
        let record = sample::record("a/b", Level::Should, here);
        let run = sample::compared(vec![record], there);
        let lines = outline::comparison(&run);
        lines
            .iter()
            .skip(1)
            .map(|(label, _)| *label)
            .collect::<Vec<_>>()
    };
    assert_eq!(compared(Fail, Pass), ["worse"]);
    assert_eq!(compared(Pass, Fail), ["better"]);
    for (here, there) in [(Pass, Pass), (Fail, Fail), (Pass, Inconclusive)] {
        assert_eq!(compared(here, there), ["alike"], "{here:?}, {there:?}");
    }
    let alone = sample::run("linux/amd64", Vec::new());
    assert_eq!(outline::comparison(&alone), []);
}

#[test]
fn a_failure_says_what_the_baseline_came_to() {
    use Verdict::{Fail, Inconclusive, Pass};
    let said = |level, here, there| {
        let record = sample::record("a/b", level, here);
        let run = sample::compared(vec![record], there);
        let details = outline::details(&run.checks[0]);
        let line = details.into_iter().find(|(label, _)| *label == "baseline");
        line.map(|(_, text)| text)
    };
    let counts = Some("passes there, so this failure counts".to_owned());
    assert_eq!(said(Level::Should, Fail, Pass), counts);
    assert_eq!(
        said(Level::Info, Fail, Pass),
        Some("passes there".to_owned())
    );
    let too = Some("fails there as well".to_owned());
    assert_eq!(said(Level::Must, Fail, Fail), too);
    let open = Some("has no verdict there".to_owned());
    assert_eq!(said(Level::Must, Fail, Inconclusive), open);
    assert_eq!(said(Level::Must, Pass, Fail), None);
}
