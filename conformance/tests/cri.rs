//! The suite with the sandboxes of a CRI runtime that is there already, containerd in a room: the
//! image that it is configured for is judged, no other is, and nothing is left.
//!
//! The suite's own containerd is tested with the OCI runtimes.

#[path = "../../xtask/tests/engines/cri.rs"]
mod cri;
#[path = "../../xtask/tests/engines/daemons.rs"]
mod daemons;
#[path = "../../xtask/tests/engines/room.rs"]
mod room;
#[path = "common/through.rs"]
mod through;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use conformance::programs::REFERENCE;
use conformance::wait;
use cri::Client;
use libtest_mimic::{Arguments, Failed, Trial};
use pause_cri::messages::{Empty, ListPodSandboxResponse};
use pause_image::build::ImageBuilder;
use room::{Daemon, Room, succeeds};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use through::{Program, is_installed, report, said, with_verdict};

/// What holds the pods in the room: the reference.
const PAUSE: &str = "localhost/pause:1";
/// Within this the suite must have begun.
const BEGUN: Duration = Duration::from_mins(1);
/// Within this the keeper must be gone, also where a sandbox was being made.
const REMOVAL: Duration = Duration::from_mins(4);
/// How many suites are killed until one leaves a sandbox: each may have none for a moment.
const TRIES: usize = 5;

/// containerd in its room. Fields are dropped in this order.
struct Runtime {
    _daemon: Daemon,
    room: Room,
}

impl Runtime {
    fn start() -> Self {
        let room = Room::open();
        let socket = socket(&room);
        let daemon = daemons::containerd(&room, &socket, PAUSE);
        let client = Client {
            room: &room,
            socket: socket.clone(),
        };
        daemon.answers(&mut client.curl("Version", &Empty {}));
        let architecture = pause_image::Platform::host().architecture;
        let image = ImageBuilder::pause(REFERENCE, &architecture).docker_archive(PAUSE);
        fs::write(archive(&room), image).expect("written");
        let mut ctr = room.command("ctr");
        ctr.args(["--address", &socket, "--namespace", "k8s.io"]);
        ctr.args(["images", "import", "--no-unpack", &archive(&room)]);
        succeeds(&mut ctr);
        Self {
            _daemon: daemon,
            room,
        }
    }

    /// The suite with these arguments, on the image that holds the pods where they name none.
    fn suite(&self, arguments: &[&str]) -> Command {
        let mut command = self.room.command(env!("CARGO_BIN_EXE_pause-conformance"));
        let runtime = format!("cri={}", socket(&self.room));
        command.args(arguments).args(["--runtime", &runtime]);
        if !arguments.contains(&"--image") {
            let image = format!("docker-archive:{}", archive(&self.room));
            command.args(["--image", &image]);
        }
        command.args(["--report", "json"]);
        command
    }

    /// How many sandboxes there are.
    fn sandboxes(&self) -> Result<usize, Failed> {
        let client = Client {
            room: &self.room,
            socket: socket(&self.room),
        };
        let all: ListPodSandboxResponse = client.call("ListPodSandbox", &Empty {})?;
        Ok(all.items.len())
    }
}

fn socket(room: &Room) -> String {
    room.path("containerd.sock").display().to_string()
}

fn archive(room: &Room) -> String {
    room.path("pause.tar").display().to_string()
}

fn judges_what_holds_its_pods() -> Result<(), Failed> {
    let runtime = Runtime::start();
    let output = runtime.suite(&[]).output()?;
    let report = report(&output)?;
    let run = &report["runs"][0];
    let wrong = through::complaints(run);
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    let passed = with_verdict(run, &["pass"]);
    for family in ["signals/", "reaping/", "namespaces/", "startup/"] {
        assert!(passed.iter().any(|id| id.starts_with(family)), "{family}");
    }
    assert!(passed.len() > 60, "{} passed through it", passed.len());
    let described = run["runtime"].as_str().unwrap_or_default();
    assert!(described.starts_with("cri (containerd "), "{described}");
    assert!(run.to_string().contains(&format!("image {PAUSE}, pid ")));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(runtime.sandboxes()?, 0);
    judges_no_other(&runtime)
}

/// One line says which image it would be.
fn judges_no_other(runtime: &Runtime) -> Result<(), Failed> {
    let other = Program::of(REFERENCE);
    let output = runtime.suite(&["--image", &other.image()]).output()?;
    let report = report(&output)?;
    let why = report["runs"][0]["error"].as_str().unwrap_or_default();
    let expected = format!("the runtime's pods are held by {PAUSE}, sha256:");
    assert!(why.contains(&expected), "{report:#}");
    assert!(why.contains("not by this image, sha256:"), "{why}");
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

/// Of the process `of`, a child that this holds for, once there is one.
fn child_of(of: Pid, is_it: impl Fn(&str) -> bool) -> Result<Pid, Failed> {
    let began = Instant::now();
    while began.elapsed() < BEGUN {
        let tasks = format!("/proc/{}/task", of.as_raw_nonzero());
        for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
            let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let it = list.split_whitespace().find(|pid| is_it(pid));
            if let Some(pid) = it.and_then(|pid| Pid::from_raw(pid.parse().ok()?)) {
                return Ok(pid);
            }
        }
        std::thread::yield_now();
    }
    Err("the suite does not begin".into())
}

/// The suite that this `nsenter` has started, and its keeper.
fn suite_and_keeper(nsenter: &Child) -> Result<(Pid, Pid), Failed> {
    let suite = child_of(Pid::from_child(nsenter), |pid| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program == Path::new(env!("CARGO_BIN_EXE_pause-conformance"))
    })?;
    let keeper = child_of(suite, |pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline"));
        words.is_ok_and(|words| words.starts_with(b"pause-conformance-cri-keeper\0"))
    })?;
    Ok((suite, keeper))
}

/// A suite that has made a sandbox: what ends it, and its keeper.
fn begun(runtime: &Runtime) -> Result<(Child, Pid, Pid), Failed> {
    let mut command = runtime.suite(&[]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (suite, keeper) = suite_and_keeper(&child)?;
    let began = Instant::now();
    while runtime.sandboxes()? == 0 {
        if began.elapsed() > BEGUN {
            return Err("no sandbox is made".into());
        }
    }
    Ok((child, suite, keeper))
}

/// Kills a suite that has sandboxes, while its keeper is stopped: none where they were just removed.
fn kill_with_sandboxes(runtime: &Runtime) -> Result<Option<Pid>, Failed> {
    let (mut child, suite, keeper) = begun(runtime)?;
    kill_process(keeper, Signal::STOP)?;
    kill_process(suite, Signal::KILL)?;
    child.wait()?;
    if runtime.sandboxes()? > 0 {
        return Ok(Some(keeper));
    }
    ends_after(keeper, Signal::CONT)?;
    Ok(None)
}

/// Waits until a keeper ends, once it is sent this.
fn ends_after(keeper: Pid, signal: Signal) -> Result<(), Failed> {
    let pidfd = pidfd_open(keeper, PidfdFlags::empty())?;
    kill_process(keeper, signal)?;
    if wait::readable(std::os::fd::AsFd::as_fd(&pidfd), REMOVAL)? {
        return Ok(());
    }
    Err("its keeper runs".into())
}

/// The keeper of a suite that was killed, and has left sandboxes.
fn killed(runtime: &Runtime) -> Result<Pid, Failed> {
    for _ in 0..TRIES {
        if let Some(keeper) = kill_with_sandboxes(runtime)? {
            return Ok(keeper);
        }
    }
    Err("no suite leaves anything".into())
}

fn leaves_nothing() -> Result<(), Failed> {
    let runtime = Runtime::start();
    ends_after(killed(&runtime)?, Signal::CONT)?;
    assert_eq!(runtime.sandboxes()?, 0);

    // What is left where both are killed, the next suite removes.
    ends_after(killed(&runtime)?, Signal::KILL)?;
    assert_ne!(runtime.sandboxes()?, 0, "something is left");
    let check = ["--filter", "signals/term-exits-zero"];
    let report = report(&runtime.suite(&check).output()?)?;
    assert_eq!(report["conclusion"], "conformant", "{report:#}");
    assert_eq!(runtime.sandboxes()?, 0);
    Ok(())
}

/// Two lines, and the status for what could not be judged.
fn is_refused(place: &str, cause: &str, hint: &str) -> Result<(), Failed> {
    let program = Program::of(REFERENCE);
    let runtime = format!("cri={place}");
    let output: Output = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--image", &program.image(), "--runtime", &runtime])
        .stdin(Stdio::null())
        .output()?;
    let said = said(&output);
    let lines: Vec<_> = said.lines().collect();
    let first = format!("error: --runtime cri: {place}: {cause}");
    assert!(lines.len() == 2 && lines[0].starts_with(&first), "{said}");
    assert!(
        lines[1].starts_with(" hint: ") && lines[1].contains(hint),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2), "{said}");
    Ok(())
}

fn what_is_none_is_named() -> Result<(), Failed> {
    is_refused("/nonexistent/x", "", "install containerd")?;
    is_refused("/bin/false", "it does not say", "install containerd")?;
    let folder = tempfile::tempdir()?;
    let nobodys = folder.path().join("nobodys").display().to_string();
    drop(UnixListener::bind(&nobodys)?);
    is_refused(&nobodys, "nobody listens there", "name its socket")?;
    let http = folder.path().join("http").display().to_string();
    let listener = UnixListener::bind(&http)?;
    // It ends with this process, at the latest.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    is_refused(&http, "it does not speak the Container", "disabled_plugins")
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each run takes all processors.
    arguments.test_threads.get_or_insert(1);
    let is_root = rustix::process::geteuid().is_root();
    let in_ci = std::env::var_os("CI").is_some();
    let is_there = in_ci || is_installed("containerd");
    let trial = |name, test: fn() -> Result<(), Failed>, can_run: bool| {
        Trial::test(name, test).with_ignored_flag(!is_root || !can_run)
    };
    let trials = vec![
        trial("what_is_none_is_named", what_is_none_is_named, true),
        trial(
            "judges_what_holds_its_pods",
            judges_what_holds_its_pods,
            is_there,
        ),
        trial("leaves_nothing", leaves_nothing, is_there),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
