//! What only a container engine or OCI runtime does to a pod: its containers are made, restarted and
//! stopped.

use std::io;
use std::os::fd::BorrowedFd;

use pause_image::{Platform, Subject};

/// A container that is to be made of a pod, in the network and IPC namespaces of the pause process.
/// Its program is the suite's own: it stays, with one child.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The port that it listens on, at every address of the pod.
    pub port: Option<u16>,
    /// In the pod's pid namespace; else it is PID 1 of its own.
    pub shares_pid: bool,
}

/// The image of such a container: the suite's probe alone.
pub(super) fn image() -> Subject {
    let probe = crate::programs::PROBE.into();
    Subject::of_program("the suite's probe", probe, Platform::host())
}

/// A container of a pod that its engine has made and started. Dropping it removes it.
pub trait PodContainer: Send {
    /// Process id of its first process, as the suite sees it.
    fn host_pid(&self) -> i32;

    /// Readable when that process has ended.
    fn pidfd(&self) -> BorrowedFd<'_>;

    /// Has it ended and started again, as the engine restarts a container: its first process is
    /// another then.
    ///
    /// # Errors
    /// When the engine refuses, in its words.
    fn restart(&mut self) -> io::Result<()>;
}

/// How an engine stops a pause container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It sends a signal, and kills only what has not ended within the grace.
    Asked,
    /// It kills at once, and means to.
    Killed,
}

/// The arguments of the program of a member.
pub(super) fn arguments(member: &Member) -> Vec<String> {
    let port = member.port.map(|port| port.to_string());
    let word = std::iter::once("member".to_owned());
    word.chain(port).collect()
}
