//! How long the program takes to become ready, and to end on TERM. Measured once a run, in the same
//! sandboxes, for both checks that ask.

use std::time::{Duration, Instant};

use super::{Ahead, Context, PROMPTLY, Pod, Shared};
use crate::lock::lock;
use crate::outcome::Stop;
use crate::process::ExitStatus;
use crate::signal;

/// How many sandboxes are started.
const SAMPLES: usize = 15;
/// Of a program that is known to be broken.
const BRIEF_SAMPLES: usize = 3;

/// The most time for all of them, once there is one.
const BUDGET: Duration = Duration::from_millis(160);

/// How long a program may take to become ready.
const READY: Duration = Duration::from_secs(1);

/// What was measured, a sample for each start.
#[derive(Clone, Debug)]
pub struct Timing {
    /// From the order to execute the program until it awaits TERM.
    pub ready: Vec<Duration>,
    /// From SIGTERM to its end; an error where one was not answered.
    pub ended: Result<Vec<Duration>, Stop>,
}

impl Context<'_> {
    /// How long it takes to become ready and to end, where its sandboxes can be held.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub fn timing(&self) -> Result<Timing, Stop> {
        let mut timing = lock(&self.shared.timing);
        timing.get_or_insert_with(|| time(self)).clone()
    }
}

impl Shared {
    /// Has its times measured anew by the next check that asks.
    pub(crate) fn forget_timing(&self) {
        *lock(&self.timing) = None;
    }
}

fn time(cx: &Context<'_>) -> Result<Timing, Stop> {
    let began = Instant::now();
    let (mut ready, mut ended) = (Vec::new(), Vec::new());
    let samples = cx.options().amount(SAMPLES, BRIEF_SAMPLES);
    let mut ahead = Ahead::of(cx, samples);
    while ready.len() < samples && (ready.is_empty() || began.elapsed() < BUDGET) {
        let mut pod = ahead.take()?;
        ready.push(until_ready(&mut pod)?);
        match pod.until_ended_by_term() {
            Ok(took) => ended.push(took),
            Err(stop) => {
                let ended = Err(stop);
                return Ok(Timing { ready, ended });
            }
        }
    }
    Ok(Timing {
        ready,
        ended: Ok(ended),
    })
}

fn until_ready(pod: &mut Pod<'_>) -> Result<Duration, Stop> {
    let limit = pod.context().scaled(READY);
    let ordered = Instant::now();
    pod.release()?;
    while !pod.is_ready() {
        if let Some(status) = pod.ended()? {
            let finding = pod.finding("it becomes ready".to_owned(), status.to_string());
            return Err(Stop::NotRunning(finding));
        }
        if ordered.elapsed() > limit {
            let why = "the program shows no sign of awaiting SIGTERM";
            return Err(Stop::Inconclusive(why.to_owned()));
        }
    }
    Ok(ordered.elapsed())
}

impl Pod<'_> {
    /// How long one that awaits TERM takes to end on it.
    ///
    /// # Errors
    /// [`Stop::Inconclusive`] where it does not.
    pub fn until_ended_by_term(&mut self) -> Result<Duration, Stop> {
        let sent = Instant::now();
        self.signal(signal::TERM)?;
        match self.await_end(PROMPTLY)? {
            Some(ExitStatus::Exited(0)) => Ok(sent.elapsed()),
            _ => Err(Stop::Inconclusive(
                "one SIGTERM was not answered as before".to_owned(),
            )),
        }
    }
}
