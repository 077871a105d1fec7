//! The programs that the suite carries.

pub use pause_sandbox::programs::{PROBE, REFERENCE};

/// The program that every fixture is made from.
pub const FIXTURE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fixture"));

/// Those for other architectures, `linux-ARCH/pause` and `linux-ARCH/fixture`, sorted by name.
/// Empty but in builds that are passed on alone: `PAUSE_CONFORMANCE_BUILD_IN` named their folder.
pub const FOREIGN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/foreign.rs"));

/// The program `name` (`linux-ARCH/pause`, `linux-ARCH/fixture`), if it is built in.
pub fn foreign(name: &str) -> Option<&'static [u8]> {
    let found = FOREIGN.iter().find(|(known, _)| *known == name);
    found.map(|(_, bytes)| *bytes)
}
