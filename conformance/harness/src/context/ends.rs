//! The end of the pause process: awaited, required, or required not to come.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use procfs::process::Process;

use super::{AT_ONCE, Answer, Pod};
use crate::need::Needs;
use crate::outcome::{Finding, Stop};
use crate::process::ExitStatus;
use crate::signal;

/// The time within which a pause process must act on a signal (CRI-O gives its
/// infra container 1 s before KILL).
pub const PROMPTLY: Duration = Duration::from_secs(1);

/// How much longer a process that missed a deadline is watched, to say what it did in the end:
/// by the clock, for the verdict stands.
const GRACE: Duration = Duration::from_millis(500);

impl Pod<'_> {
    /// How it ended, if it has.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, Stop> {
        self.sandbox
            .try_wait()
            .map_err(|error| Stop::Error(format!("cannot wait for the pause process: {error}")))
    }

    /// Waits for its end; `None` when `limit` (at this host's speed) is over.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn await_end(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Stop> {
        self.await_end_unscaled(self.context.scaled(limit))
    }

    pub(super) fn await_end_unscaled(
        &mut self,
        limit: Duration,
    ) -> Result<Option<ExitStatus>, Stop> {
        let watch = self.stopwatch();
        self.await_end_while(|| watch.left(limit))
    }

    /// Waits for its end, by the clock.
    fn await_end_by_the_clock(&mut self, limit: Duration) -> Result<Option<ExitStatus>, Stop> {
        let began = Instant::now();
        self.await_end_while(|| limit.saturating_sub(began.elapsed()))
    }

    fn await_end_while(&mut self, left: impl Fn() -> Duration) -> Result<Option<ExitStatus>, Stop> {
        loop {
            self.drain();
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            let left = left();
            if left.is_zero() {
                return Ok(None);
            }
            let mut fds = vec![self.sandbox.pidfd()];
            fds.extend(
                self.stdio
                    .stdout
                    .iter()
                    .chain(&self.stdio.stderr)
                    .map(AsFd::as_fd),
            );
            crate::wait::any_readable(&fds, left)
                .map_err(|error| Stop::Error(format!("cannot poll the pause process: {error}")))?;
        }
    }

    /// Waits until this descriptor is readable, and takes the process's output meanwhile,
    /// so that a full pipe does not block it; `false` when the time is up.
    pub(super) fn await_readable(
        &mut self,
        fd: BorrowedFd<'_>,
        limit: Duration,
    ) -> Result<bool, Stop> {
        let watch = self.stopwatch();
        loop {
            self.drain();
            let streams = self.stdio.stdout.iter().chain(&self.stdio.stderr);
            let fds: Vec<_> = std::iter::once(fd)
                .chain(streams.map(AsFd::as_fd))
                .collect();
            match crate::wait::any_readable(&fds, watch.left(limit)) {
                Ok(Some(0)) => return Ok(true),
                Ok(_) if watch.left(limit).is_zero() => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    return Err(Stop::Error(format!("cannot poll the sandbox: {error}")));
                }
            }
        }
    }

    /// Waits for its end with this status and fails the check otherwise; `cause` is
    /// what should have ended it: "SIGTERM". Says how long it took.
    ///
    /// # Errors
    /// [`Stop::Ended`] or [`Stop::Fail`] with what was observed instead.
    pub fn expect_end(
        &mut self,
        wanted: ExitStatus,
        limit: Duration,
        cause: &str,
    ) -> Result<Duration, Stop> {
        self.expect_end_since(Instant::now(), wanted, (limit, limit), cause)
    }

    /// As [`Pod::expect_end`], with the time of the cause and what is left of the limit.
    pub(super) fn expect_end_since(
        &mut self,
        since: Instant,
        wanted: ExitStatus,
        (limit, left): (Duration, Duration),
        cause: &str,
    ) -> Result<Duration, Stop> {
        let expected = format!("{wanted} within {limit:?} of {cause}");
        let mut answer = self.await_answer(left.min(AT_ONCE))?;
        let rest = left.saturating_sub(AT_ONCE);
        if answer == Answer::None && !rest.is_zero() {
            if let Some(why) = self.never_ends()
                && self.ended()?.is_none()
            {
                let state = self.describe();
                let after = since.elapsed();
                let observed = format!("still running {after:.1?} after {cause}: {why}");
                return Err(self.finding(expected, observed).with(state).into());
            }
            answer = self.await_answer(rest)?;
        }
        match answer {
            Answer::Ended(status) if status == wanted => Ok(since.elapsed()),
            Answer::Ended(status) => Err(Stop::Ended(
                self.finding(expected, format!("{status} after {cause}")),
            )),
            Answer::Discarded | Answer::None if self.became_ready() => {
                Err(Stop::Inconclusive(format!(
                    "the program waits now, but may have been sent {cause} before: it took so long \
                     to become ready that the suite took it for one that never waits"
                )))
            }
            Answer::Discarded => {
                let state = self.describe();
                let observed = format!(
                    "still running after {cause}: the kernel discards what process 1 neither \
                     handles nor blocks"
                );
                Err(self.finding(expected, observed).with(state).into())
            }
            Answer::None => Err(self.not_ended(since, expected, cause)?.into()),
        }
    }

    /// Whether it waits now, though it was taken for a program that never does.
    fn became_ready(&self) -> bool {
        // An emulator's own calls say nothing about what it was taken for.
        let is_native = self.context.offers(Needs::NATIVE);
        let is_late = is_native && self.assumed && self.is_ready();
        if is_late {
            self.context.set_never_ready(false);
        }
        is_late
    }

    /// A finding about what did not end in time: what it did in the end.
    fn not_ended(
        &mut self,
        since: Instant,
        expected: String,
        cause: &str,
    ) -> Result<Finding, Stop> {
        let state = self.describe();
        // A program that computes for ever takes that time from all others.
        let late = if self.computes() {
            None
        } else {
            self.await_end_by_the_clock(GRACE)?
        };
        let observed = match late {
            Some(status) => format!("{status}, but only {:.1?} after {cause}", since.elapsed()),
            None => format!("still running {:.1?} after {cause}", since.elapsed()),
        };
        Ok(self.finding(expected, observed).with(state))
    }

    /// Whether the program never sleeps, and does not sleep now.
    fn computes(&self) -> bool {
        let stat = Process::new(self.pid()).and_then(|process| process.stat());
        self.context.is_never_ready() && stat.is_ok_and(|stat| stat.state == 'R')
    }

    /// TERM, then exit status 0 promptly: the pause process still works.
    ///
    /// # Errors
    /// [`Stop::Ended`] or [`Stop::Fail`] with what was observed instead.
    pub fn expect_term_works(&mut self, after: &str) -> Result<Duration, Stop> {
        self.expect_running(after)?;
        self.signal(signal::TERM)?;
        self.expect_end(
            ExitStatus::Exited(0),
            PROMPTLY,
            &format!("SIGTERM, sent after {after}"),
        )
    }

    /// Fails the check where the process has ended; `after` is what should not have ended it.
    ///
    /// # Errors
    /// [`Stop::Ended`] with how it ended.
    pub fn expect_running(&mut self, after: &str) -> Result<(), Stop> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(Stop::Ended(self.finding(
                format!("still running after {after}"),
                format!("{status} after {after}"),
            ))),
        }
    }

    /// Watches that it keeps running for a while (not scaled: a busy host makes it no more right).
    ///
    /// # Errors
    /// [`Stop::Ended`] with how it ended.
    pub fn expect_running_for(&mut self, window: Duration, after: &str) -> Result<(), Stop> {
        self.await_end_unscaled(window)?;
        self.expect_running(after)
    }

    /// Lets it wait for a while, untouched.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it ends: that is for `startup/stays` to judge.
    pub fn leave_alone(&mut self, window: Duration) -> Result<(), Stop> {
        match self.expect_running_for(window, "nothing at all") {
            Err(Stop::Ended(finding)) => Err(Stop::NotRunning(finding)),
            other => other,
        }
    }
}
