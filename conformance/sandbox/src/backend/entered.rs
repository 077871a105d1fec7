//! The user namespace of an engine that runs for an ordinary user. Who is in it has all rights over
//! the namespaces of that engine's containers, and nobody else of that user has: the suite is
//! executed there once more, before it has begun anything.
//!
//! Executed, since the kernel asks the user namespace in which a process was executed who may look
//! into it while it changes its ids (ptrace(2), "Ptrace access mode checking").

#[cfg(feature = "engines")]
use {
    crate::{sys, wait},
    nix::libc,
    std::fs::File,
    std::io,
    std::os::fd::{AsFd as _, OwnedFd},
    std::os::unix::fs::MetadataExt as _,
    std::os::unix::process::CommandExt as _,
    std::process::Command,
};

/// What tells programs there whose it is (containers/storage, `pkg/unshare`): podman-unshare(1) sets
/// them too.
const VARIABLES: [&str; 3] = [
    "_CONTAINERS_USERNS_CONFIGURED",
    "_CONTAINERS_ROOTLESS_UID",
    "_CONTAINERS_ROOTLESS_GID",
];

/// The suite is in such a user namespace, whose root is an ordinary user.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    user: u32,
}

impl Entered {
    /// Whether it is. Only the user namespace itself is believed to be one, not the variable.
    pub fn find() -> Option<Self> {
        let user = std::env::var(VARIABLES[1]).ok()?.parse().ok()?;
        let is_below = std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_ascii_whitespace().nth(2) != Some("4294967295"));
        let is_root = rustix::process::geteuid().is_root();
        (is_below && is_root && user != 0).then_some(Self { user })
    }

    /// The user outside, whose files are there.
    pub fn user(self) -> u32 {
        self.user
    }
}

/// Of a process there: its user and mount namespace.
#[cfg(feature = "engines")]
pub(super) struct Namespaces([OwnedFd; 2]);

#[cfg(feature = "engines")]
impl Namespaces {
    /// Of this process; `None` where it is in the suite's own user namespace.
    ///
    /// # Errors
    /// Where the kernel does not show them.
    pub(super) fn of(process: i32) -> io::Result<Option<Self>> {
        let open = |kind: &str| File::open(format!("/proc/{process}/ns/{kind}"));
        let (user, mount) = (open("user")?, open("mnt")?);
        let own = std::fs::metadata("/proc/self/ns/user")?.ino();
        let is_own = user.metadata()?.ino() == own;
        Ok((!is_own).then(|| Self([user.into(), mount.into()])))
    }

    /// Enters them and executes the suite once more, as it was executed. Call with one thread.
    /// Returns only where that fails.
    pub(super) fn execute_again(&self) -> io::Error {
        let execute = || -> io::Result<io::Error> {
            let ids = [
                rustix::process::getuid().as_raw(),
                rustix::process::getgid().as_raw(),
            ];
            let folder = std::env::current_dir()?;
            wait::for_single_thread();
            let [user, mount] = &self.0;
            sys::setns(user.as_fd(), libc::CLONE_NEWUSER)?;
            sys::setns(mount.as_fd(), libc::CLONE_NEWNS)?;
            let [configured, uid, gid] = VARIABLES;
            let mut words = std::env::args_os();
            let mut again = Command::new("/proc/self/exe");
            again
                .arg0(words.next().unwrap_or_default())
                .args(words)
                // Another mount namespace begins at its root.
                .current_dir(folder)
                .env(configured, "done")
                .env(uid, ids[0].to_string())
                .env(gid, ids[1].to_string());
            Ok(again.exec())
        };
        execute().unwrap_or_else(|error| error)
    }
}
