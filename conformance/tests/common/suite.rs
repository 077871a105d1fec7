//! Runs `pause-conformance` itself, and asserts that it leaves nothing behind and keeps to its
//! limit of memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use conformance::wait::readable;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use super::cgroups::Cgroups;

/// How many bytes of memory the suite may use; a quarter of that for an image of a megabyte.
pub(crate) const MEMORY: u64 = 256 << 20;
/// The limit of a run, on however busy a machine.
const HANGS: Duration = Duration::from_mins(2);
/// The interval at which the suite's memory is read.
const LOOK: Duration = Duration::from_millis(20);
/// How long what a sandbox held may take to vanish.
const GONE: Duration = Duration::from_secs(5);
/// The places where the suite's sandboxes mount, in their own namespaces.
const PLACES: &[&str] = &[
    "/tmp", "/run", "/var", "/mnt", "/home", "/etc", "/proc", "/dev",
];

/// One suite runs at a time, so that a process that stays is known to be of that suite.
static ALONE: Mutex<()> = Mutex::new(());

/// The result of an invocation.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
    /// Peak resident bytes of the suite's own process, as far as they were read.
    pub(crate) peak: u64,
}

/// The program under test.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
}

/// An empty folder, which replaces that of the test's last run.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs a command in a folder. Panics if a process, a mount, a cgroup or a file is left.
pub(crate) fn run(mut command: Command, folder: &Path) -> Ended {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Orphans of the suite become children of this process.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
    let own = tempfile::tempdir_in(folder).expect("a folder");
    let temporary = own.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    // For any user as whom the command runs.
    for (path, mode) in [(own.path(), 0o755), (&temporary, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let output = |name: &str| File::create(own.path().join(name)).expect("a file");
    let (files, mounts, cgroups) = (listing(folder), mounts(), Cgroups::now());

    if !command.get_envs().any(|(name, _)| name == "DOCKER_CONFIG") {
        command.env("DOCKER_CONFIG", own.path());
    }
    let began = Instant::now();
    let mut child = command
        .current_dir(folder)
        .env("TMPDIR", &temporary)
        .env("NO_COLOR", "1")
        .env_remove("PAUSE_CONFORMANCE_COMMAND")
        .stdin(Stdio::null())
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .spawn()
        .expect("the program starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    let peak = await_end(pid, || {
        let _ = child.kill();
        panic!("{command:?} still runs after {HANGS:?}");
    });
    let took = began.elapsed();
    let status = child.wait().expect("a status").code();

    let left = left_behind(Instant::now() + GONE);
    assert!(left.is_empty(), "{command:?} left processes: {left:?}");
    let new: Vec<_> = self::mounts().difference(&mounts).cloned().collect();
    assert!(new.is_empty(), "{command:?} left mounts: {new:?}");
    assert_eq!(
        listing(&temporary),
        BTreeSet::new(),
        "{command:?} left files"
    );
    assert_eq!(listing(folder), files, "{command:?} left files");
    let groups = cgroups.left_by(pid.as_raw());
    assert!(groups.is_empty(), "{command:?} left cgroups: {groups:?}");
    assert!(peak <= MEMORY, "{command:?} used {} MiB", peak >> 20);

    Ended {
        status,
        stdout: read(&own.path().join("stdout")),
        stderr: read(&own.path().join("stderr")),
        took,
        peak,
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).expect("what was written");
    String::from_utf8(bytes).expect("UTF-8")
}

/// Starts other programs while no suite runs: a run reaps every child of this process that ends,
/// and takes one that lives for what the suite left.
pub(crate) fn between_runs<T>(start: impl FnOnce() -> T) -> T {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// Waits until a process has ended. Returns its peak resident bytes.
fn await_end(pid: Pid, mut hangs: impl FnMut()) -> u64 {
    let began = Instant::now();
    let raw = rustix::process::Pid::from_raw(pid.as_raw()).expect("a pid");
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).expect("a pidfd");
    let mut peak = 0;
    while !readable(std::os::fd::AsFd::as_fd(&pidfd), LOOK).expect("poll") {
        peak = peak.max(high_water(pid));
        if began.elapsed() > HANGS {
            hangs();
        }
    }
    peak
}

/// Peak resident bytes of a process; 0 once it is a zombie.
fn high_water(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The names of children of this process that do not end in time. Reaps all that do.
fn left_behind(deadline: Instant) -> Vec<String> {
    loop {
        let children: Vec<_> = children().collect();
        let mut alive = Vec::new();
        for (pid, name) in children {
            if let Ok(WaitStatus::StillAlive) = waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                alive.push((pid, name));
            }
        }
        let Some((first, _)) = alive.first() else {
            return Vec::new();
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return alive.into_iter().map(|(_, name)| name).collect();
        }
        let raw = rustix::process::Pid::from_raw(first.as_raw()).expect("a pid");
        if let Ok(pidfd) = pidfd_open(raw, PidfdFlags::empty()) {
            readable(std::os::fd::AsFd::as_fd(&pidfd), left).expect("poll");
        }
    }
}

/// This process's children with their names, from proc_pid_stat(5).
fn children() -> impl Iterator<Item = (Pid, String)> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter_map(move |process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(process.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let parent = rest.split_whitespace().nth(1)?;
        (parent == own).then(|| (Pid::from_raw(pid), name.to_owned()))
    })
}

/// The mounts at [`PLACES`] that this process sees.
fn mounts() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    let lines = mounts.lines().filter(|line| {
        let place = line.split(' ').nth(4);
        place.is_some_and(|place| PLACES.contains(&place))
    });
    lines.map(str::to_owned).collect()
}

fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.map(|entry| entry.path()).collect()
}

/// How many times longer than on an idle machine it takes to get some processor time.
pub(crate) fn load() -> f64 {
    const WORK: Duration = Duration::from_millis(500);
    let used = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"));
    let (began, before) = (Instant::now(), used());
    while used().saturating_sub(before) < WORK {}
    began.elapsed().div_duration_f64(WORK)
}
