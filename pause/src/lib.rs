//! What a program without a C runtime stands on: entry and system call, for
//! every architecture a pause image is published for, and the few calls that
//! a pause makes.
#![no_std]

#[cfg(target_os = "linux")]
pub mod arch;
#[cfg(target_os = "linux")]
pub mod sys;
