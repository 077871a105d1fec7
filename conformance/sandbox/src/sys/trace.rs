//! ptrace(2), for the system calls of a program.

use std::ffi::{c_int, c_long};
use std::io;
use std::ptr;

use nix::libc;

use super::{ExitStatus, check};

/// A system call that a traced process is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The way into the kernel: `AUDIT_ARCH_…` (linux/audit.h).
    pub abi: u32,
    /// Its number there.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Why a traced process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStop {
    /// At the entry of this system call.
    SyscallEntry(Call),
    /// At the exit of one.
    SyscallExit,
    /// Before this signal is delivered.
    Signal(i32),
    /// It has made a thread, which is traced too.
    Thread(i32),
    /// It has executed a program.
    Exec,
    /// Another ptrace event, or a group stop.
    Other,
}

/// Also events of threads and of exec: options for [`trace_seize`].
pub(crate) const THREADS_AND_EXEC: c_int = libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEEXEC;

/// Seizes a child for system-call tracing by the calling thread; it dies with the tracer.
pub(crate) fn trace_seize(pid: i32, more: c_int) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL | more;
    // SAFETY: PTRACE_SEIZE takes no address and options by value.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_SEIZE,
            pid,
            0,
            c_long::from(options),
        )
    };
    check(result).map(drop)
}

/// Stops a seized process, so that tracing begins.
pub(crate) fn trace_interrupt(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes neither address nor data.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_INTERRUPT, pid, 0, 0) };
    check(result).map(drop)
}

/// Lets a stopped process go on to its next system call, delivering `signal` (0: none).
pub(crate) fn trace_continue(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a signal number as data.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_SYSCALL,
            pid,
            0,
            c_long::from(signal),
        )
    };
    check(result).map(drop)
}

/// The next stop of a traced child, if there is one; `Err(status)` when it ended.
pub(crate) fn trace_wait(pid: i32) -> io::Result<Option<Result<TraceStop, ExitStatus>>> {
    let mut status: c_int = 0;
    // SAFETY: wait4(2) stores one int.
    let result = unsafe {
        libc::syscall(
            libc::SYS_wait4,
            pid,
            ptr::from_mut(&mut status),
            libc::__WALL | libc::WNOHANG,
            ptr::null::<libc::rusage>(),
        )
    };
    if check(result)? == 0 {
        return Ok(None);
    }
    if libc::WIFEXITED(status) {
        return Ok(Some(Err(ExitStatus::Exited(libc::WEXITSTATUS(status)))));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Some(Err(ExitStatus::Signaled(libc::WTERMSIG(status)))));
    }
    match trace_stop(pid, status >> 8) {
        // Killed while it was stopped, as by the end of another thread: its end is the next.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        stop => stop.map(|stop| Some(Ok(stop))),
    }
}

/// The stop behind the code that the kernel gives for it: a signal, and an event above it.
pub(super) fn trace_stop(pid: i32, code: c_int) -> io::Result<TraceStop> {
    Ok(match (code & 0xff, code >> 8) {
        (_, libc::PTRACE_EVENT_CLONE) => TraceStop::Thread(trace_message(pid)?),
        (_, libc::PTRACE_EVENT_EXEC) => TraceStop::Exec,
        (signal, 0) if signal == libc::SIGTRAP | 0x80 => trace_syscall(pid)?,
        (signal, 0) => TraceStop::Signal(signal),
        _ => TraceStop::Other,
    })
}

/// What the kernel says beside an event: of a clone, the new thread's id.
fn trace_message(pid: i32) -> io::Result<i32> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: PTRACE_GETEVENTMSG stores one unsigned long.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_GETEVENTMSG,
            pid,
            0,
            ptr::from_mut(&mut message),
        )
    };
    check(result)?;
    i32::try_from(message).map_err(io::Error::other)
}

/// `struct ptrace_syscall_info` of linux/ptrace.h as it is at the entry of a call. Not every C library
/// has it.
#[repr(C)]
#[derive(Default)]
struct SyscallInfo {
    op: u8,
    _reserved: u8,
    _flags: u16,
    architecture: u32,
    /// Of the instruction, and of the stack.
    _pointers: [u64; 2],
    number: u64,
    arguments: [u64; 6],
}

/// `PTRACE_GET_SYSCALL_INFO` and `PTRACE_SYSCALL_INFO_ENTRY` of linux/ptrace.h.
const GET_SYSCALL_INFO: c_int = 0x420e;
const SYSCALL_INFO_ENTRY: u8 = 1;

fn trace_syscall(pid: i32) -> io::Result<TraceStop> {
    let mut info = SyscallInfo::default();
    // SAFETY: PTRACE_GET_SYSCALL_INFO stores at most the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            GET_SYSCALL_INFO,
            pid,
            size_of::<SyscallInfo>(),
            ptr::from_mut(&mut info),
        )
    };
    check(result)?;
    if info.op == SYSCALL_INFO_ENTRY {
        return Ok(TraceStop::SyscallEntry(Call {
            abi: info.architecture,
            number: info.number,
            arguments: info.arguments,
        }));
    }
    Ok(TraceStop::SyscallExit)
}
