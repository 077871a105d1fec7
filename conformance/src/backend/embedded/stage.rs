//! The stage: a mount namespace that holds nothing of the host's but five devices. Each
//! sandbox's is a copy of it, so that there is little to copy, /dev is one bind, and under
//! the program's root lies nothing that would have to be taken away first: a detached tree
//! of mounts costs a sandbox a grace period of the kernel's.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::libc;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::child;
use super::keeper::Keeper;
use super::plan::{Make, Plan};
use crate::sys;

/// Where on the stage a sandbox mounts its root.
pub(super) const ROOT: &CStr = c"/root";
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
        std::thread::scope(|scope| scope.spawn(|| Self::build_here(keeper, proc)).join())
            .unwrap_or_else(|_| Err(io::Error::other("a panic")))
    }

    fn build_here(keeper: &Keeper, proc: BorrowedFd<'_>) -> io::Result<Self> {
        sys::setns(keeper.pid_namespace(), libc::CLONE_NEWPID)?;
        let built = sys::in_helper(|| {
            sys::unshare(libc::CLONE_NEWNS)?;
            let has_proc = build()?;
            Ok(Self {
                namespace: own_namespace(proc)?,
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

/// A stage that has the root of one image, for those sandboxes that only read theirs: all
/// that is left for each to make is what no two share.
#[derive(Debug)]
pub(super) struct Scene {
    files: Arc<[Make]>,
    namespace: OwnedFd,
}

impl Scene {
    /// Builds it from the stage, with the files that a plan names; they are `owner`'s, or of
    /// whoever the suite is.
    pub(super) fn build(
        stage: &Stage,
        plan: &Plan,
        owner: Option<(Uid, Gid)>,
        proc: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let built = sys::in_helper(|| {
            sys::setns(stage.namespace(), libc::CLONE_NEWNS)?;
            sys::unshare(libc::CLONE_NEWNS)?;
            child::mount_on_stage(&plan.size)?;
            child::make_files(&plan.files, owner)?;
            rustix::mount::mount_bind_recursive(DEV, c"dev")?;
            child::cover_stage()?;
            child::read_only_root()?;
            own_namespace(proc)
        });
        Ok(Self {
            files: Arc::clone(&plan.files),
            namespace: built??,
        })
    }

    /// Whether it holds what a plan asks for.
    pub(super) fn is_of(&self, plan: &Plan) -> bool {
        self.files == plan.files
    }

    /// To clone from.
    pub(super) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// The mount namespace of the calling process, which the suite's /proc has.
fn own_namespace(proc: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(
        proc,
        c"self/ns/mnt",
        flags,
        Mode::empty(),
    )?)
}

/// Whether a /proc could be mounted.
fn build() -> io::Result<bool> {
    let _ = rustix::process::umask(Mode::empty());
    rustix::mount::mount_change(
        c"/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    child::mount_root(c"mode=755,size=64k")?;
    for directory in [c"dev", c"proc", c"root"] {
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
    mount_devices()?;
    read_only(c"dev")?;
    // pivot_root(2), NOTES: the old root lands on top of the new one and is taken off.
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")?;
    read_only(c"/")?;
    Ok(has_proc)
}

/// A /dev with the devices of every container (OCI runtime specification, "Default Devices").
pub(super) fn mount_devices() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = Some(c"mode=755,size=64k");
    rustix::mount::mount(c"tmpfs", c"dev", c"tmpfs", flags, options)?;
    for (source, target) in [
        (c"/dev/null", c"dev/null"),
        (c"/dev/zero", c"dev/zero"),
        (c"/dev/full", c"dev/full"),
        (c"/dev/random", c"dev/random"),
        (c"/dev/urandom", c"dev/urandom"),
    ] {
        rustix::fs::openat(
            CWD,
            target,
            OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o666),
        )?;
        rustix::mount::mount_bind(source, target)?;
    }
    for directory in [c"dev/shm", c"dev/mqueue"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o1777))?;
    }
    Ok(())
}

fn read_only(path: &CStr) -> io::Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(rustix::mount::mount_remount(path, flags, c"")?)
}
