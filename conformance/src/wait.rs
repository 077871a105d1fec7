//! Waiting: on descriptors with deadlines, never for a fixed time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until a descriptor is readable or hung up; `false` when the time is up.
///
/// # Errors
/// As poll(2), interruption aside.
pub fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    any_readable(&[fd], timeout).map(|ready| ready.is_some())
}

/// Waits until one of the descriptors is readable or hung up; its index, or `None` when the time is up.
///
/// # Errors
/// As poll(2), interruption aside.
pub fn any_readable(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Option<usize>> {
    let deadline = Instant::now() + timeout;
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timespec = Timespec::try_from(left).ok();
        match rustix::event::poll(&mut polled, timespec.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) if Instant::now() >= deadline => return Ok(None),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
            Err(error) => return Err(error.into()),
        }
    }
}
