//! The suite judged by programs whose faults are known: every check that runs a
//! program, over every fixture, on the user's own host.
//!
//! **A sound fixture fails nothing that binds, a broken one exactly what it names.**

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fixtures::Fixture;

use crate::backend::Backend;
use crate::check::{Check, Level, Needs};
use crate::checks::FAMILIES;
use crate::context::{CheckOptions, Shared};
use crate::event::{Record, Verdict};
use crate::programs;
use crate::runner::{self, Settings};
use crate::subject::{Platform, Subject};

/// How a fixture was judged against what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Checks that failed, as they had to or may.
    pub caught: Vec<String>,
    /// Checks that the fixture breaks and that did not fail, with what they came to.
    pub missed: Vec<String>,
    /// Checks that failed, or were in error, on what is right here; with what was seen.
    pub wrong: Vec<String>,
}

impl Judged {
    /// The fixture was judged as it had to be.
    pub fn is_right(&self) -> bool {
        self.missed.is_empty() && self.wrong.is_empty()
    }
}

/// Checks that no program fails alone. In a sandbox of the embedded engine the kernel
/// holds what most of them ask for: they judge the engine, and hold against engines
/// without true pid namespaces. The others ask for what the usual start asks for
/// already, or run in the long form alone.
pub const BROKEN_BY_NO_PROGRAM: &[&str] = &[
    "namespaces/pid-private",
    "namespaces/teardown",
    "namespaces/volume-shared",
    "pid1/is-one",
    "reaping/any-user",
    "reaping/soak",
    "signals/kill-from-inside-ignored",
    "signals/kill-is-137",
    "startup/user-namespace",
];

/// The checks that a fixture is run through: those that bind and run its program.
pub fn checks() -> Vec<&'static Check> {
    FAMILIES
        .iter()
        .flat_map(|family| family.checks.iter().copied())
        .filter(|check| check.level != Level::Info && check.needs.contains(Needs::SANDBOX))
        .collect()
}

/// A fixture as a subject.
///
/// # Errors
/// When the program that the suite carries is not the fixtures'.
pub fn subject(fixture: &Fixture) -> Result<Subject, fixtures::catalogue::NotFixtures> {
    let program = fixture.build(programs::FIXTURE)?;
    Ok(Subject::of_program(
        fixture.name,
        program.into(),
        Platform::host(),
    ))
}

/// Runs every check over one fixture.
///
/// # Errors
/// As [`subject`].
pub fn judge(
    fixture: &Fixture,
    checks: &[&'static Check],
    backend: &Arc<dyn Backend + Send + Sync>,
    time_scale: f64,
    settings: &Settings,
) -> Result<Judged, fixtures::catalogue::NotFixtures> {
    let shared = Shared::new(
        subject(fixture)?,
        CheckOptions::default(),
        Some(Arc::clone(backend)),
        time_scale,
    );
    let ran = runner::run(checks, &Arc::new(shared), settings, &mut |_| {});
    Ok(compare(fixture, &ran.records))
}

fn compare(fixture: &Fixture, records: &[Record]) -> Judged {
    let mut judged = Judged::default();
    for record in records {
        let id = record.id.as_str();
        let breaks = fixture.breaks.contains(&id);
        let seen = record.observed.as_ref().or(record.reason.as_ref());
        let line = || {
            format!(
                "{id}: {}: {}",
                record.verdict.as_str(),
                seen.map_or("", String::as_str)
            )
        };
        match record.verdict {
            Verdict::Fail if breaks || fixture.also.contains(&id) => {
                judged.caught.push(id.to_owned());
            }
            Verdict::Fail | Verdict::Error => judged.wrong.push(line()),
            // What this host cannot provoke says nothing of the fixture.
            Verdict::Skipped if breaks && !lacks_prerequisite(record) => {}
            Verdict::Pass | Verdict::Skipped if breaks => judged.missed.push(line()),
            // The host was too busy to tell, and says so: neither caught nor wrong.
            Verdict::Inconclusive | Verdict::Pass | Verdict::Skipped => {}
        }
    }
    // What was skipped since another check that the fixture breaks failed is not missed.
    let caught = &judged.caught;
    judged
        .missed
        .retain(|line| !caught.iter().any(|id| line.contains(&format!(" {id},"))));
    judged
}

/// Skipped because another check did not pass, and not because of the host.
fn lacks_prerequisite(record: &Record) -> bool {
    record
        .reason
        .as_ref()
        .is_some_and(|reason| reason.starts_with(runner::SAYS_NOTHING))
}

/// Every fixture through every check, several fixtures at a time; each is handed to
/// `seen` as it is judged, from one thread at a time.
///
/// # Errors
/// As [`judge`].
pub fn run(
    backend: &Arc<dyn Backend + Send + Sync>,
    time_scale: f64,
    settings: &Settings,
    at_a_time: usize,
    seen: &(dyn Fn(&Fixture, &Judged) + Sync),
) -> Result<Matrix, fixtures::catalogue::NotFixtures> {
    let checks = checks();
    let all: Vec<&'static Fixture> = fixtures::all().collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let work = || -> Result<(), fixtures::catalogue::NotFixtures> {
            while let Some(fixture) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                if settings.interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let judged = judge(fixture, &checks, backend, time_scale, settings)?;
                let mut results = match results.lock() {
                    Ok(results) => results,
                    Err(poisoned) => poisoned.into_inner(),
                };
                seen(fixture, &judged);
                results.insert(fixture.name, judged);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..at_a_time.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    let results = match results.into_inner() {
        Ok(results) => results,
        Err(poisoned) => poisoned.into_inner(),
    };
    Ok(Matrix {
        checks,
        results,
        whole: !settings.interrupted.load(Ordering::Relaxed),
    })
}

/// Which fixture was caught by which check.
#[derive(Debug)]
pub struct Matrix {
    checks: Vec<&'static Check>,
    results: BTreeMap<&'static str, Judged>,
    whole: bool,
}

impl Matrix {
    /// Checks that no fixture failed.
    pub fn unbroken(&self) -> Vec<&'static str> {
        let broken: BTreeSet<&str> = self
            .results
            .values()
            .flat_map(|judged| &judged.caught)
            .map(String::as_str)
            .collect();
        self.checks
            .iter()
            .map(|check| check.id)
            .filter(|id| !broken.contains(id) && !BROKEN_BY_NO_PROGRAM.contains(id))
            .collect()
    }

    /// Every fixture was judged as it had to be.
    pub fn is_right(&self) -> bool {
        self.whole && self.results.values().all(Judged::is_right)
    }

    /// Writes it: a line for each check, the fixtures that it caught, then what is wrong.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let width = self
            .checks
            .iter()
            .map(|check| check.id.len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let caught: Vec<&str> = self
                .results
                .iter()
                .filter(|(_, judged)| judged.caught.iter().any(|id| id == check.id))
                .map(|(name, _)| *name)
                .collect();
            let caught = if caught.is_empty() {
                "-".to_owned()
            } else {
                caught.join(", ")
            };
            writeln!(out, "{:<6} {:<width$}  {caught}", check.level, check.id)?;
        }
        for (name, judged) in &self.results {
            for line in &judged.missed {
                writeln!(out, "MISSED {name}: {line}")?;
            }
            for line in &judged.wrong {
                writeln!(out, "WRONG  {name}: {line}")?;
            }
        }
        let wrong = self
            .results
            .values()
            .filter(|judged| !judged.is_right())
            .count();
        let right = self.results.len() - wrong;
        let unbroken = self.unbroken().len();
        writeln!(
            out,
            "\n{} fixtures: {right} judged as they must be, {wrong} not; {} checks, {unbroken} broken by none{}",
            self.results.len(),
            self.checks.len(),
            if self.whole { "" } else { "; interrupted" },
        )
    }
}

/// How the fixtures are run: nobody shows their failures again one by one.
pub fn settings(interrupted: Arc<AtomicBool>) -> Settings {
    Settings {
        jobs: 2,
        timeout: std::time::Duration::from_mins(1),
        reproduce: "pause-conformance self-test".to_owned(),
        interrupted,
    }
}
