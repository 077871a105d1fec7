//! Processes of this host, each by its pidfd: the only handle that pid reuse cannot fool.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::sys::{self, InChild, NewNamespaces, StringVector};

pub use crate::sys::{ExitStatus, inherited, proc, send_signal, wait};

/// How long an exec may take.
const EXEC: Duration = Duration::from_secs(10);

/// Starts a child that sleeps until it is killed, and is not waited for.
///
/// # Errors
/// When the kernel refuses.
pub fn leave_sleeper() -> io::Result<()> {
    // For as long as this process lives.
    sys::spawn(NewNamespaces::empty(), Sleeper).map(std::mem::forget)
}

struct Sleeper;

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes one system call, again and again.
unsafe impl InChild for Sleeper {
    fn run(self) -> i32 {
        loop {
            let _ = rustix::event::poll(&mut [], None);
        }
    }
}

/// Executes a program, given by descriptor, in namespaces of its own, and ends it: the least
/// that a sandbox can cost. How long that took, from the clone to the end of the exec.
///
/// # Errors
/// When the kernel refuses, or the program ends at once.
pub fn start_bare(program: &OwnedFd) -> io::Result<Duration> {
    let namespaces = NewNamespaces::all() - NewNamespaces::TIME;
    let argv = StringVector::new(["/pause"])?;
    let envp = StringVector::new(Vec::<String>::new())?;
    // Exec closes the other end.
    let (told, teller) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let child = Bare {
        program,
        argv: &argv,
        envp: &envp,
    };
    let began = std::time::Instant::now();
    let (child, ()) = sys::spawn_sibling(namespaces, || Ok(()), child, |_| ())?;
    drop(teller);
    let executed = crate::wait::readable(told.as_fd(), EXEC)?;
    let took = began.elapsed();
    let running = sys::try_wait(child.pidfd.as_fd())?.is_none();
    if executed && running {
        Ok(took)
    } else {
        Err(io::Error::other("the program ended at once"))
    }
}

struct Bare<'a> {
    program: &'a OwnedFd,
    argv: &'a StringVector,
    envp: &'a StringVector,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes one system call with what was prepared before the clone.
unsafe impl InChild for Bare<'_> {
    fn run(self) -> i32 {
        sys::exec(Some(self.program.as_fd()), c"", self.argv, self.envp);
        125
    }
}
