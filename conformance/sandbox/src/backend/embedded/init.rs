//! The sandbox init: PID 1 of the pid namespace of all sandboxes, and the last process to end. Its
//! program is `fixtures::probe::init`; here it is started and told to end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::libc;
use rustix::process::PidfdFlags;

use super::before_exec;
use crate::signal;
use crate::sys::{self, Child, InChild, NewNamespaces, StringVector};

/// How long its cleaning up may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often the suite looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take from clone to exec.
const START: Duration = Duration::from_secs(10);

/// A running sandbox init. Dropping this tells it to clean up and end, and waits for that.
#[derive(Debug)]
pub(in crate::backend) struct SandboxInit {
    child: Child,
    /// The write end of its standard input: when this closes, however the suite ends, it cleans up.
    alive: Option<OwnedFd>,
    namespace: OwnedFd,
}

impl SandboxInit {
    /// Starts the first process of a new pid namespace, which removes `cgroups` when it ends, and
    /// holds their `locks` until then.
    ///
    /// It is cloned into the namespace: after unshare(2) the kernel would refuse the suite any
    /// further thread (clone(2), EINVAL).
    pub(in crate::backend) fn start(
        probe: &OwnedFd,
        cgroups: &[PathBuf],
        locks: &[BorrowedFd<'_>],
    ) -> io::Result<Self> {
        let (failure, told) = super::pipe()?;
        let (mut entry, alive) = Entry::new(probe, cgroups, locks)?;
        entry.failure = Some(told);
        let child = sys::spawn(NewNamespaces::PID, &entry)?;
        drop(entry);
        // Exec closes the other end; no other process has a copy of it yet.
        let mut errno = [0; size_of::<i32>()];
        if crate::wait::readable(failure.as_fd(), START)?
            && rustix::io::retry_on_intr(|| rustix::io::read(&failure, &mut errno))? > 0
        {
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
        }
        Self::of(child, alive)
    }

    /// Starts the first process of a pid namespace below that of all sandboxes, for a pod that
    /// shares its node's pid namespace. Nothing else of the suite is in it, and whatever the pod
    /// leaves behind ends with it.
    pub(in crate::backend) fn start_node(probe: &OwnedFd) -> io::Result<Self> {
        let (entry, alive) = Entry::new(probe, &[], &[])?;
        let number = |pidfd: BorrowedFd<'_>| sys::pid_of(sys::proc()?.as_fd(), pidfd);
        let (mut child, pid) = sys::spawn_sibling(NewNamespaces::PID, || Ok(()), &entry, number)?;
        child.pid = pid?;
        Self::of(child, alive)
    }

    fn of(child: Child, alive: OwnedFd) -> io::Result<Self> {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/pid", child.pid))?.into();
        Ok(Self {
            child,
            alive: Some(alive),
            namespace,
        })
    }

    /// Tells it to remove a folder when it ends, if the folder still exists.
    pub(in crate::backend) fn take_over(&self, folder: &std::path::Path) -> io::Result<()> {
        let alive = self.alive.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = folder.as_os_str().as_bytes().to_vec();
        line.push(0);
        // A write of at most PIPE_BUF bytes is atomic (pipe(7)).
        if line.len() > 1024 {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        rustix::io::write(alive, &line)?;
        Ok(())
    }

    /// The pid namespace of the suite's children that belong to no sandbox's.
    pub(in crate::backend) fn pid_namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// From clone to exec.
struct Entry<'a> {
    probe: &'a OwnedFd,
    told: OwnedFd,
    /// Kept open across exec.
    locks: &'a [BorrowedFd<'a>],
    /// Takes the errno of a step that fails; closed by exec.
    failure: Option<OwnedFd>,
    argv: StringVector,
    envp: StringVector,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Entry<'_> {
    /// Returns only where a step fails.
    fn run(self) -> i32 {
        let error = match self.enter() {
            Ok(()) => sys::exec(Some(self.probe.as_fd()), c"", &self.argv, &self.envp),
            Err(error) => error,
        };
        if let Some(failure) = &self.failure {
            let errno = error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes();
            let _ = rustix::io::write(failure, &errno);
        }
        before_exec::FAILED
    }
}

impl<'a> Entry<'a> {
    fn new(
        probe: &'a OwnedFd,
        cgroups: &[PathBuf],
        locks: &'a [BorrowedFd<'a>],
    ) -> io::Result<(Self, OwnedFd)> {
        let (told, alive) = super::pipe()?;
        let paths = cgroups
            .iter()
            .map(|path| path.as_os_str().as_bytes().to_vec());
        let entry = Self {
            probe,
            told,
            locks,
            failure: None,
            argv: StringVector::new(std::iter::once(b"sandbox-init".to_vec()).chain(paths))?,
            envp: StringVector::new(Vec::<String>::new())?,
        };
        Ok((entry, alive))
    }

    fn enter(&self) -> io::Result<()> {
        let _ = rustix::process::setsid();
        sys::close_range_cloexec(0)?;
        for lock in self.locks {
            rustix::io::fcntl_setfd(lock, rustix::io::FdFlags::empty())?;
        }
        rustix::stdio::dup2_stdin(&self.told)?;
        // With SIGCHLD ignored, the kernel reaps its children (wait(2), NOTES).
        sys::reset_signals(0, signal::bit(signal::CHLD))
    }
}

impl Drop for SandboxInit {
    fn drop(&mut self) {
        self.alive = None;
        // After that the suite kills it: the kernel ends the namespace all the same.
        let began = Instant::now();
        while matches!(
            crate::wait::readable(self.child.pidfd.as_fd(), LOOK),
            Ok(false)
        ) && began.elapsed() < PATIENCE
        {
            self.reap_strangers();
        }
    }
}

impl SandboxInit {
    /// Reaps processes of this pid namespace that a program made children of the suite
    /// (CLONE_PARENT): until then PID 1 cannot end (pid_namespaces(7)).
    fn reap_strangers(&self) {
        let inode = |stat: io::Result<std::fs::Metadata>| stat.map(|stat| stat.ino()).ok();
        let own = rustix::fs::fstat(&self.namespace)
            .map(|stat| stat.st_ino)
            .ok();
        let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            for pid in children.split_ascii_whitespace() {
                let of = inode(std::fs::metadata(format!("/proc/{pid}/ns/pid")));
                let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) else {
                    continue;
                };
                if of.is_none() || of != own || pid.as_raw_nonzero().get() == self.child.pid {
                    continue;
                }
                if let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
                    // It has ended, or is about to: no process outlives PID 1.
                    let _ = sys::try_wait(pidfd.as_fd());
                }
            }
        }
    }
}
