//! The suite judged by what is known: every check over programs, images and backends whose faults
//! are named, on the user's own host.
//!
//! **What is sound fails nothing that binds, what is broken exactly what it names.**

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fixtures::Fixture;
use fixtures::catalogue::NotFixtures;

use crate::backend::Backend;
use crate::check::{Check, Level, Needs};
use crate::checks::FAMILIES;
use crate::context::{CheckOptions, Shared};
use crate::event::{Record, Verdict};
use crate::programs;
use crate::runner::{self, Settings};
use crate::subject::{Platform, Subject};
use crate::wasi_sim::RUNS_COMPONENTS;

mod command;
mod engines;
mod images;
mod matrix;
mod selection;
mod wasi;

pub use command::command;
pub use engines::EngineFixture;
pub use images::{ImageFixture, Unread};
pub use matrix::Matrix;
pub use selection::{NoMatch, Selection};
pub use wasi::{PairFixture, WasiFixture};

/// Families of which nothing can be made where the texts of WASI programs cannot be
/// assembled.
const ASSEMBLED: &[&str] = &["wasi"];

/// Checks that judge a program by what it is like after its work, or by how much it can do at once, or
/// how often.
const OF_WORK: &[&str] = &[
    "namespaces/wasi-outlives",
    "reaping/after-work",
    "reaping/burst",
    "reaping/no-lost-wakeup",
    "resources/idle-cpu",
    "resources/idle-wakeups",
    "resources/memory",
    "security/no-fds",
    "signals/term-after-work",
    "startup/answers-when-ready",
];

/// What a check needs that only a build with a WASI runtime for components offers.
const OF_COMPONENTS: Needs = Needs::WASM_COMPONENT.union(Needs::VIRTUAL_CLOCK);

/// One thing under the suite of which is known what must become of it.
#[derive(Clone, Copy)]
pub enum Trial {
    /// A program, run in sandboxes.
    Program(&'static Fixture),
    /// An image, read, and some of them run.
    Image(&'static ImageFixture),
    /// A backend, which runs the reference pause.
    Engine(&'static EngineFixture),
    /// A WASI program, read and run on the virtual clock.
    Guest(&'static WasiFixture),
    /// A WASI program in a host, as PID 1 of a sandbox.
    Host(&'static PairFixture),
}

/// Everything, the programs first.
pub fn trials() -> impl Iterator<Item = Trial> {
    fixtures::all()
        .map(Trial::Program)
        .chain(images::all().map(Trial::Image))
        .chain(engines::ENGINES.iter().map(Trial::Engine))
        .chain(wasi::programs().map(Trial::Guest))
        .chain(wasi::pairs().map(Trial::Host))
}

/// The names of all that this check must fail on, also of what this build cannot make.
pub fn breakers(id: &str) -> Vec<&'static str> {
    let programs = fixtures::all().map(|it| (it.name, it.breaks));
    let images = images::described().map(|it| (it.name, it.breaks));
    let engines = engines::ENGINES.iter().map(|it| (it.name, it.breaks));
    let all = programs.chain(images).chain(engines);
    all.chain(wasi::described())
        .filter(|(_, breaks)| breaks.contains(&id))
        .map(|(name, _)| name)
        .collect()
}

/// The checks that trials are run through: those that bind.
pub fn checks() -> Vec<&'static Check> {
    FAMILIES
        .iter()
        .filter(|family| wasi::ASSEMBLES || !ASSEMBLED.contains(&family.name))
        .flat_map(|family| family.checks.iter().copied())
        .filter(|check| check.level != Level::Info)
        .filter(|check| RUNS_COMPONENTS || !check.needs.contains(OF_COMPONENTS))
        .collect()
}

/// Those that cannot be made on this host, such as those of limits that the caller may not
/// set, and why: nothing can be broken there.
pub fn not_made<'a>(
    checks: &[&'static Check],
    backend: &'a dyn Backend,
) -> Vec<(&'static str, &'a str)> {
    let why = |check: &&'static Check| {
        let lacking = check
            .needs
            .iter()
            .find_map(|need| backend.lacks(need.host))?;
        Some((check.id, lacking))
    };
    checks.iter().filter_map(why).collect()
}

/// Whether this check judges a pod as an engine makes it, which the suite's own backend is not.
pub fn is_of_engines(id: &str) -> bool {
    let check = crate::catalogue::find(FAMILIES, id);
    check.is_ok_and(|check| check.needs.contains(Needs::ENGINE))
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

impl Trial {
    /// Its name, unique among all.
    pub fn name(self) -> &'static str {
        match self {
            Self::Program(fixture) => fixture.name,
            Self::Image(image) => image.name,
            Self::Engine(engine) => engine.name,
            Self::Guest(guest) => guest.name,
            Self::Host(pair) => pair.name,
        }
    }

    /// `program`, `image`, `engine`, `guest` or `host`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Program(_) => "program",
            Self::Image(_) => "image",
            Self::Engine(_) => "engine",
            Self::Guest(_) => "guest",
            Self::Host(_) => "host",
        }
    }

    /// What it does or is, a sentence without its subject.
    pub fn about(self) -> &'static str {
        match self {
            Self::Program(fixture) => fixture.about,
            Self::Image(image) => image.about,
            Self::Engine(engine) => engine.about,
            Self::Guest(guest) => &guest.about,
            Self::Host(pair) => pair.about,
        }
    }

    /// The checks that must fail on it.
    pub fn breaks(self) -> &'static [&'static str] {
        match self {
            Self::Program(fixture) => fixture.breaks,
            Self::Image(image) => image.breaks,
            Self::Engine(engine) => engine.breaks,
            Self::Guest(guest) => &guest.breaks,
            Self::Host(pair) => pair.breaks,
        }
    }

    /// The checks that may fail on it too, as the host or chance has it.
    pub fn also(self) -> &'static [&'static str] {
        match self {
            Self::Program(fixture) => fixture.also,
            Self::Image(image) => image.also,
            Self::Guest(_) | Self::Host(_) => &[],
            Self::Engine(engine) => engine.also,
        }
    }

    /// Whether no MUST may fail on it.
    pub fn is_sound(self) -> bool {
        match self {
            Self::Program(fixture) => fixture.is_sound(),
            Self::Image(image) => image.breaks.is_empty(),
            Self::Engine(_) => false,
            Self::Guest(_) | Self::Host(_) => self.breaks().is_empty(),
        }
    }

    /// Runs every check over it.
    ///
    /// # Errors
    /// When it cannot be made: the suite's own fault.
    pub fn judge(
        self,
        checks: &[&'static Check],
        backend: &Arc<dyn Backend>,
        time_scale: f64,
        settings: &Settings,
    ) -> Result<Judged, NotMade> {
        let records = self.records(checks, backend, time_scale, settings)?;
        Ok(self.compare(&records, &|_| true))
    }

    /// Runs the checks of a selection over it.
    ///
    /// # Errors
    /// As [`Trial::judge`].
    pub fn judge_by(
        self,
        selection: &Selection,
        backend: &Arc<dyn Backend>,
        time_scale: f64,
        settings: &Settings,
    ) -> Result<Judged, NotMade> {
        let records = self.records(&selection.run, backend, time_scale, settings)?;
        Ok(self.compare(&records, &|id| selection.counts(id)))
    }

    fn records(
        self,
        checks: &[&'static Check],
        backend: &Arc<dyn Backend>,
        time_scale: f64,
        settings: &Settings,
    ) -> Result<Vec<Record>, NotMade> {
        let brief = !self.is_sound() && !self.breaks_by_its_work();
        let options = CheckOptions {
            long: self.breaks_in_the_long_run(checks),
            brief,
            ..CheckOptions::default()
        };
        let own = |subject, backend| Shared::new(subject, options, backend, time_scale);
        let shared = match self {
            Self::Program(fixture) => own(program(fixture)?, Some(Arc::clone(backend))),
            Self::Image(image) => {
                let backend = image.runs.then(|| Arc::clone(backend));
                let options = CheckOptions {
                    brief,
                    ..(image.options)()
                };
                Shared::new(image.subject()?, options, backend, time_scale)
            }
            Self::Engine(engine) => {
                let reference =
                    Subject::of_program(engine.name, programs::REFERENCE.into(), Platform::host());
                own(reference, Some(engine.around(Arc::clone(backend))))
            }
            Self::Guest(guest) => own(guest.subject(), None),
            Self::Host(pair) => {
                let options = CheckOptions {
                    wasi_engine: pair.engine,
                    ..CheckOptions::default()
                };
                let backend = Some(Arc::clone(backend));
                Shared::new(pair.subject(), options, backend, time_scale)
            }
        };
        Ok(runner::run(checks, &Arc::new(shared), settings, &mut |_| {}).records)
    }

    /// Whether one of the checks that it breaks is for long runs alone. Others do not wait for it.
    fn breaks_in_the_long_run(self, checks: &[&Check]) -> bool {
        checks
            .iter()
            .any(|check| check.needs.contains(Needs::LONG) && self.breaks().contains(&check.id))
    }

    /// Whether its work may show what it breaks. Other broken ones do less of it, for the sake of
    /// time.
    fn breaks_by_its_work(self) -> bool {
        self.breaks().iter().any(|id| OF_WORK.contains(id))
    }

    /// Holds records against what it says of itself, as far as the checks count.
    fn compare(self, records: &[Record], counts: &dyn Fn(&str) -> bool) -> Judged {
        let mut judged = Judged::default();
        let mut missed = Vec::new();
        for record in records {
            let id = record.id.as_str();
            let breaks = self.breaks().contains(&id);
            let seen = record.observed.as_ref().or(record.reason.as_ref());
            let line = || {
                format!(
                    "{id}: {}: {}",
                    record.verdict.as_str(),
                    seen.map_or("", String::as_str)
                )
            };
            match record.verdict {
                Verdict::Fail if breaks || self.also().contains(&id) => {
                    judged.caught.push(id.to_owned());
                }
                Verdict::Error if self.is_engine() && self.also().contains(&id) => {}
                _ if !counts(id) => {}
                Verdict::Fail | Verdict::Error => judged.wrong.push(line()),
                // What this host cannot provoke says nothing of the program.
                Verdict::Skipped
                    if breaks
                        && (self.needs_the_host() || is_of_engines(id))
                        && record.blocked_by.is_none() => {}
                Verdict::Pass | Verdict::Skipped if breaks => missed.push((record, line())),
                // The host was too busy to tell, and says so: neither caught nor wrong.
                Verdict::Inconclusive | Verdict::Pass | Verdict::Skipped => {}
            }
        }
        // What was skipped since another check failed that may is not missed.
        let caught = |id: &String| judged.caught.contains(id);
        missed.retain(|(record, _)| !record.blocked_by.as_ref().is_some_and(caught));
        judged.missed = missed.into_iter().map(|(_, line)| line).collect();
        judged.caught.retain(|id| counts(id));
        judged
    }

    fn needs_the_host(self) -> bool {
        match self {
            Self::Image(image) => image.runs,
            // It needs a WASI runtime that this build may lack.
            Self::Guest(guest) => guest.is_component() && !RUNS_COMPONENTS,
            Self::Program(_) | Self::Engine(_) | Self::Host(_) => true,
        }
    }

    fn is_engine(self) -> bool {
        matches!(self, Self::Engine(_))
    }
}

/// A fixture as a subject.
///
/// # Errors
/// When the program that the suite carries is not the fixtures'.
pub fn program(fixture: &Fixture) -> Result<Subject, NotFixtures> {
    let program = fixture.build(programs::FIXTURE)?;
    Ok(Subject::of_program(
        fixture.name,
        program.into(),
        Platform::host(),
    ))
}

/// Why a trial could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// A program.
    #[error("the fixtures cannot be made: {0}")]
    Program(#[from] NotFixtures),
    /// An image.
    #[error(transparent)]
    Image(#[from] Unread),
}

/// How a trial was judged against what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Checks that failed, as they had to or may.
    pub caught: Vec<String>,
    /// Checks that the trial breaks and that did not fail, with their verdicts.
    pub missed: Vec<String>,
    /// Checks that failed, or were in error, on what is right here; with what was seen.
    pub wrong: Vec<String>,
}

impl Judged {
    /// It was judged as it had to be.
    pub fn is_right(&self) -> bool {
        self.missed.is_empty() && self.wrong.is_empty()
    }
}

/// Every trial of a selection through its checks, several trials at a time; each is handed to
/// `seen` as it is judged, from one thread at a time.
///
/// # Errors
/// As [`Trial::judge`].
pub fn run(
    selection: &Selection,
    backend: &Arc<dyn Backend>,
    time_scale: f64,
    settings: &Settings,
    at_a_time: usize,
    seen: &(dyn Fn(Trial, &Judged) + Sync),
) -> Result<Matrix, NotMade> {
    let all = &selection.trials;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        let work = || -> Result<(), NotMade> {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(trial) = all.get(place) else { break };
                if settings.interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let judged = trial.judge_by(selection, backend, time_scale, settings)?;
                if settings.interrupted.load(Ordering::Relaxed) {
                    break;
                }
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                seen(*trial, &judged);
                results.insert(place, (*trial, judged));
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
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let not_made = not_made(&selection.checks, &**backend);
    let not_made = not_made.into_iter().map(|(id, why)| (id, why.to_owned()));
    let mut matrix = Matrix {
        not_made: not_made.collect(),
        checks: selection.checks.clone(),
        some_checks: selection.some_checks,
        some_trials: selection.some_trials,
        results: results.into_values().collect(),
        interrupted: settings.interrupted.load(Ordering::Relaxed),
    };
    if !matrix.interrupted {
        let unbroken = matrix.unbroken();
        let again = judge_alone(&unbroken, selection, backend, time_scale, settings)?;
        for (trial, judged) in again {
            let places = matrix.results.iter_mut();
            places
                .filter(|(other, _)| other.name() == trial.name() && other.kind() == trial.kind())
                .for_each(|(_, before)| *before = judged.clone());
        }
    }
    Ok(matrix)
}

/// Judges what breaks these checks, one trial at a time: beside others, a busy host may have
/// left open what only one of them breaks.
///
/// # Errors
/// As [`Trial::judge`].
pub fn judge_alone(
    ids: &[&str],
    selection: &Selection,
    backend: &Arc<dyn Backend>,
    time_scale: f64,
    settings: &Settings,
) -> Result<Vec<(Trial, Judged)>, NotMade> {
    let breaks = |trial: &&Trial| trial.breaks().iter().any(|id| ids.contains(id));
    let trials = selection.trials.iter().copied();
    trials
        .filter(|trial| breaks(&trial))
        .map(|trial| {
            let judged = trial.judge_by(selection, backend, time_scale, settings)?;
            Ok((trial, judged))
        })
        .collect()
}

/// How many trials at a time: most of one is waiting, for windows in which nothing happens.
pub fn at_a_time() -> usize {
    3 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How the trials are run: their failures need no command to rerun them.
pub fn settings(interrupted: Arc<AtomicBool>) -> Settings {
    Settings {
        jobs: 2,
        timeout: std::time::Duration::from_mins(5),
        reproduce: "pause-conformance self-test".to_owned(),
        explain: "pause-conformance explain".to_owned(),
        interrupted,
    }
}

#[cfg(test)]
mod tests;
