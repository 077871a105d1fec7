//! Which system calls wait, for how long at most, and how such a wait is made to be over.

use std::io;
use std::time::Duration;

use nix::libc;

use super::memory::Memory;
use crate::sys::Call;

pub(super) const NANOSECOND: Duration = Duration::from_nanos(1);
pub(super) const MICROSECOND: Duration = Duration::from_micros(1);

/// A wait that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// How long it lasts at most.
    pub(super) most: Duration,
    pub(super) lapse: Lapse,
}

/// How a wait is made to be over at once; what it waits for is seen all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapse {
    /// It waits for nothing else: the call is not made.
    Answer,
    /// This argument has this value for this once.
    Argument(usize, u64),
    /// The two words there have these values for this once.
    Time(u64, [u64; 2]),
}

impl Wait {
    /// Whether this is what the call returns when the time is over.
    pub(super) fn is_over(call: &Call, result: i64) -> bool {
        let error = match call.number.cast_signed() {
            libc::SYS_rt_sigtimedwait | libc::SYS_semtimedop => libc::EAGAIN,
            libc::SYS_futex | libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => libc::ETIMEDOUT,
            _ => 0,
        };
        result == -i64::from(error)
    }
}

/// Where a call has its limit.
enum Limit {
    /// An argument of milliseconds.
    Milliseconds(usize),
    /// A pointer to seconds and nanoseconds.
    Timespec(usize),
    /// A pointer to seconds and microseconds.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(
            dead_code,
            reason = "of select(2), which newer architectures do not have"
        )
    )]
    Timeval(usize),
    /// A pointer to a moment of a clock.
    Moment(usize, libc::clockid_t),
}

/// The wait of a call, if it ends by itself; `now` is what the program takes for the time.
pub(super) fn wait_of(
    call: &Call,
    memory: &Memory,
    now: impl Fn(libc::clockid_t) -> Duration,
) -> io::Result<Option<Wait>> {
    let argument = |index: usize| call.arguments.get(index).copied().unwrap_or_default();
    let Some(limit) = limit_of(call) else {
        return Ok(None);
    };
    let (index, most) = match limit {
        Limit::Milliseconds(index) => {
            let milliseconds = argument(index) as i32;
            let most = u64::try_from(milliseconds).ok().map(Duration::from_millis);
            return Ok(most.map(|most| Wait {
                most,
                lapse: Lapse::Argument(index, u64::from(has_mask(call))),
            }));
        }
        Limit::Timespec(index) | Limit::Timeval(index) | Limit::Moment(index, _)
            if argument(index) == 0 =>
        {
            return Ok(None);
        }
        Limit::Timespec(index) => (index, memory.time(argument(index), NANOSECOND)?),
        Limit::Timeval(index) => (index, memory.time(argument(index), MICROSECOND)?),
        Limit::Moment(index, clock) => {
            let moment = memory.time(argument(index), NANOSECOND)?;
            (
                index,
                moment.map(|moment| moment.saturating_sub(now(clock))),
            )
        }
    };
    let sleeps = matches!(
        call.number.cast_signed(),
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep
    );
    let lapse = if sleeps {
        Lapse::Answer
    } else {
        Lapse::Time(argument(index), [0, u64::from(has_mask(call))])
    };
    Ok(most.map(|most| Wait { most, lapse }))
}

/// Whether it is one of those that see no signal under their mask where they need not wait: it
/// is to wait a moment.
fn has_mask(call: &Call) -> bool {
    let number = call.number.cast_signed();
    matches!(number, libc::SYS_epoll_pwait | libc::SYS_epoll_pwait2) && call.arguments[4] != 0
}

fn limit_of(call: &Call) -> Option<Limit> {
    #[cfg(target_arch = "x86_64")]
    match call.number.cast_signed() {
        libc::SYS_poll => return Some(Limit::Milliseconds(2)),
        libc::SYS_select => return Some(Limit::Timeval(4)),
        libc::SYS_epoll_wait => return Some(Limit::Milliseconds(3)),
        _ => {}
    }
    Some(match call.number.cast_signed() {
        libc::SYS_nanosleep => Limit::Timespec(0),
        libc::SYS_clock_nanosleep => {
            let clock = call.arguments[0] as libc::clockid_t;
            if call.arguments[1] & libc::TIMER_ABSTIME as u64 == 0 {
                Limit::Timespec(2)
            } else {
                Limit::Moment(2, clock)
            }
        }
        libc::SYS_ppoll | libc::SYS_rt_sigtimedwait => Limit::Timespec(2),
        libc::SYS_pselect6 | libc::SYS_io_getevents | libc::SYS_recvmmsg => Limit::Timespec(4),
        libc::SYS_epoll_pwait => Limit::Milliseconds(3),
        libc::SYS_epoll_pwait2 | libc::SYS_semtimedop => Limit::Timespec(3),
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => {
            Limit::Moment(4, libc::CLOCK_REALTIME)
        }
        libc::SYS_futex => return futex(call.arguments[1] as i32),
        _ => return None,
    })
}

fn futex(operation: i32) -> Option<Limit> {
    let clock = if operation & libc::FUTEX_CLOCK_REALTIME == 0 {
        libc::CLOCK_MONOTONIC
    } else {
        libc::CLOCK_REALTIME
    };
    match operation & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAIT => Some(Limit::Timespec(3)),
        libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAIT_REQUEUE_PI => Some(Limit::Moment(3, clock)),
        libc::FUTEX_LOCK_PI => Some(Limit::Moment(3, libc::CLOCK_REALTIME)),
        _ => None,
    }
}

/// Whether a call starts a process, and not a thread.
pub(super) fn starts_process(call: &Call, memory: &Memory) -> io::Result<bool> {
    const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
    #[cfg(target_arch = "x86_64")]
    match call.number.cast_signed() {
        libc::SYS_fork | libc::SYS_vfork => return Ok(true),
        _ => {}
    }
    Ok(match call.number.cast_signed() {
        libc::SYS_clone => call.arguments[0] & CLONE_THREAD == 0,
        libc::SYS_clone3 => memory.word(call.arguments[0])? & CLONE_THREAD == 0,
        _ => false,
    })
}

/// Whether a program that makes this call may be woken by a time that stands in the kernel, which
/// no other call shows.
pub(super) fn may_wake_later(call: &Call) -> bool {
    match call.number.cast_signed() {
        libc::SYS_io_uring_setup | libc::SYS_io_setup => true,
        libc::SYS_setsockopt => {
            let times = [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO];
            times.iter().any(|it| *it as u64 == call.arguments[2])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TIME: [u64; 2] = [3, 500_000_000];
    const HALF: [u64; 2] = [3, 500_000];
    const LIMIT: Duration = Duration::from_millis(3500);

    fn wait(number: libc::c_long, arguments: [u64; 6]) -> Option<Wait> {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let memory = Memory::of(own).expect("its own memory");
        let call = Call {
            abi: crate::sys::NATIVE_ABI,
            number: number.cast_unsigned(),
            arguments,
        };
        wait_of(&call, &memory, |_| Duration::from_secs(1)).expect("readable")
    }

    fn at(time: &[u64; 2]) -> u64 {
        std::ptr::from_ref(time).addr() as u64
    }

    #[rstest]
    #[case::poll(libc::SYS_ppoll, [0, 0, at(&TIME), 0, 0, 0], Lapse::Time(at(&TIME), [0, 0]))]
    #[case::sleep(libc::SYS_nanosleep, [at(&TIME), 0, 0, 0, 0, 0], Lapse::Answer)]
    #[case::signals(libc::SYS_rt_sigtimedwait, [0, 0, at(&TIME), 8, 0, 0], Lapse::Time(at(&TIME), [0, 0]))]
    #[case::futex(libc::SYS_futex, [0, 128, 0, at(&TIME), 0, 0], Lapse::Time(at(&TIME), [0, 0]))]
    #[case::epoll(libc::SYS_epoll_pwait, [0, 0, 0, 3500, 0, 8], Lapse::Argument(3, 0))]
    #[case::under_a_mask(libc::SYS_epoll_pwait, [0, 0, 0, 3500, 1, 8], Lapse::Argument(3, 1))]
    fn a_wait_with_an_end_has_it(
        #[case] number: libc::c_long,
        #[case] arguments: [u64; 6],
        #[case] lapse: Lapse,
    ) {
        let expected = Some(Wait { most: LIMIT, lapse });
        assert_eq!(wait(number, arguments), expected);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn select_counts_microseconds() {
        let expected = Some(LIMIT);
        let found = wait(libc::SYS_select, [0, 0, 0, 0, at(&HALF), 0]);
        assert_eq!(found.map(|wait| wait.most), expected);
    }

    #[test]
    fn a_moment_is_as_far_off_as_the_clock_of_the_program_says() {
        let absolute = libc::TIMER_ABSTIME as u64;
        let found = wait(libc::SYS_clock_nanosleep, [1, absolute, at(&TIME), 0, 0, 0]);
        let expected = Duration::from_millis(2500);
        assert_eq!(found.map(|wait| wait.most), Some(expected));
    }

    #[rstest]
    #[case::poll(libc::SYS_ppoll, [0; 6])]
    #[case::suspend(libc::SYS_rt_sigsuspend, [0; 6])]
    #[case::signals(libc::SYS_rt_sigtimedwait, [0; 6])]
    #[case::futex(libc::SYS_futex, [0; 6])]
    #[case::wake(libc::SYS_futex, [0, 129, 1, 0, 0, 0])]
    #[case::epoll(libc::SYS_epoll_pwait, [0, 0, 0, u64::MAX, 0, 8])]
    #[case::refused(libc::SYS_nanosleep, [at(&[0, u64::MAX]), 0, 0, 0, 0, 0])]
    fn a_wait_without_an_end_has_none(#[case] number: libc::c_long, #[case] arguments: [u64; 6]) {
        assert_eq!(wait(number, arguments), None);
    }

    #[test]
    fn only_a_result_that_says_so_means_that_the_time_is_over() {
        let call = |number: libc::c_long| Call {
            abi: crate::sys::NATIVE_ABI,
            number: number.cast_unsigned(),
            arguments: [0; 6],
        };
        let over = |number, result| Wait::is_over(&call(number), result);
        assert!(over(libc::SYS_ppoll, 0) && !over(libc::SYS_ppoll, 1));
        let again = -i64::from(libc::EAGAIN);
        assert!(over(libc::SYS_rt_sigtimedwait, again) && !over(libc::SYS_futex, again));
        assert!(!over(libc::SYS_nanosleep, -i64::from(libc::EINTR)));
    }
}
