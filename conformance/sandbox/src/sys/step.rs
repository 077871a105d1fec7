//! ptrace(2), for all threads of a process: their stops, one by one.

use std::ffi::c_int;
use std::{io, mem};

use nix::libc;

use super::check;
use super::trace::{TraceStop, trace_stop};

/// What a look at a traced thread has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It runs, or sleeps in the kernel.
    Nothing,
    /// It has ended.
    Gone,
    /// It has stopped.
    At(TraceStop),
}

/// The next stop of a traced thread. The end of the first thread is the end of the process,
/// which is left to whom it is a child of; that of another thread is taken here.
pub(crate) fn step_wait(tid: i32, is_first: bool) -> io::Result<Waited> {
    let ends = if is_first { 0 } else { libc::WEXITED };
    let flags = libc::WSTOPPED | libc::WNOHANG | libc::__WALL | ends;
    // SAFETY: it is of integers alone, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let id = libc::id_t::from(tid.unsigned_abs());
    // SAFETY: waitid(2) stores one siginfo_t.
    let result = unsafe { libc::waitid(libc::P_PID, id, &raw mut info, flags) };
    match check(result.into()) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Waited::Gone),
        other => other?,
    };
    // SAFETY: waitid(2) has stored the members of a child's state, or none and zeroes.
    let pid = unsafe { info.si_pid() };
    // SAFETY: likewise.
    let status: c_int = unsafe { info.si_status() };
    if pid == 0 {
        return Ok(Waited::Nothing);
    }
    if info.si_code != libc::CLD_TRAPPED {
        return Ok(Waited::Gone);
    }
    match trace_stop(tid, status) {
        Ok(stop) => Ok(Waited::At(stop)),
        // It was killed as it stopped.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Waited::Nothing),
        Err(error) => Err(error),
    }
}

/// Sends a signal to one thread of a process: tgkill(2).
pub(crate) fn signal_thread(pid: i32, tid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: it takes numbers. A thread that its tracer has not waited for keeps its own.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }).map(drop)
}

/// Sends a signal to one thread of a process as a timer does: SI_TIMER, which the kernel takes
/// from another process, and the value that the timer was made with.
pub(crate) fn tell_of_timer(pid: i32, tid: i32, signal: i32, value: u64) -> io::Result<()> {
    /// Where the value stands in siginfo_t(3type), behind three numbers, a gap, and two numbers.
    const VALUE: usize = 24;
    let mut info = [0_u64; size_of::<libc::siginfo_t>() / 8];
    let numbers = [signal, 0, libc::SI_TIMER].map(i32::to_ne_bytes).concat();
    let mut words = numbers.chunks(8);
    for word in &mut info[..2] {
        let mut bytes = [0; 8];
        let part = words.next().unwrap_or_default();
        bytes[..part.len()].copy_from_slice(part);
        *word = u64::from_ne_bytes(bytes);
    }
    info[VALUE / 8] = value;
    // SAFETY: rt_tgsigqueueinfo(2) reads one siginfo_t, as long as this is.
    check(unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info.as_ptr()) })
        .map(drop)
}
