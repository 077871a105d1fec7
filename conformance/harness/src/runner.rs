//! Runs the checks of one subject: which apply, in what order, side by side, and with which
//! verdict. Emits events; prints nothing.
//!
//! **No verdict is lost**: every selected check ends as exactly one record, also
//! when its function panics or never returns.

mod applies;
mod conclude;
mod settle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::check::{Check, Finding, Needs, Outcome, Pass, Stop};
use crate::context::{Context, Noted, Shared};
use crate::event::{Event, Record, Verdict, Want};
use crate::shortage;
use conclude::{Concluded, blame_end, blame_nobody};

pub use conclude::record;

/// By how much the number of checks at a time is multiplied for a program that mostly sleeps before
/// it is ready.
const SLEEPERS: usize = 3;

/// A check that no thread could be started for says nothing about the program.
fn no_thread(error: &std::io::Error) -> Stop {
    let reason = format!("cannot start a thread: {error}");
    match shortage::beside(error) {
        Some(short) => Stop::Inconclusive(reason + &short),
        None => Stop::Error(reason),
    }
}

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Checks at a time; those that only wait for a window are not counted.
    pub jobs: usize,
    /// How long a check may take before it is given up as an error.
    pub timeout: Duration,
    /// The command that shows one check again, without `--filter ID`.
    pub reproduce: String,
    /// The command that explains a check, without its id.
    pub explain: String,
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

    /// Begins to find out whether passes of these checks can be believed, in this order.
    fn look_ahead(self: Arc<Self>, checks: Vec<&'static Check>) -> LookAhead;

    /// The outcome of a check, or an inconclusive one where it cannot be believed.
    fn confirm(&self, check: &'static Check, outcome: Outcome) -> Outcome;
}

/// What finds out ahead whether passes can be believed. Dropped, it begins nothing more, and waits
/// for what it has begun.
#[derive(Debug)]
pub struct LookAhead {
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) over: Arc<AtomicBool>,
}

impl Drop for LookAhead {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Who needs what a thread that panicked was to find out has found that out.
            let _ = thread.join();
        }
    }
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
        let _ahead = runner.look_ahead();
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

struct Runner<'a> {
    run: Run<'a>,
    emit: &'a mut dyn FnMut(&Event<'_>),
    /// The check that says whether the program stays, where it is among those that are run.
    gate: Option<&'static str>,
    pending: Vec<&'static Check>,
    running: BTreeMap<&'static str, Running>,
    /// Outcomes of checks that began ahead of others which they depend on, and which have yet to end.
    ahead: VecDeque<(&'static Check, Result<Outcome, String>, Duration)>,
    /// Checks that ended while another ran alone: they are confirmed after that.
    unconfirmed: Vec<(&'static Check, Outcome, Duration)>,
    records: BTreeMap<&'static str, Record>,
    /// Checks whose program was not running, with what they come to if it stays; the gate decides
    /// what that means.
    not_running: Vec<(&'static Check, Concluded, Duration)>,
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
    /// Others that it depends on have yet to end.
    ahead: bool,
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
            ahead: VecDeque::new(),
            unconfirmed: Vec::new(),
            records: BTreeMap::new(),
            not_running: Vec::new(),
            ended: Vec::new(),
            held: Vec::new(),
            selected: checks.iter().map(|check| check.id).collect(),
            not_startable: BTreeSet::new(),
        }
    }

    /// Begins to find out whether passes can be believed, unless a check wants quiet.
    fn look_ahead(&self) -> Option<LookAhead> {
        let confirm = Arc::clone(self.run.confirm?);
        let wants_quiet = |check: &&Check| check.needs.contains(Needs::EXCLUSIVE);
        (!self.pending.iter().any(wants_quiet)).then(|| confirm.look_ahead(self.pending.clone()))
    }

    fn execute(&mut self) -> bool {
        let (send, receive) = mpsc::channel::<Completion>();
        loop {
            let interrupted = self.run.settings.interrupted.load(Ordering::Relaxed);
            if interrupted {
                self.pending.clear();
            } else {
                self.confirm_the_rest(&send);
                self.conclude_ahead();
                self.dispatch(&send);
            }
            if self.running.is_empty() {
                if interrupted {
                    return true;
                }
                if self.pending.is_empty() {
                    self.give_up_circles();
                    return false;
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
                Err(_) => {
                    self.give_up_overdue();
                    (self.emit)(&Event::Waiting);
                }
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
                // A window costs little if it turns out to be for nothing, and is long.
                Blocked::NotYet if check.needs.contains(Needs::WAITS) => {
                    waiting.extend(self.launch(check, true, send));
                }
                Blocked::No if self.has_room(check, ordinary_left) => {
                    waiting.extend(self.launch(check, false, send));
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
        let waits = |check: &&Check| matches!(self.blocked_by(check), Blocked::NotYet);
        if self.running.is_empty() && !waiting.is_empty() && waiting.iter().all(waits) {
            self.finish(waiting.remove(0), in_a_circle(), Duration::ZERO);
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

    /// Starts it. Returns it where that must wait for the end of another.
    fn launch(
        &mut self,
        check: &'static Check,
        ahead: bool,
        send: &mpsc::Sender<Completion>,
    ) -> Option<&'static Check> {
        let began = Instant::now();
        let (shared, send) = (Arc::clone(self.run.shared), send.clone());
        let body = move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let noted = Noted::default();
                let context = Context::new(&shared).noting(&noted);
                context.adopt_thread()?;
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
                blame_nobody(blame_end(outcome, &noted), noted.gave_up.into_inner())
            }))
            .map_err(|panic| panic_words(&*panic));
            // The receiver is gone only when the run was given up.
            let _ = send.send(Completion::Ended(check, outcome, began.elapsed()));
        };
        let thread = std::thread::Builder::new().name(check.id.to_owned());
        match thread.spawn(body) {
            Ok(thread) => {
                (self.emit)(&Event::CheckStarted { id: check.id });
                let running = Running {
                    check,
                    since: began,
                    ahead,
                    confirming: false,
                    thread: Some(thread),
                };
                self.running.insert(check.id, running);
            }
            // The threads and processes of those that run are the user's as well.
            Err(_) if !self.running.is_empty() => return Some(check),
            Err(error) => {
                (self.emit)(&Event::CheckStarted { id: check.id });
                self.conclude(check, Ok(Err(no_thread(&error))), began.elapsed());
            }
        }
        None
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
            Err(error) => self.end(check, Ok(Err(no_thread(&error))), took),
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
        if let Some(running) = self.running.remove(check.id) {
            self.take(&running, result, took);
            self.conclude_ahead();
            self.settle_held(false);
            self.settle_ended();
        }
    }

    fn take(&mut self, of: &Running, result: Result<Outcome, String>, took: Duration) {
        if of.ahead {
            self.ahead.push_back((of.check, result, took));
        } else {
            self.conclude(of.check, result, took);
        }
    }

    /// Concludes what began ahead, once the others that it depends on have ended. Those may have begun
    /// ahead as well, and ended later.
    fn conclude_ahead(&mut self) {
        loop {
            let before = self.ahead.len();
            for (check, result, took) in std::mem::take(&mut self.ahead) {
                match self.blocked_by(check) {
                    Blocked::NotYet => self.ahead.push_back((check, result, took)),
                    Blocked::No => self.conclude(check, result, took),
                    Blocked::By(id) => {
                        let by = id.to_owned();
                        self.finish(check, Concluded::Blocked { by, why: None }, took);
                    }
                }
            }
            if self.ahead.len() == before {
                return;
            }
        }
    }

    fn give_up_overdue(&mut self) {
        let overdue: Vec<_> = self
            .running
            .values()
            .filter(|running| running.since.elapsed() > self.run.settings.timeout)
            .map(|running| running.check.id)
            .collect();
        for id in overdue {
            if let Some(running) = self.running.remove(id) {
                let reason = format!("did not end within {:?}", self.run.settings.timeout);
                self.take(
                    &running,
                    Ok(Err(Stop::Error(reason))),
                    running.since.elapsed(),
                );
            }
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
                return self
                    .not_running
                    .push((check, Concluded::Fail(finding), took));
            }
            Err(Stop::Gone(reason)) if !is_gate => {
                return self
                    .not_running
                    .push((check, Concluded::Error(reason), took));
            }
            Ok(pass) => Concluded::Pass(pass),
            Err(Stop::Fail(finding) | Stop::NotRunning(finding) | Stop::Ended(finding)) => {
                Concluded::Fail(finding)
            }
            Err(Stop::Skip(reason)) => Concluded::Skipped(Want::Subject, reason),
            Err(Stop::Blocked { by, why }) => Concluded::Blocked {
                by: by.to_owned(),
                why: Some(why),
            },
            Err(Stop::Inconclusive(reason)) => Concluded::Inconclusive(reason),
            Err(Stop::Contradicted(reason) | Stop::Error(reason) | Stop::Gone(reason)) => {
                Concluded::Error(reason)
            }
        };
        self.finish(check, concluded, took);
    }

    /// Concludes those that began ahead of each other, whichever of them ended first.
    fn give_up_circles(&mut self) {
        loop {
            self.conclude_ahead();
            let ended = self.ahead.iter().enumerate();
            let first = ended.min_by_key(|(_, (check, ..))| check.id);
            let first = first.map(|(place, _)| place);
            let Some((check, _, took)) = first.and_then(|place| self.ahead.remove(place)) else {
                return;
            };
            self.finish(check, in_a_circle(), took);
        }
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
        let cause = record.blocked_by.as_ref();
        if let Some(cause) = cause.and_then(|id| self.records.get(id.as_str())) {
            record.skipped_for = match cause.verdict {
                Verdict::Inconclusive => Some(Want::Host),
                Verdict::Skipped => cause.skipped_for,
                Verdict::Pass | Verdict::Fail | Verdict::Error => Some(Want::Check),
            };
        }
        if matches!(
            record.verdict,
            Verdict::Fail | Verdict::Inconclusive | Verdict::Error
        ) {
            let command = &self.run.settings.reproduce;
            record.reproduce = Some(format!("{command} --filter {}", check.id));
            let command = &self.run.settings.explain;
            record.explain = Some(format!("{command} {}", check.id));
        }
        (self.emit)(&Event::CheckFinished { record: &record });
        self.records.insert(check.id, record);
    }
}

fn in_a_circle() -> Concluded {
    Concluded::Error("its prerequisites wait for each other".to_owned())
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
