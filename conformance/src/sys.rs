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
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::futex::{self, Timespec};
use seccompiler::BpfProgramRef;

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
                write!(f, "signaled {signal} ({})", crate::signal::name(*signal))
            }
        }
    }
}

/// A process that was just cloned.
#[derive(Debug)]
pub struct Child {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// Readable when it ends; the only handle that pid reuse cannot fool.
    pub pidfd: OwnedFd,
}

/// Clones the calling process (memory copied, like fork) into the namespaces that
/// `flags` ask for, and runs `child` in the copy, which ends with the status it returns.
///
/// `child` must not allocate, lock, or touch thread-local state: the copy has one
/// thread, and the others may have held locks. If it panics the copy aborts.
pub fn spawn<F: FnOnce() -> i32>(flags: u64, child: F) -> io::Result<Child> {
    let pidfd = clone_here(flags, libc::SIGCHLD, child)?;
    let pid = pid_of(proc()?.as_fd(), pidfd.as_fd())?;
    Ok(Child { pid, pidfd })
}

/// As [`spawn`], where the caller's children belong to a pid namespace that is not
/// its own: the kernel then refuses it CLONE_NEWPID (pid_namespaces(7)). So a
/// short-lived helper that is in that namespace makes the clone, as its sibling;
/// the result is the caller's own child all the same.
///
/// The helper runs `first`, for what the child is to inherit, and when the child already
/// runs `at_once`, with its pidfd. Both may do what the caller, who waits, could do.
pub fn spawn_sibling<F: FnOnce() -> i32, T>(
    flags: u64,
    first: impl FnOnce() -> io::Result<()>,
    child: F,
    at_once: impl FnOnce(BorrowedFd<'_>) -> T,
) -> io::Result<(OwnedFd, T)> {
    in_helper(|| {
        first()?;
        // CLONE_PARENT: the signal is the helper's own.
        let pidfd = clone_here(flags | libc::CLONE_PARENT as u64, 0, child)?;
        let done = at_once(pidfd.as_fd());
        Ok((pidfd, done))
    })?
}

/// As [`spawn_sibling`], but nothing is copied: `child` has the caller's memory, as it would
/// have after vfork(2), until it executes a program or ends, and the caller waits for that. It
/// gets no time namespace (`clone(2)` cannot ask for one).
///
/// So `at_once`, if it fails, must see to it that the child ends: nobody else does. `child` may
/// not set `errno` where it succeeds: the two share the thread-local storage of the caller.
pub fn spawn_sibling_in_place<F: FnOnce() -> i32, T>(
    flags: c_int,
    first: impl FnOnce() -> io::Result<()>,
    child: F,
    at_once: impl FnOnce(BorrowedFd<'_>) -> T,
) -> io::Result<(OwnedFd, T)> {
    let flags = flags
        | libc::CLONE_VM
        | libc::CLONE_PARENT
        | libc::CLONE_PIDFD
        | libc::CLONE_CHILD_CLEARTID;
    let mut stack = Stack::new();
    let mut child = Some(child);
    let mut pidfd: RawFd = -1;
    let there = AtomicU32::new(1);
    let done = in_helper(|| {
        first()?;
        // SAFETY: clone(2) runs `in_place` on a stack of its own. That, `child` and all it
        // borrows live until `await_left` has returned, after which nobody uses them.
        let pid = unsafe {
            libc::clone(
                in_place::<F>,
                stack.top(),
                flags,
                ptr::from_mut(&mut child).cast(),
                ptr::from_mut(&mut pidfd),
                ptr::null_mut::<libc::c_void>(),
                there.as_ptr(),
            )
        };
        check(c_long::from(pid))?;
        Ok(at_once(borrow(pidfd)))
    });
    if pidfd < 0 {
        return Err(done
            .flatten()
            .err()
            .unwrap_or_else(|| io::ErrorKind::Other.into()));
    }
    // SAFETY: the kernel stored a new descriptor here (CLONE_PIDFD), ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if done.is_err() {
        // Nobody is left to tell it to go on.
        let _ = send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
    await_left(&there, pidfd.as_fd());
    Ok((pidfd, done??))
}

extern "C" fn in_place<F: FnOnce() -> i32>(child: *mut libc::c_void) -> c_int {
    // Unwinding would run the caller's code in the child: end it here instead.
    let _guard = EndOnDrop;
    forget_handlers();
    // SAFETY: `spawn_sibling_in_place` passes its own, which nobody else touches meanwhile.
    let child = unsafe { (*child.cast::<Option<F>>()).take() };
    exit(child.map_or(125, |child| child()))
}

/// Waits until a child that shares memory has left it, by exec or by its end: then the kernel
/// sets `there` to 0 and wakes whoever waits for that (`CLONE_CHILD_CLEARTID`).
fn await_left(there: &AtomicU32, pidfd: BorrowedFd<'_>) {
    // Who is killed may fail to write that 0, where the page is a copy yet to be made.
    const LOOK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    loop {
        let value = there.load(Ordering::Acquire);
        if value == 0 || crate::wait::readable(pidfd, Duration::ZERO).unwrap_or(false) {
            return;
        }
        // An error is a value that has changed, a signal, or the time.
        let _ = futex::wait(there, futex::Flags::empty(), value, Some(&LOOK));
    }
}

/// Memory for a process to run on.
struct Stack(Vec<u128>);

impl Stack {
    /// Room for a helper, or for what a child does before exec.
    const SIZE: usize = 256 << 10;

    fn new() -> Self {
        Self(Vec::with_capacity(Self::SIZE / size_of::<u128>()))
    }

    /// Where it begins: stacks grow downwards.
    fn top(&mut self) -> *mut libc::c_void {
        self.0.spare_capacity_mut().as_mut_ptr_range().end.cast()
    }
}

/// Runs `work` in a process that shares the caller's memory and descriptors, and nothing
/// else, while the caller waits: what it does to its namespaces, ids and working directory
/// ends with it.
pub fn in_helper<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    let mut stack = Stack::new();
    let shared = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES | libc::SIGCHLD;
    // What a terminal sends to the whole process group reaches the helper as well, whose
    // handlers would write the suite's memory: one Ctrl-C counted twice.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let pid = start(&mut job, stack.top(), shared);
    let unmasked = mask.thread_set_mask();
    let pid = pid?;
    // SAFETY: wait4(2) of a child of ours, with nothing to store.
    unsafe {
        libc::syscall(
            libc::SYS_wait4,
            pid,
            ptr::null::<c_int>(),
            libc::__WALL,
            ptr::null::<libc::rusage>(),
        )
    };
    drop(stack);
    unmasked?;
    job.result
        .ok_or_else(|| io::Error::other("the helper of a clone was killed"))
}

/// What a helper is to do, and what came of it.
struct Job<W, T> {
    work: Option<W>,
    result: Option<T>,
}

fn start<W: FnOnce() -> T, T>(
    job: &mut Job<W, T>,
    stack: *mut libc::c_void,
    flags: c_int,
) -> io::Result<c_long> {
    // SAFETY: clone(2) with CLONE_VFORK suspends this thread until the helper, which runs
    // `helper` on a stack of its own, has ended; until then `job` and the stack live.
    let pid = unsafe { libc::clone(helper::<W, T>, stack, flags, ptr::from_mut(job).cast()) };
    check(c_long::from(pid))
}

extern "C" fn helper<W: FnOnce() -> T, T>(job: *mut libc::c_void) -> c_int {
    // It holds all that the suite has open, also what tells others that the suite is there.
    let killed = Some(rustix::process::Signal::KILL);
    let _ = rustix::process::set_parent_process_death_signal(killed);
    // SAFETY: `start` passes its own job and is suspended while this runs.
    let job = unsafe { &mut *job.cast::<Job<W, T>>() };
    job.result = job.work.take().map(|work| work());
    0
}

/// CLONE_CLEAR_SIGHAND (clone3(2), Linux 5.5): what was handled takes its default action in the
/// child; what was ignored stays so.
const CLEAR_SIGHAND: u64 = 1 << 32;

/// The child's pidfd; does not return in the child.
fn clone_here<F: FnOnce() -> i32>(flags: u64, exit_signal: c_int, child: F) -> io::Result<OwnedFd> {
    // While locks can be taken.
    inherited_ignored();
    let mut pidfd: RawFd = -1;
    let arguments = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: exit_signal as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    // SAFETY: clone3(2) without CLONE_VM copies the address space, so the child
    // returns on its own copy of this stack; `arguments` outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    };
    if check(result)? == 0 {
        // Unwinding would run the caller's code in the child: end it here instead.
        let _guard = EndOnDrop;
        exit(child())
    }
    // SAFETY: the kernel stored a new descriptor here (CLONE_PIDFD), ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// The process behind a pidfd, in the pid namespace of this /proc (proc_pid_fdinfo(5)).
pub fn pid_of(proc: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<i32> {
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
pub fn write_at(folder: BorrowedFd<'_>, path: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, path, flags, Mode::empty())?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// The /proc that the calling process sees.
pub fn proc() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(c"/proc", flags, Mode::empty())?)
}

struct EndOnDrop;

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        exit(125);
    }
}

/// Ends the calling process at once, running nothing of the C library.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) takes any status and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// A null-terminated vector of strings for execve(2), made before the clone.
#[derive(Debug)]
pub struct StringVector {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead into `_strings`, which is never changed.
unsafe impl Send for StringVector {}
// SAFETY: likewise; shared access only reads.
unsafe impl Sync for StringVector {}

impl StringVector {
    /// From strings; one that holds a NUL byte is refused.
    pub fn new<I: IntoIterator<Item = S>, S: Into<Vec<u8>>>(strings: I) -> io::Result<Self> {
        let strings = strings
            .into_iter()
            .map(CString::new)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Self {
            _strings: strings,
            pointers,
        })
    }
}

/// execveat(2): the file `fd` itself where `path` is empty, else `path`. Returns only on error.
pub fn exec(
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
pub fn reset_signals(blocked: u64, ignored: u64) -> io::Result<()> {
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
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    wait_with(pidfd, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Waits for a child that has been killed; reaps it.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    wait_with(pidfd, WaitIdOptions::EXITED)
}

/// Whether a child is stopped, as whoever asks next will find it too.
pub fn is_stopped(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options))?;
    Ok(status.is_some_and(|status| status.stopped()))
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), options))?;
    Ok(status.and_then(|status| {
        status
            .exit_status()
            .map(ExitStatus::Exited)
            .or_else(|| status.terminating_signal().map(ExitStatus::Signaled))
    }))
}

/// setns(2) of the calling thread into the namespaces of a process or of a namespace file.
pub fn setns(fd: BorrowedFd<'_>, flags: c_int) -> io::Result<()> {
    // SAFETY: takes a descriptor and flags.
    let result = unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) };
    check(result).map(drop)
}

/// unshare(2) of the calling thread.
pub fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: CLONE_FILES and CLONE_VM are never among the flags here, so what Rust
    // believes of descriptors and memory stays true.
    let result = unsafe { libc::syscall(libc::SYS_unshare, flags) };
    check(result).map(drop)
}

/// setresgid(2) and setresuid(2) of the calling thread; the C library's forms would
/// signal threads that the child does not have.
pub fn set_ids(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: takes three numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(result)?;
    // SAFETY: takes three numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(result).map(drop)
}

/// setgroups(2) to none.
pub fn drop_groups() -> io::Result<()> {
    // SAFETY: a count of zero reads no memory.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) };
    check(result).map(drop)
}

/// Installs a seccomp filter on the calling thread; needs `no_new_privs`.
pub fn seccomp(filter: BpfProgramRef<'_>) -> io::Result<()> {
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

/// Asks the scheduler for turns of this length for a process, which come the sooner for
/// being short; what it clones has turns of the usual length. Heeded since Linux 6.12.
pub fn ask_for_slice(pid: i32, length: Duration) -> io::Result<()> {
    // SAFETY: its fields are numbers, and 0 is one.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).map_err(io::Error::other)?;
    attributes.sched_policy = libc::SCHED_OTHER.unsigned_abs();
    attributes.sched_flags = u64::from(libc::SCHED_FLAG_RESET_ON_FORK.unsigned_abs());
    attributes.sched_runtime = u64::try_from(length.as_nanos()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads as many bytes of the attributes as they say that they have.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, pid, ptr::from_ref(&attributes), 0) };
    check(result).map(drop)
}

/// Brings the loopback device of the calling process's network namespace up.
pub fn bring_loopback_up() -> io::Result<()> {
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
    let code = libc::SIOCSIFFLAGS;
    // SAFETY: netdevice(7): the request reads one ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), code, ptr::from_ref(&request)) };
    check(c_long::from(result)).map(drop)
}

/// Makes every mount of the calling thread's mount namespace read-only, and blind to setuid
/// bits, for good (mount_setattr(2), Linux 5.12).
pub fn make_mounts_read_only() -> io::Result<()> {
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

/// Why a traced process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStop {
    /// At the entry of this system call.
    SyscallEntry(u64),
    /// At the exit of one.
    SyscallExit,
    /// Before this signal is delivered.
    Signal(i32),
    /// A ptrace event or group stop.
    Other,
}

/// Seizes a child for system-call tracing by the calling thread; it dies with the tracer.
pub fn trace_seize(pid: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
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
pub fn trace_interrupt(pid: i32) -> io::Result<()> {
    // SAFETY: PTRACE_INTERRUPT takes neither address nor data.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_INTERRUPT, pid, 0, 0) };
    check(result).map(drop)
}

/// Lets a stopped process go on to its next system call, delivering `signal` (0: none).
pub fn trace_continue(pid: i32, signal: i32) -> io::Result<()> {
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
pub fn trace_wait(pid: i32) -> io::Result<Option<Result<TraceStop, ExitStatus>>> {
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
    let stop = libc::WSTOPSIG(status);
    let event = status >> 16;
    Ok(Some(Ok(match stop {
        _ if event != 0 => TraceStop::Other,
        stop if stop == libc::SIGTRAP | 0x80 => trace_syscall(pid)?,
        signal => TraceStop::Signal(signal),
    })))
}

fn trace_syscall(pid: i32) -> io::Result<TraceStop> {
    // SAFETY: ptrace_syscall_info is plain data; all zeroes is valid.
    let mut info: libc::ptrace_syscall_info = unsafe { mem::zeroed() };
    // SAFETY: PTRACE_GET_SYSCALL_INFO stores at most the given size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_GET_SYSCALL_INFO,
            pid,
            size_of::<libc::ptrace_syscall_info>(),
            ptr::from_mut(&mut info),
        )
    };
    check(result)?;
    if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
        // SAFETY: `op` says that the entry member is the one stored.
        let entry = unsafe { info.u.entry };
        return Ok(TraceStop::SyscallEntry(entry.nr));
    }
    Ok(TraceStop::SyscallExit)
}

/// Forbids that another process of the same user reads or traces this one.
pub fn close_range_cloexec(first: u32) -> io::Result<()> {
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

/// dup2(2) in a child that is about to exec; the target's old meaning is given up.
pub fn dup_to(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    // SAFETY: in the child nothing else uses the numbers 0–2 any more; dup3 clears CLOEXEC.
    let result = unsafe { libc::syscall(libc::SYS_dup3, from.as_raw_fd(), to, 0) };
    check(result).map(drop)
}

/// close(2) of a number in a child that is about to exec.
pub fn close(number: RawFd) {
    // SAFETY: in the child no owner of the number will use it again.
    unsafe { libc::syscall(libc::SYS_close, number) };
}

/// A descriptor that the caller knows to be open for as long as the result lives.
pub fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for descriptors 0–2 and those left open at exec, which the process never closes.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
