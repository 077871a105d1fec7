//! What a container runtime makes for the suite must go when the suite does, also when that is
//! killed: a namespace of the suite's holds none of it.
//!
//! All sandboxes of a run are in cgroups below one, whose name is the run's. So is the runtime while it
//! carries out an order, or it would go on to make cgroups when those are removed. The suite holds a
//! lock on the one of the run, which the kernel gives up with the suite's end. A process of its own,
//! the leash, learns of that by the end of a pipe, and ends what is in those cgroups; where it was
//! killed as well, the next suite does, which finds the lock free.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::embedded::{before_exec, pipe};
use crate::sys::{self, Child, InChild, NewNamespaces, StringVector};

/// How the names begin; what follows is not as in the names of the default backend.
const PREFIX: &str = "pause-conformance-run-";
/// How often another suite's sweep may win the race for the lock.
const TRIES: usize = 8;
/// How long cgroups may stay busy whose processes are killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cgroups of one run.
#[derive(Debug)]
pub(super) struct Lease {
    name: String,
    /// The same cgroup, in each hierarchy that there is.
    directories: Vec<PathBuf>,
    /// It keeps other suites' sweeps away; `None` until there is something to keep.
    lock: Option<File>,
    /// When this closes, the leash ends all.
    alive: Option<OwnedFd>,
    leash: Child,
}

impl Lease {
    /// Ends what runs have left that were killed, and takes a name.
    ///
    /// # Errors
    /// Where no cgroup can be made.
    pub(super) fn take(probe: &OwnedFd) -> io::Result<Self> {
        let hierarchies = hierarchies()?;
        for hierarchy in &hierarchies {
            sweep(hierarchy, &hierarchies);
        }
        let random = RandomState::new().hash_one(std::process::id());
        let name = format!("{PREFIX}{}-{random:016x}", std::process::id());
        let directories: Vec<_> = hierarchies.iter().map(|it| it.join(&name)).collect();
        let (told, alive) = pipe()?;
        let argv = std::iter::once(b"sandbox-leash".to_vec()).chain(
            directories
                .iter()
                .map(|directory| directory.as_os_str().as_bytes().to_vec()),
        );
        let entry = Entry {
            probe,
            told: &told,
            argv: StringVector::new(argv)?,
            envp: StringVector::new(Vec::<String>::new())?,
        };
        // Before anything is made that it is to remove, should the suite be killed at once.
        let leash = sys::spawn(NewNamespaces::empty(), &entry)?;
        let mut taken = Self {
            name,
            directories,
            lock: None,
            alive: Some(alive),
            leash,
        };
        // Where that fails, the leash removes what was made.
        taken.lock = Some(lock_first(&taken.directories)?);
        Ok(taken)
    }

    /// The path of a sandbox's cgroup, from the root of each hierarchy.
    pub(super) fn cgroup(&self, number: u64) -> String {
        format!("/{}/{number}", self.name)
    }

    /// The name by which a container runtime is to know a sandbox.
    pub(super) fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// The path of the cgroup in which all of the run's are, likewise.
    #[cfg(feature = "cri")]
    pub(super) fn parent(&self) -> String {
        format!("/{}", self.name)
    }

    /// Makes a cgroup of this name among those of sandboxes. What enters it ends as sandboxes do.
    ///
    /// # Errors
    /// Where no hierarchy takes it.
    pub(super) fn doors(&self, name: &str) -> io::Result<Doors> {
        let mut failed = io::Error::other("no cgroups are mounted");
        let mut doors = Vec::new();
        for directory in &self.directories {
            let directory = directory.join(name);
            let door = fs::create_dir_all(&directory).and_then(|()| {
                let file = directory.join("cgroup.procs");
                File::options().write(true).open(file)
            });
            match door {
                Ok(door) => doors.push(door),
                Err(error) => failed = error,
            }
        }
        if doors.is_empty() {
            return Err(failed);
        }
        Ok(Doors(doors))
    }

    /// The cgroup of a sandbox in the hierarchy that has a controller.
    pub(super) fn directory(&self, controller: &str, number: u64) -> Option<PathBuf> {
        let place = crate::shortage::groups::Place::of(controller)?;
        Some(place.root.join(&self.name).join(number.to_string()))
    }
}

/// Ways into a cgroup: its `cgroup.procs`, in each hierarchy that has it.
#[derive(Debug)]
pub(super) struct Doors(Vec<File>);

impl Doors {
    /// Moves this process there, and so what it starts from then on. Makes system calls alone.
    ///
    /// # Errors
    /// Where no hierarchy takes it: the one of cpusets takes none before it is told its processors.
    pub(super) fn enter(&self) -> io::Result<()> {
        let entered = |door: &File| rustix::io::write(door, b"0").is_ok();
        if self.0.iter().filter(|door| entered(door)).count() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.alive = None;
        // It removes the cgroups, which are empty unless a removal has failed.
        let _ = crate::wait::readable(self.leash.pidfd.as_fd(), Duration::from_mins(1));
        for directory in &self.directories {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Makes the cgroup in the first hierarchy that lets it be made, and locks it.
fn lock_first(directories: &[PathBuf]) -> io::Result<File> {
    let mut failed = io::Error::other("no cgroups are mounted");
    for directory in directories.iter().cycle().take(directories.len() * TRIES) {
        match lock(directory) {
            Ok(lock) => return Ok(lock),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn lock(directory: &Path) -> io::Result<File> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let lock = File::open(directory)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    // Another suite's sweep may have had the lock, and removed it, before.
    let locked = lock.metadata()?.ino();
    if fs::metadata(directory)?.ino() == locked {
        Ok(lock)
    } else {
        Err(io::Error::other("it was swept away"))
    }
}

/// Where the hierarchies of cgroups are mounted (proc_pid_mountinfo(5)).
pub(super) fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut roots: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let (mount, kind) = line.split_once(" - ")?;
            let kind = kind.split(' ').next()?;
            let point = mount.split(' ').nth(4)?;
            (kind == "cgroup" || kind == "cgroup2").then(|| PathBuf::from(point))
        })
        .collect();
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// Ends the runs whose cgroup here is locked by nobody, in all hierarchies: of those that a run
/// has, it has locked one. One that is there without a lock may be locked elsewhere.
fn sweep(hierarchy: &Path, hierarchies: &[PathBuf]) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let directories = hierarchies.iter().map(|it| it.join(&name));
        let there: Vec<_> = directories.filter(|it| it.is_dir()).collect();
        let locks: Vec<_> = there.iter().filter_map(|it| File::open(it).ok()).collect();
        let is_free = |lock: &File| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if locks.len() == there.len() && locks.iter().all(is_free) {
            end(&there);
        }
    }
}

/// Kills what is in these cgroups, and removes them.
fn end(directories: &[PathBuf]) {
    let deadline = Instant::now() + PATIENCE;
    let mut left = true;
    while left && Instant::now() < deadline {
        left = false;
        for directory in directories {
            for below in fs::read_dir(directory).into_iter().flatten().flatten() {
                if !below.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let members = below.path().join("cgroup.procs");
                thaw(&below.path());
                kill_all(&members);
                // As the leash does, for what crun makes where it finds no cgroups of v2.
                let _ = fs::remove_file(members);
                let _ = fs::remove_dir(below.path());
            }
            left |= fs::remove_dir(directory).is_err() && directory.is_dir();
        }
        std::thread::yield_now();
    }
}

/// What a container runtime had frozen when it was killed does not end: the freezer of v1 keeps
/// SIGKILL waiting (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst).
fn thaw(directory: &Path) {
    for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if let Ok(mut file) = File::options().write(true).open(directory.join(file)) {
            let _ = file.write_all(word.as_bytes());
        }
    }
}

fn kill_all(list: &Path) {
    let list = fs::read_to_string(list).unwrap_or_default();
    let pids = list.lines().filter_map(|line| line.parse().ok());
    for pid in pids.filter_map(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The leash, from clone to exec.
struct Entry<'a> {
    probe: &'a OwnedFd,
    told: &'a OwnedFd,
    argv: StringVector,
    envp: StringVector,
}

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes system calls with what was prepared before the clone, and no more.
unsafe impl InChild for &Entry<'_> {
    fn run(self) -> i32 {
        let prepared = || -> io::Result<()> {
            // A signal to the suite's process group is not for it.
            let _ = rustix::process::setsid();
            sys::close_range_cloexec(0)?;
            rustix::stdio::dup2_stdin(self.told)?;
            sys::reset_signals(0, 0)
        };
        if prepared().is_ok() {
            sys::exec(Some(self.probe.as_fd()), c"", &self.argv, &self.envp);
        }
        before_exec::FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run's cgroup in a folder that stands for a hierarchy, with one sandbox.
    fn run(hierarchy: &Path, name: &str) -> PathBuf {
        let directory = hierarchy.join(format!("{PREFIX}{name}"));
        fs::create_dir_all(directory.join("0")).expect("a folder");
        fs::write(directory.join("0/cgroup.procs"), "").expect("a file");
        directory
    }

    #[test]
    fn a_sweep_ends_runs_that_nobody_holds_and_nothing_else() {
        let places = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let hierarchies: Vec<_> = places.iter().map(|it| it.path().to_owned()).collect();
        let [first, second] = &hierarchies[..] else {
            panic!("two")
        };
        let left = [run(first, "1-left"), run(second, "1-left")];
        let held = [run(first, "2-held"), run(second, "2-held")];
        let others = first.join("pause-conformance-1-0123456789abcdef");
        fs::create_dir(&others).expect("a folder");
        let lock = File::open(&held[0]).expect("it is there");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
        for hierarchy in &hierarchies {
            sweep(hierarchy, &hierarchies);
        }
        assert!(left.iter().all(|it| !it.exists()), "nobody holds it");
        assert!(held.iter().all(|it| it.exists()), "it is locked in one");
        assert!(others.exists(), "it is the default backend's");
    }

    /// A program in a frozen cgroup below one of this test's own; nothing where none can be made.
    fn frozen(name: &str) -> Option<(PathBuf, std::process::Child)> {
        let freezer = crate::shortage::groups::Place::of("freezer")?;
        let run = freezer
            .root
            .join(format!("pause-sandbox-test-{}-{name}", std::process::id()));
        let below = run.join("0");
        if !freezer.root.join("tasks").exists() || fs::create_dir_all(&below).is_err() {
            return None;
        }
        let child = std::process::Command::new("sleep").arg("600").spawn();
        let child = child.expect("it starts");
        let put = |file: &str, text: String| fs::write(below.join(file), text);
        put("cgroup.procs", child.id().to_string()).expect("it is moved");
        put("freezer.state", "FROZEN".to_owned()).expect("it is frozen");
        Some((run, child))
    }

    fn is_killed(mut child: std::process::Child, run: &Path) -> bool {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        use std::os::unix::process::ExitStatusExt as _;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("a pidfd");
        let has_ended = crate::wait::readable(pidfd.as_fd(), 2 * PATIENCE).expect("poll");
        // So that nothing is left where it was not.
        thaw(&run.join("0"));
        child.kill().expect("it is a child");
        child.wait().expect("it is waited for").signal() == Some(9) && has_ended
    }

    #[test]
    fn what_was_left_frozen_is_ended() {
        let Some((run, child)) = frozen("swept") else {
            eprintln!("skipped: no freezer of cgroup v1");
            return;
        };
        end(std::slice::from_ref(&run));
        assert!(is_killed(child, &run));
        assert!(!run.exists());
    }

    #[test]
    fn the_leash_ends_what_was_left_frozen() {
        let Some((run, child)) = frozen("leash") else {
            eprintln!("skipped: no freezer of cgroup v1");
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("probe");
        fs::write(&path, crate::programs::PROBE).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, mode).expect("chmod");
        let probe = File::open(&path).expect("it is there").into();
        let (told, alive) = pipe().expect("a pipe");
        let words = [
            b"sandbox-leash".to_vec(),
            run.as_os_str().as_bytes().to_vec(),
        ];
        let entry = Entry {
            probe: &probe,
            told: &told,
            argv: StringVector::new(words).expect("no NUL"),
            envp: StringVector::new(Vec::<String>::new()).expect("none"),
        };
        let leash = sys::spawn(NewNamespaces::empty(), &entry).expect("it starts");
        drop(alive);
        assert!(is_killed(child, &run));
        let minute = Duration::from_mins(1);
        assert!(crate::wait::readable(leash.pidfd.as_fd(), minute).expect("poll"));
        assert!(!run.exists());
    }

    #[test]
    fn the_first_hierarchy_that_takes_a_folder_has_the_lock() {
        let place = tempfile::tempdir().expect("a folder");
        let missing = place.path().join("missing/run");
        let run = place.path().join("run");
        let lock = lock_first(&[missing.clone(), run.clone()]).expect("one takes it");
        let again = File::open(&run).expect("it is there");
        assert!(flock(&again, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(lock);
        assert!(lock_first(&[missing]).is_err());
    }
}
