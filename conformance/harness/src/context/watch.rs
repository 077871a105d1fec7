//! Watching processes that should do nothing: that they stay, and what they use.

use std::io;
use std::time::Duration;

use super::{Pod, proc};
use crate::outcome::Stop;
use crate::process::ExitStatus;

/// How finely the use of the processor is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// What a process did that was watched for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It ended.
    Ended(ExitStatus),
    /// It used this much of the processor, more than it was allowed to.
    Busy(Duration),
    /// It was there at the end and had used no more than this.
    Idle(Duration),
}

/// Watches several sandboxes side by side for `window` (time in which all of them could
/// act); the first that ends, and when.
///
/// # Errors
/// [`Stop::Error`] where the kernel does not say.
pub fn first_to_end(
    pods: &mut [Pod<'_>],
    window: Duration,
) -> Result<Option<(usize, ExitStatus, Duration)>, Stop> {
    let watches: Vec<_> = pods.iter().map(Pod::stopwatch).collect();
    loop {
        for (index, (pod, watch)) in pods.iter_mut().zip(&watches).enumerate() {
            if let Some(status) = pod.ended()? {
                return Ok(Some((index, status, watch.wall())));
            }
        }
        let left = watches
            .iter()
            .map(|watch| watch.left(window))
            .max()
            .unwrap_or_default();
        if left.is_zero() {
            return Ok(None);
        }
        let pidfds: Vec<_> = pods.iter().map(Pod::pidfd).collect();
        crate::wait::any_readable(&pidfds, left)
            .map_err(|error| Stop::Error(format!("cannot poll the pause processes: {error}")))?;
    }
}

/// Watches several sandboxes side by side for `window` (time in which each of them could act);
/// which of them are there at its end.
///
/// # Errors
/// [`Stop::Error`] where the kernel does not say.
pub fn which_stay(pods: &mut [Pod<'_>], window: Duration) -> Result<Vec<bool>, Stop> {
    let watches: Vec<_> = pods.iter().map(Pod::stopwatch).collect();
    loop {
        let mut stay = Vec::with_capacity(pods.len());
        for pod in &mut *pods {
            stay.push(pod.ended()?.is_none());
        }
        let living = || {
            pods.iter()
                .zip(&watches)
                .zip(&stay)
                .filter(|(_, stays)| **stays)
        };
        let left = living()
            .map(|((_, watch), _)| watch.left(window))
            .max()
            .unwrap_or_default();
        if left.is_zero() {
            return Ok(stay);
        }
        let pidfds: Vec<_> = living().map(|((pod, _), _)| pod.pidfd()).collect();
        crate::wait::any_readable(&pidfds, left)
            .map_err(|error| Stop::Error(format!("cannot poll the pause processes: {error}")))?;
    }
}

impl Pod<'_> {
    /// Processor time of all its threads so far.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it has ended.
    pub fn processor_time(&mut self) -> Result<Duration, Stop> {
        let pid = self.pid();
        // In nanoseconds, unlike the ticks of /proc/PID/stat, which are samples.
        let ran = proc::thread_ids(pid).and_then(|threads| {
            let ran = threads.into_iter().map(|thread| proc::ran(pid, thread));
            ran.sum::<io::Result<u64>>()
        });
        match ran {
            Ok(ran) => Ok(Duration::from_nanos(ran)),
            Err(error) => Err(self.harness_failed("read its /proc", &io::Error::other(error))),
        }
    }

    /// Watches it for `window` (time in which it could act) or until it ends or has used
    /// more than `budget` of the processor since `since`.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn watch_use(
        &mut self,
        window: Duration,
        budget: Duration,
        since: Duration,
    ) -> Result<Watched, Stop> {
        let watch = self.stopwatch();
        loop {
            let left = watch.left(window);
            if let Some(status) = self.await_end_unscaled(left.min(LOOK))? {
                return Ok(Watched::Ended(status));
            }
            let used = match self.processor_time() {
                Ok(time) => time.saturating_sub(since),
                // It is ending: the next look sees how.
                Err(Stop::NotRunning(_)) => continue,
                Err(stop) => return Err(stop),
            };
            if used > budget {
                return Ok(Watched::Busy(used));
            }
            if left.is_zero() {
                return Ok(Watched::Idle(used));
            }
        }
    }
}
