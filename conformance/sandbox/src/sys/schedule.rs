//! Scheduling: how soon a thread runs on a busy processor.

use std::io;
use std::mem;
use std::ptr;
use std::time::Duration;

use nix::libc;

use super::check;

/// Asks the scheduler for turns of this length for a thread (0: the calling one), which come
/// the sooner for being short; its share of the processors stays as it is, and what it clones
/// has turns of the usual length. Heeded since Linux 6.12, and for the usual policies.
pub(crate) fn ask_for_slice(thread: i32, length: Duration) -> io::Result<()> {
    let mut attributes = attributes(thread)?;
    attributes.sched_flags |= u64::from(libc::SCHED_FLAG_RESET_ON_FORK.unsigned_abs());
    attributes.sched_runtime = u64::try_from(length.as_nanos()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads as many bytes of the attributes as they say that they have.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            thread,
            ptr::from_ref(&attributes),
            0,
        )
    };
    check(result).map(drop)
}

/// Policy, nice value and slice of a thread.
fn attributes(thread: i32) -> io::Result<libc::sched_attr> {
    // SAFETY: its fields are numbers, and 0 is one.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most as many bytes as it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            thread,
            ptr::from_mut(&mut attributes),
            size,
            0,
        )
    };
    check(result)?;
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_asks_for_itself_alone_and_for_its_turns_alone() {
        const LENGTH: Duration = Duration::from_micros(300);
        let resets = u64::from(libc::SCHED_FLAG_RESET_ON_FORK.unsigned_abs());
        let of_own = || attributes(0).expect("its attributes");
        let asks = move || {
            let before = of_own();
            rustix::process::nice(1).expect("less is always allowed");
            ask_for_slice(0, LENGTH).expect("the kernel allows it");
            let forked = std::thread::spawn(of_own).join().expect("no panic");
            (before, of_own(), forked)
        };
        let (before, after, forked) = std::thread::spawn(asks).join().expect("no panic");
        assert_eq!(after.sched_policy, before.sched_policy);
        assert_eq!(after.sched_nice, before.sched_nice + 1);
        assert_eq!(after.sched_flags & resets, resets);
        // Before Linux 6.12 there is no slice to be seen.
        if before.sched_runtime != 0 {
            assert_eq!(u128::from(after.sched_runtime), LENGTH.as_nanos());
        }
        assert_eq!(forked.sched_flags & resets, 0);
        assert_eq!(forked.sched_runtime, before.sched_runtime);
        assert_eq!(forked.sched_nice, after.sched_nice);
    }
}
