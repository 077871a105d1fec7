//! **A shortage is never the image's fault**: the reference is judged with few descriptors, and under
//! limits of a cgroup that the test makes.
//!
//! With `PAUSE_CONFORMANCE_LIMITS=all` there are more limits.

mod common;
#[path = "common/copied.rs"]
mod copied;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rstest::rstest;
use serde_json::Value;

const SUITE: &str = env!("CARGO_BIN_EXE_pause-conformance");

fn all() -> bool {
    std::env::var_os("PAUSE_CONFORMANCE_LIMITS").is_some_and(|value| value == "all")
}

/// The reference in a temporary file.
struct Image(tempfile::NamedTempFile);

impl Image {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), conformance::programs::REFERENCE).expect("writing the program");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(file.path(), mode).expect("it is ours");
        Self(file)
    }

    /// The arguments of a suite that judges it.
    fn arguments(&self) -> [String; 4] {
        let image = format!("binary:{}", self.0.path().display());
        [
            "--image".to_owned(),
            image,
            "--report".to_owned(),
            "json".to_owned(),
        ]
    }
}

/// A cgroup with one limit. It can be removed only if nothing is left in it.
struct Limited(PathBuf);

impl Limited {
    /// `None` if this user may make no cgroups.
    fn new(controller: &str, v1: &str, v2: &str, limit: u64) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("shortage-{}-{number}", std::process::id());
        let places = [
            format!("/sys/fs/cgroup/{controller}"),
            "/sys/fs/cgroup".to_owned(),
        ];
        let group = places
            .iter()
            .map(|place| Path::new(place).join(&name))
            .find(|path| fs::create_dir(path).is_ok())
            .map(Self)?;
        [v1, v2]
            .iter()
            .any(|file| {
                let file = group.0.join(file);
                file.exists() && fs::write(file, limit.to_string()).is_ok()
            })
            .then_some(group)
    }

    fn memory(mebibytes: u64) -> Option<Self> {
        let bytes = mebibytes << 20;
        Self::new("memory", "memory.limit_in_bytes", "memory.max", bytes)
    }

    fn processes(count: u64) -> Option<Self> {
        Self::new("pids", "pids.max", "pids.max", count)
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Output {
        let enter = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
        Command::new("sh")
            .args(["-c", enter])
            .arg(&self.0)
            .arg(SUITE)
            .args(arguments)
            .output()
            .expect("the suite starts")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let removed = fs::remove_dir(&self.0);
        if !std::thread::panicking() {
            removed.expect("nothing is left in it");
        }
    }
}

/// Asserts that the suite found the reference conformant or inconclusive for that reason, or ended
/// with one line that names it. Returns which.
fn expect_no_blame(output: &Output, short_of: &str, limit: u64) -> i32 {
    let status = output.status.code().expect("no signal ends the suite");
    let errors = String::from_utf8_lossy(&output.stderr);
    if status == 2 {
        let lines: Vec<_> = errors
            .lines()
            .filter(|line| line.starts_with("error: ") || line.starts_with(" hint: "))
            .collect();
        assert_eq!(lines.len(), 2, "{errors}");
        assert!(lines[0].contains(short_of), "{errors}");
        return status;
    }
    assert!([0, 3].contains(&status), "{status} at {limit}: {errors}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let mut inconclusive = 0;
    for check in checks {
        let (verdict, reason) = (&check["verdict"], check["reason"].as_str());
        assert!(
            verdict != "fail" && verdict != "error",
            "at {limit}: {check}"
        );
        if verdict == "inconclusive" {
            let reason = reason.expect("a reason");
            assert!(reason.contains(short_of), "at {limit}: {check}");
            inconclusive += 1;
        }
    }
    assert_eq!(status == 3, inconclusive > 0, "at {limit}");
    status
}

fn with_limits(
    make: fn(u64) -> Option<Limited>,
    short_of: &str,
    limits: impl IntoIterator<Item = u64>,
) -> Vec<i32> {
    let image = Image::new();
    let arguments = image.arguments();
    let mut statuses = Vec::new();
    for limit in limits {
        let Some(limited) = make(limit) else {
            eprintln!("not made: this user may make no cgroup here");
            return Vec::new();
        };
        let output = limited.run(arguments.iter().map(String::as_str));
        statuses.push(expect_no_blame(&output, short_of, limit));
    }
    statuses
}

#[test]
fn with_little_memory_the_image_is_not_blamed() {
    let statuses = with_limits(Limited::memory, "memory", [64, 24]);
    assert!(matches!(statuses[..], [] | [0 | 3, 2]), "{statuses:?}");
    if all() {
        let limits = [
            512, 384, 256, 192, 160, 128, 112, 96, 80, 64, 56, 52, 48, 40, 32,
        ];
        with_limits(Limited::memory, "memory", limits);
    }
}

/// A program that holds 40 MiB.
const HOLDS: &str = r"
    #include <string.h>
    static char held[40 << 20];
    static int get(void) { memset(held, 1, sizeof held); return 1; }";

/// Two of it at a time need more than there is.
#[test]
fn with_little_memory_an_image_that_needs_some_is_not_blamed() {
    if !common::has("cc") {
        return;
    }
    let folder = folder_with(HOLDS);
    let Some(limited) = Limited::memory(64) else {
        eprintln!("not made: this user may make no cgroup here");
        return;
    };
    let image = format!("binary:{}", folder.path().join("pause").display());
    let words = ["--report", "json", "--filter", "signals/*"];
    let output = limited.run(["--image", &image].into_iter().chain(words));
    assert_eq!(expect_no_blame(&output, "memory", 64), 3);
}

/// A program that ends if it is refused one of 60 threads.
const THREADS: &str = r"
    #include <pthread.h>
    #include <unistd.h>
    static void *rest(void *unused) { for (;;) pause(); return unused; }
    static int get(void) {
        pthread_t thread;
        for (int i = 0; i < 60; i++) if (pthread_create(&thread, 0, rest, 0)) return 0;
        return 1;
    }";
/// A program that ends if it may not map 1.25 GiB, which it does not use.
const MAPS: &str = r"
    #include <sys/mman.h>
    static int get(void) {
        int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        return mmap(0, 5ul << 28, PROT_READ | PROT_WRITE, how, -1, 0) != MAP_FAILED;
    }";
/// A program that ends at once.
const NOTHING: &str = "static int get(void) { return 0; }";
/// The rest of these programs: a pause.
const WAITS: &str = r"
    #include <signal.h>
    #include <sys/wait.h>
    int main(void) {
        sigset_t set;
        int number;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, 0);
        if (!get()) return 1;
        for (;;) {
            while (waitpid(-1, 0, WNOHANG) > 0) {}
            if (sigwait(&set, &number) == 0 && number != SIGCHLD) return 0;
        }
    }";

/// A suite that can make no cgroups.
fn without_cgroups(ordinary: bool, suite: &Path) -> Command {
    let words: &[&str] = match (rustix::process::geteuid().is_root(), ordinary) {
        (false, _) => &["env"],
        (true, false) => &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            r#"umount --recursive /sys/fs/cgroup && exec "$0" "$@""#,
        ],
        (true, true) => &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
    };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(suite);
    command
}

/// A folder for all users with the suite and a program that waits once it has what it needs.
fn folder_with(gets: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let readable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), readable).expect("it is ours");
    fs::write(folder.path().join("pause.c"), [gets, WAITS].concat()).expect("written");
    let how = ["-static", "-pthread", "-o", "pause", "pause.c"];
    common::run("cc", &how, folder.path());
    copied::suite(&folder.path().join("suite"));
    folder
}

/// The suite's verdict of that program.
fn report_of(mut command: Command, folder: &Path, filter: &[&str]) -> Value {
    let output = command
        .args(["--image", "binary:pause", "--report", "json"])
        .args(filter)
        .current_dir(folder)
        .output()
        .expect("the suite starts");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A program that stays only with higher limits is not blamed if no counter tells which process was
/// refused.
#[rstest]
#[case::threads(THREADS, "inconclusive")]
#[case::mappings(MAPS, "inconclusive")]
#[case::neither(NOTHING, "fail")]
fn where_no_cgroup_tells_of_a_refusal_the_image_is_not_blamed(
    #[case] gets: &str,
    #[case] verdict: &str,
    #[values(false, true)] ordinary: bool,
) {
    if !common::has("cc") {
        return;
    }
    let folder = folder_with(gets);
    let command = without_cgroups(ordinary, &folder.path().join("suite"));
    let filter = [
        "--filter",
        "startup/stays",
        "--filter",
        "signals/term-exits-zero",
    ];
    let report = report_of(command, folder.path(), &filter);
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    assert_eq!(checks[0]["verdict"], verdict, "{report:#}");
    if verdict == "inconclusive" {
        let reason = checks[0]["reason"].as_str().expect("a reason");
        assert!(reason.contains("no cgroup tells"), "{report:#}");
        assert!(
            checks.iter().all(|check| check["verdict"] != "fail"),
            "{report:#}"
        );
    }
}

/// The user may have few processes, and no counter tells which one was refused.
#[test]
fn with_few_processes_of_the_user_an_image_with_threads_is_not_blamed() {
    if !common::has("cc") {
        return;
    }
    let folder = folder_with(&THREADS.replace("60", "20"));
    let mut command = Command::new("bash");
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash"]);
    }
    command.args(["-c", r#"ulimit -u 170; exec ./suite "$@""#, "bash"]);
    let report = report_of(command, folder.path(), &[]);
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let blamed = |check: &&Value| {
        let verdict = check["verdict"].as_str();
        verdict == Some("error") || verdict == Some("fail") && check["level"] == "must"
    };
    let blamed: Vec<_> = checks.iter().filter(blamed).collect();
    assert!(blamed.is_empty(), "{blamed:#?}");
    let open = |check: &&Value| check["verdict"] == "inconclusive";
    assert!(checks.iter().filter(open).count() > 0);
}

#[test]
fn with_few_processes_the_image_is_not_blamed() {
    let statuses = with_limits(Limited::processes, "processes", [192, 48]);
    assert!(statuses.is_empty() || statuses == [3, 2], "{statuses:?}");
    if all() {
        let limits = (16..=100)
            .step_by(12)
            .chain([112, 128, 140, 160, 400, 1000, 4000]);
        with_limits(Limited::processes, "processes", limits);
    }
}

/// The suite raises a soft limit and names a hard one; it never hangs, even if more files are open
/// than the limit allows.
#[rstest]
#[case("ulimit -Sn 64", 0)]
#[case("ulimit -Hn 64 -Sn 64", 2)]
#[case("ulimit -Sn 16; ulimit -Hn 16", 2)]
fn with_few_descriptors_the_image_is_not_blamed(#[case] limit: &str, #[case] status: i32) {
    let image = Image::new();
    let output = Command::new("bash")
        .args(["-c", &format!(r#"{limit}; exec "$0" "$@""#), SUITE])
        .args(image.arguments())
        .args(["--filter", "startup/*"])
        .output()
        .expect("the suite starts");
    assert_eq!(expect_no_blame(&output, "descriptors", 0), status);
}
