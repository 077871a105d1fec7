//! What a part of the matrix holds, and what of it counts.

use std::sync::Arc;

use rstest::rstest;

use super::*;
use crate::backend::Backend;
use crate::event::{Record, Verdict};
use crate::self_test::settings;
use crate::self_test::tests::{Idle, check};

fn selection(checks: &[&str], fixtures: &[&str]) -> Result<Selection, NoMatch> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let (checks, fixtures): (Vec<String>, Vec<String>) = (owned(checks), owned(fixtures));
    Selection::of(&checks, &fixtures)
}

fn ids(checks: &[&Check]) -> Vec<&'static str> {
    checks.iter().map(|check| check.id).collect()
}

#[test]
fn without_filters_everything_is_selected() {
    let all = selection(&[], &[]).expect("nothing is wrong");
    assert_eq!(ids(&all.checks), ids(&checks()));
    assert_eq!(ids(&all.run), ids(&checks()));
    assert_eq!(all.fixtures(), trials().count());
    assert!(!all.some_checks && !all.some_trials);
}

#[rstest]
#[case::needs_no_sandbox("image/user-numeric", &["image/user-numeric"])]
#[case::needs_one("signals/term-exits-zero", &["startup/stays", "signals/term-exits-zero"])]
#[case::after_two(
    "startup/answers-when-ready",
    &["startup/stays", "startup/answers-when-ready", "signals/term-exits-zero", "signals/spurious-chld"],
)]
fn a_check_is_run_with_what_it_depends_on_over_every_fixture(
    #[case] id: &str,
    #[case] run: &[&str],
) {
    let one = selection(&[id], &[]).expect("it is there");
    assert_eq!(ids(&one.checks), [id]);
    assert_eq!(ids(&one.run), run);
    assert_eq!(one.fixtures(), trials().count());
    assert!(one.some_checks && !one.some_trials);
}

#[test]
fn families_patterns_and_several_filters_select_together() {
    let some = selection(&["cli", "wasi/host-*"], &["no-pid-*", "sigwaitinfo"]);
    let some = some.expect("they are there");
    let of = |prefix: &str| {
        some.checks
            .iter()
            .filter(|it| it.id.starts_with(prefix))
            .count()
    };
    assert!(of("cli/") > 0 && of("wasi/host-") > 1);
    assert_eq!(of("cli/") + of("wasi/host-"), some.checks.len());
    let names: Vec<_> = some.trials.iter().map(|trial| trial.name()).collect();
    assert!(
        names.contains(&"sigwaitinfo") && names.contains(&"no-pid-namespace"),
        "{names:?}"
    );
    assert!(some.some_checks && some.some_trials);
}

#[test]
fn one_fixture_goes_through_every_check() {
    let one = selection(&[], &["sigwaitinfo"]).expect("it is there");
    assert_eq!(ids(&one.run), ids(&checks()));
    assert_eq!(one.fixtures(), 1);
    assert!(!one.some_checks && one.some_trials);
}

#[rstest]
#[case::check(
    &["signals/term-exit-zero"], &[],
    "no check of the self-test matches --check signals/term-exit-zero",
    "did you mean signals/term-exits-zero?",
)]
#[case::fixture(
    &[], &["sigwaitinf"],
    "no fixture of the self-test matches --fixture sigwaitinf",
    "did you mean sigwaitinfo?",
)]
#[case::nothing_like_it(
    &["zzz\x1b"], &[],
    "no check of the self-test matches --check zzz\\x1b",
    "`pause-conformance list` names the checks; those of level INFO judge nothing",
)]
#[case::no_fixture_like_it(
    &[], &["@@@"],
    "no fixture of the self-test matches --fixture @@@",
    "`pause-conformance self-test` without filters names every fixture",
)]
fn a_filter_that_selects_nothing_is_named(
    #[case] checks: &[&str],
    #[case] fixtures: &[&str],
    #[case] message: &str,
    #[case] hint: &str,
) {
    let error = selection(checks, fixtures).expect_err("nothing is selected");
    assert_eq!(error.to_string(), message);
    assert_eq!(error.hint(), hint);
}

/// A program that does not stay fails what the selected check depends on. That counts neither
/// as caught nor as wrong.
#[rstest]
#[case::selected(true, &["namespaces/stable"], 1)]
#[case::not_selected(false, &[], 0)]
fn only_selected_checks_count(
    #[case] selected: bool,
    #[case] caught: &[&str],
    #[case] wrong: usize,
) {
    static ANY: Check = check("a/any", |_| unreachable!("it is not run"));
    let record = |id: &str| Record {
        id: id.to_owned(),
        ..crate::runner::record(&ANY, Verdict::Fail)
    };
    let broken = trials().find(|trial| trial.name() == "leaves-on-usr1");
    let records = [record("namespaces/stable"), record("startup/stays")];
    let judged = broken
        .expect("it is in a table")
        .compare(&records, &|_| selected);
    assert_eq!(judged.caught, caught);
    assert_eq!(judged.wrong.len(), wrong);
}

#[test]
fn a_guest_is_judged_by_the_selected_check_alone() {
    let engine: Arc<dyn Backend> = Arc::new(Idle);
    let judge = |id| {
        let one = selection(&[id], &["broken_exits"]).expect("both are there");
        let trial = one.trials[0];
        trial
            .judge_by(&one, &engine, 1.0, &settings(Arc::default()))
            .expect("it can be made")
    };
    assert_eq!(judge("wasi/stays").caught, ["wasi/stays"]);
    let other = judge("wasi/memory-flat");
    assert!(other.is_right() && other.caught.is_empty(), "{other:?}");
}
