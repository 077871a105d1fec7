//! The table of hosts: places where people run the suite, and its expected output there.
//!
//! Each row is a container with some options and the expected result. In the short form `runc`
//! alone runs the rows, configured as docker, podman and Kubernetes would do it. In the long form
//! (`--include-ignored`) docker's daemon, podman as root and as an ordinary user, and containerd
//! with a kubelet's requests run them too.

#[path = "../common/copied.rs"]
mod copied;
#[path = "../../../xtask/tests/engines/cri.rs"]
mod cri;
#[path = "../../../xtask/tests/engines/daemons.rs"]
mod daemons;
mod engine;
mod pod;
#[path = "../../../xtask/tests/engines/room.rs"]
mod room;
mod rows;
mod runc;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use rows::{Of, ROWS, Row, Set};
use runc::Runc;

/// The exit status and output of a run.
struct Ended {
    status: Option<i32>,
    said: String,
}

/// The checks of each row: one that runs the reference, one that needs a /proc, one that needs
/// root.
const FILTERS: [&str; 4] = [
    "binary",
    "signals/term-exits-zero",
    "reaping/stopped-child",
    "startup/user-namespace",
];

/// The folder that each container has as `/suite`, with the program under test and a pause.
fn suite() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // Root of a user namespace needs access too.
    open(folder.path());
    copied::suite(&folder.path().join("pause-conformance"));
    let pause = conformance::programs::REFERENCE;
    std::fs::write(folder.path().join("pause"), pause).expect("written");
    folder
}

/// Allows all users to enter a folder.
fn open(folder: &Path) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, mode).expect("it is ours");
}

/// The command of each container.
fn command(row: &Row) -> Vec<String> {
    let mut words = vec!["/suite/pause-conformance", "--image", "binary:/suite/pause"];
    for filter in FILTERS {
        words.extend(["--filter", filter]);
    }
    words.extend(row.arguments);
    words.into_iter().map(str::to_owned).collect()
}

/// Compares the result of a row with the expected one.
fn hold(row: &Row, ended: &Ended) -> Result<(), Failed> {
    if ended.status != Some(row.status) {
        let status = ended.status;
        return Err(format!("status {status:?}, not {}:\n{}", row.status, ended.said).into());
    }
    match row.words.iter().find(|words| !ended.said.contains(*words)) {
        Some(words) => Err(format!("it does not say {words:?}:\n{}", ended.said).into()),
        None => Ok(()),
    }
}

fn is_privileged(row: &Row) -> bool {
    row.sets.contains(&Set::Privileged)
}

/// Docker passes on all capabilities that the kernel knows, and needs them itself.
fn lacks_privileges() -> Option<&'static str> {
    let read = |path| std::fs::read_to_string(path).expect("/proc");
    let last: u32 = read("/proc/sys/kernel/cap_last_cap")
        .trim()
        .parse()
        .expect("a number");
    let status = read("/proc/self/status");
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounds = bounds.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let all = bounds.is_some_and(|bits| bits.trailing_ones() > last);
    (!all).then_some("this root has not all capabilities, which docker hands on")
}

/// Rows that containerd 1.6 of Debian 12 cannot run.
fn unknown_to_containerd(row: &Row) -> Option<&'static str> {
    let own = row.sets.contains(&Set::OwnUsers);
    own.then_some("containerd gives pods user namespaces from 1.7 on")
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One at a time, since each run uses all processors.
    arguments.test_threads.get_or_insert(1);
    // Only root can make containers: without it the rows are shown as ignored.
    let root = rustix::process::geteuid().is_root();
    let folder: &'static tempfile::TempDir = Box::leak(Box::new(suite()));
    let path = || PathBuf::from(folder.path());
    let mut trials = Vec::new();
    for row in ROWS {
        let run = move || hold(row, &Runc::new(&path()).run(row));
        trials.push(
            Trial::test(row.name, run)
                .with_kind("runc")
                .with_ignored_flag(!root),
        );
    }
    let no_rootless = daemons::no_rootless_podman();
    let privileged = lacks_privileges();
    for row in ROWS {
        let (kind, why_not) = match row.of {
            Of::Docker => ("docker", privileged.filter(|_| is_privileged(row))),
            Of::Podman => ("podman", None),
            Of::Rootless => ("rootless podman", no_rootless.as_deref()),
            Of::Kubernetes => ("containerd", unknown_to_containerd(row)),
        };
        let trial = match why_not {
            // It is shown as ignored.
            Some(why) => Trial::test(format!("{}: not here: {why}", row.name), || Ok(())),
            None => Trial::test(row.name, move || hold(row, &engine::run(row, &path()))),
        };
        trials.push(trial.with_kind(kind).with_ignored_flag(true));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    engine::end();
    let _ = std::fs::remove_dir_all(folder.path());
    conclusion.exit_code()
}
