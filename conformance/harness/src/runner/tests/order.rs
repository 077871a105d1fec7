//! The order in which checks begin, and which run side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use super::{
    after, check, ends, fails, fails_at_last, needs, one_at_a_time, passes, passes_at_last, ran,
    shared,
};
use crate::check::{Check, Needs, Outcome};
use crate::context::Context;
use crate::event::{Event, Verdict};
use crate::runner::{Run, RunResult, Runner, run};

/// Runs checks one at a time. Returns their ids in the order in which they begin, and the result.
fn begun(checks: &[&'static Check]) -> (Vec<&'static str>, RunResult) {
    let mut order = Vec::new();
    let one = one_at_a_time();
    let ran = run(checks, &Arc::new(shared()), &one, &mut |event| {
        if let Event::CheckStarted { id } = event {
            order.push(*id);
        }
    });
    (order, ran)
}

#[test]
fn a_check_says_nothing_without_the_one_before_it() {
    static FIRST: Check = check("a/first", fails);
    static GOOD: Check = check("a/good", passes);
    static AFTER: Check = after(&["a/good", "a/first"], check("a/after", passes));
    let skipped = "depends on a/first, which did not pass".to_owned();
    // Also where it comes first in the list, and not where the other was not asked for.
    assert_eq!(
        ends(&[&AFTER, &FIRST, &GOOD])[0],
        (Verdict::Skipped, skipped)
    );
    assert_eq!(ends(&[&AFTER, &GOOD])[0], (Verdict::Pass, String::new()));
}

#[test]
fn checks_that_wait_for_each_other_are_errors_and_not_a_hang() {
    static ONE: Check = after(&["a/two"], check("a/one", passes));
    static TWO: Check = after(&["a/one"], check("a/two", passes));
    static FREE: Check = check("a/free", passes);
    let error = (
        Verdict::Error,
        "its prerequisites wait for each other".to_owned(),
    );
    let skipped = (
        Verdict::Skipped,
        "depends on a/one, which did not pass".to_owned(),
    );
    let free = (Verdict::Pass, String::new());
    assert_eq!(ends(&[&ONE, &TWO, &FREE]), [error, skipped, free]);
}

#[test]
fn what_takes_long_to_fail_begins_early() {
    static PLAIN: Check = check("a/plain", passes);
    static LATE: Check = needs(Needs::SLOW, check("a/late", passes));
    assert_eq!(begun(&[&PLAIN, &LATE]).0, ["a/late", "a/plain"]);
}

#[test]
fn no_more_run_at_once_than_are_asked_for() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static THIRD: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static BOTH: Barrier = Barrier::new(2);
    fn busy(_: &Context<'_>) -> Outcome {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        BOTH.wait();
        // Two are under way; room for a third would let it begin now.
        let begun = THIRD.0.lock().expect("nobody panics");
        let window = Duration::from_millis(200);
        let _ = THIRD.1.wait_timeout_while(begun, window, |begun| !*begun);
        NOW.fetch_sub(1, Ordering::SeqCst);
        passes_at_last()
    }
    fn third(_: &Context<'_>) -> Outcome {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        *THIRD.0.lock().expect("nobody panics") = true;
        THIRD.1.notify_all();
        NOW.fetch_sub(1, Ordering::SeqCst);
        passes_at_last()
    }
    static A: Check = check("a/a", busy);
    static B: Check = check("a/b", busy);
    static C: Check = check("a/c", third);
    ran(&[&A, &B, &C]);
    assert_eq!(MOST.load(Ordering::SeqCst), 2);
}

#[test]
fn long_windows_begin_first_and_what_wants_quiet_comes_last_and_alone() {
    static BEGUN: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    static WINDOW_OPEN: AtomicBool = AtomicBool::new(true);
    static CLOSE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    fn begin(id: &'static str) -> Outcome {
        BEGUN.lock().expect("nobody panics").push(id);
        passes_at_last()
    }
    static QUIET: Check = Check {
        needs: Needs::EXCLUSIVE,
        ..check("a/quiet", |_| {
            // The window is no disturbance: it is still open, and is closed from here.
            *CLOSE.0.lock().expect("nobody panics") = true;
            CLOSE.1.notify_all();
            begin("quiet")
        })
    };
    static PLAIN: Check = check("a/plain", |_| begin("plain"));
    static OTHER: Check = check("a/other", |_| begin("other"));
    static WINDOW: Check = Check {
        needs: Needs::WAITS,
        ..check("a/window", |_| {
            let outcome = begin("window");
            let closed = CLOSE.0.lock().expect("nobody panics");
            let limit = Duration::from_secs(30);
            let _ = CLOSE.1.wait_timeout_while(closed, limit, |closed| !*closed);
            WINDOW_OPEN.store(false, Ordering::SeqCst);
            outcome
        })
    };
    let (order, ran) = begun(&[&QUIET, &PLAIN, &OTHER, &WINDOW]);
    assert_eq!(order, ["a/window", "a/plain", "a/other", "a/quiet"]);
    let ids: Vec<_> = ran
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(
        ids,
        ["a/quiet", "a/plain", "a/other", "a/window"],
        "as they were asked for"
    );
    assert!(
        ran.records
            .iter()
            .all(|record| record.verdict == Verdict::Pass)
    );
    assert!(!WINDOW_OPEN.load(Ordering::SeqCst));
}

#[test]
fn a_window_begins_before_what_it_depends_on_and_says_nothing_without_it() {
    static PLAIN: Check = check("a/plain", passes);
    static LATE: Check = needs(Needs::SLOW, check("a/late", passes));
    static GOOD: Check = check("a/good", passes);
    static BAD: Check = check("a/bad", fails);
    static NEXT: Check = after(&["a/bad"], check("a/next", passes));
    const fn window(id: &'static str, before: &'static [&'static str]) -> Check {
        needs(Needs::WAITS, after(before, check(id, passes)))
    }
    static WINDOW: Check = window("a/window", &["a/good", "a/not-asked-for"]);
    static VAIN: Check = window("a/vain", &["a/good", "a/next"]);
    let (order, ran) = begun(&[&PLAIN, &LATE, &WINDOW, &GOOD, &VAIN, &NEXT, &BAD]);
    assert_eq!(
        order,
        ["a/window", "a/vain", "a/late", "a/plain", "a/good", "a/bad"]
    );
    let [_, _, window, _, vain, ..] = &ran.records[..] else {
        panic!("{:?}", ran.records)
    };
    assert_eq!(window.verdict, Verdict::Pass);
    assert_eq!(vain.verdict, Verdict::Skipped);
    let why = Some("depends on a/next, which did not pass");
    assert_eq!(vain.reason.as_deref(), why);
}

#[test]
fn a_window_may_end_before_another_that_it_depends_on() {
    static TOP: Check = after(&["a/below"], check("a/top", passes));
    static BELOW: Check = after(&["a/next"], check("a/below", passes));
    static NEXT: Check = check("a/next", fails);
    let (shared, settings, mut emit) = (Arc::new(shared()), one_at_a_time(), |_: &Event<'_>| {});
    let of = Run {
        shared: &shared,
        settings: &settings,
        confirm: None,
        not_run: None,
    };
    let mut runner = Runner::new(of, &[&TOP, &BELOW, &NEXT], &mut emit);
    for check in [&TOP, &BELOW] {
        let passed = Ok(passes_at_last());
        runner.ahead.push_back((check, passed, Duration::ZERO));
    }
    runner.conclude(&NEXT, Ok(fails_at_last()), Duration::ZERO);
    runner.give_up_circles();
    let reason = |id| runner.records[id].reason.as_deref();
    assert_eq!(
        reason("a/top"),
        Some("depends on a/below, which did not pass")
    );
    assert_eq!(
        reason("a/below"),
        Some("depends on a/next, which did not pass")
    );
}

#[test]
fn windows_that_depend_on_each_other_are_errors_and_not_a_hang() {
    static ONE: Check = needs(Needs::WAITS, after(&["a/two"], check("a/one", passes)));
    static TWO: Check = needs(Needs::WAITS, after(&["a/one"], check("a/two", passes)));
    let error = "its prerequisites wait for each other".to_owned();
    let skipped = "depends on a/one, which did not pass".to_owned();
    assert_eq!(
        ends(&[&ONE, &TWO]),
        [(Verdict::Error, error), (Verdict::Skipped, skipped)]
    );
}

#[test]
fn nothing_begins_beside_what_wants_quiet() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    fn alone(_: &Context<'_>) -> Outcome {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (lock, turn) = (Mutex::new(()), Condvar::new());
        let guard = lock.lock().expect("nobody panics");
        // Long enough for the other to begin, if it may.
        let _ = turn.wait_timeout(guard, Duration::from_millis(100));
        NOW.fetch_sub(1, Ordering::SeqCst);
        passes_at_last()
    }
    static A: Check = needs(Needs::EXCLUSIVE, check("a/a", alone));
    static B: Check = needs(Needs::EXCLUSIVE, check("a/b", alone));
    static C: Check = check("a/c", alone);
    ran(&[&A, &B, &C]);
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
}
