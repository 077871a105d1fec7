//! What the program does while nothing happens in the pod: as it was started, and after it has
//! reaped. It is watched once a run, for all checks that ask.

use std::cell::RefCell;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use nix::libc;

use super::rest::{CROSS_CHECK, Proof};
use super::{Context, PROMPTLY, Pod};
use crate::backend::{Join, Namespaces, Spec};
use crate::need::Needs;
use crate::outcome::{Finding, Pass, Stop};

/// How long it is watched where nothing is proven of it.
const WINDOW: Duration = Duration::from_millis(900);

/// How finely its use of the processor is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long a program that never waited is watched first, to see whether it computes all the time.
const AT_ONCE: Duration = Duration::from_millis(40);

/// Processor time that counts as none: one tick of a clock of 100 Hz.
pub const TICK: Duration = Duration::from_millis(10);

/// Wakes that may belong to its start, in which it may have seemed to wait for good: of a
/// child, for example, whose end comes late on a busy host.
const LAST_OF_ITS_START: u64 = 3;

/// How many orphans it reaps, one after the other, before it is watched: the first may cost more.
pub const ORPHANS: u64 = 4;

/// How soon it must sleep again after it has reaped.
const ASLEEP: Duration = Duration::from_millis(60);

/// Both observations.
#[derive(Clone, Debug)]
pub struct Idle {
    /// As it was started.
    pub fresh: Rest,
    /// After it has reaped; `None` where it does not, or nothing can make orphans here. An
    /// error where it then ends.
    pub reaped: Result<Option<Rest>, Stop>,
}

/// What it did in a time in which it should do nothing.
#[derive(Clone, Debug)]
pub struct Rest {
    /// How long it was watched, in time in which it could act. A program that computes is not
    /// watched to the end where nothing else is to be asked of it.
    pub window: Duration,
    /// Processor time.
    pub used: Duration,
    /// Context switches.
    pub switches: u64,
    /// Bytes that it wrote, since its start.
    pub written: u64,
    /// What shows that.
    pub evidence: Vec<String>,
}

impl Rest {
    /// Whether it used more of the processor than nothing.
    pub fn is_busy(&self) -> bool {
        self.used > TICK
    }

    /// A finding about it, with what shows it.
    pub fn finding(&self, expected: String, observed: String) -> Finding {
        self.evidence
            .iter()
            .fold(Finding::new(expected, observed), Finding::with)
    }
}

impl Context<'_> {
    /// What the program does while nothing happens.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it does not stay.
    pub fn idle(&self) -> Result<Idle, Stop> {
        // A crash of the emulator is recorded for the check that watched.
        if !self.offers(Needs::NATIVE) {
            return watch(self);
        }
        let reaped = |idle: &Idle| idle.reaped.as_ref().map(drop).map_err(Clone::clone);
        let watched = || self.watched_for_all(watch, reaped);
        self.shared.idle.get_or_init(watched).clone()
    }
}

impl Context<'_> {
    /// Watches something for every check that asks. A shortage that the first of them met is not
    /// for that one alone to know. `verdict` says what a check would make of it.
    pub(super) fn watched_for_all<T>(
        &self,
        watch: impl Fn(&Context<'_>) -> Result<T, Stop>,
        verdict: impl Fn(&T) -> Result<(), Stop>,
    ) -> Result<T, Stop> {
        let last = RefCell::new(None);
        let outcome = self.watched(|cx| {
            let seen = watch(cx);
            let outcome = seen.as_ref().map_err(Clone::clone).and_then(&verdict);
            last.replace(Some(seen));
            outcome.map(|()| Pass::new(""))
        });
        match (outcome, last.into_inner()) {
            (Err(short @ Stop::Inconclusive(_)), _) | (Err(short), None) => Err(short),
            (_, Some(seen)) => seen,
            (Ok(_), None) => Err(Stop::Error("nothing was watched".to_owned())),
        }
    }
}

pub(super) fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

fn watch(cx: &Context<'_>) -> Result<Idle, Stop> {
    let proof = cx.proof();
    // What it still does by itself, a moment later, would be seen in the window.
    let is_proven = proof
        .as_ref()
        .is_some_and(|proof| proof.reaped && proof.acts <= TICK);
    let window = if is_proven { CROSS_CHECK } else { WINDOW };
    let idle = watch_for(window, cx)?;
    if let Some(proof) = proof.filter(|_| is_proven) {
        let reaped = idle.reaped.as_ref().ok().and_then(Option::as_ref);
        for rest in reaped.into_iter().chain([&idle.fresh]) {
            rest.expect(&proof)?;
        }
    }
    Ok(idle)
}

impl Rest {
    /// What is proven shows in a window too, or one of the two is wrong.
    fn expect(&self, proof: &Proof) -> Result<(), Stop> {
        let (window, used, switches) = (self.window, self.used, self.switches);
        if self.is_busy() || switches > 0 {
            let shown = format!("used {used:.1?} of a processor and woke {switches} times");
            return Err(proof.is_contradicted(&format!("{shown} in {window:.1?}")));
        }
        if self.written > 0 && proof.written == 0 {
            let written = self.written;
            return Err(proof.is_contradicted(&format!("wrote {written} bytes in {window:.1?}")));
        }
        Ok(())
    }
}

fn watch_for(window: Duration, cx: &Context<'_>) -> Result<Idle, Stop> {
    let mut fresh = cx.start(spec())?;
    let mut watched = Watch::for_a(window, &mut fresh)?;
    if cx.is_never_ready() {
        watched.look(&mut fresh, AT_ONCE)?;
        if watched.is_busy() {
            // What it writes is all that is left to see, and it takes its time from all others.
            watched.window = WINDOW / 2;
        }
    }
    // A program that computes from its start shows nothing new once it has reaped.
    let mut reaped = if watched.is_busy() { None } else { reaped(cx)? };
    if !watched.is_busy() {
        watched = Watch::for_a(window, &mut fresh)?;
    }
    let mut after = match &mut reaped {
        Some(pod) => Watch::for_a(window, pod).map(Some),
        None => Ok(None),
    };
    loop {
        let left = watched.look(&mut fresh, LOOK)?;
        let mut open = !left.is_zero();
        if let (Some(pod), Ok(Some(watch))) = (&mut reaped, &mut after)
            && !watched.is_busy()
            && !watch.is_busy()
        {
            match watch.look(pod, Duration::ZERO) {
                Ok(left) => open |= !left.is_zero(),
                Err(stop) => after = Err(stop),
            }
        }
        if !open {
            break;
        }
    }
    let ended = |stop| match stop {
        Stop::NotRunning(finding) => Stop::Ended(Finding {
            expected: "still running after it has reaped".to_owned(),
            ..finding
        }),
        other => other,
    };
    let reaped = match (reaped, after) {
        (Some(mut pod), Ok(Some(watch))) => watch.end(&mut pod).map(Some).map_err(ended),
        (_, after) => after.map(|_| None).map_err(ended),
    };
    Ok(Idle {
        fresh: watched.end(&mut fresh)?,
        reaped,
    })
}

/// One that has reaped and gone back to sleep.
fn reaped<'a>(cx: &Context<'a>) -> Result<Option<Pod<'a>>, Stop> {
    if !cx.offers(Needs::PROBE) {
        return Ok(None);
    }
    let mut pod = cx.start_to_reap(spec())?;
    Ok(pod.reap_first_orphans()?.then_some(pod))
}

/// A pod that is being watched.
pub(super) struct Watch {
    time: super::Stopwatch,
    since: Duration,
    switches: u64,
    window: Duration,
    /// It is watched a second time, for longer.
    is_second: bool,
    used: Duration,
}

impl Watch {
    /// As long as this, or longer, where it is seen to wake.
    pub(super) fn for_a(window: Duration, pod: &mut Pod<'_>) -> Result<Self, Stop> {
        Ok(Self {
            since: pod.processor_time()?,
            switches: pod.state()?.switches,
            time: pod.stopwatch(),
            window,
            is_second: false,
            used: Duration::ZERO,
        })
    }

    /// Whether it computes while nothing happens, by a short look.
    pub(super) fn shows_computing(pod: &mut Pod<'_>) -> Result<bool, Stop> {
        let mut watch = Self::for_a(AT_ONCE, pod)?;
        watch.look(pod, AT_ONCE)?;
        Ok(watch.is_busy())
    }

    fn is_busy(&self) -> bool {
        self.used > TICK
    }

    /// Looks at it after some time; how much is left.
    pub(super) fn look(&mut self, pod: &mut Pod<'_>, time: Duration) -> Result<Duration, Stop> {
        let left = self.time.left(self.window);
        pod.leave_alone(left.min(time))?;
        self.used = pod.processor_time()?.saturating_sub(self.since);
        if left.is_zero() && !self.is_busy() {
            let woken = pod.state()?.switches.saturating_sub(self.switches);
            // An emulator's own wakes judge nothing.
            let is_native = pod.context().offers(Needs::NATIVE);
            if is_native && !self.is_second && (1..=LAST_OF_ITS_START).contains(&woken) {
                // As long again, for what comes back to come back.
                let used = self.used;
                *self = Self::for_a(self.window * 2, pod)?;
                self.since = self.since.saturating_sub(used);
                self.is_second = true;
                return Ok(self.window);
            }
        }
        Ok(left)
    }

    pub(super) fn end(self, pod: &mut Pod<'_>) -> Result<Rest, Stop> {
        let switches = pod.state()?.switches.saturating_sub(self.switches);
        let (_, mut written) = pod.output();
        // What has come is enough: through a stream that it keeps full nothing follows.
        if written == 0 {
            pod.settle_output()?;
            (_, written) = pod.output();
        }
        let evidence = pod.finding(String::new(), String::new()).evidence;
        Ok(Rest {
            window: self.window.min(self.time.wall()),
            used: self.used,
            switches,
            written,
            evidence: evidence.into_iter().chain([pod.describe()]).collect(),
        })
    }
}

impl<'a> Context<'a> {
    /// As [`Context::start`], for a sandbox that is to reap then. Waits where another check is just
    /// finding out whether the program reaps: a program that spins would spin meanwhile.
    ///
    /// # Errors
    /// As [`Context::start`].
    pub fn start_to_reap(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        drop(self.reaps());
        self.start(spec)
    }

    /// Notes that one that was just started did not reap its first orphan.
    pub fn reaps_none(&self) {
        // A crash of the emulator is recorded for the check that saw it.
        if self.offers(Needs::NATIVE) {
            *self.reaps() = Some(false);
        }
    }

    fn reaps(&self) -> MutexGuard<'a, Option<bool>> {
        let reaps = self.shared.reaps.lock();
        reaps.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pod<'_> {
    /// Has one that was just started reap [`ORPHANS`]; `false` where it does not, which other
    /// checks judge. For a program that reaps none, this is tried once a run.
    ///
    /// # Errors
    /// [`Stop::Error`] where no orphan could be made.
    pub fn reap_first_orphans(&mut self) -> Result<bool, Stop> {
        let context = self.context();
        let mut reaps = context.reaps();
        match *reaps {
            Some(false) => return Ok(false),
            Some(true) => drop(reaps),
            None => {
                let completed = self.reap_some(ORPHANS)?;
                if context.offers(Needs::NATIVE) {
                    *reaps = completed.map(|completed| completed > 0);
                }
                return Ok(completed == Some(ORPHANS));
            }
        }
        self.reap_orphans(ORPHANS)
    }

    /// Has it reap `count` orphans, one after the other; `false` where it does not, which other
    /// checks judge.
    ///
    /// # Errors
    /// [`Stop::Error`] where no orphan could be made.
    pub fn reap_orphans(&mut self, count: u64) -> Result<bool, Stop> {
        Ok(self.reap_some(count)? == Some(count))
    }

    /// How many of these it has reaped; `None` where it has ended.
    fn reap_some(&mut self, count: u64) -> Result<Option<u64>, Stop> {
        let join = Join {
            namespaces: Namespaces::PID,
            ..Join::default()
        };
        let reaped = self.enter(&join).and_then(|probe| {
            self.provoke("orphans ended");
            let limit = self.context().scaled(PROMPTLY);
            let rounds = match probe.rounds(count, 1, limit, limit) {
                // The program kills what is reparented to it, also the processes that make orphans.
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
                rounds => rounds.map_err(|error| self.harness_failed("raise orphans", &error))?,
            };
            drop(probe);
            let asleep = self.context().scaled(ASLEEP);
            let watch = self.stopwatch();
            while !self.is_ready() && watch.elapsed() < asleep {
                self.await_event(Duration::from_micros(200))?;
            }
            // Its end may come after it has reaped all: they may have come together.
            Ok(self.ended()?.is_none().then_some(rounds.completed))
        });
        match reaped {
            Err(Stop::Fail(_) | Stop::NotRunning(_) | Stop::Ended(_) | Stop::Inconclusive(_)) => {
                Ok(None)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Rest = Rest {
        window: CROSS_CHECK,
        used: Duration::ZERO,
        switches: 0,
        written: 0,
        evidence: Vec::new(),
    };

    fn proof(written: u64) -> Proof {
        Proof {
            call: "pause".to_owned(),
            written,
            reaped: true,
            acts: Duration::ZERO,
        }
    }

    #[test]
    fn a_window_that_shows_what_was_proven_is_no_error() {
        assert!(STILL.expect(&proof(0)).is_ok());
        let greets = Rest {
            written: 5,
            ..STILL
        };
        assert!(greets.expect(&proof(5)).is_ok(), "for the check to judge");
    }

    #[test]
    fn a_window_that_shows_something_else_is_an_error_with_both_facts() {
        let (busy, wakes, writes) = (STILL, STILL, STILL);
        let others = [
            Rest {
                used: TICK * 2,
                ..busy
            },
            Rest {
                switches: 3,
                ..wakes
            },
            Rest {
                written: 5,
                ..writes
            },
        ];
        for rest in others {
            let Err(Stop::Contradicted(why)) = rest.expect(&proof(0)) else {
                panic!("one of the two is wrong: {rest:?}");
            };
            assert!(why.contains("rests in pause(2)"), "{why}");
        }
    }
}
