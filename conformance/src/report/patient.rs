//! A writer to a reader that may be slow, or not read at all: it waits, but not after the user has
//! asked to stop, so that one report that is not read does not delay the others.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::interrupt;

/// A pipe that has room takes as much without waiting (pipe(7), PIPE_BUF).
const AT_ONCE: usize = 4096;
/// A terminal that has room takes as much, also where a line end becomes two characters: the
/// kernel gives out room by 256 (drivers/tty/tty_buffer.c).
const AT_ONCE_TERMINAL: usize = 64;

/// The writer.
#[derive(Debug)]
pub struct Patient {
    to: To,
    at_once: usize,
}

#[derive(Debug)]
enum To {
    /// One of the process's own, which are always open.
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

    /// Writes what is taken without waiting, and lets the rest be.
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
                // As where another writer has taken the room.
                Err(Errno::INTR | Errno::AGAIN) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
