//! The reference image in the container engines that run pods.
//!
//! Each test starts its own container engine in a [room](room), and leaves nothing behind. They
//! need root, as these container engines do.

mod cri;
mod daemons;
mod room;
mod suite;
mod walkthrough;

use cri::Client;
use daemons::{Podman, containerd, dockerd};
use pause_cri::messages::{
    Empty, LinuxPodSandboxConfig, ListPodSandboxResponse, PodSandboxConfig, PodSandboxId,
    PodSandboxMetadata, PodSandboxState, PodSandboxStatusRequest, PodSandboxStatusResponse,
    RunPodSandboxRequest,
};
use pause_image::{LoadOptions, Reference};
use room::{Daemon, Room, succeeds};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use xtask::platform::{self, ALL, Platform};
use xtask::{build, image, link, packages};

/// The image's name in docker archives.
const NAME: &str = concat!("pause:", env!("CARGO_PKG_VERSION"));

const IMAGE_USER: &str = "65535";

/// The format with which podman and docker print a container's end.
const ENDED: &str = "{{.State.Status}} {{.State.ExitCode}}";

/// Longer than a stop takes on a loaded machine: a container engine waits so long only if the pause
/// does not end.
const GRACE: &str = "60";

#[test]
fn podman_runs_it_and_holds_a_pod_with_it() {
    let Some(room) = room_for(&["podman"]) else {
        return;
    };
    let written = Image::of(&[host()], &room);
    let podman = Podman::new(&room);
    podman.run(&["load", "--input", &written.oci_archive()]);
    podman.run(&["load", "--input", &written.docker_archive()]);
    let name = format!("localhost/{NAME}");
    is_read_as(
        "containers-storage",
        &name,
        &room.program("podman", &podman.command()),
    );
    let pid = |id: &str| podman.run(&["inspect", "--format", "{{.State.Pid}}", id]);
    let how = ["--network", "none", "--cgroup-parent", room.cgroup()];

    // The caller's limits, since not every caller may raise them.
    let run = ["run", "--detach", "--ulimit", "host"];
    let alone = podman.run(&[&run[..], &how, &[&name]].concat());
    is_the_pause(&room, &pid(&alone), IMAGE_USER);
    podman.run(&["stop", "--time", GRACE, &alone]);
    assert_eq!(
        podman.run(&["inspect", "--format", ENDED, &alone]),
        "exited 0"
    );
    podman.run(&["rm", &alone]);

    let pod = ["pod", "create", "--infra-image", &name];
    let pod = podman.run(&[&pod[..], &how].concat());
    podman.run(&["pod", "start", &pod]);
    let infra = podman.run(&["ps", "--quiet", "--no-trunc"]);
    // Podman runs the pause of a pod as root, whatever the image's user.
    is_the_pause(&room, &pid(&infra), "0");
    podman.run(&["pod", "stop", "--time", GRACE, &pod]);
    assert_eq!(
        podman.run(&["inspect", "--format", ENDED, &infra]),
        "exited 0"
    );
    podman.run(&["pod", "rm", &pod]);
}

#[test]
fn docker_runs_and_stops_it() {
    let Some(room) = room_for(&["docker.io", "curl"]) else {
        return;
    };
    let written = Image::of(&[host()], &room);
    let socket = room.path("docker.sock").display().to_string();
    let url = format!("unix://{socket}");
    let _daemon = dockerd(&room, &socket);
    let docker = |args: &[&str]| room.run("docker", &[&["--host", &url][..], args].concat());

    docker(&["load", "--input", &written.docker_archive()]);
    let id = docker(&["run", "--detach", "--network", "none", NAME]);
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &id]);
    is_the_pause(&room, &pid, IMAGE_USER);
    docker(&["stop", "--time", GRACE, &id]);
    assert_eq!(docker(&["inspect", "--format", ENDED, &id]), "exited 0");
    docker(&["rm", &id]);
}

#[test]
fn containerd_pulls_it_as_its_sandbox_image_and_runs_a_pod_sandbox() {
    let needed = ["containerd", "containernetworking-plugins", "curl"];
    let Some(room) = room_for(&[&needed[..], &["docker-registry", "skopeo"]].concat()) else {
        return;
    };
    let written = Image::of(&ALL, &room);
    let _registry = registry(&room);
    let reference = format!("127.0.0.1:5000/{NAME}");
    let copy = ["copy", "--all", "--quiet", "--dest-tls-verify=false"];
    let layout = format!("oci:{}:{}", written.image.layout.display(), image::TAG);
    let to = format!("docker://{reference}");
    succeeds(room.command("skopeo").args(copy).args([&layout, &to]));

    let cri = Client {
        room: &room,
        socket: room.path("containerd.sock").display().to_string(),
    };
    let daemon = containerd(&room, &cri.socket, &reference);
    daemon.answers(&mut cri.curl("Version", &Empty {}));

    let sandbox: PodSandboxId = says(cri.call("RunPodSandbox", &pod(&room)));
    let mut ctr = room.command("ctr");
    ctr.args(["--address", &cri.socket]);
    let folder = room.program("ctr", &ctr);
    for transport in ["containerd", "cri"] {
        is_read_as(transport, &reference, &folder);
    }
    let status = || -> PodSandboxStatusResponse {
        let verbose = true;
        let pod_sandbox_id = sandbox.pod_sandbox_id.clone();
        let question = PodSandboxStatusRequest {
            pod_sandbox_id,
            verbose,
        };
        says(cri.call("PodSandboxStatus", &question))
    };
    let PodSandboxStatusResponse {
        status: now, info, ..
    } = status();
    let now = now.expect("a status");
    assert_eq!(now.state(), PodSandboxState::Ready, "{now:?}");
    let ip = now.network.map(|network| network.ip).unwrap_or_default();
    assert!(ip.starts_with("10.88."), "an address of the pod's: {ip}");
    let info: Value = serde_json::from_str(&info["info"]).expect("JSON");
    assert_eq!(info["image"], reference, "{info}");
    is_the_pause(&room, &info["pid"].to_string(), IMAGE_USER);

    let _: Empty = says(cri.call("StopPodSandbox", &sandbox));
    let now = status().status.expect("a status");
    assert_eq!(now.state(), PodSandboxState::NotReady);
    let _: Empty = says(cri.call("RemovePodSandbox", &sandbox));
    let left: ListPodSandboxResponse = says(cri.call("ListPodSandbox", &Empty {}));
    assert_eq!(left.items, []);
}

/// A room for the programs of these packages.
///
/// `None` for an ordinary user outside of CI, since a room needs root.
fn room_for(needed: &[&str]) -> Option<Room> {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "engines need root");
        eprintln!("not root: this machine's engines are not asked");
        return None;
    }
    packages::ensure(needed).expect("the engine");
    Some(Room::open())
}

fn host() -> Platform {
    platform::host().expect("a row for this machine")
}

fn says<Answer>(result: Result<Answer, String>) -> Answer {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// The reference image, in a room's folder.
struct Image {
    image: image::Written,
}

impl Image {
    fn of(platforms: &[Platform], room: &Room) -> Self {
        let image = image::write(platforms, &room.path("image")).expect("it can be built here");
        Self { image }
    }

    fn file(&self, name: &str) -> String {
        self.image.layout.with_file_name(name).display().to_string()
    }

    fn oci_archive(&self) -> String {
        self.file("pause.oci.tar")
    }

    fn docker_archive(&self) -> String {
        self.file(&format!("pause-{}.docker.tar", host().folder()))
    }
}

/// The suite's reader finds the program in an engine's own store, and what is not there by name.
fn is_read_as(transport: &str, name: &str, programs: &Path) {
    let options = LoadOptions {
        programs: Some(programs.to_owned()),
        stall: Duration::from_mins(1),
        ..LoadOptions::default()
    };
    let load = |name: &str| {
        let reference = format!("{transport}:{name}").parse::<Reference>();
        pause_image::load(&reference.expect("it is one"), &options)
    };
    let subjects = load(name).unwrap_or_else(|error| panic!("{error}"));
    let program = subjects[0].program.as_ref().expect("it has one");
    assert_eq!(program.path, b"pause");
    let image = subjects[0].image.as_ref().expect("it is an image");
    assert_eq!(image.config.user.as_deref(), Some("65535:65535"));
    let error = load("localhost/none:1").expect_err("there is none");
    let line = error.to_string();
    assert!(
        line.starts_with(transport) && line.contains("localhost/none:1"),
        "{line}"
    );
    assert!(
        error.hint().is_some_and(|hint| hint.contains("lists")),
        "{line}"
    );
}

/// Whether process `pid` of the room is the program, is process 1 of a sandbox, and runs as this
/// user and group.
fn is_the_pause(room: &Room, pid: &str, user: &str) {
    let out = room.path("image/programs");
    let programs = build::programs(&[host()], &[link::PAUSE], &out).expect("it is built");
    let program = programs[0].path.display().to_string();
    room.run("cmp", &[&program, &format!("/proc/{pid}/exe")]);
    let status = room.proc(pid, "status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is in every status")
            .split_whitespace()
            .last()
    };
    assert_eq!(field("NSpid:"), Some("1"));
    assert_eq!(field("Uid:"), Some(user));
    assert_eq!(field("Gid:"), Some(user));
}

/// A registry on the room's loopback device.
fn registry(room: &Room) -> Daemon {
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: \"127.0.0.1:5000\"}}\n",
        room.path("registry").display()
    );
    let config = room.file("registry.yml", &config);
    let registry = room.daemon("docker-registry", &["serve", &config]);
    registry.answers(room.command("curl").arg("http://127.0.0.1:5000/v2/"));
    registry
}

/// A pod's configuration, as a kubelet sends it.
fn pod(room: &Room) -> RunPodSandboxRequest {
    let metadata = PodSandboxMetadata {
        name: "pod".into(),
        uid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into(),
        namespace: "default".into(),
        attempt: 0,
    };
    let config = PodSandboxConfig {
        metadata: Some(metadata),
        hostname: "pod".into(),
        log_directory: room.path("pod-logs").display().to_string(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: room.cgroup().into(),
            ..LinuxPodSandboxConfig::default()
        }),
        ..PodSandboxConfig::default()
    };
    RunPodSandboxRequest {
        config: Some(config),
        ..RunPodSandboxRequest::default()
    }
}
