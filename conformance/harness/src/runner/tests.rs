//! Checks that end in every way, or do not end, and the records that the runner makes of them.

mod applies;
mod confirm;
mod order;
mod settle;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{RunResult, Settings, record, run};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::{CheckOptions, Context, Shared};
use crate::event::{Event, Record, Verdict};
use crate::subject::{Platform, Subject};

const fn check(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Check {
    Check::made_up(id, run)
}

const fn needs(needs: Needs, mut check: Check) -> Check {
    check.needs = needs;
    check
}

const fn after(after: &'static [&'static str], mut check: Check) -> Check {
    check.after = after;
    check
}

#[expect(clippy::unnecessary_wraps, reason = "as every check's function")]
fn passes_at_last() -> Outcome {
    Ok(Pass::new("seen"))
}

/// One that says whether the program stays.
const fn gate(run: fn(&Context<'_>) -> Outcome) -> Check {
    Check {
        needs: Needs::GATE,
        ..check("startup/stays", run)
    }
}

static STAYS: Check = gate(passes);
static STAYS_NOT: Check = gate(never_runs);

#[expect(clippy::unnecessary_wraps, reason = "as every check's function")]
fn passes(_: &Context<'_>) -> Outcome {
    Ok(Pass::new("seen").with("more"))
}

fn fails(_: &Context<'_>) -> Outcome {
    fails_at_last()
}

fn fails_at_last() -> Outcome {
    Err(Finding::new("expected", "observed").with("evidence").into())
}

fn never_runs(_: &Context<'_>) -> Outcome {
    never_runs_at_last()
}

fn never_runs_at_last() -> Outcome {
    Err(Stop::NotRunning(Finding::new("it runs", "it does not")))
}

fn subject() -> Subject {
    Subject::of_program("program", b"\x7fELF".as_slice().into(), Platform::host())
}

fn settings() -> Settings {
    Settings {
        jobs: 2,
        timeout: Duration::from_mins(1),
        reproduce: "judge --image x".to_owned(),
        explain: "pause-conformance explain".to_owned(),
        interrupted: Arc::default(),
    }
}

fn one_at_a_time() -> Settings {
    Settings {
        jobs: 1,
        ..settings()
    }
}

fn shared() -> Shared {
    Shared::new(subject(), CheckOptions::default(), None, 1.0)
}

fn ran_with(checks: &[&'static Check], shared: Shared, settings: &Settings) -> RunResult {
    run(checks, &Arc::new(shared), settings, &mut |_| {})
}

fn ran(checks: &[&'static Check]) -> Vec<Record> {
    let ran = ran_with(checks, shared(), &settings());
    assert!(!ran.interrupted);
    assert_eq!(ran.records.len(), checks.len(), "no verdict is lost");
    ran.records
}

/// Verdicts and reasons.
fn ends(checks: &[&'static Check]) -> Vec<(Verdict, String)> {
    let reason = |record: Record| (record.verdict, record.reason.unwrap_or_default());
    ran(checks).into_iter().map(reason).collect()
}

#[test]
fn each_way_of_ending_becomes_its_verdict() {
    static PASS: Check = check("a/pass", passes);
    static FAIL: Check = check("a/fail", fails);
    static SKIP: Check = check("a/skip", |_| Err(Stop::Skip("why".to_owned())));
    static OPEN: Check = check("a/open", |_| Err(Stop::Inconclusive("why".to_owned())));
    static ERROR: Check = check("a/error", |_| Err(Stop::Error("why".to_owned())));
    let records = ran(&[&PASS, &FAIL, &SKIP, &OPEN, &ERROR]);
    let ends: Vec<_> = records
        .iter()
        .map(|it| (it.verdict, it.reason.as_deref()))
        .collect();
    let why = Some("why");
    assert_eq!(
        ends,
        [
            (Verdict::Pass, None),
            (Verdict::Fail, None),
            (Verdict::Skipped, why),
            (Verdict::Inconclusive, why),
            (Verdict::Error, why),
        ]
    );
    let again: Vec<_> = records.iter().map(|it| it.reproduce.as_deref()).collect();
    let command = |id| format!("judge --image x --filter {id}");
    let [fail, open, error] = ["a/fail", "a/open", "a/error"].map(command);
    assert_eq!(
        again,
        [None, Some(&*fail), None, Some(&*open), Some(&*error)]
    );
}

#[test]
fn a_record_holds_what_the_check_saw_and_what_it_is() {
    static PASS: Check = check("a/pass", passes);
    static FAIL: Check = check("a/fail", fails);
    let records = ran(&[&PASS, &FAIL]);
    let [pass, fail] = &records[..] else {
        panic!("two records")
    };
    assert_eq!(
        (pass.expected.as_deref(), pass.observed.as_deref()),
        (None, Some("seen"))
    );
    assert_eq!(pass.evidence, ["more"]);
    assert_eq!(fail.expected.as_deref(), Some("expected"));
    assert_eq!(fail.observed.as_deref(), Some("observed"));
    assert_eq!(fail.evidence, ["evidence"]);
    let like = record(&FAIL, Verdict::Fail);
    assert_eq!(
        (
            &fail.id,
            &fail.title,
            fail.level,
            &fail.requirement,
            &fail.source,
            &fail.source_url
        ),
        (
            &like.id,
            &like.title,
            like.level,
            &like.requirement,
            &like.source,
            &like.source_url
        )
    );
    assert_eq!(fail.expected_failure, None);
}

#[test]
fn a_check_that_panics_is_an_error_in_its_own_words() {
    static TEXT: Check = check("a/text", |_| panic!("of its own"));
    static MADE: Check = check("a/made", |_| panic!("{} words", 2));
    static NONE: Check = check("a/none", |_| std::panic::panic_any(1_u8));
    let words = ["of its own", "2 words", "no message"];
    let expected = words.map(|it| (Verdict::Error, format!("the check panicked: {it}")));
    assert_eq!(ends(&[&TEXT, &MADE, &NONE]), expected);
}

#[test]
fn a_check_that_does_not_end_is_given_up_and_the_others_are_not() {
    static STUCK: Check = check("a/stuck", |_| {
        loop {
            std::thread::park();
        }
    });
    static PASS: Check = check("a/pass", passes);
    let settings = Settings {
        timeout: Duration::from_millis(300),
        jobs: 1,
        ..settings()
    };
    let ran = ran_with(&[&STUCK, &PASS], shared(), &settings);
    let [stuck, pass] = &ran.records[..] else {
        panic!("two records")
    };
    assert_eq!(stuck.verdict, Verdict::Error);
    assert_eq!(stuck.reason.as_deref(), Some("did not end within 300ms"));
    assert!(stuck.duration_us >= 300_000);
    assert_eq!(pass.verdict, Verdict::Pass);
}

#[test]
fn who_asks_to_stop_gets_what_has_ended() {
    static ASKED: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
    static ASKS: Check = check("a/asks", |_| {
        if let Some(flag) = &*ASKED.lock().expect("nobody panics") {
            flag.store(true, Ordering::Relaxed);
        }
        passes_at_last()
    });
    static LATER: Check = check("a/later", passes);
    let one = one_at_a_time();
    *ASKED.lock().expect("nobody panics") = Some(Arc::clone(&one.interrupted));
    let ran = ran_with(&[&ASKS, &LATER], shared(), &one);
    assert!(ran.interrupted);
    let ids: Vec<_> = ran
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(ids, ["a/asks"]);
}

#[test]
fn every_check_is_told_of_once_and_begins_only_where_it_applies() {
    static PASS: Check = check("a/pass", passes);
    static SKIPPED: Check = needs(Needs::SANDBOX, check("a/skipped", passes));
    let mut told = Vec::new();
    run(
        &[&PASS, &SKIPPED],
        &Arc::new(shared()),
        &settings(),
        &mut |event| match event {
            Event::CheckStarted { id } => told.push(format!("{id} begins")),
            Event::CheckFinished { record } => told.push(format!("{} ends", record.id)),
            _ => told.push("something else".to_owned()),
        },
    );
    assert_eq!(told, ["a/skipped ends", "a/pass begins", "a/pass ends"]);
}

#[test]
fn what_is_only_measured_never_fails() {
    static FIGURE: Check = Check {
        level: Level::Info,
        ..check("a/figure", never_runs)
    };
    let why = |reason: &str| (Verdict::Inconclusive, reason.to_owned());
    assert_eq!(ends(&[&FIGURE]), [why("it does not")]);
}
