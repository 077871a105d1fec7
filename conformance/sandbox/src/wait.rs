//! Waiting: on descriptors with deadlines, never for a fixed time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// A thread that sleeps this much longer than it asked for was stopped meanwhile (SIGSTOP, a
/// freezer, a suspended machine), and so perhaps was the process that it waits for: that time does
/// not count.
const STOPPED: Duration = Duration::from_millis(500);

/// Waits until a descriptor is readable or hung up; `false` when the time is up.
///
/// # Errors
/// As poll(2), interruption aside.
pub fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    any_readable(&[fd], timeout).map(|ready| ready.is_some())
}

/// Waits until one of the descriptors is readable or hung up; its index, or `None` when the time is
/// up.
///
/// # Errors
/// As poll(2), interruption aside.
pub fn any_readable(fds: &[BorrowedFd<'_>], timeout: Duration) -> io::Result<Option<usize>> {
    let mut deadline = Instant::now() + timeout;
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    loop {
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        let timespec = Timespec::try_from(left).ok();
        let ready = rustix::event::poll(&mut polled, timespec.as_ref());
        let now = Instant::now();
        match ready {
            Ok(0) if now.duration_since(began) > left + STOPPED => deadline = now + left,
            // Also for want of memory for the moment, as POSIX has it of EAGAIN.
            Ok(0) | Err(Errno::AGAIN | Errno::NOMEM) if now >= deadline => return Ok(None),
            Ok(0) | Err(Errno::INTR | Errno::AGAIN | Errno::NOMEM) => {}
            Ok(_) => return Ok(polled.iter().position(|fd| !fd.revents().is_empty())),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the calling thread is the only one, for a second at most. Threads of a library
/// that has been dropped take a moment to be gone (pthread_join(3) returns before the kernel
/// has taken the thread out), and unshare(2) counts them.
pub(crate) fn for_single_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    for_one(threads, Duration::from_secs(1));
}

/// Waits until there is one, or the time is up.
fn for_one(count: impl Fn() -> usize, limit: Duration) {
    let began = Instant::now();
    while count() > 1 && began.elapsed() < limit {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn threads_that_end_are_awaited_and_others_not_for_ever() {
        let left = Cell::new(3);
        let fewer = || left.replace(left.get() - 1);
        for_one(fewer, Duration::from_mins(1));
        assert_eq!(left.get(), 0, "looked at three times");
        let (began, limit) = (Instant::now(), Duration::from_millis(20));
        for_one(|| 2, limit);
        assert!(began.elapsed() >= limit);
    }
}
