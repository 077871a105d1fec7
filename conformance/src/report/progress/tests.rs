//! The text of the progress line after each event.

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
    format!("{} {}/{of} {}", bar.prefix(), bar.position(), bar.message())
}

fn head() -> RunHead {
    RunHead {
        image: "x".to_owned(),
        digest: None,
        platform: "linux/amd64".to_owned(),
        runtime: "none".to_owned(),
        emulator: None,
        wasi_engine: None,
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
    assert_eq!(tell(&run), "[1/2] x linux/amd64 on none 0/3 ");
    let mut tell = |event: &Event<'_>| {
        let line = tell(event);
        line.split_once("none ").expect("as above").1.to_owned()
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
