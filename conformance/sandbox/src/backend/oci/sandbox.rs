//! A running sandbox: what is done to it, and how it ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;

use super::container::Container;
use crate::backend::embedded::LentRoot;
use crate::backend::embedded::cgroup::{self, Group};
use crate::backend::inside::Inside;
use crate::backend::{Join, Sandbox, StartError, Stdio, at};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::{self, ExitStatus};
use crate::workload::{Command, Workload};

/// How long it may take from the order to start until the program is executed.
const START: Duration = Duration::from_mins(1);

/// A running sandbox.
pub(super) struct OciSandbox {
    pub(super) inside: Inside,
    pub(super) stdio: Stdio,
    pub(super) user_namespace: bool,
    pub(super) group: Group,
    /// Its limits are judged.
    pub(super) judged: bool,
    /// Its program has yet to be started.
    pub(super) held: bool,
    pub(super) root: Arc<LentRoot>,
    /// Removed last.
    pub(super) container: Container,
}

impl OciSandbox {
    /// Opens what later steps need, and does what a network plugin does in every pod.
    pub(super) fn look_inside(mut self) -> Result<Self, StartError> {
        if self.user_namespace {
            let path = format!("/proc/{}/ns/user", self.inside.child.pid);
            let opened = std::fs::File::open(path).map_err(at("open its user namespace"))?;
            self.inside.user_namespace = Some(opened.into());
        }
        if self.inside.own_network {
            let pidfd = self.inside.child.pidfd.as_fd();
            let up = sys::in_helper(|| {
                sys::setns(pidfd, libc::CLONE_NEWNET)?;
                sys::bring_loopback_up()
            });
            up.and_then(|up| up).map_err(at("bring its loopback up"))?;
        }
        Ok(self)
    }

    /// Which file its process executes.
    fn executable(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::MetadataExt as _;

        let path = format!("/proc/{}/exe", self.inside.child.pid);
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }

    fn start(&mut self) -> Result<(), StartError> {
        let container = &self.container;
        let ordered = container.order(&["start", &container.id], container.silent());
        // It was killed while it was held, as its end shows.
        match ordered {
            Err(_) if self.has_ended() => {}
            other => other.map_err(at("start its container"))?,
        }
        self.held = false;
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.inside.has_ended().unwrap_or(true)
    }
}

impl Sandbox for OciSandbox {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.inside.child.pidfd.as_fd()
    }

    fn host_pid(&self) -> i32 {
        self.inside.child.pid
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        self.inside.signal(signal)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inside.try_wait()
    }

    fn take_stdio(&mut self) -> Stdio {
        std::mem::take(&mut self.stdio)
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        self.inside.enter(join)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        self.inside.start_beside(command, shares_pid)
    }

    fn open_gate(&mut self) -> io::Result<()> {
        self.start().map_err(io::Error::other)
    }

    fn release(&mut self) -> Result<(), StartError> {
        if !self.held {
            return Ok(());
        }
        let before = self.executable();
        self.start()?;
        let began = Instant::now();
        // The container runtime answers when its process is about to execute the program, and the
        // kernel reports no exec to others.
        while self.executable() == before && !self.has_ended() {
            if began.elapsed() > START {
                return Err(at("await its exec")(io::ErrorKind::TimedOut.into()));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn lacks(&self) -> &[String] {
        self.root.lacks()
    }

    fn memory_used(&self) -> Option<u64> {
        self.group.memory_peak()
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        let by_another = self.inside.was_killed_by_another(killed);
        let (group, peak) = (Some(&self.group), || self.inside.memory_peak());
        cgroup::shortage(group, self.judged, by_another, peak)
    }
}

impl Drop for OciSandbox {
    fn drop(&mut self) {
        self.inside.end();
    }
}
