//! The walkthrough, on each engine in a room of its own: it ends well, it finds a pause that does
//! not reap, and it leaves nothing, also when it is killed on its way.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pause_cri::messages::{Empty, ListPodSandboxResponse};

use crate::cri::Client;
use crate::daemons::{containerd, dockerd_with_network};
use crate::room::{Daemon, Room, listed, succeeds, text};
use crate::{Image, host, room_for, says};
use xtask::{build, link};

/// A pod of each walk takes the host's memory for a copy of its root file system: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Where engines listen in a room when nothing else is said.
const DOCKER: &str = "/run/docker.sock";
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// At which of its steps it is killed: in the short form where all is there, in the long one at each
/// from that on which there is a pause.
fn kills() -> std::ops::RangeInclusive<u32> {
    match std::env::var_os("PAUSE_CONFORMANCE_KILLS") {
        Some(_) => 3..=8,
        None => 5..=5,
    }
}

const REAPS_NOT: &str = "was not reaped";

/// A room in which an engine runs.
struct Walked<'a> {
    room: &'a Room,
    engine: &'static str,
    /// What the engine's own programs are told where its things are.
    env: Vec<(&'static str, String)>,
}

impl Walked<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = self.room.command(program);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        // Cargo and what it has fetched are the user's.
        command.env("HOME", std::env::var_os("HOME").unwrap_or_default());
        std::fs::create_dir_all(self.temporary()).expect("a folder");
        command.env("TMPDIR", self.temporary());
        command
    }

    fn temporary(&self) -> PathBuf {
        self.room.path("temporary")
    }

    /// The folders that walks have left.
    fn folders(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.temporary()).expect("it was made");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    fn walk(&self, more: &[&str]) -> Command {
        let mut walk = self.command(env!("CARGO_BIN_EXE_xtask"));
        walk.args(["walkthrough", "--engine", self.engine]);
        walk.args(["--cgroup-parent", self.room.cgroup()])
            .args(more);
        walk
    }

    /// Walks to the end.
    fn ends_well(&self) {
        let page = xtask::workspace().join("conformance/docs/WALKTHROUGH.md");
        let output = text(&mut self.walk(&[]));
        for words in [
            "502 Bad Gateway",
            "<title>Ghost</title>",
            "/pause",
            "Nothing is left",
        ] {
            assert!(output.contains(words), "no {words:?} in {output}");
        }
        let page = std::fs::read_to_string(page).expect("the project has it");
        assert_eq!(commands_of(&page, self.engine), commands(&output));
        assert_eq!(self.folders(), [] as [PathBuf; 0]);
    }

    /// With a pause that does not reap, it says so in one line, and leaves nothing either.
    fn finds_what_does_not_reap(&self, more: &[&str]) {
        let output = self.walk(more).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            last.starts_with("error: ") && last.contains(REAPS_NOT),
            "{said}"
        );
        assert_eq!(self.folders(), [] as [PathBuf; 0]);
    }

    /// Kills it on its way, and waits until what it made is gone.
    fn is_swept_when_it_is_killed(&self, left: &dyn Fn() -> String) {
        for step in kills() {
            self.is_swept_when_it_is_killed_at(step, left);
        }
    }

    fn is_swept_when_it_is_killed_at(&self, step: u32, left: &dyn Fn() -> String) {
        let mut walk = self.walk(&[]);
        let mut walk = walk.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(walk.stdout.take().expect("a pipe")).lines();
        let title = format!("# {step}.");
        let there = lines.any(|line| line.is_ok_and(|line| line.starts_with(&title)));
        assert!(there, "it ended before {title}");
        assert_ne!(left(), "", "nothing is there to be swept");
        // `nsenter` waits for it.
        let children = format!("/proc/{0}/task/{0}/children", walk.id());
        let child = std::fs::read_to_string(children).expect("it runs");
        succeeds(Command::new("kill").args(["-KILL", child.trim()]));
        walk.wait().expect("it is ours");
        let begun = Instant::now();
        while !left().is_empty() || !self.folders().is_empty() {
            let late = begun.elapsed() > Duration::from_mins(4);
            assert!(!late, "left: {}, {:?}", left(), self.folders());
        }
    }
}

/// The commands that were typed, without what is this run's alone: numbers and ids.
fn commands(text: &str) -> Vec<String> {
    let is_own =
        |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    let words = |line: &str| -> String {
        let line = line.replace("--cgroup-parent ", "");
        let words = line
            .split(' ')
            .filter(|word| !word.starts_with("/pause-engines-"));
        let words = words.filter(|word| !is_own(word)).map(|word| {
            let letters = |c: &char| !c.is_ascii_digit() && *c != '-';
            word.chars().filter(letters).collect::<String>()
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let typed = text.lines().filter(|line| line.starts_with("$ "));
    let mut typed: Vec<String> = typed.map(words).collect();
    // How often one looks is for the machine to say.
    typed.dedup();
    typed
}

fn commands_of(page: &str, engine: &str) -> Vec<String> {
    let (_, rest) = page
        .split_once(&format!("<!-- walkthrough: {engine} -->"))
        .expect("the page has a place for it");
    commands(rest.split("<!-- end -->").next().unwrap_or_default())
}

fn room_to_walk_in(needed: &[&str]) -> Option<Room> {
    let room = room_for(&[needed, &["curl", "iptables", "mmdebstrap"]].concat())?;
    xtask::walkthrough::prepare().expect("the distribution's packages");
    Some(room)
}

/// A pause that never waits, as an archive of docker's.
fn never_reaps(room: &Room) -> PathBuf {
    let out = room.path("fixtures");
    let programs = build::programs(&[host()], &[link::FIXTURES], &out).expect("it is built");
    let all = programs
        .iter()
        .find(|it| it.path.ends_with("fixture"))
        .expect("it is one");
    let all = std::fs::read(&all.path).expect("it was written");
    let fixture = fixtures::all()
        .find(|it| it.name == "never-reaps")
        .expect("it is one");
    let program = fixture.build(&all).expect("it is in there");
    let image = pause_image::build::ImageBuilder::pause(&program, host().architecture);
    let path = room.path("never-reaps.tar");
    std::fs::write(&path, image.docker_archive("localhost/never-reaps:1")).expect("a file");
    path
}

#[test]
fn docker_is_walked_through() {
    let Some(room) = room_to_walk_in(&["docker.io"]) else {
        return;
    };
    let _one = ONE.lock();
    let daemon = dockerd_with_network(&room, DOCKER);
    let walked = Walked {
        room: &room,
        engine: "docker",
        env: Vec::new(),
    };
    walked.ends_well();
    let docker = |args: &[&str]| text(walked.command("docker").args(args));
    let left = || {
        docker(&["ps", "--all", "--quiet"])
            + &docker(&["volume", "ls", "--quiet"])
            + &docker(&["images", "--quiet"])
    };
    assert_eq!(left(), "");
    let archive = format!("docker-archive:{}", never_reaps(&room).display());
    walked.finds_what_does_not_reap(&["--pause", &archive]);
    assert_eq!(left(), "");
    walked.is_swept_when_it_is_killed(&left);
    drop(daemon);
    refuses_one_line(&room, "docker", ("DOCKER_HOST", "unix:///nonexistent"));
}

#[test]
fn podman_is_walked_through() {
    let Some(room) = room_to_walk_in(&["podman"]) else {
        return;
    };
    let _one = ONE.lock();
    let folder = |name: &str| room.path(name).display().to_string();
    let storage = format!(
        "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        Room::kept("containers").display(),
        folder("run")
    );
    // Its pods take their limits from here.
    let engine = format!(
        "[containers]\ndefault_ulimits = []\n[engine]\nevents_logger = \"file\"\nruntime = \"runc\"\n\
         cgroup_manager = \"cgroupfs\"\ntmp_dir = \"{}\"\n",
        folder("tmp")
    );
    let env = vec![
        (
            "CONTAINERS_STORAGE_CONF",
            room.file("storage.conf", &storage),
        ),
        ("CONTAINERS_CONF", room.file("containers.conf", &engine)),
    ];
    let walked = Walked {
        room: &room,
        engine: "podman",
        env,
    };
    walked.ends_well();
    let podman = |args: &[&str]| listed(walked.command("podman").args(args));
    let left = || {
        podman(&["pod", "ls", "--quiet"])
            + &podman(&["volume", "ls", "--quiet"])
            + &podman(&["images", "--quiet"])
    };
    assert_eq!(left(), "");
    let archive = format!("docker-archive:{}", never_reaps(&room).display());
    walked.finds_what_does_not_reap(&["--pause", &archive]);
    assert_eq!(left(), "");
    walked.is_swept_when_it_is_killed(&left);
}

#[test]
fn containerd_is_walked_through_by_cri() {
    let Some(room) = room_to_walk_in(&["containerd", "containernetworking-plugins"]) else {
        return;
    };
    let _one = ONE.lock();
    let written = Image::of(&[host()], &room);
    let name = format!("docker.io/library/{}", crate::NAME);
    let archive = written.docker_archive();
    let (walked, cri, _daemon) = by_cri(&room, &name, &archive);
    walked.ends_well();
    let left = || pods(&cri);
    assert_eq!(left(), "");
    let output = walked.walk(&["--pause", "other:1"]).output();
    assert_eq!(output.expect("it starts").status.code(), Some(2));
    walked.is_swept_when_it_is_killed(&left);
}

/// What holds its pods is for its configuration to say, so it is another daemon.
#[test]
fn containerd_is_walked_through_by_cri_with_a_pause_that_does_not_reap() {
    let Some(room) = room_to_walk_in(&["containerd", "containernetworking-plugins"]) else {
        return;
    };
    let _one = ONE.lock();
    let archive = never_reaps(&room).display().to_string();
    let (walked, cri, _daemon) = by_cri(&room, "localhost/never-reaps:1", &archive);
    walked.finds_what_does_not_reap(&[]);
    assert_eq!(pods(&cri), "");
}

/// A containerd whose pods are held by this image, which it is given.
fn by_cri<'a>(room: &'a Room, name: &str, archive: &str) -> (Walked<'a>, Client<'a>, Daemon) {
    room.run("mkdir", &["--parents", "/run/containerd"]);
    let socket = CONTAINERD.to_owned();
    let cri = Client { room, socket };
    let daemon = containerd(room, CONTAINERD, name);
    daemon.answers(&mut cri.curl("Version", &Empty {}));
    let walked = Walked {
        room,
        engine: "cri",
        env: Vec::new(),
    };
    let import = [
        "--namespace",
        "k8s.io",
        "images",
        "import",
        "--no-unpack",
        archive,
    ];
    succeeds(walked.command("ctr").args(import));
    (walked, cri, daemon)
}

fn pods(cri: &Client<'_>) -> String {
    let pods: ListPodSandboxResponse = says(cri.call("ListPodSandbox", &Empty {}));
    pods.items.iter().map(|pod| pod.id.as_str()).collect()
}

/// Where there is no engine: one line, a hint, and the status of what could not be tried.
fn refuses_one_line(room: &Room, engine: &'static str, (key, value): (&'static str, &str)) {
    let walked = Walked {
        room,
        engine,
        env: vec![(key, value.to_owned())],
    };
    let output = walked.walk(&[]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.trim().lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains("nonexistent"),
        "{said}"
    );
    assert!(lines[1].starts_with("  try: "), "{said}");
    assert_eq!(output.stdout, b"");
}
