//! A pod sandbox in a check's hands: the pause process, its streams, its /proc.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use procfs::process::{Process, Stat, Status};

use super::{Context, PROMPTLY, Stopwatch, start_error};
use crate::backend::{Join, Namespaces, Sandbox, Spec, Stdio};
use crate::emulator;
use crate::outcome::{Finding, Stop};
use crate::probe::Probe;
use crate::shortage;
use crate::signal;

/// How much of a stream is kept; what comes beyond is counted only.
const KEPT: usize = 4096;

/// How long a process that is ending may take to end.
const ENDS: Duration = Duration::from_secs(10);

/// How soon a process ends that has killed the others of its pid namespace.
const ENDS_NEXT: Duration = Duration::from_millis(100);

/// A started sandbox. Dropping it removes it.
pub struct Pod<'a> {
    pub(super) context: Context<'a>,
    pub(super) sandbox: Box<dyn Sandbox>,
    pub(super) stdio: Stdio,
    output: [Output; 2],
    /// Pidfds of the probes and workloads that were let into its pid namespace.
    pub(super) members: Vec<OwnedFd>,
    /// What was done that must not end it: from then on its end is a failure.
    provoked: Option<String>,
    /// It was sent SIGKILL.
    pub(super) killed: bool,
    /// Signals that it was sent, from outside, to end it.
    pub(super) told: u64,
    /// All that it was sent from outside.
    pub(super) sent: Vec<i32>,
    /// How it was started, where the suite itself executed the program.
    pub(super) start: Option<Spec>,
    /// Signals that were blocked at exec: the program did not block them.
    pub(super) blocked: u64,
    /// It was awaited, and was ready.
    was_ready: bool,
    /// It showed no readiness for so long that it was taken for a program that shows none.
    pub(super) assumed: bool,
}

/// What came from one stream.
#[derive(Clone, Debug, Default)]
struct Output {
    kept: Vec<u8>,
    /// How much is kept, where that is more than usual.
    room: usize,
    total: u64,
}

/// What /proc says that a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// `R`, `S`, `D`, `T`, `Z`.
    pub state: char,
    /// User and system time, in clock ticks.
    pub ticks: u64,
    /// Context switches of all threads, voluntary and not.
    pub switches: u64,
}

impl<'a> Pod<'a> {
    pub(super) fn new(context: Context<'a>, mut sandbox: Box<dyn Sandbox>, blocked: u64) -> Self {
        let stdio = sandbox.take_stdio();
        Self {
            context,
            sandbox,
            stdio,
            output: Default::default(),
            members: Vec::new(),
            provoked: None,
            killed: false,
            told: 0,
            sent: Vec::new(),
            start: None,
            blocked,
            was_ready: false,
            assumed: false,
        }
    }

    /// What made it.
    pub fn context(&self) -> Context<'a> {
        self.context
    }

    /// Process id of the pause process as the suite sees it.
    pub fn pid(&self) -> i32 {
        self.sandbox.host_pid()
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.sandbox.pidfd()
    }

    /// A stopwatch that counts only time in which the pause process could run.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch::start(self.pid())
    }

    /// Executes the program of a held sandbox. Waits where another start is just finding out how
    /// the program becomes ready.
    ///
    /// # Errors
    /// As [`Context::start_unready`].
    pub fn release(&mut self) -> Result<(), Stop> {
        drop(self.context.known());
        self.sandbox.release().map_err(|error| start_error(&error))
    }

    /// A held one, once its program is executed and ready.
    ///
    /// # Errors
    /// As [`Context::start`].
    pub fn started(mut self) -> Result<Self, Stop> {
        self.release()?;
        self.await_ready()?;
        Ok(self)
    }

    /// Lets a held sandbox go on, and does not wait for its exec: for a tracer.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it is gone.
    pub fn open_gate(&mut self) -> Result<(), Stop> {
        match self.sandbox.open_gate() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.harness_failed("open its gate", &error)),
        }
    }

    /// Waits until the program is ready, as [`Context::start`] does.
    ///
    /// # Errors
    /// As [`Context::start`].
    pub fn await_ready(&mut self) -> Result<(), Stop> {
        super::ready::await_ready(self)?;
        self.was_ready = true;
        Ok(())
    }

    /// Sends a signal from outside, as a runtime does.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the process had ended.
    pub fn signal(&mut self, number: i32) -> Result<(), Stop> {
        self.killed |= number == signal::KILL;
        if let Err(error) = self.sandbox.signal(number) {
            return Err(self.harness_failed(&format!("send {}", signal::name(number)), &error));
        }
        self.sent.push(number);
        match number {
            signal::TERM | signal::INT => self.told |= signal::bit(number),
            signal::KILL => {}
            _ => self.provoke(&signal::name(number)),
        }
        Ok(())
    }

    /// Starts the probe inside.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the pause process had ended.
    pub fn enter(&mut self, join: &Join) -> Result<Probe, Stop> {
        let entered = self.sandbox.enter(join).and_then(|probe| {
            if join.namespaces.contains(Namespaces::PID) {
                self.members.push(probe.pidfd().try_clone_to_owned()?);
            }
            Ok(probe)
        });
        entered.map_err(|error| self.harness_failed("enter its namespaces", &error))
    }

    /// Says what is done to it that must not end it: if it has ended from then on, the check fails.
    pub fn provoke(&mut self, after: &str) {
        self.provoked = Some(after.to_owned());
    }

    /// Turns an error of the probe into the check's: the image's fault where the
    /// pause process has ended, else the suite's.
    pub fn harness_failed(&mut self, doing: &str, error: &std::io::Error) -> Stop {
        // Members of its pid namespace are killed while a pause process ends, which takes a moment.
        let killed = error.kind() == std::io::ErrorKind::ConnectionAborted;
        let missing = error.raw_os_error() == Some(nix::libc::ESRCH);
        if killed || missing || self.is_ending() {
            self.reap_members();
        }
        let patience = match (self.is_ending(), killed || missing) {
            (true, _) => ENDS,
            // If the pause process had ended, that would show first.
            (false, true) => ENDS_NEXT,
            (false, false) => Duration::ZERO,
        };
        match self.await_end(patience) {
            Ok(Some(status)) => {
                let observed = format!("{status} before the suite could {doing}");
                match self.provoked.clone() {
                    None => Stop::NotRunning(
                        self.finding("the pause process is running".to_owned(), observed),
                    ),
                    Some(after) => {
                        Stop::Ended(self.finding(format!("still running after {after}"), observed))
                    }
                }
            }
            Ok(None) if killed => {
                self.lose();
                Stop::Fail(
                    self.finding(
                        "a process that joins the sandbox lives until the pause process ends"
                            .to_owned(),
                        format!("{error}; the pause process still runs"),
                    ),
                )
            }
            _ if error.kind() == std::io::ErrorKind::TimedOut => Stop::Inconclusive(format!(
                "the host gave too little processor time to {doing}: {error}"
            )),
            _ => match shortage::of(error) {
                Some(short) => Stop::Inconclusive(format!("cannot {doing}: {error}: {short}")),
                None => Stop::Error(format!("cannot {doing}: {error}")),
            },
        }
    }

    /// Notes that a process of the suite's own in the pod has ended, and the suite did not end it.
    pub(super) fn lose(&self) {
        if let Some(watch) = self.context.watch {
            watch.lose();
        }
    }

    /// A finding among members of its pod. Where the pause process has ended, that is the finding:
    /// the member that was asked, or one that it needs, may have ended with it.
    pub fn blame(&mut self, doing: &str, finding: Finding) -> Stop {
        let cut_off = std::io::ErrorKind::ConnectionAborted.into();
        match self.harness_failed(doing, &cut_off) {
            ended @ (Stop::NotRunning(_) | Stop::Ended(_)) => ended,
            _ => finding.into(),
        }
    }

    /// Whether it is ending or has ended: a process releases its memory first (then it has no size,
    /// proc_pid_statm(5)), and an error that its end causes may be seen before the end itself.
    pub(super) fn is_ending(&self) -> bool {
        let sizes = std::fs::read(format!("/proc/{}/statm", self.pid()));
        sizes.map_or(true, |sizes| sizes.starts_with(b"0 "))
    }

    /// Reaps the probes that were killed with one of them: while their zombies are there,
    /// PID 1 of their namespace cannot end (pid_namespaces(7)).
    pub(super) fn reap_members(&self) {
        for member in &self.members {
            match crate::wait::readable(member.as_fd(), PROMPTLY) {
                // Fails for those that were reaped before.
                Ok(true) => drop(crate::process::wait(member.as_fd())),
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Its /proc directory.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it has ended.
    pub fn process(&mut self) -> Result<Process, Stop> {
        match Process::new(self.pid()) {
            Ok(process) => Ok(process),
            Err(error) => Err(self.harness_failed("read its /proc", &std::io::Error::other(error))),
        }
    }

    /// /proc/PID/status.
    ///
    /// # Errors
    /// As [`Pod::process`].
    pub fn status(&mut self) -> Result<Status, Stop> {
        match self.process()?.status() {
            Ok(status) => Ok(status),
            Err(error) => Err(self.harness_failed("read its /proc", &std::io::Error::other(error))),
        }
    }

    /// /proc/PID/stat.
    ///
    /// # Errors
    /// As [`Pod::process`].
    pub fn stat(&mut self) -> Result<Stat, Stop> {
        match self.process()?.stat() {
            Ok(stat) => Ok(stat),
            Err(error) => Err(self.harness_failed("read its /proc", &std::io::Error::other(error))),
        }
    }

    /// State, processor time and context switches, all threads together.
    ///
    /// # Errors
    /// As [`Pod::process`].
    pub fn state(&mut self) -> Result<ProcessState, Stop> {
        let stat = self.stat()?;
        let tasks = match self.process()?.tasks() {
            Ok(tasks) => tasks,
            Err(error) => {
                return Err(self.harness_failed("read its /proc", &std::io::Error::other(error)));
            }
        };
        let switches = tasks
            .filter_map(|task| task.ok()?.status().ok())
            .map(|status| {
                status.voluntary_ctxt_switches.unwrap_or(0)
                    + status.nonvoluntary_ctxt_switches.unwrap_or(0)
            })
            .sum();
        Ok(ProcessState {
            state: stat.state,
            ticks: stat.utime + stat.stime,
            switches,
        })
    }

    /// The namespaces it is in, by type, as inode numbers.
    ///
    /// # Errors
    /// As [`Pod::process`].
    pub fn namespaces(&mut self) -> Result<std::collections::BTreeMap<String, u64>, Stop> {
        match self.process()?.namespaces() {
            Ok(all) => Ok(all
                .0
                .into_iter()
                .map(|(name, namespace)| {
                    (name.to_string_lossy().into_owned(), namespace.identifier)
                })
                .collect()),
            Err(error) => {
                Err(self.harness_failed("read its namespaces", &std::io::Error::other(error)))
            }
        }
    }

    /// Waits until all that it has written so far can be read, where that takes its time.
    ///
    /// # Errors
    /// [`Stop::Error`] where it does not come.
    pub(super) fn settle_output(&mut self) -> Result<(), Stop> {
        self.sandbox
            .settle_output()
            .map_err(|error| Stop::Error(format!("what it has written does not come: {error}")))
    }

    /// What it has written to standard output and error so far, and how many bytes in all.
    pub fn output(&mut self) -> (String, u64) {
        self.drain();
        let text = self
            .output
            .iter()
            .map(|o| String::from_utf8_lossy(&o.kept))
            .collect::<Vec<_>>()
            .join("");
        (text, self.output.iter().map(|o| o.total).sum())
    }

    /// How many bytes it has written so far.
    pub(super) fn written(&mut self) -> u64 {
        self.drain();
        self.output.iter().map(|output| output.total).sum()
    }

    /// What it has written to standard output alone.
    pub fn stdout(&mut self) -> String {
        self.drain();
        String::from_utf8_lossy(&self.output[0].kept).into_owned()
    }

    /// What it has written to standard error alone.
    pub fn stderr(&mut self) -> String {
        self.drain();
        String::from_utf8_lossy(&self.output[1].kept).into_owned()
    }

    /// Keeps this much of its standard error.
    pub(super) fn keep_stderr(&mut self, room: usize) {
        self.output[1].room = room;
    }

    /// Nothing has been provoked yet, and nothing can be once the emulator says that it crashed.
    ///
    /// # Errors
    /// [`Stop::Inconclusive`] with what it says.
    pub(super) fn expect_emulated(&mut self) -> Result<(), Stop> {
        match self.gave_up() {
            None => Ok(()),
            Some(words) => Err(Stop::Inconclusive(words)),
        }
    }

    /// Whether the emulator, if there is one, has crashed, and in which words.
    fn gave_up(&mut self) -> Option<String> {
        let emulation = self.context.emulation()?.to_owned();
        let end = self.sandbox.try_wait().ok().flatten();
        let words = emulator::gave_up(&self.stderr(), end)?;
        Some(format!("{emulation}, which gave up: {words}"))
    }

    /// Closes our end of its standard input.
    pub fn close_stdin(&mut self) {
        self.stdio.stdin = None;
    }

    /// Closes our ends of its standard output and error.
    pub fn close_output(&mut self) {
        self.drain();
        self.stdio.stdout = None;
        self.stdio.stderr = None;
        self.stdio.unread.clear();
    }

    /// The most memory its cgroup has accounted for, in bytes.
    pub fn memory_used(&self) -> Option<u64> {
        self.sandbox.memory_used()
    }

    /// What its root lacks of the image on this host, in words.
    pub fn lacks(&self) -> Vec<String> {
        self.sandbox.lacks().to_vec()
    }

    /// A finding with what the program wrote as evidence.
    pub fn finding(&mut self, expected: String, observed: String) -> Finding {
        let mut finding = Finding::new(expected, observed);
        for (name, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if !text.is_empty() {
                finding = finding.with(format!("{name}: {}", text.escape_debug()));
            }
        }
        finding
    }

    /// Takes what it has written.
    pub(super) fn drain(&mut self) {
        for (stream, output) in [&mut self.stdio.stdout, &mut self.stdio.stderr]
            .into_iter()
            .zip(&mut self.output)
        {
            // With a stream at its end, poll(2) would return at once.
            if stream.as_ref().is_some_and(|stream| output.read(stream)) {
                *stream = None;
            }
        }
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        if let Some(noted) = self.context.noted {
            if let Some(words) = self.gave_up() {
                let _ = noted.gave_up.set(words);
            }
            if self.was_ready && self.sent.is_empty() && !self.killed && self.is_ending() {
                let _ = noted.ended.set(());
            }
        }
        if let Some(watch) = self.context.watch {
            match self.sandbox.shortage(self.killed) {
                Some(shortage) => watch.note(shortage),
                None if self.sandbox.may_have_been_refused() => watch.doubt(),
                None => {}
            }
        }
    }
}

impl Output {
    /// Takes what is there, up to a bound, so that a flood cannot hold the suite up;
    /// `true` at the stream's end.
    fn read(&mut self, stream: &OwnedFd) -> bool {
        let mut buffer = [0; 4096];
        for _ in 0..64 {
            match rustix::io::read(stream, &mut buffer) {
                Ok(0) => return true,
                Err(_) => return false,
                Ok(length) => {
                    self.total += length as u64;
                    let room = KEPT.max(self.room).saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                }
            }
        }
        false
    }
}
