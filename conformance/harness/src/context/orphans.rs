//! Orphans: made by the probe, witnessed by it, reaped (or not) by the pause process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fixtures::protocol::Death;

use super::{AT_ONCE, PROMPTLY, Pod};
use crate::outcome::{Finding, Stop};
use crate::probe::{Probe, Reaped};
use crate::shortage::needs;

/// From how many orphans on no other such crowd may exist at the same time: two need twice the
/// memory and the processes of the host.
const CROWD: usize = 128;

/// Held by the check that has a crowd, in whatever run.
static CROWDED: Mutex<()> = Mutex::new(());

/// Orphans that wait to be told to end. Each is proven: it was a child of PID 1 when it ended, and
/// a pidfd showed its end, before any check asks whether it was reaped.
pub struct Orphans<'p> {
    probe: &'p Probe,
    count: u64,
    /// How many of them must have been children of PID 1.
    adopted: u64,
    what: String,
    _crowd: Option<MutexGuard<'static, ()>>,
}

impl<'p> Orphans<'p> {
    /// Makes `count` orphans that will end as told; see `fixtures::protocol` for `origin`.
    ///
    /// # Errors
    /// [`Stop::Error`] where they could not be made.
    pub fn spawn(
        pod: &mut Pod<'_>,
        probe: &'p Probe,
        count: usize,
        death: (Death, u64),
        origin: u64,
        what: &str,
    ) -> Result<Self, Stop> {
        // The lock guards no data that a panic could have broken.
        let crowd =
            (count >= CROWD).then(|| CROWDED.lock().unwrap_or_else(PoisonError::into_inner));
        let made = probe
            .orphans(count, death.0, death.1, origin)
            .map_err(|error| pod.harness_failed("make orphans", &error))?;
        if made != count as u64 {
            return Err(Stop::Inconclusive(format!(
                "only {made} of {count} orphans could be made: {}",
                needs::out_of_processes()
            )));
        }
        Ok(Self {
            probe,
            count: made,
            adopted: made,
            what: what.to_owned(),
            _crowd: crowd,
        })
    }

    /// Takes over a tree whose root was killed: `adopted` of its `count` members are orphans now.
    pub fn adopt(probe: &'p Probe, count: u64, adopted: u64, what: &str) -> Self {
        Self {
            probe,
            count,
            adopted,
            what: what.to_owned(),
            _crowd: None,
        }
    }

    /// Lets them end, and proves that they were children of PID 1 and ended.
    ///
    /// # Errors
    /// [`Stop::Fail`] where they had ended before, [`Stop::Error`] where the stimulus failed.
    pub fn release(&self, pod: &mut Pod<'_>) -> Result<(), Stop> {
        pod.provoke(&format!("{} ended", self.what));
        let (adopted, waited) = self
            .probe
            .release()
            .map_err(|error| self.failed(pod, "tell the orphans to end", &error))?;
        if waited < self.count {
            let expected = format!("{} live until they are told to end", self.what);
            let observed = format!("{} had ended before", self.count - waited);
            return Err(pod.finding(expected, observed).into());
        }
        if adopted < self.adopted {
            return Err(Stop::Error(format!(
                "only {adopted} of {} orphans were children of PID 1 when they ended",
                self.adopted
            )));
        }
        self.await_dead(pod)
    }

    /// Proves that they ended.
    ///
    /// # Errors
    /// [`Stop::Error`] where they did not.
    pub fn await_dead(&self, pod: &mut Pod<'_>) -> Result<(), Stop> {
        let dead = self
            .probe
            .await_dead(pod.context().scaled(Duration::from_secs(10)))
            .map_err(|error| self.failed(pod, "see the orphans end", &error))?;
        if dead == self.count {
            Ok(())
        } else {
            Err(Stop::Inconclusive(format!(
                "only {dead} of {} orphans ended in time",
                self.count
            )))
        }
    }

    /// Waits until all are reaped and fails the check where one is not within `limit`.
    ///
    /// # Errors
    /// [`Stop::Fail`] with how many zombies are left.
    pub fn expect_reaped_within(&self, pod: &mut Pod<'_>, limit: Duration) -> Result<Reaped, Stop> {
        let watch = pod.stopwatch();
        let scaled = pod.context().scaled(limit);
        loop {
            let reaped = self.await_reaped(pod, watch.left(scaled))?;
            if reaped.reaped == self.count {
                return Ok(reaped);
            }
            if watch.left(scaled).is_zero() {
                pod.expect_running(&format!("{} ended", self.what))?;
                return Err(self.left(pod, (limit, watch.wall()), &reaped).into());
            }
        }
    }

    /// As [`Orphans::expect_reaped_within`], of orphans that ended before the program was executed:
    /// where it is shown that they never are, nothing is waited for.
    ///
    /// # Errors
    /// As there.
    pub fn expect_older_reaped(&self, pod: &mut Pod<'_>, limit: Duration) -> Result<Reaped, Stop> {
        let began = Instant::now();
        let at_once = pod.context().scaled(AT_ONCE);
        let reaped = self.await_reaped(pod, at_once)?;
        if reaped.reaped == self.count {
            return Ok(reaped);
        }
        match pod.context().never_reaps_older() {
            Some(why) => {
                pod.expect_running(&format!("{} ended", self.what))?;
                let finding = self.left(pod, (limit, began.elapsed()), &reaped);
                Err(finding.with(why).into())
            }
            None => self.expect_reaped_within(pod, limit),
        }
    }

    fn await_reaped(&self, pod: &mut Pod<'_>, left: Duration) -> Result<Reaped, Stop> {
        let reaped = self.probe.await_reaped(left);
        reaped.map_err(|error| self.failed(pod, "see the orphans reaped", &error))
    }

    /// What is left of them, after that time.
    fn left(
        &self,
        pod: &mut Pod<'_>,
        (limit, after): (Duration, Duration),
        reaped: &Reaped,
    ) -> Finding {
        let expected = format!("{} reaped within {limit:?} of the end", self.what);
        let (left, of) = (self.count - reaped.reaped, self.count);
        let observed = format!("{left} of {of} left as zombies after {after:.1?}");
        let finding = pod.finding(expected, observed).with(pod.describe());
        match reaped.first_left {
            Some(pid) => finding.with(format!(
                "one of them: pid {pid} in the sandbox, parent 1, ended, not reaped"
            )),
            None => finding,
        }
    }

    fn failed(&self, pod: &mut Pod<'_>, doing: &str, error: &std::io::Error) -> Stop {
        pod.provoke(&format!("{} ended", self.what));
        pod.harness_failed(doing, error)
    }

    /// Lets them end and expects all of them reaped promptly.
    ///
    /// # Errors
    /// As [`Orphans::release`] and [`Orphans::expect_reaped_within`].
    pub fn expect_reaped(&self, pod: &mut Pod<'_>) -> Result<Reaped, Stop> {
        self.release(pod)?;
        self.expect_reaped_within(pod, PROMPTLY)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }
}
