//! Programs for arm64 under emulation: what the emulator does by itself is never the program's
//! fault, and the known faults of programs are found there too.
//!
//! `PAUSE_CONFORMANCE_FOREIGN=all` runs all fixtures through all checks, instead of a selection.

#[path = "../common/filter.rs"]
mod filter;
#[path = "../common/foreign.rs"]
mod foreign;

mod dying;
mod matrix;
mod packages;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::backend::Backend;
use conformance::backend::embedded::{Embedded, Emulated};
use conformance::calibration::{Calibration, Programs};
use conformance::check::Check;
use conformance::context::{CheckOptions, Shared};
use conformance::emulator::{EmulationMode, Emulator};
use conformance::event::{Record, Verdict};
use conformance::runner::{Confirm, Run};
use conformance::subject::{Platform, Subject};
use conformance::{self_test, wasi_host};
use filter::Named;
use libtest_mimic::{Arguments, Trial};

/// The state that all tests share.
struct Room {
    engine: Arc<Embedded>,
    /// The backend for arm64.
    backend: Arc<dyn Backend>,
    /// Every check that binds.
    checks: Vec<&'static Check>,
    /// The programs for arm64.
    programs: PathBuf,
    calibration: Arc<dyn Confirm>,
}

impl Room {
    /// Must be called before any other thread starts: unshare(2) of a user namespace needs a
    /// single-threaded process.
    fn prepare(programs: PathBuf) -> anyhow::Result<Self> {
        let emulator = Emulator::find(&arm64())?;
        let engine = Arc::new(Embedded::prepare_for(std::slice::from_ref(&emulator))?);
        let emulated = Emulated::new(Arc::clone(&engine), &emulator, None);
        let backend: Arc<dyn Backend> = Arc::new(emulated.map_err(anyhow::Error::msg)?);
        let calibration = Calibration::new(
            Arc::clone(&backend),
            Programs::read(programs.parent(), &arm64()),
            arm64(),
            1.0,
            self_test::settings(Arc::default()),
        );
        Ok(Self {
            backend,
            calibration: Arc::new(calibration),
            engine,
            checks: self_test::checks(),
            programs,
        })
    }

    fn program(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.programs.join(name))?)
    }

    /// Runs these checks on a subject.
    fn run(&self, subject: Subject, checks: &[&'static Check], long: bool) -> Vec<Record> {
        run(shared(subject, &self.backend, long), checks, None)
    }

    /// As [`Room::run`], with this program as the emulator.
    fn run_under(
        &self,
        emulator: &Emulator,
        subject: Subject,
        checks: &[&'static Check],
    ) -> Result<Vec<Record>, String> {
        let emulated = Emulated::new(
            Arc::clone(&self.engine),
            emulator,
            Some(EmulationMode::Program),
        )?;
        let emulated: Arc<dyn Backend> = Arc::new(emulated);
        Ok(run(shared(subject, &emulated, false), checks, None))
    }

    /// Runs all checks as for a user, without verdicts that the emulator does not allow.
    fn judge(&self, subject: Subject) -> Vec<Record> {
        let shared = shared(subject, &self.backend, false);
        run(shared, &self.checks, Some(&self.calibration))
    }
}

fn shared(subject: Subject, backend: &Arc<dyn Backend>, long: bool) -> Shared {
    let options = CheckOptions {
        long,
        ..CheckOptions::default()
    };
    Shared::new(subject, options, Some(Arc::clone(backend)), 1.0)
}

fn run(
    shared: Shared,
    checks: &[&'static Check],
    confirm: Option<&Arc<dyn Confirm>>,
) -> Vec<Record> {
    let run = Run {
        shared: &Arc::new(shared),
        settings: &self_test::settings(Arc::default()),
        confirm,
        not_run: None,
    };
    run.over(checks, &mut |_| {}).records
}

fn arm64() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "arm64".to_owned(),
        ..Platform::host()
    }
}

fn line(record: &Record) -> String {
    let seen = record.observed.as_ref().or(record.reason.as_ref());
    let seen = seen.map_or("", String::as_str);
    format!("{}: {}: {seen}", record.id, record.verdict.as_str())
}

/// The record of a check that was run.
fn of<'a>(records: &'a [Record], id: &str) -> Result<&'a Record, String> {
    let found = records.iter().find(|record| record.id == id);
    found.ok_or_else(|| format!("{id} has no record"))
}

/// An error with all lines, if there are any.
fn none(lines: &[String]) -> Result<(), libtest_mimic::Failed> {
    if lines.is_empty() {
        return Ok(());
    }
    Err(lines.join("\n").into())
}

/// Whether every MUST has a verdict, and none failed.
fn faults(records: &[Record]) -> Vec<String> {
    let wrong = [Verdict::Fail, Verdict::Error, Verdict::Inconclusive];
    let faults = records
        .iter()
        .filter(|record| record.level == conformance::check::Level::Must)
        .filter(|record| wrong.contains(&record.verdict));
    faults.map(line).collect()
}

fn main() -> ExitCode {
    wasi_host::run_if_asked();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(self_test::at_a_time());
    // This may need the network, which the process leaves below.
    let fetched = packages::fetched();
    let room = match Room::prepare(foreign::arm64()) {
        Ok(room) => Arc::new(room),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = [
        matrix::trials(&room),
        dying::trials(&room),
        packages::trials(&room, fetched.as_deref()),
    ];
    let trials = filter::chosen(&mut arguments, trials.into_iter().flatten().map(named));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test, with the checks that the fixture of its name breaks.
fn named(trial: Trial) -> Named {
    let fixture = fixtures::all().find(|fixture| fixture.name == trial.name());
    let checks = fixture.map_or(&[][..], |fixture| fixture.breaks);
    Named::new(trial, checks.iter().copied())
}
