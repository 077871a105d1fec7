//! **What the suite inherits from its parent does not change a verdict**: signal dispositions and
//! masks, limits, descriptors, priorities, clocks, a stop in the middle. The reference program is
//! still conformant, or one line says why nothing can be judged.

#[path = "common/copied.rs"]
mod copied;

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use conformance::programs::REFERENCE;
use conformance::wait::{any_readable, readable};
use rstest::rstest;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How often the suite is stopped, how long it runs before each stop, and how long it is stopped,
/// which is longer than any window of its checks.
const STOPS: u32 = 3;
const RUNS: Duration = Duration::from_millis(250);
const STOP: Duration = Duration::from_secs(2);

/// The expected result.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// All checks that are judged pass.
    Conformant,
    /// Nothing is judged, for a reason with these words.
    NotJudged(&'static str),
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("pause"), REFERENCE).expect("written");
    folder
}

/// A shell script that ends with the status of the suite, which it runs as `$SUITE`.
fn shell(script: &str, folder: &Path) -> Command {
    let suite = env!("CARGO_BIN_EXE_pause-conformance");
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .current_dir(folder)
        .env("SUITE", format!("{suite} --image binary:pause"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

fn expect(output: &Output, comes: Comes) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    match comes {
        Comes::Conformant => assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}"),
        Comes::NotJudged(why) => {
            assert_eq!(output.status.code(), Some(2), "{stdout}{stderr}");
            let errors: Vec<_> = stderr
                .lines()
                .filter(|line| line.starts_with("error: "))
                .collect();
            assert!(matches!(errors[..], [one] if one.contains(why)), "{stderr}");
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
}

#[rstest]
#[case::child_status_ignored("exec env --ignore-signal=CHLD $SUITE", Comes::Conformant)]
#[case::every_signal_ignored("exec env --ignore-signal $SUITE", Comes::Conformant)]
#[case::every_signal_blocked("exec env --block-signal $SUITE", Comes::Conformant)]
#[case::umask_of_owners("umask 0277; exec $SUITE", Comes::Conformant)]
#[case::umask_of_all("umask 0777; exec $SUITE", Comes::Conformant)]
#[case::no_files("ulimit -f 0; exec $SUITE", Comes::NotJudged("file too large"))]
#[case::no_locked_memory("ulimit -l 0; exec $SUITE", Comes::Conformant)]
#[case::few_descriptors_left(
    "exec 3<&- 4<&- 5<&-; ulimit -Sn 256; for fd in {6..255}; do eval \"exec $fd< /dev/null\"; done; exec $SUITE",
    Comes::Conformant
)]
#[case::few_descriptors_left_for_good(
    "exec 3<&- 4<&- 5<&-; ulimit -n 256; for fd in {6..255}; do eval \"exec $fd< /dev/null\"; done; exec $SUITE",
    Comes::NotJudged("too few descriptors: ")
)]
#[case::no_core("ulimit -c 0; exec $SUITE", Comes::Conformant)]
#[case::closed_descriptors("exec $SUITE <&- >&- 2>&-", Comes::Conformant)]
#[case::no_stdin("exec $SUITE <&-", Comes::Conformant)]
#[case::full_stdout("exec $SUITE > /dev/full", Comes::NotJudged("no space left"))]
#[case::full_stderr("exec $SUITE 2> /dev/full", Comes::Conformant)]
#[case::last_in_the_queue("exec nice -n 19 $SUITE", Comes::Conformant)]
#[case::only_when_idle("exec chrt -i 0 $SUITE", Comes::Conformant)]
#[case::stdout_that_does_not_block(
    "mkfifo pipe; cat pipe > report & exec perl -e \
     'use Fcntl; open(STDOUT, \">\", \"pipe\"); fcntl(STDOUT, F_SETFL, O_NONBLOCK|O_WRONLY); \
     exec split(q( ), $ENV{SUITE})'",
    Comes::Conformant
)]
fn the_reference_is_judged_whatever_the_parent_is(#[case] script: &str, #[case] comes: Comes) {
    let folder = folder();
    let output = shell(script, folder.path()).output().expect("bash");
    expect(&output, comes);
}

#[rstest]
#[case::another_time(
    "exec unshare --time --boottime 86400000 --monotonic 86400000 --fork $SUITE",
    Comes::Conformant
)]
#[case::no_proc(
    "exec unshare --mount bash -c 'umount -l /proc; exec $SUITE'",
    Comes::NotJudged("/proc")
)]
#[case::an_empty_proc(
    "exec unshare --mount bash -c 'mount -t tmpfs none /proc; exec $SUITE'",
    Comes::NotJudged("/proc")
)]
fn root_can_give_it_namespaces_that_are_odd(#[case] script: &str, #[case] comes: Comes) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: not tried");
        return;
    }
    let folder = folder();
    let output = shell(script, folder.path()).output().expect("bash");
    expect(&output, comes);
}

/// This runs as a user without other processes, since the limit counts all processes of a user and
/// does not bind root.
#[test]
fn few_processes_of_a_user_are_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: not tried");
        return;
    }
    let folder = folder();
    let suite = folder.path().join("suite");
    copied::suite(&suite);
    for (path, mode) in [(folder.path(), 0o755), (&*suite, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
    }
    let script = "ulimit -u 16; \
        exec setpriv --reuid 48723 --regid 48723 --clear-groups --inh-caps=-all \
        ./suite --image binary:pause";
    let output = shell(script, folder.path()).output().expect("bash");
    expect(&output, Comes::NotJudged("too few processes: "));
}

/// As a seccomp profile of a container may: what the suite knows by ptrace(2), it samples then.
#[test]
fn a_filter_that_denies_ptrace_is_named_and_windows_judge() {
    let folder = folder();
    let filter = conformance::seccomp::deny(["ptrace"]).ok();
    let filter = filter.expect("this processor has it");
    let output = std::thread::scope(|scope| {
        let suite = scope.spawn(|| {
            // It holds for this thread and what it starts.
            seccompiler::apply_filter(&filter).expect("anyone may");
            let script = "exec $SUITE --report json=report";
            shell(script, folder.path()).output().expect("bash")
        });
        suite.join().expect("it has not panicked")
    });
    expect(&output, Comes::Conformant);
    let report = fs::read_to_string(folder.path().join("report")).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let said = |id: &str| {
        let checks = report["runs"][0]["checks"].as_array().expect("a list");
        let check = checks.iter().find(|check| check["id"] == id);
        let check = check.expect("it is made or not");
        let text = check.to_string();
        (
            check["verdict"].as_str().unwrap_or_default().to_owned(),
            text,
        )
    };
    for (id, verdict, words) in [
        ("signals/no-lost-term", "skipped", "refuses ptrace(2)"),
        ("startup/stays-for-days", "skipped", "refuses ptrace(2)"),
        ("reaping/no-lost-wakeup", "pass", "pairs alone were tried"),
        ("startup/stays", "pass", "running after 1s"),
        (
            "resources/idle-wakeups",
            "pass",
            "no context switch in 900.0ms",
        ),
    ] {
        let (found, text) = said(id);
        assert!(found == verdict && text.contains(words), "{id}: {text}");
    }
}

/// The host's clock is not set. The suite reads a time of day that jumps at each look between two
/// distant days.
#[test]
fn a_time_of_day_that_jumps_decides_nothing() {
    const JUMPS: &str = r"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *to) {
    static unsigned looks;
    int result = syscall(SYS_clock_gettime, clock, to);
    if (clock == CLOCK_REALTIME)
        to->tv_sec = __sync_fetch_and_add(&looks, 1) % 2 ? 86400 : 4102444800;
    return result;
}";
    let folder = folder();
    fs::write(folder.path().join("jumps.c"), JUMPS).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "jumps.so", "jumps.c"])
        .current_dir(folder.path())
        .status()
        .expect("cc, which has linked this");
    assert!(built.success(), "{built}");
    let script = "LD_PRELOAD=./jumps.so exec $SUITE --report json=report";
    let output = shell(script, folder.path()).output().expect("bash");
    expect(&output, Comes::Conformant);
    let report = fs::read_to_string(folder.path().join("report")).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let started = report["started"].as_str().expect("it is said");
    let jumped = ["1970-01-02", "2100-01-01"]
        .iter()
        .any(|day| started.starts_with(day));
    assert!(jumped, "the suite has not seen it jump: {started}");
}

#[test]
fn a_suite_that_is_stopped_in_the_middle_goes_on_where_it_was() {
    let folder = folder();
    let mut child = shell("exec $SUITE", folder.path())
        .stdout(fs::File::create(folder.path().join("stdout")).expect("a file"))
        .stderr(fs::File::create(folder.path().join("stderr")).expect("a file"))
        .spawn()
        .expect("bash");
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("our child");
    for _ in 0..STOPS {
        let ended = readable(pidfd.as_fd(), RUNS).expect("it can be polled");
        assert!(!ended, "it ended before it was stopped");
        kill_process(pid, Signal::STOP).expect("our child");
        any_readable(&[], STOP).expect("it can be waited");
        kill_process(pid, Signal::CONT).expect("our child");
    }
    let status = child.wait().expect("our child");
    let said = fs::read_to_string(folder.path().join("stdout")).expect("it was made");
    assert_eq!(status.code(), Some(0), "{said}");
}
