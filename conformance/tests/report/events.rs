//! Events of a runner: progress, and readers that go away.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use conformance::check::Level;
use conformance::event::{Event, Report, Verdict};
use conformance::report::Reporter;
use conformance::report::human::{Detail, Human};
use conformance::report::progress::Progress;
use conformance::report::reporters::Reporters;
use conformance::report::spec::{Format, ReportSpec};

use crate::{sample, snapshots};

/// Sends the events of a report.
fn play(report: &Report, mut event: impl FnMut(&Event<'_>)) {
    event(&Event::SuiteStarted {
        host: &report.host,
        runs: report.runs.len(),
    });
    for run in &report.runs {
        let head = sample::head(&run.platform);
        event(&Event::RunStarted {
            head: &head,
            checks: run.checks.len(),
        });
        event(&Event::CheckStarted {
            id: "startup/stays",
        });
        for record in &run.checks {
            event(&Event::CheckFinished { record });
        }
        event(&Event::RunFinished {
            run,
            strict: report.strict,
        });
    }
    event(&Event::SuiteFinished { report });
}

#[test]
fn the_events_of_a_report_write_what_it_writes_as_a_whole() {
    let report = sample::full();
    let mut human = Human::new(anstream::StripStream::new(Vec::new()));
    play(&report, |event| human.event(event).unwrap());
    let text = String::from_utf8(human.into_inner().into_inner()).unwrap();
    assert_eq!(text, snapshots::human(&report));
}

#[test]
fn a_log_gets_one_line_a_run() {
    let mut log = Vec::new();
    let mut progress = Progress::to_log(&mut log);
    play(&sample::full(), |event| progress.event(event).unwrap());
    drop(progress);
    let one = |number, platform, checks| {
        format!(
            "[{number}/3] registry.example/pause:1 {platform} on embedded (rootless): {checks} checks\n"
        )
    };
    let expected =
        one(1, "linux/amd64", 12) + &one(2, "linux/arm64", 2) + &one(3, "linux/amd64", 0);
    assert_eq!(String::from_utf8(log).unwrap(), expected);
}

/// Progress shows a baseline's run, which is not part of any report.
#[test]
fn what_no_report_holds_is_progress_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    let spec = ReportSpec {
        format: Format::Human,
        file: Some(file.clone()),
    };
    let mut log = Vec::new();
    let report = sample::full();
    let mut reporters = Reporters::open(&[spec], Detail::Usual)
        .unwrap()
        .with_progress(Progress::to_log(&mut log));
    play(&report, |event| reporters.aside(event));
    assert!(reporters.finish().is_empty());
    assert_eq!(String::from_utf8(log).unwrap().lines().count(), 3);
    assert!(!file.exists());
}

#[test]
fn one_run_is_not_numbered() {
    let mut log = Vec::new();
    let mut progress = Progress::to_log(&mut log);
    play(&sample::good(), |event| progress.event(event).unwrap());
    drop(progress);
    let expected = "registry.example/pause:1 linux/amd64 on embedded (rootless): 2 checks\n";
    assert_eq!(String::from_utf8(log).unwrap(), expected);
}

/// A writer that fails after a number of writes.
struct Failing {
    left: usize,
    kind: io::ErrorKind,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(self.kind.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_writers_error_comes_out_of_a_report() {
    for left in [0, 1, 3] {
        let kind = io::ErrorKind::BrokenPipe;
        let error = Human::new(Failing { left, kind })
            .whole(&sample::full())
            .unwrap_err();
        assert_eq!(error.kind(), kind);
    }
}

#[test]
fn progress_that_fails_is_dropped_and_nobody_is_told() {
    let failing = Failing {
        left: 0,
        kind: io::ErrorKind::StorageFull,
    };
    let mut reporters = Reporters::open(&[], Detail::Usual)
        .unwrap()
        .with_progress(Progress::to_log(failing));
    play(&sample::good(), |event| reporters.event(event));
    assert!(reporters.finish().is_empty());
}

/// A reporter that records the order in which reporters get events.
struct Heard(Rc<RefCell<Vec<String>>>);

impl Reporter for Heard {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if let Event::CheckFinished { record } = event {
            self.0.borrow_mut().push(record.id.clone());
        }
        Ok(())
    }
}

#[test]
fn progress_hears_every_event_in_order() {
    let heard = Rc::default();
    let mut reporters = Reporters::open(&[], Detail::Usual)
        .unwrap()
        .with_progress(Heard(Rc::clone(&heard)));
    let checks = ["a/b", "a/c"].map(|id| sample::record(id, Level::Must, Verdict::Pass));
    let report = sample::report(false, vec![sample::run("linux/amd64", checks.to_vec())]);
    play(&report, |event| reporters.event(event));
    assert_eq!(*heard.borrow(), ["a/b", "a/c"]);
}
