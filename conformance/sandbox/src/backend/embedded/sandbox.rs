//! A sandbox that was started: what is done to it, which processes enter it, how it is removed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;

use super::child::Step;
use super::ids::Ids;
use super::init::SandboxInit;
use super::root::ImageRoot;
use super::{before_exec, capabilities, cgroup, limits, write_gate};
use crate::backend::{Join, Namespaces, Sandbox, StartError, Stdio};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::{self, Child, ExitStatus, InChild, NewNamespaces, StringVector};
use crate::workload::Command;
use crate::workload::Workload;

/// How long it may take from clone to exec.
const START: Duration = Duration::from_mins(1);

/// A running sandbox: how it is joined, and how it ends.
pub(super) struct EmbeddedSandbox {
    pub(super) child: Child,
    pub(super) status: Option<ExitStatus>,
    /// The most bytes that were resident, once it has ended.
    pub(super) memory_peak: u64,
    pub(super) stdio: Stdio,
    pub(super) ids: Ids,
    /// The one that was made for it, also where the program has left it.
    pub(super) user_namespace: Option<OwnedFd>,
    /// PID 1 of the namespace that it is in, where that is not its own.
    pub(super) node: Option<SandboxInit>,
    pub(super) own_network: bool,
    pub(super) own_time: bool,
    /// It is PID 1 of a pid namespace of its own.
    pub(super) is_first: bool,
    /// The pid namespace of the suite's children that belong to no sandbox's.
    pub(super) suite_pid_namespace: OwnedFd,
    pub(super) probe: OwnedFd,
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
    /// Starts a child of this thread in the pid namespace of the pod.
    pub(super) fn spawn_member(&self, child: impl InChild) -> io::Result<Child> {
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

    /// Moves it into its cgroup where the limits are judged; otherwise it began there.
    pub(super) fn enter_cgroup(&self) -> Result<(), StartError> {
        let judged = self.cgroup.as_ref().filter(|cgroup| cgroup.judged);
        let moved = judged
            .and_then(cgroup::Held::group)
            .map(|group| group.add(self.child.pid));
        moved.unwrap_or(Ok(())).map_err(|cause| StartError::Host {
            step: "move it into its cgroup",
            cause,
        })
    }

    /// The most bytes that were resident of its program so far.
    fn memory_peak(&self) -> u64 {
        match self.status {
            Some(_) => self.memory_peak,
            None => limits::memory_peak(self.child.pid).unwrap_or(0),
        }
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
        self.child.pidfd.as_fd()
    }

    fn host_pid(&self) -> i32 {
        self.child.pid
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        sys::send_signal(self.child.pidfd.as_fd(), signal)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        // A stop of one that is traced would be taken for its end, and from its tracer.
        if self.status.is_none()
            && crate::wait::readable(self.child.pidfd.as_fd(), Duration::ZERO)?
            && let Some((status, peak)) = sys::try_wait_for_usage(self.child.pidfd.as_fd())?
        {
            (self.status, self.memory_peak) = (Some(status), peak);
        }
        Ok(self.status)
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
            if !self.group().is_some_and(cgroup::Group::limits_pids) {
                limits::make_room_for_others(self.child.pid);
            }
            self.spawn_member(&entry)
        } else {
            sys::spawn(NewNamespaces::empty(), &entry)
        };
        // With the suite's copy open, the end of a failed probe would not show.
        drop(theirs);
        Probe::new(child?, ours)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        self.start_beside(command, shares_pid)
    }

    fn lacks(&self) -> &[String] {
        self.root.as_ref().map_or(&[], |root| &root.lacks)
    }

    fn memory_used(&self) -> Option<u64> {
        self.group().and_then(cgroup::Group::memory_peak)
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        let status = self.try_wait().ok().flatten();
        let judged = self.cgroup.as_ref().is_some_and(|cgroup| cgroup.judged);
        let group = self.group();
        // The effect of a limit that is judged is what the check asked for.
        match group.and_then(cgroup::Group::killed) {
            Some(cgroup::Limit::Own(_)) if judged => return None,
            Some(cgroup::Limit::Own(limit)) => return Some(Shortage::Memory(Some(limit))),
            Some(cgroup::Limit::Above) => return Some(Shortage::Memory(None)),
            // The kernel would have ended it there.
            None if !group.is_some_and(cgroup::Group::limits_memory)
                && self.memory_peak() >= cgroup::MEMORY =>
            {
                return Some(Shortage::Memory(Some(cgroup::MEMORY)));
            }
            None => {}
        }
        // PID 1 takes no SIGKILL from its own namespace (pid_namespaces(7)); another process
        // may have had it from a neighbour, or from itself.
        let ended = status == Some(ExitStatus::Signaled(libc::SIGKILL));
        if ended && !killed && self.is_first && !judged {
            return Some(Shortage::Killed);
        }
        match group.and_then(cgroup::Group::refused) {
            Some(cgroup::Limit::Own(_)) if judged => None,
            Some(cgroup::Limit::Own(limit)) => Some(Shortage::Processes(Some(limit))),
            Some(cgroup::Limit::Above) => Some(Shortage::Processes(None)),
            None => None,
        }
    }

    fn may_have_been_refused(&mut self) -> bool {
        if self.is_spared || !limits::are_silent(self.group()) {
            return false;
        }
        match self.try_wait() {
            Ok(None) => limits::may_have_refused(self.child.pid),
            _ => self.memory_peak() < cgroup::MEMORY,
        }
    }
}

impl Drop for EmbeddedSandbox {
    fn drop(&mut self) {
        if self.status.is_none() && self.signal(libc::SIGKILL).is_ok() {
            // Its namespace ends with it; members that the suite started were reaped
            // by their own owners before.
            let _ = sys::wait(self.child.pidfd.as_fd());
        }
        self.node = None;
        // Another sandbox can use it, once it is empty.
        self.cgroup = None;
    }
}

/// What the probe does between clone and exec.
struct Entry<'a> {
    sandbox: &'a EmbeddedSandbox,
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
