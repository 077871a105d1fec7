//! The ways to clone: with the memory copied or shared, directly or through a helper in the pid
//! namespace of the caller's children.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::thread::futex::{self, Timespec};

use super::{Child, check, exit, forget_handlers, inherited_ignored, pid_of, proc, send_signal};

bitflags::bitflags! {
    /// Namespaces that a clone makes anew (namespaces(7)). Nothing else of clone(2) is among
    /// them, so that none of them shares memory.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct NewNamespaces: c_int {
        /// user_namespaces(7).
        const USER = libc::CLONE_NEWUSER;
        /// pid_namespaces(7).
        const PID = libc::CLONE_NEWPID;
        /// network_namespaces(7).
        const NETWORK = libc::CLONE_NEWNET;
        /// mount_namespaces(7).
        const MOUNT = libc::CLONE_NEWNS;
        /// uts_namespaces(7).
        const UTS = libc::CLONE_NEWUTS;
        /// ipc_namespaces(7).
        const IPC = libc::CLONE_NEWIPC;
        /// cgroup_namespaces(7).
        const CGROUP = libc::CLONE_NEWCGROUP;
        /// time_namespaces(7).
        const TIME = libc::CLONE_NEWTIME;
    }
}

/// What a child does between the clone and its exec, or its end.
///
/// # Safety
///
/// The child is alone with a copy of the caller's memory in which other threads may hold locks,
/// or has that very memory, and the thread-local storage of a thread that goes on (vfork(2)). So
/// [`InChild::run`] must neither allocate nor lock, nor use anything thread-local but `errno`
/// (signal-safety(7)).
pub(crate) unsafe trait InChild {
    /// Does it; the status to end with, where it has not executed a program.
    fn run(self) -> i32;
}

/// Clones the calling process (memory copied, as by fork(2)) into new namespaces, and runs
/// `child` in the copy. If that panics the copy ends.
pub(crate) fn spawn(namespaces: NewNamespaces, child: impl InChild) -> io::Result<Child> {
    let pidfd = clone_here(namespaces.bits() as u64, libc::SIGCHLD, child)?;
    // Owned from here on: where a later step fails, it is killed and reaped.
    let mut child = Child { pid: 0, pidfd };
    child.pid = pid_of(proc()?.as_fd(), child.pidfd.as_fd())?;
    Ok(child)
}

/// As [`spawn`], where the caller's children belong to a pid namespace that is not
/// its own: the kernel then refuses it CLONE_NEWPID (pid_namespaces(7)). So a
/// short-lived helper that is in that namespace makes the clone, as its sibling;
/// the result is the caller's own child all the same, whose `pid` is yet to be found.
///
/// The helper runs `first`, for what the child is to inherit, and when the child already
/// runs `at_once`, with its pidfd. Both may do what the caller, which waits, could do.
pub(crate) fn spawn_sibling<T>(
    namespaces: NewNamespaces,
    first: impl FnOnce() -> io::Result<()>,
    child: impl InChild,
    at_once: impl FnOnce(BorrowedFd<'_>) -> T,
) -> io::Result<(Child, T)> {
    in_helper(|| {
        first()?;
        // CLONE_PARENT: the signal is the helper's own.
        let flags = namespaces.bits() | libc::CLONE_PARENT;
        let pidfd = clone_here(flags as u64, 0, child)?;
        let done = at_once(pidfd.as_fd());
        Ok((Child { pid: 0, pidfd }, done))
    })?
}

/// As [`spawn_sibling`], but nothing is copied: `child` has the caller's memory, as it would
/// have after vfork(2), until it executes a program or ends, and the caller waits for that.
/// It runs beside `at_once`, hence `Send`. A time namespace is refused: clone(2) makes none.
///
/// So `at_once`, if it fails, must end the child: nothing else does.
pub(crate) fn spawn_sibling_in_place<C: InChild + Send, T>(
    namespaces: NewNamespaces,
    first: impl FnOnce() -> io::Result<()>,
    child: C,
    at_once: impl FnOnce(BorrowedFd<'_>) -> T,
) -> io::Result<(Child, T)> {
    if namespaces.contains(NewNamespaces::TIME) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = namespaces.bits() | libc::CLONE_PARENT;
    let mut stack = Stack::new();
    let mut child = Some(child);
    let mut pidfd: RawFd = -1;
    let there = AtomicU32::new(1);
    let clone = Cell::new(Cloned::NotAsked);
    let done = in_helper(|| {
        first()?;
        clone.set(Cloned::Asked);
        // SAFETY: all four live until `await_left` has returned, and nothing else uses the first
        // two before; a helper that is killed within the call ends this process (`made_a_child`).
        let made = unsafe { clone_in_place(flags, &mut stack, &mut child, &mut pidfd, &there) };
        clone.set(Cloned::of(&made));
        made?;
        // SAFETY: the kernel stored a new descriptor here, which is not closed before the end
        // of `at_once`.
        Ok(at_once(unsafe { BorrowedFd::borrow_raw(pidfd) }))
    });
    if !clone.get().made_a_child() {
        let error = done.map_or_else(Some, Result::err);
        return Err(error.unwrap_or_else(|| io::ErrorKind::Other.into()));
    }
    // SAFETY: the clone has succeeded, so the kernel stored a new descriptor here
    // (CLONE_PIDFD), ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if done.is_err() {
        // The helper was killed: nothing else would let the child go on.
        let _ = send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
    await_left(&there, pidfd.as_fd());
    let child = Child { pid: 0, pidfd };
    Ok((child, done??))
}

/// Clones the calling process and runs `child`, which has the caller's memory, as it would have after
/// vfork(2), until it executes a program or ends: the caller waits for that. Where that takes so long
/// that the child must have been stopped it is killed.
pub(crate) fn spawn_in_place(child: impl InChild + Send) -> io::Result<Child> {
    spawn_in_place_within(LOOKS, child)
}

fn spawn_in_place_within<C: InChild + Send>(looks: u32, child: C) -> io::Result<Child> {
    // While locks can be taken.
    inherited_ignored();
    let mut stack = Stack::new();
    let mut child = Some(child);
    let mut pidfd: RawFd = -1;
    let there = AtomicU32::new(1);
    let (made, unmasked) = without_signals(|| {
        // SAFETY: all four live until `await_left` has returned, and nothing else uses the first
        // two before.
        unsafe { clone_in_place(libc::SIGCHLD, &mut stack, &mut child, &mut pidfd, &there) }
    });
    made?;
    // SAFETY: the clone has succeeded, so the kernel stored a new descriptor here
    // (CLONE_PIDFD), ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let in_time = (0..looks).any(|_| has_left(&there, pidfd.as_fd()));
    if !in_time {
        let _ = send_signal(pidfd.as_fd(), libc::SIGKILL);
        await_left(&there, pidfd.as_fd());
    }
    // Owned from here on: where a later step fails, it is killed and reaped.
    let mut child = Child { pid: 0, pidfd };
    unmasked?;
    if !in_time {
        let why = "a process was stopped before its exec";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    child.pid = pid_of(proc()?.as_fd(), child.pidfd.as_fd())?;
    Ok(child)
}

/// How often the caller looks whether a child has left its memory that is about to: a minute, as a
/// sandbox has from clone to exec, without the time in which the caller was stopped too.
const LOOKS: u32 = 3000;

/// Clones a process that shares memory and nothing else, and runs `child` in it on that stack. The
/// kernel stores its pidfd, and 0 in `there` when it has left the memory.
///
/// # Safety
/// Until it has left, all that is passed stays where it is, and nothing else uses `stack` and `child`.
unsafe fn clone_in_place<C: InChild + Send>(
    flags: c_int,
    stack: &mut Stack,
    child: &mut Option<C>,
    pidfd: &mut RawFd,
    there: &AtomicU32,
) -> io::Result<()> {
    let flags = flags | libc::CLONE_VM | libc::CLONE_PIDFD | libc::CLONE_CHILD_CLEARTID;
    // SAFETY: clone(2) runs `in_place` on a stack of its own. That, `child` and all it borrows are
    // there for as long as the caller promises; what `child` does meanwhile is as its `InChild`
    // promises.
    let pid = unsafe {
        libc::clone(
            in_place::<C>,
            stack.top(),
            flags,
            ptr::from_mut(child).cast(),
            ptr::from_mut(pidfd),
            ptr::null_mut::<libc::c_void>(),
            there.as_ptr(),
        )
    };
    check(c_long::from(pid)).map(drop)
}

/// How far the clone of a helper went.
#[derive(Clone, Copy)]
enum Cloned {
    NotAsked,
    Asked,
    Refused,
    Made,
}

impl Cloned {
    fn of(made: &io::Result<()>) -> Self {
        match made {
            Ok(()) => Cloned::Made,
            Err(_) => Cloned::Refused,
        }
    }

    /// Whether there is a child. Where there is none, the pidfd is no descriptor, whatever its
    /// number: the kernel stores one before it can fail for want of processes, and closes it.
    ///
    /// Aborts where that cannot be known: something killed the helper within clone(2), and only
    /// the end of this process stops a child that uses its memory.
    fn made_a_child(self) -> bool {
        match self {
            Cloned::NotAsked | Cloned::Refused => false,
            Cloned::Asked => std::process::abort(),
            Cloned::Made => true,
        }
    }
}

extern "C" fn in_place<C: InChild>(child: *mut libc::c_void) -> c_int {
    // Unwinding would run the caller's code in the child: end it here instead.
    let _guard = EndOnDrop;
    forget_handlers();
    // SAFETY: `clone_in_place` passes its caller's, which nothing else touches meanwhile.
    let child = unsafe { (*child.cast::<Option<C>>()).take() };
    exit(child.map_or(125, InChild::run))
}

/// Waits until a child that shares memory has left it.
fn await_left(there: &AtomicU32, pidfd: BorrowedFd<'_>) {
    while !has_left(there, pidfd) {}
}

/// Whether a child that shares memory has left it, or does within one look, by exec or by its end:
/// then the kernel sets `there` to 0 and wakes this futex's waiters (`CLONE_CHILD_CLEARTID`).
fn has_left(there: &AtomicU32, pidfd: BorrowedFd<'_>) -> bool {
    const LOOK: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    let value = there.load(Ordering::Acquire);
    // For a child that is killed the kernel may fail to write that 0, where the page is still
    // copy-on-write.
    if value == 0 || crate::wait::readable(pidfd, Duration::ZERO).unwrap_or(false) {
        return true;
    }
    // An error is a value that has changed, a signal, or the time.
    let _ = futex::wait(there, futex::Flags::empty(), value, Some(&LOOK));
    there.load(Ordering::Acquire) == 0
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
pub(crate) fn in_helper<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    help(libc::CLONE_FILES, work)
}

/// As [`in_helper`], with a copy of the caller's descriptors: what it opens, it alone has. So
/// nothing that is cloned meanwhile holds a file open that it writes, which the kernel would
/// then neither execute (ETXTBSY) nor let become read-only (EBUSY). It must close all that it
/// opens, and the caller has nothing of it.
pub(crate) fn in_helper_apart<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    help(0, work)
}

fn help<T>(files: c_int, work: impl FnOnce() -> T) -> io::Result<T> {
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    let mut stack = Stack::new();
    let shared = files | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let (pid, unmasked) = without_signals(|| start(&mut job, stack.top(), shared));
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

/// Clones a process that shares the caller's memory, with all signals blocked, which it inherits: what
/// a terminal sends to the whole process group reaches it as well, and handlers there would write
/// the suite's memory: one Ctrl-C counted twice. Says whether the clone and then whether unblocking
/// succeeded.
fn without_signals<T>(clone: impl FnOnce() -> io::Result<T>) -> (io::Result<T>, io::Result<()>) {
    let mask = match SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK) {
        Ok(mask) => mask,
        Err(error) => return (Err(error.into()), Ok(())),
    };
    (clone(), mask.thread_set_mask().map_err(io::Error::from))
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
fn clone_here(flags: u64, exit_signal: c_int, child: impl InChild) -> io::Result<OwnedFd> {
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
        exit(child.run())
    }
    // SAFETY: the clone has succeeded, so the kernel stored a new descriptor here
    // (CLONE_PIDFD), ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

struct EndOnDrop;

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        exit(125);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ExitStatus, wait};
    use super::*;

    /// Writes the caller's memory, and then ends or stops.
    struct Writes<'a> {
        to: &'a AtomicU32,
        stops: bool,
    }

    // SAFETY: it makes system calls and no more.
    unsafe impl InChild for Writes<'_> {
        fn run(self) -> i32 {
            self.to.store(1, Ordering::Release);
            if self.stops {
                let own = rustix::process::getpid();
                let _ = rustix::process::kill_process(own, rustix::process::Signal::STOP);
                self.to.store(2, Ordering::Release);
            }
            7
        }
    }

    #[test]
    fn a_child_in_place_has_the_memory_of_its_parent() {
        let written = AtomicU32::new(0);
        let (to, stops) = (&written, false);
        let child = spawn_in_place(Writes { to, stops }).expect("it ends");
        assert_eq!(written.load(Ordering::Acquire), 1);
        let ended = wait(child.pidfd.as_fd()).expect("it is a child");
        assert_eq!(ended, Some(ExitStatus::Exited(7)));
    }

    #[test]
    fn a_child_in_place_that_is_stopped_is_ended() {
        let written = AtomicU32::new(0);
        let (to, stops) = (&written, true);
        let error = spawn_in_place_within(3, Writes { to, stops }).expect_err("it does not end");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(written.load(Ordering::Acquire), 1);
    }
}
