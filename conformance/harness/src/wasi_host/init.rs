//! The host as an init: signals, and reaping every process that ends below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::Fault;
use crate::signal;

/// TERM or INT came: the status to end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked(pub(super) i32);

/// Signals, taken one by one.
#[derive(Debug)]
pub(super) struct Signals {
    taken: SignalFd,
    fault: Option<Fault>,
}

impl Signals {
    /// Blocks every signal, to be taken from here.
    pub(super) fn block(fault: Option<Fault>) -> io::Result<Self> {
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
            wanted.add(signal);
        }
        let mut blocked = SigSet::all();
        if fault == Some(Fault::Deaf) {
            for set in [&mut wanted, &mut blocked] {
                set.remove(Signal::SIGTERM);
                set.remove(Signal::SIGINT);
            }
        }
        blocked.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            taken: SignalFd::with_flags(&wanted, flags)?,
            fault,
        })
    }

    /// Does what signals ask for that have come.
    pub(super) fn answer(&self) -> Result<(), Asked> {
        // Once read, a signal is no longer pending; that of a child says of one at least.
        while let Ok(Some(taken)) = self.taken.read_signal() {
            match taken.ssi_signo.cast_signed() {
                signal::CHLD if !matches!(self.fault, Some(Fault::Negligent | Fault::Tardy)) => {
                    reap();
                }
                signal::INT if self.fault == Some(Fault::IgnoresInt) => {}
                signal::INT => return Err(Asked(0)),
                signal::TERM => {
                    if self.fault == Some(Fault::Slow) {
                        std::thread::sleep(Duration::from_secs(3));
                    }
                    let failed = self.fault == Some(Fault::FailsOnTerm);
                    return Err(Asked(i32::from(failed)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Sleeps until `fd` is ready for what it is to be ready for, or the time is up
    /// (`None`: never), and answers signals meanwhile. `false` when the time is up.
    pub(super) fn wait(
        &self,
        fd: Option<(BorrowedFd<'_>, PollFlags)>,
        mut left: impl FnMut() -> Option<Duration>,
    ) -> Result<bool, Asked> {
        loop {
            self.answer()?;
            let left = left();
            if left.is_some_and(|left| left.is_zero()) {
                if self.fault == Some(Fault::Tardy) {
                    reap();
                }
                return Ok(false);
            }
            // What no timespec holds is for ever.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = vec![PollFd::from_borrowed_fd(self.taken.as_fd(), PollFlags::IN)];
            fds.extend(fd.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
            // A wait that fails is looked at again: the time it takes shows whether it is up.
            let _ = rustix::event::poll(&mut fds, timeout.as_ref());
            if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
                self.answer()?;
                return Ok(true);
            }
        }
    }
}

/// Waits for every child that has ended.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

/// Starts a child that sleeps until it is killed.
pub(super) fn start_helper() -> io::Result<()> {
    pause_sandbox::process::leave_sleeper()
}
