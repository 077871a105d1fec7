//! Programs that never run, that end, or that lack something: which check fails, and which say
//! nothing.

use std::sync::Arc;

use super::{
    STAYS, STAYS_NOT, after, check, ends, gate, never_runs, one_at_a_time, passes, ran, ran_with,
    settings, shared,
};
use crate::check::{Check, Finding, Outcome, Stop};
use crate::context::{Context, Lack, Shared};
use crate::event::{Event, Verdict};
use crate::runner::run;

#[test]
fn a_program_that_never_runs_fails_one_check_and_not_all() {
    static OTHER: Check = check("a/other", never_runs);
    static AFTER: Check = after(&["a/other"], check("a/after", passes));
    let nothing = "depends on startup/stays, which did not pass".to_owned();
    let records = ran(&[&OTHER, &AFTER, &STAYS_NOT]);
    assert_eq!(records[0].verdict, Verdict::Skipped);
    assert_eq!(records[0].reason, Some(nothing));
    assert_eq!(records[1].verdict, Verdict::Pass);
    assert_eq!(records[2].verdict, Verdict::Fail);
    assert_eq!(records[2].observed.as_deref(), Some("it does not"));
    // It runs elsewhere: then it is this one's to fail.
    let records = ran(&[&OTHER, &STAYS]);
    assert_eq!(records[0].verdict, Verdict::Fail);
    assert_eq!(records[0].expected.as_deref(), Some("it runs"));
    assert_eq!(ran(&[&OTHER])[0].verdict, Verdict::Fail);
}

fn ends_upon_it(_: &Context<'_>) -> Outcome {
    Err(Stop::Ended(Finding::new("it stays", "it ended")))
}

#[test]
fn a_program_that_ends_upon_what_was_done_to_it_fails_where_it_stays_by_itself() {
    static ENDS: Check = check("a/ends", ends_upon_it);
    static AFTER: Check = after(&["a/ends"], check("a/after", passes));
    let nothing = |id| {
        (
            Verdict::Skipped,
            format!("depends on {id}, which did not pass"),
        )
    };
    let failed = (Verdict::Fail, String::new());
    // Where it does not stay, it may have ended by itself.
    let ended = ends(&[&STAYS_NOT, &ENDS, &AFTER]);
    assert_eq!(ended[1..], [nothing("startup/stays"), nothing("a/ends")]);
    let ended = ends(&[&STAYS, &ENDS, &AFTER]);
    assert_eq!(ended[1..], [failed.clone(), nothing("a/ends")]);
    assert_eq!(ends(&[&ENDS]), [failed]);
}

/// What is told of the ends of checks, where one runs at a time.
fn told(checks: &[&'static Check]) -> Vec<String> {
    let one = one_at_a_time();
    let mut told = Vec::new();
    run(checks, &Arc::new(shared()), &one, &mut |event| {
        if let Event::CheckFinished { record } = event {
            told.push(format!("{} {}", record.id, record.verdict.as_str()));
        }
    });
    told
}

#[test]
fn what_ended_is_told_as_soon_as_it_is_known_why() {
    static ENDS: Check = check("a/ends", ends_upon_it);
    static LATER: Check = check("a/later", passes);
    assert_eq!(
        told(&[&ENDS, &STAYS, &LATER]),
        ["startup/stays pass", "a/ends fail", "a/later pass"]
    );
    assert_eq!(told(&[&ENDS, &LATER]), ["a/ends fail", "a/later pass"]);
}

#[test]
fn what_ended_holds_back_what_says_nothing_without_it_and_nothing_else() {
    static ENDS: Check = check("a/ends", ends_upon_it);
    static GOOD: Check = check("a/good", passes);
    static AFTER_ENDS: Check = after(&["a/ends"], check("a/after-ends", passes));
    static AFTER_GOOD: Check = after(&["a/good"], check("a/after-good", passes));
    // Why it ended is known only when the last has run.
    assert_eq!(
        told(&[&ENDS, &GOOD, &AFTER_ENDS, &AFTER_GOOD, &STAYS]),
        [
            "a/after-ends skipped",
            "a/good pass",
            "a/after-good pass",
            "startup/stays pass",
            "a/ends fail",
        ]
    );
}

#[test]
fn where_startup_stays_ends_it_fails() {
    static ENDS: Check = gate(ends_upon_it);
    static OTHER: Check = check("a/other", ends_upon_it);
    let nothing = "depends on startup/stays, which did not pass".to_owned();
    let expected = [(Verdict::Fail, String::new()), (Verdict::Skipped, nothing)];
    assert_eq!(ends(&[&ENDS, &OTHER]), expected);
}

/// One whose program lacks a writable root, as a check has found out.
fn without_writable_root() -> Shared {
    let shared = shared();
    shared.lacks.set(vec![Lack::WritableRoot]).expect("unset");
    shared
}

#[test]
fn what_the_program_lacks_fails_the_check_of_it_and_is_named_by_the_rest() {
    static ROOT: Check = check("startup/read-only-root", never_runs);
    static UID: Check = check("startup/any-uid", never_runs);
    static OTHER: Check = check("a/other", never_runs);
    let checks: [&'static Check; 4] = [&STAYS_NOT, &ROOT, &UID, &OTHER];
    let records = ran_with(&checks, without_writable_root(), &settings()).records;
    let verdicts: Vec<_> = records.iter().map(|record| record.verdict).collect();
    let (fail, skipped) = (Verdict::Fail, Verdict::Skipped);
    assert_eq!(verdicts, [fail, fail, skipped, skipped]);
    let observed = "it does not; it stays with a writable root";
    assert_eq!(records[1].observed.as_deref(), Some(observed));
    let reason = "depends on startup/read-only-root, which did not pass".to_owned();
    assert_eq!(records[2].reason, Some(reason.clone()));
    assert_eq!(records[3].reason, Some(reason));
}

#[test]
fn what_a_program_ends_without_fails_although_it_had_passed_before_that() {
    static ROOT: Check = check("startup/read-only-root", passes);
    static AFTER: Check = after(&["startup/read-only-root"], check("a/after", passes));
    let checks: [&'static Check; 3] = [&ROOT, &AFTER, &STAYS_NOT];
    // In this order.
    let one = one_at_a_time();
    let records = ran_with(&checks, without_writable_root(), &one).records;
    let verdicts: Vec<_> = records.iter().map(|record| record.verdict).collect();
    assert_eq!(verdicts, [Verdict::Fail, Verdict::Pass, Verdict::Fail]);
    let expected = "it stays without a writable root";
    assert_eq!(records[0].expected.as_deref(), Some(expected));

    let checks: [&'static Check; 2] = [&ROOT, &STAYS];
    let records = ran_with(&checks, without_writable_root(), &settings()).records;
    assert_eq!(
        records[0].verdict,
        Verdict::Pass,
        "one that stays lacks nothing"
    );
}
