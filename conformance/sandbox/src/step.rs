//! A program under the eyes of the suite, from system call to system call, in all its threads,
//! on a clock that moves on as soon as nothing else is left to do.
//!
//! A tracer can know where others watch. A signal can be put right before a call: between the
//! program's last test and its wait. And a program whose threads all sleep, in calls that have
//! no end by themselves, is at rest: nothing but an event from outside wakes it.

use std::io;
use std::time::{Duration, Instant};

use nix::libc;

use crate::sys::{self, Registers, TraceStop, Waited};

mod clocks;
mod memory;
mod sleep;
mod timers;
mod turns;
mod waits;

use memory::Memory;
use timers::Timers;
use turns::{Turn, Turns};
use waits::{Lapse, Wait};

pub use crate::sys::Call;

/// How long a thread may take that must stop or end at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// So often a program looks at a clock, one time after the other, that does not wait for it.
const LOOKS_AT_CLOCK: u32 = 32;

/// How soon the children end that a program starts for a moment.
const CHILD_ENDS: Duration = Duration::from_millis(100);

/// How far the clock moves on with each look of one that does, and of one that goes on so.
const SPINS: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

/// So often one looks until it goes on so.
const LOOKS_ON: u32 = 1000;

/// What has come of letting a program go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet: it runs, or has ended.
    Nothing,
    /// It has executed a program.
    Executed,
    /// A thread is about to make this call.
    Call(Call),
    /// This signal is about to be delivered.
    Signal(i32),
    /// All its threads sleep, and nothing but what comes from outside wakes one.
    Rests,
    /// All its threads sleep. It may wake by itself all the same: it has children of its own, or
    /// a time runs in the kernel.
    Sleeps,
    /// A wait was over: the clock has moved on.
    Woke,
    /// Nothing more until its clock stands where it is to stop.
    Late,
}

/// What a thread does.
#[derive(Clone, Copy, Debug)]
enum State {
    Runs,
    /// It has entered this call, and was let go on.
    In(Call),
    /// It has entered a wait that was made short.
    Lapses(Call, Lapsed),
    /// It has stopped at the entry of a wait that ends by itself.
    Held(Call, Wait),
    /// It has stopped, and waits to be let go on with this signal.
    Stopped(i32),
    /// It has stopped at the entry of this call.
    At(Call),
}

/// A wait that was made short.
#[derive(Clone, Copy, Debug)]
struct Lapsed {
    restore: Restore,
    /// Where the clock stands when the time is over; without it the wait goes on then.
    until: Option<Duration>,
}

/// What is put right at the end of a wait that was made short.
#[derive(Clone, Copy, Debug)]
enum Restore {
    Result(i64),
    Argument(usize, u64),
    Time(u64, [u8; 16]),
}

#[derive(Debug)]
struct Thread {
    id: i32,
    state: State,
    /// When the wait ends in which it is held.
    until: Option<Duration>,
    /// What it waits for may have come.
    is_poked: bool,
}

/// A program that the thread which made this follows. It dies with that thread.
#[derive(Debug)]
pub struct Stepper {
    pid: i32,
    threads: Vec<Thread>,
    memory: Option<Memory>,
    /// How far its clock is ahead.
    ahead: Duration,
    /// How far it may be.
    limit: Duration,
    /// How often it has looked at a clock, one time after the other.
    looks: u32,
    timers: Timers,
    may_wake_later: bool,
    /// How many processes it has started.
    started: u64,
    /// When it has started one whose end is waited for before the clock moves on.
    awaits_child: Option<Instant>,
    turns: Turns,
}

impl Stepper {
    /// Seizes a child of the calling thread, and stops it.
    ///
    /// # Errors
    /// As ptrace(2): EPERM where it may not be traced.
    pub fn seize(pid: i32) -> io::Result<Self> {
        sys::trace_seize(pid, sys::THREADS_AND_EXEC)?;
        sys::trace_interrupt(pid)?;
        Ok(Self {
            pid,
            threads: vec![Thread::new(pid)],
            memory: None,
            ahead: Duration::ZERO,
            limit: Duration::MAX,
            looks: 0,
            timers: Timers::of(pid)?,
            may_wake_later: false,
            started: 0,
            awaits_child: None,
            turns: Turns::new(pid),
        })
    }

    /// How far its clock has moved on by itself.
    pub fn clock(&self) -> Duration {
        self.ahead
    }

    /// Has its clock stop there.
    pub fn stop_clock_at(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// How many processes it has started.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// The call that its first thread sleeps in.
    pub fn sleeps_in(&self) -> Option<Call> {
        let first = self.threads.iter().find(|thread| thread.id == self.pid)?;
        match first.state {
            State::In(call) | State::Held(call, _) => Some(call),
            _ => None,
        }
    }

    /// Lets it go on from where it has stopped, and looks once what comes of it.
    ///
    /// # Errors
    /// As ptrace(2), and where its memory or its registers cannot be read.
    pub fn go_on(&mut self) -> io::Result<Next> {
        match self.look() {
            Err(error) if is_of_one_gone(&error) => Ok(Next::Nothing),
            other => other,
        }
    }

    fn look(&mut self) -> io::Result<Next> {
        loop {
            match self.take_stops()? {
                Next::Nothing => {}
                next => return Ok(next),
            }
            match self.turn() {
                Turn::Of(index) => self.let_go(index)?,
                Turn::Taken => return Ok(Next::Nothing),
                Turn::AllSleep => return self.move_on(),
            }
        }
    }

    /// Takes what its threads have stopped for, up to the first of which something is told; what
    /// stops beside the one whose turn it is can wait.
    fn take_stops(&mut self) -> io::Result<Next> {
        if let Some(index) = self.whose_turn() {
            let (next, is_done) = self.take_stop(index)?;
            if is_done || next != Next::Nothing || self.turns.is_new() {
                return Ok(next);
            }
        }
        let ids: Vec<i32> = self.threads.iter().map(|thread| thread.id).collect();
        for id in ids {
            if let Some(index) = self.threads.iter().position(|thread| thread.id == id) {
                let (next, _) = self.take_stop(index)?;
                if next != Next::Nothing {
                    return Ok(next);
                }
            }
        }
        Ok(Next::Nothing)
    }

    /// The same for one of them, and whether it had stopped.
    fn take_stop(&mut self, index: usize) -> io::Result<(Next, bool)> {
        let Some(thread) = self.threads.get(index) else {
            return Ok((Next::Nothing, false));
        };
        let is_first = thread.id == self.pid;
        match sys::step_wait(thread.id, is_first)? {
            Waited::At(stop) => Ok((self.stopped(index, stop)?, true)),
            Waited::Gone if !is_first => {
                self.threads.remove(index);
                Ok((Next::Nothing, false))
            }
            Waited::Nothing | Waited::Gone => Ok((Next::Nothing, false)),
        }
    }

    /// Sets the thread that is about to make a call back onto its instruction: what is sent now
    /// comes right before it, and the call is made after that.
    ///
    /// # Errors
    /// As ptrace(2); `InvalidInput` where no thread is about to make a call.
    pub fn set_back(&mut self) -> io::Result<()> {
        let at = |thread: &Thread| matches!(thread.state, State::At(_));
        let index = self.threads.iter().position(at);
        let thread = index.and_then(|index| self.threads.get_mut(index));
        let Some((thread, State::At(call))) = thread.map(|thread| {
            let state = thread.state;
            (thread, state)
        }) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        sys::skip_call(thread.id)?;
        sys::trace_continue(thread.id, 0)?;
        let began = Instant::now();
        while began.elapsed() < AT_ONCE {
            match sys::step_wait(thread.id, thread.id == self.pid)? {
                Waited::Nothing => std::thread::yield_now(),
                Waited::Gone => return Ok(()),
                Waited::At(_) => {
                    let mut registers = Registers::of(thread.id)?;
                    registers.set_back(&call);
                    registers.give(thread.id)?;
                    thread.state = State::Stopped(0);
                    return Ok(());
                }
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Sends the first of several threads a signal of its process, where the kernel would choose
    /// that one had nobody stopped it; whether it is so.
    ///
    /// # Errors
    /// As tgkill(2).
    pub fn signal_first(&self, signal: i32) -> io::Result<bool> {
        let is_stopped = |thread: &Thread| matches!(thread.state, State::Stopped(_));
        let first = self.threads.iter().find(|thread| thread.id == self.pid);
        let is_first_choice = self.threads.len() > 1
            && first.is_some_and(is_stopped)
            && !sleep::is_blocked(self.pid, signal);
        if is_first_choice {
            unless_gone(sys::signal_thread(self.pid, self.pid, signal))?;
        }
        Ok(is_first_choice)
    }

    /// Tells that something has been done from outside: what its threads wait for may have come.
    pub fn poke(&mut self) {
        for thread in &mut self.threads {
            thread.is_poked = true;
        }
    }

    /// What to make of a stop.
    fn stopped(&mut self, index: usize, stop: TraceStop) -> io::Result<Next> {
        let Some(thread) = self.threads.get_mut(index) else {
            return Ok(Next::Nothing);
        };
        let before = std::mem::replace(&mut thread.state, State::Stopped(0));
        match stop {
            TraceStop::Signal(signal) => {
                thread.state = State::Stopped(signal);
                Ok(Next::Signal(signal))
            }
            TraceStop::SyscallExit => {
                match before {
                    State::Lapses(call, lapsed) => self.lapsed(index, &call, lapsed)?,
                    State::In(call) => {
                        self.tell_time(index, &call)?;
                        self.note_effect(index, &call)?;
                        self.others_may_go_on(index);
                    }
                    _ => {}
                }
                Ok(Next::Nothing)
            }
            TraceStop::SyscallEntry(_) if self.memory.is_none() => Ok(Next::Nothing),
            TraceStop::SyscallEntry(call) if call.abi != sys::NATIVE_ABI => {
                Err(io::ErrorKind::Unsupported.into())
            }
            TraceStop::SyscallEntry(call) => {
                thread.state = State::At(call);
                self.turns.note(&call);
                // One that is tried again is the same call.
                match thread.until {
                    Some(_) => Ok(Next::Nothing),
                    None => Ok(Next::Call(call)),
                }
            }
            TraceStop::Thread(id) => {
                // Some are other processes, which nobody is told of.
                if std::fs::exists(format!("/proc/{}/task/{id}", self.pid))? {
                    self.threads.push(Thread::new(id));
                }
                Ok(Next::Nothing)
            }
            TraceStop::Exec => {
                self.threads.retain(|thread| thread.id == self.pid);
                let memory = Memory::of(self.pid)?;
                clocks::hide_vdso(&memory, Registers::of(self.pid)?.stack())?;
                self.memory = Some(memory);
                Ok(Next::Executed)
            }
            TraceStop::Other => Ok(Next::Nothing),
        }
    }

    /// Has a call that asked for the time answered by the clock of the program.
    fn tell_time(&mut self, index: usize, call: &Call) -> io::Result<()> {
        let (Some(thread), Some(memory)) = (self.threads.get(index), &self.memory) else {
            return Ok(());
        };
        if !clocks::tells_time(call) {
            self.looks = 0;
            return Ok(());
        }
        self.looks += 1;
        if self.looks > LOOKS_AT_CLOCK {
            self.ahead += SPINS[usize::from(self.looks > LOOKS_ON)];
        }
        let mut registers = Registers::of(thread.id)?;
        if clocks::tell(call, memory, &mut registers, self.ahead)? {
            registers.give(thread.id)?;
        }
        Ok(())
    }

    /// Takes note of timers that a call has set, and of processes that it has started.
    fn note_effect(&mut self, index: usize, call: &Call) -> io::Result<()> {
        let (Some(thread), Some(memory)) = (self.threads.get(index), &self.memory) else {
            return Ok(());
        };
        let starts = waits::starts_process(call, memory).unwrap_or(false);
        if !(starts || timers::concern(call)) || Registers::of(thread.id)?.result() < 0 {
            return Ok(());
        }
        if starts {
            self.started += 1;
            self.awaits_child = Some(Instant::now());
            return Ok(());
        }
        let ahead = self.ahead;
        let clock = |clock| clocks::real_time(clock) + ahead;
        self.may_wake_later |= self.timers.note(call, memory, ahead, clock)?;
        Ok(())
    }

    /// A thread has done something: what others wait for may have come.
    fn others_may_go_on(&mut self, index: usize) {
        for (other, thread) in self.threads.iter_mut().enumerate() {
            thread.is_poked |= other != index;
        }
    }

    /// The end of a wait that was made short.
    fn lapsed(&mut self, index: usize, call: &Call, lapsed: Lapsed) -> io::Result<()> {
        let Some(thread) = self.threads.get_mut(index) else {
            return Ok(());
        };
        let mut registers = Registers::of(thread.id)?;
        match lapsed.restore {
            Restore::Result(value) => registers.set_result(value),
            Restore::Argument(at, value) => registers.set_argument(at, value),
            Restore::Time(at, bytes) => match &self.memory {
                Some(memory) => memory.write(at, &bytes)?,
                None => return Ok(()),
            },
        }
        match (Wait::is_over(call, registers.result()), lapsed.until) {
            (true, Some(until)) => {
                self.ahead = self.ahead.max(until);
                thread.until = None;
            }
            (true, None) => registers.set_back(call),
            (false, _) => thread.until = None,
        }
        let goes_on = thread.until.is_none();
        registers.give(thread.id)?;
        if goes_on {
            self.others_may_go_on(index);
        }
        Ok(())
    }

    /// Lets a thread go on that has stopped; one that is about to wait for a time is held.
    fn let_go(&mut self, index: usize) -> io::Result<()> {
        let Some(thread) = self.threads.get(index) else {
            return Ok(());
        };
        let (id, until) = (thread.id, thread.until);
        let (state, until, signal) = match thread.state {
            State::Stopped(signal) => (State::Runs, until, signal),
            State::At(call) => match self.wait_of(&call) {
                Some(wait) => {
                    let until = until.unwrap_or(self.ahead.saturating_add(wait.most));
                    (State::Held(call, wait), Some(until), 0)
                }
                None => (State::In(call), None, 0),
            },
            _ => return Ok(()),
        };
        if let Some(thread) = self.threads.get_mut(index) {
            (thread.state, thread.until) = (state, until);
        }
        if matches!(state, State::Held(..)) {
            return Ok(());
        }
        self.turns.begin(id);
        unless_gone(sys::trace_continue(id, signal))
    }

    fn wait_of(&mut self, call: &Call) -> Option<Wait> {
        let memory = self.memory.as_ref()?;
        self.may_wake_later |= waits::may_wake_later(call);
        let ahead = self.ahead;
        let now = |clock| clocks::real_time(clock) + ahead;
        // Where its pointer leads nowhere the kernel refuses the call.
        waits::wait_of(call, memory, now).unwrap_or(None)
    }

    /// Lets the timer that is over first tell so, or one of the waits go on that end by
    /// themselves: one of which what it waits for may have come, without its time, else the one
    /// that ends first.
    fn move_on(&mut self) -> io::Result<Next> {
        // A child does its work in the host's time.
        let is_soon = |started: &Instant| started.elapsed() < CHILD_ENDS;
        let awaited = self.awaits_child.take().filter(is_soon);
        if awaited.is_some() && sleep::has_living_children(self.pid) {
            self.awaits_child = awaited;
            return Ok(Next::Nothing);
        }
        let timer = self.timers.first().unwrap_or(Duration::MAX);
        let alone = self.threads.len() == 1;
        let held = |thread: &&mut Thread| matches!(thread.state, State::Held(..));
        let first = self.threads.iter_mut().filter(held);
        let first = first.min_by_key(|thread| (!thread.is_poked, thread.until));
        let is_poked = first.as_ref().is_some_and(|thread| thread.is_poked);
        let end = first.as_ref().and_then(|thread| thread.until);
        let end = end.unwrap_or(Duration::MAX);
        if !is_poked {
            if timer == Duration::MAX && first.is_none() {
                return Ok(self.without_time());
            }
            if timer.min(end) > self.limit {
                self.ahead = self.ahead.max(self.limit);
                return Ok(Next::Late);
            }
            if timer <= end {
                self.ahead = self.ahead.max(timer);
                self.timers.fire()?;
                self.poke();
                return Ok(Next::Woke);
            }
        }
        let Some((thread, State::Held(call, wait))) = first.map(|thread| {
            let state = thread.state;
            (thread, state)
        }) else {
            return Ok(Next::Nothing);
        };
        // Of one alone its answer tells whether its time was over.
        let may_end = alone && end <= self.limit.min(timer);
        let is_tried = std::mem::take(&mut thread.is_poked) && !may_end;
        let until = thread.until.filter(|_| !is_tried);
        let id = thread.id;
        let has_signal = matches!(wait.lapse, Lapse::Answer) && sleep::is_signaled(self.pid, id);
        if is_tried && matches!(wait.lapse, Lapse::Answer) && !has_signal {
            return Ok(Next::Nothing);
        }
        let restore = self.shorten(id, &call, wait, has_signal)?;
        let lapsed = Lapsed { restore, until };
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.id == id) {
            thread.state = State::Lapses(call, lapsed);
        }
        self.turns.begin(id);
        unless_gone(sys::trace_continue(id, 0))?;
        Ok(if is_tried { Next::Nothing } else { Next::Woke })
    }

    /// What all threads do that sleep, while no time of theirs runs.
    fn without_time(&self) -> Next {
        let has_children = self.started > 0 && sleep::has_living_children(self.pid);
        if !has_children && !self.sleeps_on() {
            Next::Nothing
        } else if self.may_wake_later || has_children {
            Next::Sleeps
        } else {
            Next::Rests
        }
    }

    /// Whether it sleeps on after the ends of processes that were seen: such an end may have woken
    /// it after it was seen asleep.
    fn sleeps_on(&self) -> bool {
        // The list of children is read under the lock under which a child ends and tells so. The
        // end shows in its state, and by a pidfd, before it is told; now it is.
        let has_children = sleep::has_living_children(self.pid);
        (self.started == 0 || !has_children) && self.all_sleep()
    }

    /// Makes a wait short; what is to be put right then.
    fn shorten(&self, id: i32, call: &Call, wait: Wait, has_signal: bool) -> io::Result<Restore> {
        match (wait.lapse, &self.memory) {
            (Lapse::Time(at, [first, second]), Some(memory)) => {
                let before = memory.read(at)?;
                let words = [first.to_ne_bytes(), second.to_ne_bytes()].concat();
                memory.write(at, &words)?;
                Ok(Restore::Time(at, before))
            }
            (Lapse::Argument(index, value), _) => {
                let mut registers = Registers::of(id)?;
                registers.set_argument(index, value);
                registers.give(id)?;
                Ok(Restore::Argument(index, call.arguments[index]))
            }
            (Lapse::Answer | Lapse::Time(..), _) => {
                sys::skip_call(id)?;
                let error = if has_signal { libc::EINTR } else { 0 };
                Ok(Restore::Result(-i64::from(error)))
            }
        }
    }
}

impl Drop for Stepper {
    /// The end of a thread that is traced is for its tracer to take: until then its process has
    /// not ended. The last of a process 1 waits for all others first, whichever it is.
    fn drop(&mut self) {
        let first = self.pid;
        self.threads.retain(|thread| thread.id != first);
        if let Some(thread) = self.threads.first() {
            // One that has ended needs no end.
            let _ = sys::signal_thread(first, thread.id, libc::SIGKILL);
        }
        let began = Instant::now();
        while !self.threads.is_empty() && began.elapsed() < AT_ONCE {
            let is_left = |thread: &mut Thread| {
                matches!(
                    sys::step_wait(thread.id, false),
                    Ok(Waited::At(_) | Waited::Nothing)
                )
            };
            self.threads.retain_mut(is_left);
            std::thread::yield_now();
        }
    }
}

/// Whether a child of the calling thread that runs can be followed on this host; it is left
/// stopped.
///
/// # Errors
/// As ptrace(2), and `Unsupported` where this processor's registers are not known.
pub fn is_possible(pid: i32) -> io::Result<()> {
    sys::trace_seize(pid, sys::THREADS_AND_EXEC)?;
    sys::trace_interrupt(pid)?;
    let began = Instant::now();
    while began.elapsed() < AT_ONCE {
        match sys::step_wait(pid, true)? {
            Waited::Nothing => std::thread::yield_now(),
            Waited::Gone => return Err(io::ErrorKind::NotFound.into()),
            Waited::At(_) => {
                sleep::is_told(pid)?;
                return Registers::of(pid)?.give(pid);
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

impl Thread {
    fn new(id: i32) -> Self {
        Self {
            id,
            state: State::Runs,
            until: None,
            is_poked: false,
        }
    }
}

/// What was killed cannot be let go on, and need not.
fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_of_one_gone(&error) => Ok(()),
        other => other,
    }
}

/// Whether a thread was killed where it had stopped: it can be asked nothing more, and has no
/// memory.
fn is_of_one_gone(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::UnexpectedEof, io::ErrorKind::WriteZero];
    error.raw_os_error() == Some(libc::ESRCH) || kinds.contains(&error.kind())
}
