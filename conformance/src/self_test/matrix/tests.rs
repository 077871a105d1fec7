//! The kill matrix as it is printed.

use super::Matrix;
use crate::check::{Check, Level, Pass};
use crate::self_test::tests::check;
use crate::self_test::{Judged, Trial, trials};

static STAYS: Check = check("startup/stays", |_| Ok(Pass::new("seen")));
static IS_ONE: Check = check("pid1/is-one", |_| Ok(Pass::new("seen")));
static STABLE: Check = Check {
    level: Level::Should,
    ..check("namespaces/stable", |_| Ok(Pass::new("seen")))
};

fn trial(name: &str) -> Trial {
    trials()
        .find(|trial| trial.name() == name)
        .expect("it is in a table")
}

fn judged(name: &str, caught: &[&str], missed: &[&str], wrong: &[&str]) -> (Trial, Judged) {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let judged = Judged {
        caught: owned(caught),
        missed: owned(missed),
        wrong: owned(wrong),
    };
    (trial(name), judged)
}

fn written(matrix: &Matrix) -> String {
    let mut out = Vec::new();
    matrix.write(&mut out).expect("it is in memory");
    String::from_utf8(out).expect("text")
}

fn matrix(checks: Vec<&'static Check>, results: Vec<(Trial, Judged)>, interrupted: bool) -> Matrix {
    Matrix {
        checks,
        not_made: Vec::new(),
        some_checks: false,
        some_trials: false,
        results,
        interrupted,
    }
}

fn right() -> Vec<(Trial, Judged)> {
    vec![
        judged("sigwaitinfo", &[], &[], &[]),
        judged("host-of-hourly", &[], &[], &[]),
        judged("leaves-on-usr1", &["namespaces/stable"], &[], &[]),
        judged(
            "no-pid-namespace",
            &["pid1/is-one", "startup/stays"],
            &[],
            &[],
        ),
    ]
}

#[test]
fn where_all_is_as_it_must_be_the_matrix_says_so() {
    let checks = vec![&STAYS, &IS_ONE, &STABLE];
    let matrix = matrix(checks, right(), false);
    assert!(matrix.is_right());
    assert_eq!(matrix.unbroken(), <[&str; 0]>::default());
    insta::assert_snapshot!("right", written(&matrix));
}

#[test]
fn what_is_not_as_it_must_be_is_told() {
    let mut results = right();
    results.push(judged(
        "host-ends",
        &[],
        &["wasi/host-holds: pass: it stays"],
        &[],
    ));
    results.push(judged("broken_exits", &["startup/stays"], &[], &[]));
    let wrong = &["startup/stays: fail: it ended", "a/b: error: no pidfd"];
    results.push(judged("user-alone", &[], &[], wrong));
    let one = matrix(vec![&STAYS], results.clone(), false);
    assert!(!one.is_right() && one.unbroken().is_empty());
    let matrix = matrix(vec![&STAYS, &STABLE, &WASI], results, false);
    assert_eq!(matrix.unbroken(), ["wasi/host-holds"]);
    insta::assert_snapshot!("wrong", written(&matrix));
}

#[test]
fn a_check_that_nothing_breaks_makes_the_matrix_wrong() {
    assert!(matrix(vec![&STAYS], right(), false).is_right());
    assert!(!matrix(vec![&STAYS, &WASI], right(), false).is_right());
}

/// What the host does not allow is said, and is no fault.
#[test]
fn a_check_that_is_not_made_here_need_not_be_broken() {
    let matrix = Matrix {
        not_made: vec![("wasi/host-holds", "no engine is here".to_owned())],
        ..matrix(vec![&STAYS, &WASI], right(), false)
    };
    assert!(matrix.is_right());
    let text = written(&matrix);
    assert!(
        text.contains("\nNot made here: wasi/host-holds: no engine is here\n"),
        "{text}"
    );
    assert!(
        text.ends_with("2 checks, 1 not made here, 0 broken by nothing\n"),
        "{text}"
    );
}

static WASI: Check = check("wasi/host-holds", |_| Ok(Pass::new("seen")));

/// One check over every fixture: what it caught and nothing else.
#[test]
fn of_some_checks_only_what_they_caught_is_told() {
    let results = vec![
        judged("sigwaitinfo", &[], &[], &[]),
        judged("leaves-on-usr1", &["namespaces/stable"], &[], &[]),
        judged("no-pid-namespace", &[], &[], &[]),
    ];
    let some = |results| Matrix {
        some_checks: true,
        ..matrix(vec![&STABLE], results, false)
    };
    let one = some(results);
    assert!(one.is_right());
    insta::assert_snapshot!("some_checks", written(&one));
    let silent = some(vec![judged("sigwaitinfo", &[], &[], &[])]);
    assert_eq!(silent.unbroken(), ["namespaces/stable"]);
}

/// One fixture through every check: what others break is not missed.
#[test]
fn some_trials_need_not_break_every_check() {
    let matrix = Matrix {
        some_trials: true,
        ..matrix(vec![&STAYS, &WASI], right(), false)
    };
    assert!(matrix.is_right() && matrix.unbroken().is_empty());
    let text = written(&matrix);
    assert!(text.ends_with("0 broken by nothing\n"), "{text}");
}

#[test]
fn a_matrix_that_was_interrupted_is_not_right() {
    let matrix = matrix(vec![&STAYS], right(), true);
    assert!(!matrix.is_right() && matrix.unbroken().is_empty());
    assert!(written(&matrix).ends_with("; interrupted\n"));
}
