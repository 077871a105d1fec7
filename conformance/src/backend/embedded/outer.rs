//! The namespaces around all sandboxes, which the suite itself enters: a user namespace where
//! it is not root, and a network, IPC and UTS namespace in any case.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::libc;

use super::binfmt::{self, Rule};
use super::ids::{self, Mapping};
use super::{Binfmt, PrepareError};
use crate::emulator::Emulator;
use crate::sys::{self, ExitStatus};

/// Enters the namespaces in which all sandboxes are made; says which ids those may map, and
/// where emulators are registered.
///
/// # Errors
/// Where the host allows an ordinary user no user namespaces.
pub(super) fn enter(emulators: &[Emulator]) -> Result<(Mapping, Binfmt), PrepareError> {
    const OUTER: c_int = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let private = !emulators.is_empty() && binfmt::is_private_to_user_namespaces();
    let none = Binfmt::None("user namespaces have none of their own before Linux 6.7".to_owned());
    let (mapping, binfmt) = match (user_namespaces_work(), ids::range_is_there()) {
        (true, true) if private => (Some(Mapping::Range), Binfmt::EachSandbox),
        (true, true) => (Some(Mapping::Range), none),
        // Root of a user namespace that holds few ids is an ordinary user.
        (true, false) => (None, none),
        // Without a user namespace it would be the host's.
        (false, _) => (
            Some(Mapping::Host),
            Binfmt::None("this host allows no user namespaces".to_owned()),
        ),
    };
    if uid == 0
        && let Some(mapping) = mapping
        && sys::unshare(OUTER).is_ok()
    {
        return Ok((mapping, binfmt));
    }
    let mut above = (uid, gid);
    let mut binfmt = Binfmt::None("user namespaces have none of their own here".to_owned());
    if private {
        binfmt = match register_above(emulators, (uid, gid))? {
            Ok(mounted) => Binfmt::Held(mounted),
            Err(error) => Binfmt::None(format!("cannot register it: {error}")),
        };
        above = (0, 0);
    }
    enter_user_namespace(OUTER)?;
    // The suite keeps its own ids, so that files it writes stay the caller's.
    map_caller((uid, gid), above)?;
    Ok((Mapping::Single { uid, gid }, binfmt))
}

/// Enters a user namespace in which emulators are registered: one above that of the
/// sandboxes, since only its id 0 may write there, and a rootless sandbox maps another.
/// Its mounts are the caller's, in a namespace that lets it mount.
fn register_above(
    emulators: &[Emulator],
    caller: (u32, u32),
) -> Result<io::Result<OwnedFd>, PrepareError> {
    enter_user_namespace(libc::CLONE_NEWNS)?;
    map_caller((0, 0), caller)?;
    let register = || {
        let mounted = binfmt::mount()?;
        for emulator in emulators {
            binfmt::register(&mounted, &Rule::new(emulator)?)?;
        }
        Ok(mounted)
    };
    Ok(register())
}

fn enter_user_namespace(others: c_int) -> Result<(), PrepareError> {
    sys::unshare(libc::CLONE_NEWUSER | others).map_err(|cause| PrepareError {
        what: "make a user namespace",
        // ENOSPC here speaks of namespaces and not of disks (unshare(2)).
        cause: match cause.raw_os_error() {
            Some(libc::ENOSPC) => io::Error::other("this host allows no more of them"),
            _ => cause,
        },
        hint: Some(
            "the host forbids user namespaces to this user: see kernel.unprivileged_userns_clone, \
             user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns, or run as root",
        ),
    })
}

/// The caller's one user and group, `above` in the user namespace above, is `inside` from now on.
fn map_caller(inside: (u32, u32), above: (u32, u32)) -> Result<(), PrepareError> {
    let map = |file: &'static str, line: String| {
        std::fs::write(file, line).map_err(PrepareError::new("map the caller's ids"))
    };
    map("/proc/self/setgroups", "deny".to_owned())?;
    map(
        "/proc/self/uid_map",
        format!("{} {} 1\n", inside.0, above.0),
    )?;
    map(
        "/proc/self/gid_map",
        format!("{} {} 1\n", inside.1, above.1),
    )
}

fn user_namespaces_work() -> bool {
    let child = sys::spawn(libc::CLONE_NEWUSER as u64, || 0);
    let Ok(child) = child else { return false };
    matches!(
        sys::wait(child.pidfd.as_fd()),
        Ok(Some(ExitStatus::Exited(0)))
    )
}
