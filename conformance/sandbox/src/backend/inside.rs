//! Into a sandbox that runs, whatever made it: what it takes is a pidfd of the pause process, its
//! ids, and its user namespace where that is not the suite's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use fixtures::protocol::Entry;
use nix::libc;
use rustix::io::FdFlags;

use super::embedded::before_exec;
use super::embedded::capabilities;
use super::embedded::ids::Ids;
use super::embedded::init::SandboxInit;
use super::embedded::limits;
use crate::backend::{Join, Namespaces};
use crate::probe::Probe;
use crate::sys::{self, Child, ExitStatus, InChild, StringVector};

mod beside;

/// A running pause process, as those see it that enter its sandbox.
pub(in crate::backend) struct Inside {
    /// The pause process.
    pub(in crate::backend) child: Child,
    /// How it ended, and the most bytes that were resident of it, once that is known.
    pub(in crate::backend) ended: Option<(ExitStatus, u64)>,
    pub(in crate::backend) ids: Ids,
    /// The one that was made for it, also where the program has left it.
    pub(in crate::backend) user_namespace: Option<OwnedFd>,
    /// PID 1 of the namespace that it is in, where that is not its own.
    pub(in crate::backend) node: Option<SandboxInit>,
    pub(in crate::backend) own_network: bool,
    /// Else it is the suite's, which a suite without root may not even join again.
    pub(in crate::backend) own_cgroup: bool,
    pub(in crate::backend) own_time: bool,
    pub(in crate::backend) probe: OwnedFd,
}

impl Inside {
    /// Sends the pause process a signal; nothing where it was reaped already.
    pub(in crate::backend) fn signal(&self, signal: i32) -> io::Result<()> {
        match sys::send_signal(self.child.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Whether the pause process has ended.
    ///
    /// # Errors
    /// As poll(2).
    pub(in crate::backend) fn has_ended(&self) -> io::Result<bool> {
        crate::wait::readable(self.child.pidfd.as_fd(), Duration::ZERO)
    }

    /// How the pause process ended, once it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(in crate::backend) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        // A stop of one that is traced would be taken for its end, and from its tracer.
        if self.ended.is_none() && self.has_ended()? {
            self.ended = sys::try_wait_for_usage(self.child.pidfd.as_fd())?;
        }
        Ok(self.ended.map(|(status, _)| status))
    }

    /// The most bytes that were resident of the program so far.
    pub(in crate::backend) fn memory_peak(&self) -> u64 {
        match self.ended {
            Some((_, peak)) => peak,
            None => limits::memory_peak(self.child.pid).unwrap_or(0),
        }
    }

    /// Whether another than the suite has killed it, as PID 1 of a pid namespace of its own, which
    /// no process in there can; `killed` says that the suite has.
    pub(in crate::backend) fn was_killed_by_another(&mut self, killed: bool) -> bool {
        let status = self.try_wait().ok().flatten();
        status == Some(ExitStatus::Signaled(libc::SIGKILL)) && !killed && self.node.is_none()
    }

    /// Kills the pause process, and with it all in a pid namespace of its own; members that the
    /// suite started have been reaped by their own owners.
    pub(in crate::backend) fn end(&mut self) {
        if self.ended.is_none() && self.signal(libc::SIGKILL).is_ok() {
            let _ = sys::wait(self.child.pidfd.as_fd());
        }
        self.node = None;
    }

    /// The pid namespace of the pod, as setns(2) takes it.
    fn pid_namespace(&self) -> BorrowedFd<'_> {
        let own = || self.child.pidfd.as_fd();
        self.node
            .as_ref()
            .map_or_else(own, SandboxInit::pid_namespace)
    }

    /// Starts the probe inside. To be called in a thread whose children are where those are that make
    /// sandboxes, or above.
    ///
    /// # Errors
    /// When the kernel refuses, or the pause process is gone: ESRCH where that is ending.
    pub(in crate::backend) fn enter(&self, join: &Join) -> io::Result<Probe> {
        let (ours, theirs) = Probe::socket()?;
        let pidfd = self.child.pidfd.as_fd();
        let user_namespace = self.user_namespace.as_ref().map(AsFd::as_fd);
        let pid_namespace = join
            .namespaces
            .contains(Namespaces::PID)
            .then(|| self.pid_namespace());
        let child = sys::spawn_in_place(ToExec {
            probe: self.probe.as_fd(),
            socket: &theirs,
            kept: [Some(pidfd), user_namespace, pid_namespace],
            argv: &StringVector::new(["probe"])?,
            envp: &StringVector::new(Vec::<String>::new())?,
        })?;
        // With the suite's copy open, the end of a failed probe would not show.
        drop(theirs);
        let mut probe = Probe::new(child, ours);
        if let Some(pid_namespace) = pid_namespace {
            probe.descend(pid_namespace.as_raw_fd())?;
        }
        probe.enter(&Entry {
            process: pidfd.as_raw_fd(),
            kinds: self.kinds(join.namespaces),
            user_namespace: user_namespace.map(|fd| fd.as_raw_fd()),
            ids: self.ids_of(join),
            privileged: join.privileged,
        })?;
        Ok(probe)
    }

    /// Flags of setns(2) for those of the namespaces that are not the suite's.
    fn kinds(&self, mut joined: Namespaces) -> u32 {
        if !self.own_network {
            // It is the suite's, and belongs to the outer user namespace.
            joined -= Namespaces::NETWORK;
        }
        if !self.own_cgroup {
            joined -= Namespaces::CGROUP;
        }
        if !self.own_time {
            joined -= Namespaces::TIME;
        }
        [
            (Namespaces::NETWORK, libc::CLONE_NEWNET),
            (Namespaces::IPC, libc::CLONE_NEWIPC),
            (Namespaces::UTS, libc::CLONE_NEWUTS),
            (Namespaces::CGROUP, libc::CLONE_NEWCGROUP),
            (Namespaces::MOUNT, libc::CLONE_NEWNS),
            (Namespaces::TIME, libc::CLONE_NEWTIME),
        ]
        .into_iter()
        .filter(|(namespace, _)| joined.contains(*namespace))
        .fold(0, |kinds, (_, flag)| kinds | flag as u32)
    }

    fn ids_of(&self, join: &Join) -> Option<(u32, u32)> {
        self.ids.setup?;
        Some(match join.user {
            _ if join.privileged => (0, 0),
            Some(ids) => ids,
            None => (self.ids.uid, self.ids.gid),
        })
    }
}

/// What the probe does between clone and exec, in the suite's memory: it stays out of sight of the
/// program, and everything else is for later.
struct ToExec<'a> {
    probe: BorrowedFd<'a>,
    socket: &'a OwnedFd,
    /// Left open, under their numbers.
    kept: [Option<BorrowedFd<'a>>; 3],
    argv: &'a StringVector,
    envp: &'a StringVector,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for ToExec<'_> {
    /// Returns only where a step fails.
    fn run(self) -> i32 {
        if self.prepare().is_ok() {
            sys::exec(Some(self.probe), c"", self.argv, self.envp);
        }
        before_exec::FAILED
    }
}

impl ToExec<'_> {
    fn prepare(&self) -> io::Result<()> {
        before_exec::die_with_suite();
        let _ = rustix::process::setsid();
        sys::close_range_cloexec(3)?;
        for descriptor in self.kept.iter().flatten() {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        rustix::stdio::dup2_stdin(self.socket)?;
        if !rustix::process::geteuid().is_root() {
            // Exec leaves them to root alone (capabilities(7)).
            capabilities::keep()?;
        }
        sys::reset_signals(0, 0)
    }
}
