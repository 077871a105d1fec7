//! Containers by docker and by podman themselves, in a room of namespaces: what they start
//! ends with it, and what they write outside of its folder is gone with it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::json;

use super::rows::{Of, Row, Set};
use super::{Ended, command};

/// What each container is made from: nothing, the host's folders are mounted into it.
const IMAGE: &str = "host:1";

/// A shell of the room's, which ends with this process, and the folder of its engine.
struct Room {
    holder: Child,
    shell: String,
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    of: Of,
}

/// The room of docker and that of podman, once they are there.
static ROOMS: Mutex<Vec<Room>> = Mutex::new(Vec::new());

/// Runs a row by the engine that it speaks of.
pub(crate) fn run(row: &Row, suite: &Path) -> Ended {
    // Nothing is behind the lock that a panic could have broken.
    let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = rooms.iter().position(|room| room.of == row.of);
    let at = known.unwrap_or_else(|| {
        rooms.push(Room::open(row.of));
        rooms.len() - 1
    });
    rooms[at].run(row, suite)
}

/// Where all containers are put, in every hierarchy.
fn cgroup() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| format!("/pause-hosts-{}", std::process::id()));
    &NAME
}

/// Removes a cgroup of this name, and what is below it, from every hierarchy.
fn remove_cgroups(name: &str) {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
    let roots = hierarchies.flatten().map(|entry| entry.path());
    for root in roots.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove(&root.join(name.trim_start_matches('/')));
    }
}

/// None of them has a member any more.
fn remove(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(cgroup);
}

/// Closes the rooms.
pub(crate) fn end() {
    let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
    for mut room in rooms.drain(..) {
        // With it the shell, and with that all that is in the room.
        let _ = room.holder.kill();
        let _ = room.holder.wait();
        if let Some(daemon) = &mut room.daemon {
            // `nsenter` ends with what it waits for.
            let _ = daemon.wait();
        }
        remove_cgroups(cgroup());
    }
}

impl Room {
    fn open(of: Of) -> Self {
        let script = "set -e; for folder in /run /var/lib /etc/docker; do
            [ ! -d $folder ] || mount -t tmpfs none $folder; done
            ip link set lo up; echo open; read -r _";
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child"])
            .args(["--mount-proc", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is installed");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it says that it is there");
        assert_eq!(line, "open\n", "the room was not furnished");
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let shell = std::fs::read_to_string(children).expect("the holder is there");
        let mut room = Self {
            holder,
            shell: shell.trim().to_owned(),
            folder: tempfile::tempdir().expect("a folder"),
            daemon: None,
            of,
        };
        if of == Of::Docker {
            room.daemon = Some(room.start_docker());
        }
        let tar = room.path("empty.tar");
        std::fs::write(&tar, [0; 1024]).expect("written");
        let output = room.engine().args(["import", &tar, IMAGE]).output();
        let output = output.expect("nsenter is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        room
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Something that is run in the room.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--pid", "--net", "--target", &self.shell])
            .args(["--", program])
            .stdin(Stdio::null());
        command
    }

    fn start_docker(&self) -> Child {
        let socket = self.path("docker.sock");
        let config = json!({
            "hosts": [format!("unix://{socket}")],
            "data-root": self.path("docker"),
            "exec-root": self.path("docker-exec"),
            "pidfile": self.path("docker.pid"),
            "bridge": "none",
            "iptables": false,
            "ip6tables": false,
            "ip-forward": false,
            "storage-driver": "vfs",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            // Below the caller's own takes a privilege that not every root has.
            "oom-score-adjust": 0,
        });
        let file = self.path("docker.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let log = std::fs::File::create(self.path("docker.log")).expect("a file");
        let daemon = self
            .command("dockerd")
            .args(["--config-file", &file])
            .stdout(log.try_clone().expect("one more descriptor"))
            .stderr(log)
            .spawn()
            .expect("it starts");
        let answered = Command::new("curl")
            .args(["--fail", "--silent", "--retry", "60", "--retry-delay", "1"])
            .args(["--retry-all-errors", "--unix-socket", &socket])
            .arg("http://docker/_ping")
            .output()
            .expect("curl is installed");
        let log = std::fs::read_to_string(self.path("docker.log")).unwrap_or_default();
        assert!(answered.status.success(), "{log}");
        daemon
    }

    fn engine(&self) -> Command {
        match self.of {
            Of::Docker => {
                let mut docker = self.command("docker");
                docker.args(["--host", &format!("unix://{}", self.path("docker.sock"))]);
                docker
            }
            Of::Podman | Of::Kubernetes => {
                let mut podman = self.command("podman");
                for (option, folder) in [
                    ("--root", "root"),
                    ("--runroot", "run"),
                    ("--tmpdir", "tmp"),
                ] {
                    podman.args([option, &self.path(folder)]);
                }
                podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
                podman.args(["--runtime", "runc"]);
                podman
            }
        }
    }

    fn run(&self, row: &Row, suite: &Path) -> Ended {
        let mut run = self.engine();
        run.args(["run", "--rm", "--network", "none", "--env", "NO_COLOR=1"]);
        run.args(["--cgroup-parent", cgroup()]);
        if self.of == Of::Podman {
            // The limits of the caller: larger ones are not everyone's to set.
            run.args(["--ulimit", "host"]);
        }
        run.args(["--volume", &format!("{}:/suite:ro", suite.display())]);
        for folder in ["/usr", "/lib", "/lib64"] {
            if Path::new(folder).exists() {
                run.args(["--volume", &format!("{folder}:{folder}:ro")]);
            }
        }
        for set in row.sets {
            run.args(self.option(*set));
        }
        let output = run.arg(IMAGE).args(command(row)).output();
        let output = output.expect("nsenter is installed");
        Ended {
            status: output.status.code(),
            said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        }
    }

    /// As a user types it.
    fn option(&self, set: Set) -> Vec<String> {
        let security = |what: &str| ("--security-opt", what.to_owned());
        let (option, value) = match set {
            Set::Unconfined => security("seccomp=unconfined"),
            Set::Unmasked if self.of == Of::Docker => security("systempaths=unconfined"),
            Set::Unmasked => security("unmask=ALL"),
            Set::NoNewPrivileges => security("no-new-privileges"),
            Set::Add(name) => ("--cap-add", name.to_owned()),
            Set::Drop(name) => ("--cap-drop", name.to_owned()),
            Set::User(user) => ("--user", format!("{user}:{user}")),
            Set::HostPid => ("--pid", "host".to_owned()),
            Set::Memory(mebibytes) => ("--memory", format!("{mebibytes}m")),
            Set::Processes(most) => ("--pids-limit", most.to_string()),
            Set::ReadOnly => return vec!["--read-only".to_owned()],
            Set::OwnUsers => unreachable!("a pod's alone"),
        };
        vec![option.to_owned(), value]
    }
}
