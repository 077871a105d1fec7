//! The border between checks and backends: what a sandbox is asked to be, and what it can be asked
//! for. One file a backend under `backend/`.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use seccompiler::BpfProgram;

use crate::Features;
use crate::probe::Probe;
use crate::shortage::{Counters, Shortage};
use crate::sys::ExitStatus;
use crate::workload::Command;
use crate::workload::Workload;
use embedded::Embedded;
pub use entered::Entered;
pub use member::{Member, PodContainer, Stopped};
use pause_image::{Program, Rootfs, Subject};

#[cfg(feature = "cri")]
pub mod cri;
#[cfg(feature = "engines")]
pub mod docker;
pub mod embedded;
#[cfg(feature = "engines")]
pub mod engine;
mod entered;
#[cfg(any(feature = "cri", feature = "engines"))]
mod executed;
mod facts;
mod inside;
#[cfg(any(feature = "cri", feature = "engines"))]
mod kept;
mod lease;
mod member;
pub mod oci;
#[cfg(feature = "engines")]
pub mod podman;
mod program;
mod refused;
#[cfg(any(feature = "cri", feature = "engines"))]
mod run;
mod stage;

/// Runs sandboxes.
pub trait Backend: Send + Sync {
    /// Its name, and how it makes sandboxes, for reports: `embedded (rootless)`.
    fn describe(&self) -> String;

    /// What it and this host offer.
    fn offers(&self) -> Features;

    /// Why it does not offer this feature on this host.
    fn lacks(&self, need: Features) -> Option<&str>;

    /// Why a failure of a check with these needs may be the backend's fault and not the program's,
    /// if it may.
    fn doubts(&self, _needs: Features) -> Option<&str> {
        None
    }

    /// Takes the image of a subject whose programs it will be asked to start, as it is stored.
    ///
    /// # Errors
    /// [`StartError`], where it does not take it.
    fn adopt(&self, _subject: &Subject) -> Result<(), StartError> {
        Ok(())
    }

    /// Lets go of what it holds for an image that it has taken, until a sandbox of it is started once
    /// more.
    fn release(&self, _subject: &Subject) {}

    /// Makes a sandbox and starts the program in it; returns once the program has
    /// been executed (not: once it is ready).
    ///
    /// # Errors
    /// [`StartError`], which tells the image's fault from the host's.
    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError>;

    /// As [`Backend::start`], for a program of the host's, with the host's files, read-only; the
    /// program and root of the specification are ignored.
    ///
    /// # Errors
    /// [`StartError`].
    fn start_engine(
        &self,
        _command: Command,
        _spec: &Spec,
    ) -> Result<Box<dyn Sandbox>, StartError> {
        Err(StartError::Host {
            step: "start an engine",
            cause: io::ErrorKind::Unsupported.into(),
        })
    }

    /// The same, where programs run on the oldest processor of their architecture, in
    /// software; and what that processor is called.
    ///
    /// # Errors
    /// In words, where there is no such processor.
    fn on_baseline(self: Arc<Self>) -> Result<(Arc<dyn Backend>, &'static str), String> {
        Err("this backend has none".to_owned())
    }

    /// The least memory limit under which it starts a program, in bytes.
    fn memory_floor(&self) -> u64 {
        0
    }

    /// What it takes to start and remove a sandbox, where that is more than the kernel takes.
    fn cost(&self) -> Duration {
        Duration::ZERO
    }

    /// What it does to every pod that others do not, a line each.
    fn facts(&self) -> Vec<String> {
        Vec::new()
    }

    /// How the tools of what makes sandboxes show the first one of this image, a line each.
    fn shows(&self, _subject: &Subject) -> Vec<String> {
        Vec::new()
    }

    /// What was killed and refused so far, by any limit, besides what each sandbox reports.
    fn counters(&self) -> Counters;

    /// Prepares the calling thread for starting sandboxes.
    ///
    /// # Errors
    /// When the host refuses.
    fn adopt_thread(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A running pod sandbox. Dropping it kills and removes everything in it.
pub trait Sandbox: Send {
    /// Readable when the pause process has ended.
    fn pidfd(&self) -> BorrowedFd<'_>;

    /// Process id of the pause process as the suite sees it.
    fn host_pid(&self) -> i32;

    /// Sends a signal to the pause process from outside its pid namespace; nothing where it has
    /// been reaped already: one that is a zombie takes a signal likewise.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn signal(&self, signal: i32) -> io::Result<()>;

    /// How the pause process ended, once it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>>;

    /// Our ends of its standard streams, taken once.
    fn take_stdio(&mut self) -> Stdio;

    /// Waits until all that the pause process has written so far can be read from its streams.
    ///
    /// # Errors
    /// Where it does not come.
    fn settle_output(&self) -> io::Result<()> {
        Ok(())
    }

    /// Starts the probe inside the sandbox's namespaces.
    ///
    /// # Errors
    /// When the kernel refuses, or the pause process is gone.
    fn enter(&self, join: &Join) -> io::Result<Probe>;

    /// Starts a program of the host's beside the pause process, as a runtime starts a
    /// container of the pod: in its network, IPC and UTS namespaces, with the host's files,
    /// read-only; in its pid namespace too where `shares_pid`, else as PID 1 of its own.
    ///
    /// # Errors
    /// When the kernel refuses, or the pause process is gone.
    fn run_beside(&self, _command: Command, _shares_pid: bool) -> io::Result<Workload> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Has a container of the pod made and started by what made the sandbox, which was started
    /// [`joined`](Spec::joined).
    ///
    /// # Errors
    /// When it refuses, in its words, or the pause process is gone. Unsupported by a backend without
    /// [`Features::ENGINE`].
    fn add_container(&self, _member: &Member) -> io::Result<Box<dyn PodContainer>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Has the pause container stopped by what made the sandbox, as it stops containers; kills it
    /// where it has not ended within `grace`, in whole seconds. Returns once it has ended.
    ///
    /// # Errors
    /// As [`Sandbox::add_container`].
    fn stop(&mut self, _grace: Duration) -> io::Result<Stopped> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets a sandbox that was started `held` go on, and does not wait for its exec: for a tracer.
    ///
    /// # Errors
    /// When it is gone.
    fn open_gate(&mut self) -> io::Result<()>;

    /// Executes the program of a sandbox that was started `held`.
    ///
    /// # Errors
    /// As [`Backend::start`].
    fn release(&mut self) -> Result<(), StartError>;

    /// What its root lacks of the image on this host, in words.
    fn lacks(&self) -> &[String] {
        &[]
    }

    /// Bytes of memory that the sandbox's memory cgroup accounts for, if it has one.
    fn memory_used(&self) -> Option<u64> {
        None
    }

    /// What ran short in it so far, if anything did; `killed` says that the suite has sent
    /// SIGKILL to the pause process.
    fn shortage(&mut self, killed: bool) -> Option<Shortage>;

    /// Whether a limit of the suite's without a counter may have refused it memory, a process or a
    /// thread.
    fn may_have_been_refused(&mut self) -> bool {
        false
    }
}

/// What is started.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The image's files. The same image is the same allocation.
    pub rootfs: &'a Arc<Rootfs>,
    /// Its program, arguments, environment and user.
    pub program: &'a Program,
}

impl<'a> Launch<'a> {
    /// The program that a subject names.
    ///
    /// # Errors
    /// Where it names none that can be started.
    fn of(subject: &'a Subject) -> Result<Self, StartError> {
        let program = subject.program.as_ref();
        Ok(Self {
            rootfs: &subject.rootfs,
            program: program.map_err(|why| StartError::Unable {
                why: why.to_string(),
            })?,
        })
    }
}

/// Why a backend lacks a feature: its own reason, else that of the default backend beside it.
fn why_lacking<'a>(
    lacking: &'a [(Features, String)],
    embedded: &'a Embedded,
    need: Features,
) -> Option<&'a str> {
    let own = lacking.iter().find(|(bit, _)| *bit == need);
    own.map(|(_, why)| why.as_str())
        .or_else(|| embedded.lacks(need))
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel would not execute the program: the image's fault.
    #[error("cannot execute {path}: {cause}")]
    Exec {
        /// The program as the configuration names it.
        path: String,
        /// The kernel's word.
        cause: io::Error,
    },
    /// No runtime could make a root filesystem of the image: its fault.
    #[error("cannot make the root filesystem: {cause}")]
    Root {
        /// What is wrong with it.
        cause: String,
    },
    /// The engine, which starts others, does not take this image, or starts no container of it: its
    /// fault.
    #[error("the engine does not take the image: {why}")]
    Refused {
        /// In the engine's words.
        why: String,
    },
    /// This host cannot make a sandbox of this image with this specification.
    #[error("cannot make such a sandbox here: {why}")]
    Unable {
        /// What the host, or the suite, cannot provide.
        why: String,
    },
    /// The sandbox could not be made: the host's fault, or the suite's.
    #[error("cannot make a sandbox: {step}: {cause}")]
    Host {
        /// What was being done.
        step: &'static str,
        /// The kernel's word.
        cause: io::Error,
    },
}

/// Names the step at which a start failed.
fn at(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |cause| StartError::Host { step, cause }
}

/// Why a container runtime or engine cannot be used: one line, and what the user can do.
#[derive(Debug, thiserror::Error)]
#[error("--runtime {name}: {cause}")]
pub struct Unusable {
    /// As it was asked for.
    pub name: String,
    /// What is wrong.
    pub cause: String,
    /// What the user can do.
    pub hint: String,
}

/// The hint where one is there, and starts nothing.
const REFUSED: &str = "run the suite where it starts containers, or leave --runtime out";

fn unusable(name: &str, cause: String, hint: &str) -> Unusable {
    Unusable {
        name: name.to_owned(),
        cause,
        hint: hint.to_owned(),
    }
}

/// Refuses a runtime or engine to all but root.
fn needs_root(name: &str, embedded: &Embedded) -> Result<(), Unusable> {
    if embedded.is_root() {
        return Ok(());
    }
    let cause = "it makes sandboxes for root alone here".to_owned();
    let hint = "run the suite as root, or leave --runtime out";
    Err(unusable(name, cause, hint))
}

/// What a sandbox is to be. The default is what a CRI runtime gives a pause container.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Arguments after argv\[0\] instead of the image's.
    pub arguments: Option<Vec<String>>,
    /// A program of the image's, by its path, and arguments, instead of those that the image names;
    /// only by a backend with [`Features::ENGINE`].
    pub command: Option<Vec<String>>,
    /// User and group instead of the image's.
    pub user: Option<(u32, u32)>,
    /// With all capabilities over the sandbox's user namespace, also after exec; refused where
    /// there is no user namespace to confine them. Otherwise with none, permanently.
    pub privileged: bool,
    /// With a bounding set (capabilities(7)), which container engines that drop all capabilities
    /// empty as well. No program gets a capability back either way: no_new_privs is set.
    pub bounding_set: bool,
    /// Environment instead of the image's.
    pub env: Option<Vec<String>>,
    /// The root filesystem.
    pub root: Root,
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
    /// A pid namespace of its own, in which the program is PID 1.
    pub own_pid_namespace: bool,
    /// A network namespace of its own, loopback up; else an empty one shared by all such sandboxes.
    pub own_network: bool,
    /// A time namespace of its own.
    pub own_time: bool,
    /// 65536 ids mapped, instead of one or all.
    pub id_range: bool,
    /// Signals blocked at exec, bit n-1 for signal n.
    pub blocked: u64,
    /// Signals ignored at exec.
    pub ignored: u64,
    /// How many descriptors beyond 2 are left open across exec.
    pub extra_descriptors: u32,
    /// Filter installed before exec.
    pub seccomp: Option<Arc<BpfProgram>>,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// Limit on processes.
    pub pids_limit: Option<u32>,
    /// The sandbox is made, but its program is executed only by [`Sandbox::release`]; executed at
    /// once by a backend without [`Features::HELD`].
    pub held: bool,
    /// Containers that the engine makes will join it: see [`Sandbox::add_container`].
    pub joined: bool,
    /// Without those limits of the suite that do not report which process they refused, as far as
    /// the host has room.
    pub spared: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            arguments: None,
            command: None,
            user: None,
            privileged: false,
            bounding_set: true,
            env: None,
            root: Root::ReadOnly,
            stdin: Stream::Null,
            stdout: Stream::Captured,
            stderr: Stream::Captured,
            own_pid_namespace: true,
            own_network: true,
            own_time: false,
            id_range: false,
            blocked: 0,
            ignored: 0,
            extra_descriptors: 0,
            seccomp: None,
            memory_limit: None,
            pids_limit: None,
            held: false,
            joined: false,
            spared: false,
        }
    }
}

/// The root filesystem of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// All of the image's files with /proc and /dev, read-only, as CRI runtimes mount it.
    ReadOnly,
    /// The same, writable.
    Writable,
    /// The image's files and nothing else: no /proc, no /dev. They may be there as empty
    /// directories.
    Bare,
    /// Not the image's: the host's files, read-only, with a /proc of the sandbox's own.
    Host,
}

/// A standard stream of the pause process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `/dev/null`.
    Null,
    /// Not open at all.
    Closed,
    /// A pipe whose other end the suite reads (output) or holds open unwritten (input).
    Captured,
    /// A pipe whose other end is closed.
    Broken,
    /// A full pipe that is not read.
    Full,
}

/// Our ends of the standard streams; `None` where the stream is not a pipe.
#[derive(Debug, Default)]
pub struct Stdio {
    /// Write end of its input.
    pub stdin: Option<OwnedFd>,
    /// Read end of its output, non-blocking.
    pub stdout: Option<OwnedFd>,
    /// Read end of its error output, non-blocking.
    pub stderr: Option<OwnedFd>,
    /// Read ends of full pipes, held so that they stay full.
    pub unread: Vec<OwnedFd>,
}

bitflags::bitflags! {
    /// Namespaces of a sandbox that a joiner enters.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Namespaces: u32 {
        /// pid_namespaces(7).
        const PID = 1;
        /// network_namespaces(7).
        const NETWORK = 1 << 1;
        /// ipc_namespaces(7).
        const IPC = 1 << 2;
        /// uts_namespaces(7).
        const UTS = 1 << 3;
        /// mount_namespaces(7).
        const MOUNT = 1 << 4;
        /// cgroup_namespaces(7).
        const CGROUP = 1 << 5;
        /// time_namespaces(7).
        const TIME = 1 << 6;
    }
}

/// How the probe enters a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    /// The namespaces that it joins; for the rest it has its own, outside the sandbox.
    pub namespaces: Namespaces,
    /// With all capabilities over the sandbox's user namespace, as a runtime has them.
    pub privileged: bool,
    /// User and group, where the sandbox maps more than one; else the pause process's.
    pub user: Option<(u32, u32)>,
}

impl Default for Join {
    fn default() -> Self {
        Self {
            namespaces: Namespaces::all() - Namespaces::TIME,
            privileged: false,
            user: None,
        }
    }
}
