//! A program of the host's beside the pause process, from clone to exec: how a runtime
//! starts a container of the pod whose files are not the image's.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use rustix::process::Resource;

use super::Inside;
use crate::backend::embedded::{before_exec, capabilities, limits, pipe, plan};
use crate::sys::{self, InChild, NewNamespaces, StringVector};
use crate::workload::Command;
use crate::workload::Workload;

/// Private memory that it may map.
const DATA_LIMIT: u64 = 256 << 20;
/// Descriptors that it may have.
const DESCRIPTORS: u64 = 64;
/// The most processes of its user: the members of a pod are few.
const PROCESSES: u64 = 4096;
/// Users to choose from where the sandbox maps more than one.
const USERS: [u32; 2] = [65534, 65533];
/// The largest file that it could write.
const FILE_SIZE: u64 = 1 << 20;
/// How long the child may take to exec; after that, the code that waits for the program sees the
/// delay.
const ENTRY: Duration = Duration::from_secs(10);

/// Everything that the child needs, made before the clone.
struct Beside<'a> {
    sandbox: &'a Inside,
    executable: Option<OwnedFd>,
    path: CString,
    argv: StringVector,
    envp: StringVector,
    module: OwnedFd,
    null: OwnedFd,
    output: OwnedFd,
    /// Takes the errno of a step that fails; closed by exec.
    failure: OwnedFd,
}

impl Inside {
    /// Starts a program beside the pause process.
    ///
    /// # Errors
    /// Also where it could not enter the sandbox: ESRCH where the pause process is ending.
    pub(in crate::backend) fn start_beside(
        &self,
        command: Command,
        shares_pid: bool,
    ) -> io::Result<Workload> {
        let (executable, path) = plan::open_executable(&command.executable)?;
        let (ours, theirs) = pipe()?;
        let (failure, failure_write) = pipe()?;
        let beside = Beside {
            sandbox: self,
            executable,
            path,
            argv: StringVector::new(command.argv)?,
            envp: StringVector::new(command.env)?,
            module: command.module,
            null: std::fs::File::open("/dev/null")?.into(),
            output: theirs,
            failure: failure_write,
        };
        let (namespaces, joined) = if shares_pid {
            (NewNamespaces::empty(), Some(self.pid_namespace()))
        } else {
            (NewNamespaces::PID, None)
        };
        // Of the helper, for its next child only (setns(2)).
        let first = || joined.map_or(Ok(()), |pod| sys::setns(pod, libc::CLONE_NEWPID));
        let number = |pidfd: BorrowedFd<'_>| sys::pid_of(sys::proc()?.as_fd(), pidfd);
        let (mut child, pid) = sys::spawn_sibling(namespaces, first, &beside, number)?;
        child.pid = pid?;
        // With the suite's copies open, neither pipe would reach its end.
        drop(beside);
        let workload = Workload::new(child, ours);
        let mut errno = [0; size_of::<i32>()];
        if crate::wait::readable(failure.as_fd(), ENTRY)?
            && rustix::io::retry_on_intr(|| rustix::io::read(&failure, &mut errno))? == errno.len()
        {
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
        }
        Ok(workload)
    }
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Beside<'_> {
    /// Returns only where a step fails.
    fn run(self) -> i32 {
        let error = match self.enter() {
            Ok(()) => {
                let executable = self.executable.as_ref().map(AsFd::as_fd);
                sys::exec(executable, &self.path, &self.argv, &self.envp)
            }
            Err(error) => error,
        };
        let errno = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
        // If this is not read, the exit status says it failed.
        let _ = rustix::io::write(&self.failure, &errno);
        before_exec::FAILED
    }
}

impl Beside<'_> {
    fn enter(&self) -> io::Result<()> {
        // Until exec this is a copy of the suite that the program could reach.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        before_exec::die_with_suite();
        before_exec::die_first();
        let _ = rustix::process::setsid();
        // With the suite's privileges, so that processes in the sandbox's user namespace cannot
        // undo it.
        sys::unshare(NewNamespaces::MOUNT)?;
        sys::make_mounts_read_only()?;
        let mut joined = libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        if self.sandbox.own_cgroup {
            joined |= libc::CLONE_NEWCGROUP;
        }
        if self.sandbox.own_network {
            joined |= libc::CLONE_NEWNET;
        }
        sys::setns(self.sandbox.child.pidfd.as_fd(), joined)?;
        if let Some(user_namespace) = &self.sandbox.user_namespace {
            sys::setns(user_namespace.as_fd(), libc::CLONE_NEWUSER)?;
        }
        sys::close_range_cloexec(3)?;
        rustix::stdio::dup2_stdin(&self.null)?;
        rustix::stdio::dup2_stdout(&self.output)?;
        rustix::stdio::dup2_stderr(&self.output)?;
        before_exec::set_usual_umask();
        rustix::io::fcntl_setfd(&self.module, rustix::io::FdFlags::empty())?;
        for (resource, limit) in [
            (Resource::Core, 0),
            (Resource::Data, DATA_LIMIT),
            (Resource::Fsize, FILE_SIZE),
            (Resource::Nofile, DESCRIPTORS),
            (Resource::Nproc, PROCESSES),
        ] {
            limits::limit(resource, limit)?;
        }
        let ids = self.sandbox.ids;
        if ids.setup.is_some() {
            sys::drop_groups()?;
            // As another user than the program, which could trace it otherwise (ptrace(2)).
            let user = USERS.into_iter().find(|user| *user != ids.uid);
            sys::set_ids(user.unwrap_or(ids.uid), ids.gid)?;
        }
        rustix::thread::set_no_new_privs(true)?;
        capabilities::give_up()?;
        // A change of ids has cleared it.
        before_exec::die_with_suite();
        sys::reset_signals(0, 0)
    }
}
