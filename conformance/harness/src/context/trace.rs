//! Following the system calls of a program by ptrace(2).

use std::io;
use std::time::{Duration, Instant};

use nix::libc;
use pause_sandbox::trace::{Call, TraceStop, Tracee};

use super::{Context, Pod};
use crate::outcome::Stop;
use crate::process::ExitStatus;

/// How long a traced program may take to become ready, and to end then.
const TRACED: Duration = Duration::from_secs(10);

/// How long one is traced that was never seen to wait, until it is taken for ready.
const NEVER_READY: Duration = Duration::from_millis(300);

/// Signals that the kernel sends for a fault of an instruction.
const FAULT: [i32; 5] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
];

/// How soon a program that computes makes its next system call.
const AT_ONCE: Duration = Duration::from_micros(200);

/// How many faults without a system call between them count as the end of the program: the kernel
/// does not let the default action end a process 1 that is traced (`force_sig_info_to_task`), so it
/// would go on for ever.
const FAULTS: usize = 16;

/// How a traced program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// It ended, after it had become ready or before.
    Ended {
        /// How.
        status: ExitStatus,
        /// Whether it had become ready.
        ready: bool,
    },
    /// It did not end within the time that it has.
    Stays,
}

/// Follows the first thread of a held sandbox from its exec on, and hands over each of its
/// system calls; does `when_ready` once it has become ready.
///
/// # Errors
/// [`Stop::Error`] where the host failed, and those of `when_ready`.
pub fn trace(
    cx: &Context<'_>,
    pod: &mut Pod<'_>,
    when_ready: impl FnOnce(&mut Pod<'_>) -> Result<(), Stop>,
    mut called: impl FnMut(&Call),
) -> Result<Traced, Stop> {
    let tracee = Tracee::seize(pod.pid()).map_err(|error| failed("trace it", &error))?;
    pod.open_gate()?;

    let watch = pod.stopwatch();
    let mut followed = Followed::default();
    let mut when_ready = Some(when_ready);
    let mut stopped = Instant::now();
    let limit = cx.scaled(TRACED);
    loop {
        // Also for a program that stops again each time before the suite looks twice.
        if watch.wall() > limit && watch.elapsed() > limit {
            return Ok(Traced::Stays);
        }
        let waited = cx.is_never_ready() && followed.executed && watch.wall() > NEVER_READY;
        if waited
            && watch.elapsed() > NEVER_READY
            && let Some(when_ready) = when_ready.take()
        {
            when_ready(pod)?;
        }
        match tracee.next().map_err(|error| failed("follow it", &error))? {
            Some(Err(status)) => {
                let ready = followed.executed && when_ready.is_none();
                return Ok(Traced::Ended { status, ready });
            }
            Some(Ok(stop)) => {
                let deliver = followed.take(stop, &mut called);
                if followed.faults > FAULTS {
                    let (status, ready) = (ExitStatus::Signaled(deliver), when_ready.is_none());
                    return Ok(Traced::Ended { status, ready });
                }
                tracee
                    .go_on(deliver)
                    .map_err(|error| failed("let it go on", &error))?;
                stopped = Instant::now();
            }
            // No descriptor tells of a stop; most come at once. By the clock: on a busy host
            // a look takes as long as a program of another kind sleeps.
            None if stopped.elapsed() < AT_ONCE => std::thread::yield_now(),
            None if followed.executed && when_ready.is_some() && pod.is_ready() => {
                if let Some(when_ready) = when_ready.take() {
                    when_ready(pod)?;
                }
            }
            None => {
                // A program that writes into a full pipe makes no call until the suite reads.
                pod.drain();
                pod.await_event(AT_ONCE)?;
            }
        }
    }
}

fn failed(doing: &str, error: &io::Error) -> Stop {
    Stop::Error(format!("cannot {doing}: {error}"))
}

/// How far a traced program has come. What comes before the end of its exec is the suite's.
#[derive(Default)]
struct Followed {
    executing: bool,
    executed: bool,
    /// Faults since its last system call.
    faults: usize,
}

impl Followed {
    /// Takes note of a stop; the signal to let it go on with, or 0.
    fn take(&mut self, stop: TraceStop, called: &mut impl FnMut(&Call)) -> i32 {
        match stop {
            TraceStop::SyscallEntry(call) => {
                self.faults = 0;
                if self.executed {
                    called(&call);
                } else {
                    self.executing = call.number == libc::SYS_execveat as u64;
                }
                0
            }
            TraceStop::SyscallExit => {
                self.executed |= std::mem::take(&mut self.executing);
                0
            }
            TraceStop::Signal(number) => {
                self.faults += usize::from(FAULT.contains(&number));
                number
            }
            TraceStop::Thread(_) | TraceStop::Exec | TraceStop::Other => 0,
        }
    }
}
