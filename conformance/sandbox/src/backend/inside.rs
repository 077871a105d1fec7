//! Into a sandbox that runs, whatever made it: what it takes is a pidfd of the pause process, its
//! ids, and its user namespace where that is not the suite's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::libc;

use super::embedded::before_exec;
use super::embedded::capabilities;
use super::embedded::ids::Ids;
use super::embedded::init::SandboxInit;
use super::embedded::limits;
use crate::backend::{Join, Namespaces};
use crate::probe::Probe;
use crate::sys::{self, Child, ExitStatus, InChild, NewNamespaces, StringVector};

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
    /// The pid namespace of the suite's children that belong to no sandbox's.
    pub(in crate::backend) suite_pid_namespace: OwnedFd,
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

    /// Starts a child of this thread in the pid namespace of the pod.
    fn spawn_member(&self, child: impl InChild) -> io::Result<Child> {
        let pid_namespace = self
            .node
            .as_ref()
            .map_or_else(|| self.child.pidfd.as_fd(), SandboxInit::pid_namespace);
        // Of this thread, for its next child only (setns(2)).
        sys::setns(pid_namespace, libc::CLONE_NEWPID)?;
        let child = sys::spawn(NewNamespaces::empty(), child);
        sys::setns(self.suite_pid_namespace.as_fd(), libc::CLONE_NEWPID)?;
        child
    }

    /// Starts the probe inside.
    ///
    /// # Errors
    /// When the kernel refuses, or the pause process is gone.
    pub(in crate::backend) fn enter(&self, join: &Join) -> io::Result<Probe> {
        let (ours, theirs) = Probe::socket()?;
        let argv = StringVector::new(["probe"])?;
        let envp = StringVector::new(Vec::<String>::new())?;
        let entry = Entry {
            sandbox: self,
            join,
            socket: &theirs,
            argv: &argv,
            envp: &envp,
        };
        let child = if join.namespaces.contains(Namespaces::PID) {
            self.spawn_member(&entry)
        } else {
            sys::spawn(NewNamespaces::empty(), &entry)
        };
        // With the suite's copy open, the end of a failed probe would not show.
        drop(theirs);
        Probe::new(child?, ours)
    }
}

/// What the probe does between clone and exec.
struct Entry<'a> {
    sandbox: &'a Inside,
    join: &'a Join,
    socket: &'a OwnedFd,
    argv: &'a StringVector,
    envp: &'a StringVector,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Entry<'_> {
    /// Returns only where a step fails.
    fn run(self) -> i32 {
        match self.enter() {
            Ok(()) => sys::exec(Some(self.sandbox.probe.as_fd()), c"", self.argv, self.envp),
            Err(error) => error,
        };
        before_exec::FAILED
    }
}

impl Entry<'_> {
    fn enter(&self) -> io::Result<()> {
        // Until exec this is a copy of the suite that the program could reach.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        before_exec::die_with_suite();
        // The OOM killer is to choose the orphans that the probe makes before the suite.
        before_exec::die_first();
        let _ = rustix::process::setsid();
        self.join_namespaces()?;
        sys::close_range_cloexec(3)?;
        rustix::stdio::dup2_stdin(self.socket)?;
        before_exec::set_usual_umask();
        self.set_ids()?;
        if self.join.privileged {
            capabilities::keep()?;
        } else {
            capabilities::give_up()?;
        }
        // A change of ids clears it (PR_SET_PDEATHSIG(2const)).
        before_exec::die_with_suite();
        sys::reset_signals(0, 0)
    }

    /// Joins the user namespace last: the suite's own privileges reach every namespace below, also
    /// where the program has left its user namespace.
    fn join_namespaces(&self) -> io::Result<()> {
        let mut joined = self.join.namespaces;
        if !self.sandbox.own_network {
            // It is the suite's, and belongs to the outer user namespace.
            joined -= Namespaces::NETWORK;
        }
        if !self.sandbox.own_cgroup {
            joined -= Namespaces::CGROUP;
        }
        if !self.sandbox.own_time {
            joined -= Namespaces::TIME;
        }
        let mut flags = 0;
        for (namespace, flag) in [
            (Namespaces::NETWORK, libc::CLONE_NEWNET),
            (Namespaces::IPC, libc::CLONE_NEWIPC),
            (Namespaces::UTS, libc::CLONE_NEWUTS),
            (Namespaces::CGROUP, libc::CLONE_NEWCGROUP),
            (Namespaces::MOUNT, libc::CLONE_NEWNS),
            (Namespaces::TIME, libc::CLONE_NEWTIME),
        ] {
            if joined.contains(namespace) {
                flags |= flag;
            }
        }
        if flags != 0 {
            sys::setns(self.sandbox.child.pidfd.as_fd(), flags)?;
        }
        match &self.sandbox.user_namespace {
            Some(user_namespace) => sys::setns(user_namespace.as_fd(), libc::CLONE_NEWUSER),
            None => Ok(()),
        }
    }

    fn set_ids(&self) -> io::Result<()> {
        let own = self.sandbox.ids;
        if own.setup.is_none() {
            return Ok(());
        }
        if self.join.privileged {
            return sys::set_ids(0, 0);
        }
        let (uid, gid) = self.join.user.unwrap_or((own.uid, own.gid));
        sys::drop_groups()?;
        sys::set_ids(uid, gid)
    }
}
