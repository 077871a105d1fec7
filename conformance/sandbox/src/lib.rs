//! Pod sandboxes without root and without a daemon, and a probe that acts inside them.
//!
//! A sandbox is what a Kubernetes runtime makes for a pod before any container: namespaces, a root
//! filesystem, a program as process 1. [`backend::embedded::Embedded`] makes them itself, rootless
//! where the kernel allows it. A [`backend::Spec`] says what one is asked to be, down to its
//! signal mask and its seccomp filter; a [`backend::Sandbox`] is what can be asked of one that
//! runs: a signal, the true wait status, what it wrote, and a [`probe::Probe`] that enters it as a
//! container of the pod would, makes orphans there and looks around. Programs for other processors
//! run by an [`emulator`].
//!
//! **Nothing is left behind.** All sandboxes live in one pid namespace whose process 1 ends with
//! the caller, also when that is killed; it takes mounts, cgroups and folders along.
//!
//! **What the host cannot do is said, not guessed**: [`Features`] are what a backend offers, each
//! that is missing has a reason, and [`shortage`] tells what ran out.
//!
//! ```
//! use std::time::Duration;
//!
//! use pause_image::{Platform, Subject};
//! use pause_sandbox::backend::embedded::Embedded;
//! use pause_sandbox::backend::{Backend, Launch, Spec};
//! use pause_sandbox::process::ExitStatus;
//! use pause_sandbox::{programs, signal, wait};
//!
//! // Where this host allows no sandbox, the error names what to change.
//! let backend = Embedded::prepare()?;
//! let pause = Subject::of_program("pause", programs::REFERENCE.into(), Platform::host());
//! let launch = Launch {
//!     rootfs: &pause.rootfs,
//!     program: pause.program.as_ref().map_err(|why| why.to_string())?,
//! };
//! // A thread of its own: it is moved to where the sandboxes are.
//! let ended = std::thread::scope(|scope| {
//!     let run = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
//!         backend.adopt_thread()?;
//!         let mut sandbox = backend.start(&launch, &Spec::default())?;
//!         sandbox.signal(signal::KILL)?;
//!         wait::readable(sandbox.pidfd(), Duration::from_secs(10))?;
//!         Ok(sandbox.try_wait()?)
//!     };
//!     scope.spawn(run).join().expect("no panic")
//! });
//! assert_eq!(ended.map_err(|error| error.to_string())?, Some(ExitStatus::Signaled(signal::KILL)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend;
pub mod emulator;
mod features;
pub mod inherited;
pub mod interrupt;
pub mod probe;
pub mod process;
pub mod programs;
pub mod shortage;
pub mod signal;
pub mod step;
pub mod supervise;
mod sys;
pub mod trace;
pub mod wait;
pub mod workload;

pub use features::Features;
