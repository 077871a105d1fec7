//! Timers of a followed program, which run on its own clock: alarm(2), setitimer(2), timers of
//! POSIX, and timerfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use rustix::process::{PidfdFlags, PidfdGetfdFlags};
use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec};

use super::memory::Memory;
use super::waits::{MICROSECOND, NANOSECOND};
use crate::sys::{self, Call};

/// What a timer tells its program by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    /// SIGALRM: there is one of these.
    Alarm,
    /// A timer of POSIX, by its number.
    Posix(i32),
    /// A descriptor.
    Fd(i32),
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    key: Key,
    /// When it is over.
    at: Duration,
    /// How long after that again; zero for never.
    every: Duration,
}

/// A timer of POSIX, as it was made.
#[derive(Clone, Copy, Debug)]
struct Made {
    number: i32,
    signal: i32,
    /// The one thread that is told, by its number in the program's own namespace.
    thread: Option<i32>,
    value: u64,
}

/// Those that run.
#[derive(Debug)]
pub(super) struct Timers {
    pid: i32,
    pidfd: OwnedFd,
    all: Vec<Timer>,
    made: Vec<Made>,
}

/// How long one may take to tell that is over.
const FIRES: Duration = Duration::from_millis(1);

/// Whether a call has to do with timers.
pub(super) fn concern(call: &Call) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call.number.cast_signed() == libc::SYS_alarm {
        return true;
    }
    matches!(
        call.number.cast_signed(),
        libc::SYS_setitimer
            | libc::SYS_timer_create
            | libc::SYS_timer_settime
            | libc::SYS_timer_delete
            | libc::SYS_timerfd_settime
            | libc::SYS_close
    )
}

impl Timers {
    /// Of a process that has none yet.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let id = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self {
            pid,
            pidfd: rustix::process::pidfd_open(id, PidfdFlags::empty())?,
            all: Vec::new(),
            made: Vec::new(),
        })
    }

    /// When the first of them is over.
    pub(super) fn first(&self) -> Option<Duration> {
        self.all.iter().map(|timer| timer.at).min()
    }

    /// Takes note of a call that has succeeded; whether it is one that has to do with timers which
    /// are not followed.
    pub(super) fn note(
        &mut self,
        call: &Call,
        memory: &Memory,
        now: Duration,
        clock: impl Fn(libc::clockid_t) -> Duration,
    ) -> io::Result<bool> {
        let [first, second, third, ..] = call.arguments;
        #[cfg(target_arch = "x86_64")]
        if call.number.cast_signed() == libc::SYS_alarm {
            self.set(Key::Alarm, now, Duration::from_secs(first), Duration::ZERO);
            return Ok(false);
        }
        match call.number.cast_signed() {
            // Those of processor time do not run while a program waits.
            libc::SYS_setitimer if first == 0 => {
                let (value, every) = times(memory, second, MICROSECOND)?;
                self.set(Key::Alarm, now, value, every);
            }
            libc::SYS_timer_create => return self.make(memory, second, third),
            libc::SYS_timer_settime | libc::SYS_timerfd_settime => {
                let is_fd = call.number.cast_signed() == libc::SYS_timerfd_settime;
                let key = if is_fd { Key::Fd } else { Key::Posix }(first as i32);
                let (value, every) = times(memory, third, NANOSECOND)?;
                let is_absolute = second & libc::TIMER_ABSTIME as u64 != 0;
                // Which of the clocks it is shows by how far that is off.
                let left = if is_absolute && !value.is_zero() {
                    left(value, &clock)
                } else {
                    value
                };
                self.set(key, now, left, every);
            }
            libc::SYS_timer_delete => self.forget(Key::Posix(first as i32)),
            libc::SYS_close => self.forget(Key::Fd(first as i32)),
            _ => {}
        }
        Ok(false)
    }

    fn make(&mut self, memory: &Memory, event: u64, to: u64) -> io::Result<bool> {
        let number = i32::from_ne_bytes(memory.read(to)?);
        let mut made = Made {
            number,
            signal: libc::SIGALRM,
            thread: None,
            value: 0,
        };
        let mut is_strange = false;
        if event != 0 {
            // struct sigevent: a value of a word, the signal, how it tells, and whom.
            let half = |at| memory.read(event + at).map(i32::from_ne_bytes);
            (made.value, made.signal) = (memory.word(event)?, half(8)?);
            match half(12)? {
                libc::SIGEV_SIGNAL => {}
                libc::SIGEV_NONE => made.signal = 0,
                libc::SIGEV_THREAD_ID => made.thread = Some(half(16)?),
                _ => is_strange = true,
            }
        }
        self.made.retain(|made| made.number != number);
        self.made.push(made);
        Ok(is_strange)
    }

    fn forget(&mut self, key: Key) {
        self.all.retain(|timer| timer.key != key);
    }

    fn set(&mut self, key: Key, now: Duration, value: Duration, every: Duration) {
        self.forget(key);
        if !value.is_zero() {
            let at = now.saturating_add(value);
            self.all.push(Timer { key, at, every });
        }
    }

    /// Has the first of them tell that it is over.
    pub(super) fn fire(&mut self) -> io::Result<()> {
        let Some(index) = (0..self.all.len()).min_by_key(|index| self.all[*index].at) else {
            return Ok(());
        };
        let timer = self.all[index];
        if timer.every.is_zero() {
            self.all.remove(index);
        } else {
            self.all[index].at = timer.at.saturating_add(timer.every);
        }
        match timer.key {
            Key::Alarm => sys::send_signal(self.pidfd.as_fd(), libc::SIGALRM),
            Key::Posix(number) => {
                let made = self.made.iter().find(|made| made.number == number);
                let Some(made) = made.filter(|made| made.signal > 0) else {
                    return Ok(());
                };
                match made.thread {
                    None => sys::send_signal(self.pidfd.as_fd(), made.signal),
                    Some(own) => match thread_of(self.pid, own) {
                        Some(id) => sys::tell_of_timer(self.pid, id, made.signal, made.value),
                        None => Ok(()),
                    },
                }
            }
            Key::Fd(number) => expire(self.pidfd.as_fd(), number),
        }
    }
}

/// The thread of a process that has this number in its own namespace.
fn thread_of(pid: i32, own: i32) -> Option<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let ids = threads.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    ids.into_iter().find(|id: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status"));
        let status = status.unwrap_or_default();
        let numbers = status.lines().find_map(|it| it.strip_prefix("NSpid:"));
        let last = numbers.and_then(|it| it.split_whitespace().last());
        last == Some(own.to_string().as_str())
    })
}

/// Makes the time of a descriptor of another process be over.
fn expire(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<()> {
    let flags = PidfdGetfdFlags::empty();
    let Ok(timer) = rustix::process::pidfd_getfd(pidfd, number, flags) else {
        // It was closed with others.
        return Ok(());
    };
    let at_once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: 0,
            tv_nsec: 1,
        },
    };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &at_once)?;
    while rustix::time::timerfd_gettime(&timer)?.it_value != Timespec::default() {
        std::thread::yield_now();
    }
    // Unless its program has read it already.
    crate::wait::readable(timer.as_fd(), FIRES).map(drop)
}

/// Two pairs of words: how long again, and how long first.
fn times(memory: &Memory, at: u64, part: Duration) -> io::Result<(Duration, Duration)> {
    let every = memory.time(at, part)?.unwrap_or_default();
    let value = memory.time(at.wrapping_add(16), part)?.unwrap_or_default();
    Ok((value, every))
}

/// How far off a moment is of a clock that is not known: the nearest.
fn left(moment: Duration, clock: impl Fn(libc::clockid_t) -> Duration) -> Duration {
    let clocks = [
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_REALTIME,
    ];
    let left = clocks.map(|it| moment.saturating_sub(clock(it)));
    let some = left.into_iter().filter(|left| !left.is_zero());
    // One that is over is over at once.
    some.min().unwrap_or(NANOSECOND)
}
