//! A pod sandbox, as its runtime knows it: asked for as a kubelet does, and removed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use pause_cri::messages::{
    DnsConfig, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PodSandboxState,
    PodSandboxStatusResponse, ProfileType, SecurityProfile,
};
use pause_cri::{Client, Error};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::backend::{Launch, Spec, StartError, at, executed, refused};
use crate::sys::Child;

/// What sandboxes are found by; the value is the name of the run.
pub(super) const LABEL: &str = "pause-conformance";
/// How long it may take from the answer to the program's exec.
const START: Duration = Duration::from_mins(1);
/// How long a process may be missing of a pod that is said to be there.
const MISSING: Duration = Duration::from_secs(10);

/// Whose sandboxes they are, and where their cgroups are.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) name: String,
    /// Empty: where the runtime puts them.
    pub(super) cgroup_parent: String,
}

/// A sandbox. Dropping it removes it.
pub(super) struct Pod {
    client: Client,
    id: String,
    config: PodSandboxConfig,
}

/// What a kubelet asks for, with what a check asks for.
fn config(run: &Run, number: u64, spec: &Spec) -> PodSandboxConfig {
    let id = |value: u32| Int64Value {
        value: i64::from(value),
    };
    let pid = if spec.own_pid_namespace {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Node
    };
    let namespaces = NamespaceOption {
        network: NamespaceMode::Pod.into(),
        pid: pid.into(),
        ipc: NamespaceMode::Pod.into(),
        ..NamespaceOption::default()
    };
    let security = LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces),
        run_as_user: spec.user.map(|(user, _)| id(user)),
        run_as_group: spec.user.map(|(_, group)| id(group)),
        // The profile of a kubelet's sandboxes holds back what a program must not do: then it
        // would not show.
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::Unconfined.into(),
            localhost_ref: String::new(),
        }),
        ..LinuxSandboxSecurityContext::default()
    };
    let name = format!("{LABEL}-{}-{number}", run.name);
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            uid: name.clone(),
            name,
            namespace: LABEL.to_owned(),
            attempt: 0,
        }),
        hostname: LABEL.to_owned(),
        // Else the host's configuration is copied, which may not be there.
        dns_config: Some(DnsConfig {
            servers: vec!["127.0.0.1".to_owned()],
            ..DnsConfig::default()
        }),
        labels: [(LABEL.to_owned(), run.name.clone())].into(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: run.cgroup_parent.clone(),
            security_context: Some(security),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    }
}

impl Pod {
    /// Has it made, and its pause process started.
    ///
    /// # Errors
    /// As a start.
    pub(super) fn run(
        client: &Client,
        run: &Run,
        number: u64,
        launch: &Launch<'_>,
        spec: &Spec,
    ) -> Result<Self, StartError> {
        let config = config(run, number, spec);
        let made = client.run_pod_sandbox(config.clone(), "");
        let id = made.map_err(|error| {
            let said = matches!(error, Error::Said { .. });
            let cause = io::Error::other(error);
            if said {
                refused::failure(launch, "have its pod sandbox run", cause)
            } else {
                at("have its pod sandbox run")(cause)
            }
        })?;
        Ok(Self {
            client: client.clone(),
            id,
            config,
        })
    }

    /// The pause process, once it has executed the program; `None` where it has ended before.
    ///
    /// # Errors
    /// Where the runtime does not tell which process it is, or the kernel refuses.
    pub(super) fn process(&self) -> Result<Option<Child>, StartError> {
        process(&self.id, Instant::now(), || {
            let answer = self.client.pod_sandbox_status(&self.id, true)?;
            let state = answer.status.map(|status| status.state());
            Ok(Found {
                runs: state == Some(PodSandboxState::Ready),
                info: answer.info,
            })
        })
    }

    /// Has it stopped, as a kubelet does first when it ends a pod.
    ///
    /// # Errors
    /// Where the runtime refuses.
    pub(super) fn stop(&self) -> io::Result<()> {
        let stopped = self.client.stop_pod_sandbox(&self.id);
        stopped.map_err(io::Error::other)
    }

    /// As it was asked for.
    pub(super) fn config(&self) -> &PodSandboxConfig {
        &self.config
    }

    /// By which the runtime knows it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// What the runtime says of it, and beyond the interface, where it says anything.
    pub(super) fn status(&self) -> Option<PodSandboxStatusResponse> {
        self.client.pod_sandbox_status(&self.id, true).ok()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Where that fails, all of the run's are removed in the end.
        let _ = self.client.stop_pod_sandbox(&self.id);
        let _ = self.client.remove_pod_sandbox(&self.id);
    }
}

pub(super) fn details(info: &str) -> Value {
    serde_json::from_str(info).unwrap_or_default()
}

/// What a runtime says of a sandbox, or of a container.
pub(super) struct Found {
    /// Whether its first process runs.
    pub(super) runs: bool,
    /// Documents by name.
    pub(super) info: BTreeMap<String, String>,
}

/// The first process of what has this id, once it has executed its program; `None` where it has
/// ended before. `look` asks the runtime, and where that does not say which process it is, as
/// cri-dockerd does not, cgroups do.
///
/// # Errors
/// Where the runtime does not tell, or the kernel refuses.
pub(super) fn process(
    id: &str,
    began: Instant,
    look: impl Fn() -> Result<Found, Error>,
) -> Result<Option<Child>, StartError> {
    loop {
        let found = look().map_err(|error| at("ask for its state")(io::Error::other(error)))?;
        let info = found.info.get("info").map(|info| details(info));
        let told = info.and_then(|info| pid(&info));
        if let Some(pid) = told.or_else(|| only_process(id))
            && let Some(pidfd) = open(pid, id)
            && executed::is_executed(pid, began + START)?
        {
            let pid = pid.as_raw_nonzero().get();
            return Ok(Some(Child { pid, pidfd }));
        }
        if !found.runs {
            return Ok(None);
        }
        // Its end is about to be told; or CRI-O needs none (`drop_infra_ctr`).
        if told.is_none() && began.elapsed() > MISSING {
            let cause = "the runtime holds the pod without a process, or that is not seen here";
            return Err(at("find its process")(io::Error::other(cause)));
        }
        if began.elapsed() > START {
            let cause = "the runtime does not say its process, or that is not seen here: run the \
                         suite in the runtime's pid namespace, or in one above it";
            return Err(at("find its process")(io::Error::other(cause)));
        }
        std::thread::yield_now();
    }
}

fn pid(info: &Value) -> Option<Pid> {
    let pid = info["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// A handle on this process, where it is of what has this id: its cgroup says so.
fn open(pid: Pid, id: &str) -> Option<OwnedFd> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let path = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
    let groups = std::fs::read_to_string(path).ok()?;
    is_of(&groups, id).then_some(pidfd)
}

/// Whether this is the cgroups of a process of what has this id, and not of its monitor, as CRI-O's
/// is called.
fn is_of(groups: &str, id: &str) -> bool {
    // Every text contains an empty one.
    !id.is_empty() && groups.contains(id) && !groups.contains("conmon")
}

/// The only process of what has this id.
fn only_process(id: &str) -> Option<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let groups = std::fs::read_to_string(process.path().join("cgroup")).ok()?;
        is_of(&groups, id).then(|| Pid::from_raw(pid))?
    });
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8fb0c2a1";

    /// As CRI-O, cri-dockerd and containerd name them.
    #[test]
    fn a_process_is_known_by_its_cgroup_whatever_the_runtime() {
        for groups in [
            "0::/kubepods.slice/crio-8fb0c2a1.scope\n",
            "0::/kubepods.slice/crio-8fb0c2a1.scope/container\n",
            "4:memory:/docker/8fb0c2a1\n1:name=systemd:/docker/8fb0c2a1\n",
            "0::/system.slice/docker-8fb0c2a1.scope\n",
            "4:memory:/pods/8fb0c2a1\n",
        ] {
            assert!(is_of(groups, ID), "{groups}");
            assert!(!is_of(groups, "") && !is_of(groups, "77"), "{groups}");
        }
        assert!(!is_of(
            "0::/kubepods.slice/crio-conmon-8fb0c2a1.scope\n",
            ID
        ));
    }

    #[test]
    fn a_pod_that_is_held_without_a_process_has_none() {
        assert!(only_process(ID).is_none());
        let ended = process(ID, Instant::now(), || {
            let (runs, info) = (false, BTreeMap::new());
            Ok(Found { runs, info })
        });
        assert!(ended.expect("it is told").is_none());
        let began = Instant::now().checked_sub(MISSING * 2);
        let missing = process(ID, began.expect("a clock"), || {
            // Of CRI-O where it has dropped the container.
            let info = [("info".to_owned(), r#"{"runtimeSpec": {}}"#.to_owned())];
            let (runs, info) = (true, info.into());
            Ok(Found { runs, info })
        });
        let why = missing.map(|_| ()).expect_err("there is none").to_string();
        assert!(why.contains("without a process"), "{why}");
    }
}
