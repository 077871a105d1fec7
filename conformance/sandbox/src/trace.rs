//! ptrace(2): a process under the eyes of the thread that follows it.

use std::io;

use crate::sys;

pub use crate::sys::{Call, TraceStop};

use crate::process::ExitStatus;

/// A process that the thread which made this follows from system call to system call. It dies
/// with that thread.
#[derive(Debug)]
pub struct Tracee {
    pid: i32,
}

impl Tracee {
    /// Seizes a child of the calling thread, and stops it.
    ///
    /// # Errors
    /// As ptrace(2): EPERM where it may not be traced.
    pub fn seize(pid: i32) -> io::Result<Self> {
        sys::trace_seize(pid, 0)?;
        sys::trace_interrupt(pid)?;
        Ok(Self { pid })
    }

    /// Its next stop, if it has stopped; `Err` with how it ended.
    ///
    /// # Errors
    /// As wait4(2) and ptrace(2).
    pub fn next(&self) -> io::Result<Option<Result<TraceStop, ExitStatus>>> {
        sys::trace_wait(self.pid)
    }

    /// Lets it go on from a stop to its next system call, with a signal delivered (0: none).
    ///
    /// # Errors
    /// As ptrace(2): ESRCH where it is not stopped.
    pub fn go_on(&self, signal: i32) -> io::Result<()> {
        sys::trace_continue(self.pid, signal)
    }
}
