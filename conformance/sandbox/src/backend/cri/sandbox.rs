//! A running sandbox: what is done to it, and how it ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;

use super::Place;
use super::member::CriMember;
use super::pod::Pod;
use crate::backend::embedded::cgroup::{self, Group};
use crate::backend::inside::Inside;
use crate::backend::{Join, Member, PodContainer, Sandbox, StartError, Stdio, Stopped};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::{self, ExitStatus};
use crate::workload::{Command, Workload};

/// How long a runtime may take to wait for a process that has ended.
const REAPING: Duration = Duration::from_secs(30);

/// A running sandbox. Its fields are dropped in this order.
pub(super) struct CriSandbox {
    pub(super) inside: Inside,
    pub(super) group: Group,
    pub(super) pod: Pod,
    /// How many sandboxes and containers the run has made.
    pub(super) made: Arc<AtomicU64>,
    pub(super) place: Arc<Place>,
}

impl CriSandbox {
    /// How it ended, in the kernel's words: the interface has none for a pause process.
    fn end(&self) -> io::Result<ExitStatus> {
        let pidfd = self.inside.child.pidfd.as_fd();
        // The runtime waits for its process, and only then the kernel tells.
        if !sys::await_reaping(pidfd, REAPING)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sys::exit_of_another(pidfd)?.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Sandbox for CriSandbox {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.inside.child.pidfd.as_fd()
    }

    fn host_pid(&self) -> i32 {
        self.inside.child.pid
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        self.inside.signal(signal)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.inside.ended.is_none() && self.inside.has_ended()? {
            self.inside.ended = Some((self.end()?, 0));
        }
        Ok(self.inside.ended.map(|(status, _)| status))
    }

    fn take_stdio(&mut self) -> Stdio {
        Stdio::default()
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        self.inside.enter(join)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        self.inside.start_beside(command, shares_pid)
    }

    fn add_container(&self, member: &Member) -> io::Result<Box<dyn PodContainer>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let sandbox = (self.pod.id(), self.pod.config());
        let made = CriMember::add(&self.place, sandbox, number, member)?;
        Ok(Box::new(made))
    }

    /// The interface does not say how a runtime ends what holds a pod, and containerd sends SIGKILL
    /// at once (`stopSandboxContainer`): so its end says whether anything was asked of it.
    fn stop(&mut self, _grace: Duration) -> io::Result<Stopped> {
        self.pod.stop()?;
        crate::wait::readable(self.pidfd(), REAPING)?;
        Ok(match self.try_wait()? {
            None | Some(ExitStatus::Signaled(libc::SIGKILL)) => Stopped::Killed,
            Some(_) => Stopped::Asked,
        })
    }

    fn open_gate(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn release(&mut self) -> Result<(), StartError> {
        Ok(())
    }

    fn memory_used(&self) -> Option<u64> {
        self.group.memory_peak()
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        let ended = self.try_wait().ok().flatten();
        let by_another = ended == Some(ExitStatus::Signaled(libc::SIGKILL)) && !killed;
        cgroup::shortage(Some(&self.group), false, by_another, || {
            self.inside.memory_peak()
        })
    }
}

impl Drop for CriSandbox {
    fn drop(&mut self) {
        self.inside.end();
    }
}
