//! A sandbox that was started: what is done to it, which processes enter it, how it is removed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;

use super::child::Step;
use super::root::ImageRoot;
use super::{cgroup, limits, write_gate};
use crate::backend::inside::Inside;
use crate::backend::{Join, Namespaces, Sandbox, StartError, Stdio};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::ExitStatus;
use crate::workload::Command;
use crate::workload::Workload;

/// How long it may take from clone to exec.
const START: Duration = Duration::from_mins(1);

/// A running sandbox: how it is joined, and how it ends.
pub(super) struct EmbeddedSandbox {
    pub(super) inside: Inside,
    pub(super) stdio: Stdio,
    pub(super) gate: Option<OwnedFd>,
    pub(super) progress: OwnedFd,
    pub(super) path: String,
    /// Held for as long as it is used.
    pub(super) root: Option<Arc<ImageRoot>>,
    /// Its program has higher limits, where no counter tells what a limit refuses.
    pub(super) is_spared: bool,
    pub(super) cgroup: Option<cgroup::Held>,
}

impl EmbeddedSandbox {
    /// Moves it into its cgroup where the limits are judged; otherwise it began there.
    pub(super) fn enter_cgroup(&self) -> Result<(), StartError> {
        let judged = self.cgroup.as_ref().filter(|cgroup| cgroup.judged);
        let moved = judged
            .and_then(cgroup::Held::group)
            .map(|group| group.add(self.inside.child.pid));
        moved.unwrap_or(Ok(())).map_err(|cause| StartError::Host {
            step: "move it into its cgroup",
            cause,
        })
    }

    fn group(&self) -> Option<&cgroup::Group> {
        self.cgroup.as_ref().and_then(cgroup::Held::group)
    }

    fn write_gate(&self) -> io::Result<()> {
        self.gate.as_ref().map_or(Ok(()), write_gate)
    }

    /// The failure that the child has reported, if any. The end of the pipe may not show yet:
    /// children that were cloned meanwhile have copies until they execute.
    pub(super) fn failed_before_exec(&mut self) -> Result<(), StartError> {
        match crate::wait::readable(self.progress.as_fd(), Duration::ZERO) {
            Ok(true) => self.await_progress(false),
            _ => Ok(()),
        }
    }

    /// Waits until the child is held or has executed the program.
    pub(super) fn await_progress(&mut self, held: bool) -> Result<(), StartError> {
        let host = |step: &'static str, cause: io::Error| StartError::Host { step, cause };
        let mut message = [0; 8];
        if !crate::wait::readable(self.progress.as_fd(), START)
            .map_err(|e| host("await its start", e))?
        {
            return Err(host("await its start", io::ErrorKind::TimedOut.into()));
        }
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.progress, &mut message))
            .map_err(|e| host("read its status", e.into()))?;
        if length == 0 {
            return if held {
                // Only the kernel ends it at this point.
                let cause = "the kernel killed it, as it does when memory is short";
                Err(host("hold it before exec", io::Error::other(cause)))
            } else {
                Ok(())
            };
        }
        let [s0, s1, s2, s3, e0, e1, e2, e3] = message;
        let step = Step::from_number(u32::from_ne_bytes([s0, s1, s2, s3]));
        let cause = io::Error::from_raw_os_error(i32::from_ne_bytes([e0, e1, e2, e3]));
        match step {
            Some(Step::Held) if held && cause.raw_os_error() == Some(0) => Ok(()),
            // Where the host ran short of something, the image is not to blame.
            Some(Step::Exec)
                if !matches!(
                    cause.raw_os_error(),
                    Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE)
                ) =>
            {
                Err(StartError::Exec {
                    path: self.path.clone(),
                    cause,
                })
            }
            // The program as the image names it, where its root is the image's.
            Some(step @ Step::WorkingDir) if self.root.is_some() => Err(StartError::Root {
                cause: format!("{}: {cause}", step.words()),
            }),
            Some(step) => Err(host(step.words(), cause)),
            None => Err(host("read its status", io::ErrorKind::InvalidData.into())),
        }
    }
}

impl Sandbox for EmbeddedSandbox {
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
        self.inside.try_wait()
    }

    fn take_stdio(&mut self) -> Stdio {
        std::mem::take(&mut self.stdio)
    }

    fn open_gate(&mut self) -> io::Result<()> {
        self.write_gate()
    }

    fn release(&mut self) -> Result<(), StartError> {
        let host = |cause| StartError::Host {
            step: "open its gate",
            cause,
        };
        match self.write_gate() {
            // It was killed while it was held, as its end shows.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(host)?,
        }
        self.gate = None;
        self.await_progress(false)
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        if join.namespaces.contains(Namespaces::PID)
            && !self.group().is_some_and(cgroup::Group::limits_pids)
        {
            limits::make_room_for_others(self.inside.child.pid);
        }
        self.inside.enter(join)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        self.inside.start_beside(command, shares_pid)
    }

    fn lacks(&self) -> &[String] {
        self.root.as_ref().map_or(&[], |root| &root.lacks)
    }

    fn memory_used(&self) -> Option<u64> {
        self.group().and_then(cgroup::Group::memory_peak)
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        let by_another = self.inside.was_killed_by_another(killed);
        let judged = self.cgroup.as_ref().is_some_and(|cgroup| cgroup.judged);
        let group = self.group();
        cgroup::shortage(group, judged, by_another, || self.inside.memory_peak())
    }

    fn may_have_been_refused(&mut self) -> bool {
        if self.is_spared || !limits::are_silent(self.group()) {
            return false;
        }
        match self.try_wait() {
            Ok(None) => limits::may_have_refused(self.inside.child.pid),
            _ => self.inside.memory_peak() < cgroup::MEMORY,
        }
    }
}

impl Drop for EmbeddedSandbox {
    fn drop(&mut self) {
        self.inside.end();
        // Another sandbox can use it, once it is empty.
        self.cgroup = None;
    }
}
