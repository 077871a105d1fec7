//! How the user ends the suite: SIGINT, SIGTERM and SIGHUP.
//!
//! At first each of them ends the process at once, with status 2 and one line: nothing is
//! there yet that needs more. In order, as while checks run, the first one asks: code that waits
//! sees it here, and partial reports are written. What then takes longer than
//! 800 ms is cut off, and a second signal ends the process at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::signal;
use crate::sys;

/// From the first signal to the end in order.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long a reader is waited for once the user has asked.
const READER: Duration = Duration::from_millis(100);

/// Answers the signals from now on. A SIGHUP that the parent ignores stays ignored: nohup(1).
///
/// # Errors
/// When the kernel refuses.
pub fn watch() -> io::Result<()> {
    let hup = (!sys::is_ignored(signal::HUP)).then_some(signal::HUP);
    let signals: Vec<_> = [signal::INT, signal::TERM].into_iter().chain(hup).collect();
    sys::interrupt_by(&signals, PATIENCE)
}

/// As long as this is there, the first signal only asks.
#[must_use = "dropping it has a signal end the process at once"]
#[derive(Debug)]
pub struct InOrder(());

impl InOrder {
    /// From now on.
    pub fn begin() -> Self {
        set_in_order(true);
        Self(())
    }
}

impl Drop for InOrder {
    fn drop(&mut self) {
        set_in_order(false);
    }
}

fn set_in_order(value: bool) {
    if let Some(known) = sys::interrupt() {
        known.in_order.store(value, Ordering::SeqCst);
    }
}

/// What becomes true when the user asks.
pub fn flag() -> Arc<AtomicBool> {
    sys::interrupt().map_or_else(Arc::default, |known| Arc::clone(&known.asked))
}

/// Whether the user has asked.
pub fn is_asked() -> bool {
    sys::interrupt().is_some_and(|known| known.asked.load(Ordering::SeqCst))
}

/// Waits until a descriptor takes more, however long its reader takes, unless the user asks.
///
/// # Errors
/// `TimedOut` where the user has asked and the output is not read.
pub fn await_writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        let asked = is_asked();
        let patience = asked.then(|| Timespec::try_from(READER).unwrap_or_default());
        let mut polled = vec![PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        if let (Some(known), false) = (sys::interrupt(), asked) {
            polled.push(PollFd::from_borrowed_fd(known.wake(), PollFlags::IN));
        }
        match rustix::event::poll(&mut polled, patience.as_ref()) {
            Ok(0) => return Err(unread()),
            Ok(_) if polled.first().is_some_and(|fd| !fd.revents().is_empty()) => return Ok(()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a descriptor takes more now.
pub fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    matches!(
        rustix::event::poll(&mut polled, Some(&Timespec::default())),
        Ok(1)
    )
}

/// Waits for this long, unless the user asks.
///
/// # Errors
/// `TimedOut` where the user has asked.
pub fn pause(time: Duration) -> io::Result<()> {
    if let Some(known) = sys::interrupt() {
        crate::wait::readable(known.wake(), time)?;
    } else {
        crate::wait::any_readable(&[], time)?;
    }
    if is_asked() { Err(unread()) } else { Ok(()) }
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "interrupted before it was read")
}
