//! Mixed pods: WASI workloads beside a pause process, and WASI pauses in a WASI runtime.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};
use std::os::fd::{AsFd, OwnedFd};

use super::{Context, PROMPTLY, Pod, ready};
use crate::backend::{Spec, StartError};
use crate::outcome::{Finding, Stop};
use crate::process::ExitStatus;
use crate::wasi_engine;
use crate::wasi_host::LISTENING;
use crate::workload::Workload;

/// How long a workload may take to serve, and to end once it was told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a workload's pid namespace is (CRI api.proto, `NamespaceMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidMode {
    /// The pod's.
    Shared,
    /// Its own, in which it is PID 1.
    Private,
}

impl<'a> Context<'a> {
    /// Starts the subject, a WASI program, in the WASI runtime that was chosen, as PID 1 of a
    /// sandbox, and waits until it is ready.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where it ended instead, [`Stop::Error`] where the host failed.
    pub fn start_engine(&self, spec: Spec) -> Result<Pod<'a>, Stop> {
        let spec = Spec {
            spared: self.shared.is_spared,
            ..spec
        };
        let (Some(backend), Some(wasm)) = (&self.shared.backend, &self.subject().wasm) else {
            return Err(Stop::Error(
                "the check needs a WASI program and declares no such need".to_owned(),
            ));
        };
        let engine = self.options().wasi_engine;
        let failed = |error: String| Stop::Error(format!("cannot run the WASI runtime: {error}"));
        let command = engine
            .command(&wasm.content)
            .map_err(|error| failed(error.to_string()))?;
        let blocked = spec.blocked;
        let sandbox = backend
            .start_engine(command, &spec)
            .map_err(|error: StartError| failed(error.to_string()))?;
        let mut pod = Pod::new(*self, sandbox, blocked);
        ready::await_ready(&mut pod)?;
        Ok(pod)
    }
}

impl Pod<'_> {
    /// Starts the WASI server beside the pause process, and waits until it listens on this
    /// port; with a process of its own that outlives it where a `helper` is asked for.
    ///
    /// # Errors
    /// [`Stop::Fail`] where the pause process has ended, or left its namespaces.
    pub fn run_guest(&mut self, port: u16, mode: PidMode, helper: bool) -> Result<Workload, Stop> {
        let started = wasi_engine::serve(port, helper)
            .and_then(|command| self.sandbox.run_beside(command, mode == PidMode::Shared));
        let mut guest =
            started.map_err(|error| self.harness_failed("start a WASI workload", &error))?;
        if mode == PidMode::Shared {
            self.members.push(
                guest
                    .pidfd()
                    .try_clone_to_owned()
                    .map_err(|error| Stop::Error(format!("cannot keep a pidfd: {error}")))?,
            );
        }
        let patience = self.context.scaled(PATIENCE);
        match guest.await_line(LISTENING, patience) {
            Ok(true) => Ok(guest),
            Ok(false) => {
                let how = self.guest_ended(&mut guest)?;
                Err(Stop::Error(how.unwrap_or_else(|| {
                    let said = guest.said();
                    format!("the WASI workload does not serve: {}", said.escape_debug())
                })))
            }
            Err(error) => Err(self.harness_failed("read what a WASI workload reports", &error)),
        }
    }

    /// How a missing workload has ended, if it has.
    ///
    /// # Errors
    /// [`Stop::Fail`] where it ended with the pause process.
    pub fn guest_ended(&mut self, guest: &mut Workload) -> Result<Option<String>, Stop> {
        // One that is killed closes what it has open first, and ends a moment later.
        let ends = self.context.scaled(PROMPTLY);
        let Some(status) = guest.await_end(ends).ok().flatten() else {
            self.not_taken_along(None, "a WASI workload joined")?;
            return Ok(None);
        };
        self.not_taken_along(Some(status), "a WASI workload joined")?;
        let said = guest.said_in_all();
        Ok(Some(format!(
            "the WASI workload {status}: {}",
            said.trim().escape_debug()
        )))
    }

    /// The end of the pause process kills a workload, which is then the image's fault; a workload
    /// may notice that end before the suite does.
    fn not_taken_along(&mut self, ended: Option<ExitStatus>, after: &str) -> Result<(), Stop> {
        if ended == Some(ExitStatus::Signaled(crate::signal::KILL)) || self.is_ending() {
            let cut_off = std::io::ErrorKind::ConnectionAborted.into();
            return Err(self.harness_failed("run a WASI workload", &cut_off));
        }
        self.expect_running(after)
    }

    /// Waits until a workload that was told to end has ended as it should.
    ///
    /// # Errors
    /// [`Stop::Fail`] where it ended with the pause process, else [`Stop::Error`].
    pub fn guest_ends(
        &mut self,
        guest: &mut Workload,
        wanted: ExitStatus,
        cause: &str,
    ) -> Result<(), Stop> {
        match self.await_guest_end(guest, PATIENCE)? {
            Some(status) if status == wanted => Ok(()),
            ended => {
                if ended == Some(ExitStatus::Signaled(crate::signal::KILL)) {
                    self.lose();
                }
                self.not_taken_along(ended, &format!("a WASI workload was to end by {cause}"))?;
                let seen = ended.map_or("still running".to_owned(), |status| status.to_string());
                Err(Stop::Error(format!(
                    "the WASI workload is {seen} after {cause}, not {wanted}"
                )))
            }
        }
    }

    /// Waits for the end of a workload, and takes the pause process's output meanwhile, so
    /// that writing it does not keep it from ending; `None` when `limit` (at this host's
    /// speed) is over.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn await_guest_end(
        &mut self,
        guest: &mut Workload,
        limit: Duration,
    ) -> Result<Option<ExitStatus>, Stop> {
        self.await_readable(guest.pidfd(), self.context.scaled(limit))?;
        guest
            .await_end(Duration::ZERO)
            .map_err(|error| self.harness_failed("wait for a WASI workload", &error))
    }
}

/// The process that a WASI runtime leaves behind: its child, and an orphan, reparented to the pause
/// process, once the runtime has ended.
#[derive(Debug)]
pub struct Helper {
    pid: i32,
    pidfd: OwnedFd,
}

impl Helper {
    /// The helper of a workload that was started with one.
    ///
    /// # Errors
    /// As [`Pod::harness_failed`] where there is none.
    pub fn of(guest: &Workload, pod: &mut Pod<'_>) -> Result<Self, Stop> {
        Self::find(guest).map_err(|why| {
            // The end of the pause process ends it before the WASI runtime.
            let cause = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, why);
            pod.harness_failed("find what a WASI workload leaves behind", &cause)
        })
    }

    fn find(guest: &Workload) -> Result<Self, String> {
        let engine = procfs::process::Process::new(guest.host_pid());
        let children = engine
            .and_then(|engine| engine.task_main_thread())
            .and_then(|thread| thread.children())
            .map_err(|error| error.to_string())?;
        let pid = children.first().map_or(0, |pid| *pid as i32);
        let pidfd = Pid::from_raw(pid)
            .ok_or_else(|| "no child".to_owned())
            .and_then(|pid| {
                rustix::process::pidfd_open(pid, PidfdFlags::empty())
                    .map_err(|error| error.to_string())
            })?;
        Ok(Self { pid, pidfd })
    }

    /// Ends the helper, whose WASI runtime has ended, as a child of the pause process.
    ///
    /// # Errors
    /// As [`Pod::harness_failed`] where it is no orphan of the pause process, whose end may end it
    /// before that is seen.
    pub fn end(&self, pod: &mut Pod<'_>) -> Result<(), Stop> {
        let parent = procfs::process::Process::new(self.pid)
            .and_then(|process| process.stat())
            .map(|stat| stat.ppid);
        if !parent.as_ref().is_ok_and(|parent| *parent == pod.pid()) {
            pod.expect_running("a WASI workload ended")?;
            let doing =
                format!("find what the WASI runtime left below the pause process ({parent:?})");
            return Err(pod.harness_failed(&doing, &nix::Error::ESRCH.into()));
        }
        crate::process::send_signal(self.pidfd.as_fd(), crate::signal::KILL)
            .map_err(|error| pod.harness_failed("end the WASI runtime's orphan", &error))?;
        let patience = pod.context.scaled(PATIENCE);
        let ended = crate::wait::readable(self.pidfd.as_fd(), patience)
            .map_err(|error| Stop::Error(format!("the WASI runtime's orphan: {error}")))?;
        if !ended {
            return Err(Stop::Inconclusive(
                "the WASI runtime's orphan did not end in time".to_owned(),
            ));
        }
        Ok(())
    }

    /// As [`Helper::end`], and expects the pause process to reap it.
    ///
    /// # Errors
    /// [`Stop::Fail`] where it stays as a zombie.
    pub fn expect_reaped(self, pod: &mut Pod<'_>) -> Result<(), Stop> {
        self.end(pod)?;
        let watch = pod.stopwatch();
        let limit = pod.context.scaled(PROMPTLY);
        let mut pause = Duration::from_micros(50);
        while crate::process::send_signal(self.pidfd.as_fd(), 0).is_ok() {
            pod.expect_running("an orphan of the WASI runtime ended")?;
            if watch.left(limit).is_zero() {
                let observed = format!("it is a zombie {:.1?} after its end", watch.wall());
                let expected =
                    format!("an orphan of the WASI runtime is reaped within {PROMPTLY:?}");
                return Err(Finding::new(expected, observed).with(pod.describe()).into());
            }
            pod.await_event(pause)?;
            pause = (pause * 2).min(Duration::from_millis(4));
        }
        Ok(())
    }
}
