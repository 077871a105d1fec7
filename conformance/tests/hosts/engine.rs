//! Containers of docker and of podman, the latter also as an ordinary user, and pods of containerd,
//! each in a room of namespaces: what they start ends with it, and what they write outside of its
//! folder vanishes with it.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::daemons::{Podman, dockerd};
use super::pod::Pods;
use super::room::{Daemon, Room, succeeds};
use super::rows::{Of, Row, Set};
use super::{Ended, command};

/// The empty image of all containers, into which the host's folders are mounted.
const IMAGE: &str = "host:1";
/// The host's folders with programs and libraries.
pub(crate) const LIBRARIES: [&str; 3] = ["/usr", "/lib", "/lib64"];

/// A container engine in its room.
struct Engine {
    of: Of,
    way: Way,
}

enum Way {
    /// Declared before the room, so that it is dropped first.
    Docker {
        _daemon: Daemon,
        room: Room,
    },
    Podman(Room),
    Containerd(Pods),
}

/// The container engines that were started.
static ENGINES: Mutex<Vec<Engine>> = Mutex::new(Vec::new());

/// Runs a row in its container engine.
pub(crate) fn run(row: &Row, suite: &Path) -> Ended {
    // The lock guards no data that a panic could break.
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = engines.iter().position(|engine| engine.of == row.of);
    let at = known.unwrap_or_else(|| {
        engines.push(Engine::start(row.of));
        engines.len() - 1
    });
    engines[at].run(row, suite)
}

/// Closes the rooms.
pub(crate) fn end() {
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    engines.clear();
}

impl Engine {
    fn start(of: Of) -> Self {
        let room = Room::open();
        let way = match of {
            Of::Docker => {
                let socket = room.path("docker.sock").display().to_string();
                Way::Docker {
                    _daemon: dockerd(&room, &socket),
                    room,
                }
            }
            Of::Podman | Of::Rootless => Way::Podman(room),
            Of::Kubernetes => Way::Containerd(Pods::start(room)),
        };
        let engine = Self { of, way };
        if let Some((room, mut import)) = engine.command() {
            let tar = room.path("empty.tar");
            std::fs::write(&tar, [0; 1024]).expect("written");
            succeeds(import.arg("import").arg(&tar).arg(IMAGE));
        }
        engine
    }

    /// Its command, if it has one.
    fn command(&self) -> Option<(&Room, Command)> {
        match &self.way {
            Way::Docker { room, .. } => {
                let mut docker = room.command("docker");
                let socket = room.path("docker.sock");
                docker.args(["--host", &format!("unix://{}", socket.display())]);
                Some((room, docker))
            }
            Way::Podman(room) if self.of == Of::Rootless => {
                Some((room, Podman::rootless(room).command()))
            }
            Way::Podman(room) => Some((room, Podman::new(room).command())),
            Way::Containerd(_) => None,
        }
    }

    fn run(&self, row: &Row, suite: &Path) -> Ended {
        let (room, mut run) = match (&self.way, self.command()) {
            (Way::Containerd(pods), _) => return pods.run(row, suite),
            (_, Some(command)) => command,
            (_, None) => unreachable!("all others have one"),
        };
        run.args(["run", "--rm", "--network", "none", "--env", "NO_COLOR=1"]);
        if self.of != Of::Rootless {
            // With cgroups of version 1 an ordinary user cannot set limits.
            run.args(["--cgroup-parent", room.cgroup()]);
        }
        if self.of != Of::Docker {
            // The caller's limits, since not every caller may raise them.
            run.args(["--ulimit", "host"]);
        }
        run.args(["--volume", &format!("{}:/suite:ro", suite.display())]);
        for folder in LIBRARIES {
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

    /// The options that a user would type.
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
            Set::Privileged => return vec!["--privileged".to_owned()],
            Set::OwnUsers => unreachable!("a pod's alone"),
        };
        vec![option.to_owned(), value]
    }
}
