//! Processes of this host, each by its pidfd: the only handle that pid reuse cannot fool.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::sys::{self, InChild, NewNamespaces, StringVector};

pub use crate::sys::{ExitStatus, inherited, proc, send_signal, wait};

/// How long an exec may take.
const EXEC: Duration = Duration::from_secs(10);
/// How long a program may take to answer a question.
const ANSWERS: Duration = Duration::from_secs(30);

/// Runs a program of the host's that prints little and ends, as with `--version`; it gets no
/// standard input, and its standard error is dropped. One that prints more than a pipe holds does
/// not end.
///
/// # Errors
/// When it cannot be started, and [`io::ErrorKind::TimedOut`] where it does not end in time.
pub fn ask(program: &Path, arguments: &[&str]) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_child(&child);
    let ends = pidfd_open(pid, PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(|pidfd| crate::wait::readable(pidfd.as_fd(), ANSWERS));
    if !matches!(ends, Ok(true)) {
        // With what a script has started. None is another's: the child is reaped after it.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
        let _ = ends?;
        return Err(io::ErrorKind::TimedOut.into());
    }
    // What it has left may have its output open, and nobody waits for the end of that.
    let status = child.wait()?;
    let mut stdout = Vec::new();
    if let Some(output) = &child.stdout {
        rustix::io::ioctl_fionbio(output, true)?;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = rustix::io::read(output, &mut buffer) {
            stdout.extend_from_slice(&buffer[..count]);
        }
    }
    Ok(Output {
        status,
        stdout,
        stderr: Vec::new(),
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_though_its_output_stays_open() {
        let began = std::time::Instant::now();
        let script = "sleep 5 & echo one; exit 3";
        let output = ask(Path::new("/bin/sh"), &["-c", script]).expect("it answers");
        assert_eq!(output.stdout, b"one\n");
        assert_eq!(output.status.code(), Some(3));
        assert!(began.elapsed() < Duration::from_secs(5), "nobody waits");
        assert!(ask(Path::new("/nonexistent"), &[]).is_err());
    }
}
