//! One function a target: takes untrusted bytes, and panics where the suite breaks a promise about
//! such bytes.
//!
//! Every target goes in by a door that users of the suite have too, so nothing is opened
//! for the fuzzer.

pub mod archive;
pub mod documents;
pub mod elf;
pub mod expect;
pub mod fold;
mod held;
pub mod layers;
pub mod reference;
mod refold;
pub mod report;
pub mod wasm;

/// A target's function.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its program and its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", archive::run),
    ("documents", documents::run),
    ("elf", elf::run),
    ("expect", expect::run),
    ("fold", fold::run),
    ("layers", layers::run),
    ("reference", reference::run),
    ("report", report::run),
    ("wasm", wasm::run),
];
