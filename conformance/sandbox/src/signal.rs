//! Signals by number and name, real-time ones included.

use nix::sys::signal::Signal;

/// SIGHUP.
pub const HUP: i32 = Signal::SIGHUP as i32;
/// SIGINT.
pub const INT: i32 = Signal::SIGINT as i32;
/// SIGBUS.
pub const BUS: i32 = Signal::SIGBUS as i32;
/// SIGSEGV.
pub const SEGV: i32 = Signal::SIGSEGV as i32;
/// SIGTERM.
pub const TERM: i32 = Signal::SIGTERM as i32;
/// SIGKILL.
pub const KILL: i32 = Signal::SIGKILL as i32;
/// SIGCHLD.
pub const CHLD: i32 = Signal::SIGCHLD as i32;
/// SIGSTOP.
pub const STOP: i32 = Signal::SIGSTOP as i32;
/// SIGCONT.
pub const CONT: i32 = Signal::SIGCONT as i32;
/// SIGXFSZ.
pub const XFSZ: i32 = Signal::SIGXFSZ as i32;
/// First real-time signal of the kernel (signal(7); the C library keeps two for itself).
pub const RT_FIRST: i32 = 32;
/// Last real-time signal.
pub const RT_LAST: i32 = 64;

/// `SIGTERM`, or `SIGRT32` for a real-time signal.
pub fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("SIGRT{signal}"),
    }
}

/// The bit of a signal in a 64-bit set.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
