//! **No suite disturbs another**: two or eight suites run at once, with their cgroups in one tree and
//! with pid and mount namespaces that they share or have each, or as several users. Each has the
//! verdicts of a suite that runs alone, takes nothing from another and leaves nothing behind.
//!
//! With `PAUSE_CONFORMANCE_LIMITS=all` there are more rounds, and all checks.

#[path = "common/copied.rs"]
mod copied;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rstest::rstest;
use rustix::fs::FlockOperation;
use serde_json::Value;

/// One test runs at a time, so that a process that stays is known to be of that test.
static ALONE: Mutex<()> = Mutex::new(());
/// How long processes and cgroups may take to vanish.
const GONE: Duration = Duration::from_secs(5);
/// How many verdicts of a suite may be inconclusive beside seven others.
const OPEN: usize = 2;
/// Ids of users without processes.
const USERS: u32 = 54_400;

/// What each of the simultaneous suites has to itself.
#[derive(Clone, Copy, Debug)]
enum Own {
    Nothing,
    /// A pid and a mount namespace.
    Namespaces,
    /// Every second one has its own namespaces, and every third is another user.
    Various,
}

impl Own {
    fn namespaces(self, number: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Namespaces => true,
            Self::Various => number % 2 == 1,
        }
    }

    fn user(self, number: u32) -> Option<u32> {
        (matches!(self, Self::Various) && number % 3 == 2).then_some(USERS + number)
    }
}

/// The reference and the suite in a folder that all users may enter, and a tree of cgroups.
struct Place {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let suite = folder.path().join("pause-conformance");
        copied::suite(&suite);
        let pause = folder.path().join("pause");
        fs::write(&pause, conformance::programs::REFERENCE).expect("written");
        for path in [folder.path(), &suite, &pause] {
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(path, mode).expect("it is ours");
        }
        Self {
            folder,
            tree: Tree::new(),
        }
    }

    /// A command that runs a suite in the tree.
    fn start(&self, namespaces: bool, user: Option<u32>) -> Child {
        let mut words = Vec::new();
        if namespaces {
            words.extend(["unshare", "--pid", "--fork", "--mount", "--mount-proc"]);
        }
        let id = user.unwrap_or_default().to_string();
        if user.is_some() {
            words.extend(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
        }
        words.extend(["./pause-conformance", "--image", "binary:pause"]);
        words.extend(["--report", "json"]);
        if !all() {
            words.extend(["--filter", "startup/*", "--filter", "pid1/*"]);
        }
        let enter = r#"for group in $TREE; do echo $$ > "$group/cgroup.procs"; done; exec "$@""#;
        Command::new("sh")
            .args(["-c", enter, "sh"])
            .args(words)
            .env("TREE", self.tree.members().join(" "))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the suite starts")
    }

    /// The verdicts of `count` simultaneous suites.
    fn judge(&self, suites: u32, own: Own) -> Vec<Verdicts> {
        let start = |number| self.start(own.namespaces(number), own.user(number));
        let running: Vec<_> = (0..suites).map(start).collect();
        running.into_iter().map(verdicts).collect()
    }
}

/// Cgroups of the test. All suites are in them and make their own below them. They can be removed
/// only if nothing is left in them.
struct Tree {
    /// For each hierarchy that the suite uses, the top cgroup and that of the suites.
    groups: Vec<(PathBuf, PathBuf)>,
}

impl Tree {
    /// Empty if this user may make no cgroups.
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("beside-{}-{number}", std::process::id());
        let own = fs::read_to_string("/proc/self/cgroup").expect("/proc");
        let places = own.lines().filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let mount = Path::new("/sys/fs/cgroup").join(controllers);
            let place = mount.join(path.trim_start_matches('/'));
            let used = ["memory", "pids"].contains(&controllers)
                || controllers.is_empty() && place.join("cgroup.subtree_control").exists();
            used.then(|| (controllers.is_empty(), place.join(&name)))
        });
        let groups = places.filter_map(|(is_v2, top)| {
            fs::create_dir(&top).ok()?;
            let mut members = top.clone();
            if is_v2 {
                // In version 2 only leaves have processes, and limits need a parent that delegates
                // their controllers.
                fs::write(top.join("cgroup.subtree_control"), "+memory +pids").ok();
                members = top.join("suites");
                fs::create_dir(&members).ok()?;
            }
            Some((top, members))
        });
        Self {
            groups: groups.collect(),
        }
    }

    fn members(&self) -> Vec<String> {
        let members = self.groups.iter().map(|(_, members)| members);
        members.map(|path| path.display().to_string()).collect()
    }

    /// The cgroups in it that this test did not make.
    fn others(&self, made: &[PathBuf]) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for (top, members) in &self.groups {
            let inside = |path| fs::read_dir(path).into_iter().flatten().flatten();
            let entries = inside(top).chain(inside(members)).map(|entry| entry.path());
            found.extend(entries.filter(|path| path.is_dir() && path != members));
        }
        found.retain(|path| !made.contains(path));
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for (top, members) in &self.groups {
            let removed = fs::remove_dir(members);
            if top != members {
                let _ = fs::remove_dir(top);
            }
            if !std::thread::panicking() {
                removed.expect("nothing is left in it");
            }
        }
    }
}

/// Verdicts by check id.
type Verdicts = BTreeMap<String, String>;

/// Two at once cost little.
fn rounds(suites: u32) -> u32 {
    match (all(), suites) {
        (true, _) => 20,
        (false, 2) => 2,
        (false, _) => 1,
    }
}

fn all() -> bool {
    std::env::var_os("PAUSE_CONFORMANCE_LIMITS").is_some_and(|value| value == "all")
}

fn verdicts(suite: Child) -> Verdicts {
    let output = suite.wait_with_output().expect("it is our child");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let wrong = checks
        .iter()
        .filter(|check| !["pass", "skipped"].contains(&check["verdict"].as_str().unwrap_or("")));
    let wrong: Vec<_> = wrong.collect();
    assert_eq!(output.status.code(), Some(0), "{errors} {wrong:?}");
    let word = |check: &Value, name: &str| check[name].as_str().expect("a word").to_owned();
    checks
        .iter()
        .map(|check| (word(check, "id"), word(check, "verdict")))
        .collect()
}

/// The mounts that this process sees at the places where suites mount, in their own namespaces.
fn mounts() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    let places = [
        "/tmp", "/run", "/var", "/mnt", "/home", "/etc", "/proc", "/dev",
    ];
    let is_there = |line: &&str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|it| places.contains(&it))
    };
    mounts.lines().filter(is_there).map(str::to_owned).collect()
}

/// Children of this process that do not end in time.
fn left_behind() -> Vec<String> {
    let deadline = Instant::now() + GONE;
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        let path = format!("/proc/self/task/{}/children", std::process::id());
        let children = fs::read_to_string(path).expect("/proc");
        let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let left: Vec<_> = children.split_whitespace().map(stat).collect();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        conformance::wait::any_readable(&[], Duration::from_millis(5)).expect("it can be waited");
    }
}

/// Processes that the OOM killer kills, one after the other, in a separate cgroup.
struct Kills {
    group: PathBuf,
    shell: Child,
}

impl Kills {
    fn in_tree(tree: &Tree) -> Option<Self> {
        let limits = ["memory.max", "memory.limit_in_bytes"];
        let (group, limit) = tree.groups.iter().find_map(|(top, _)| {
            let limit = limits.iter().find(|limit| top.join(limit).exists())?;
            Some((top.join("killed"), limit))
        })?;
        fs::create_dir(&group).ok()?;
        fs::write(group.join(limit), "8388608").expect("it is ours");
        // The process that grows is in the cgroup; the shell is not.
        let grows = r#"while :; do sh -c 'echo $$ > "$0"; exec dd if=/dev/zero of=/dev/null bs=64M count=1' "$0"; done"#;
        let shell = Command::new("sh")
            .args(["-c", grows])
            .arg(group.join("cgroup.procs"))
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Some(Self { group, shell })
    }
}

impl Drop for Kills {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        // The last one is killed like all others.
        let deadline = Instant::now() + GONE;
        while fs::remove_dir(&self.group).is_err() && Instant::now() < deadline {
            conformance::wait::any_readable(&[], Duration::from_millis(5)).expect("a wait");
        }
    }
}

/// Checks that only read keep their verdicts while the OOM killer kills processes of others.
#[test]
fn a_broken_guest_fails_while_others_run_out_of_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new();
    let Some(_kills) = Kills::in_tree(&place.tree) else {
        eprintln!("not made: this user may make no cgroup here");
        return;
    };
    let text = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fixtures/wasi/broken_spins.wat"
    );
    let guest = wat::parse_file(text).expect("it is well-formed");
    fs::write(place.folder.path().join("spins.wasm"), guest).expect("written");
    let output = Command::new("./pause-conformance")
        .args([
            "--image",
            "wasm:spins.wasm",
            "--static-only",
            "--repeat",
            "3",
        ])
        .args(["--filter", "wasi", "--report", "json"])
        .current_dir(&place.folder)
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    for run in report["runs"].as_array().expect("runs") {
        let checks = run["checks"].as_array().expect("checks");
        let unsure = checks.iter().find(|it| it["verdict"] == "inconclusive");
        assert!(unsure.is_none(), "{unsure:?}");
    }
}

/// Cgroups beside those of the suites: one with a process, locked as a suite locks its own, and one
/// with another name.
struct Bystander {
    groups: Vec<PathBuf>,
    process: Child,
    _lock: File,
}

impl Bystander {
    /// `None` where this user may make none.
    fn in_tree(tree: &Tree) -> Option<Self> {
        let (_, place) = tree.groups.last()?;
        let names = ["00000000deadbeef", "other"];
        let groups = names.map(|name| place.join(format!("pause-conformance-1-{name}")));
        for group in &groups {
            fs::create_dir(group).expect("it is ours");
        }
        let lock = File::open(&groups[0]).expect("it was made");
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("nobody else has it");
        let process = Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("coreutils");
        let procs = groups[0].join("cgroup.procs");
        fs::write(procs, process.id().to_string()).expect("it is ours");
        Some(Self {
            groups: groups.into(),
            process,
            _lock: lock,
        })
    }

    fn is_untouched(&mut self) {
        assert!(
            self.process.try_wait().expect("our child").is_none(),
            "it was killed"
        );
        let inside = fs::read_to_string(self.groups[0].join("cgroup.procs"));
        assert_eq!(
            inside.expect("it is there").trim(),
            self.process.id().to_string()
        );
        assert!(
            self.groups[1].exists(),
            "an empty one of another name was removed"
        );
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for group in &self.groups {
            let _ = fs::remove_dir(group);
        }
    }
}

#[rstest]
fn suites_at_once_say_what_one_alone_says_and_leave_nothing(
    #[values(2, 8)] suites: u32,
    #[values(Own::Nothing, Own::Namespaces, Own::Various)] own: Own,
) {
    if !matches!(own, Own::Nothing) && !rustix::process::geteuid().is_root() {
        eprintln!("not made: a pid namespace alone is root's");
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Orphans of the suites become children of this process.
    nix::sys::prctl::set_child_subreaper(true).expect("prctl");
    let place = Place::new();
    let alone = verdicts(place.start(false, None));
    // Arrangements that this user cannot make are skipped.
    let users = matches!(own, Own::Various).then(|| verdicts(place.start(false, Some(USERS))));
    let mut bystander = Bystander::in_tree(&place.tree);
    let made = bystander.as_ref().map_or(&[][..], |it| &it.groups).to_vec();
    let seen = mounts();
    for round in 0..rounds(suites) {
        for (number, verdicts) in (0..).zip(place.judge(suites, own)) {
            let users = users.as_ref().filter(|_| own.user(number).is_some());
            let same = users.unwrap_or(&alone);
            let differs = |(id, verdict): (&String, &String)| {
                (same.get(id) != Some(verdict)).then(|| format!("{id}: {verdict}"))
            };
            let other: Vec<_> = verdicts.iter().filter_map(differs).collect();
            // Eight suites on two processors have a quarter of one each: a check that measures time
            // may be inconclusive.
            let open = other
                .iter()
                .filter(|line| line.ends_with(": inconclusive"))
                .count();
            let is_right = other.len() == open && (open == 0 || suites > 2 && open <= OPEN);
            assert!(is_right, "round {round}, suite {number}: {other:?}");
        }
        if let Some(bystander) = &mut bystander {
            bystander.is_untouched();
        }
        assert_eq!(place.tree.others(&made), BTreeSet::new(), "round {round}");
        assert_eq!(mounts(), seen, "round {round}");
    }
    drop(bystander);
    assert_eq!(left_behind(), Vec::<String>::new());
}
