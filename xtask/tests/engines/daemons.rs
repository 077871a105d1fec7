//! Container engines in a room: podman, and the daemons of docker and containerd.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::room::{Daemon, Room, text};

/// A user's run-time directory (XDG Base Directory Specification).
pub(crate) const RUNTIME: &str = "/run/user/54321";
/// The ids of an ordinary user in a room, and the first id that the user may map.
const USER: u32 = 54_321;
const MAPPED: u32 = 300_000;

/// Podman, with its storage in a room.
pub(crate) struct Podman<'a> {
    room: &'a Room,
    config: String,
    /// Podman of an ordinary user.
    rootless: bool,
}

impl<'a> Podman<'a> {
    pub(crate) fn new(room: &'a Room) -> Self {
        // Its pods take their limits from here.
        let config = "[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = \"file\"\n";
        let config = room.file("containers.conf", config);
        Self {
            room,
            config,
            rootless: false,
        }
    }

    /// Podman of an ordinary user that exists only in this room, by its `/etc`.
    pub(crate) fn rootless(room: &'a Room) -> Self {
        let new = Self {
            rootless: true,
            ..Self::new(room)
        };
        let home = room.path("home").display().to_string();
        if Path::new(&home).exists() {
            return new;
        }
        let user = USER.to_string();
        let own = ["--directory", "--owner", &user, "--group", &user];
        room.run("install", &[&own[..], &[&home, RUNTIME]].concat());
        room.run("chmod", &["755", &room.path("").display().to_string()]);
        let users = room.run("cat", &["/etc/passwd"]);
        let users = format!("{users}\npausehost:x:{USER}:{USER}::{home}:/bin/sh\n");
        let ids = format!("pausehost:{MAPPED}:65536\n");
        for (name, text) in [("passwd", &users), ("subuid", &ids), ("subgid", &ids)] {
            let file = room.file(name, text);
            room.run("mount", &["--bind", &file, &format!("/etc/{name}")]);
        }
        new
    }

    /// Runs it, which must succeed. Returns what it prints.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        text(self.command().args(args))
    }

    /// The command, without arguments.
    pub(crate) fn command(&self) -> Command {
        let (mut podman, folder, root, driver) = if self.rootless {
            let podman = of_user(self.room, Path::new("podman"));
            let home = self.room.path("home");
            (podman, home.clone(), home.join("root"), "vfs")
        } else {
            let podman = self.room.command("podman");
            let root = Room::kept("containers");
            (podman, self.room.path(""), root, "overlay")
        };
        podman.env("CONTAINERS_CONF", &self.config);
        podman.arg("--root").arg(root);
        for (option, name) in [("--runroot", "run"), ("--tmpdir", "tmp")] {
            podman.arg(option).arg(folder.join(name));
        }
        podman.args(["--storage-driver", driver, "--cgroup-manager", "cgroupfs"]);
        podman.args(["--runtime", "runc"]);
        podman
    }
}

/// A command that runs `program` in the room as the user of [`Podman::rootless`].
pub(crate) fn of_user(room: &Room, program: &Path) -> Command {
    let user = USER.to_string();
    let mut command = room.command("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .arg(program)
        .env("XDG_RUNTIME_DIR", RUNTIME)
        .env("HOME", room.path("home"))
        .current_dir("/");
    command
}

/// Takes from that user the ids that containers would have.
pub(crate) fn take_ids(room: &Room) {
    for name in ["subuid", "subgid"] {
        room.file(name, "");
    }
}

/// The reason why an ordinary user cannot run podman here, if there is one.
pub(crate) fn no_rootless_podman() -> Option<String> {
    let exists = |path: &str| Path::new(path).exists();
    if !exists("/usr/bin/newuidmap") || !exists("/etc/subuid") || !exists("/etc/subgid") {
        return Some("no newuidmap: apt-get install uidmap".to_owned());
    }
    let user = USER.to_string();
    let may = Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["unshare", "--user", "true"])
        .output();
    let may = may.is_ok_and(|output| output.status.success());
    (!may).then(|| "ordinary users may make no user namespace".to_owned())
}

/// Starts docker's daemon at a socket, without a network, and waits until it answers.
pub(crate) fn dockerd(room: &Room, socket: &str) -> Daemon {
    let none = json!({
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
    });
    dockerd_with(room, socket, none)
}

/// The same with a network, which is the room's own.
pub(crate) fn dockerd_with_network(room: &Room, socket: &str) -> Daemon {
    dockerd_with(room, socket, json!({}))
}

fn dockerd_with(room: &Room, socket: &str, mut config: Value) -> Daemon {
    let always = json!({
        "hosts": [format!("unix://{socket}")],
        "data-root": Room::kept("docker"),
        "exec-root": room.path("docker-exec"),
        "pidfile": room.path("docker.pid"),
        "storage-driver": "overlay2",
        "cgroup-parent": room.cgroup(),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    });
    // A score below the caller's own needs a privilege that not every root has; a docker of today
    // sets none, and refuses the key.
    let help = Command::new("dockerd").arg("--help").output();
    let help = help.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    if help.is_ok_and(|help| help.contains("--oom-score-adjust")) {
        config["oom-score-adjust"] = json!(0);
    }
    for (key, value) in always.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let config = room.file("docker.json", &config.to_string());
    let daemon = room.daemon("dockerd", &["--config-file", &config]);
    let ping = ["--unix-socket", socket, "http://docker/_ping"];
    daemon.answers(room.command("curl").args(ping));
    daemon
}

/// Starts containerd at `socket`, with the image `reference` for pod sandboxes.
pub(crate) fn containerd(room: &Room, socket: &str, reference: &str) -> Daemon {
    let network = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": room.path("ipam")},
        }, {
            "type": "portmap",
            "capabilities": {"portMappings": true},
        }],
    });
    std::fs::create_dir(room.path("cni")).expect("a folder");
    room.file("cni/pods.conflist", &network.to_string());
    let config = format!(
        r#"version = 2
root = "{root}"
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
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
"#,
        root = Room::kept("containerd").display(),
        folder = room.path("containerd").display(),
        cni = room.path("cni").display(),
    );
    let config = room.file("containerd.toml", &config);
    room.daemon("containerd", &["--config", &config])
}
