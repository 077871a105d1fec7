//! Whether a verdict can be believed where programs run under an emulator: a pass, where a
//! program that breaks the check fails it there; a failure, where the reference passes it.
//!
//! **No verdict without that**: a check that does not tell them apart there is inconclusive. Only
//! the programs that a verdict depends on are run. Most of that is waiting for what is broken, so it
//! begins with the run, in the hope that all checks pass.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fixtures::Fixture;

use pause_sandbox::Features;

use crate::backend::{Backend, Spec};
use crate::check::{Check, Level, Needs, Outcome, Stop};
use crate::context::{CheckOptions, Context, Shared};
use crate::event::{Record, Verdict};
use crate::lock::lock;
use crate::programs;
use crate::runner::{self, Confirm, LookAhead, Settings};
use crate::subject::{Platform, Subject};

/// How many known programs run at the same time: most of the broken ones wait for a timeout.
const AT_A_TIME: usize = 24;

/// How many broken programs are tried for a check: the emulator may not let the fault of one of
/// them happen.
const TRIED: usize = 3;

/// The known programs of one platform.
#[derive(Debug, Default)]
pub struct Programs {
    /// The reference pause.
    reference: Option<Vec<u8>>,
    /// The program that every fixture is made from.
    fixture: Option<Vec<u8>>,
}

impl Programs {
    /// Those that `folder` holds as `linux-ARCH/pause` and `linux-ARCH/fixture`, else those that are
    /// built in.
    pub fn read(folder: Option<&Path>, platform: &Platform) -> Self {
        let platform = platform.normal();
        let names = [
            format!("linux-{}", platform.architecture),
            format!(
                "linux-{}-{}",
                platform.architecture,
                platform.variant.as_deref().unwrap_or_default()
            ),
        ];
        let read = |name: &str| {
            let paths = || names.iter().map(|platform| format!("{platform}/{name}"));
            paths()
                .find_map(|path| std::fs::read(folder?.join(path)).ok())
                .or_else(|| paths().find_map(|path| Some(programs::foreign(&path)?.to_vec())))
        };
        Self {
            reference: read("pause"),
            fixture: read("fixture"),
        }
    }
}

/// Which of the two verdicts is to be believed, a pass or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    /// Failures: the reference passes.
    Right,
    /// Passes: a broken program fails.
    Wrong,
}

/// Whether an emulator shows right and wrong of a check; why not.
type Evidence = Result<(), String>;

/// The evidence for each check so far. It is locked while it is found.
type All = BTreeMap<(&'static str, Direction), Arc<Mutex<Option<Evidence>>>>;

/// The known programs on one emulator, run when a verdict needs them, each once.
pub struct Calibration {
    backend: Arc<dyn Backend>,
    programs: Programs,
    platform: Platform,
    time_scale: f64,
    settings: Settings,
    /// Whether the emulator works at all.
    works: OnceLock<Evidence>,
    shown: Mutex<All>,
    /// Free places of [`AT_A_TIME`].
    places: (Mutex<usize>, Condvar),
}

impl Confirm for Calibration {
    fn says_nothing(&self) -> Option<&str> {
        let works = self.works.get_or_init(|| {
            // In a thread that is prepared for sandboxes, as those of checks are.
            let tried = std::thread::scope(|scope| scope.spawn(|| self.try_out()).join());
            tried.unwrap_or_else(|_| {
                Err("the programs whose faults are known were not run".to_owned())
            })
        });
        works.as_ref().err().map(String::as_str)
    }

    fn look_ahead(self: Arc<Self>, checks: Vec<&'static Check>) -> LookAhead {
        let checks = checks.into_iter().filter(|check| is_doubted(check));
        let left: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(checks.collect()));
        let over = Arc::<AtomicBool>::default();
        // A runtime that takes long over a start takes longer over many at a time.
        let most = match self.backend.cost() {
            Duration::ZERO => AT_A_TIME,
            _ => self.settings.jobs,
        };
        let threads = lock(&left).len().min(most);
        let start = |_| {
            let (calibration, left, over) = (self.clone(), left.clone(), over.clone());
            let next = move || lock(&left).pop_front();
            let work = move || {
                while let Some(check) = next().filter(|_| !over.load(Ordering::Relaxed)) {
                    calibration.hope_for(check);
                }
            };
            std::thread::Builder::new().spawn(work).ok()
        };
        LookAhead {
            threads: (0..threads).map_while(start).collect(),
            over,
        }
    }

    fn confirm(&self, check: &'static Check, outcome: Outcome) -> Outcome {
        if !is_doubted(check) {
            return outcome;
        }
        let direction = match &outcome {
            Ok(_) => Direction::Wrong,
            Err(Stop::Fail(_) | Stop::NotRunning(_) | Stop::Ended(_)) => Direction::Right,
            Err(_) => return outcome,
        };
        if direction == Direction::Right
            && let Some(doubt) = self.backend.doubts(check.needs.host)
        {
            let seen = outcome
                .err()
                .map_or_else(String::new, |stop| stop.to_string());
            return Err(Stop::Inconclusive(format!("{doubt}: {seen}")));
        }
        match self.show(check, direction) {
            Ok(()) => outcome,
            Err(why) => Err(Stop::Inconclusive(format!("under the emulator {why}"))),
        }
    }
}

/// Whether an emulator may make a difference to its verdict.
fn is_doubted(check: &Check) -> bool {
    check.level != Level::Info && check.needs.contains(Needs::SANDBOX)
}

impl Calibration {
    /// For one emulator and platform; runs nothing yet.
    pub fn new(
        backend: Arc<dyn Backend>,
        programs: Programs,
        platform: Platform,
        time_scale: f64,
        settings: Settings,
    ) -> Self {
        Self {
            backend,
            programs,
            platform,
            time_scale,
            settings,
            works: OnceLock::new(),
            shown: Mutex::default(),
            places: (Mutex::new(AT_A_TIME), Condvar::new()),
        }
    }

    fn try_out(&self) -> Evidence {
        let (Some(reference), Some(fixture)) = (&self.programs.reference, &self.programs.fixture)
        else {
            return Err(format!(
                "cannot tell right from wrong under the emulator: there is no reference \
                 pause for {}, or no fixtures; `cargo xtask build --fixtures` builds them, \
                 `--programs DIR` names their folder",
                self.platform
            ));
        };
        self.backend
            .adopt_thread()
            .map_err(|error| format!("cannot prepare a thread for sandboxes: {error}"))?;
        let sound = fixtures::all()
            .find(|fixture| fixture.is_sound())
            .map(|sound| (format!("the fixture {}", sound.name), sound.build(fixture)));
        let sound = sound.and_then(|(name, built)| Some((name, built.ok()?)));
        for (name, program) in sound
            .into_iter()
            .chain([("the reference pause".to_owned(), reference.clone())])
        {
            let shared = self.shared(&name, program);
            Context::new(&shared)
                .start(Spec::default())
                .map_err(|stop| self.cannot(&name, &stop))?;
        }
        Ok(())
    }

    fn cannot(&self, name: &str, stop: &Stop) -> String {
        let emulation = self.backend.lacks(Features::NATIVE).unwrap_or_default();
        let seen = match stop {
            Stop::NotRunning(finding) | Stop::Ended(finding) | Stop::Fail(finding) => {
                format!("{emulation}: {}", finding.observed)
            }
            other => other.to_string(),
        };
        format!("nothing can be judged: {name}, which is known to be right, does not run; {seen}")
    }

    fn show(&self, check: &'static Check, direction: Direction) -> Evidence {
        let shown = self.evidence(check, direction);
        let mut shown = lock(&shown);
        let found = shown.get_or_insert_with(|| self.find(check, direction));
        found.clone()
    }

    /// Finds out whether a pass can be believed. Where it cannot, nothing is kept of that: with so
    /// many programs at a time the host may have been short of something.
    fn hope_for(&self, check: &'static Check) {
        let shown = self.evidence(check, Direction::Wrong);
        let mut shown = lock(&shown);
        if shown.is_none() && self.find(check, Direction::Wrong).is_ok() {
            *shown = Some(Ok(()));
        }
    }

    fn evidence(
        &self,
        check: &'static Check,
        direction: Direction,
    ) -> Arc<Mutex<Option<Evidence>>> {
        Arc::clone(lock(&self.shown).entry((check.id, direction)).or_default())
    }

    fn find(&self, check: &'static Check, direction: Direction) -> Evidence {
        let _place = self.take_place();
        match direction {
            Direction::Right => self.reference_passes(check),
            Direction::Wrong => self.broken_fails(check),
        }
    }

    fn reference_passes(&self, check: &'static Check) -> Evidence {
        let Some(reference) = &self.programs.reference else {
            return Err("there is no reference pause".to_owned());
        };
        match self.run("the reference", reference.clone(), check) {
            Some(record) if record.verdict == Verdict::Pass => Ok(()),
            other => Err(format!("the reference pause {}", in_words(other.as_ref()))),
        }
    }

    fn broken_fails(&self, check: &'static Check) -> Evidence {
        let Some(fixture) = &self.programs.fixture else {
            return Err("there are no fixtures".to_owned());
        };
        let mut shown = Ok(());
        for breaker in breakers(check.id) {
            let built = breaker.build(fixture).map_err(|error| error.to_string())?;
            match self.run(breaker.name, built, check) {
                Some(record) if record.verdict == Verdict::Fail => return Ok(()),
                other => {
                    let words = in_words(other.as_ref());
                    shown = Err(format!("`{}`, which breaks it, {words}", breaker.name));
                }
            }
        }
        shown
    }

    fn run(&self, name: &str, program: Vec<u8>, check: &'static Check) -> Option<Record> {
        let shared = Arc::new(self.shared(name, program));
        runner::run(&[check], &shared, &self.settings, &mut |_| {})
            .records
            .pop()
    }

    fn shared(&self, name: &str, program: Vec<u8>) -> Shared {
        Shared::new(
            Subject::of_program(name, program.into(), self.platform.clone()),
            CheckOptions::default(),
            Some(Arc::clone(&self.backend)),
            self.time_scale,
        )
    }

    fn take_place(&self) -> Place<'_> {
        let (free, freed) = &self.places;
        let mut left = lock(free);
        while *left == 0 {
            left = freed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= 1;
        Place(self)
    }
}

/// One of [`AT_A_TIME`], until it is dropped.
struct Place<'a>(&'a Calibration);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let (free, freed) = &self.0.places;
        *lock(free) += 1;
        freed.notify_one();
    }
}

/// What it became instead of a pass or a failure.
fn in_words(record: Option<&Record>) -> String {
    let Some(record) = record else {
        return "was not run to the end".to_owned();
    };
    let why = record.observed.as_ref().or(record.reason.as_ref());
    let words = match record.verdict {
        Verdict::Pass => "passes",
        Verdict::Fail => "fails",
        Verdict::Skipped => "is skipped",
        Verdict::Inconclusive => "is inconclusive",
        Verdict::Error => "ends in an error",
    };
    format!("{words} too: {}", why.map_or("", String::as_str))
}

/// Programs that break this check, best first: those that fail it soon, then those that break
/// little else.
pub fn breakers(id: &str) -> Vec<&'static Fixture> {
    let mut found: Vec<_> = fixtures::all()
        .filter(|fixture| fixture.breaks.contains(&id))
        .collect();
    found.sort_by_key(|it| (it.is_sound(), !it.quick, it.breaks.len()));
    found.truncate(TRIED);
    found
}

#[cfg(test)]
pub(crate) mod tests;
