//! What an engine does to a pod: it makes containers of it, restarts them, and stops its pause.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags};

use super::{Context, PROMPTLY, Pod};
use crate::backend::{Member, PodContainer, Spec, Stopped};
use crate::outcome::Stop;

/// How long an engine's container may take to serve once it was started.
const SERVES: Duration = Duration::from_secs(20);

/// A container of a pod that its engine has made. Dropping it removes it.
pub struct Added {
    container: Box<dyn PodContainer>,
}

impl<'a> Context<'a> {
    /// As [`Context::start`], for a pod whose containers its engine makes.
    ///
    /// # Errors
    /// As [`Context::start`].
    pub fn start_joined(&self) -> Result<Pod<'a>, Stop> {
        self.start(Spec {
            joined: true,
            ..Spec::default()
        })
    }
}

impl Pod<'_> {
    /// Has its engine make a container of it.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the pause process has ended, [`Stop::Error`] with what the engine
    /// says.
    pub fn add_container(&mut self, member: &Member) -> Result<Added, Stop> {
        let added = self.sandbox.add_container(member).and_then(|container| {
            let pidfd = container.pidfd().try_clone_to_owned()?;
            Ok((container, pidfd))
        });
        let added = added.map_err(|error| self.harness_failed("have a container made", &error));
        let (container, pidfd) = added?;
        self.members.push(pidfd);
        Ok(Added { container })
    }

    /// Has the engine restart a container of it.
    ///
    /// # Errors
    /// As [`Pod::add_container`].
    pub fn restart(&mut self, added: &mut Added) -> Result<(), Stop> {
        self.provoke("a restart of a container");
        let restarted = added.container.restart();
        let pidfd = restarted.and_then(|()| added.container.pidfd().try_clone_to_owned());
        match pidfd {
            Ok(pidfd) => self.members.push(pidfd),
            Err(error) => return Err(self.harness_failed("have a container restarted", &error)),
        }
        Ok(())
    }

    /// Has its engine stop it, with `grace` before it kills. Says how, and how long that took.
    ///
    /// # Errors
    /// [`Stop::Error`] with what the engine says.
    pub fn stop_by_engine(&mut self, grace: Duration) -> Result<(Stopped, Duration), Stop> {
        let began = Instant::now();
        self.killed = true;
        // What is written meanwhile waits in its streams, as far as they hold it.
        match self.sandbox.stop(grace) {
            Ok(stopped) => Ok((stopped, began.elapsed())),
            Err(error) => Err(self.harness_failed("have it stopped", &error)),
        }
    }

    /// Tries until it succeeds what a container does only once it serves; the last error.
    ///
    /// # Errors
    /// [`Stop::Ended`] where the pause process ends meanwhile.
    pub fn await_served(
        &mut self,
        attempt: impl Fn() -> io::Result<()>,
    ) -> Result<io::Result<()>, Stop> {
        let limit = self.context.scaled(SERVES);
        let began = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            let answer = attempt();
            let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if !answer.as_ref().is_err_and(refused) || began.elapsed() > limit {
                return Ok(answer);
            }
            self.await_event(pause)?;
            self.expect_running("a container was started")?;
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }
}

impl Added {
    /// Process id of its first process, as the suite sees it.
    pub fn pid(&self) -> i32 {
        self.container.host_pid()
    }

    /// The namespaces that its first process is in, by type, as inode numbers.
    ///
    /// # Errors
    /// When it has ended.
    pub fn namespaces(&self) -> io::Result<BTreeMap<String, u64>> {
        let all = Process::new(self.pid()).and_then(|process| process.namespaces());
        let named = all.map_err(io::Error::other)?.0.into_iter();
        Ok(named
            .map(|(name, namespace)| (name.to_string_lossy().into_owned(), namespace.identifier))
            .collect())
    }

    /// A file of /proc, as this container sees it.
    pub fn proc(&self, name: &str) -> PathBuf {
        let own = PathBuf::from(format!("/proc/{}", self.pid()));
        own.join("root/proc").join(name)
    }

    /// The process that it leaves behind where it ends: its child.
    ///
    /// # Errors
    /// Where it has none, once it should.
    pub fn child(&self, pod: &mut Pod<'_>) -> Result<(i32, OwnedFd), Stop> {
        let limit = pod.context.scaled(PROMPTLY * 10);
        let began = Instant::now();
        loop {
            if let Some(found) = self.find_child() {
                return Ok(found);
            }
            if began.elapsed() > limit {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it has no child");
                return Err(pod.harness_failed("find what a container leaves", &error));
            }
            pod.await_event(Duration::from_millis(1))?;
        }
    }

    fn find_child(&self) -> Option<(i32, OwnedFd)> {
        let process = Process::new(self.pid()).ok()?;
        let children = process.task_main_thread().ok()?.children().ok()?;
        let pid = i32::try_from(*children.first()?).ok()?;
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some((pid, pidfd))
    }
}

/// Waits until a process has ended and been reaped; `false` where it has not in time.
///
/// # Errors
/// [`Stop::Ended`] where the pause process ends meanwhile.
pub fn await_reaped(pod: &mut Pod<'_>, pidfd: &OwnedFd) -> Result<bool, Stop> {
    let watch = pod.stopwatch();
    let limit = pod.context.scaled(PROMPTLY);
    let mut pause = Duration::from_micros(50);
    while crate::process::send_signal(pidfd.as_fd(), 0).is_ok() {
        pod.expect_running("a container's orphan ended")?;
        if watch.left(limit).is_zero() {
            return Ok(false);
        }
        pod.await_event(pause)?;
        pause = (pause * 2).min(Duration::from_millis(4));
    }
    Ok(true)
}
