//! What a check gets, and the functions with which it provokes and observes.
//!
//! **No check waits for a fixed time.** Waiting is on events with a deadline, and a
//! deadline counts only time in which the pause process could have acted: what it
//! spent runnable without a processor does not count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pause_sandbox::Features;

use crate::backend::{Backend, Launch, Spec, StartError};
use crate::event::Measurement;
use crate::kubernetes::Minor;
use crate::need::Needs;
use crate::outcome::{Finding, Outcome, Stop};
use crate::shortage::{self, Counters, Shortage, Watch};
use crate::signal;
use crate::subject::{Platform, Subject};
use crate::wasi_engine;

mod children;
mod containers;
mod days;
mod describe;
mod discarded;
mod dispositions;
mod ends;
pub mod files;
mod held;
mod idle;
mod lacks;
mod members;
mod moments;
mod orphans;
mod pod;
mod proc;
mod ready;
mod rest;
mod step;
mod time;
mod timing;
mod trace;
mod twin;
mod unmount;
mod waits;
mod watch;
mod work;
mod workloads;

pub use children::PauseChild;
pub use containers::{Added, await_reaped};
pub use days::{Answers, Days, Passed, time_in_words};
pub use discarded::Answer;
pub use ends::PROMPTLY;
pub use held::Ahead;
pub use idle::{Idle, ORPHANS, Rest, TICK};
pub use lacks::{Lack, in_words};
pub use moments::{Came, LostCalls, Moment, Moments, Stimulus, Tried};
pub use orphans::Orphans;
pub use pod::{Pod, ProcessState};
pub use rest::Becomes;
pub use time::Stopwatch;
pub use timing::Timing;
pub use trace::{Traced, trace};
use twin::AT_ONCE;
pub use unmount::UnmountWatch;
pub use watch::{Watched, first_to_end, which_stay};
pub use work::{Held, Rested, Worked};
pub use workloads::{Helper, PidMode};

/// A program that is not ready by then sleeps during its start, or computes for long.
const SLOW: Duration = Duration::from_millis(30);

/// A sandbox that takes longer to make is shared by what leaves it whole.
const DEAR: Duration = Duration::from_millis(100);

/// How many of those are started at the same time.
const BESIDE: usize = 8;

/// The options of the user that checks read.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// `--kubernetes 1.MINOR`.
    pub kubernetes: Option<Minor>,
    /// `--require-platform`.
    pub required_platforms: Vec<Platform>,
    /// `--long`.
    pub long: bool,
    /// Less of what takes long by its number: the program is known to be broken, and not by that.
    pub brief: bool,
    /// `--wasi-engine`.
    pub wasi_engine: wasi_engine::Engine,
}

impl CheckOptions {
    /// How much of something is done: less where it shows nothing that is asked.
    pub fn amount<T>(&self, usual: T, brief: T) -> T {
        if self.brief { brief } else { usual }
    }
}

/// What all checks of a run share.
pub struct Shared {
    /// What is judged.
    pub subject: Subject,
    /// What the user asked for.
    pub options: CheckOptions,
    /// What runs it; `None` where only static checks are made.
    pub backend: Option<std::sync::Arc<dyn Backend>>,
    /// Deadlines are multiplied by this; 1 on a host of nominal speed.
    pub time_scale: f64,
    /// The program showed no sign of awaiting TERM once, so later sandboxes are given less time to show it.
    pub(crate) never_ready: AtomicBool,
    /// Whether a program was started and awaited, so that [`Shared::never_ready`] is known.
    known: Mutex<bool>,
    /// The least time that it took to become ready, in microseconds.
    quickest: AtomicU64,
    /// What the program lacks, once a check has asked.
    pub(crate) lacks: std::sync::OnceLock<Vec<Lack>>,
    /// What the program has done about signals, where an emulator runs it.
    dispositions: std::sync::OnceLock<dispositions::Dispositions>,
    /// Whether it leaves its namespaces, likewise.
    leaves: std::sync::OnceLock<bool>,
    /// What its usual root lacks of the image on this host, likewise.
    root_lacks: std::sync::OnceLock<Vec<String>>,
    /// What it does while nothing happens in the pod, likewise.
    idle: std::sync::OnceLock<Result<Idle, Stop>>,
    /// What it is like after its work, likewise.
    worked: std::sync::OnceLock<Result<Option<Worked>, Stop>>,
    /// How long it takes to become ready and to end, likewise.
    timing: Mutex<Option<Result<Timing, Stop>>>,
    /// What is proven of it by following it, likewise.
    proof: std::sync::OnceLock<Option<rest::Proof>>,
    /// Why its system calls cannot be followed, where that was seen.
    unfollowable: std::sync::OnceLock<String>,
    /// Set where it was followed until it only computed, and had made no call by then whose answer
    /// has to do with its standard streams.
    pub(crate) is_blind: std::sync::OnceLock<()>,
    /// How long it has computed from its start, where it was never seen to do anything else.
    pub(crate) computed: std::sync::OnceLock<Duration>,
    /// Set where it did not rest while it was followed, and computed much meanwhile.
    is_restless: AtomicBool,
    /// What it does in thirty days, likewise.
    days: std::sync::OnceLock<Result<Days, Stop>>,
    /// Whether it has reaped any of [`idle::ORPHANS`], likewise.
    reaps: Mutex<Option<bool>>,
    /// By name.
    pub measurements: Mutex<BTreeMap<String, Measurement>>,
    /// Its programs are spared the limits that do not report which process they refused.
    is_spared: bool,
    /// The same, where they are.
    spared: std::sync::OnceLock<Box<Shared>>,
}

impl Shared {
    /// For one run.
    pub fn new(
        subject: Subject,
        options: CheckOptions,
        backend: Option<std::sync::Arc<dyn Backend>>,
        time_scale: f64,
    ) -> Self {
        Self {
            subject,
            options,
            backend,
            time_scale,
            never_ready: AtomicBool::new(false),
            known: Mutex::new(false),
            quickest: AtomicU64::new(u64::MAX),
            lacks: std::sync::OnceLock::new(),
            dispositions: std::sync::OnceLock::new(),
            leaves: std::sync::OnceLock::new(),
            root_lacks: std::sync::OnceLock::new(),
            idle: std::sync::OnceLock::new(),
            worked: std::sync::OnceLock::new(),
            timing: Mutex::new(None),
            proof: std::sync::OnceLock::new(),
            unfollowable: std::sync::OnceLock::new(),
            is_blind: std::sync::OnceLock::new(),
            computed: std::sync::OnceLock::new(),
            is_restless: AtomicBool::new(false),
            days: std::sync::OnceLock::new(),
            reaps: Mutex::new(None),
            measurements: Mutex::new(BTreeMap::new()),
            is_spared: false,
            spared: std::sync::OnceLock::new(),
        }
    }

    fn spared(&self) -> &Self {
        self.spared.get_or_init(|| {
            let (subject, options) = (self.subject.clone(), self.options.clone());
            let shared = Self::new(subject, options, self.backend.clone(), self.time_scale);
            Box::new(Self {
                is_spared: true,
                ..shared
            })
        })
    }

    /// What the root of its sandboxes lacks of the image on this host, in words.
    pub fn root_lacks(&self) -> Vec<String> {
        self.root_lacks.get().cloned().unwrap_or_default()
    }
}

/// Runs programs on the oldest processor of their architecture.
pub struct Baseline {
    /// What that processor is called.
    pub level: &'static str,
    backend: std::sync::Arc<dyn Backend>,
    time_scale: f64,
}

impl Baseline {
    /// For checks of this program there.
    pub fn shared(&self, subject: Subject) -> Shared {
        let backend = Some(std::sync::Arc::clone(&self.backend));
        Shared::new(subject, CheckOptions::default(), backend, self.time_scale)
    }
}

/// What befell a check's sandboxes that the check may not have seen.
#[derive(Debug, Default)]
pub struct Noted {
    /// The emulator crashed, in these words: the check's outcome says nothing about the program.
    pub gave_up: std::sync::OnceLock<String>,
    /// A program ended that had been ready, and that the check had sent no signal: an error of the
    /// suite may come of that.
    pub ended: std::sync::OnceLock<()>,
}

/// What a check gets.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    shared: &'a Shared,
    noted: Option<&'a Noted>,
    watch: Option<&'a Watch>,
}

impl<'a> Context<'a> {
    /// For a run.
    pub fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            noted: None,
            watch: None,
        }
    }

    /// The same; records what befalls its sandboxes.
    #[must_use]
    pub fn noting(self, noted: &'a Noted) -> Self {
        Self {
            noted: Some(noted),
            ..self
        }
    }

    /// Runs a check; where a shortage may explain the outcome, it becomes inconclusive.
    ///
    /// # Errors
    /// As the check, or [`Stop::Inconclusive`].
    pub fn watched(self, run: impl Fn(&Context<'_>) -> Outcome) -> Outcome {
        let (outcome, is_doubted) = self.watched_once(&run);
        if !is_doubted || !shortage::may_explain(&outcome) {
            return outcome;
        }
        // What is known of the program under those limits does not hold without them.
        let shared = self.shared.spared();
        let (without, _) = Context { shared, ..self }.watched_once(&run);
        shortage::weigh(outcome, without, shortage::needs::short_by_user())
    }

    /// And whether a limit without a counter may have refused a program something.
    fn watched_once(self, run: &impl Fn(&Context<'_>) -> Outcome) -> (Outcome, bool) {
        let counters = || {
            let backend = self.shared.backend.as_ref();
            backend.map_or_else(Counters::default, |backend| backend.counters())
        };
        let watch = Watch::begin(counters());
        let outcome = run(&Context {
            watch: Some(&watch),
            ..self
        });
        let is_doubted = watch.is_doubted();
        (watch.judge(outcome, counters()), is_doubted)
    }

    /// What ran short in a sandbox of this check, for a check that judges that.
    pub fn take_shortage(&self) -> Option<Shortage> {
        self.watch.and_then(Watch::take)
    }

    /// What is judged.
    pub fn subject(&self) -> &'a Subject {
        &self.shared.subject
    }

    /// What the user asked for.
    pub fn options(&self) -> &'a CheckOptions {
        &self.shared.options
    }

    /// Whether the backend offers all of this.
    pub fn offers(&self, needs: Needs) -> bool {
        let backend = self.shared.backend.as_ref();
        backend.is_some_and(|backend| backend.offers().contains(needs.host))
    }

    /// The least memory limit under which the backend starts a program, in bytes.
    pub fn memory_floor(&self) -> u64 {
        let backend = self.shared.backend.as_ref();
        backend.map_or(0, |backend| backend.memory_floor())
    }

    /// Whether a sandbox takes so long to make that a check had better do with few.
    pub fn starts_are_dear(&self) -> bool {
        let backend = self.shared.backend.as_ref();
        backend.is_some_and(|backend| backend.cost() > DEAR)
    }

    /// The emulator under which its programs run, if they do.
    fn emulation(&self) -> Option<&str> {
        let backend = self.shared.backend.as_deref()?;
        if backend.offers().contains(Features::NATIVE) {
            return None;
        }
        backend.lacks(Features::NATIVE)
    }

    /// A duration at this host's speed.
    pub fn scaled(&self, nominal: Duration) -> Duration {
        nominal.mul_f64(self.shared.time_scale)
    }

    /// What runs programs on the oldest processor of the subject's architecture.
    ///
    /// # Errors
    /// [`Stop::Skip`] where there is no such processor here.
    pub fn on_baseline(&self) -> Result<Baseline, Stop> {
        let none = |why| Stop::Skip(format!("no emulator of the oldest processor: {why}"));
        let backend = self.shared.backend.clone();
        let backend = backend.ok_or_else(|| none("nothing is run".to_owned()))?;
        let (backend, level) = backend.on_baseline().map_err(none)?;
        Ok(Baseline {
            level,
            backend,
            time_scale: self.shared.time_scale,
        })
    }

    /// Starts the pause program and waits until it is ready: it sleeps and awaits
    /// TERM, or, where it shows no such sign, has settled.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it ended instead, [`Stop::Error`] where the host failed.
    pub fn start(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        let mut known = self.known();
        if !*known {
            *known = spec.blocked & signal::bit(signal::TERM) == 0;
            return self.start_now(spec);
        }
        drop(known);
        self.start_now(spec)
    }

    /// Whether a start has shown how the program becomes ready. The first sandbox starts alone: if
    /// it never becomes ready, later ones use the short timeout. Side by side they would share the
    /// processors, and all would take long.
    pub(super) fn known(&self) -> MutexGuard<'a, bool> {
        let known = self.shared.known.lock();
        known.unwrap_or_else(PoisonError::into_inner)
    }

    fn start_now(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        let mut pod = self.start_unready(spec)?;
        let began = Instant::now();
        ready::await_ready(&mut pod)?;
        let took = began.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        self.shared.quickest.fetch_min(took, Ordering::Relaxed);
        Ok(pod)
    }

    /// Starts one for each of these, several at a time where the program sleeps before it is ready,
    /// and passes each to `then` once it is ready.
    ///
    /// # Errors
    /// As [`Context::start`], or what `then` says.
    pub fn start_each<T: Copy>(
        &self,
        all: &[T],
        spec: impl Fn() -> Spec,
        mut then: impl FnMut(&mut Pod<'a>, T) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut left = all;
        while let [first, rest @ ..] = left {
            let beside = self.beside();
            if beside == 0 {
                then(&mut self.start(spec())?, *first)?;
                left = rest;
                continue;
            }
            let some;
            (some, left) = left.split_at(left.len().min(beside));
            let mut pods = Vec::with_capacity(some.len());
            for _ in some {
                pods.push(self.start_unready(spec())?);
            }
            for (pod, each) in pods.iter_mut().zip(some) {
                ready::await_ready(pod)?;
                then(pod, *each)?;
            }
        }
        Ok(())
    }

    /// How many are started at the same time, where more than one: a program that never sleeps uses
    /// the processors fully already.
    fn beside(&self) -> usize {
        let quickest = self.shared.quickest.load(Ordering::Relaxed);
        let is_slow = quickest != u64::MAX && Duration::from_micros(quickest) >= SLOW;
        if !is_slow || self.is_never_ready() {
            0
        } else {
            BESIDE
        }
    }

    /// Whether the program takes long to become ready, and uses little processor time for it.
    pub fn starts_slowly(&self) -> bool {
        self.beside() > 0
    }

    /// As [`Context::start`], for a check that judges what is special in `spec`: a program that
    /// runs without it and not with it fails the check.
    ///
    /// # Errors
    /// [`Stop::Fail`] then; else as [`Context::start`].
    pub fn start_or_blame(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        let stop = match self.start(spec) {
            Err(Stop::NotRunning(finding)) => Stop::NotRunning(finding),
            other => return other,
        };
        let usual = Spec {
            own_network: false,
            ..Spec::default()
        };
        match (stop, self.start(usual)) {
            (Stop::NotRunning(finding), Ok(_)) => {
                Err(finding.with("it does run as it is usually started").into())
            }
            (stop, _) => Err(stop),
        }
    }

    /// Starts the pause program and returns as soon as it has been executed.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the kernel would not execute it, [`Stop::Error`] where the host failed.
    pub fn start_unready(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        let shared = self.shared;
        let spec = Spec {
            spared: shared.is_spared,
            ..spec
        };
        let (Some(backend), Ok(program)) = (&shared.backend, &shared.subject.program) else {
            return Err(Stop::Error(
                "the check needs a sandbox and declares no such need".to_owned(),
            ));
        };
        let launch = Launch {
            rootfs: &shared.subject.rootfs,
            program,
        };
        let sandbox = backend
            .start(&launch, &spec)
            .map_err(|error| start_error(&error))?;
        // As another user it may read more files, or fewer.
        if spec.user.is_none() {
            shared.root_lacks.get_or_init(|| sandbox.lacks().to_vec());
        }
        let mut pod = Pod::new(*self, sandbox, spec.blocked);
        pod.start = Some(spec);
        Ok(pod)
    }

    /// Reports one figure.
    pub fn measure(&self, name: &str, unit: &str, value: f64) {
        self.store(name, Measurement::one(unit, value));
    }

    /// Reports a distribution, and says its median; nothing and 0 where there are no samples.
    pub fn measure_all(&self, name: &str, unit: &str, samples: &[u64]) -> u64 {
        let Some(measurement) = Measurement::distribution(unit, &[samples.to_vec()]) else {
            return 0;
        };
        let median = measurement.p50.unwrap_or_default();
        self.store(name, measurement);
        median as u64
    }

    /// Reports a list of names.
    pub fn measure_names(&self, name: &str, names: Vec<String>) {
        self.store(
            name,
            Measurement {
                names,
                ..Measurement::new("names")
            },
        );
    }

    fn store(&self, name: &str, measurement: Measurement) {
        // A check that panicked while it held the lock left the map whole: one insert.
        let mut all = match self.shared.measurements.lock() {
            Ok(all) => all,
            Err(poisoned) => poisoned.into_inner(),
        };
        all.insert(name.to_owned(), measurement);
    }

    /// Whether a program of this subject was seen that is never ready.
    pub fn is_never_ready(&self) -> bool {
        self.shared.never_ready.load(Ordering::Relaxed)
    }

    /// Takes it for one that is, or is not, never ready.
    pub fn set_never_ready(&self, is_never: bool) {
        self.shared.never_ready.store(is_never, Ordering::Relaxed);
    }
}

/// The image's fault is a finding, the host's an error of the suite.
pub(crate) fn start_error(error: &StartError) -> Stop {
    if let StartError::Exec { cause, .. } | StartError::Host { cause, .. } = error
        && let Some(short) = shortage::beside(cause)
    {
        return Stop::Inconclusive(format!("{error}{short}"));
    }
    match error {
        StartError::Exec { .. } => Stop::NotRunning(Finding::new(
            "the kernel executes the program",
            error.to_string(),
        )),
        StartError::Root { .. } => Stop::NotRunning(Finding::new(
            "a root filesystem that a runtime can mount on and enter",
            error.to_string(),
        )),
        StartError::Refused { .. } => Stop::NotRunning(Finding::new(
            "an engine takes the image and starts a container of it",
            error.to_string(),
        )),
        StartError::Unable { .. } => Stop::Inconclusive(error.to_string()),
        StartError::Host { .. } => Stop::Error(error.to_string()),
    }
}
