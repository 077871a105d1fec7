//! **Whatever ends the suite, nothing of it is left a second later**: it is killed at random
//! moments, as root and as another user, by each signal that people send, and interrupted as by
//! Ctrl-C.
//!
//! Each signal is sent at `PAUSE_CONFORMANCE_KILLS` moments, by default 4.

#[path = "common/busy.rs"]
mod busy;
#[path = "common/cgroups.rs"]
mod cgroups;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cgroups::Cgroups;
use conformance::programs;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Tar};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};
use serde_json::Value;

/// The time within which everything must have vanished, on an idle machine.
const SOON: Duration = Duration::from_secs(1);
/// The interval between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Longer than a run takes, so that some moments are after its end.
const LATEST: Duration = Duration::from_millis(1800);
/// The id of a user without processes.
const USER: u32 = 54_329;

/// The mark by which a process is known to be of the suite, whatever it executes.
enum Mark {
    /// It runs as this user.
    User(u32),
    /// It is in this cgroup, or below.
    Cgroup(PathBuf),
    /// It runs as this user, who has other processes too, and has a name of the suite's programs.
    /// Then only one suite can be tested at a time.
    Name {
        user: u32,
        _alone: MutexGuard<'static, ()>,
    },
}

static ALONE: Mutex<()> = Mutex::new(());

/// The names of the suite's programs, truncated as the kernel does it.
const NAMES: [&str; 4] = ["pause-conforman", "sandbox-init", "probe", "pause"];

impl Mark {
    /// A new cgroup without limits, if root can make one.
    fn cgroup(name: &str) -> Option<Self> {
        [
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup/pids",
            "/sys/fs/cgroup",
        ]
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| fs::create_dir(path).is_ok() && path.join("cgroup.procs").exists())
        .map(Self::Cgroup)
    }

    /// The suite's command, marked.
    fn command(&self) -> Command {
        // What the tests are started with may ignore SIGHUP, and the suite would leave it so.
        let heeds = ["env", "--default-signal=HUP"];
        let suite = env!("CARGO_BIN_EXE_pause-conformance");
        match self {
            Self::Name { .. } => {
                let mut command = Command::new(heeds[0]);
                command.arg(heeds[1]).arg(suite);
                command
            }
            Self::User(id) => {
                let mut command = Command::new("setpriv");
                let id = id.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
                command.args(heeds).arg(suite);
                command
            }
            Self::Cgroup(path) => {
                let mut command = Command::new("sh");
                let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
                command.args(["-c", enter]).arg(path).args(heeds).arg(suite);
                command
            }
        }
    }

    /// The processes with this mark, and their names.
    fn processes(&self) -> BTreeSet<String> {
        match self {
            Self::Cgroup(path) => members(path),
            Self::User(id) => of_user(*id).collect(),
            Self::Name { user, .. } => of_user(*user)
                .filter(|name| NAMES.iter().any(|own| name.ends_with(&format!("({own})"))))
                .collect(),
        }
    }
}

fn of_user(id: u32) -> impl Iterator<Item = String> {
    let all = procfs::process::all_processes().expect("/proc can be read");
    all.flatten().filter_map(move |process| {
        let stat = (process.uid().ok()? == id).then(|| process.stat().ok())??;
        // A process without memory is dead, and the host's init has yet to reap it.
        if (stat.ppid, stat.vsize) == (1, 0) {
            return None;
        }
        Some(format!("{} {} ({})", stat.pid, stat.state, stat.comm))
    })
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Self::Cgroup(path) = self {
            // This fails if something is left in it, which the test has reported already.
            let _ = fs::remove_dir(path);
        }
    }
}

fn members(cgroup: &Path) -> BTreeSet<String> {
    let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = pids.lines().map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{pid} ({})", name.trim())
    });
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    own.chain(below.flat_map(|entry| members(&entry.path())))
        .collect()
}

/// All that the suite could leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "processes {:?}, mounts {:?}, cgroups {:?}, files {:?}",
            self.processes, self.mounts, self.cgroups, self.files
        )
    }
}

/// A folder in which a suite runs, and the state of the host before.
struct Watched {
    mark: Mark,
    folder: tempfile::TempDir,
    image: PathBuf,
    mounts: BTreeSet<String>,
    cgroups: Cgroups,
}

impl Watched {
    fn new(mark: Mark) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let temporary = folder.path().join("temporary");
        fs::create_dir(&temporary).expect("a folder for temporary files");
        let image = folder.path().join("pause");
        fs::write(&image, programs::REFERENCE).expect("writing the program");
        // For the user as whom the suite runs.
        for (path, mode) in [(folder.path(), 0o755), (&temporary, 0o777), (&image, 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        Self {
            mark,
            folder,
            image,
            mounts: mounts(),
            cgroups: Cgroups::now(),
        }
    }

    /// An image whose files are written to disk.
    fn of_a_big_image(mark: Mark) -> Self {
        let mut watched = Self::new(mark);
        let mut layer = Tar::default();
        layer.file("pause", 0o755, programs::REFERENCE);
        for number in 0..2000 {
            let content = vec![number as u8; 10_000];
            layer.file(format!("data/{}/{number}", number % 7), 0o600, &content);
        }
        // Its owner may not enter it. The program's user is its owner where one id is mapped.
        layer.directory("data/0", 0o700);
        let architecture = conformance::subject::Platform::host().architecture;
        let image = ImageBuilder::of_layer(&layer, &architecture);
        watched.image = watched.folder.path().join("image");
        LayoutBuilder::single(&image, "x")
            .write(&watched.image)
            .expect("written");
        watched
    }

    fn start(&self) -> Child {
        let transport = if self.image.is_dir() { "oci" } else { "binary" };
        self.mark
            .command()
            .arg("--image")
            .arg(format!("{transport}:{}", self.image.display()))
            .args(["--report", "json"])
            .env("TMPDIR", self.folder.path().join("temporary"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.log()).expect("a file"))
            .process_group(0)
            .spawn()
            .expect("the suite starts")
    }

    /// The file with its progress.
    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn left(&self, pid: u32) -> Left {
        let files = fs::read_dir(self.folder.path().join("temporary"))
            .into_iter()
            .flatten()
            .flatten();
        Left {
            processes: self.mark.processes(),
            mounts: mounts().difference(&self.mounts).cloned().collect(),
            cgroups: self.cgroups.left_by(pid.cast_signed()),
            files: files.map(|entry| entry.path()).collect(),
        }
    }

    /// Panics if something is left for longer than that.
    fn expect_nothing_left(&self, pid: u32, after: &str) {
        let began = Instant::now();
        let soon = SOON.mul_f64(busy::factor());
        loop {
            let left = self.left(pid);
            if left == Left::default() {
                return;
            }
            let took = began.elapsed();
            assert!(took < soon, "left {took:.1?} after {after}: {left}");
            // Looking takes processor time, which must not delay the processes that end.
            conformance::wait::any_readable(&[], LOOK).expect("it can be waited");
        }
    }
}

/// The mounts of this mount namespace, without their ids, which the kernel reuses.
fn mounts() -> BTreeSet<String> {
    let lines = fs::read_to_string("/proc/self/mountinfo").expect("it can be read");
    let mount = |line: &str| line.split(' ').skip(2).collect::<Vec<_>>().join(" ");
    lines.lines().map(mount).collect()
}

fn kills() -> u64 {
    std::env::var("PAUSE_CONFORMANCE_KILLS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(4)
}

/// The signals that people send to end a program.
const SIGNALS: [Signal; 4] = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];

fn killed_at_random_moments(watched: &Watched) {
    let mut random = u64::from(std::process::id());
    let kills = kills() * SIGNALS.len() as u64;
    for number in 0..kills {
        // A random moment in each part of a run.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let part = LATEST / u32::try_from(kills).unwrap_or(u32::MAX);
        let moment = part * u32::try_from(number).unwrap_or_default()
            + part.mul_f64((random >> 40) as f64 / (1_u64 << 24) as f64);
        let mut suite = watched.start();
        let pid = suite.id();
        let pidfd = pidfd_open(Pid::from_child(&suite), PidfdFlags::empty());
        let pidfd = pidfd.expect("it is our child");
        conformance::wait::readable(pidfd.as_fd(), moment).expect("it can be polled");
        let signal = SIGNALS[number as usize % SIGNALS.len()];
        kill_process(Pid::from_child(&suite), signal).expect("it is our child");
        let soon = SOON.mul_f64(busy::factor());
        let ended = conformance::wait::readable(pidfd.as_fd(), soon);
        let after = format!("{signal:?} after {moment:?}");
        if !ended.expect("it can be polled") {
            let _ = suite.kill();
            panic!("it did not end within {soon:.1?} of {after}");
        }
        let status = suite.wait().expect("it is our child");
        // It had finished, was interrupted, or had not installed its handlers yet.
        let known = match status.code() {
            Some(code) => [0, 2].contains(&code),
            None => status.signal() == Some(signal.as_raw()),
        };
        let log = fs::read_to_string(watched.log()).unwrap_or_default();
        assert!(known, "{status} of {after}: {log}");
        watched.expect_nothing_left(pid, &after);
    }
}

/// Tests as the user who runs them.
fn own(test: &str) -> Mark {
    Mark::cgroup(&format!("{test}-{}", std::process::id())).unwrap_or_else(|| Mark::Name {
        user: rustix::process::geteuid().as_raw(),
        _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
    })
}

#[test]
fn nothing_is_left_of_a_suite_that_was_killed() {
    killed_at_random_moments(&Watched::new(own("killed")));
}

#[test]
fn nothing_is_left_of_another_user_s_suite_that_was_killed() {
    // Without root, that user is the only one.
    if rustix::process::geteuid().is_root() {
        killed_at_random_moments(&Watched::new(Mark::User(USER)));
    }
}

#[test]
fn nothing_is_left_of_a_suite_that_was_killed_over_a_big_image() {
    killed_at_random_moments(&Watched::of_a_big_image(own("big")));
}

#[test]
fn nothing_is_left_of_another_user_s_suite_that_was_killed_over_a_big_image() {
    if rustix::process::geteuid().is_root() {
        killed_at_random_moments(&Watched::of_a_big_image(Mark::User(USER + 1)));
    }
}

#[test]
fn an_interrupted_suite_ends_in_order_with_a_partial_report() {
    let watched = Watched::new(own("interrupted"));
    let mut suite = watched.start();
    let pid = suite.id();
    // The first checks have their sandboxes by then, and wait for their windows to pass.
    let mut seen = BTreeSet::new();
    let begun = || fs::read_to_string(watched.log()).is_ok_and(|log| log.contains("checks"));
    while !begun() || !seen.iter().any(|name: &String| name.ends_with("(pause)")) {
        assert!(
            suite.try_wait().expect("it is our child").is_none(),
            "it ended before it was interrupted"
        );
        seen = watched.mark.processes();
    }
    kill_process_group(Pid::from_child(&suite), Signal::INT).expect("it is our child");
    let output = suite.wait_with_output().expect("it is our child");
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a whole report");
    let run = &report["runs"][0];
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["conclusion"], "not-judged");
    assert_eq!(run["interrupted"], true);
    let checks = run["checks"].as_array().expect("some ended").len();
    assert!(
        checks
            < conformance::checks::FAMILIES
                .iter()
                .map(|it| it.checks.len())
                .sum()
    );
    watched.expect_nothing_left(pid, "SIGINT");
}
