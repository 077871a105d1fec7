//! Runs the checks of one subject: which apply, in what order, side by side, and with which
//! verdict. Emits events; prints nothing.
//!
//! **No verdict is lost**: every selected check ends as exactly one record, also
//! when its function panics or never returns.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pause_sandbox::Features;

use crate::catalogue::missing_in_words;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::{Context, GaveUp, Lack, Shared, in_words};
use crate::event::{Event, Record, Verdict};
use crate::subject::NoProgram;
use crate::wasi_sim::RUNS_COMPONENTS;

/// By how much the number of checks at a time is multiplied for a program that mostly sleeps before
/// it is ready.
const SLEEPERS: usize = 3;

/// Why a component is not run.
const NO_COMPONENTS: &str = "needs a WASI runtime for components: `cargo xtask conformance` \
    builds it in for a file, a layout or an archive that holds one and for `--platform \
    wasip2/wasm`, or `cargo install` with `--features wasmtime`";

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Checks at a time; those that only wait for a window are not counted.
    pub jobs: usize,
    /// How long a check may take before it is given up as an error.
    pub timeout: Duration,
    /// The command that shows one check again, without `--filter ID`.
    pub reproduce: String,
    /// Set when the user asks to stop.
    pub interrupted: Arc<AtomicBool>,
}

/// The records of a run's checks, in registry order.
#[derive(Debug)]
pub struct RunResult {
    /// One for each selected check that ended.
    pub records: Vec<Record>,
    /// The user asked to stop before all had ended.
    pub interrupted: bool,
}

/// Says whether a verdict can be believed where that is in doubt: under an emulator.
pub trait Confirm: Send + Sync {
    /// Why no check can be believed here, if none can.
    fn says_nothing(&self) -> Option<&str>;

    /// The outcome of a check, or an inconclusive one where it cannot be believed.
    fn confirm(&self, check: &'static Check, outcome: Outcome) -> Outcome;
}

/// What is judged, and how.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The subject, and what runs it.
    pub shared: &'a Arc<Shared>,
    /// How the run is made.
    pub settings: &'a Settings,
    /// What shows whether a verdict can be believed; `None` where it can.
    pub confirm: Option<&'a Arc<dyn Confirm>>,
    /// Why nothing runs the subject, where the subject is the reason.
    pub not_run: Option<&'a str>,
}

/// Runs `checks` over what `shared` holds; their verdicts can be believed.
pub fn run(
    checks: &[&'static Check],
    shared: &Arc<Shared>,
    settings: &Settings,
    emit: &mut dyn FnMut(&Event<'_>),
) -> RunResult {
    let run = Run {
        shared,
        settings,
        confirm: None,
        not_run: None,
    };
    run.over(checks, emit)
}

impl Run<'_> {
    /// Runs these checks.
    pub fn over(self, checks: &[&'static Check], emit: &mut dyn FnMut(&Event<'_>)) -> RunResult {
        let mut runner = Runner::new(self, checks, emit);
        runner.sort_out(checks);
        let interrupted = runner.execute();
        runner.settle();
        let mut records = runner.records;
        RunResult {
            records: checks
                .iter()
                .filter_map(|check| records.remove(check.id))
                .collect(),
            interrupted,
        }
    }
}

/// The checks without which one that waits for a window cannot begin.
fn awaited_by_windows(checks: &[&'static Check]) -> BTreeSet<&'static str> {
    let mut awaited = BTreeSet::new();
    let mut waiting: Vec<&Check> = checks
        .iter()
        .filter(|check| check.needs.contains(Needs::WAITS))
        .copied()
        .collect();
    while let Some(check) = waiting.pop() {
        let new = checks
            .iter()
            .filter(|other| check.after.contains(&other.id) && awaited.insert(other.id));
        waiting.extend(new);
    }
    awaited
}

fn offers(shared: &Shared) -> Needs {
    let mut offered = Needs::from(shared.subject.traits()) | Needs::HINTS;
    if let Some(backend) = &shared.backend {
        offered |= backend.offers().into();
    }
    if offered.contains(Needs::WASM_MODULE)
        || RUNS_COMPONENTS && offered.contains(Needs::WASM_COMPONENT)
    {
        offered |= Needs::VIRTUAL_CLOCK;
    }
    if shared.options.kubernetes.is_some() {
        offered |= Needs::KUBERNETES;
    }
    if shared.options.long {
        offered |= Needs::LONG;
    }
    if !shared.options.required_platforms.is_empty() {
        offered |= Needs::REQUIRED_PLATFORMS;
    }
    offered
}

/// Why a check does not apply, if it does not.
fn missing(check: &Check, offered: Needs, run: &Run<'_>) -> Option<String> {
    let shared = run.shared;
    let need = (check.needs - offered).iter().next()?;
    if need == Needs::PROGRAM
        && let Err(why) = &shared.subject.program
    {
        return Some(match why {
            NoProgram::Wasm => "needs a native program; this one is WebAssembly".to_owned(),
            why => format!("the image has no program that can be started: {why}"),
        });
    }
    if need == Needs::VIRTUAL_CLOCK && offered.contains(Needs::WASM_COMPONENT) {
        return Some(NO_COMPONENTS.to_owned());
    }
    let why = match &shared.backend {
        Some(backend) => backend.lacks(need.host),
        None => run.not_run.filter(|_| check.needs.contains(Needs::SANDBOX)),
    };
    Some(why.map_or_else(|| missing_in_words(need), str::to_owned))
}

struct Runner<'a> {
    run: Run<'a>,
    emit: &'a mut dyn FnMut(&Event<'_>),
    /// The check that says whether the program stays, where it is among those that are run.
    gate: Option<&'static str>,
    pending: Vec<&'static Check>,
    running: BTreeMap<&'static str, Running>,
    /// Checks that ended while another ran alone: they are confirmed after that.
    unconfirmed: Vec<(&'static Check, Outcome, Duration)>,
    records: BTreeMap<&'static str, Record>,
    /// Checks whose program was not running; the gate decides what that means.
    not_running: Vec<(&'static Check, Finding, Duration)>,
    /// Checks whose program ended on the stimulus; the gate decides whether that was the reason.
    ended: Vec<(&'static Check, Finding, Duration)>,
    /// Passes about what a program may need, while it is not known whether it stays.
    held: Vec<(&'static Check, Pass, Duration)>,
    selected: BTreeSet<&'static str>,
    /// Checks for which the backend cannot start the program in a special way: others that are
    /// made after them do not depend on that.
    not_startable: BTreeSet<&'static str>,
}

/// A check that has begun.
struct Running {
    check: &'static Check,
    since: Instant,
    /// It has ended; the emulator is being tested for whether the outcome can be believed.
    confirming: bool,
    /// The thread that it runs on, until that has reported.
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn wants_quiet(&self) -> bool {
        self.check.needs.contains(Needs::EXCLUSIVE) && !self.confirming
    }
}

/// A check's outcome and how long it took, as its thread reports it.
enum Completion {
    /// Not tested yet.
    Ended(&'static Check, Result<Outcome, String>, Duration),
    /// Replaced where it cannot be believed.
    Confirmed(&'static Check, Result<Outcome, String>, Duration),
}

/// How a check was concluded.
enum Concluded {
    Pass(Pass),
    Fail(Finding),
    Skipped(String),
    /// It was not run, or its outcome says nothing, because another check did not pass.
    Blocked {
        by: String,
        why: Option<String>,
    },
    Inconclusive(String),
    Error(String),
}

impl<'a> Runner<'a> {
    fn new(run: Run<'a>, checks: &[&'static Check], emit: &'a mut dyn FnMut(&Event<'_>)) -> Self {
        let gate = checks
            .iter()
            .find(|check| check.needs.contains(Needs::GATE));
        Self {
            run,
            emit,
            gate: gate.map(|check| check.id),
            pending: Vec::new(),
            running: BTreeMap::new(),
            unconfirmed: Vec::new(),
            records: BTreeMap::new(),
            not_running: Vec::new(),
            ended: Vec::new(),
            held: Vec::new(),
            selected: checks.iter().map(|check| check.id).collect(),
            not_startable: BTreeSet::new(),
        }
    }

    /// Concludes the checks that do not apply, and puts the others in order.
    fn sort_out(&mut self, checks: &[&'static Check]) {
        let offered = offers(self.run.shared);
        let confirm = self.run.confirm;
        let says_nothing = |check: &Check| {
            let runs = check.needs.contains(Needs::SANDBOX);
            runs.then(|| confirm?.says_nothing()).flatten()
        };
        for check in checks {
            if let Some(reason) = missing(check, offered, &self.run) {
                let is_startable = offered
                    .host
                    .contains(check.needs.host & Features::OF_STARTS);
                if self.run.shared.backend.is_some() && !is_startable {
                    self.not_startable.insert(check.id);
                }
                self.finish(check, Concluded::Skipped(reason), Duration::ZERO);
            } else if let Some(why) = says_nothing(check) {
                let why = why.to_owned();
                self.finish(check, Concluded::Inconclusive(why), Duration::ZERO);
            } else {
                self.pending.push(check);
            }
        }
        // Long windows first, with their prerequisites; exclusive checks last; where asked for,
        // slow failures early.
        let awaited = awaited_by_windows(&self.pending);
        self.pending.sort_by_key(|check| {
            (
                !check.needs.contains(Needs::WAITS),
                check.needs.contains(Needs::EXCLUSIVE),
                !awaited.contains(check.id),
                !check.needs.contains(Needs::SLOW_FAIL),
            )
        });
    }

    fn execute(&mut self) -> bool {
        let (send, receive) = mpsc::channel::<Completion>();
        loop {
            let interrupted = self.run.settings.interrupted.load(Ordering::Relaxed);
            if interrupted {
                self.pending.clear();
            } else {
                self.confirm_the_rest(&send);
                self.dispatch(&send);
            }
            if self.running.is_empty() {
                if self.pending.is_empty() || interrupted {
                    return interrupted;
                }
                continue;
            }
            match receive.recv_timeout(Duration::from_millis(50)) {
                Ok(Completion::Ended(check, result, took)) => {
                    self.join(check);
                    self.confirm(check, result, took, &send);
                }
                Ok(Completion::Confirmed(check, result, took)) => {
                    self.join(check);
                    self.end(check, result, took);
                }
                Err(_) => self.give_up_overdue(),
            }
            if interrupted {
                return true;
            }
        }
    }

    /// Starts what may be started now.
    fn dispatch(&mut self, send: &mpsc::Sender<Completion>) {
        let mut waiting = Vec::new();
        let ordinary_left = self
            .pending
            .iter()
            .any(|check| !check.needs.intersects(Needs::EXCLUSIVE.union(Needs::WAITS)));
        for check in std::mem::take(&mut self.pending) {
            match self.blocked_by(check) {
                Blocked::No if self.has_room(check, ordinary_left) => {
                    self.launch(check, send.clone());
                }
                Blocked::By(id) => {
                    let by = id.to_owned();
                    let blocked = Concluded::Blocked { by, why: None };
                    self.finish(check, blocked, Duration::ZERO);
                }
                Blocked::No | Blocked::NotYet => waiting.push(check),
            }
        }
        // A check that waits for one that never runs would wait for ever.
        if self.running.is_empty()
            && let Some(at) = waiting
                .iter()
                .position(|check| matches!(self.blocked_by(check), Blocked::NotYet))
            && waiting
                .iter()
                .all(|check| matches!(self.blocked_by(check), Blocked::NotYet))
        {
            let check = waiting.remove(at);
            let reason = "its prerequisites wait for each other".to_owned();
            self.finish(check, Concluded::Error(reason), Duration::ZERO);
        }
        self.pending = waiting;
    }

    fn has_room(&self, check: &Check, ordinary_left: bool) -> bool {
        let working = || {
            self.running
                .values()
                .filter(|other| !other.check.needs.contains(Needs::WAITS) || other.confirming)
        };
        if check.needs.contains(Needs::WAITS) {
            return true;
        }
        if check.needs.contains(Needs::EXCLUSIVE) {
            return working().next().is_none() && !ordinary_left;
        }
        // An exclusive check begins only when no ordinary check is left to begin.
        let at_a_time = if Context::new(self.run.shared).starts_slowly() {
            self.run.settings.jobs * SLEEPERS
        } else {
            self.run.settings.jobs
        };
        working().filter(|other| !other.confirming).count() < at_a_time
    }

    fn launch(&mut self, check: &'static Check, send: mpsc::Sender<Completion>) {
        (self.emit)(&Event::CheckStarted { id: check.id });
        let began = Instant::now();
        let shared = Arc::clone(self.run.shared);
        let body = move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                if let Some(backend) = &shared.backend {
                    backend.adopt_thread().map_err(|error| {
                        Stop::Error(format!("cannot prepare a thread for sandboxes: {error}"))
                    })?;
                }
                let gave_up = GaveUp::new();
                let context = Context::new(&shared).noting(&gave_up);
                let judge = |cx: &Context<'_>| {
                    let outcome = cx.blame_lack(check.id, (check.run)(cx));
                    cx.blame_leaving(outcome)
                };
                // A check that starts nothing loses nothing to the OOM killer.
                let outcome = if check.needs.host.is_empty() {
                    judge(&context)
                } else {
                    context.watched(judge)
                };
                blame_nobody(outcome, gave_up.into_inner())
            }))
            .map_err(|panic| panic_words(&*panic));
            // The receiver is gone only when the run was given up.
            let _ = send.send(Completion::Ended(check, outcome, began.elapsed()));
        };
        let thread = std::thread::Builder::new().name(check.id.to_owned());
        match thread.spawn(body) {
            Ok(thread) => {
                let running = Running {
                    check,
                    since: began,
                    confirming: false,
                    thread: Some(thread),
                };
                self.running.insert(check.id, running);
            }
            Err(error) => {
                let reason = format!("cannot start a thread: {error}");
                self.finish(check, Concluded::Error(reason), began.elapsed());
            }
        }
    }

    /// Waits for the end of a thread that has reported. It then releases its reference to the
    /// backend: the last one to do so cleans up, which must be the run.
    fn join(&mut self, check: &Check) {
        let running = self.running.get_mut(check.id);
        if let Some(thread) = running.and_then(|running| running.thread.take()) {
            // A panic was reported as well.
            let _ = thread.join();
        }
    }

    /// Has the emulator tested for whether a check's outcome can be believed, where that is in
    /// doubt.
    fn confirm(
        &mut self,
        check: &'static Check,
        result: Result<Outcome, String>,
        took: Duration,
        send: &mpsc::Sender<Completion>,
    ) {
        let (confirm, outcome) = match (self.run.confirm, result) {
            (Some(confirm), Ok(outcome)) => (Arc::clone(confirm), outcome),
            (_, result) => return self.end(check, result, took),
        };
        let quiet_wanted = self.running.values().any(Running::wants_quiet);
        let Some(running) = self.running.get_mut(check.id) else {
            return;
        };
        running.since = Instant::now();
        if quiet_wanted && !running.wants_quiet() {
            self.unconfirmed.push((check, outcome, took));
            return;
        }
        running.confirming = true;
        let send = send.clone();
        let body = move || {
            let confirm = || confirm.confirm(check, outcome);
            let result = std::panic::catch_unwind(AssertUnwindSafe(confirm))
                .map_err(|panic| panic_words(&*panic));
            let _ = send.send(Completion::Confirmed(check, result, took));
        };
        match std::thread::Builder::new().spawn(body) {
            Ok(thread) => running.thread = Some(thread),
            Err(error) => {
                let reason = format!("cannot start a thread: {error}");
                self.end(check, Ok(Err(Stop::Error(reason))), took);
            }
        }
    }

    /// Confirms what was put off while a check ran alone.
    fn confirm_the_rest(&mut self, send: &mpsc::Sender<Completion>) {
        if !self.running.values().any(Running::wants_quiet) {
            for (check, outcome, took) in std::mem::take(&mut self.unconfirmed) {
                self.confirm(check, Ok(outcome), took, send);
            }
        }
    }

    fn end(&mut self, check: &'static Check, result: Result<Outcome, String>, took: Duration) {
        if self.running.remove(check.id).is_some() {
            self.conclude(check, result, took);
            self.settle_held(false);
            self.settle_ended();
        }
    }

    fn give_up_overdue(&mut self) {
        let overdue: Vec<_> = self
            .running
            .values()
            .filter(|running| running.since.elapsed() > self.run.settings.timeout)
            .map(|running| (running.check, running.since.elapsed()))
            .collect();
        for (check, took) in overdue {
            self.running.remove(check.id);
            let reason = format!("did not end within {:?}", self.run.settings.timeout);
            self.finish(check, Concluded::Error(reason), took);
        }
    }

    fn conclude(&mut self, check: &'static Check, result: Result<Outcome, String>, took: Duration) {
        let is_gate = self.gate == Some(check.id);
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(panic) => {
                let reason = format!("the check panicked: {panic}");
                return self.finish(check, Concluded::Error(reason), took);
            }
        };
        let concluded = match outcome {
            Ok(pass) if !is_gate => return self.held.push((check, pass, took)),
            Err(Stop::Ended(finding)) if !is_gate => {
                return self.ended.push((check, finding, took));
            }
            Err(Stop::NotRunning(finding)) if !is_gate => {
                return self.not_running.push((check, finding, took));
            }
            Ok(pass) => Concluded::Pass(pass),
            Err(Stop::Fail(finding) | Stop::NotRunning(finding) | Stop::Ended(finding)) => {
                Concluded::Fail(finding)
            }
            Err(Stop::Skip(reason)) => Concluded::Skipped(reason),
            Err(Stop::Blocked { by, why }) => Concluded::Blocked {
                by: by.to_owned(),
                why: Some(why),
            },
            Err(Stop::Inconclusive(reason)) => Concluded::Inconclusive(reason),
            Err(Stop::Error(reason)) => Concluded::Error(reason),
        };
        self.finish(check, concluded, took);
    }

    /// Whether the program stays, as far as that is known.
    fn stays(&self) -> Option<Verdict> {
        Some(self.records.get(self.gate?)?.verdict)
    }

    /// Whether the gate is still to say whether the program stays.
    fn awaits_gate(&self) -> bool {
        self.gate.is_some() && self.stays().is_none()
    }

    /// Keeps a pass, once it is known that the program does not need what the check is about: a
    /// program that needs it may end only after that check.
    fn settle_held(&mut self, at_last: bool) {
        let awaited = self.awaits_gate() && !at_last;
        let lacks = if self.stays() == Some(Verdict::Pass) {
            &[]
        } else {
            self.lacks()
        };
        let names = |lacks: &[Lack], id| lacks.iter().any(|lack| lack.check() == id);
        for (check, pass, took) in std::mem::take(&mut self.held) {
            if awaited && names(&Lack::ALL, check.id) {
                self.held.push((check, pass, took));
            } else if names(lacks, check.id) {
                let expected = format!("it stays without {}", in_words(lacks));
                let observed = match self.gate {
                    Some(gate) => format!("it ends without, as `--filter {gate}` shows"),
                    None => "it ends without".to_owned(),
                };
                let finding = Finding::new(expected, observed);
                self.finish(check, Concluded::Fail(finding), took);
            } else {
                self.finish(check, Concluded::Pass(pass), took);
            }
        }
    }

    /// What the program ends without, as far as a check has asked.
    fn lacks(&self) -> &'a [Lack] {
        self.run.shared.lacks.get().map_or(&[], Vec::as_slice)
    }

    /// Concludes the checks whose programs ended, once it is known whether they stay by themselves.
    fn settle_ended(&mut self) {
        if self.awaits_gate() {
            return;
        }
        for (check, finding, took) in std::mem::take(&mut self.ended) {
            self.fail_or_block(check, finding, took);
        }
    }

    /// A program that does not stay fails one check, not all of them; one that runs
    /// elsewhere and not here fails this one.
    fn settle(&mut self) {
        self.settle_held(true);
        let waiting = std::mem::take(&mut self.ended)
            .into_iter()
            .chain(std::mem::take(&mut self.not_running));
        for (check, finding, took) in waiting.collect::<Vec<_>>() {
            self.fail_or_block(check, finding, took);
        }
    }

    fn fail_or_block(&mut self, check: &'static Check, finding: Finding, took: Duration) {
        let concluded = if self.stays() == Some(Verdict::Fail) {
            let (by, why) = (self.to_blame().to_owned(), None);
            Concluded::Blocked { by, why }
        } else if check.level == Level::Info {
            // What is only measured is never failed.
            Concluded::Inconclusive(finding.observed)
        } else {
            Concluded::Fail(finding)
        };
        self.finish(check, concluded, took);
    }

    /// The check that says what a program needs that does not stay.
    fn to_blame(&self) -> &'static str {
        let failed = |id: &&str| {
            let record = self.records.get(id);
            record.is_some_and(|record| record.verdict == Verdict::Fail)
        };
        let checks = self.lacks().iter().map(|lack| lack.check());
        let gate = self.gate.unwrap_or_default();
        checks.into_iter().find(failed).unwrap_or(gate)
    }

    fn blocked_by(&self, check: &Check) -> Blocked {
        for id in check.after {
            if self.not_startable.contains(id) {
                continue;
            }
            if let Some(record) = self.records.get(id) {
                if record.verdict != Verdict::Pass {
                    return Blocked::By(id);
                }
            } else if self.ended.iter().any(|(other, ..)| other.id == *id) {
                return Blocked::By(id);
            } else if self.not_running.iter().any(|(other, ..)| other.id == *id) {
                // It could not tell; this one may start the program in a way that works.
            } else if self.held.iter().any(|(other, ..)| other.id == *id) {
                // It passed, as far as is known.
            } else if self.selected.contains(id) {
                return Blocked::NotYet;
            }
        }
        Blocked::No
    }

    fn finish(&mut self, check: &'static Check, concluded: Concluded, took: Duration) {
        let mut record = Record {
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            ..record(check, Verdict::Error)
        };
        record.conclude(concluded);
        if matches!(
            record.verdict,
            Verdict::Fail | Verdict::Inconclusive | Verdict::Error
        ) {
            let command = &self.run.settings.reproduce;
            record.reproduce = Some(format!("{command} --filter {}", check.id));
        }
        (self.emit)(&Event::CheckFinished { record: &record });
        self.records.insert(check.id, record);
    }
}

/// The record of a check with this verdict and nothing observed.
pub fn record(check: &Check, verdict: Verdict) -> Record {
    Record {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        level: check.level,
        requirement: check.requirement.to_owned(),
        source: check.source.title.to_owned(),
        source_url: check.source.url.to_owned(),
        ..Record::new(verdict)
    }
}

impl Record {
    fn conclude(&mut self, concluded: Concluded) {
        let (verdict, reason) = match concluded {
            Concluded::Pass(pass) => {
                (self.observed, self.evidence) = (Some(pass.observed), pass.evidence);
                (Verdict::Pass, None)
            }
            Concluded::Fail(finding) => {
                self.expected = Some(finding.expected).filter(|line| !line.is_empty());
                (self.observed, self.evidence) = (Some(finding.observed), finding.evidence);
                (Verdict::Fail, None)
            }
            Concluded::Skipped(reason) => (Verdict::Skipped, Some(reason)),
            Concluded::Blocked { by, why } => {
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                let reason = format!("depends on {by}, which did not pass{why}");
                self.blocked_by = Some(by);
                (Verdict::Skipped, Some(reason))
            }
            Concluded::Inconclusive(reason) => (Verdict::Inconclusive, Some(reason)),
            Concluded::Error(reason) => (Verdict::Error, Some(reason)),
        };
        (self.verdict, self.reason) = (verdict, reason);
    }
}

/// The verdict of a check during which the emulator crashed, `gave_up` in words: neither the
/// program nor the suite is blamed.
fn blame_nobody(outcome: Outcome, gave_up: Option<String>) -> Outcome {
    match (outcome, gave_up) {
        (
            Err(Stop::Fail(_) | Stop::NotRunning(_) | Stop::Ended(_) | Stop::Error(_)),
            Some(words),
        ) => Err(Stop::Inconclusive(words)),
        (outcome, _) => outcome,
    }
}

enum Blocked {
    No,
    NotYet,
    By(&'static str),
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            panic
                .downcast_ref::<&str>()
                .map(|words| (*words).to_owned())
        })
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
