//! The programs that the suite carries, built by its build script.

/// The probe: enters sandboxes, provokes, and looks.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// The reference pause, by which the host's speed is measured.
pub const REFERENCE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// The program that every fixture is made from.
pub const FIXTURE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fixture"));
