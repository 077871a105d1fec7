//! The mount operations that roots and sandboxes are made of. None of them allocates: a sandbox's
//! first process calls most of them between clone and exec.

use std::ffi::CStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// Where the image's root is mounted in a copy of the base mount namespace.
pub(super) const ROOT: &CStr = c"/root";
/// Where the writable layer of an overlay is kept there.
const UPPER: &CStr = c"/upper";
/// Where the devices of a sandbox are there.
pub(super) const DEV: &CStr = c"/dev";

/// Mount points to try where there is no base mount namespace. Any directory will do: no other
/// process sees the mount.
pub(super) const PLACES: [&CStr; 6] = [c"/tmp", c"/run", c"/var", c"/mnt", c"/home", c"/etc"];

/// Size of the writable layer of an overlay.
const UPPER_OPTIONS: &CStr = c"mode=755,size=4m,nr_inodes=4096";
/// `userxattr`: in a user namespace overlayfs can set no other attributes (overlayfs.rst).
const OVERLAY_OPTIONS: &CStr =
    c"lowerdir=/root,upperdir=/upper/files,workdir=/upper/work,userxattr";

/// Stops mount events from reaching other mount namespaces, and theirs from reaching this one.
pub(in crate::backend) fn make_private() -> io::Result<()> {
    let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    Ok(rustix::mount::mount_change(c"/", flags)?)
}

/// Mounts an empty tmpfs.
pub(in crate::backend) fn mount_memory(place: &CStr, options: &CStr) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(
        c"tmpfs",
        place,
        c"tmpfs",
        flags,
        Some(options),
    )?)
}

/// A detached copy of the mount at `place`, to be attached once.
pub(super) fn open_tree(place: &CStr) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, place, flags)?)
}

/// Attaches a detached mount.
pub(in crate::backend) fn attach(tree: &OwnedFd, place: &CStr) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, c"", CWD, place, flags)?)
}

/// Attaches a detached mount at the first of [`PLACES`] that takes it, and changes to it.
pub(super) fn attach_root(tree: &OwnedFd) -> io::Result<()> {
    let mut result = Err(io::ErrorKind::NotFound.into());
    for place in PLACES {
        result = attach(tree, place);
        if result.is_ok() {
            return Ok(rustix::process::chdir(place)?);
        }
    }
    result
}

/// A handle on the mount namespace of the calling process, by a /proc of the suite's.
pub(in crate::backend) fn own_namespace(proc: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = c"self/ns/mnt";
    Ok(rustix::fs::openat(proc, path, flags, Mode::empty())?)
}

/// A handle on the network namespace of the calling process, likewise.
pub(in crate::backend) fn own_network(proc: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = c"self/ns/net";
    Ok(rustix::fs::openat(proc, path, flags, Mode::empty())?)
}

/// Mounts an overlay on [`ROOT`]: the image's files below, a tmpfs above for what is written.
pub(super) fn mount_overlay() -> io::Result<()> {
    mount_memory(UPPER, UPPER_OPTIONS)?;
    let lower = rustix::fs::stat(ROOT)?;
    for directory in [c"/upper/files", c"/upper/work"] {
        rustix::fs::mkdirat(CWD, directory, Mode::from_raw_mode(0o700))?;
    }
    // The root directory that the program sees is this one.
    let (uid, gid) = (Uid::from_raw(lower.st_uid), Gid::from_raw(lower.st_gid));
    let _ = rustix::fs::chown(c"/upper/files", Some(uid), Some(gid));
    rustix::fs::chmod(c"/upper/files", Mode::from_raw_mode(lower.st_mode & 0o3777))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = Some(OVERLAY_OPTIONS);
    Ok(rustix::mount::mount(
        c"overlay", ROOT, c"overlay", flags, options,
    )?)
}

/// Mounts a procfs on `proc` in the working directory.
///
/// Where the host masks parts of its own /proc, the kernel refuses this (EPERM), and nothing is
/// mounted: a pause needs no /proc, and the backend then does not offer what does.
pub(super) fn mount_proc() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match rustix::mount::mount(c"proc", c"proc", c"proc", flags, None::<&CStr>) {
        Err(rustix::io::Errno::PERM) => Ok(()),
        other => other.map_err(Into::into),
    }
}

/// Mounts a /dev with the devices of every container (OCI runtime specification, "Default
/// Devices"). The working directory is the same afterwards.
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

/// Mounts the parts of /dev that no two sandboxes share: `shm` and `mqueue`.
pub(super) fn mount_ipc(dev: &CStr) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let back = rustix::fs::open(c".", flags, Mode::empty())?;
    rustix::process::chdir(dev)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount(c"shm", c"shm", c"tmpfs", flags, Some(c"mode=1777,size=1m"))?;
    match rustix::mount::mount(c"mqueue", c"mqueue", c"mqueue", flags, None::<&CStr>) {
        Err(rustix::io::Errno::NODEV | rustix::io::Errno::PERM) => {}
        other => other?,
    }
    Ok(rustix::process::fchdir(&back)?)
}

/// Makes a mount read-only.
pub(super) fn make_read_only(path: &CStr) -> io::Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC;
    Ok(rustix::mount::mount_remount(path, flags, c"")?)
}

/// Makes the working directory, which is a mount, the root, and detaches the old root.
///
/// An initramfs cannot be pivoted (pivot_root(2)): it stays below, as under runc's `--no-pivot`.
pub(super) fn pivot() -> io::Result<()> {
    // pivot_root(2), NOTES: the old root is stacked on the new one, and unmounted there.
    match rustix::process::pivot_root(c".", c".") {
        Err(rustix::io::Errno::INVAL) => return cover(),
        other => other?,
    }
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir(c"/")?)
}

/// Moves the working directory, which is a mount, over the root, as switch_root(8) does over an
/// initramfs.
///
/// No process can unmount it again: neither from this mount namespace, nor from a user namespace
/// below, to which it is locked (mount_namespaces(7)). The base mount namespace under it holds
/// nothing of the host's.
pub(super) fn cover() -> io::Result<()> {
    rustix::mount::mount_move(c".", c"/")?;
    rustix::process::chroot(c".")?;
    Ok(rustix::process::chdir(c"/")?)
}
