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

    /// Lets it go on from a stop to its next system call, with a signal delivered (0: none). Where
    /// it was killed while it was stopped, nothing is done: its end is what comes next.
    ///
    /// # Errors
    /// As ptrace(2).
    pub fn go_on(&self, signal: i32) -> io::Result<()> {
        match sys::trace_continue(self.pid, signal) {
            // Of a process that is stopped, the kernel says this where it is being killed, which
            // any of its threads can do.
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn await_next(tracee: &Tracee) -> Result<TraceStop, ExitStatus> {
        loop {
            match tracee.next().expect("it can be followed") {
                Some(next) => return next,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn one_that_is_killed_while_it_is_stopped_shows_its_end() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts");
        let tracee = Tracee::seize(child.id() as i32).expect("it can be traced");
        assert!(await_next(&tracee).is_ok(), "it stops");
        child.kill().expect("it is a child");
        tracee.go_on(0).expect("that it is gone is no error");
        assert_eq!(await_next(&tracee), Err(ExitStatus::Signaled(9)));
        // It has been reaped by that.
        assert!(child.wait().is_err());
    }
}
