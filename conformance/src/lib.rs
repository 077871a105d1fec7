//! A conformance suite for Kubernetes pause (pod sandbox) images.

pub mod backend;
pub mod calibration;
pub mod catalogue;
pub mod check;
pub mod checks;
pub mod cli;
pub mod context;
pub mod emulator;
pub mod event;
pub mod expect;
pub mod inherited;
pub mod interrupt;
pub mod probe;
pub mod programs;
pub mod report;
pub mod runner;
pub mod self_test;
pub mod signal;
pub mod subject;
pub mod suite;
pub mod sys;
pub mod wait;
mod wasi_abi;
pub mod wasi_engine;
pub mod wasi_host;
pub mod wasi_world;
pub mod workload;
