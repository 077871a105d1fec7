//! Readiness: when is a pause program done with its start, and waits?
//!
//! A signal with default action sent to PID 1 before its handler stands is lost for
//! good (pid_namespaces(7)), so a check that sends TERM too early would fail a sound
//! image. Masks and system calls in /proc tell only *when* to begin here, never how
//! a check ends: a handler shows in SigCgt, a signalfd or a sigwait in SigBlk, a
//! sigtimedwait in progress in neither but in the number of the system call. The masks of
//! an emulated program are the emulator's own: there it is behaviour alone, that its first
//! thread sleeps in a call that no emulator makes for itself, or that all its threads sleep
//! and none runs for a while.

use std::time::{Duration, Instant};

use super::proc::{self, Signs};
use super::waits::{Call, Calls};
use super::{PROMPTLY, Pod, Stopwatch};
use crate::need::Needs;
use crate::outcome::Stop;
use crate::signal;

/// How long a program that shows no sign of awaiting TERM is given to show one.
const SETTLE: Duration = Duration::from_millis(600);
/// The same, once it is known for this subject that none comes.
const SETTLE_AGAIN: Duration = Duration::from_millis(60);
/// The same, once one was seen to do nothing but compute: it is there as soon as it does.
const COMPUTES_AGAIN: Duration = Duration::from_millis(10);
/// How many times as long a program may compute at its start that would lose TERM meanwhile: of
/// that nothing can be asked. Half as long, if it would not.
const COMPUTES: u32 = 3;

/// When none of its threads has run for this long, a program is done with its start.
const STILL: Duration = Duration::from_millis(50);
/// How many times as long an emulated program may take over its start.
const EMULATED: u32 = 4;

/// How long a program that never sleeps must be seen to have a handler, or a signal to be taken.
const STANDS: Duration = Duration::from_millis(4);

/// How often the suite looks at the program, once it is executed, before it sleeps itself.
const GLANCES: u32 = 20;

/// Waits until the program of this pod is ready.
pub(super) fn await_ready(pod: &mut Pod<'_>) -> Result<(), Stop> {
    let context = pod.context();
    let mut start = Start::of(pod);
    let began = Instant::now();
    if start.shows_at_once(pod) {
        return Ok(());
    }
    let mut pause = Duration::from_micros(10);
    loop {
        if let Some(status) = pod.ended()? {
            let observed = format!("{status} {:.1?} after it was executed", began.elapsed());
            return Err(Stop::NotRunning(
                pod.finding("the program stays".to_owned(), observed),
            ));
        }
        match start.look(pod) {
            Readiness::Shown => return pod.expect_emulated(),
            Readiness::Blocked => return Ok(()),
            Readiness::Assumed => {
                // A mask of the suite's own making says nothing about the other sandboxes.
                if !start.blocked {
                    pod.assumed = true;
                    context.set_never_ready(true);
                }
                return Ok(());
            }
            Readiness::NotYet => {}
        }
        if began.elapsed() > context.scaled(Duration::from_secs(30)) {
            let why = if start.is_held {
                "the host held the program, for memory, a disk or a lock, and it is not known to be ready"
            } else {
                "the host gave the program too little processor time to become ready"
            };
            return Err(Stop::Inconclusive(why.to_owned()));
        }
        pod.await_event(pause)?;
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}

/// What one look at a program that starts says.
enum Readiness {
    /// It awaits TERM.
    Shown,
    /// It sleeps, and was started with TERM blocked: what is blocked is not lost.
    Blocked,
    /// It shows nothing, for as long as a program is given to show it.
    Assumed,
    NotYet,
}

/// A program that starts, as far as it has been seen.
struct Start {
    native: bool,
    /// Whether the suite blocks TERM for it.
    blocked: bool,
    /// How long it is given to show that it awaits TERM.
    settle: Duration,
    /// Runs from the first look that shows no readiness: most programs are ready by then, and making
    /// a stopwatch takes as long as their start.
    watch: Option<Stopwatch>,
    /// Their context switches when all threads were first seen asleep, and a stopwatch since then.
    quiet: Option<(Switches, Stopwatch)>,
    /// The same since it was first seen in a sleep that no signal ends.
    stuck: Option<(Switches, Stopwatch)>,
    /// Since when it is able to take TERM, where it does not sleep.
    taken: Option<Instant>,
    /// The kernel held it when it was last looked at.
    is_held: bool,
}

impl Start {
    fn of(pod: &Pod<'_>) -> Self {
        let context = pod.context();
        let native = context.offers(Needs::NATIVE);
        Self {
            native,
            blocked: pod.blocked & signal::bit(signal::TERM) != 0,
            settle: context.scaled(match (context.is_never_ready(), native) {
                (true, _) => SETTLE_AGAIN,
                (false, true) => SETTLE,
                (false, false) => SETTLE * EMULATED,
            }),
            watch: None,
            quiet: None,
            stuck: None,
            taken: None,
            is_held: false,
        }
    }

    /// Whether it is seen to await signals before the suite sleeps for the first time.
    fn shows_at_once(&self, pod: &Pod<'_>) -> bool {
        let calls = Calls::of_program(&pod.context());
        for _ in 0..GLANCES {
            match calls.of(pod.pid(), pod.pid()) {
                Call::None => std::thread::yield_now(),
                // A thread that awaits signals shows it by the call alone.
                Call::Takes => return self.native && proc::has_one_thread(pod.pid()),
                _ => return false,
            }
        }
        false
    }

    fn look(&mut self, pod: &mut Pod<'_>) -> Readiness {
        let context = pod.context();
        let (seen, switches) = look(pod, 0);
        if let Look::Waiting = seen {
            return Readiness::Shown;
        }
        // One that was just made need not be asked.
        let waited = self.watch.as_ref().map(Stopwatch::elapsed);
        let waited = waited.unwrap_or_default();
        let watch = self.watch.get_or_insert_with(|| pod.stopwatch());
        self.is_held = matches!(seen, Look::Held);
        let is_settled = match seen {
            Look::Quiet if self.blocked => return Readiness::Blocked,
            Look::Quiet => {
                let still = context.scaled(STILL);
                let is_still = is_still(&mut self.quiet, pod, switches, still);
                // An emulated program that awaits signals in a futex shows no more than this.
                if is_still && !self.native {
                    return Readiness::Shown;
                }
                let long = waited >= context.scaled(SETTLE * 2);
                waited >= self.settle && (is_still || long)
            }
            Look::Busy => {
                (self.quiet, self.stuck) = (None, None);
                // Only that tells a program that computes from one that a busy host keeps waiting,
                // for memory as for a processor.
                let computed = watch.ran();
                if computed < self.most_computing(pod) {
                    self.has_taken_for_long(pod)
                } else {
                    pod.note_computed(computed);
                    true
                }
            }
            Look::Stuck => {
                self.quiet = None;
                is_still(&mut self.stuck, pod, switches, self.settle)
            }
            Look::Timed => waited >= self.settle,
            Look::Held => {
                (self.quiet, self.stuck) = (None, None);
                false
            }
            // Its end shows only once the members that it took along are reaped.
            Look::Gone => {
                pod.reap_members();
                false
            }
            Look::Waiting => false,
        };
        if is_settled {
            Readiness::Assumed
        } else {
            Readiness::NotYet
        }
    }

    /// How long it may compute at its start.
    fn most_computing(&self, pod: &Pod<'_>) -> Duration {
        if self.native && pod.context().shared.computed.get().is_some() {
            self.settle.min(pod.context().scaled(COMPUTES_AGAIN))
        } else if !self.native || pod.context().is_never_ready() {
            self.settle
        } else if has_taken_term(pod) {
            self.settle / 2
        } else {
            self.settle * COMPUTES
        }
    }

    /// Whether a program that computes for ever has been able to take TERM for [`STANDS`]: that is
    /// all that it can show.
    fn has_taken_for_long(&mut self, pod: &Pod<'_>) -> bool {
        if self.taken.is_none() && has_taken_term(pod) {
            self.taken = Some(Instant::now());
        }
        let context = pod.context();
        // By the clock: what it has taken it does not lose while it waits for a processor.
        let stands = |since: Instant| since.elapsed() >= context.scaled(STANDS);
        let is_known = context.is_never_ready() && self.native;
        is_known && self.taken.is_some_and(stands)
    }
}

/// Whether none of its threads has run for this long; `since` is when it was first seen so.
fn is_still(
    since: &mut Option<(Switches, Stopwatch)>,
    pod: &Pod<'_>,
    switches: Switches,
    time: Duration,
) -> bool {
    let same = since.take().filter(|(before, _)| *before == switches);
    let same = same.unwrap_or_else(|| (switches, pod.stopwatch()));
    let (_, since) = since.insert(same);
    settled(since, time)
}

/// Waits until the program has done what a signal made it do, and sleeps again; `false`
/// where it does not within [`PROMPTLY`]. `after` is what should not have ended it.
pub(super) fn await_settled(pod: &mut Pod<'_>, sent: i32, after: &str) -> Result<bool, Stop> {
    let context = pod.context();
    // Most have settled by the first look, and making it takes as long as that.
    let mut watch = None;
    let busy = if context.is_never_ready() {
        SETTLE_AGAIN
    } else {
        PROMPTLY
    };
    let mut pause = Duration::from_micros(50);
    loop {
        pod.expect_running(after)?;
        let seen = look(pod, signal::bit(sent)).0;
        if let Look::Waiting | Look::Quiet = seen {
            return Ok(true);
        }
        let watch = watch.get_or_insert_with(|| pod.stopwatch());
        match seen {
            Look::Timed if settled(watch, context.scaled(SETTLE_AGAIN)) => return Ok(true),
            Look::Busy if watch.ran() >= context.scaled(busy) => {
                context.set_never_ready(true);
                return Ok(false);
            }
            Look::Stuck if settled(watch, context.scaled(busy)) => return Ok(false),
            // By what it ran: one that waits for a processor may be about to sleep again.
            Look::Busy
                if context.is_never_ready()
                    && watch.ran() >= context.scaled(STANDS)
                    && has_taken(pod, signal::bit(sent)) =>
            {
                return Ok(false);
            }
            Look::Gone => pod.reap_members(),
            _ => {}
        }
        if watch.wall() > context.scaled(Duration::from_secs(30)) {
            return Err(Stop::Inconclusive(format!(
                "the host gave the program too little processor time to act after {after}"
            )));
        }
        pod.await_event(pause)?;
        pause = (pause * 2).min(Duration::from_millis(4));
    }
}

fn settled(watch: &Stopwatch, settle: Duration) -> bool {
    watch.elapsed() >= settle
}

enum Look {
    /// Asleep, and awaits TERM.
    Waiting,
    /// Asleep, without a sign that it awaits TERM.
    Quiet,
    /// Asleep for a given time: it will go on by itself.
    Timed,
    /// Not asleep, or a signal awaits delivery.
    Busy,
    /// Stopped, or in a sleep that no signal ends, for a child of vfork(2).
    Stuck,
    /// In such a sleep for the host: for memory, a disk, a lock of the kernel's.
    Held,
    /// Not to be read; it is ending.
    Gone,
}

/// What the program is doing; `sent` are signals whose delivery is to be over.
fn look(pod: &Pod<'_>, sent: u64) -> (Look, Switches) {
    let (seen, switches) = glance(pod, sent);
    let asleep = matches!(seen, Look::Waiting | Look::Quiet);
    if !asleep || switches.threads == 1 {
        return (seen, switches);
    }
    // Threads are read one after the other: the next may have woken one that was asleep, and then
    // fallen asleep itself. All were asleep at the same time if none has run since.
    match glance(pod, sent) {
        (again, now) if now == switches => (again, now),
        (Look::Gone, now) => (Look::Gone, now),
        (_, now) => (Look::Busy, now),
    }
}

/// The context switches of those threads that do not sleep for a given time.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Switches {
    threads: usize,
    sum: u64,
}

impl Switches {
    /// And those of this thread.
    fn with(self, signs: &Signs) -> Self {
        let sum = self.sum + signs.switches;
        Self { sum, ..self }
    }
}

/// Each thread once, one after the other.
fn glance(pod: &Pod<'_>, sent: u64) -> (Look, Switches) {
    let mut switches = Switches::default();
    let pid = pod.pid();
    let Ok(threads) = proc::thread_ids(pid) else {
        return (Look::Gone, switches);
    };
    let native = pod.context().offers(Needs::NATIVE);
    let calls = Calls::of_program(&pod.context());
    let (mut awaits, mut takes, mut first_is_timed, mut ended) = (false, false, false, false);
    for thread in threads {
        let Ok(signs) = Signs::of(pid, thread) else {
            // It ended since it was listed.
            ended = true;
            continue;
        };
        // Without memory it is ending: alone, or with the process, which waits for the
        // members of its pid namespace to end.
        if !signs.has_memory {
            continue;
        }
        switches.threads += 1;
        // What is pending for the process stands in the status of each of its threads.
        let pending = signs.pending_for_all & sent;
        match signs.state {
            // A pending signal that all threads block stays so, and disturbs none of them.
            Some('S') if pending & !signs.blocked == 0 => {}
            Some('D') => match calls.of(pid, thread) {
                Call::Forks | Call::Unknown => return (Look::Stuck, switches.with(&signs)),
                _ => return (Look::Held, switches),
            },
            Some('T' | 't') => return (Look::Stuck, switches.with(&signs)),
            _ => return (Look::Busy, switches),
        }
        let is_first = thread == pid;
        match calls.of(pid, thread) {
            // A loop around a call that does not wait is in state S at moments.
            Call::None => return (Look::Busy, switches),
            Call::Takes => takes = true,
            // The run-times of some languages have a thread that wakes now and then.
            Call::Timed => {
                first_is_timed |= is_first;
                continue;
            }
            Call::Other if !native && is_first => awaits = true,
            Call::Futex | Call::Forks | Call::Other | Call::Unknown => {}
        }
        awaits |= native && awaits_term(&signs, pod.blocked);
        switches = switches.with(&signs);
    }
    let seen = match (switches.threads, takes, first_is_timed, awaits) {
        (0, ..) => Look::Gone,
        _ if ended => Look::Busy,
        (_, false, true, _) => Look::Timed,
        (_, true, ..) | (_, _, _, true) => Look::Waiting,
        (_, false, false, false) => Look::Quiet,
    };
    (seen, switches)
}

/// Whether the first thread, whatever it does, has a handler for TERM or blocks it.
fn has_taken_term(pod: &Pod<'_>) -> bool {
    let signs = Signs::of(pod.pid(), pod.pid());
    signs.is_ok_and(|signs| awaits_term(&signs, pod.blocked))
}

/// Whether none of these signals awaits delivery.
fn has_taken(pod: &Pod<'_>, sent: u64) -> bool {
    let signs = Signs::of(pod.pid(), pod.pid());
    signs.is_ok_and(|signs| (signs.pending_for_all | signs.pending) & sent == 0)
}

fn awaits_term(signs: &Signs, blocked_at_exec: u64) -> bool {
    let term = signal::bit(signal::TERM);
    signs.caught & term != 0 || (signs.blocked & term != 0 && blocked_at_exec & term == 0)
}

impl Pod<'_> {
    /// Whether it is asleep and awaits TERM just now, as far as /proc shows.
    pub fn is_ready(&self) -> bool {
        matches!(look(self, 0), (Look::Waiting, _))
    }

    /// Sleeps until the process ends or the time is up.
    pub fn await_event(&mut self, timeout: Duration) -> Result<(), Stop> {
        crate::wait::readable(self.pidfd(), timeout)
            .map(drop)
            .map_err(|error| Stop::Error(format!("cannot poll the pause process: {error}")))
    }
}
