//! Runs checks over Kubernetes pause (pod sandbox) images, and reports what they find.
//!
//! A [`check::Check`] is one requirement with its source, what it [needs](check::Needs), and the
//! function that judges it by the words of its [`context`]. The [`runner`] computes which checks
//! apply to a subject on this host and runs them side by side; each ends as exactly one
//! [`event::Record`], which [`report`] writes down in the format that is wanted. [`suite`] does so
//! from what was typed on the [command line](cli) to an exit status, and so does [`audit`] for the
//! pods that run on a [`node`].
//!
//! This crate has no check of an image: whoever calls it hands over a registry, which is a slice of
//! [families](check::Families). The checks, and the program, are those of `pause-conformance`. A
//! check that changes is compiled there, and nothing here with it.
//!
//! Images are read by `pause_image` and run by `pause_sandbox`; neither knows of checks.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use pause_harness::check::{Advice, Check, Finding, Level, Needs, Pass, Source};
//! use pause_harness::context::{CheckOptions, Shared};
//! use pause_harness::event::Verdict;
//! use pause_harness::runner::{Settings, run};
//! use pause_harness::subject::{Platform, Subject};
//!
//! static SMALL: Check = Check {
//!     id: "binary/small",
//!     title: "it is small",
//!     level: Level::Should,
//!     requirement: "The program SHOULD have less than 1 MiB",
//!     source: Source { title: "an example", url: "https://example.org/" },
//!     advice: Advice::new("Each node pulls it.", "Leave out what it does not need."),
//!     needs: Needs::PROGRAM,
//!     after: &[],
//!     run: |cx| {
//!         let program = cx.subject().program.as_ref();
//!         let size = program.map_or(0, |program| program.content.len());
//!         if size < 1 << 20 {
//!             Ok(Pass::new(format!("{size} bytes")))
//!         } else {
//!             Err(Finding::new("less than 1 MiB", format!("{size} bytes")).into())
//!         }
//!     },
//! };
//!
//! let pause = pause_harness::programs::REFERENCE;
//! let subject = Subject::of_program("pause", pause.into(), Platform::host());
//! // Without a backend nothing is run: what needs a sandbox is skipped.
//! let shared = Shared::new(subject, CheckOptions::default(), None, 1.0);
//! let settings = Settings {
//!     jobs: 1,
//!     timeout: Duration::from_secs(60),
//!     reproduce: String::new(),
//!     explain: String::new(),
//!     interrupted: Arc::default(),
//! };
//! let ran = run(&[&SMALL], &Arc::new(shared), &settings, &mut |_| {});
//! assert_eq!(ran.records[0].id, "binary/small");
//! assert_eq!(ran.records[0].verdict, Verdict::Pass);
//! ```

pub mod advice;
pub mod audit;
pub mod budget;
pub mod calibration;
pub mod catalogue;
pub mod check;
pub mod cli;
pub mod context;
pub mod event;
pub mod expect;
pub mod figures;
pub mod kubernetes;
mod lock;
mod need;
pub mod node;
mod outcome;
pub mod profile;
pub mod programs;
pub mod report;
mod requirement;
pub mod runner;
pub mod seccomp;
pub mod shortage;
pub mod suggest;
pub mod suite;
mod wasi_abi;
pub mod wasi_engine;
pub mod wasi_host;
pub mod wasi_sim;

pub use pause_image as subject;
pub use pause_sandbox::{
    backend, emulator, inherited, interrupt, probe, process, signal, wait, workload,
};
