//! The reference image, taken and run by the engines that pods are run by.
//!
//! Each test starts an engine of its own in a [room](room) and leaves nothing
//! behind. They need root, as those engines do.

mod cri;
mod room;

use cri::{Client, Config, Linux, List, Metadata, Nothing, RunPodSandbox, Sandbox, StatusAnswer};
use room::{Daemon, Room, succeeds};
use serde_json::Value;
use xtask::platform::{self, ALL, Platform};
use xtask::{build, image};

/// As docker-archives call it.
const NAME: &str = concat!("pause:", env!("CARGO_PKG_VERSION"));

const IMAGE_USER: &str = "65535";

/// How podman and docker say how a container has ended.
const ENDED: &str = "{{.State.Status}} {{.State.ExitCode}}";

/// Longer than it takes, on a loaded machine: only a pause that does not end
/// makes an engine wait for it.
const GRACE: &str = "60";

#[test]
fn podman_runs_it_and_holds_a_pod_with_it() {
    let Some(room) = Room::open(&["podman"]) else {
        return;
    };
    let written = Image::of(&[host()], &room);
    let podman = Podman::new(&room);
    podman.run(&["load", "--input", &written.oci_archive()]);
    podman.run(&["load", "--input", &written.docker_archive()]);
    let name = format!("localhost/{NAME}");
    let pid = |id: &str| podman.run(&["inspect", "--format", "{{.State.Pid}}", id]);
    let how = ["--network", "none", "--cgroup-parent", room.cgroup()];

    // The limits of the caller: larger ones are not everyone's to set.
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
    // Podman's pods are held by root, whatever the image says.
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
    let Some(room) = Room::open(&["docker.io", "curl"]) else {
        return;
    };
    let written = Image::of(&[host()], &room);
    let socket = room.path("docker.sock").display().to_string();
    let url = format!("unix://{socket}");
    let daemon = dockerd(&room, &url);
    let ping = ["--unix-socket", &socket, "http://docker/_ping"];
    daemon.answers(room.command("curl").args(ping));
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
    let Some(room) = Room::open(&[&needed[..], &["docker-registry", "skopeo"]].concat()) else {
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
    daemon.answers(&mut cri.curl("Version", &Nothing {}));

    let sandbox: Sandbox = says(cri.call("RunPodSandbox", &pod(&room)));
    let status = || -> StatusAnswer {
        let verbose = true;
        let id = sandbox.id.clone();
        says(cri.call("PodSandboxStatus", &Sandbox { id, verbose }))
    };
    let StatusAnswer { status: now, info } = status();
    let now = now.expect("a status");
    assert_eq!(now.state, 0, "ready: {now:?}");
    let ip = now.network.map(|network| network.ip).unwrap_or_default();
    assert!(ip.starts_with("10.88."), "an address of the pod's: {ip}");
    let info: Value = serde_json::from_str(&info["info"]).expect("JSON");
    assert_eq!(info["image"], reference, "{info}");
    is_the_pause(&room, &info["pid"].to_string(), IMAGE_USER);

    let _: Nothing = says(cri.call("StopPodSandbox", &sandbox));
    assert_eq!(status().status.expect("a status").state, 1, "not ready");
    let _: Nothing = says(cri.call("RemovePodSandbox", &sandbox));
    let left: List = says(cri.call("ListPodSandbox", &Nothing {}));
    assert_eq!(left.items, []);
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

/// Is process `pid` of the room the program, process 1 of a sandbox, and run
/// as this user and group?
fn is_the_pause(room: &Room, pid: &str, user: &str) {
    let out = room.path("image/programs");
    let programs = build::programs(&[host()], &["pause"], &out).expect("it is built");
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

/// Podman, with its storage in a room.
struct Podman<'a> {
    room: &'a Room,
    config: String,
}

impl<'a> Podman<'a> {
    fn new(room: &'a Room) -> Self {
        // Its pods take their limits from here.
        let config = "[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = \"file\"\n";
        let config = room.file("containers.conf", config);
        Self { room, config }
    }

    fn run(&self, args: &[&str]) -> String {
        let mut podman = self.room.command("podman");
        podman.env("CONTAINERS_CONF", &self.config);
        for (option, folder) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman.arg(option).arg(self.room.path(folder));
        }
        podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        podman.args(["--runtime", "runc"]).args(args);
        room::text(&mut podman)
    }
}

/// Docker's daemon at `url`, without a network.
fn dockerd(room: &Room, url: &str) -> Daemon {
    let config = serde_json::json!({
        "hosts": [url],
        "data-root": room.path("docker"),
        "exec-root": room.path("docker-exec"),
        "pidfile": room.path("docker.pid"),
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
        "storage-driver": "vfs",
        "cgroup-parent": room.cgroup(),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        // Below the caller's own takes a privilege that not every root has.
        "oom-score-adjust": 0,
    });
    let config = room.file("docker.json", &config.to_string());
    room.daemon("dockerd", &["--config-file", &config])
}

/// A registry on the room's loopback.
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

/// Containerd at `socket`, whose pods are held by the image `reference`.
fn containerd(room: &Room, socket: &str, reference: &str) -> Daemon {
    let network = serde_json::json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": room.path("ipam")},
        }],
    });
    std::fs::create_dir(room.path("cni")).expect("a folder");
    room.file("cni/pods.conflist", &network.to_string());
    let config = format!(
        r#"version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{reference}"
# Below the caller's own takes a privilege that not every root has.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        folder = room.path("containerd").display(),
        cni = room.path("cni").display(),
    );
    let config = room.file("containerd.toml", &config);
    room.daemon("containerd", &["--config", &config])
}

/// A pod as a kubelet asks for one.
fn pod(room: &Room) -> RunPodSandbox {
    let config = Config {
        metadata: Some(Metadata {
            name: "pod".into(),
            uid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8".into(),
            namespace: "default".into(),
        }),
        hostname: "pod".into(),
        log_directory: room.path("pod-logs").display().to_string(),
        linux: Some(Linux {
            cgroup_parent: room.cgroup().into(),
        }),
    };
    RunPodSandbox {
        config: Some(config),
    }
}
