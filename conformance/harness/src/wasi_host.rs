//! The suite's own WASI host: runs a guest of preview 1 as PID 1 of a sandbox, or as one
//! workload of a pod. The suite executes itself as this host, so no second copy of wasmi is built.
//!
//! One thread. Every signal is blocked before anything else; TERM and INT end the guest,
//! whether it waits, computes or serves, and whatever dies below the host is reaped at
//! once. A guest has a clock, its standard output, at most one listening socket and what
//! that accepts, and nothing else of this machine: before the module is so much as parsed,
//! the host gives up every system call that it will not need.
//!
//! **Exit status**: 0 where the guest returned, or TERM or INT ended it; n for
//! `proc_exit(n)` up to 125 (beyond, the numbers are reserved: a trap); 134 for a trap,
//! as the `wasmtime` command says it; 120 where the guest could not be started.

use std::ffi::OsString;

mod confine;
mod guest;
mod init;
mod order;

pub use order::{Fault, Order};

/// The first argument of the suite, its name, where it is to be the host.
pub const NAME: &str = "pause-conformance-wasi-host";

/// Exit status for a trap.
pub const TRAPPED: i32 = 134;
/// Exit status where the guest could not be started.
pub const NOT_STARTED: i32 = 120;

/// The guest of mixed pods; see `wasi_host/server.wat`.
pub const SERVER: &[u8] = include_bytes!("wasi_host/server.wasm");
/// What it says on standard output once it can be reached.
pub const LISTENING: &str = "listening";
/// What it answers to each connection.
pub const GREETING: &[u8] = b"wasi guest\n";

/// The interpreter and its version, for reports.
pub fn describe() -> String {
    format!("wasmi {}, the suite's own host", env!("WASMI_VERSION"))
}

/// Becomes the host, and ends as it, where this program was executed for that. A program
/// whose sandboxes are to have WASI workloads calls it before anything else.
pub fn run_if_asked() {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == NAME) {
        std::process::exit(run(words));
    }
    pause_sandbox::workload::allow_itself();
}

/// The status to end with.
fn run(words: impl Iterator<Item = OsString>) -> i32 {
    let run = || -> Result<i32, String> {
        let order = Order::parse(words)?;
        let signals =
            init::Signals::block(order.fault).map_err(|error| format!("signals: {error}"))?;
        if order.helper {
            init::start_helper().map_err(|error| format!("a helper: {error}"))?;
        }
        guest::run(&order, signals)
    };
    run().unwrap_or_else(|why| {
        eprintln!("wasi host: {why}");
        NOT_STARTED
    })
}

#[cfg(test)]
mod tests;
