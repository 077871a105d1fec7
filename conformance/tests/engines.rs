//! The suite with sandboxes that container engines make: the reference is conformant, each kind of
//! fault is found by the check that is for it, what is missing is named, and nothing is left where
//! the suite is killed.
//!
//! Each engine is in a room of namespaces, in which the suite runs too.

#[path = "common/copied.rs"]
mod copied;
#[path = "../../xtask/tests/engines/daemons.rs"]
mod daemons;
#[path = "../../xtask/tests/engines/room.rs"]
mod room;
#[path = "common/through.rs"]
mod through;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use conformance::programs::{FIXTURE, REFERENCE};
use conformance::wait;
use daemons::Podman;
use libtest_mimic::{Arguments, Failed, Trial};
use pause_image::build::{ImageBuilder, LayoutBuilder, Tar};
use room::{Daemon, Room};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};
use through::{FAULTS, Program, is_installed, moments, report, said, with_verdict};

/// The first part of a run, from when the keeper is there: while it prepares, and while it judges.
const PART: Duration = Duration::from_secs(6);
/// Within this the keeper must be gone, also where an engine was making a container.
const REMOVAL: Duration = Duration::from_mins(4);
/// Within this the suite must have begun.
const BEGUN: Duration = Duration::from_mins(1);
/// The suite runs for so long between two stops.
const BETWEEN_STOPS: Duration = Duration::from_millis(2);
/// How many suites are killed until one leaves a container: each may have none for a moment.
const TRIES: usize = 5;

/// A container engine in its room. Fields are dropped in this order.
struct Engine {
    /// As `--runtime` has it.
    runtime: String,
    /// The suite's program.
    suite: PathBuf,
    /// What runs it, and any other program, in the room.
    command: fn(&Room, &Path) -> Command,
    /// Where a run has its folder.
    folders: &'static str,
    _daemon: Option<Daemon>,
    /// What asks the engine, without arguments.
    client: Box<dyn Fn(&Room) -> Command>,
    room: Room,
}

impl Engine {
    fn docker() -> Self {
        let room = Room::open();
        let socket = room.path("docker.sock").display().to_string();
        let daemon = daemons::dockerd(&room, &socket);
        let host = format!("unix://{socket}");
        Self {
            runtime: format!("docker={socket}"),
            suite: PROGRAM.into(),
            command: of_root,
            folders: "/run",
            _daemon: Some(daemon),
            client: Box::new(move |room| {
                let mut command = room.command("docker");
                command.args(["--host", &host]);
                command
            }),
            room,
        }
    }

    fn podman() -> Self {
        let room = Room::open();
        let program = podman_inside(&room, &Podman::new(&room).command());
        Self {
            runtime: format!("podman={}", program.display()),
            suite: PROGRAM.into(),
            command: of_root,
            folders: "/run",
            _daemon: None,
            client: Box::new(|room| Podman::new(room).command()),
            room,
        }
    }

    /// Podman of an ordinary user, who runs the suite, too.
    fn users_podman() -> Self {
        let room = Room::open();
        let program = podman_inside(&room, &Podman::rootless(&room).command());
        let suite = room.path("suite");
        copied::suite(&suite);
        Self {
            runtime: format!("podman={}", program.display()),
            suite,
            command: daemons::of_user,
            folders: daemons::RUNTIME,
            _daemon: None,
            client: Box::new(|room| Podman::rootless(room).command()),
            room,
        }
    }

    fn is_users(&self) -> bool {
        self.folders == daemons::RUNTIME
    }

    fn suite(&self, arguments: &[&str]) -> Command {
        let mut command = (self.command)(&self.room, &self.suite);
        command.args(arguments).args(["--runtime", &self.runtime]);
        command
    }

    fn judge(&self, arguments: &[&str]) -> Result<(Value, Output), Failed> {
        let output = self.suite(arguments).args(["--report", "json"]).output()?;
        Ok((report(&output)?, output))
    }

    fn containers(&self) -> String {
        self.ask(&["ps", "--all", "--quiet"])
    }

    /// What it has of any run: containers, pods, images, folders. Podman cannot list an image that
    /// is just being loaded.
    fn left(&self) -> String {
        let containers = self.containers();
        let pods = if self.runtime.starts_with("podman") {
            self.ask(&["pod", "ps", "--quiet"])
        } else {
            String::new()
        };
        let images = self.ask(&["images", "--all", "--quiet"]);
        let folders = self.room.run("ls", &[self.folders]);
        let folders = folders.lines().filter(|it| it.starts_with("pause-"));
        let folders: Vec<_> = folders.collect();
        [containers, pods, images, folders.join("\n")].join("")
    }

    fn ask(&self, words: &[&str]) -> String {
        room::listed((self.client)(&self.room).args(words))
    }

    /// Its networks, of which the suite makes none.
    fn networks(&self) -> String {
        self.ask(&["network", "ls", "--quiet"])
    }

    /// The cgroups of its containers, and those below which a run of this room has its own.
    fn cgroups(&self, runs: &str) -> Vec<PathBuf> {
        let own = self.room.cgroup().trim_start_matches('/');
        let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        let mut all = Vec::new();
        for root in room::hierarchies() {
            all.extend(entries(&root.join(own)));
            let of_runs = entries(&root);
            all.extend(of_runs.filter(|it| it.file_name().to_string_lossy().starts_with(runs)));
        }
        all.retain(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        all.iter().map(fs::DirEntry::path).collect()
    }

    /// Waits until none of those is left: an engine removes them a moment after it has said that a
    /// container is gone.
    fn await_no_cgroups(&self, runs: &str) -> Result<(), Failed> {
        let began = Instant::now();
        loop {
            let left = self.cgroups(runs);
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() > REMOVAL {
                return Err(format!("cgroups are left: {left:?}").into());
            }
            std::thread::yield_now();
        }
    }
}

/// The suite's program, as root runs it.
const PROGRAM: &str = env!("CARGO_BIN_EXE_pause-conformance");

fn of_root(room: &Room, program: &Path) -> Command {
    room.command(program.to_str().expect("text"))
}

/// A program that is this podman for those who are in its room already, as its user.
fn podman_inside(room: &Room, command: &Command) -> PathBuf {
    let words: Vec<_> = command.get_args().collect();
    let program = words.iter().position(|word| *word == "podman");
    let mut inside = Command::new("podman");
    inside.args(&words[program.expect("its name") + 1..]);
    for (key, value) in command.get_envs() {
        inside.env(key, value.unwrap_or_default());
    }
    room.program("podman", &inside).join("podman")
}

/// A folder that every user may read.
fn open_folder() -> Result<tempfile::TempDir, Failed> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn runs_the_reference(start: Start) -> Result<(), Failed> {
    let engine = start();
    let folder = open_folder()?;
    let architecture = pause_image::Platform::host().architecture;
    let image = ImageBuilder::pause(REFERENCE, &architecture);
    LayoutBuilder::single(&image, "0.1").write(folder.path())?;
    let image = format!("oci:{}", folder.path().display());
    let (report, output) = engine.judge(&["--image", &image])?;
    let run = &report["runs"][0];
    let name = engine.runtime.split('=').next().unwrap_or_default();
    let described = run["runtime"].as_str().unwrap_or_default();
    let is_it = described.starts_with(&format!("{name} "));
    assert!(is_it, "{report:#}");
    let fact = if name == "docker" {
        "a container of a pod has a UTS namespace of its own"
    } else {
        "the pause of a pod runs as user 0 with "
    };
    let facts = run["engine_facts"].to_string();
    assert!(facts.contains(fact), "{facts}");
    let wrong = through::complaints(run);
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    let passed = with_verdict(run, &["pass"]);
    for family in [
        "signals/",
        "reaping/",
        "namespaces/",
        "startup/",
        "cli/",
        "output/",
    ] {
        assert!(passed.iter().any(|id| id.starts_with(family)), "{family}");
    }
    let of_engines = passed.iter().filter(|id| id.starts_with("engine/"));
    assert_eq!(of_engines.count(), 6, "{run:#}");
    assert_eq!(report["host"]["root"], !engine.is_users());
    assert!(passed.len() > 80, "{} passed through it", passed.len());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(engine.left(), "");
    Ok(())
}

/// All families, in one room.
fn finds_faults(start: Start) -> Result<(), Failed> {
    let engine = start();
    let found = FAULTS.map(|(_, faults)| {
        through::finds(faults, &[], |arguments| engine.judge(arguments))
            .err()
            .and_then(|wrong| wrong.message().map(str::to_owned))
    });
    let wrong: Vec<_> = found.into_iter().flatten().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// An image of the reference with this in its configuration.
fn configured(key: &str, value: Value) -> ImageBuilder {
    ImageBuilder::pause(REFERENCE, &pause_image::Platform::host().architecture).set(key, value)
}

/// One that names another program than the one at /pause, which ends at once.
fn with_another() -> ImageBuilder {
    let mut fixtures = fixtures::catalogue::all();
    let ends = fixtures.find(|it| it.name == "exits-at-once");
    let ends = ends.and_then(|it| it.build(FIXTURE).ok());
    let mut layer = Tar::default();
    layer.file("pod", 0o755, REFERENCE);
    layer.file("pause", 0o755, &ends.expect("it is in the catalogue"));
    let architecture = pause_image::Platform::host().architecture;
    ImageBuilder::of_layer(&layer, &architecture).set("Entrypoint", json!(["/pod"]))
}

/// One check for each image whose configuration is broken, all in one room.
fn finds_broken_images(start: Start) -> Result<(), Failed> {
    let engine = start();
    let mut wrong = Vec::new();
    for (image, check, status) in [
        (configured("User", json!("nobody")), "engine/takes-image", 1),
        (
            configured("StopSignal", json!("SIGHUP")),
            "engine/stop-is-clean",
            1,
        ),
        // A SHOULD.
        (with_another(), "engine/pause-path", 0),
    ] {
        let folder = open_folder()?;
        LayoutBuilder::single(&image, "0.1").write(folder.path())?;
        let image = format!("oci:{}", folder.path().display());
        let (report, output) = engine.judge(&["--image", &image, "--filter", check])?;
        let run = &report["runs"][0];
        if with_verdict(run, &["fail"]) != [check] || output.status.code() != Some(status) {
            wrong.push(format!("{check}: {run:#}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n").into())
}

/// The processes that this one has started.
fn children(of: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", of.as_raw_nonzero());
    let lists = fs::read_dir(tasks).into_iter().flatten().flatten();
    let lists = lists.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let ids = list.split_whitespace().map(str::to_owned);
            ids.collect::<Vec<_>>()
        })
        .filter_map(|id| Pid::from_raw(id.parse().ok()?))
        .collect()
}

/// The suite that this `nsenter` has started, once it is executed.
fn suite_of(nsenter: &Child, suite: &Path) -> Result<Pid, Failed> {
    let began = Instant::now();
    while began.elapsed() < BEGUN {
        for pid in children(Pid::from_child(nsenter)) {
            let path = format!("/proc/{}/exe", pid.as_raw_nonzero());
            let program = fs::read_link(path).unwrap_or_default();
            if program == suite {
                return Ok(pid);
            }
        }
        std::thread::yield_now();
    }
    Err("the suite does not begin".into())
}

/// The keeper, if there is one yet.
fn keeper_of(suite: Pid) -> Option<Pid> {
    children(suite).into_iter().find(|pid| {
        let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        words.is_ok_and(|words| words.starts_with(b"pause-conformance-keeper\0"))
    })
}

/// A handle on the keeper of this suite, once it is there; none where the suite ends before.
fn await_keeper(suite: Pid, ends: &OwnedFd) -> Result<Option<OwnedFd>, Failed> {
    let began = Instant::now();
    while began.elapsed() < BEGUN {
        if let Some(keeper) = keeper_of(suite) {
            return Ok(pidfd_open(keeper, PidfdFlags::empty()).ok());
        }
        if wait::readable(ends.as_fd(), Duration::ZERO)? {
            return Ok(None);
        }
        std::thread::yield_now();
    }
    Err("no keeper is started".into())
}

fn leaves_nothing(start: Start) -> Result<(), Failed> {
    let engine = start();
    let program = Program::of(REFERENCE);
    let image = program.image();
    let networks = engine.networks();
    for moment in moments(PART) {
        let mut command = engine.suite(&["--image", &image, "--report", "json"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let suite = suite_of(&child, &engine.suite)?;
        let pidfd = pidfd_open(suite, PidfdFlags::empty())?;
        let namespace = fs::metadata(format!("/proc/{}/ns/pid", suite.as_raw_nonzero()))?;
        let runs = format!("pause-conformance-engine-{}-", namespace.ino());
        let keeper = await_keeper(suite, &pidfd)?.ok_or("it ended without a keeper")?;
        let _ = wait::readable(pidfd.as_fd(), moment)?;
        // The suite may have ended.
        let _ = kill_process(suite, Signal::KILL);
        child.wait()?;
        if !wait::readable(keeper.as_fd(), REMOVAL)? {
            return Err(format!("its keeper runs, after a kill at {moment:?}").into());
        }
        let left = engine.left();
        if !left.is_empty() {
            return Err(format!("left after a kill at {moment:?}: {left}").into());
        }
        assert_eq!(engine.networks(), networks, "after a kill at {moment:?}");
        engine.await_no_cgroups(&runs)?;
    }
    Ok(())
}

/// Kills a suite that has containers, and its keeper.
fn kill_both(engine: &Engine, image: &str) -> Result<(), Failed> {
    let mut command = engine.suite(&["--image", image, "--report", "json"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let suite = suite_of(&child, &engine.suite)?;
    let began = Instant::now();
    let keeper = loop {
        match keeper_of(suite) {
            // Containers are there, which only the keeper could remove now.
            Some(keeper) if !engine.containers().is_empty() => break keeper,
            _ if began.elapsed() > BEGUN => return Err("no container is made".into()),
            _ => std::thread::yield_now(),
        }
    };
    kill_process(keeper, Signal::KILL)?;
    // Without its keeper it may have ended.
    let _ = kill_process(suite, Signal::KILL);
    child.wait()?;
    Ok(())
}

/// What a suite and its keeper leave that are killed together, the next suite removes.
fn sweeps_after_others(start: Start) -> Result<(), Failed> {
    let engine = start();
    let program = Program::of(REFERENCE);
    let image = program.image();
    for _ in 0..TRIES {
        kill_both(&engine, &image)?;
        if !engine.containers().is_empty() {
            break;
        }
    }
    assert_ne!(engine.containers(), "", "something is left");
    let check = ["--image", &image, "--filter", "signals/term-exits-zero"];
    let (report, _) = engine.judge(&check)?;
    assert_eq!(report["conclusion"], "conformant", "{report:#}");
    assert_eq!(engine.left(), "");
    Ok(())
}

/// As Control-Z and fg do it, again and again: what the suite waits for then may end early.
fn may_be_stopped(start: Start) -> Result<(), Failed> {
    let engine = start();
    let program = Program::of(REFERENCE);
    let image = program.image();
    let arguments = ["--image", &image, "--filter", "startup", "--report", "json"];
    // Nobody reads meanwhile, and a pipe may be full.
    let folder = tempfile::tempdir()?;
    let (stdout, stderr) = (folder.path().join("stdout"), folder.path().join("stderr"));
    let mut command = engine.suite(&arguments);
    let command = command.stdout(fs::File::create(&stdout)?);
    let mut child = command.stderr(fs::File::create(&stderr)?).spawn()?;
    let suite = suite_of(&child, &engine.suite)?;
    let suite = pidfd_open(suite, PidfdFlags::empty())?;
    let nsenter = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    let mut stops = 0;
    while !wait::readable(nsenter.as_fd(), BETWEEN_STOPS)? {
        // The suite may have ended.
        let _ = pidfd_send_signal(&suite, Signal::STOP);
        let _ = pidfd_send_signal(&suite, Signal::CONT);
        // It stops with its child.
        pidfd_send_signal(&nsenter, Signal::CONT)?;
        stops += 1;
    }
    let output = Output {
        status: child.wait()?,
        stdout: fs::read(stdout)?,
        stderr: fs::read(stderr)?,
    };
    let said = said(&output);
    assert!(stops > 10, "stopped {stops} times only: {said}");
    let report = report(&output)?;
    let wrong = through::complaints(&report["runs"][0]);
    if !wrong.is_empty() {
        return Err(format!("stopped {stops} times: {wrong}").into());
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(engine.left(), "");
    Ok(())
}

/// Two lines, and the status for what could not be judged.
fn is_named(runtime: &str, cause: &str, hint: &str) -> Result<(), Failed> {
    let program = Program::of(REFERENCE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    let output = command
        .args(["--image", &program.image(), "--runtime", runtime])
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .output()?;
    let said = said(&output);
    let lines: Vec<_> = said.lines().collect();
    let name = runtime.split('=').next().unwrap_or_default();
    let first = format!("error: --runtime {name}: {cause}");
    assert!(lines.len() == 2 && lines[0].starts_with(&first), "{said}");
    assert!(
        lines[1].starts_with(" hint: ") && lines[1].contains(hint),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2), "{said}");
    Ok(())
}

fn a_missing_engine_is_named() -> Result<(), Failed> {
    is_named(
        "docker=/nonexistent/x",
        "/nonexistent/x: no such file",
        "start docker",
    )?;
    is_named(
        "podman=/nonexistent/x",
        "/nonexistent/x: ",
        "install podman",
    )?;
    is_named(
        "podman=/bin/false",
        "/bin/false: it does not say",
        "install podman",
    )?;
    is_named("docker=/dev/null", "/dev/null: ", "start docker")
}

fn an_ordinary_user_is_told() -> Result<(), Failed> {
    let folder = open_folder()?;
    let (suite, pause) = (folder.path().join("suite"), folder.path().join("pause"));
    copied::suite(&suite);
    fs::write(&pause, REFERENCE)?;
    for runtime in ["docker", "runc", "crun"] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&suite)
            .args(["--image", &format!("binary:{}", pause.display())])
            .args(["--runtime", runtime])
            .current_dir("/")
            .stdin(Stdio::null())
            .output()?;
        let said = said(&output);
        let first = format!("error: --runtime {runtime}: it makes sandboxes for root alone here");
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0] == first, "{said}");
        assert!(
            lines[1].starts_with(" hint: run the suite as root"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
    Ok(())
}

/// One line, where an ordinary user's podman has no ids for the users of images, or is not there.
fn a_user_without_ids_is_told() -> Result<(), Failed> {
    let engine = Engine::users_podman();
    daemons::take_ids(&engine.room);
    let program = Program::of(REFERENCE);
    let image = program.image();
    let podman = engine.runtime.strip_prefix("podman=").unwrap_or_default();
    for (runtime, cause, hint) in [
        (
            podman,
            "it gives the containers of this user fewer ids than images use",
            "/etc/subuid",
        ),
        (
            "/nonexistent/x",
            "no such file or directory",
            "install podman",
        ),
        ("/bin/false", "it makes no user namespace", "uidmap"),
    ] {
        let mut command = (engine.command)(&engine.room, &engine.suite);
        let asked = format!("podman={runtime}");
        let output = command
            .args(["--image", &image, "--runtime", &asked])
            .output()?;
        let said = said(&output);
        let lines: Vec<_> = said.lines().collect();
        let first = format!("error: --runtime podman: {runtime}: {cause}");
        assert!(lines.len() == 2 && lines[0] == first, "{said}");
        assert!(
            lines[1].starts_with(" hint: ") && lines[1].contains(hint),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
    assert_eq!(engine.left(), "");
    Ok(())
}

/// A server that refuses, and one that is none.
fn one_that_refuses_is_named() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (number, answer, cause) in [
        (
            "1",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 27\r\n\r\n{\"message\": \"not\\nfor you\"}",
            "not\\nfor you",
        ),
        (
            "2",
            "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
            "it answers 500",
        ),
        ("3", "SSH-2.0-none\r\n", ""),
        (
            "4",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
            "its answer is no document",
        ),
    ] {
        let path = folder.path().join(number);
        let listener = UnixListener::bind(&path)?;
        let answer = answer.to_owned();
        // It ends with this process, at the latest.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mut stream, mut asked) = (stream, [0; 1024]);
                let _ = stream.read(&mut asked);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let path = path.display();
        is_named(
            &format!("docker={path}"),
            &format!("{path}: {cause}"),
            "start docker",
        )?;
    }
    Ok(())
}

type Start = fn() -> Engine;
type Test = fn(Start) -> Result<(), Failed>;

const TESTS: [(&str, Test); 6] = [
    ("runs_the_reference", runs_the_reference),
    ("may_be_stopped", may_be_stopped),
    ("finds_faults", finds_faults),
    ("finds_broken_images", finds_broken_images),
    ("leaves_nothing", leaves_nothing),
    ("sweeps_after_others", sweeps_after_others),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // For the most part a run waits for the engine, or the engine for the kernel.
    arguments.test_threads.get_or_insert(2);
    let is_root = rustix::process::geteuid().is_root();
    let in_ci = std::env::var_os("CI").is_some();
    let mut trials = vec![
        Trial::test("a_missing_engine_is_named", a_missing_engine_is_named),
        Trial::test("one_that_refuses_is_named", one_that_refuses_is_named),
        Trial::test("an_ordinary_user_is_told", an_ordinary_user_is_told),
    ]
    .into_iter()
    .map(|trial| trial.with_ignored_flag(!is_root))
    .collect::<Vec<_>>();
    let no_rootless = daemons::no_rootless_podman();
    if let Some(why) = &no_rootless {
        eprintln!("podman of an ordinary user is left out: {why}");
    }
    let engines: [(&str, &str, Start); 3] = [
        ("docker", "dockerd", Engine::docker),
        ("podman", "podman", Engine::podman),
        ("users_podman", "podman", Engine::users_podman),
    ];
    let name = "a_user_without_ids_is_told";
    let can_run = is_root && no_rootless.is_none() && (in_ci || is_installed("podman"));
    trials.push(Trial::test(name, a_user_without_ids_is_told).with_ignored_flag(!can_run));
    for (name, program, start) in engines {
        // Where all is installed that tests need, nothing is left out.
        let may_run = name != "users_podman" || no_rootless.is_none();
        let ignored = !is_root || !may_run || !(in_ci || is_installed(program));
        for (test, run) in TESTS {
            let trial = Trial::test(format!("{name}_{test}"), move || run(start));
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
