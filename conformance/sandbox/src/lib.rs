//! Pod sandboxes without root and without a daemon, and a probe that acts inside them.

pub mod backend;
pub mod emulator;
mod features;
pub mod inherited;
pub mod interrupt;
pub mod probe;
pub mod process;
pub mod programs;
pub mod shortage;
pub mod signal;
pub mod supervise;
mod sys;
pub mod trace;
pub mod wait;
pub mod workload;

pub use features::Features;
