//! The table of hosts: where people run the suite, and what it says there.
//!
//! Each row is a container with some options, and what is to come of it. In the short form
//! the rows are run by `runc` alone, with what docker, podman and Kubernetes would tell it; in
//! the long form (`--include-ignored`) by the daemon of docker, and by podman, too.

mod engine;
mod rows;
mod runc;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use rows::{Of, ROWS, Row};
use runc::Runc;

/// How a run ended, and all that it said.
struct Ended {
    status: Option<i32>,
    said: String,
}

/// What each row judges the reference by: that it runs, what wants a /proc, what wants root.
const FILTERS: [&str; 4] = [
    "binary",
    "signals/term-exits-zero",
    "reaping/stopped-child",
    "startup/user-namespace",
];

/// The folder that each container has as `/suite`: the program under test, and a pause.
fn suite() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // Also for root of a user namespace.
    open(folder.path());
    let program = env!("CARGO_BIN_EXE_pause-conformance");
    std::fs::copy(program, folder.path().join("pause-conformance")).expect("a copy");
    let pause = conformance::programs::REFERENCE;
    std::fs::write(folder.path().join("pause"), pause).expect("written");
    folder
}

/// Lets all users into a folder.
fn open(folder: &Path) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, mode).expect("it is ours");
}

/// What is run in each container.
fn command(row: &Row) -> Vec<String> {
    let mut words = vec!["/suite/pause-conformance", "--image", "binary:/suite/pause"];
    for filter in FILTERS {
        words.extend(["--filter", filter]);
    }
    words.extend(row.arguments);
    words.into_iter().map(str::to_owned).collect()
}

/// Holds a row to what is expected of it.
fn hold(row: &Row, ended: &Ended) -> Result<(), Failed> {
    if !row.statuses.contains(&ended.status.unwrap_or(-1)) {
        let status = ended.status;
        return Err(format!("status {status:?}, not {:?}:\n{}", row.statuses, ended.said).into());
    }
    match row.words.iter().find(|words| !ended.said.contains(*words)) {
        Some(words) => Err(format!("it does not say {words:?}:\n{}", ended.said).into()),
        None => Ok(()),
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each run takes all processors.
    arguments.test_threads.get_or_insert(1);
    // Containers are root's to make: without it the rows are ignored, for all to see.
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
    for row in ROWS.iter().filter(|row| row.of != Of::Kubernetes) {
        let kind = if row.of == Of::Docker {
            "docker"
        } else {
            "podman"
        };
        let run = move || hold(row, &engine::run(row, &path()));
        let trial = Trial::test(row.name, run).with_kind(kind);
        trials.push(trial.with_ignored_flag(true));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    engine::end();
    let _ = std::fs::remove_dir_all(folder.path());
    conclusion.exit_code()
}
