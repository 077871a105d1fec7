//! Every moment of a signal: right before each system call that a program makes once it waits.
//!
//! Between two system calls nothing that a program does can be seen from outside, so a signal that
//! comes there comes, for all that matters, right before the next of them.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fixtures::protocol::Death;
use pause_sandbox::step::Call;

use super::step::{Seen, Steps};
use super::{Context, Orphans, PROMPTLY, Pod};
use crate::backend::{Join, Namespaces, Spec};
use crate::outcome::Stop;
use crate::probe::Probe;
use crate::process::ExitStatus;
use crate::{seccomp, signal};

/// The most moments that are tried of each signal.
const AT_MOST: usize = 64;

/// The most calls that are followed for that; a program is followed from its exec each time.
const CALLS: usize = 8_000;

/// And the fewest moments, however many calls there are before them.
const AT_LEAST: usize = 8;

/// The same of a program that computes for longer than [`MUCH`] until it rests.
const AT_LEAST_OF_MUCH: usize = 4;

/// More than a sound program computes, with a run-time of any size.
const MUCH: Duration = Duration::from_millis(200);

/// From so many calls on to a moment, one signal is tried there, of several in turn.
const DEAR: u64 = 200;

/// The time, on its clock, in which a program comes to rest, or never will.
const RESTS: Duration = Duration::from_secs(1);

/// The same, once it is known that it does not and computes much meanwhile.
const RESTS_AGAIN: Duration = Duration::from_millis(100);

/// What ends while the program is followed.
const ORPHAN: &str = "an orphan of a program that is followed";

/// A container of a pod that shares its pid namespace.
pub(super) const CONTAINER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// A moment in which something may come to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Right before that call after exec.
    Start(u64),
    /// The same, where it is the call of this number.
    FirstWait(u64, u64),
    /// Right before that call after an orphan's end.
    Reaping(u64),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(number) | Self::FirstWait(number, _) => {
                write!(f, "call {number} after exec")
            }
            Self::Reaping(number) => write!(f, "call {number} after an orphan's end"),
        }
    }
}

/// What comes then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stimulus {
    /// A signal from outside.
    Signal(i32),
    /// The end of an orphan, which the kernel tells by SIGCHLD.
    Orphan,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The program has ended.
    Ended(ExitStatus),
    /// It has reaped what there was to reap, and rests.
    Reaped,
    /// It rests, in this call, and nothing will come of it any more.
    Lost(Option<Call>),
    /// Nothing, in the time that it had on its clock.
    Late,
    /// Nothing yet. It sleeps, and may wake by itself.
    Open,
}

/// One moment that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The call before which it was.
    pub call: Call,
    /// What came of it.
    pub came: Came,
}

impl Tried {
    /// `pause(2), call 16 after exec`.
    pub fn place(&self, moment: Moment) -> String {
        format!("{}(2), {moment}", seccomp::name_of(&self.call))
    }

    /// `it waits in pause(2)`.
    pub fn waits(&self) -> String {
        match self.came {
            Came::Lost(Some(call)) => format!("it waits in {}(2)", seccomp::name_of(&call)),
            _ => "it waits".to_owned(),
        }
    }
}

/// The moments of a program from when it waits first until it waits again, once it has reaped.
#[derive(Clone, Debug)]
pub struct Moments {
    /// How many calls there are from exec until it waits.
    pub start: u64,
    /// How many of its moments there are.
    pub all: usize,
    /// Each takes so many calls to come to that one signal is tried there.
    pub is_dear: bool,
    /// Those that are tried.
    chosen: Vec<Moment>,
    began: Instant,
}

/// The longest that moments are tried, by the clock: after that the host is too busy.
const PATIENCE: Duration = Duration::from_secs(40);

impl Moments {
    /// Those that are tried, for as long as the host is not too busy for it.
    pub fn chosen(&self) -> impl Iterator<Item = Result<Moment, Stop>> {
        self.chosen.iter().enumerate().map(|(tried, moment)| {
            if self.began.elapsed() > PATIENCE {
                let all = self.chosen.len();
                return Err(Stop::Inconclusive(format!(
                    "the host is too busy: {tried} of {all} moments were tried in {PATIENCE:?}"
                )));
            }
            Ok(*moment)
        })
    }

    /// Skips the check of a program that came to none of them again: nothing was tried then.
    ///
    /// # Errors
    /// [`Stop::Skip`] with that reason.
    pub fn expect_tried(&self, count: usize) -> Result<(), Stop> {
        if count > 0 {
            return Ok(());
        }
        let why = "the program makes other system calls each time, so no moment of it was tried";
        Err(Stop::Skip(why.to_owned()))
    }

    /// How many of them are tried, in words.
    pub fn in_words(&self) -> String {
        let (tried, all) = (self.chosen.len(), self.all);
        if tried < all {
            let ends = match tried / 4 {
                1 => String::new(),
                more => format!(" {more}"),
            };
            format!("{tried} of {all} system calls, the first and the last{ends} among them")
        } else {
            format!("each of {tried} system calls")
        }
    }
}

/// How long, in calls, a TERM is lost after exec.
#[derive(Clone, Debug)]
pub struct LostCalls {
    /// How many calls there are until the program waits.
    pub all: u64,
    /// Before how many of them one is lost.
    pub lost: u64,
    /// The first before which one is not, if there is any.
    pub first_safe: Option<String>,
}

/// A followed program, and what is to raise orphans in its pod. Those go before it: process 1
/// waits for them as it ends.
pub(super) struct Scene<'a> {
    /// Whose orphans have been let go.
    pub(super) done: Vec<Probe>,
    /// Whose orphans are to be let go, the next one last.
    ready: Vec<Probe>,
    pub(super) steps: Steps,
    /// It rested when it was last looked at for what came of something.
    pub(super) rests: bool,
    pub(super) pod: Pod<'a>,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        // By who follows it, for the sake of its threads.
        self.pod.killed = true;
    }
}

impl Context<'_> {
    /// Follows the program until it waits, and through the reaping of an orphan.
    ///
    /// # Errors
    /// [`Stop::Skip`] where it cannot be followed, [`Stop::Inconclusive`] where the host is too busy
    /// for that.
    pub fn moments(&self) -> Result<Moments, Stop> {
        let began = Instant::now();
        let mut scene = self.scene(1)?;
        let start = scene.calls_until_rest()?;
        // Of several threads it may be another call in the next sandbox, before the last that
        // takes TERM in hand.
        let waits_in = scene
            .steps
            .sleeps_in()
            .filter(|_| scene.steps.has_one_thread());
        scene.end_orphan()?;
        let reaping = scene.calls_until_rest()?;
        let first = waits_in.map(|call| Moment::FirstWait(start, call.number));
        let all = first.into_iter().chain((1..=reaping).map(Moment::Reaping));
        let all: Vec<Moment> = all.collect();
        let computes_much = scene.pod.processor_time()? > self.scaled(MUCH);
        Ok(Moments {
            start,
            all: all.len(),
            is_dear: start + reaping > DEAR,
            chosen: spread(&all, at_most(start + reaping, computes_much)),
            began,
        })
    }

    /// Follows the program until it waits; before which of so many calls after exec a TERM is lost
    /// last, as far as halving tells.
    ///
    /// # Errors
    /// As [`Context::moments`].
    pub fn lost_calls(&self) -> Result<LostCalls, Stop> {
        let all = self.scene(0)?.calls_until_rest()?;
        let (mut lost, mut safe) = (0, None);
        let (mut from, mut to) = (1, all);
        while from <= to {
            let middle = from.midpoint(to);
            match self.try_moment(Moment::Start(middle), Stimulus::Signal(signal::TERM))? {
                Some(tried) if matches!(tried.came, Came::Lost(_) | Came::Late) => {
                    lost = middle;
                    from = middle + 1;
                }
                tried => {
                    safe = tried.or(safe);
                    to = middle - 1;
                }
            }
        }
        Ok(LostCalls {
            all,
            lost,
            first_safe: safe.map(|tried| tried.place(Moment::Start(lost + 1))),
        })
    }

    /// Has something come at that moment; nothing where the program does not come to it.
    ///
    /// # Errors
    /// As [`Context::moments`].
    pub fn try_moment(&self, moment: Moment, stimulus: Stimulus) -> Result<Option<Tried>, Stop> {
        let orphans = usize::from(matches!(moment, Moment::Reaping(_)))
            + usize::from(stimulus == Stimulus::Orphan);
        let mut scene = self.scene(orphans)?;
        let number = match moment {
            Moment::Start(number) | Moment::FirstWait(number, _) => number,
            Moment::Reaping(number) => {
                scene.calls_until_rest()?;
                scene.end_orphan()?;
                number
            }
        };
        let Some(call) = scene.run_to(number)? else {
            return Ok(None);
        };
        if matches!(moment, Moment::FirstWait(_, expected) if expected != call.number) {
            return Ok(None);
        }
        scene.steps.set_back(&mut scene.pod)?;
        match stimulus {
            Stimulus::Signal(number) => {
                // Nothing that it may wait for with its end.
                scene.done.clear();
                scene.steps.signal(&mut scene.pod, number)?;
            }
            Stimulus::Orphan => scene.end_orphan()?,
        }
        scene.steps.allow(PROMPTLY);
        let came = scene.outcome(stimulus)?;
        Ok(Some(Tried { call, came }))
    }

    /// Whether it did not rest while it was followed, and computed much meanwhile.
    fn is_restless(&self) -> bool {
        self.shared.is_restless.load(Ordering::Relaxed)
    }

    /// The time, on its clock, that the program is given to come to rest.
    fn until_rest(&self) -> Duration {
        if self.is_restless() {
            RESTS_AGAIN
        } else {
            RESTS
        }
    }

    pub(super) fn scene(&self, orphans: usize) -> Result<Scene<'_>, Stop> {
        self.scene_of(usual(), true, orphans)
    }

    /// A scene of a program that is started so, as usual or not.
    pub(super) fn scene_of(
        &self,
        spec: Spec,
        is_usual: bool,
        orphans: usize,
    ) -> Result<Scene<'_>, Stop> {
        // The first that is followed shows whether it can be: side by side, all would find out.
        let _ = self.proof();
        if let Some(why) = self.shared.unfollowable.get() {
            return Err(Stop::Skip(why.clone()));
        }
        self.first_scene(spec, is_usual, orphans)
    }

    /// The same, without asking what is known of the program.
    pub(super) fn first_scene(
        &self,
        spec: Spec,
        is_usual: bool,
        orphans: usize,
    ) -> Result<Scene<'_>, Stop> {
        let mut pod = self.start_unready(Spec { held: true, ..spec })?;
        let mut ready = Vec::with_capacity(orphans);
        for _ in 0..orphans {
            ready.push(make_orphan(&mut pod)?);
        }
        Scene::begin(pod, ready, is_usual)
    }
}

/// How a program is started that is followed.
pub(super) fn usual() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

/// Makes an orphan in the pod, and has it wait for its end.
fn make_orphan(pod: &mut Pod<'_>) -> Result<Probe, Stop> {
    let probe = pod.enter(&CONTAINER)?;
    Orphans::spawn(pod, &probe, 1, (Death::Exit, 0), 0, ORPHAN)?;
    Ok(probe)
}

impl<'a> Scene<'a> {
    /// Follows a held program from its exec on.
    pub(super) fn begin(mut pod: Pod<'a>, ready: Vec<Probe>, is_usual: bool) -> Result<Self, Stop> {
        let mut steps = Steps::begin(&mut pod, is_usual)?;
        steps.allow(pod.context().until_rest());
        Ok(Self {
            done: Vec::new(),
            ready,
            steps,
            rests: false,
            pod,
        })
    }

    /// One more that is to end.
    pub(super) fn add_orphan(&mut self) -> Result<(), Stop> {
        self.ready.push(make_orphan(&mut self.pod)?);
        Ok(())
    }

    /// Follows it until it waits for what comes from outside; after how many calls.
    fn calls_until_rest(&mut self) -> Result<u64, Stop> {
        let mut calls = 0;
        loop {
            match self.steps.next(&mut self.pod)? {
                Seen::Call(_) => calls += 1,
                Seen::Ended(status) => return Err(self.ended(status)),
                seen @ (Seen::Rests | Seen::Sleeps | Seen::Late) => {
                    if seen == Seen::Late {
                        self.note_restless()?;
                    }
                    self.steps.allow(self.pod.context().until_rest());
                    return Ok(calls);
                }
            }
        }
    }

    fn note_restless(&mut self) -> Result<(), Stop> {
        let context = self.pod.context();
        if self.pod.processor_time()? > context.scaled(MUCH) {
            context.shared.is_restless.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Follows it to that call; nothing where it waits before.
    fn run_to(&mut self, number: u64) -> Result<Option<Call>, Stop> {
        let mut calls = 0;
        loop {
            match self.steps.next(&mut self.pod)? {
                Seen::Call(call) => {
                    calls += 1;
                    if calls == number {
                        return Ok(Some(call));
                    }
                }
                Seen::Ended(status) => return Err(self.ended(status)),
                Seen::Rests | Seen::Sleeps | Seen::Late => return Ok(None),
            }
        }
    }

    /// It ended before anything was done to it that may end it.
    pub(super) fn ended(&mut self, status: ExitStatus) -> Stop {
        let expected = "it waits, and reaps".to_owned();
        let observed = format!("{status} while it was followed");
        Stop::NotRunning(self.pod.finding(expected, observed))
    }

    /// Lets an orphan end; it has, when this returns.
    pub(super) fn end_orphan(&mut self) -> Result<(), Stop> {
        let Some(probe) = self.ready.pop() else {
            return Err(Stop::Error("there is no orphan to end".to_owned()));
        };
        Orphans::adopt(&probe, 1, 1, ORPHAN).release(&mut self.pod)?;
        self.done.push(probe);
        self.steps.poke();
        Ok(())
    }

    /// What comes of the stimulus.
    pub(super) fn outcome(&mut self, stimulus: Stimulus) -> Result<Came, Stop> {
        // One that never rests would be followed until it is late.
        let until_reaped = stimulus == Stimulus::Orphan && self.pod.context().is_restless();
        let mut wakes = self.steps.wakes();
        loop {
            let seen = self.steps.next(&mut self.pod)?;
            self.rests = seen == Seen::Rests;
            let came = match seen {
                Seen::Call(_) => {
                    let woke = std::mem::replace(&mut wakes, self.steps.wakes()) != wakes;
                    if until_reaped && woke && self.all_reaped()? {
                        return Ok(Came::Reaped);
                    }
                    continue;
                }
                Seen::Ended(status) => return Ok(Came::Ended(status)),
                Seen::Rests => Came::Lost(self.steps.sleeps_in()),
                Seen::Sleeps => Came::Open,
                Seen::Late => Came::Late,
            };
            let reaped = stimulus == Stimulus::Orphan && self.all_reaped()?;
            return Ok(if reaped { Came::Reaped } else { came });
        }
    }

    /// Whether all orphans that have ended are gone.
    fn all_reaped(&mut self) -> Result<bool, Stop> {
        for probe in &self.done {
            let reaped = probe.await_reaped(Duration::ZERO);
            match reaped {
                Ok(reaped) if reaped.reaped < reaped.total => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(self.pod.harness_failed("look at an orphan", &error)),
            }
        }
        Ok(true)
    }
}

/// How many moments are tried of a program that makes so many calls.
fn at_most(calls: u64, computes_much: bool) -> usize {
    if computes_much {
        return AT_LEAST_OF_MUCH;
    }
    let calls = usize::try_from(calls).unwrap_or(usize::MAX).max(1);
    (CALLS / calls).clamp(AT_LEAST, AT_MOST)
}

/// All, or so many: a quarter from each end, and what lies evenly between.
fn spread(all: &[Moment], at_most: usize) -> Vec<Moment> {
    if all.len() <= at_most {
        return all.to_vec();
    }
    let end = at_most / 4;
    let (first, rest) = all.split_at(end);
    let (middle, last) = rest.split_at(rest.len() - end);
    let between = at_most - 2 * end;
    let middle = (0..between).filter_map(|index| middle.get(index * middle.len() / between));
    first.iter().chain(middle).chain(last).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_program_of_many_calls_fewer_moments_are_tried() {
        let moments = [0, 125, 200, 20_000, u64::MAX].map(|calls| at_most(calls, false));
        assert_eq!(moments, [64, 64, 40, 8, 8]);
        assert_eq!(at_most(10, true), 4);
    }

    #[test]
    fn the_ends_are_always_tried_and_no_moment_twice() {
        for length in [0, 1, 63, 64, 65, 100, 1000] {
            let all: Vec<_> = (1..=length).map(Moment::Reaping).collect();
            let chosen = spread(&all, AT_MOST);
            assert_eq!(chosen.len(), all.len().min(AT_MOST), "{length}");
            assert!(chosen.is_sorted_by(|one, next| match (one, next) {
                (Moment::Reaping(one), Moment::Reaping(next)) => one < next,
                _ => false,
            }));
            let end = all.len().min(AT_MOST / 4);
            assert_eq!(chosen[..end], all[..end], "{length}");
            assert_eq!(chosen[chosen.len() - end..], all[all.len() - end..]);
        }
    }
}
