//! From what was typed to an exit status: load the subjects, prepare the backend, run each subject,
//! and tell the reporters.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use crate::backend::embedded::{Embedded, PrepareError};
use crate::backend::{Backend, Entered, Unusable};
use crate::calibration::{Calibration, Programs};
use crate::check::{Check, Families};
use crate::cli::{self, Judge, Runtime};
use crate::context::{CheckOptions, Context, Shared};
use crate::emulator::Emulator;
use crate::event::{Conclusion, Event, Host, Record, Run, Tool, Verdict};
use crate::expect::{ExpectError, Expectations};
use crate::interrupt::{self, InOrder};
use crate::profile::{self, Profile};
use crate::report::patient::Patient;
use crate::report::progress::Progress;
use crate::report::reporters::{ReportError, Reporters};
use crate::report::spec as report;
use crate::runner::{self, Confirm, Settings};
use crate::shortage::needs::Room;
use crate::subject::{self, Platform, Subject};
use crate::wasi_engine::Engine;

mod beside;
mod plan;
mod prepared;
mod rounds;

use plan::Planned;
use prepared::{Asked, Prepared};
use rounds::{Baselines, Ran, Timed};

pub use crate::requirement::SPEC_VERSION;

/// The commit of a release; empty in a build of a checkout.
pub const COMMIT: &str = env!("PAUSE_CONFORMANCE_COMMIT");

/// What kept the suite from judging: one line, a hint, an exit status.
#[derive(Debug)]
pub struct Failure {
    /// Lower-case, names the thing and the cause.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// 2 for what could not be judged, 64 for wrong usage.
    pub status: u8,
}

impl Failure {
    /// The suite could not judge.
    pub fn not_judged(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            message: message.into(),
            hint,
            status: Conclusion::NotJudged.exit_status(),
        }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            message: message.into(),
            hint,
            status: 64,
        }
    }
}

/// Judges by the checks of a registry, and says with which exit status to end.
///
/// # Errors
/// [`Failure`] where nothing could be judged. The reports that were asked for hold it too, unless
/// the command line is wrong.
pub fn judge(options: &Judge, families: Families) -> Result<ExitCode, Failure> {
    let profile = read_profile(options, families)?;
    let options = &options.with(&profile.clone().unwrap_or_default());
    let asked = Asked::of(options, profile, families)?;
    let reports = report::plan(&options.reports)
        .map_err(|error| Failure::usage(error.to_string(), Some(error.hint())))?;
    // Before anything is opened that is not to be opened twice.
    let entered = enter(options, &asked);
    let reporters =
        Reporters::open(&reports, options.detail()).map_err(|error| unwritten(&error))?;
    let prepared = entered
        .and_then(|()| see_processes())
        .and_then(|()| Prepared::from(options, &asked));
    match prepared {
        // Not before: progress may have a thread, and a new user namespace allows one only.
        Ok(prepared) if options.quiet => prepared.run(reporters),
        Ok(prepared) => prepared.run(show_progress(reporters)),
        Err(failure) => {
            report_failure(options, &asked, &failure, reporters);
            Err(failure)
        }
    }
}

/// The profile that was asked for.
fn read_profile(options: &Judge, families: Families) -> Result<Option<Profile>, Failure> {
    let Some(name) = &options.profile else {
        return Ok(None);
    };
    let file = options.config.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(profile::FILE));
    let profile = Profile::read(&file, name, families).map_err(|error| {
        let (message, hint) = (with_cause(&error), error.hint());
        if error.is_special() {
            Failure::not_judged(message, hint)
        } else {
            Failure::usage(message, hint)
        }
    })?;
    Ok(Some(profile))
}

/// Writes the reports that were asked for, which say why nothing was judged.
fn report_failure(options: &Judge, asked: &Asked, failure: &Failure, mut reporters: Reporters<'_>) {
    let mut report = asked.report(options, 1.0);
    report.error = Some(match &failure.hint {
        Some(hint) => format!("{}; {hint}", failure.message),
        None => failure.message.clone(),
    });
    report.conclude();
    // Who asked for none reads it on stderr.
    reporters.keep(&options.reports);
    reporters.event(&Event::SuiteFinished { report: &report });
    for error in reporters.finish() {
        anstream::eprintln!("error: {}", unwritten(&error).message);
    }
}

/// For people to read: nothing depends on it.
#[expect(clippy::disallowed_methods)]
pub(crate) fn time_of_day() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

pub(crate) fn tool() -> Tool {
    Tool {
        name: "pause-conformance".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn show_progress(reporters: Reporters<'_>) -> Reporters<'_> {
    if std::io::stderr().is_terminal() {
        reporters.with_progress(Progress::<std::io::Stderr>::on_terminal())
    } else {
        reporters.with_progress(Progress::to_log(Patient::stderr()))
    }
}

/// The suite's own backend on this host, for what is judged without options.
pub struct OwnHost {
    /// Makes the sandboxes.
    pub backend: Arc<dyn Backend>,
    /// How many times slower than nominal the host is.
    pub time_scale: f64,
    room: Room,
    /// Until this is dropped an interrupt ends the run in order.
    _in_order: InOrder,
}

impl OwnHost {
    /// Prepares it.
    ///
    /// # Errors
    /// [`Failure`] where there is too little room or no sandbox can be made.
    pub fn prepare() -> Result<Self, Failure> {
        see_processes()?;
        let room = Room::find();
        suffices(room)?;
        let in_order = InOrder::begin();
        let engine = Embedded::prepare().map_err(|error| cannot_prepare(&error))?;
        let engine = Arc::new(engine);
        let time_scale = measure_host(&engine)?;
        Ok(Self {
            backend: engine,
            time_scale,
            room,
            _in_order: in_order,
        })
    }

    /// How many checks at a time of as many as are wanted: as many as there is room for.
    pub fn at_a_time(&self, wanted: usize) -> usize {
        self.room.checks(wanted)
    }
}

struct Suite<'a> {
    options: &'a Judge,
    checks: &'a [&'static Check],
    jobs: usize,
    time_scale: f64,
    interrupted: Arc<AtomicBool>,
    expectations: &'a Expectations,
    /// The profile in words.
    profile: Option<&'a str>,
}

impl Suite<'_> {
    /// Tests each emulator with programs whose faults are known.
    fn calibrate(&self, planned: &mut [Planned]) {
        let given = std::env::var_os("PAUSE_CONFORMANCE_PROGRAMS").map(PathBuf::from);
        let folder = self.options.programs.as_ref().or(given.as_ref());
        let mut known: BTreeMap<(String, Platform), Arc<Calibration>> = BTreeMap::new();
        for planned in planned {
            let (Some(emulator), Some(backend), Ok(subject)) =
                (&planned.head.emulator, &planned.backend, &planned.subject)
            else {
                continue;
            };
            let key = (emulator.clone(), subject.platform.normal());
            let calibration = known.entry(key).or_insert_with_key(|(_, platform)| {
                Arc::new(Calibration::new(
                    Arc::clone(backend),
                    Programs::read(folder.map(PathBuf::as_path), platform),
                    platform.clone(),
                    self.time_scale,
                    self.settings("", &Runtime::Embedded),
                ))
            });
            planned.calibration = Some(Arc::clone(calibration));
        }
    }

    fn settings(&self, image: &str, runtime: &Runtime) -> Settings {
        Settings {
            jobs: self.jobs,
            timeout: self.options.timeout.mul_f64(self.time_scale),
            reproduce: self.options.reproduce(image, runtime),
            explain: format!("{} explain", cli::command()),
            interrupted: Arc::clone(&self.interrupted),
        }
    }

    fn run(
        &self,
        planned: &Planned,
        baseline: Option<&Baselines<'_>>,
        emit: &mut dyn FnMut(&Event<'_>),
    ) -> Ran {
        let began = Instant::now();
        emit(&Event::RunStarted {
            head: &planned.head,
            checks: planned.checks(self.checks).len(),
        });
        let failed = |why: &str| {
            let mut run = Run::new(&planned.head, Vec::new());
            run.error = Some(why.to_owned());
            let timed = None;
            Ran { run, timed }
        };
        let Ran { mut run, timed } = match &planned.subject {
            Err(why) => failed(why),
            Ok(subject) => match adopt(planned, subject) {
                Ok(()) => self.run_checks(planned, subject, emit),
                Err(why) => failed(&why),
            },
        };
        self.weigh(planned, &mut run);
        let there = baseline.and_then(|baseline| baseline.compare(&mut run));
        // Budgets are the image's, not the baseline's.
        let is_baseline = baseline.is_none() && self.options.baseline.is_some();
        if !is_baseline {
            self.measure_again(&mut run, timed.as_ref(), there, emit);
        }
        run.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let (Some(backend), Ok(subject)) = (&planned.backend, &planned.subject) {
            backend.release(subject);
        }
        if !run.companion && !is_baseline && run.error.is_none() {
            let reproduce = self.options.reproduce(&run.image, &planned.runtime);
            let budgets = self.options.budgets.iter();
            let records: Vec<_> = budgets.map(|it| it.record(&run, &reproduce)).collect();
            run.checks.extend(records);
        }
        if self.options.require_all {
            run.checks.iter_mut().for_each(Record::require);
        }
        let strict = self.options.strict;
        run.conclude(strict);
        emit(&Event::RunFinished { run: &run, strict });
        Ran { run, timed }
    }

    /// What the user's files say of its records.
    fn weigh(&self, planned: &Planned, run: &mut Run) {
        for record in &mut run.checks {
            // An expectation for the platform that is run need not hold for the others.
            if !run.companion || record.verdict == Verdict::Fail {
                let today = time_of_day();
                let today = today.get(..10).unwrap_or_default();
                self.expectations.apply(&planned.head.image, today, record);
            }
            if let Some(level) = self.options.select.levels.get(&record.id) {
                record.declared_level = Some(record.level).filter(|declared| declared != level);
                record.level = *level;
            }
        }
        run.profile = self.profile.map(str::to_owned);
    }

    fn run_checks(
        &self,
        planned: &Planned,
        subject: &Subject,
        emit: &mut dyn FnMut(&Event<'_>),
    ) -> Ran {
        let options = CheckOptions {
            kubernetes: self.options.kubernetes,
            required_platforms: self.options.required_platforms.clone(),
            long: self.options.long,
            brief: false,
            wasi_engine: self.options.wasi_engine.into(),
        };
        let backend = planned.backend.clone();
        let shared = Shared::new(subject.clone(), options, backend, self.time_scale);
        let shared = Arc::new(shared);
        let mut settings = self.settings(&subject.reference, &planned.runtime);
        if let Some(backend) = &planned.backend {
            settings.timeout += backend.cost() * STARTS;
        }
        if planned.head.companion {
            settings.reproduce = format!("{} --platform {}", settings.reproduce, subject.platform);
        }
        let checks = planned.checks(self.checks);
        let confirm = planned.calibration.clone().map(|it| it as Arc<dyn Confirm>);
        let run = runner::Run {
            shared: &shared,
            settings: &settings,
            confirm: confirm.as_ref(),
            not_run: planned.not_run.as_deref(),
        };
        let ran = run.over(&checks, emit);
        let mut run = Run::new(&planned.head, ran.records);
        run.not_run = planned.idle(&checks, &run.checks);
        run.interrupted = ran.interrupted;
        run.root_lacks = shared.root_lacks();
        if let Some(backend) = &planned.backend {
            run.engine_facts.extend(backend.shows(subject));
        }
        run.measurements = match shared.measurements.lock() {
            Ok(measurements) => measurements.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        rounds::judge(&mut run.measurements);
        let timed = Timed::of(&shared, &settings, &checks, &run.checks);
        Ran { run, timed }
    }
}

/// Hands the image to what runs its program; why that does not take it, where it does not.
fn adopt(planned: &Planned, subject: &Subject) -> Result<(), String> {
    let Some(backend) = planned.backend.as_ref().filter(|_| subject.program.is_ok()) else {
        return Ok(());
    };
    backend.adopt(subject).map_err(|error| error.to_string())
}

/// Where there is too little room, nothing is judged.
fn suffices(room: Room) -> Result<(), Failure> {
    room.suffices()
        .map_err(|short| Failure::not_judged(short.to_string(), Some(short.hint.to_owned())))
}

fn prepare(options: &Judge, emulators: &[Emulator]) -> Result<Arc<Embedded>, Failure> {
    let entered = options.podman().and_then(|_| Entered::find());
    Embedded::prepare_in(emulators, entered)
        .map(Arc::new)
        .map_err(|error| without_sandbox(cannot_prepare(&error)))
}

/// Adds to a hint what can be judged without a sandbox.
fn without_sandbox(mut failure: Failure) -> Failure {
    let without = "--static-only judges what needs no sandbox";
    failure.hint = Some(match failure.hint {
        Some(hint) => format!("{hint}; {without}"),
        None => without.to_owned(),
    });
    failure
}

fn cannot_prepare(error: &PrepareError) -> Failure {
    Failure::not_judged(error.to_string(), error.hint().map(str::to_owned))
}

/// Finds the WASI runtime of WASI pauses.
fn find_wasi_engine(options: &Judge) -> Result<String, Failure> {
    Engine::from(options.wasi_engine).find().map_err(|error| {
        Failure::not_judged(
            format!("--wasi-engine {error}"),
            Some(error.hint.to_owned()),
        )
    })
}

/// More sandboxes than a check starts one after the other.
const STARTS: u32 = 200;

/// What a start of the reference takes on the host for which the deadlines were chosen.
const NOMINAL_START: Duration = Duration::from_millis(10);

/// How many times slower than nominal a sandbox starts here.
fn measure_host(engine: &Arc<Embedded>) -> Result<f64, Failure> {
    let subject = Subject::of_program(
        "the reference",
        crate::programs::REFERENCE.into(),
        Platform::host(),
    );
    let backend = Arc::clone(engine) as Arc<dyn Backend>;
    let shared = Shared::new(subject, CheckOptions::default(), Some(backend), 1.0);
    let context = Context::new(&shared);
    let mut starts = Vec::new();
    for _ in 0..3 {
        if interrupt::is_asked() {
            break;
        }
        let began = Instant::now();
        context
            .start(crate::backend::Spec::default())
            .map_err(|stop| {
                Failure::not_judged(
                    format!("the reference pause does not run on this host: {stop}"),
                    Some(
                        "the suite judges nothing on a host where the reference pause fails"
                            .to_owned(),
                    ),
                )
            })?;
        starts.push(began.elapsed());
        let nominal = starts.iter().filter(|start| **start <= NOMINAL_START);
        // Whatever a third took, the median would be nominal.
        if nominal.count() == 2 {
            return Ok(1.0);
        }
    }
    starts.sort();
    let median = starts.get(1).copied().unwrap_or(NOMINAL_START);
    Ok(slowness(median))
}

/// How many times slower than nominal a host is where a start takes this long.
fn slowness(start: Duration) -> f64 {
    start.div_duration_f64(NOMINAL_START).clamp(1.0, 20.0)
}

/// How many checks at a time: as many as are asked for, else as there is room for.
fn jobs(options: &Judge, room: &Room) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match options.jobs {
        Some(_) => jobs_on(processors, options.jobs),
        None => room.checks(jobs_on(processors, None)),
    }
}

fn jobs_on(processors: usize, asked: Option<u16>) -> usize {
    asked.map_or(2 * processors, usize::from)
}

pub(crate) fn describe_host(time_scale: f64) -> Host {
    let uname = rustix::system::uname();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    Host {
        name: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        machine: uname.machine().to_string_lossy().into_owned(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        root: rustix::process::geteuid().is_root() && Entered::find().is_none(),
        cgroups: cgroups(&mounts).to_owned(),
        time_scale,
    }
}

/// Which cgroups are mounted, by a table as in proc(5).
fn cgroups(mounts: &str) -> &'static str {
    let has = |kind: &str| {
        mounts
            .lines()
            .any(|line| line.split(' ').nth(2) == Some(kind))
    };
    match (has("cgroup"), has("cgroup2")) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

/// Without /proc nothing can be said about a process.
/// Has the suite executed once more in the user namespace of an ordinary user's podman, where that
/// was asked for.
#[cfg(feature = "engines")]
fn enter(options: &Judge, asked: &Asked) -> Result<(), Failure> {
    match options.podman().filter(|_| asked.needs_sandbox()) {
        Some(Runtime::Engine(_, place)) => {
            crate::backend::podman::enter(place.as_deref()).map_err(unusable)
        }
        _ => Ok(()),
    }
}

#[cfg(not(feature = "engines"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn enter(_: &Judge, _: &Asked) -> Result<(), Failure> {
    Ok(())
}

fn unusable(error: Unusable) -> Failure {
    Failure::not_judged(error.to_string(), Some(error.hint))
}

fn see_processes() -> Result<(), Failure> {
    crate::process::proc().map(drop).map_err(|error| {
        let hint = "mount it: mount -t proc proc /proc";
        Failure::not_judged(format!("cannot judge: {error}"), Some(hint.to_owned()))
    })
}

fn unwritten(error: &ReportError) -> Failure {
    let hint = "check that its folder exists and that you may write to it; --report FORMAT \
        without a file goes to stdout";
    Failure::not_judged(with_cause(error), Some(hint.to_owned()))
}

/// A path that is no regular file is bad input; everything else in the file is wrong usage.
fn unread_expectations(error: &ExpectError) -> Failure {
    let (message, hint) = (with_cause(error), error.hint());
    if error.is_special() {
        Failure::not_judged(message, hint)
    } else {
        Failure::usage(message, hint)
    }
}

fn load_failure(error: &subject::Error) -> Failure {
    Failure::not_judged(error.to_string(), error.hint().map(str::to_owned))
}

fn with_cause(error: &(dyn std::error::Error + 'static)) -> String {
    match error.source() {
        Some(cause) => match cause.downcast_ref::<std::io::Error>() {
            Some(cause) => format!("{error}: {}", subject::io_words(cause)),
            None => format!("{error}: {cause}"),
        },
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
