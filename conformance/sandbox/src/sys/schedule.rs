//! How soon the calling thread gets a processor that others compute on.

use std::io;

use nix::libc;

use super::check;

/// The kernel's `struct sched_attr`, as first published: later ones are longer
/// (sched_setattr(2)).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of a thread of the usual policies: its slice, in nanoseconds, from Linux 6.12 on.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// What it forks has none of its attributes that give more than the usual.
const RESET_ON_FORK: u64 = 1;

/// The shortest slice that the kernel gives.
const SLICE: u64 = 100_000;

/// Has the calling thread run soon when it wakes, and for a short time, where programs compute
/// on all processors: a thread of the suite does little, and a program that spins spins on until
/// it is done. Its share of the processors stays as it is, and what it forks is scheduled as
/// ever.
///
/// # Errors
/// Where the kernel refuses. One before Linux 6.12 takes it and does nothing.
pub(crate) fn run_soon() -> io::Result<()> {
    let mut attributes = attributes()?;
    let usual = [libc::SCHED_OTHER, libc::SCHED_BATCH].map(libc::c_int::cast_unsigned);
    if !usual.contains(&attributes.policy) {
        return Ok(());
    }
    attributes.flags |= RESET_ON_FORK;
    attributes.runtime = SLICE;
    // SAFETY: sched_setattr(2) reads as much as `size` says, which is all of it.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })?;
    Ok(())
}

/// Those of the calling thread.
fn attributes() -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>();
    // SAFETY: sched_getattr(2) writes at most as much as it is told, which is all of it.
    check(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) })?;
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_soon_hands_nothing_on() {
        let on_own_thread = std::thread::spawn(|| {
            let before = attributes().expect("its attributes");
            run_soon().expect("the kernel allows it");
            let after = attributes().expect("its attributes");
            let forked = std::thread::spawn(attributes).join();
            let forked = forked.expect("no panic").expect("its attributes");
            (before, after, forked)
        });
        let (before, after, forked) = on_own_thread.join().expect("no panic");
        assert_eq!(before.flags & RESET_ON_FORK, 0);
        assert_eq!(after.flags & RESET_ON_FORK, RESET_ON_FORK);
        assert_eq!((after.policy, after.nice), (before.policy, before.nice));
        // Before Linux 6.12 there is no slice to be seen.
        if before.runtime != 0 {
            assert_eq!(after.runtime, SLICE);
        }
        assert_eq!(forked.flags & RESET_ON_FORK, 0);
        assert_eq!((forked.runtime, forked.nice), (before.runtime, before.nice));
    }
}
