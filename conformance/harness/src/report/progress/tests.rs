//! The text of the progress line after each event.

use std::time::{Duration, Instant};

use super::Progress;
use crate::check::{Check, Pass};
use crate::event::{Event, Record, Run, RunHead, Verdict};
use crate::report::Reporter as _;

static CHECK: Check = Check::made_up("a/first", |_| Ok(Pass::new("seen")));

fn record(id: &str, verdict: Verdict) -> Record {
    Record {
        id: id.to_owned(),
        ..crate::runner::record(&CHECK, verdict)
    }
}

/// The line that the template makes.
fn line(progress: &Progress<Vec<u8>>) -> String {
    let bar = &progress.bar;
    let of = bar.length().expect("it is known");
    format!("{}/{of} {}", bar.position(), bar.message())
}

fn head() -> RunHead {
    RunHead {
        image: "x".to_owned(),
        digest: None,
        platform: "linux/amd64".to_owned(),
        runtime: "none".to_owned(),
        emulator: None,
        wasi_engine: None,
        engine_facts: Vec::new(),
        static_only: false,
        part: None,
        companion: false,
    }
}

#[test]
fn the_line_says_what_failed_and_what_the_run_waits_for() {
    let mut progress = Progress::to_log(Vec::new());
    progress.runs = (2, 0);
    let mut tell = |event: &Event<'_>| {
        progress.event(event).expect("it is in memory");
        line(&progress)
    };
    let begins = |id| Event::CheckStarted { id };
    let (head, checks) = (head(), 3);
    let run = Event::RunStarted {
        head: &head,
        checks,
    };
    assert_eq!(tell(&run), "0/3   [1/2] x linux/amd64 on none");
    let mut tell = |event: &Event<'_>| {
        let line = tell(event);
        let (what, _) = line.split_once("  [").expect("as above");
        what.to_owned()
    };
    assert_eq!(tell(&begins("a/first")), "0/3 a/first");
    assert_eq!(tell(&begins("a/second")), "0/3 a/first");
    assert_eq!(tell(&begins("a/third")), "0/3 a/first");
    let passed = record("a/second", Verdict::Pass);
    let ends = Event::CheckFinished { record: &passed };
    assert_eq!(tell(&ends), "1/3 a/first");
    let failed = record("a/first", Verdict::Fail);
    let ends = Event::CheckFinished { record: &failed };
    assert_eq!(tell(&ends), "2/3 1 failed  a/third");
    let mut known = record("a/third", Verdict::Fail);
    known.expected_failure = Some("upstream".to_owned());
    let ends = Event::CheckFinished { record: &known };
    assert_eq!(tell(&ends), "3/3 1 failed  ");
    assert_eq!(tell(&run), "0/3 ", "the next run has failed nothing");
}

/// A log hears of a run that goes on for long, and of one that does not only that it begins.
#[test]
fn a_log_hears_of_a_run_each_ten_seconds() {
    let mut progress = Progress::to_log(Vec::new());
    let (head, checks) = (head(), 2);
    let tell = |progress: &mut Progress<Vec<u8>>, event: &Event<'_>| {
        progress.event(event).expect("it is in memory");
    };
    tell(
        &mut progress,
        &Event::RunStarted {
            head: &head,
            checks,
        },
    );
    tell(&mut progress, &Event::CheckStarted { id: "a/first" });
    tell(&mut progress, &Event::CheckStarted { id: "a/second" });
    tell(&mut progress, &Event::Waiting);
    let failed = record("a/first", Verdict::Fail);
    tell(&mut progress, &Event::CheckFinished { record: &failed });
    let past = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
    let Some(past) = past(11).zip(past(10)) else {
        // A clock that has run for less has no such past.
        return;
    };
    (progress.run.2, progress.run.3) = past;
    tell(&mut progress, &Event::Waiting);
    tell(&mut progress, &Event::Waiting);
    let log = String::from_utf8(progress.log.take().expect("a log")).expect("UTF-8");
    let expected = "x linux/amd64 on none: 2 checks\n\
                    x linux/amd64 on none: 1 of 2 checks after 11 s, 1 failed, at a/second\n";
    assert_eq!(log, expected);
}

#[test]
fn the_line_is_gone_before_a_run_is_reported() {
    let mut progress = Progress::to_log(Vec::new());
    let tell = |event: &Event<'_>| {
        progress.event(event).expect("it is in memory");
        progress.bar.is_finished()
    };
    let (head, checks) = (head(), 1);
    let run = Run::new(&head, Vec::new());
    let begins = Event::RunStarted {
        head: &head,
        checks,
    };
    let ends = Event::RunFinished {
        run: &run,
        strict: false,
    };
    assert_eq!([&begins, &ends, &begins].map(tell), [false, true, false]);
}
