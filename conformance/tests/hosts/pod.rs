//! Pods of containerd, with the requests of a kubelet over the Container Runtime Interface.

use std::path::Path;
use std::time::{Duration, Instant};

use conformance::programs::REFERENCE;
use conformance::subject::Platform;
use conformance::subject::build::{ImageBuilder, Tar};
use pause_cri::messages::{
    Capability, ContainerConfig, ContainerId, ContainerMetadata, ContainerState,
    ContainerStatusRequest, ContainerStatusResponse, CreateContainerRequest, Empty, ImageSpec,
    Int64Value, KeyValue, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, Mount, NamespaceMode, NamespaceOption,
    PodSandboxConfig, PodSandboxId, PodSandboxMetadata, RunPodSandboxRequest, SecurityProfile,
};
use serde_json::json;

use super::cri::Client;
use super::daemons::containerd;
use super::engine::LIBRARIES;
use super::room::{Daemon, Room, succeeds};
use super::rows::{Row, Set};
use super::runc::{MASKED, READ_ONLY};
use super::{Ended, command};

/// The image that holds each pod: the reference.
const PAUSE: &str = "localhost/pause:1";
/// The image of each container, which has only a folder to mount on.
const IMAGE: &str = "localhost/host:1";
/// The node's namespaces are those of the room; no test needs a network.
fn of_the_node() -> NamespaceOption {
    NamespaceOption {
        network: NamespaceMode::Node.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    }
}

/// The limit of a container, on however busy a machine.
const HANGS: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(50);

/// Containerd in a room.
pub(crate) struct Pods {
    _daemon: Daemon,
    room: Room,
}

impl Pods {
    pub(crate) fn start(room: Room) -> Self {
        let socket = room.path("containerd.sock").display().to_string();
        let daemon = containerd(&room, &socket, PAUSE);
        let cri = Client {
            room: &room,
            socket: socket.clone(),
        };
        daemon.answers(&mut cri.curl("Version", &Empty {}));
        let architecture = Platform::host().architecture;
        let mut nothing = Tar::default();
        nothing.directory("suite", 0o755);
        let nothing = ImageBuilder::of_layer(&nothing, &architecture).set("User", json!("0"));
        for (name, image) in [
            (PAUSE, ImageBuilder::pause(REFERENCE, &architecture)),
            (IMAGE, nothing),
        ] {
            let archive = room.path("image.tar");
            std::fs::write(&archive, image.docker_archive(name)).expect("written");
            let mut ctr = room.command("ctr");
            ctr.args(["--address", &socket, "--namespace", "k8s.io"]);
            ctr.args(["images", "import"]).arg(&archive);
            succeeds(&mut ctr);
        }
        Self {
            _daemon: daemon,
            room,
        }
    }

    /// Runs a pod for one row, until its container has ended.
    pub(crate) fn run(&self, row: &Row, suite: &Path) -> Ended {
        let cri = Client {
            room: &self.room,
            socket: self.room.path("containerd.sock").display().to_string(),
        };
        let config = self.pod(row.sets.contains(&Set::Privileged));
        let question = RunPodSandboxRequest {
            config: Some(config.clone()),
            ..RunPodSandboxRequest::default()
        };
        let sandbox: PodSandboxId = says(cri.call("RunPodSandbox", &question));
        let question = CreateContainerRequest {
            pod_sandbox_id: sandbox.pod_sandbox_id.clone(),
            config: Some(container(row, suite)),
            sandbox_config: Some(config),
        };
        let ended = cri
            .call("CreateContainer", &question)
            .and_then(|container: ContainerId| {
                let Empty {} = cri.call("StartContainer", &container)?;
                await_end(&cri, &container)
            });
        let ended = match ended {
            Ok(status) => Ended {
                status: Some(status),
                said: self.log(),
            },
            Err(error) => Ended {
                status: None,
                said: error,
            },
        };
        let _: Empty = says(cri.call("StopPodSandbox", &sandbox));
        let _: Empty = says(cri.call("RemovePodSandbox", &sandbox));
        ended
    }

    fn pod(&self, privileged: bool) -> PodSandboxConfig {
        let metadata = PodSandboxMetadata {
            name: "pod".into(),
            uid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into(),
            namespace: "default".into(),
            attempt: 0,
        };
        let security = LinuxSandboxSecurityContext {
            namespace_options: Some(of_the_node()),
            privileged,
            ..LinuxSandboxSecurityContext::default()
        };
        PodSandboxConfig {
            metadata: Some(metadata),
            log_directory: self.room.path("pod-logs").display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.room.cgroup().into(),
                security_context: Some(security),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        }
    }

    /// Each line of the log begins with the time, the stream, and whether the line is whole.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.room.path("pod-logs/suite.log"));
        let log = log.unwrap_or_default();
        let lines = log.lines().map(|line| line.splitn(4, ' ').last());
        let said = lines.flatten().collect::<Vec<_>>().join("\n");
        let _ = std::fs::remove_file(self.room.path("pod-logs/suite.log"));
        said
    }
}

fn says<Answer>(result: Result<Answer, String>) -> Answer {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn await_end(cri: &Client<'_>, container: &ContainerId) -> Result<i32, String> {
    let began = Instant::now();
    let question = ContainerStatusRequest {
        container_id: container.container_id.clone(),
        verbose: false,
    };
    loop {
        let answer: ContainerStatusResponse = cri.call("ContainerStatus", &question)?;
        let status = answer.status.ok_or("no status")?;
        if status.state() == ContainerState::Exited {
            return Ok(status.exit_code);
        }
        if began.elapsed() > HANGS {
            return Err(format!("it still runs: {status:?}"));
        }
        conformance::wait::any_readable(&[], LOOK).expect("it can be waited");
    }
}

fn container(row: &Row, suite: &Path) -> ContainerConfig {
    let mount = |inside: &str, outside: &str| Mount {
        container_path: inside.to_owned(),
        host_path: outside.to_owned(),
        readonly: true,
        ..Mount::default()
    };
    let there = LIBRARIES.iter().filter(|folder| Path::new(folder).exists());
    let mut mounts: Vec<_> = there.map(|folder| mount(folder, folder)).collect();
    mounts.push(mount("/suite", &suite.display().to_string()));
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: "suite".into(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: IMAGE.into(),
            ..ImageSpec::default()
        }),
        command: command(row),
        envs: vec![KeyValue {
            key: "NO_COLOR".into(),
            value: "1".into(),
        }],
        mounts,
        log_path: "suite.log".into(),
        linux: Some(LinuxContainerConfig {
            security_context: Some(security(row.sets)),
            ..LinuxContainerConfig::default()
        }),
        ..ContainerConfig::default()
    }
}

/// The profile that a kubelet requests for a `securityContext`, which names one or is unconfined.
fn security(sets: &[Set]) -> LinuxContainerSecurityContext {
    let has = |set: Set| sets.contains(&set);
    let unmasked = has(Set::Unmasked) || has(Set::Privileged);
    let paths = |of: &[&str]| {
        let of = if unmasked { &[] } else { of };
        of.iter().copied().map(str::to_owned).collect()
    };
    let mut security = LinuxContainerSecurityContext {
        privileged: has(Set::Privileged),
        namespace_options: Some(of_the_node()),
        readonly_rootfs: has(Set::ReadOnly),
        no_new_privs: has(Set::NoNewPrivileges),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(SecurityProfile {
            profile_type: i32::from(has(Set::Unconfined) || has(Set::Privileged)),
            localhost_ref: String::new(),
        }),
        ..LinuxContainerSecurityContext::default()
    };
    let mut capabilities = Capability::default();
    for set in sets {
        match set {
            Set::User(id) => {
                let id = Int64Value {
                    value: i64::from(*id),
                };
                (security.run_as_user, security.run_as_group) = (Some(id), Some(id));
            }
            Set::Add(name) => capabilities.add_capabilities.push((*name).to_owned()),
            Set::Drop(name) => capabilities.drop_capabilities.push((*name).to_owned()),
            _ => {}
        }
    }
    security.capabilities = Some(capabilities);
    security
}
