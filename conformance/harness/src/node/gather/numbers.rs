//! Whether the pids that a source tells are those of this /proc: an audit may have the engine's socket
//! and not its pid namespace.

use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::node::proc::{ProcRoot, Snapshot};
use crate::node::source::{Source, ToldPause, ToldPod};

/// Whose numbers pids are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// This /proc's, as far as is known.
    These,
    /// Those of another pid namespace.
    Others,
}

impl Numbers {
    /// Of the pids that this source told.
    pub(super) fn of(
        source: &dyn Source,
        told: &[ToldPod],
        root: &ProcRoot,
        snapshot: &Snapshot,
    ) -> Self {
        // A process with the container's own cgroup is the one, whoever listens at the socket.
        let fits = |pod: &ToldPod| {
            let ToldPause::Runs {
                pid: Some(pid),
                container: Some(container),
            } = &pod.pause
            else {
                return false;
            };
            let found = snapshot.processes.get(pid);
            found.is_some_and(|it| it.place.container.as_ref() == Some(container))
        };
        if told.is_empty() || told.iter().any(fits) {
            return Self::These;
        }
        match is_here(&source.place(), root) {
            Some(false) => Self::Others,
            // Only the kernel's first namespace has all processes.
            None if snapshot.is_below => Self::Others,
            Some(true) | None => Self::These,
        }
    }
}

/// Whether who listens at a socket is in the pid namespace of this /proc; `None` where that cannot be
/// known, as of a socket that is none.
fn is_here(socket: &Path, root: &ProcRoot) -> Option<bool> {
    if !root.is_own() {
        return None;
    }
    let peer = UnixStream::connect(socket).ok()?;
    let peer = getsockopt(&peer, PeerCredentials).ok()?.pid();
    // The kernel gives the number in this namespace, where it has one.
    if peer == 0 {
        return Some(false);
    }
    let of = |pid: i32| root.process(pid).and_then(|it| it.namespace("pid")).ok();
    let own = i32::try_from(std::process::id()).ok()?;
    Some(of(peer)? == of(own)?)
}
