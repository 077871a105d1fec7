//! A program of the host's that runs beside a pause process, as a container of its pod:
//! its process, its output, its end.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procfs::process::Process;

use crate::sys::{self, Child, ExitStatus};

/// How much of its output is kept.
const KEPT: usize = 4096;

/// A program of this machine's and a file for it: what is executed, and how.
#[derive(Debug)]
pub struct Command {
    /// What is executed.
    pub executable: Executable,
    /// Arguments, the name first.
    pub argv: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// The file that it works on, open at its number across exec.
    pub module: OwnedFd,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executable {
    /// The program that makes the sandboxes, which [`allow_itself`] allows.
    Itself,
    /// A file of the host's.
    File(PathBuf),
}

static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Says that this very program knows what to do where it is executed in a sandbox.
pub fn allow_itself() {
    ALLOWED.store(true, Ordering::Relaxed);
}

pub(crate) fn may_execute_itself() -> bool {
    ALLOWED.load(Ordering::Relaxed)
}

/// A running workload. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    output: OwnedFd,
    said: Vec<u8>,
    status: Option<ExitStatus>,
}

impl Workload {
    /// Takes over a process that was just cloned.
    pub(crate) fn new(child: Child, output: OwnedFd) -> Self {
        Self {
            child,
            output,
            said: Vec::new(),
            status: None,
        }
    }

    /// Process id as the suite sees it.
    pub fn host_pid(&self) -> i32 {
        self.child.pid
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Sends it a signal from outside.
    ///
    /// # Errors
    /// When it has been reaped.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        sys::send_signal(self.pidfd(), number)
    }

    /// Waits until it has written this line; `false` when it ended before, or the time is up.
    ///
    /// # Errors
    /// As poll(2).
    pub fn await_line(&mut self, line: &str, timeout: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + timeout;
        let mut buffer = [0; 512];
        loop {
            if self.said().lines().any(|said| said == line) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !crate::wait::readable(self.output.as_fd(), left)? {
                return Ok(false);
            }
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.output, &mut buffer))? {
                0 => return Ok(false),
                length => {
                    let room = KEPT.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&buffer[..length.min(room)]);
                }
            }
        }
    }

    /// What it has written, as far as that was waited for.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// The same, with what is there to be read by now.
    pub fn said_in_all(&mut self) -> String {
        // No line holds a NUL byte here.
        let _ = self.await_line("\0", Duration::ZERO);
        self.said()
    }

    /// Waits for its end; `None` when the time is up.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn await_end(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() && crate::wait::readable(self.pidfd(), timeout)? {
            self.status = sys::try_wait(self.pidfd())?;
        }
        Ok(self.status)
    }

    /// The namespaces it is in, by type, as inode numbers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn namespaces(&self) -> io::Result<BTreeMap<String, u64>> {
        let all = Process::new(self.host_pid()).and_then(|process| process.namespaces());
        let named = all.map_err(io::Error::other)?.0.into_iter();
        Ok(named
            .map(|(name, namespace)| (name.to_string_lossy().into_owned(), namespace.identifier))
            .collect())
    }

    /// Its process id in each pid namespace it is in, the innermost last.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        let status = Process::new(self.host_pid()).and_then(|process| process.status());
        Ok(status.map_err(io::Error::other)?.nspid.unwrap_or_default())
    }
}
