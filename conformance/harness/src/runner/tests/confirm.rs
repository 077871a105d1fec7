//! Verdicts under an emulator: they are confirmed, and neither the program nor the suite is blamed
//! for the emulator.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::{
    check, fails, never_runs_at_last, one_at_a_time, passes, passes_at_last, settings, subject,
};
use crate::calibration::tests as calibration;
use crate::calibration::{Calibration, Programs};
use crate::check::{Check, Finding, Needs, Outcome, Stop};
use crate::context::{CheckOptions, Noted, Shared};
use crate::event::{Record, Verdict};
use crate::runner::conclude::{blame_end, blame_nobody};
use crate::runner::{Confirm, Run, Settings};
use crate::subject::Platform;

#[rstest]
#[case(Err(Finding::new("expected", "observed").into()), true)]
#[case(never_runs_at_last(), true)]
#[case(Err(Stop::Ended(Finding::new("it stays", "it ended"))), true)]
#[case(Err(Stop::Error("why".to_owned())), true)]
#[case(Err(Stop::Skip("why".to_owned())), false)]
#[case(Err(Stop::Inconclusive("why".to_owned())), false)]
#[case(passes_at_last(), false)]
fn no_program_is_blamed_for_an_emulator_that_gave_up(
    #[case] outcome: Outcome,
    #[case] excused: bool,
) {
    let words = "qemu-x gave up";
    let blamed = blame_nobody(outcome.clone(), Some(words.to_owned()));
    let expected = if excused {
        Err(Stop::Inconclusive(words.to_owned()))
    } else {
        outcome.clone()
    };
    assert_eq!(blamed, expected);
    assert_eq!(blame_nobody(outcome.clone(), None), outcome);
}

#[rstest]
#[case(Err(Stop::Error("0 children".to_owned())), true)]
#[case(Err(Finding::new("expected", "observed").into()), false)]
#[case(Err(Stop::Inconclusive("why".to_owned())), false)]
#[case(passes_at_last(), false)]
fn an_error_beside_the_end_of_the_program_is_that_end(
    #[case] outcome: Outcome,
    #[case] explained: bool,
) {
    let noted = Noted::default();
    assert_eq!(blame_end(outcome.clone(), &noted), outcome);
    noted.ended.set(()).expect("for the first time");
    let blamed = blame_end(outcome.clone(), &noted);
    assert_eq!(matches!(blamed, Err(Stop::Gone(_))), explained);
    assert_eq!(blamed == outcome, !explained);
}

/// Runs them under an emulator.
fn emulated(
    checks: &[&'static Check],
    calibration: Calibration,
    settings: &Settings,
) -> Vec<Record> {
    let engine = Arc::new(calibration::Engine::default());
    let shared = Shared::new(subject(), CheckOptions::default(), Some(engine), 1.0);
    let confirm: Arc<dyn Confirm> = Arc::new(calibration);
    let run = Run {
        shared: &Arc::new(shared),
        settings,
        confirm: Some(&confirm),
        not_run: None,
    };
    run.over(checks, &mut |_| {}).records
}

#[test]
fn where_programs_of_known_worth_are_missing_only_what_runs_is_inconclusive() {
    static READS: Check = check("a/reads", passes);
    static RUNS: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/runs", |_| unreachable!("it says nothing"))
    };
    let engine = Arc::new(calibration::Engine::default());
    let none = Programs::default();
    let calibration = Calibration::new(engine, none, Platform::host(), 1.0, settings());
    let records = emulated(&[&READS, &RUNS], calibration, &settings());
    assert_eq!(records[0].verdict, Verdict::Pass);
    assert_eq!(records[1].verdict, Verdict::Inconclusive);
    let why = records[1].reason.as_deref().expect("it says why");
    assert!(why.contains("there is no reference pause"), "{why}");
}

#[test]
fn what_cannot_be_believed_is_inconclusive_and_what_panics_an_error() {
    static BLIND: Check = calibration::check("signals/term-exits-zero", passes);
    static PANICS: Check = calibration::check("signals/burst", |context| {
        assert_eq!(context.subject().reference, "program", "of its own");
        passes_at_last()
    });
    let calibration = calibration::working(calibration::Engine::default());
    let records = emulated(&[&BLIND, &PANICS], calibration, &settings());
    assert_eq!(records[0].verdict, Verdict::Inconclusive);
    let reasons: Vec<_> = records
        .iter()
        .map(|record| record.reason.as_deref().expect("it says why"))
        .collect();
    assert!(reasons[0].contains("which breaks it, passes too: seen"));
    assert!(reasons[1].contains("of its own"), "{}", reasons[1]);
}

/// What has begun and ended, in order, where a check is confirmed beside others.
struct Order(Mutex<Vec<&'static str>>, Condvar);

impl Order {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()), Condvar::new())
    }

    fn note(&self, what: &'static str) {
        self.0.lock().expect("nobody panics").push(what);
        self.1.notify_all();
    }

    /// Whether that was noted within `limit`.
    fn awaits(&self, what: &'static str, limit: Duration) -> bool {
        let order = self.0.lock().expect("nobody panics");
        let lacks = |order: &mut Vec<&str>| !order.contains(&what);
        let (_order, late) = self
            .1
            .wait_timeout_while(order, limit, lacks)
            .expect("nobody panics");
        !late.timed_out()
    }

    /// Runs these one at a time; all pass.
    fn of(&self, checks: &[&'static Check]) -> Vec<&'static str> {
        let one = one_at_a_time();
        let calibration = calibration::working(calibration::Engine::default());
        let records = emulated(checks, calibration, &one);
        assert!(records.iter().all(|it| it.verdict == Verdict::Pass));
        self.0.lock().expect("nobody panics").clone()
    }
}

/// More than what is to happen takes on the slowest host.
const LONG: Duration = Duration::from_secs(30);

/// Long enough for what must not begin to begin, if it may.
const WHILE: Duration = Duration::from_millis(150);

#[test]
fn while_a_verdict_is_confirmed_others_begin_but_none_that_wants_quiet() {
    static ORDER: Order = Order::new();
    // On the subject it passes; what shows that it can be believed lasts until the other has begun.
    static SHOWN: Check = calibration::check("signals/term-exits-zero", |context| {
        if context.subject().reference == "program" {
            return passes_at_last();
        }
        let began = ORDER.awaits("other", LONG);
        ORDER.awaits("quiet", WHILE);
        ORDER.note("shown");
        if began {
            fails(context)
        } else {
            passes_at_last()
        }
    });
    static OTHER: Check = check("a/other", |_| {
        ORDER.note("other");
        passes_at_last()
    });
    static QUIET: Check = Check {
        needs: Needs::EXCLUSIVE,
        ..check("a/quiet", |_| {
            ORDER.note("quiet");
            passes_at_last()
        })
    };
    let order = ORDER.of(&[&SHOWN, &OTHER, &QUIET]);
    assert_eq!(order, ["other", "shown", "quiet"]);
}

#[test]
fn what_has_ended_beside_a_check_that_wants_quiet_is_confirmed_after_it() {
    static ORDER: Order = Order::new();
    static SHOWN: Check = Check {
        needs: Needs::SANDBOX.union(Needs::WAITS),
        ..calibration::check("signals/term-exits-zero", |context| {
            if context.subject().reference == "program" {
                ORDER.awaits("quiet begins", LONG);
                ORDER.note("passed");
                return passes_at_last();
            }
            ORDER.note("shown");
            fails(context)
        })
    };
    static QUIET: Check = Check {
        needs: Needs::EXCLUSIVE,
        ..check("a/quiet", |_| {
            ORDER.note("quiet begins");
            ORDER.awaits("passed", LONG);
            ORDER.awaits("shown", WHILE);
            ORDER.note("quiet ends");
            passes_at_last()
        })
    };
    let order = ORDER.of(&[&SHOWN, &QUIET]);
    assert_eq!(order, ["quiet begins", "passed", "quiet ends", "shown"]);
}
