//! Which thread goes on. One at a time, until it sleeps, so that the calls of a program of several
//! come in the same order each time, as far as their order is the program's to say.

use std::time::{Duration, Instant};

use nix::libc;

use super::{State, Stepper, Thread, sleep};
use crate::sys::Call;

/// A call that is not over by then is looked at for whether it sleeps.
const QUICK: Duration = Duration::from_micros(20);

/// So long a thread has its turn though it makes no call: it may wait, by computing, for another.
const SLICE: Duration = Duration::from_millis(3);

/// So many calls a thread makes until others that can go on have their turn.
const CALLS: u32 = 64;

/// Who is let go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// This thread, which has stopped.
    Of(usize),
    /// The one that runs, or nobody until it is known what the others do.
    Taken,
    /// Nobody can.
    AllSleep,
}

/// Whose turn it is.
#[derive(Debug)]
pub(super) struct Turns {
    id: i32,
    calls: u32,
    /// When it was let go on last.
    since: Instant,
}

impl Turns {
    pub(super) fn new(id: i32) -> Self {
        Self {
            id,
            calls: 0,
            since: Instant::now(),
        }
    }

    /// A call is about to be made.
    pub(super) fn note(&mut self, call: &Call) {
        let gives_way = call.number.cast_signed() == libc::SYS_sched_yield;
        self.calls = if gives_way { CALLS } else { self.calls + 1 };
    }

    /// This thread is let go on.
    pub(super) fn begin(&mut self, id: i32) {
        if self.id != id {
            self.calls = 0;
        }
        self.id = id;
        self.since = Instant::now();
    }

    /// Whether what it does may be over at once.
    pub(super) fn is_new(&self) -> bool {
        self.since.elapsed() < QUICK
    }
}

impl Stepper {
    /// Whose turn it was last, while it is there.
    pub(super) fn whose_turn(&self) -> Option<usize> {
        let id = self.turns.id;
        self.threads.iter().position(|thread| thread.id == id)
    }

    /// Whose turn it is now.
    pub(super) fn turn(&mut self) -> Turn {
        let before = self.whose_turn();
        let is_over = self.turns.since.elapsed() > SLICE;
        if let Some((index, thread)) = before.and_then(|at| Some((at, self.threads.get(at)?))) {
            let may_go_on = self.turns.calls < CALLS || self.threads.len() == 1;
            match (thread.is_stopped(), may_go_on) {
                (true, true) => return Turn::Of(index),
                (true, false) => self.turns.calls = 0,
                (false, _) if !is_over && !self.is_asleep(thread) => return Turn::Taken,
                (false, _) => {}
            }
        }
        let is_known = |thread: &Thread| thread.is_stopped() || self.is_asleep(thread);
        let is_settled = self.threads.iter().all(is_known);
        if !is_over && !is_settled {
            return Turn::Taken;
        }
        let count = self.threads.len();
        let after = before.map_or(0, |index| index + 1);
        let mut round = (after..after + count).map(|index| index % count.max(1));
        if let Some(next) = round.find(|it| self.threads.get(*it).is_some_and(Thread::is_stopped)) {
            return Turn::Of(next);
        }
        // Each has been looked at a second time then: one that was woken between the looks runs
        // at the second, or has stopped.
        if self.memory.is_some() && is_settled && self.all_sleep() {
            Turn::AllSleep
        } else {
            Turn::Taken
        }
    }

    /// Whether all its threads sleep, those that are held aside.
    pub(super) fn all_sleep(&self) -> bool {
        self.threads.iter().all(|thread| self.is_asleep(thread))
    }

    fn is_asleep(&self, thread: &Thread) -> bool {
        match thread.state {
            State::Held(..) => true,
            _ if self.turns.id == thread.id && self.turns.is_new() => false,
            // The first thread has ended, which stays until the others have.
            State::In(call) if call.number.cast_signed() == libc::SYS_exit => {
                thread.id == self.pid && self.threads.len() > 1 && sleep::has_ended(self.pid)
            }
            State::In(call) => !sleep::ends(&call) && sleep::sleeps(self.pid, thread.id),
            _ => false,
        }
    }
}

impl Thread {
    /// Whether it can be let go on.
    fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped(_) | State::At(_))
    }
}
