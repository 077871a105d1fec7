//! A conformance suite for Kubernetes pause (pod sandbox) images.
//!
//! A [`check::Check`] is one requirement with its source, what it [needs](check::Needs), and the
//! function that judges it: that provokes something in a sandbox, waits for an event, and says
//! what was expected and what was observed. All of them stand in [`checks::FAMILIES`]. The
//! [`runner`] computes which apply to a subject on this host and runs them side by side; each ends
//! as exactly one [`event::Record`], which [`report`] writes down in the format that is wanted.
//! [`self_test`] holds the suite against programs, images and backends whose faults are known.
//!
//! Images are read by `pause_image` and run by `pause_sandbox`; neither knows of checks.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use conformance::check::Level;
//! use conformance::checks::FAMILIES;
//! use conformance::context::{CheckOptions, Shared};
//! use conformance::event::Verdict;
//! use conformance::runner::{Settings, run};
//! use conformance::subject::{Platform, Subject};
//!
//! let pause = conformance::programs::REFERENCE;
//! let subject = Subject::of_program("pause", pause.into(), Platform::host());
//! // Without a backend nothing is run: what needs a sandbox is skipped.
//! let shared = Shared::new(subject, CheckOptions::default(), None, 1.0);
//! let settings = Settings {
//!     jobs: 2,
//!     timeout: Duration::from_secs(60),
//!     reproduce: String::new(),
//!     explain: String::new(),
//!     interrupted: Arc::default(),
//! };
//! let checks: Vec<_> = FAMILIES.iter().flat_map(|family| family.checks).copied().collect();
//! let ran = run(&checks, &Arc::new(shared), &settings, &mut |_| {});
//! assert_eq!(ran.records.len(), checks.len());
//! let failed = |record: &&conformance::event::Record| {
//!     record.level == Level::Must && record.verdict == Verdict::Fail
//! };
//! assert!(ran.records.iter().find(failed).is_none());
//! ```

pub mod advice;
pub mod audit;
pub mod budget;
pub mod calibration;
pub mod catalogue;
pub mod check;
pub mod checks;
pub mod cli;
pub mod completion;
pub mod context;
pub mod event;
pub mod expect;
pub mod figures;
pub mod kubernetes;
mod need;
pub mod node;
mod outcome;
pub mod profile;
pub mod programs;
pub mod report;
mod requirement;
pub mod runner;
pub mod seccomp;
pub mod self_test;
pub mod shortage;
mod suggest;
pub mod suite;
mod wasi_abi;
pub mod wasi_engine;
pub mod wasi_host;
pub mod wasi_sim;

pub use pause_image as subject;
pub use pause_sandbox::{
    backend, emulator, inherited, interrupt, probe, process, signal, wait, workload,
};
