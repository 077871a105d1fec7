//! A conformance suite for Kubernetes pause (pod sandbox) images.
//!
//! Every check stands in [`checks::FAMILIES`], beside the function that judges it. [`self_test`] holds
//! the suite against programs, images and backends whose faults are known.
//!
//! What a check is, and what runs it and reports, is `pause_harness`, which knows of no check. Its
//! modules are here too, so that one name is enough for who writes or runs checks.
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

pub mod checks;
pub mod completion;
pub mod self_test;
pub mod version;

pub use pause_harness::{
    advice, audit, backend, budget, calibration, catalogue, check, cli, context, emulator, event,
    expect, figures, inherited, interrupt, kubernetes, node, probe, process, profile, programs,
    report, runner, seccomp, shortage, signal, subject, suggest, suite, wait, wasi_engine,
    wasi_host, wasi_sim, workload,
};
