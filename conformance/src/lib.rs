//! A conformance suite for Kubernetes pause (pod sandbox) images.

pub mod calibration;
pub mod catalogue;
pub mod check;
pub mod checks;
pub mod cli;
pub mod context;
pub mod event;
pub mod expect;
mod need;
mod outcome;
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
pub mod wasi_world;

pub use pause_image as subject;
pub use pause_sandbox::{
    backend, emulator, inherited, interrupt, probe, process, signal, wait, workload,
};
