//! The programs that the suite carries.

pub use pause_sandbox::programs::{PROBE, REFERENCE};

/// The program that every fixture is made from.
pub const FIXTURE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fixture"));
