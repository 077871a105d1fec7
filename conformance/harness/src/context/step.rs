//! A program that is followed from system call to system call, on a clock that moves on whenever
//! nothing else is left to do.

use std::io;
use std::time::{Duration, Instant};

use nix::libc;
use pause_sandbox::step::{Call, Next, Stepper};

use super::Pod;
use crate::outcome::Stop;
use crate::process::ExitStatus;
use crate::seccomp;

/// Signals that the kernel sends for what an instruction did.
const FAULTS: [i32; 5] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
];

/// How often one may come with no system call between: the kernel does not let a fault end a
/// process 1 that is traced (`force_sig_info_to_task`).
const FAULTS_AT_MOST: u32 = 16;

/// How soon most calls are over.
const AT_ONCE: Duration = Duration::from_micros(200);

/// After what time one is looked at for whether it has ended, or computes.
const LONG: Duration = Duration::from_millis(1);

/// The longest that one is followed, by the clock: after that the host is too busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// How much processor time one takes without a system call, until it is as good as sure that it
/// does nothing else. By that alone: one that is not let run on a busy host computes nothing.
const COMPUTES: Duration = Duration::from_millis(300);

/// The most processor time of one that is followed.
const FOLLOWED: Duration = Duration::from_secs(10);

/// The most calls that are followed with no rest between.
const CALLS: u64 = 3_000;

/// The most calls that are followed at all of one that has waited and does not rest.
const CALLS_IN_ALL: u64 = 100_000;

/// How long one that sleeps for what comes from outside is waited for, where a time of its own
/// may run in the kernel.
const REAL: Duration = Duration::from_millis(300);

/// Calls that have to do with no descriptor: what a static program makes before its `main`.
const BLIND: [&str; 14] = [
    "arch_prctl",
    "brk",
    "getpid",
    "getrandom",
    "mprotect",
    "prlimit64",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "set_robust_list",
    "set_tid_address",
    "uname",
];

/// What a program that is followed has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is about to make this call.
    Call(Call),
    /// It rests: nothing but what comes from outside wakes it.
    Rests,
    /// It sleeps, and may wake by itself.
    Sleeps,
    /// So much time is over on its clock.
    Late,
    /// It has ended.
    Ended(ExitStatus),
}

/// A program that the calling thread follows.
pub(super) struct Steps {
    stepper: Stepper,
    /// What hinders this one hinders all that are started as it was.
    is_usual: bool,
    began: Instant,
    executed: bool,
    /// Where its clock stands at most.
    until: Duration,
    calls: u64,
    total: u64,
    wakes: u64,
    /// Where its clock stood when it last woke.
    woke: Duration,
    faults: u32,
    /// How much it had written, when it was last seen to sleep.
    written: u64,
    /// When it was last seen to do something.
    acted: Instant,
    /// Its processor time, when it was first seen to make no call, though it sleeps in none.
    computes: Option<Duration>,
    /// Whether each of its calls would be answered the same whatever its standard streams are.
    is_blind: bool,
}

impl Steps {
    /// Lets the program of a held sandbox be executed, and follows it from there.
    pub(super) fn begin(pod: &mut Pod<'_>, is_usual: bool) -> Result<Self, Stop> {
        let stepper = Stepper::seize(pod.pid()).map_err(|error| failed(pod, &error))?;
        pod.open_gate()?;
        Ok(Self {
            stepper,
            is_usual,
            began: Instant::now(),
            executed: false,
            until: Duration::MAX,
            calls: 0,
            total: 0,
            wakes: 0,
            woke: Duration::ZERO,
            faults: 0,
            written: 0,
            acted: Instant::now(),
            computes: None,
            is_blind: true,
        })
    }

    /// So much later on its clock it is late.
    pub(super) fn allow(&mut self, time: Duration) {
        self.until = self.stepper.clock().saturating_add(time);
        self.stepper.stop_clock_at(self.until);
        self.calls = 0;
    }

    /// How far its clock has moved on by itself.
    pub(super) fn clock(&self) -> Duration {
        self.stepper.clock()
    }

    /// How often a wait was over or a timer, since it was executed.
    pub(super) fn wakes(&self) -> u64 {
        self.wakes
    }

    /// How many calls it has made since the first of them.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many processes it has started.
    pub(super) fn started(&self) -> u64 {
        self.stepper.started()
    }

    /// Whether the order of its calls is its own alone.
    pub(super) fn has_one_thread(&self) -> bool {
        self.stepper.threads() == 1
    }

    /// Where it sleeps, in words.
    pub(super) fn sleeps_in(&self) -> Option<Call> {
        self.stepper.sleeps_in()
    }

    /// Sets it back right before the call that it is about to make.
    pub(super) fn set_back(&mut self, pod: &mut Pod<'_>) -> Result<(), Stop> {
        self.stepper
            .set_back()
            .map_err(|error| failed(pod, &error))?;
        // The call comes again.
        self.calls -= 1;
        Ok(())
    }

    /// Sends it a signal, as it comes to a program that nobody stops.
    pub(super) fn signal(&mut self, pod: &mut Pod<'_>, number: i32) -> Result<(), Stop> {
        let sent = self.stepper.signal_first(number);
        if !sent.map_err(|error| failed(pod, &error))? {
            pod.signal(number)?;
        }
        self.poke();
        Ok(())
    }

    /// Something was done to it from outside.
    pub(super) fn poke(&mut self) {
        self.stepper.poke();
        self.acted = Instant::now();
        self.computes = None;
    }

    /// What it does next.
    pub(super) fn next(&mut self, pod: &mut Pod<'_>) -> Result<Seen, Stop> {
        let seen = self.look(pod);
        if let Err(Stop::Skip(why)) = &seen
            && self.is_usual
        {
            pod.context()
                .shared
                .unfollowable
                .get_or_init(|| why.clone());
        }
        seen
    }

    fn look(&mut self, pod: &mut Pod<'_>) -> Result<Seen, Stop> {
        loop {
            self.expect_time()?;
            if self.executed && self.stepper.clock() >= self.until {
                return Ok(Seen::Late);
            }
            let next = self.stepper.go_on().map_err(|error| failed(pod, &error))?;
            match next {
                Next::Nothing => {
                    if let Some(status) = self.pass_time(pod)? {
                        return Ok(Seen::Ended(status));
                    }
                    continue;
                }
                Next::Rests if self.has_output(pod) => continue,
                Next::Rests => return Ok(Seen::Rests),
                Next::Sleeps if self.acted.elapsed() < REAL => {
                    if let Some(status) = self.pass_time(pod)? {
                        return Ok(Seen::Ended(status));
                    }
                    continue;
                }
                Next::Sleeps => return Ok(Seen::Sleeps),
                Next::Late => return Ok(Seen::Late),
                Next::Executed => self.executed = true,
                Next::Signal(number) => self.note_fault(number)?,
                Next::Woke => {
                    self.wakes += 1;
                    // One that waits for no time at all does not wait.
                    let now = self.stepper.clock();
                    if std::mem::replace(&mut self.woke, now) != now {
                        self.calls = 0;
                    }
                }
                Next::Call(call) => {
                    self.note_call()?;
                    self.is_blind &= BLIND.contains(&&*seccomp::name_of(&call));
                    self.saw_it_act();
                    return Ok(Seen::Call(call));
                }
            }
            self.saw_it_act();
        }
    }

    fn saw_it_act(&mut self) {
        self.acted = Instant::now();
        self.computes = None;
    }

    /// Takes what it has written; one that sleeps over that goes on.
    fn has_output(&mut self, pod: &mut Pod<'_>) -> bool {
        let written = pod.written();
        std::mem::replace(&mut self.written, written) != written
    }

    fn note_call(&mut self) -> Result<(), Stop> {
        self.faults = 0;
        self.calls += 1;
        self.total += u64::from(self.wakes > 0);
        if self.calls > CALLS {
            return Err(Stop::Skip(format!(
                "the program makes more than {CALLS} system calls and does not wait"
            )));
        }
        if self.total > CALLS_IN_ALL {
            return Err(Stop::Skip(format!(
                "the program makes more than {CALLS_IN_ALL} system calls and does not rest"
            )));
        }
        Ok(())
    }

    fn note_fault(&mut self, number: i32) -> Result<(), Stop> {
        self.faults += u32::from(FAULTS.contains(&number));
        if self.faults > FAULTS_AT_MOST {
            return Err(Stop::Skip(
                "the program crashes, which does not end a process 1 that is traced".to_owned(),
            ));
        }
        Ok(())
    }

    /// Lets time pass, in which it runs; how it has ended, if it has.
    fn pass_time(&mut self, pod: &mut Pod<'_>) -> Result<Option<ExitStatus>, Stop> {
        let idle = self.acted.elapsed();
        if idle < AT_ONCE {
            std::thread::yield_now();
            return Ok(None);
        }
        pod.await_event(AT_ONCE)?;
        if idle < LONG {
            return Ok(None);
        }
        pod.drain();
        if let Some(status) = pod.ended()? {
            return Ok(Some(status));
        }
        if pod.is_ending() {
            pod.reap_members();
        }
        // One that has ended meanwhile has none; its end is what comes next.
        let Ok(used) = pod.processor_time() else {
            return Ok(None);
        };
        let before = *self.computes.get_or_insert(used);
        let most = pod.context().scaled(COMPUTES);
        if used.saturating_sub(before) > most || used > FOLLOWED {
            if self.is_usual && self.is_blind {
                pod.context().shared.is_blind.get_or_init(|| ());
            }
            return Err(Stop::Skip(
                "the program computes and makes no system call, by which alone it is followed"
                    .to_owned(),
            ));
        }
        Ok(None)
    }

    /// Whether the host lets it be followed at all.
    fn expect_time(&self) -> Result<(), Stop> {
        if self.began.elapsed() > PATIENCE {
            return Err(Stop::Inconclusive(
                "the host is too busy for the program to be followed".to_owned(),
            ));
        }
        Ok(())
    }
}

/// What is not the program's fault, and what of it cannot be followed.
fn failed(pod: &mut Pod<'_>, error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::Unsupported => Stop::Skip(
            "its system calls are not those of this processor's own programs, which alone are \
             followed"
                .to_owned(),
        ),
        _ => pod.harness_failed("follow its system calls", error),
    }
}
