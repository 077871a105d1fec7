//! The stage: a mount namespace that holds nothing of the host's but five devices. Each
//! sandbox's is a copy of it, so that there is little to copy, /dev is one bind, and under
//! the program's root lies nothing that would have to be taken away first: a detached tree
//! of mounts costs a sandbox a grace period of the kernel's.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::keeper::Keeper;
use super::root;
use crate::sys::{self, NewNamespaces};

/// Where on the stage an image's root is.
pub(super) const ROOT: &CStr = c"/root";
/// Where what a sandbox writes to its root is kept.
pub(super) const UPPER: &CStr = c"/upper";
/// What it finds there to be its /dev.
pub(super) const DEV: &CStr = c"/dev";

/// The namespace, for as long as this is open.
#[derive(Debug)]
pub(super) struct Stage {
    namespace: OwnedFd,
    has_proc: bool,
}

impl Stage {
    /// Builds it, from a process of the keeper's pid namespace: whose processes alone the
    /// stage's /proc shows.
    pub(super) fn build(keeper: &Keeper, proc: BorrowedFd<'_>) -> io::Result<Self> {
        // A rootless thread does not come back from where it sends its children.
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .spawn_scoped(scope, || Self::build_here(keeper, proc))?
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a panic")))
        })
    }

    fn build_here(keeper: &Keeper, proc: BorrowedFd<'_>) -> io::Result<Self> {
        sys::setns(keeper.pid_namespace(), libc::CLONE_NEWPID)?;
        let built = sys::in_helper(|| {
            sys::unshare(NewNamespaces::MOUNT)?;
            let has_proc = build()?;
            Ok(Self {
                namespace: root::own_namespace(proc)?,
                has_proc,
            })
        });
        built?
    }

    /// Whether it has a /proc; then each sandbox's own can be mounted as well.
    pub(super) fn has_proc(&self) -> bool {
        self.has_proc
    }

    /// To clone from.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Whether a /proc could be mounted.
fn build() -> io::Result<bool> {
    let _ = rustix::process::umask(Mode::empty());
    rustix::mount::mount_change(
        c"/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    // Any directory will do as a mount point: nobody else sees this mount.
    let options = c"mode=755,size=64k";
    let mut place = root::PLACES.into_iter();
    place
        .find(|place| root::mount_memory(place, options).is_ok())
        .ok_or(io::ErrorKind::NotFound)
        .map(rustix::process::chdir)??;
    for directory in [c"dev", c"proc", c"root", c"upper"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o755))?;
    }
    // Each sandbox mounts one of its own, which the kernel allows it where it sees one as
    // whole already. `hidepid`: only those that it may trace.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let has_proc = match rustix::mount::mount(c"proc", c"proc", c"proc", flags, Some(c"hidepid=2"))
    {
        Ok(()) => true,
        Err(rustix::io::Errno::PERM) => false,
        Err(error) => return Err(error.into()),
    };
    mount_devices(c"dev")?;
    read_only(c"dev")?;
    root::pivot()?;
    read_only(c"/")?;
    Ok(has_proc)
}

/// Moves the working directory, a mount, over the stage, as switch_root(8) does over an
/// initramfs. Nobody can take it off again: not from here, nor from a user namespace below,
/// to which it is locked (mount_namespaces(7)); and the stage holds nothing.
pub(super) fn cover() -> io::Result<()> {
    rustix::mount::mount_move(c".", c"/")?;
    rustix::process::chroot(c".")?;
    Ok(rustix::process::chdir(c"/")?)
}

/// A /dev with the devices of every container (OCI runtime specification, "Default Devices").
/// The working directory is the same afterwards.
pub(super) fn mount_devices(dev: &CStr) -> io::Result<()> {
    let back = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let back = rustix::fs::open(c".", back, Mode::empty())?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = Some(c"mode=755,size=64k");
    rustix::mount::mount(c"tmpfs", dev, c"tmpfs", flags, options)?;
    rustix::process::chdir(dev)?;
    for (source, target) in [
        (c"/dev/null", c"null"),
        (c"/dev/zero", c"zero"),
        (c"/dev/full", c"full"),
        (c"/dev/random", c"random"),
        (c"/dev/urandom", c"urandom"),
    ] {
        rustix::fs::openat(
            CWD,
            target,
            OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o666),
        )?;
        rustix::mount::mount_bind(source, target)?;
    }
    for directory in [c"shm", c"mqueue"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o1777))?;
    }
    Ok(rustix::process::fchdir(&back)?)
}

fn read_only(path: &CStr) -> io::Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(rustix::mount::mount_remount(path, flags, c"")?)
}
