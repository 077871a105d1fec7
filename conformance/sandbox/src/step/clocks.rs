//! The clock of a followed program: the host's, and so much ahead.

use std::io;
use std::time::Duration;

use nix::libc;
use rustix::time::{ClockId, clock_gettime};

use super::memory::Memory;
use super::waits::{MICROSECOND, NANOSECOND};
use crate::sys::{Call, Registers};

/// Words of a program's first stack: how long each is.
const WORD: u64 = 8;

/// The entry of the auxiliary vector that leads to the vDSO, and one that leads nowhere.
const AT_SYSINFO_EHDR: u64 = 33;
const AT_IGNORE: u64 = 1;

/// What the host's clock says; one that the host does not have stands still.
pub(super) fn real_time(clock: libc::clockid_t) -> Duration {
    let clock = match clock {
        libc::CLOCK_REALTIME => ClockId::Realtime,
        libc::CLOCK_BOOTTIME => ClockId::Boottime,
        _ => ClockId::Monotonic,
    };
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// Has a program that was just executed ask the kernel for the time: the vDSO would tell it
/// without a call (vdso(7)).
pub(super) fn hide_vdso(memory: &Memory, stack: u64) -> io::Result<()> {
    let arguments = memory.word(stack)?;
    // Behind their number come they, and a null word; then the environment, with another.
    let mut at = stack + WORD * (arguments + 2);
    while memory.word(at)? != 0 {
        at += WORD;
    }
    at += WORD;
    loop {
        match memory.word(at)? {
            0 => return Ok(()),
            AT_SYSINFO_EHDR => memory.write(at, &AT_IGNORE.to_ne_bytes())?,
            _ => {}
        }
        at += 2 * WORD;
    }
}

/// Whether it is a call that asks for the time of a clock which moves on by itself.
pub(super) fn tells_time(call: &Call) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call.number.cast_signed() == libc::SYS_time {
        return true;
    }
    match call.number.cast_signed() {
        libc::SYS_gettimeofday => true,
        // Those of processor time are below zero, or these two.
        libc::SYS_clock_gettime => !matches!(
            call.arguments[0] as libc::clockid_t,
            ..0 | libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID
        ),
        _ => false,
    }
}

/// Adds to what such a call has said; whether the registers have changed.
pub(super) fn tell(
    call: &Call,
    memory: &Memory,
    registers: &mut Registers,
    ahead: Duration,
) -> io::Result<bool> {
    #[cfg(target_arch = "x86_64")]
    if call.number.cast_signed() == libc::SYS_time {
        let now = registers.result().saturating_add_unsigned(ahead.as_secs());
        registers.set_result(now);
        if call.arguments[0] != 0 {
            memory.write(call.arguments[0], &now.to_ne_bytes())?;
        }
        return Ok(true);
    }
    let (at, part) = match call.number.cast_signed() {
        libc::SYS_gettimeofday => (call.arguments[0], MICROSECOND),
        _ => (call.arguments[1], NANOSECOND),
    };
    if at == 0 || registers.result() != 0 {
        return Ok(false);
    }
    if let Some(now) = memory.time(at, part)? {
        let now = now.saturating_add(ahead);
        let parts = u128::from(now.subsec_nanos()) / part.as_nanos();
        let words = [now.as_secs(), parts as u64];
        memory.write(at, &words.map(u64::to_ne_bytes).concat())?;
    }
    Ok(false)
}
