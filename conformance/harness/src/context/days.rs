//! What a program does in thirty days in which nothing happens, on a clock that moves on by
//! itself. Looked at once a run, for all who ask.

use std::time::Duration;

use super::moments::Scene;
use super::step::{Seen, Steps};
use super::{Came, Context, PROMPTLY, Pod, Stimulus};
use crate::need::Needs;
use crate::outcome::{Finding, Stop};
use crate::process::ExitStatus;
use crate::{seccomp, signal};

/// How long.
const DAYS: Duration = Duration::from_hours(30 * 24);

/// The most wakes that are looked at, and of a program of several threads, whose cost more.
const WAKES: [u64; 2] = [1_500, 200];

/// And the most calls, from the first wake on.
const CALLS: u64 = 6_000;

/// And the most processes that it starts.
const STARTED: u64 = 20;

/// Wakes after which it is known whether a program waits at all, and the least that each takes then.
const RESTLESS: (u64, Duration) = (100, Duration::from_millis(1));

/// Wakes in which a program settles.
const SETTLES: u64 = 2;

/// What a program has, at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Resident memory that is its own, in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Children, zombies among them.
    pub children: usize,
    /// Processes that it has started so far.
    pub started: u64,
}

/// How the days ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It rests without an end, and no timer runs: nothing but what comes from outside wakes it.
    Idle(String),
    /// It is still there.
    Whole,
    /// It woke more often than is looked at.
    Bounded,
    /// It ended by itself.
    Ended(ExitStatus),
}

/// What it did.
#[derive(Clone, Debug)]
pub struct Days {
    /// How they ended.
    pub passed: Passed,
    /// How far its clock moved on.
    pub time: Duration,
    /// How often it woke.
    pub wakes: u64,
    /// When it first wrote something, and what.
    pub wrote: Option<(Duration, String)>,
    /// What it had when it had settled.
    pub first: Holds,
    /// What it had in the end.
    pub last: Holds,
    /// How it answered then, where it had not ended and something can be put into its pod.
    pub answers: Option<Result<Answers, Stop>>,
}

impl Days {
    /// How long it was looked at, in words.
    pub fn in_words(&self) -> String {
        let wakes = self.wakes;
        match &self.passed {
            Passed::Idle(call) => format!(
                "proven idle after {wakes} wakes: it waits in {call}(2) without an end, and no \
                 timer runs"
            ),
            Passed::Whole => format!("30 days on its clock, {wakes} wakes"),
            Passed::Bounded => format!(
                "{} on its clock, {wakes} wakes, which is as far as it is looked at",
                time_in_words(self.time)
            ),
            Passed::Ended(status) => format!("{status} after {}", time_in_words(self.time)),
        }
    }
}

/// `3 h 20 min`, of a clock that was not looked at more closely.
pub fn time_in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{:.1} s", time.as_secs_f64()),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// What a program does at the end of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Once an orphan has ended.
    pub orphan: Came,
    /// Then, on TERM.
    pub term: Came,
}

impl Context<'_> {
    /// What the program does in thirty days in which nothing happens.
    ///
    /// # Errors
    /// [`Stop::Skip`] where it cannot be followed so long, [`Stop::Inconclusive`] where the host is
    /// too busy for that.
    pub fn days(&self) -> Result<Days, Stop> {
        self.shared.days.get_or_init(|| self.pass_days()).clone()
    }

    fn pass_days(&self) -> Result<Days, Stop> {
        let mut scene = self.scene(0)?;
        let mut days = days(&mut scene)?;
        if !matches!(days.passed, Passed::Ended(_)) && self.offers(Needs::PROBE) {
            days.answers = Some(answers(&mut scene));
        }
        Ok(days)
    }
}

/// Follows it through them.
fn days(scene: &mut Scene<'_>) -> Result<Days, Stop> {
    let Scene { steps, pod, .. } = scene;
    let mut wrote = None;
    let mut first = None;
    let mut looked = None;
    steps.allow(DAYS);
    let passed = loop {
        let seen = steps.next(pod)?;
        // What it writes fills no pipe between one wake and the next: it would wait.
        let woke = looked.replace(steps.wakes()) != Some(steps.wakes());
        let is_call = matches!(seen, Seen::Call(_));
        if wrote.is_none() && (woke || !is_call) && pod.written() > 0 {
            wrote = Some((steps.clock(), pod.output().0));
        }
        if first.is_none() && steps.wakes() > SETTLES {
            first = Some(Holds::of(pod, steps)?);
        }
        let (many, each) = RESTLESS;
        let wakes = u32::try_from(steps.wakes()).unwrap_or(u32::MAX);
        if steps.wakes() == many && steps.clock() < each * wakes {
            let why = "the program wakes again at once, so that no days pass for it";
            return Err(Stop::Skip(why.to_owned()));
        }
        match seen {
            Seen::Call(_) if is_enough(steps) => break Passed::Bounded,
            Seen::Call(_) => {}
            Seen::Late => break Passed::Whole,
            Seen::Ended(status) => break Passed::Ended(status),
            Seen::Rests => {
                let call = steps.sleeps_in();
                break Passed::Idle(call.map_or_else(String::new, |it| seccomp::name_of(&it)));
            }
            Seen::Sleeps => {
                return Err(Stop::Skip(
                    "it sleeps, and may wake by itself: it has children of its own, or a time runs \
                     in the kernel that the suite does not follow"
                        .to_owned(),
                ));
            }
        }
    };
    let last = match passed {
        Passed::Ended(_) => first.unwrap_or_default(),
        _ => Holds::of(pod, steps)?,
    };
    Ok(Days {
        passed,
        time: steps.clock(),
        wakes: steps.wakes(),
        wrote,
        first: first.unwrap_or(last),
        last,
        answers: None,
    })
}

/// Whether a program has been looked at as far as one is.
fn is_enough(steps: &Steps) -> bool {
    let wakes = WAKES[usize::from(!steps.has_one_thread())];
    steps.wakes() >= wakes || steps.total() >= CALLS || steps.started() >= STARTED
}

/// How it answers then an orphan's end, and after that TERM.
fn answers(scene: &mut Scene<'_>) -> Result<Answers, Stop> {
    scene.add_orphan()?;
    scene.end_orphan()?;
    scene.steps.allow(PROMPTLY);
    let orphan = scene.outcome(Stimulus::Orphan)?;
    scene.done.clear();
    if let Came::Ended(_) = orphan {
        let term = orphan;
        return Ok(Answers { orphan, term });
    }
    scene.steps.signal(&mut scene.pod, signal::TERM)?;
    scene.steps.allow(PROMPTLY);
    let term = scene.outcome(Stimulus::Signal(signal::TERM))?;
    Ok(Answers { orphan, term })
}

impl Holds {
    fn of(pod: &mut Pod<'_>, steps: &Steps) -> Result<Self, Stop> {
        let memory = pod.status()?.rssanon.unwrap_or_default();
        let process = pod.process()?;
        let descriptors = process.fd_count();
        let children = process.tasks().map(|tasks| {
            let children = tasks.filter_map(|task| task.ok()?.children().ok());
            children.map(|children| children.len()).sum()
        });
        match (descriptors, children) {
            (Ok(descriptors), Ok(children)) => Ok(Self {
                memory,
                descriptors,
                children,
                started: steps.started(),
            }),
            (Err(error), _) | (_, Err(error)) => {
                Err(pod.harness_failed("read its /proc", &std::io::Error::other(error)))
            }
        }
    }

    /// What there is more of than there was.
    pub fn more_than(&self, before: &Self) -> Option<Finding> {
        /// Allocators and page tables settle by a few pages, in KiB.
        const SLACK: u64 = 64;
        let grown = |what: &str, before: u64, after: u64| {
            let expected = format!("as many {what} as after {SETTLES} wakes");
            Finding::new(expected, format!("{before} {what}, and {after} in the end"))
        };
        if self.memory > before.memory + SLACK {
            return Some(grown(
                "KiB of memory of its own",
                before.memory,
                self.memory,
            ));
        }
        if self.descriptors > before.descriptors {
            let (before, after) = (before.descriptors as u64, self.descriptors as u64);
            return Some(grown("descriptors", before, after));
        }
        if self.children > before.children {
            let (before, after) = (before.children as u64, self.children as u64);
            return Some(grown("children", before, after));
        }
        let (before, after) = (before.started, self.started);
        (after > before).then(|| grown("processes started", before, after))
    }
}
