//! What the runner makes of checks that end in every way, or do not end.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use rstest::rstest;

use pause_sandbox::Features;

use super::{Confirm, NO_COMPONENTS, Run, RunResult, Settings, blame_nobody, record, run};
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::calibration::tests as calibration;
use crate::calibration::{Calibration, Programs};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::{CheckOptions, Context, Lack, Shared};
use crate::event::{Event, Record, Verdict};
use crate::kubernetes::Minor;
use crate::subject::{NoProgram, Platform, Subject};
use crate::wasi_sim::RUNS_COMPONENTS;

const fn check(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Check {
    Check::made_up(id, run)
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
        interrupted: Arc::default(),
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
fn what_is_needed_and_not_offered_is_named() {
    static SANDBOX: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/sandbox", passes)
    };
    static MINOR: Check = Check {
        needs: Needs::KUBERNETES,
        ..check("a/minor", passes)
    };
    static LONG: Check = Check {
        needs: Needs::LONG,
        ..check("a/long", passes)
    };
    static PLATFORM: Check = Check {
        needs: Needs::REQUIRED_PLATFORMS,
        ..check("a/platform", passes)
    };
    static HINTED: Check = Check {
        needs: Needs::HINTS,
        ..check("a/hinted", passes)
    };
    let checks: [&'static Check; 5] = [&SANDBOX, &MINOR, &LONG, &PLATFORM, &HINTED];
    let words = [
        "needs a sandbox",
        "needs a Kubernetes version (`--kubernetes MINOR`)",
        "needs the long form (`--long`)",
        "needs a platform that must be there (`--require-platform`)",
    ];
    let skipped = words.map(|it| (Verdict::Skipped, it.to_owned()));
    let passed = (Verdict::Pass, String::new());
    assert_eq!(
        ends(&checks),
        [&skipped[..], std::slice::from_ref(&passed)].concat()
    );

    let asked = CheckOptions {
        kubernetes: Minor::parse("1.34").ok(),
        required_platforms: vec![Platform::host()],
        long: true,
        ..CheckOptions::default()
    };
    let shared = Shared::new(subject(), asked, None, 1.0);
    let verdicts: Vec<_> = ran_with(&checks, shared, &settings()).records;
    let verdicts: Vec<_> = verdicts.iter().map(|record| record.verdict).collect();
    let pass = Verdict::Pass;
    assert_eq!(verdicts, [Verdict::Skipped, pass, pass, pass, pass]);
}

#[test]
fn where_there_is_no_program_the_reason_says_why() {
    static PROGRAM: Check = Check {
        needs: Needs::PROGRAM,
        ..check("a/program", passes)
    };
    let mut shared = shared();
    assert_eq!(ends(&[&PROGRAM])[0].0, Verdict::Pass);
    shared.subject.program = Err(NoProgram::Unset);
    let ran = ran_with(&[&PROGRAM], shared, &settings());
    assert_eq!(ran.records[0].verdict, Verdict::Skipped);
    assert_eq!(
        ran.records[0].reason.as_deref(),
        Some("the image has no program that can be started: neither Entrypoint nor Cmd is set")
    );
}

#[test]
fn where_the_subject_is_not_to_be_run_its_own_reason_is_given() {
    static SANDBOX: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/sandbox", passes)
    };
    static MINOR: Check = Check {
        needs: Needs::KUBERNETES,
        ..check("a/minor", passes)
    };
    let run = Run {
        shared: &Arc::new(shared()),
        settings: &settings(),
        confirm: None,
        not_run: Some("it is for another platform"),
    };
    let records = run.over(&[&SANDBOX, &MINOR], &mut |_| {}).records;
    let reasons = records.iter().map(|record| record.reason.as_deref());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            Some("it is for another platform"),
            Some("needs a Kubernetes version (`--kubernetes MINOR`)"),
        ]
    );
}

#[rstest]
#[case::module(b"\0asm\x01\0\0\0", None)]
#[case::component(b"\0asm\x0d\0\x01\0", (!RUNS_COMPONENTS).then_some(NO_COMPONENTS))]
#[case::neither(
    b"\0asm",
    Some("needs a valid WebAssembly program that the suite can run")
)]
fn what_webassembly_is_skipped_for_is_said(#[case] program: &[u8], #[case] why: Option<&str>) {
    static CLOCK: Check = Check {
        needs: Needs::VIRTUAL_CLOCK,
        ..check("a/clock", passes)
    };
    static NATIVE: Check = Check {
        needs: Needs::PROGRAM,
        ..check("a/native", passes)
    };
    static SANDBOX: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/sandbox", passes)
    };
    let subject = Subject::of_wasm("program", program.into());
    let shared = Shared::new(subject, CheckOptions::default(), None, 1.0);
    let records = ran_with(&[&CLOCK, &NATIVE, &SANDBOX], shared, &settings()).records;
    let reasons = records.iter().map(|record| record.reason.as_deref());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            why,
            Some("needs a native program; this one is WebAssembly"),
            Some("needs a sandbox"),
        ]
    );
}

/// A backend that offers a sandbox, lacks a memory limit for a reason, and may refuse threads.
struct Engine {
    adopts: bool,
}

impl Backend for Engine {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        (need == Features::MEMORY_LIMIT).then_some("no cgroup of its own")
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        unreachable!("nothing is started here")
    }

    fn adopt_thread(&self) -> io::Result<()> {
        if self.adopts {
            Ok(())
        } else {
            Err(io::Error::other("no threads"))
        }
    }

    fn counters(&self) -> crate::shortage::Counters {
        crate::shortage::Counters::default()
    }
}

/// A backend on a host whose OOM killer never rests.
struct Starved {
    killed: AtomicU64,
}

impl Backend for Starved {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, _: Features) -> Option<&str> {
        None
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        unreachable!("nothing is started here")
    }

    fn adopt_thread(&self) -> io::Result<()> {
        Ok(())
    }

    fn counters(&self) -> crate::shortage::Counters {
        let killed = self.killed.fetch_add(1, Ordering::Relaxed);
        crate::shortage::Counters {
            killed: Some(killed),
            refused: 0,
        }
    }
}

#[test]
fn a_shortage_excuses_what_ran_something_and_nothing_else() {
    static READS: Check = check("a/reads", fails);
    static RUNS: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/runs", fails)
    };
    let starved: Arc<dyn Backend + Send + Sync> = Arc::new(Starved {
        killed: AtomicU64::new(0),
    });
    let shared = Shared::new(subject(), CheckOptions::default(), Some(starved), 1.0);
    let records = ran_with(&[&READS, &RUNS], shared, &settings()).records;
    let verdicts = records.iter().map(|record| record.verdict);
    assert!(verdicts.eq([Verdict::Fail, Verdict::Inconclusive]));
}

#[test]
fn an_engine_says_what_it_lacks_and_prepares_each_thread() {
    static SANDBOX: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/sandbox", passes)
    };
    static MEMORY: Check = Check {
        needs: Needs::SANDBOX.union(Needs::MEMORY_LIMIT),
        ..check("a/memory", passes)
    };
    let with = |adopts| {
        let engine: Arc<dyn Backend + Send + Sync> = Arc::new(Engine { adopts });
        let shared = Shared::new(subject(), CheckOptions::default(), Some(engine), 1.0);
        let records = ran_with(&[&SANDBOX, &MEMORY], shared, &settings()).records;
        let [sandbox, memory] = &records[..] else {
            panic!("two records")
        };
        assert_eq!(memory.verdict, Verdict::Skipped);
        assert_eq!(memory.reason.as_deref(), Some("no cgroup of its own"));
        (sandbox.verdict, sandbox.reason.clone())
    };
    assert_eq!(with(true), (Verdict::Pass, None));
    let why = "cannot prepare a thread for sandboxes: no threads".to_owned();
    assert_eq!(with(false), (Verdict::Error, Some(why)));
}

#[test]
fn a_check_says_nothing_without_the_one_before_it() {
    static FIRST: Check = check("a/first", fails);
    static GOOD: Check = check("a/good", passes);
    static AFTER: Check = Check {
        after: &["a/good", "a/first"],
        ..check("a/after", passes)
    };
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
    static ONE: Check = Check {
        after: &["a/two"],
        ..check("a/one", passes)
    };
    static TWO: Check = Check {
        after: &["a/one"],
        ..check("a/two", passes)
    };
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
fn a_program_that_never_runs_fails_one_check_and_not_all() {
    static OTHER: Check = check("a/other", never_runs);
    static AFTER: Check = Check {
        after: &["a/other"],
        ..check("a/after", passes)
    };
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
    static AFTER: Check = Check {
        after: &["a/ends"],
        ..check("a/after", passes)
    };
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
    let one = Settings {
        jobs: 1,
        ..settings()
    };
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
    static AFTER_ENDS: Check = Check {
        after: &["a/ends"],
        ..check("a/after-ends", passes)
    };
    static AFTER_GOOD: Check = Check {
        after: &["a/good"],
        ..check("a/after-good", passes)
    };
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
        let one = Settings {
            jobs: 1,
            ..settings()
        };
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

#[test]
fn what_takes_long_to_fail_begins_early() {
    static PLAIN: Check = check("a/plain", passes);
    static LATE: Check = Check {
        needs: Needs::SLOW_FAIL,
        ..check("a/late", passes)
    };
    let one = Settings {
        jobs: 1,
        ..settings()
    };
    let mut order = Vec::new();
    run(&[&PLAIN, &LATE], &Arc::new(shared()), &one, &mut |event| {
        if let Event::CheckStarted { id } = event {
            order.push(*id);
        }
    });
    assert_eq!(order, ["a/late", "a/plain"]);
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
    let one = Settings {
        jobs: 1,
        ..settings()
    };
    let mut order = Vec::new();
    let checks: [&'static Check; 4] = [&QUIET, &PLAIN, &OTHER, &WINDOW];
    let ran = run(&checks, &Arc::new(shared()), &one, &mut |event| {
        if let Event::CheckStarted { id } = event {
            order.push(*id);
        }
    });
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
fn what_a_window_waits_for_begins_before_all_else() {
    static PLAIN: Check = check("a/plain", passes);
    static LATE: Check = Check {
        needs: Needs::SLOW_FAIL,
        ..check("a/late", passes)
    };
    static FIRST: Check = check("a/first", passes);
    static SECOND: Check = Check {
        after: &["a/first"],
        ..check("a/second", passes)
    };
    static WINDOW: Check = Check {
        needs: Needs::WAITS,
        after: &["a/second", "a/not-asked-for"],
        ..check("a/window", passes)
    };
    let one = Settings {
        jobs: 1,
        ..settings()
    };
    let mut order = Vec::new();
    let checks: [&'static Check; 5] = [&PLAIN, &LATE, &WINDOW, &SECOND, &FIRST];
    run(&checks, &Arc::new(shared()), &one, &mut |event| {
        if let Event::CheckStarted { id } = event {
            order.push(*id);
        }
    });
    assert_eq!(
        order,
        ["a/first", "a/second", "a/window", "a/late", "a/plain"]
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
    static A: Check = Check {
        needs: Needs::EXCLUSIVE,
        ..check("a/a", alone)
    };
    static B: Check = Check {
        needs: Needs::EXCLUSIVE,
        ..check("a/b", alone)
    };
    static C: Check = check("a/c", alone);
    ran(&[&A, &B, &C]);
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
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
    let one = Settings {
        jobs: 1,
        ..settings()
    };
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
    static SKIPPED: Check = Check {
        needs: Needs::SANDBOX,
        ..check("a/skipped", passes)
    };
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
    static AFTER: Check = Check {
        after: &["startup/read-only-root"],
        ..check("a/after", passes)
    };
    let checks: [&'static Check; 3] = [&ROOT, &AFTER, &STAYS_NOT];
    // In this order.
    let one = Settings {
        jobs: 1,
        ..settings()
    };
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

#[test]
fn what_is_only_measured_never_fails() {
    static FIGURE: Check = Check {
        level: Level::Info,
        ..check("a/figure", never_runs)
    };
    let why = |reason: &str| (Verdict::Inconclusive, reason.to_owned());
    assert_eq!(ends(&[&FIGURE]), [why("it does not")]);
}
