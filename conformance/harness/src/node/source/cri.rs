//! A runtime of the Container Runtime Interface: containerd, CRI-O, cri-dockerd.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pause_cri::messages::{
    Container, ContainerState, Image, NamespaceMode, NamespaceOption, PodSandbox, PodSandboxState,
};
use pause_cri::{Client, Error};
use serde_json::Value;

use super::{Basis, Kind, Source, Told, ToldImage, ToldMember, ToldPause, ToldPod};
use crate::node::proc::Snapshot;

/// Where crictl looks, in its order, and where k3s has its own containerd.
const SOCKETS: [&str; 4] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
];
/// Where crictl keeps what it is configured with.
const CRICTL: &str = "/etc/crictl.yaml";
/// How long a runtime may take for one answer: an audit is quick, and goes on without it.
const LIMIT: Duration = Duration::from_secs(10);
/// The most that is read of a file of configuration.
const MOST: u64 = 64 << 10;
/// How the types of shims begin whose sandbox is a machine, as containerd names them: Kata
/// Containers, gVisor.
const MACHINES: [&str; 2] = ["io.containerd.kata", "io.containerd.runsc"];

/// A runtime at its socket.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// The runtimes that crictl would find: that of `CONTAINER_RUNTIME_ENDPOINT`, else that of its
    /// configuration, else all that listen where runtimes do.
    pub fn find() -> Vec<Self> {
        let set = env::var("CONTAINER_RUNTIME_ENDPOINT").ok();
        let set = set.filter(|value| !value.is_empty());
        let configured = || endpoint(&bounded(Path::new(CRICTL)));
        if let Some(endpoint) = set.or_else(configured) {
            return vec![Self::at(&endpoint)];
        }
        let there = SOCKETS.iter().filter(|path| Path::new(path).exists());
        there.map(|path| Self::at(path)).collect()
    }

    /// The one at this socket, a path or `unix://` and a path.
    pub fn at(endpoint: &str) -> Self {
        let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
        Self {
            socket: PathBuf::from(path),
        }
    }
}

fn bounded(path: &Path) -> String {
    use std::io::Read as _;
    let mut text = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What could not be read says nothing.
        let _ = file.take(MOST).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `runtime-endpoint` in crictl's configuration, which is YAML of one level.
fn endpoint(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("runtime-endpoint:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

impl Source for Cri {
    fn name(&self) -> &'static str {
        "cri"
    }

    fn place(&self) -> PathBuf {
        self.socket.clone()
    }

    fn ask(&self, _snapshot: &Snapshot) -> Result<Told, String> {
        let options = pause_cri::Options {
            question: LIMIT,
            ..pause_cri::Options::default()
        };
        let client = Client::connect(&self.socket, options).map_err(|error| words(&error))?;
        let answers = Answers::of(&client).map_err(|error| words(&error))?;
        let mut pods = Vec::new();
        for sandbox in &answers.sandboxes {
            match client.pod_sandbox_status(&sandbox.id, true) {
                Ok(status) => pods.extend(answers.pod(sandbox, &status)),
                // It was removed while others were asked about.
                Err(error) if error.is_not_found() => {}
                // A runtime that is about to remove it may answer with any error.
                Err(error) => {
                    let now = client.pod_sandboxes(None).map_err(|error| words(&error))?;
                    if now.iter().any(|it| it.id == sandbox.id) {
                        return Err(words(&error));
                    }
                }
            }
        }
        let version = client.version();
        let image = sandbox_image(&client, &pods).map_err(|error| words(&error))?;
        Ok(Told {
            version: format!("{} {}", version.runtime_name, version.runtime_version),
            pods,
            image,
        })
    }
}

fn words(error: &Error) -> String {
    pause_image::escape_text(&error.to_string()).into_owned()
}

/// What is asked once for all pods.
struct Answers {
    sandboxes: Vec<PodSandbox>,
    /// Those that run, by sandbox.
    containers: BTreeMap<String, Vec<Container>>,
    images: Vec<Image>,
    /// What it has all containers of a pod share.
    shares: Vec<Kind>,
}

impl Answers {
    fn of(client: &Client) -> Result<Self, Error> {
        let sandboxes = client.pod_sandboxes(None)?;
        let mut containers: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for container in client.containers(None)? {
            if container.state == ContainerState::Running as i32 {
                let pod = containers.entry(container.pod_sandbox_id.clone());
                pod.or_default().push(container);
            }
        }
        Ok(Self {
            sandboxes,
            containers,
            images: client.images()?,
            shares: shared_in(&client.version().runtime_name),
        })
    }

    /// A sandbox that runs, or that has ended below containers that do.
    fn pod(
        &self,
        sandbox: &PodSandbox,
        status: &pause_cri::messages::PodSandboxStatusResponse,
    ) -> Option<ToldPod> {
        let info = document(&status.info, "info");
        let state = status.status.as_ref().map_or(sandbox.state, |it| it.state);
        let linux = status.status.as_ref().and_then(|it| it.linux.as_ref());
        let modes = linux.and_then(|it| it.namespaces.as_ref()?.options.as_ref());
        let members = self.containers.get(&sandbox.id);
        let members = members
            .map(|all| members_of(all, modes, &self.shares))
            .unwrap_or_default();
        let pause = if state == PodSandboxState::Ready as i32 {
            pause(&info, &sandbox.id)
        } else if members.is_empty() {
            return None;
        } else {
            ToldPause::Ended
        };
        let metadata = sandbox.metadata.clone().unwrap_or_default();
        let image = info["image"].as_str().filter(|it| !it.is_empty());
        Some(ToldPod {
            id: sandbox.id.clone(),
            group: None,
            uid: Some(metadata.uid).filter(|uid| !uid.is_empty()),
            namespace: Some(metadata.namespace).filter(|it| !it.is_empty()),
            name: metadata.name,
            image: image.map(str::to_owned),
            image_kept: image.map(|image| self.images.iter().any(|it| is_named(it, image))),
            runs: true,
            pause,
            members,
            kubernetes: true,
            rivals: Vec::new(),
        })
    }
}

/// What a runtime of this name has all containers of a pod share. Docker, below cri-dockerd, gives
/// each a UTS namespace of its own, with the pod's host name in it.
fn shared_in(runtime: &str) -> Vec<Kind> {
    let uts = (runtime != "docker").then_some(Kind::Uts);
    [Kind::Net, Kind::Ipc].into_iter().chain(uts).collect()
}

const HELD_WITHOUT: &str =
    "its runtime holds the sandbox without one (drop_infra_ctr, or a shim's sandbox)";

/// Whether CRI-O has dropped the container that holds the sandbox, as it does by default where no
/// pid namespace is shared: it tells the pid of each that it has (its `createSandboxInfo`).
fn is_dropped(info: &Value) -> bool {
    info["runtimeSpec"]["annotations"]["io.container.manager"] == "cri-o"
}

/// The process of a sandbox that holds: a runtime that runs none says 0, and the process of a
/// machine is no pause.
fn pause(info: &Value, sandbox: &str) -> ToldPause {
    let shim = info["runtimeType"].as_str().unwrap_or_default();
    if MACHINES.iter().any(|begin| shim.starts_with(begin)) {
        let shim = pause_image::escape_text(shim);
        return ToldPause::Without(format!("{shim} holds the sandbox, in a machine of its own"));
    }
    match info["pid"].as_i64().map(i32::try_from) {
        Some(Ok(0)) => ToldPause::Without(HELD_WITHOUT.to_owned()),
        None if is_dropped(info) => ToldPause::Without(HELD_WITHOUT.to_owned()),
        pid => ToldPause::Runs {
            pid: pid.and_then(Result::ok),
            container: Some(sandbox.to_owned()),
        },
    }
}

fn members_of(
    containers: &[Container],
    modes: Option<&NamespaceOption>,
    shared: &[Kind],
) -> Vec<ToldMember> {
    // Those of the node are the pause's too.
    let shares_pid = modes.is_some_and(|it| {
        [NamespaceMode::Pod as i32, NamespaceMode::Node as i32].contains(&it.pid)
    });
    let mut kinds = shared.to_vec();
    kinds.extend(shares_pid.then_some(Kind::Pid));
    let members = containers.iter().map(|container| {
        let metadata = container.metadata.clone().unwrap_or_default();
        ToldMember {
            id: container.id.clone(),
            name: metadata.name,
            pid: None,
            shares: Some(kinds.clone()),
        }
    });
    members.collect()
}

fn is_named(image: &Image, name: &str) -> bool {
    let names = image.repo_tags.iter().chain(&image.repo_digests);
    names.chain([&image.id]).any(|it| it == name)
}

/// The sandbox image that it is configured with; where it does not say, the one that most of its
/// pods run.
fn sandbox_image(client: &Client, pods: &[ToldPod]) -> Result<Option<ToldImage>, Error> {
    let status = client.status(true)?;
    let configured = configured(&document(&status.info, "config"));
    let Some((reference, basis)) = configured.or_else(|| most_run(pods)) else {
        return Ok(None);
    };
    let found = client.image_status(&reference, true)?;
    let spec = document(&found.info, "info")["imageSpec"].clone();
    let platform = match (spec["os"].as_str(), spec["architecture"].as_str()) {
        (Some(os), Some(architecture)) => Some(format!("{os}/{architecture}")),
        _ => None,
    };
    Ok(Some(ToldImage {
        reference,
        basis,
        present: found.image.is_some(),
        // One that does not know the field says no: so does one that does not pin.
        pinned: found.image.map(|image| image.pinned),
        platform,
    }))
}

/// Where a runtime's configuration has the sandbox image. Containerd 2 keeps it among the pinned
/// images of its image service, whose configuration not every release of it shows.
const CONFIGURED: [&str; 3] = [
    "/sandboxImage",
    "/pinnedImages/sandbox",
    "/pinned_images/sandbox",
];

fn configured(config: &Value) -> Option<(String, Basis)> {
    let mut named = CONFIGURED
        .iter()
        .filter_map(|at| config.pointer(at)?.as_str());
    let named = named.find(|name| !name.is_empty())?;
    Some((named.to_owned(), Basis::Configured))
}

/// Of two that as many pods run, the one that is first by name.
fn most_run(pods: &[ToldPod]) -> Option<(String, Basis)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let ready = pods.iter().filter(|pod| pod.pause != ToldPause::Ended);
    for image in ready.filter_map(|pod| pod.image.as_deref()) {
        *counts.entry(image).or_default() += 1;
    }
    // The last of equal ones is the greatest, so that the order is turned.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(image, _)| (image.to_owned(), Basis::Pods))
}

/// A document of a runtime's own; null where there is none.
fn document(info: &BTreeMap<String, String>, name: &str) -> Value {
    let text = info.get(name).map(String::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{
        Basis, Cri, Kind, ToldPause, ToldPod, configured, endpoint, most_run, pause, shared_in,
    };

    #[rstest]
    #[case(
        "runtime-endpoint: unix:///run/a.sock\ntimeout: 2\n",
        Some("unix:///run/a.sock")
    )]
    #[case("timeout: 2\nruntime-endpoint: \"/run/b.sock\"\n", Some("/run/b.sock"))]
    #[case("runtime-endpoint: \"\"\n", None)]
    #[case("image-endpoint: unix:///run/a.sock\n", None)]
    fn crictls_configuration_is_read(#[case] text: &str, #[case] found: Option<&str>) {
        assert_eq!(endpoint(text).as_deref(), found);
    }

    #[test]
    fn an_endpoint_is_a_path_with_its_scheme_or_without() {
        let paths = ["unix:///run/a.sock", "/run/a.sock"].map(|it| Cri::at(it).socket);
        assert_eq!(paths[0], paths[1]);
    }

    #[rstest]
    #[case(json!({"sandboxImage": "r/pause:1"}), Some("r/pause:1"))]
    #[case(json!({"pinnedImages": {"sandbox": "r/pause:2"}}), Some("r/pause:2"))]
    #[case(json!({"sandboxImage": "", "pinned_images": {"sandbox": "r/pause:3"}}), Some("r/pause:3"))]
    #[case(json!({"containerd": {"runtimes": {}}}), None)]
    #[case(json!(null), None)]
    fn a_configuration_names_the_sandbox_image(
        #[case] config: serde_json::Value,
        #[case] found: Option<&str>,
    ) {
        let found = found.map(|name| (name.to_owned(), Basis::Configured));
        assert_eq!(configured(&config), found);
    }

    #[test]
    fn where_no_configuration_names_it_the_pods_do() {
        let pod = |image: &str, pause| ToldPod {
            image: Some(image.to_owned()),
            pause,
            ..ToldPod::default()
        };
        let runs = || ToldPause::Runs {
            pid: Some(1),
            container: None,
        };
        let new = "r/pause:3.10";
        let mut pods = vec![pod("r/pause:3.9", runs()), pod(new, runs())];
        pods.extend([pod(new, runs()), pod("r/pause:3.9", ToldPause::Ended)]);
        assert_eq!(most_run(&pods), Some((new.to_owned(), Basis::Pods)));
        assert_eq!(most_run(&[]), None);
        // One of two, always the same.
        let tie = Some(("r/pause:3.10".to_owned(), Basis::Pods));
        assert_eq!(most_run(&pods[..2]), tie);
    }

    #[test]
    fn containers_of_docker_have_a_host_name_of_their_own() {
        assert_eq!(shared_in("docker"), [Kind::Net, Kind::Ipc]);
        let all = [Kind::Net, Kind::Ipc, Kind::Uts];
        assert_eq!(shared_in("containerd"), all);
    }

    #[test]
    fn a_sandbox_without_a_process_is_no_sandbox_whose_pause_died() {
        let runs = |pid| ToldPause::Runs {
            pid,
            container: Some("a".to_owned()),
        };
        assert_eq!(pause(&json!({"pid": 12}), "a"), runs(Some(12)));
        let native = json!({"pid": 12, "runtimeType": "io.containerd.runc.v2"});
        assert_eq!(pause(&native, "a"), runs(Some(12)));
        let machine = json!({"pid": 12, "runtimeType": "io.containerd.kata.v2"});
        assert!(matches!(pause(&machine, "a"), ToldPause::Without(_)));
        assert_eq!(pause(&json!({}), "a"), runs(None));
        // As CRI-O 1.37 tells of one that it has dropped.
        let marks = json!({"io.container.manager": "cri-o", "spoofed.crio.io": "true"});
        let dropped = json!({"runtimeSpec": {"ociVersion": "1.3.0", "annotations": marks}});
        assert!(matches!(pause(&dropped, "a"), ToldPause::Without(_)));
        let mut kept = dropped;
        kept["pid"] = json!(12);
        assert_eq!(pause(&kept, "a"), runs(Some(12)));
        assert!(matches!(
            pause(&json!({"pid": 0}), "a"),
            ToldPause::Without(_)
        ));
    }
}
