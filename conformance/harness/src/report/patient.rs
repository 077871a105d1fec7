//! A writer for a reader that may be slow or may not read at all. It waits until the user asks the
//! suite to stop, so that then a report that is not read does not delay the others.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::interrupt;

/// A writable pipe takes this many bytes without waiting (pipe(7), PIPE_BUF).
const AT_ONCE: usize = 4096;
/// A writable terminal takes this many bytes without waiting, also if line ends become two
/// characters: the kernel's buffers have 256 (drivers/tty/tty_buffer.c).
const AT_ONCE_TERMINAL: usize = 64;

/// The writer.
#[derive(Debug)]
pub struct Patient {
    to: To,
    at_once: usize,
}

#[derive(Debug)]
enum To {
    /// A standard stream of this process, which is always open.
    Standard(BorrowedFd<'static>),
    Opened(OwnedFd),
}

impl Patient {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::of(To::Standard(rustix::stdio::stdout()))
    }

    /// Standard error.
    pub fn stderr() -> Self {
        Self::of(To::Standard(rustix::stdio::stderr()))
    }

    fn of(to: To) -> Self {
        let mut new = Self {
            to,
            at_once: AT_ONCE,
        };
        if rustix::termios::isatty(&new) {
            new.at_once = AT_ONCE_TERMINAL;
        }
        new
    }

    /// Writes as much as is taken without waiting, and drops the rest.
    pub fn offer(&self, bytes: &[u8]) {
        for part in bytes.chunks(self.at_once) {
            let takes = interrupt::is_writable(self.as_fd());
            if !takes || rustix::io::write(self.as_fd(), part) != Ok(part.len()) {
                return;
            }
        }
    }
}

impl From<OwnedFd> for Patient {
    fn from(fd: OwnedFd) -> Self {
        Self::of(To::Opened(fd))
    }
}

impl AsFd for Patient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.to {
            To::Standard(fd) => *fd,
            To::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.get(..self.at_once).unwrap_or(bytes);
        loop {
            interrupt::await_writable(self.as_fd())?;
            match rustix::io::write(self.as_fd(), part) {
                // Another writer may have filled the buffer meanwhile.
                Err(Errno::INTR | Errno::AGAIN) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
