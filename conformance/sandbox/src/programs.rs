//! The programs that are carried, built by the build script.

/// The probe: enters sandboxes, provokes, and looks.
pub const PROBE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/probe"));

/// The reference pause: a sandbox is tried with it, and the host's speed is measured by it.
pub const REFERENCE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));
