//! A running sandbox: what is done to it, and how it ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::libc;

use super::container::Container;
use super::member::Maker;
use super::output::Output;
use crate::backend::embedded::cgroup::{self, Group};
use crate::backend::embedded::limits;
use crate::backend::inside::Inside;
use crate::backend::{Join, Member, PodContainer, Sandbox, StartError, Stdio, Stopped};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::{self, ExitStatus};
use crate::workload::{Command, Workload};

/// How long an engine may take to wait for a process that has ended.
const REAPING: Duration = Duration::from_secs(30);
/// The number of a process that is not there, and will never be (`pid_max` in proc_sys_kernel(5)).
const NOBODY: i32 = i32::MAX;

/// The pause process.
pub(super) enum Pause {
    /// It runs, or did when it was looked for.
    Found(Inside),
    /// It had ended before.
    Gone {
        status: ExitStatus,
        /// The end of a pipe whose other end is closed.
        over: OwnedFd,
    },
}

/// A running sandbox.
pub(super) struct EngineSandbox {
    pub(super) pause: Pause,
    pub(super) stdio: Stdio,
    pub(super) output: Option<Output>,
    pub(super) group: Group,
    /// Bytes that it may have.
    pub(super) memory: u64,
    /// Its limits are judged.
    pub(super) judged: bool,
    /// Its program has higher limits, where no counter tells what a limit refuses.
    pub(super) is_spared: bool,
    /// The last signal that the suite has sent.
    pub(super) sent: AtomicI32,
    /// The kernel tells how it ended.
    pub(super) is_told: bool,
    /// Makes containers of its pod.
    pub(super) maker: Arc<Maker>,
    /// Removed before the one whose pid namespace it is in.
    pub(super) container: Container,
    pub(super) node: Option<Box<EngineSandbox>>,
}

impl EngineSandbox {
    fn inside(&self) -> io::Result<&Inside> {
        match &self.pause {
            Pause::Found(inside) => Ok(inside),
            Pause::Gone { .. } => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// How it ended, in the kernel's words, or, where it has none, in the engine's.
    fn end_of(&self, inside: &Inside) -> io::Result<ExitStatus> {
        let pidfd = inside.child.pidfd.as_fd();
        if self.is_told {
            // The engine waits for its container's process, and only then the kernel tells.
            if !sys::await_reaping(pidfd, REAPING)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            return sys::exit_of_another(pidfd)?.ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
        let status = self.container.wait()?;
        // Engines say 128 + n for the end by signal n as for the exit status of that number.
        let sent = self.sent.load(Ordering::Relaxed);
        Ok(if sent > 0 && status == 128 + sent {
            ExitStatus::Signaled(sent)
        } else {
            ExitStatus::Exited(status)
        })
    }

    /// Whether its memory limit, and no other, had the kernel kill it.
    fn ran_out_of_memory(&self) -> bool {
        let state = self.container.state();
        state.is_ok_and(|state| state["OOMKilled"].as_bool() == Some(true))
    }
}

impl Sandbox for EngineSandbox {
    fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.pause {
            Pause::Found(inside) => inside.child.pidfd.as_fd(),
            Pause::Gone { over, .. } => over.as_fd(),
        }
    }

    fn host_pid(&self) -> i32 {
        self.inside().map_or(NOBODY, |inside| inside.child.pid)
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        match &self.pause {
            Pause::Found(inside) => {
                if signal > 0 {
                    self.sent.store(signal, Ordering::Relaxed);
                }
                inside.signal(signal)
            }
            Pause::Gone { .. } => Ok(()),
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let inside = match &self.pause {
            Pause::Found(inside) => inside,
            Pause::Gone { status, .. } => {
                if let Some(output) = &self.output {
                    output.await_end()?;
                }
                return Ok(Some(*status));
            }
        };
        if let Some((status, _)) = inside.ended {
            return Ok(Some(status));
        }
        if !inside.has_ended()? {
            return Ok(None);
        }
        let status = self.end_of(inside)?;
        // What it wrote last is there when its end is known, as with a pipe.
        if let Some(output) = &self.output {
            output.await_end()?;
        }
        if let Pause::Found(inside) = &mut self.pause {
            inside.ended = Some((status, 0));
        }
        Ok(Some(status))
    }

    fn take_stdio(&mut self) -> Stdio {
        std::mem::take(&mut self.stdio)
    }

    fn settle_output(&self) -> io::Result<()> {
        self.output.as_ref().map_or(Ok(()), Output::settle)
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        self.inside()?.enter(join)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        self.inside()?.start_beside(command, shares_pid)
    }

    fn add_container(&self, member: &Member) -> io::Result<Box<dyn PodContainer>> {
        Ok(Box::new(self.maker.add(&self.container, member)?))
    }

    fn stop(&mut self, grace: Duration) -> io::Result<Stopped> {
        self.container.stop(grace.as_secs())?;
        Ok(Stopped::Asked)
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
        let by_another =
            ended == Some(ExitStatus::Signaled(libc::SIGKILL)) && !killed && self.node.is_none();
        // Its cgroup goes with it.
        if by_another && self.ran_out_of_memory() {
            return (!self.judged).then_some(Shortage::Memory(Some(self.memory)));
        }
        let peak = || match &self.pause {
            Pause::Found(inside) => inside.memory_peak(),
            Pause::Gone { .. } => 0,
        };
        cgroup::shortage(Some(&self.group), self.judged, by_another, peak)
    }

    fn may_have_been_refused(&mut self) -> bool {
        if self.is_spared || !limits::are_silent(Some(&self.group)) {
            return false;
        }
        let ended = self.try_wait();
        match &self.pause {
            Pause::Found(inside) if matches!(ended, Ok(None)) => {
                limits::may_have_refused(inside.child.pid)
            }
            Pause::Found(inside) => inside.memory_peak() < cgroup::MEMORY,
            // Its limits came later.
            Pause::Gone { .. } => false,
        }
    }
}

impl Drop for EngineSandbox {
    fn drop(&mut self) {
        if let Pause::Found(inside) = &mut self.pause {
            inside.end();
        }
    }
}
