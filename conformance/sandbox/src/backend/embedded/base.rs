//! The base mount namespace: five devices, and nothing else of the host's. Each sandbox's mount
//! namespace is a copy of it: there is little to copy, /dev is one bind, and nothing under the
//! program's root has to be unmounted, since detaching a mount tree waits for an RCU grace period.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::fs::{CWD, Mode};
use rustix::mount::MountFlags;

use super::init::SandboxInit;
use super::mounts::{self, PLACES};
use crate::sys::{self, NewNamespaces};

/// The namespace, which exists for as long as this is open.
#[derive(Debug)]
pub(super) struct BaseMounts {
    namespace: OwnedFd,
    has_proc: bool,
}

impl BaseMounts {
    /// Builds it from a process of the sandbox init's pid namespace: its /proc shows only the
    /// processes of that.
    pub(super) fn build(init: &SandboxInit, proc: BorrowedFd<'_>) -> io::Result<Self> {
        // A rootless thread cannot return from the pid namespace that it chose for its children.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || Self::build_here(init, proc))?
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a panic")))
        })
    }

    fn build_here(init: &SandboxInit, proc: BorrowedFd<'_>) -> io::Result<Self> {
        sys::setns(init.pid_namespace(), libc::CLONE_NEWPID)?;
        let built = sys::in_helper(|| {
            sys::unshare(NewNamespaces::MOUNT)?;
            let has_proc = build()?;
            Ok(Self {
                namespace: mounts::own_namespace(proc)?,
                has_proc,
            })
        });
        built?
    }

    /// Whether it has a /proc; then each sandbox can mount its own as well.
    pub(super) fn has_proc(&self) -> bool {
        self.has_proc
    }

    /// To clone from.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Says whether a /proc could be mounted.
fn build() -> io::Result<bool> {
    let _ = rustix::process::umask(Mode::empty());
    mounts::make_private()?;
    let options = c"mode=755,size=64k";
    let mut place = PLACES.into_iter();
    place
        .find(|place| mounts::mount_memory(place, options).is_ok())
        .ok_or(io::ErrorKind::NotFound)
        .map(rustix::process::chdir)??;
    for directory in [c"dev", c"proc", c"root", c"upper"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o755))?;
    }
    // The kernel lets a sandbox mount its own procfs only where an unmasked one is visible.
    // `hidepid`: a process sees only those that it may trace.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let has_proc = match rustix::mount::mount(c"proc", c"proc", c"proc", flags, Some(c"hidepid=2"))
    {
        Ok(()) => true,
        Err(rustix::io::Errno::PERM) => false,
        Err(error) => return Err(error.into()),
    };
    mounts::mount_devices(c"dev")?;
    mounts::make_read_only(c"dev")?;
    mounts::pivot()?;
    mounts::make_read_only(c"/")?;
    Ok(has_proc)
}
