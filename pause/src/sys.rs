//! The system calls that the reference pause makes, as safe functions.
//!
//! Nothing here keeps a descriptor, allocates, or remembers anything.
#![expect(unsafe_code, reason = "a system call takes addresses and trusts them")]

use crate::arch;
use linux_raw_sys::errno;
use linux_raw_sys::general::{
    __NR_exit_group, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigtimedwait, __NR_wait4,
    __NR_write, __WALL, SIG_BLOCK, STDOUT_FILENO, WNOHANG,
};

/// A set of signals as the kernel has it: bit n - 1 stands for signal n.
#[derive(Clone, Copy)]
pub struct Signals(u64);

impl Signals {
    /// The set of these signal numbers (1 to 64).
    pub const fn of(signals: &[u32]) -> Self {
        let mut set = 0;
        let mut i = 0;
        while i < signals.len() {
            set |= 1 << (signals[i] - 1);
            i += 1;
        }
        Self(set)
    }

    /// What the kernel wants to hear as the size of a set.
    const SIZE: usize = size_of::<u64>();
}

/// The arguments of the process, its own name first.
pub struct Args(*const *const u8);

impl Args {
    /// The arguments above the initial stack pointer.
    ///
    /// # Safety
    /// `sp` is the stack pointer that [`entry!`](crate::entry) hands over.
    pub unsafe fn new(sp: *const usize) -> Self {
        // SAFETY: execve(2) puts the arguments right above their count.
        Self(unsafe { sp.add(1) }.cast())
    }
}

impl Iterator for Args {
    type Item = Arg;

    #[inline]
    fn next(&mut self) -> Option<Arg> {
        // SAFETY: execve(2) ends the arguments with a null pointer, behind
        // which this never moves.
        let arg = unsafe { *self.0 };
        if arg.is_null() {
            return None;
        }
        // SAFETY: `arg` was not the last.
        self.0 = unsafe { self.0.add(1) };
        Some(Arg(arg))
    }
}

/// One argument of the process.
pub struct Arg(*const u8);

impl Arg {
    /// Is it a dash and this lower-case letter, in either case?
    #[inline]
    pub fn is_flag(&self, letter: u8) -> bool {
        self.byte(0) == b'-' && self.byte(1) | 0x20 == letter && self.byte(2) == 0
    }

    /// The byte at `index`, which no zero byte may precede.
    fn byte(&self, index: usize) -> u8 {
        // SAFETY: the callers above read on only behind bytes that are not
        // the zero with which execve(2) ends an argument.
        let address = unsafe { self.0.add(index) };
        // SAFETY: as before; nothing writes to the arguments.
        unsafe { *address }
    }
}

/// Adds `signals` to those that wait until they are asked for.
///
/// A blocked signal is neither lost nor acted upon, be it ignored, be it one
/// that the kernel keeps from PID 1 (signal(7), `pid_namespaces(7)`).
#[inline]
pub fn block(signals: &Signals) {
    // SAFETY: the kernel reads one set and writes nothing.
    let _ = unsafe {
        arch::syscall4(
            __NR_rt_sigprocmask as usize,
            SIG_BLOCK as usize,
            (&raw const signals.0).addr(),
            0,
            Signals::SIZE,
        )
    };
}

/// Why a sleep ended.
pub enum Wake {
    /// This signal came, and has been taken.
    Signal(u32),
    /// The process was stopped and continued (signal(7), "Interruption of
    /// system calls ... by stop signals").
    Interrupted,
    /// The kernel does not let this process wait.
    Refused,
}

/// Sleeps until one of the blocked `signals` comes, and takes it.
#[inline]
pub fn wait_for(signals: &Signals) -> Wake {
    const INTERRUPTED: isize = -(errno::EINTR.cast_signed() as isize);
    // SAFETY: the kernel reads one set; with no place given for the details
    // of the signal it writes nothing.
    let result = unsafe {
        arch::syscall4(
            __NR_rt_sigtimedwait as usize,
            (&raw const signals.0).addr(),
            0,
            0,
            Signals::SIZE,
        )
    };
    match u32::try_from(result) {
        Ok(signal) => Wake::Signal(signal),
        Err(_) if result == INTERRUPTED => Wake::Interrupted,
        Err(_) => Wake::Refused,
    }
}

/// A `struct sigaction`: on every architecture the handler is first, at most
/// two words and a set follow, and all of those are 0 here.
#[repr(C)]
struct Action {
    /// 1 is `SIG_IGN`.
    handler: usize,
    rest: [usize; 2],
    mask: Signals,
}

/// Ignores `signal`. Ignoring SIGCHLD makes the kernel reap every child that
/// ends from here on, and tell of none that stops (wait(2), "NOTES").
#[inline]
pub fn ignore(signal: u32) {
    static IGNORE: Action = Action {
        handler: 1,
        rest: [0; 2],
        mask: Signals::of(&[]),
    };
    // SAFETY: the kernel reads one `struct sigaction`; it names no function.
    let _ = unsafe {
        arch::syscall4(
            __NR_rt_sigaction as usize,
            signal as usize,
            (&raw const IGNORE).addr(),
            0,
            Signals::SIZE,
        )
    };
}

/// Reaps every child that has ended, of whatever kind (wait(2), `__WALL`).
#[inline]
pub fn reap() {
    const ANY_CHILD: usize = usize::MAX;
    // SAFETY: with no place given for the status the kernel writes nothing.
    while 0 < unsafe {
        arch::syscall4(
            __NR_wait4 as usize,
            ANY_CHILD,
            0,
            (WNOHANG | __WALL) as usize,
            0,
        )
    } {}
}

/// Writes `text` to standard output; whether all of it got there.
#[inline]
pub fn print(text: &str) -> bool {
    // SAFETY: the kernel reads the text.
    let written = unsafe {
        arch::syscall3(
            __NR_write as usize,
            STDOUT_FILENO as usize,
            text.as_ptr().addr(),
            text.len(),
        )
    };
    written.cast_unsigned() == text.len()
}

/// Ends the process, with status 0 if it was a `success` and 1 if not, or by a fault where that is denied.
pub fn exit(success: bool) -> ! {
    // SAFETY: the call takes no address.
    let _ = unsafe { arch::syscall1(__NR_exit_group as usize, usize::from(!success)) };
    arch::trap()
}
