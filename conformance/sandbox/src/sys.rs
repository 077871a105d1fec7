//! The only unsafe code of the suite: system calls that no safe crate gives in the
//! form needed here, most of them for the moment between clone and exec.
//!
//! Nothing here allocates: the suite has threads, so a child of it may use only
//! what was prepared before the clone (signal-safety(7)).

#![expect(
    unsafe_code,
    reason = "the one island; each block names the kernel's rule"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc;
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use seccompiler::BpfProgramRef;

mod clone;
mod interrupt;
#[cfg(any(feature = "cri", feature = "engines"))]
mod reaped;
mod registers;
mod schedule;
mod step;
mod supervise;
mod trace;

pub(crate) use clone::{
    InChild, NewNamespaces, in_helper, in_helper_apart, spawn, spawn_in_place, spawn_sibling,
    spawn_sibling_in_place,
};
pub(crate) use interrupt::{interrupt, interrupt_by, is_ignored};
#[cfg(any(feature = "cri", feature = "engines"))]
pub(crate) use reaped::{await_reaping, exit_of_another};
pub(crate) use registers::{NATIVE_ABI, Registers, skip_call};
pub(crate) use schedule::ask_for_slice;
pub(crate) use step::{Waited, signal_thread, step_wait, tell_of_timer};
pub use supervise::{Supervised, answer, next_call, supervise};
pub use trace::{Call, TraceStop};
pub(crate) use trace::{
    THREADS_AND_EXEC, trace_continue, trace_interrupt, trace_seize, trace_wait,
};

/// How a process ended, in the terms of wait(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Ended by `_exit` with this status.
    Exited(i32),
    /// Ended by this signal.
    Signaled(i32),
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Exited(status) => write!(f, "exited {status}"),
            ExitStatus::Signaled(signal) => {
                write!(f, "killed by {} ({signal})", crate::signal::name(*signal))
            }
        }
    }
}

/// A process that was cloned. Dropping it kills and reaps it, unless that was done.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its id in the caller's pid namespace.
    pub(crate) pid: i32,
    /// Readable when it ends; the only handle that pid reuse cannot fool.
    pub(crate) pidfd: OwnedFd,
}

/// How long a child that was killed may take to end: PID 1 of a namespace waits for all in it.
const REAPING: Duration = Duration::from_secs(5);

impl Drop for Child {
    fn drop(&mut self) {
        let pidfd = self.pidfd.as_fd();
        // Refused where it was reaped already.
        if send_signal(pidfd, libc::SIGKILL).is_ok() {
            let _ = wait(pidfd);
        }
    }
}

impl Child {
    /// Kills and reaps this one, and the children of the caller that are in the process group which
    /// it leads.
    pub(crate) fn end_group(&self) {
        let Some(leader) = Pid::from_raw(self.pid) else {
            return;
        };
        let wait = |of: WaitId<'_>, how: WaitIdOptions| {
            rustix::io::retry_on_intr(|| rustix::process::waitid(of.clone(), how)).is_ok()
        };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Until it is reaped its number is no other's. What is being cloned is not made or killed too:
        // the kernel looks for signals under the lock that the signal takes.
        if wait(WaitId::Pid(leader), look) {
            let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        }
        while wait(WaitId::Pgid(Some(leader)), WaitIdOptions::EXITED) {}
    }
}

/// The process behind a pidfd, in the pid namespace of this /proc (proc_pid_fdinfo(5)).
pub(crate) fn pid_of(proc: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let path = format!("self/fdinfo/{}", pidfd.as_raw_fd());
    let file = rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut info = [0; 1024];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut info[..]))?;
    String::from_utf8_lossy(info.get(..length).unwrap_or_default())
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::other("the kernel names no process for a pidfd"))
}

/// Writes a file below a folder, all at once, as those of /proc want it.
pub(crate) fn write_at(folder: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, path, flags, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// The /proc that the calling process sees.
pub fn proc() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags, Mode::empty())?;
    match rustix::fs::accessat(&proc, c"self", Access::EXISTS, AtFlags::empty()) {
        Err(Errno::NOENT) => Err(io::Error::other("/proc shows no processes")),
        other => Ok(other.map(|()| proc)?),
    }
}

/// Ends the calling process at once, without the exit handlers of the C library.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) takes any status and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// A null-terminated vector of strings for execve(2), made before the clone.
#[derive(Debug)]
pub(crate) struct StringVector {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead into `strings`, which is never changed.
unsafe impl Send for StringVector {}
// SAFETY: likewise; shared access only reads.
unsafe impl Sync for StringVector {}

impl StringVector {
    /// From strings; one that holds a NUL byte is refused.
    pub(crate) fn new<I: IntoIterator<Item = S>, S: Into<Vec<u8>>>(strings: I) -> io::Result<Self> {
        let strings = strings
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Self { strings, pointers })
    }

    /// These, behind others.
    pub(crate) fn preceded_by(&self, words: impl Iterator<Item = Vec<u8>>) -> io::Result<Self> {
        let own = self.strings.iter().map(|word| word.as_bytes().to_vec());
        Self::new(words.chain(own))
    }
}

/// execveat(2): the file `fd` itself where `path` is empty, else `path`. Returns only on error.
pub(crate) fn exec(
    fd: Option<BorrowedFd<'_>>,
    path: &CStr,
    argv: &StringVector,
    envp: &StringVector,
) -> io::Error {
    let (fd, flags) = match fd {
        Some(fd) => (fd.as_raw_fd(), libc::AT_EMPTY_PATH),
        None => (libc::AT_FDCWD, 0),
    };
    // SAFETY: both vectors are null-terminated and live; on success the address space is replaced.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            path.as_ptr(),
            argv.pointers.as_ptr(),
            envp.pointers.as_ptr(),
            flags,
        )
    };
    io::Error::last_os_error()
}

/// The kernel's `struct sigaction`, of which only handler and mask matter here.
#[repr(C)]
struct KernelSigaction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

impl KernelSigaction {
    fn of(handler: usize) -> Self {
        Self {
            handler,
            flags: 0,
            restorer: 0,
            mask: 0,
        }
    }
}

/// In a child that was just cloned: sets every signal's disposition to default, but ignores
/// those in `ignored`, and blocks exactly those in `blocked`. Bit n-1 stands for signal n.
pub(crate) fn reset_signals(blocked: u64, ignored: u64) -> io::Result<()> {
    // The clone has reset the rest.
    let fixed = crate::signal::bit(libc::SIGKILL) | crate::signal::bit(libc::SIGSTOP);
    let mut changed = (ignored ^ inherited_ignored()) & !fixed;
    while changed != 0 {
        let bit = changed.trailing_zeros();
        changed &= changed - 1;
        let action = KernelSigaction::of(usize::from(ignored >> bit & 1 == 1));
        set_action(bit as i32 + 1, &action)?;
    }
    // SAFETY: rt_sigprocmask(2) reads eight bytes; the C library's own mask is not kept here.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&blocked),
            ptr::null::<u64>(),
            size_of::<u64>(),
        )
    };
    check(result).map(drop)
}

/// In a child that shares memory: what is handled takes its default action.
fn forget_handlers() {
    for signal in 1..=64 {
        if ![libc::SIG_DFL, libc::SIG_IGN].contains(&disposition(signal)) {
            let action = KernelSigaction::of(libc::SIG_DFL);
            let _ = set_action(signal, &action);
        }
    }
}

/// The signals that this process ignores, and so do its children (execve(2) keeps that): as
/// first asked, since the suite ignores none of its own later.
fn inherited_ignored() -> u64 {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        (1..=64)
            .filter(|signal| disposition(*signal) == libc::SIG_IGN)
            .map(crate::signal::bit)
            .sum()
    })
}

/// SIG_DFL, SIG_IGN, or where a handler is.
fn disposition(signal: i32) -> usize {
    let mut action = KernelSigaction::of(libc::SIG_DFL);
    // SAFETY: rt_sigaction(2) without a new action changes nothing and stores the old one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            ptr::null::<KernelSigaction>(),
            ptr::from_mut(&mut action),
            size_of::<u64>(),
        )
    };
    if result == 0 {
        action.handler
    } else {
        libc::SIG_DFL
    }
}

/// Ignores a signal, or has it take its default action.
pub(crate) fn set_ignored(signal: i32, ignored: bool) -> io::Result<()> {
    let handler = if ignored {
        libc::SIG_IGN
    } else {
        libc::SIG_DFL
    };
    set_action(signal, &KernelSigaction::of(handler))
}

/// Sets a disposition that is no handler's.
fn set_action(signal: i32, action: &KernelSigaction) -> io::Result<()> {
    // SAFETY: rt_sigaction(2) with SIG_DFL (0) or SIG_IGN (1) installs no code of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            ptr::from_ref(action),
            ptr::null::<KernelSigaction>(),
            size_of::<u64>(),
        )
    };
    check(result).map(drop)
}

/// pidfd_send_signal(2) with any signal number, real-time ones included; 0 probes.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: takes a descriptor, a number and a null siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result).map(drop)
}

/// The exit status of a child, if it has ended; reaps it.
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    Ok(try_wait_for_usage(pidfd)?.map(|(status, _)| status))
}

/// The same, and the most bytes that were resident of it, or of a child that it reaped.
pub(crate) fn try_wait_for_usage(pidfd: BorrowedFd<'_>) -> io::Result<Option<(ExitStatus, u64)>> {
    // SAFETY: both are of integers alone, for which zero is a value.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { mem::zeroed() };
    let mut wait = || {
        // The C library's does not have the last, which the system call has (waitid(2)).
        // SAFETY: takes a descriptor and flags, and writes to the two.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                pidfd.as_raw_fd(),
                &raw mut info,
                libc::WEXITED | libc::WNOHANG,
                &raw mut usage,
            )
        };
        check(result)
    };
    loop {
        match wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other.map(drop)?,
        }
    }
    // SAFETY: it is of a child's end, or zero.
    let pid = unsafe { info.si_pid() };
    // SAFETY: likewise.
    let status = unsafe { info.si_status() };
    let status = match info.si_code {
        _ if pid == 0 => return Ok(None),
        libc::CLD_EXITED => ExitStatus::Exited(status),
        _ => ExitStatus::Signaled(status),
    };
    // In KiB, getrusage(2).
    let peak = u64::try_from(usage.ru_maxrss).unwrap_or(0) << 10;
    Ok(Some((status, peak)))
}

/// Waits for a child that is about to end, and reaps it; `None` where it does not end in time.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    if crate::wait::readable(pidfd, REAPING)? {
        try_wait(pidfd)
    } else {
        Ok(None)
    }
}

/// Whether a child is stopped; the state is left to be read again.
pub(crate) fn is_stopped(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options))?;
    Ok(status.is_some_and(|status| status.stopped()))
}

/// Has the allocator give large buffers back to the kernel as soon as they are freed. Else glibc
/// keeps buffers of the largest size freed so far, and each clone of this process copies the page
/// tables of all that it keeps.
pub(crate) fn return_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two numbers, under a lock of its own. Setting the threshold, to its
    // default here, keeps it from growing.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10) };
}

/// setns(2) of the calling thread into the namespaces of a process or of a namespace file.
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: c_int) -> io::Result<()> {
    // SAFETY: takes a descriptor and flags.
    let result = unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) };
    check(result).map(drop)
}

/// unshare(2) of the calling thread.
pub(crate) fn unshare(namespaces: NewNamespaces) -> io::Result<()> {
    // SAFETY: neither CLONE_FILES nor CLONE_VM can be among them, so what Rust believes of
    // descriptors and memory stays true.
    let result = unsafe { libc::syscall(libc::SYS_unshare, namespaces.bits()) };
    check(result).map(drop)
}

/// setresgid(2) and setresuid(2) of the calling thread; the C library's forms would
/// signal threads that the child does not have.
pub(crate) fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: takes three numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(result)?;
    // SAFETY: takes three numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(result).map(drop)
}

/// setgroups(2) to none.
pub(crate) fn drop_groups() -> io::Result<()> {
    // SAFETY: a count of zero reads no memory.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) };
    check(result).map(drop)
}

/// Installs a seccomp filter on the calling thread; needs `no_new_privs`.
pub(crate) fn seccomp(filter: BpfProgramRef<'_>) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from `filter`, which it only reads;
    // seccompiler's instruction is `struct sock_filter` (linux/filter.h).
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            ptr::from_ref(&program),
        )
    };
    check(result).map(drop)
}

/// Brings the loopback device of the calling process's network namespace up.
pub(crate) fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: socket(2) takes numbers and returns a new descriptor or -1.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    check(c_long::from(socket))?;
    // SAFETY: just made, ours alone.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is plain data; all zeroes is a valid value of every member.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // C libraries differ in its width.
    let code = libc::SIOCSIFFLAGS as libc::Ioctl;
    // SAFETY: netdevice(7): the request reads one ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), code, ptr::from_ref(&request)) };
    check(c_long::from(result)).map(drop)
}

/// Makes every mount of the calling thread's mount namespace read-only, and blind to setuid
/// bits, for good (mount_setattr(2), Linux 5.12).
pub(crate) fn make_mounts_read_only() -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: mount_setattr(2) reads one mount_attr of the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    check(result).map(drop)
}

/// Has exec close every descriptor from this number on.
pub(crate) fn close_range_cloexec(first: u32) -> io::Result<()> {
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC closes nothing until exec.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// Closes every descriptor from 3 on but these. Allocates nothing.
///
/// # Safety
/// Nothing uses another descriptor of this process from then on, as in a child that was cloned with
/// copies of its parent's.
pub(crate) unsafe fn close_all_but<'a>(
    kept: &(impl Iterator<Item = BorrowedFd<'a>> + Clone),
) -> io::Result<()> {
    let mut from = 3;
    loop {
        let numbers = kept.clone().map(|fd| fd.as_raw_fd().unsigned_abs());
        let next = numbers.filter(|number| *number >= from).min();
        let last = next.map_or(u32::MAX, |next| next - 1);
        if from <= last {
            // SAFETY: close_range(2) stores nothing; whose they are is the caller's promise.
            let result = unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) };
            check(result)?;
        }
        match next {
            Some(next) => from = next + 1,
            None => return Ok(()),
        }
    }
}

/// A descriptor of our own for what this process was started with at a number.
///
/// # Errors
/// When nothing is open there.
///
/// # Safety
/// The process that started this one left that number open for it: no other part of this one owns
/// the number.
pub unsafe fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number and changes nothing of what it names.
    let result = unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_DUPFD_CLOEXEC, 3) };
    let new = check(result)? as RawFd;
    // SAFETY: fcntl(2) gave a new descriptor, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the vector as execve(2) does.
    fn read(vector: &StringVector) -> Vec<CString> {
        let mut strings = Vec::new();
        let mut next = vector.pointers.as_ptr();
        loop {
            // SAFETY: a null pointer ends the vector, and none was met so far.
            let string = unsafe { next.read() };
            if string.is_null() {
                return strings;
            }
            // SAFETY: it leads to a string with a NUL byte that the vector owns.
            strings.push(unsafe { CStr::from_ptr(string) }.to_owned());
            // SAFETY: a null pointer at the latest comes next.
            next = unsafe { next.add(1) };
        }
    }

    #[test]
    fn a_string_vector_keeps_its_strings_when_it_is_moved() {
        let vector = StringVector::new(["/pause", "", "-v"]).expect("no NUL byte");
        let moved = Box::new(vector);
        let strings = std::thread::spawn(move || read(&moved));
        let strings = strings.join().expect("no panic");
        assert_eq!(strings, [c"/pause", c"", c"-v"].map(CStr::to_owned));
        let empty = StringVector::new([""; 0]).expect("no NUL byte");
        assert!(read(&empty).is_empty());
        assert!(StringVector::new(["a\0b"]).is_err());
    }
}
