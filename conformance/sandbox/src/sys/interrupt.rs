//! The handler of the signals that end the suite, and the timer behind it. What it means is
//! in [`crate::interrupt`].

use std::ffi::c_int;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use super::{check, disposition, exit};

/// What the handler knows.
#[derive(Debug)]
pub(crate) struct Interrupt {
    /// The user has asked for the end.
    pub(crate) asked: Arc<AtomicBool>,
    /// The first signal only asks.
    pub(crate) in_order: AtomicBool,
    wake: OwnedFd,
    patience: libc::itimerval,
}

impl Interrupt {
    /// Readable once the user has asked.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();

/// What is known, once [`interrupt_by`] was called.
pub(crate) fn interrupt() -> Option<&'static Interrupt> {
    INTERRUPT.get()
}

/// Has the handler answer these signals. Asked to end in order, the process has `patience`.
pub(crate) fn interrupt_by(signals: &[i32], patience: Duration) -> io::Result<()> {
    let time = libc::timeval {
        tv_sec: patience.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(patience.subsec_micros()),
    };
    // SAFETY: its fields are numbers, and 0 is one.
    let mut timer: libc::itimerval = unsafe { mem::zeroed() };
    timer.it_value = time;
    let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let known = Interrupt {
        asked: Arc::default(),
        in_order: AtomicBool::new(false),
        wake,
        patience: timer,
    };
    if INTERRUPT.set(known).is_err() {
        return Ok(());
    }
    for signal in signals.iter().chain(&[libc::SIGALRM]) {
        handle(*signal)?;
    }
    Ok(())
}

/// Whether this process ignores a signal.
pub(crate) fn is_ignored(signal: i32) -> bool {
    disposition(signal) == libc::SIG_IGN
}

fn handle(signal: c_int) -> io::Result<()> {
    // SAFETY: all zeroes is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = answer as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: sigaction(2) reads one action, whose handler does nothing but what
    // signal-safety(7) allows.
    let result = unsafe { libc::sigaction(signal, ptr::from_ref(&action), ptr::null_mut()) };
    check(result.into()).map(drop)
}

extern "C" fn answer(signal: c_int) {
    let errno = Errno::last_raw();
    let Some(known) = INTERRUPT.get() else { return };
    if signal == libc::SIGALRM
        || !known.in_order.load(Ordering::SeqCst)
        || known.asked.swap(true, Ordering::SeqCst)
    {
        leave();
    }
    let _ = rustix::io::write(&known.wake, &1_u64.to_ne_bytes());
    // SAFETY: setitimer(2) reads one itimerval; it is a system call and no more.
    unsafe {
        libc::syscall(
            libc::SYS_setitimer,
            libc::ITIMER_REAL,
            ptr::from_ref(&known.patience),
            ptr::null_mut::<libc::itimerval>(),
        )
    };
    Errno::set_raw(errno);
}

/// Ends the process; the sandbox init ends the processes that it leaves.
fn leave() -> ! {
    let stderr = rustix::stdio::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec::default();
    // It may not be read.
    if matches!(rustix::event::poll(&mut polled, Some(&at_once)), Ok(1)) {
        let _ = rustix::io::write(stderr, b"error: interrupted: not judged to the end\n");
    }
    exit(2)
}
