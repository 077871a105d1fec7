//! A running sandbox: what is done to it, and how it ends.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;

use super::container::{Container, START, await_exec, executable};
use super::member::Maker;
use crate::backend::embedded::LentRoot;
use crate::backend::embedded::cgroup::{self, Group};
use crate::backend::inside::Inside;
use crate::backend::{Join, Member, PodContainer, Sandbox, StartError, Stdio, Stopped, at};
use crate::probe::Probe;
use crate::shortage::Shortage;
use crate::sys::{self, ExitStatus};
use crate::workload::{Command, Workload};

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
    /// Makes containers of its pod.
    pub(super) maker: Arc<Maker>,
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
        let before = executable(self.inside.child.pid);
        self.start()?;
        await_exec(&self.inside.child, before)
    }

    fn add_container(&self, member: &Member) -> io::Result<Box<dyn PodContainer>> {
        let made = self.maker.add(self.inside.child.pid, *member);
        Ok(Box::new(made.map_err(io::Error::other)?))
    }

    /// As CRI-O has it stopped, by the runtime's own order to send a signal.
    fn stop(&mut self, grace: Duration) -> io::Result<Stopped> {
        let container = &self.container;
        let send = |signal| container.order(&["kill", &container.id, signal], container.silent());
        send("TERM")?;
        if !crate::wait::readable(self.pidfd(), grace)? {
            send("KILL")?;
            let _ = crate::wait::readable(self.pidfd(), START)?;
        }
        Ok(Stopped::Asked)
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
