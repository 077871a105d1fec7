//! The namespaces around all sandboxes, which the suite itself enters: a user namespace where
//! it is not root, and a network, IPC and UTS namespace in any case.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::libc;
use rustix::thread::CapabilitySet;

use super::Binfmt;
use super::binfmt::{self, Rule};
use super::capabilities;
use super::ids::{self, Mapping};
use super::obstacles::{Refusal, USER_NAMESPACE};
use crate::backend::Entered;
use crate::emulator::Emulator;
use crate::sys::{self, ExitStatus, InChild, NewNamespaces};
use crate::wait;

/// The ways of making sandboxes that the caller may try, the one that offers most first.
pub(super) fn ways(entered: Option<Entered>) -> Vec<Mapping> {
    if entered.is_some() {
        let base = ids::BASE_OF_ENGINE;
        let range = ids::range_is_there(base).then_some(Mapping::Range { base });
        return range.into_iter().chain([Mapping::Host]).collect();
    }
    let rootless = Mapping::Single {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let root = rustix::process::geteuid().is_root();
    if !root || !capabilities::has(CapabilitySet::SYS_ADMIN) {
        return vec![rootless];
    }
    let base = ids::RANGE_BASE;
    match (user_namespaces_work(), ids::range_is_there(base)) {
        (true, true) => vec![Mapping::Range { base }, rootless],
        // Root of a user namespace that holds few ids is an ordinary user.
        (true, false) => vec![rootless],
        // The second only explains the first.
        (false, _) => vec![Mapping::Host, rootless],
    }
}

/// Enters the namespaces in which all sandboxes are made by this way; says where emulators are
/// registered.
///
/// # Errors
/// Where the host refuses. The namespaces entered until then do not hinder another way.
pub(super) fn enter(way: Mapping, emulators: &[Emulator]) -> Result<Binfmt, Refusal> {
    const OUTER: NewNamespaces = NewNamespaces::NETWORK
        .union(NewNamespaces::IPC)
        .union(NewNamespaces::UTS);
    let private = !emulators.is_empty() && binfmt::is_private_to_user_namespaces();
    let none = |why: &str| Binfmt::None(why.to_owned());
    let Mapping::Single { uid, gid } = way else {
        // A process that changes its ids is not dumpable from then on, and no other may look
        // into its /proc without it (proc(5)).
        if !capabilities::has(CapabilitySet::SYS_PTRACE) {
            let lacking = io::Error::from_raw_os_error(libc::EPERM);
            return Err(Refusal::at("look into sandboxes without CAP_SYS_PTRACE")(
                lacking,
            ));
        }
        sys::unshare(OUTER).map_err(Refusal::at("make the namespaces around sandboxes"))?;
        return Ok(match way {
            Mapping::Range { .. } if private => Binfmt::EachSandbox,
            Mapping::Range { .. } => {
                none("user namespaces have none of their own before Linux 6.7")
            }
            // Without a user namespace it would be the host's.
            _ => none("this host allows no user namespaces"),
        });
    };
    let mut above = (uid, gid);
    let mut binfmt = none("user namespaces have none of their own here");
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
    Ok(binfmt)
}

/// Enters a user namespace in which emulators are registered: one above that of the
/// sandboxes, since only its id 0 may write there, and a rootless sandbox maps another.
/// Its mounts are the caller's, in a namespace that lets it mount.
fn register_above(
    emulators: &[Emulator],
    caller: (u32, u32),
) -> Result<io::Result<OwnedFd>, Refusal> {
    enter_user_namespace(NewNamespaces::MOUNT)?;
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

/// A user namespace first and alone, so that its refusal is not taken for that of another.
fn enter_user_namespace(others: NewNamespaces) -> Result<(), Refusal> {
    // A thread of a failed way, or of a library, may still be ending.
    wait::for_single_thread();
    // A sandbox of a way that failed may have changed its ids while it had the suite's memory:
    // then the suite is not dumpable any more, and its /proc not its own.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
    sys::unshare(NewNamespaces::USER).map_err(Refusal::at(USER_NAMESPACE))?;
    sys::unshare(others).map_err(Refusal::at("make namespaces in a user namespace"))
}

/// The caller's one user and group, `above` in the user namespace above, is `inside` from now on.
fn map_caller(inside: (u32, u32), above: (u32, u32)) -> Result<(), Refusal> {
    let map = |file: &'static str, line: String| {
        std::fs::write(file, line).map_err(Refusal::at("map the caller's ids"))
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

struct EndAtOnce;

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it does nothing.
unsafe impl InChild for EndAtOnce {
    fn run(self) -> i32 {
        0
    }
}

fn user_namespaces_work() -> bool {
    match sys::spawn(NewNamespaces::USER, EndAtOnce) {
        Ok(child) => matches!(
            sys::wait(child.pidfd.as_fd()),
            Ok(Some(ExitStatus::Exited(0)))
        ),
        // No process can be made, which says nothing about user namespaces.
        Err(error) => matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM)),
    }
}
