//! A container, as its engine knows it: made, started, asked about, removed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use super::api::{Api, Refusal};
use super::keeper::Keeper;
use super::pod::Pod;
use crate::backend::{Launch, StartError, at, executed, refused};
use crate::sys::{Child, ExitStatus};

/// How long it may take from the answer to a start until the program is executed.
const START: Duration = Duration::from_mins(1);

/// A container. Dropping it removes it.
pub(super) struct Container {
    api: Arc<Api>,
    #[expect(dead_code, reason = "held, not used")]
    keeper: Arc<Keeper>,
    id: String,
    /// The pod whose pause container it is, which goes with it.
    pod: Option<Pod>,
}

/// What became of a start.
pub(super) enum Started {
    /// The program was executed.
    Running(Child),
    /// It had ended by the time that the engine was asked, like this in the engine's words.
    Gone(ExitStatus),
}

impl Container {
    /// Has it made.
    ///
    /// # Errors
    /// As a start.
    pub(super) fn create(
        api: &Arc<Api>,
        keeper: &Arc<Keeper>,
        number: u64,
        document: &Value,
    ) -> Result<Self, StartError> {
        Self::add(api, keeper, number, |name| {
            api.post(&format!("/containers/create?name={name}"), Some(document))
        })
    }

    /// The same, by another request, for a container of this name.
    ///
    /// # Errors
    /// As a start.
    pub(super) fn add(
        api: &Arc<Api>,
        keeper: &Arc<Keeper>,
        number: u64,
        ask: impl FnOnce(&str) -> Result<Value, Refusal>,
    ) -> Result<Self, StartError> {
        let name = keeper.container(number);
        keeper
            .makes(&name)
            .map_err(at("tell the keeper of a container"))?;
        let made = ask(&name);
        keeper.made(&name);
        let made = made.map_err(|refusal| at("create its container")(refusal.into()))?;
        let id = made["Id"].as_str();
        let id = id.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()));
        Ok(Self {
            api: Arc::clone(api),
            keeper: Arc::clone(keeper),
            // By its name it is removed in any case.
            id: id.map_or(name, str::to_owned),
            pod: None,
        })
    }

    /// Has a pod made, whose pause container it is.
    ///
    /// # Errors
    /// As a start.
    pub(super) fn create_pod(
        api: &Arc<Api>,
        keeper: &Arc<Keeper>,
        number: u64,
        (image, cgroup): (&str, Option<&str>),
    ) -> Result<Self, StartError> {
        let name = keeper.container(number);
        keeper
            .makes(&name)
            .map_err(at("tell the keeper of a pod"))?;
        let made = Pod::create(api, &name, keeper.run(), (image, cgroup));
        keeper.made(&name);
        let pod = made.map_err(|refusal| at("create its pod")(refusal.into()))?;
        let id = pod.pause().map_err(at("find the pause of its pod"))?;
        Ok(Self {
            api: Arc::clone(api),
            keeper: Arc::clone(keeper),
            id,
            pod: Some(pod),
        })
    }

    /// The pod whose pause container it is.
    pub(super) fn pod(&self) -> Option<&Pod> {
        self.pod.as_ref()
    }

    /// By which the engine knows it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A connection that carries what it will write.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn attach(&self) -> io::Result<UnixStream> {
        self.api.attach(&self.id)
    }

    /// Has it started, and waits until its program is executed.
    ///
    /// # Errors
    /// As a start.
    pub(super) fn start(&self, launch: &Launch<'_>) -> Result<Started, StartError> {
        let started = if let Some(pod) = &self.pod {
            pod.order("start")
        } else {
            let path = format!("/containers/{}/start", self.id);
            self.api.post(&path, None).map(drop)
        };
        started.map_err(|refusal| match refusal {
            Refusal::Said { .. } => refused::failure(launch, "start its container", refusal.into()),
            Refusal::Unreached(_) => at("start its container")(refusal.into()),
        })?;
        self.await_running()
    }

    /// Has it ended and started again, and waits until its program is executed.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn restart(&self) -> io::Result<Started> {
        self.api
            .post(&format!("/containers/{}/restart?t=0", self.id), None)?;
        self.await_running().map_err(io::Error::other)
    }

    /// Has it stopped: by its signal, and after so many seconds by KILL.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn stop(&self, grace: u64) -> io::Result<()> {
        if let Some(pod) = &self.pod {
            return Ok(pod.order(&format!("stop?t={grace}"))?);
        }
        let path = format!("/containers/{}/stop?t={grace}", self.id);
        Ok(self.api.post(&path, None).map(drop)?)
    }

    fn await_running(&self) -> Result<Started, StartError> {
        let began = Instant::now();
        loop {
            let state = self.state().map_err(at("ask for its state"))?;
            let pid = state["Pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            let pid = pid.filter(|pid| *pid > 0).and_then(Pid::from_raw);
            let Some(pid) = pid else {
                if state["Running"].as_bool() != Some(true) {
                    let status = state["ExitCode"].as_i64().unwrap_or(0);
                    let status = i32::try_from(status).unwrap_or(0);
                    return Ok(Started::Gone(ExitStatus::Exited(status)));
                }
                return Err(at("find its process")(io::ErrorKind::NotFound.into()));
            };
            if let Some(pidfd) = self.open(pid)
                && executed::is_executed(pid, began + START)?
            {
                let pid = pid.as_raw_nonzero().get();
                return Ok(Started::Running(Child { pid, pidfd }));
            }
            // It has ended meanwhile, as its state is about to say.
            if began.elapsed() > START {
                let cause = "the engine's processes are not seen here: run the suite in its pid \
                             namespace, or in one above it";
                return Err(at("find its process")(io::Error::other(cause)));
            }
            std::thread::yield_now();
        }
    }

    /// A handle on this process, where it is the container's: its cgroup says so, or, where the
    /// engine may make none, the arguments of the monitor that has started it.
    fn open(&self, pid: Pid) -> Option<OwnedFd> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
        if groups.ok()?.contains(&self.id) {
            return Some(pidfd);
        }
        let process = Process::new(pid.as_raw_nonzero().get()).ok()?;
        let monitor = Process::new(process.stat().ok()?.ppid).ok()?;
        let arguments = monitor.cmdline().ok()?;
        arguments.contains(&self.id).then_some(pidfd)
    }

    /// What the engine says of it: `State` of its description.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn state(&self) -> io::Result<Value> {
        let mut all = self
            .api
            .get(&format!("/containers/{}/json", self.id), &[])?;
        Ok(all["State"].take())
    }

    /// Waits until it has ended: its status, in the engine's words.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn wait(&self) -> io::Result<i32> {
        let ended = self
            .api
            .post(&format!("/containers/{}/wait", self.id), None)?;
        let status = ended["StatusCode"].as_i64();
        let status = status.and_then(|status| i32::try_from(status).ok());
        status.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It goes with its pod, and only so.
        if self.pod.is_some() {
            return;
        }
        // Where that fails, the keeper does it in the end.
        let _ = self
            .api
            .delete(&format!("/containers/{}?force=1&v=1", self.id));
    }
}
