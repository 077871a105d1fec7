//! Limits by cgroup, v1 or v2, where the caller may make one; a limit that cannot
//! be had is named, not missed. All sandboxes together have one bound; a sandbox that
//! is to have a limit of its own has a cgroup of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Memory for all sandboxes at a time, beside what their files take. A crowd of 2,000 orphans
/// is 125 MiB of it: each has a stack in the kernel, page tables, and a few pages.
const BOUND: u64 = 224 << 20;
/// The same for the emulators of each check, some 11 MiB for a sandbox: a program is not to
/// be killed for what it is run by.
const EMULATORS: u64 = 32 << 20;
/// How many sandboxes may have their files in memory at a time.
const AT_ONCE: u64 = 32;
/// Where in a suite's cgroup all sandboxes are that have no limit of their own.
const ALL: &str = "all";
/// Names of the cgroups of suites: this and the process id.
const PREFIX: &str = "pause-conformance-";
/// A cgroup this old without a process of its number was left behind.
const STALE: Duration = Duration::from_secs(10);

/// This suite's own cgroup, by controller; below it those of its sandboxes.
#[derive(Debug)]
pub(super) struct Cgroups {
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    version: u8,
    made: AtomicU32,
    /// What lets processes into [`ALL`], on v2; open, for those that do not see its path.
    all_processes: Option<File>,
    /// Bytes for which there is room in [`ALL`] beyond the bound.
    room: Mutex<u64>,
    /// How many runs there are at a time; each is given the bound.
    runs: u64,
    /// How many checks there are at a time that use emulators.
    emulated: u64,
}

/// One sandbox's cgroup; on v1 a directory for each controller.
#[derive(Debug)]
pub(super) struct Cgroup {
    directories: Vec<PathBuf>,
}

impl Default for Cgroups {
    fn default() -> Self {
        Self {
            memory: None,
            pids: None,
            version: 0,
            made: AtomicU32::new(0),
            all_processes: None,
            room: Mutex::new(0),
            runs: 1,
            emulated: 0,
        }
    }
}

impl Cgroups {
    /// Gives each of so many runs at a time the bound.
    pub(super) fn expect_runs(&mut self, runs: u64) -> io::Result<()> {
        self.runs = runs.max(1);
        match &self.memory {
            Some(memory) => self.write_bound(&memory.join(ALL), 0),
            None => Ok(()),
        }
    }

    /// Looks for a place, makes the suite's cgroup there, and removes what suites that
    /// were killed have left.
    pub(super) fn detect(emulated: u64) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let v1 = |controller: &str| {
            let base = mount_point(&mounts, "cgroup", Some(controller))?;
            let path = own_path(&own, Some(controller))?;
            group(&base.join(path.trim_start_matches('/')))
        };
        let (memory, pids) = (v1("memory"), v1("pids"));
        let found = if memory.is_some() || pids.is_some() {
            Self {
                memory,
                pids,
                version: 1,
                ..Self::default()
            }
        } else {
            Self::detect_v2(&mounts, &own).unwrap_or_default()
        };
        Self { emulated, ..found }.bounded()
    }

    /// Below the suite's own cgroup, or beside it: one that holds processes limits none below
    /// itself (cgroups(7), "no internal processes").
    fn detect_v2(mounts: &str, own: &str) -> Option<Self> {
        let base = mount_point(mounts, "cgroup2", None)?;
        let own = base.join(own_path(own, None)?.trim_start_matches('/'));
        let beside = own.parent().filter(|_| own != base);
        let place = std::iter::once(&*own)
            .chain(beside)
            .find(|place| offers_limits(place))?;
        let place = group(place)?;
        let enable = |name: &str| {
            let line = format!("+{name}");
            fs::write(place.join("cgroup.subtree_control"), line)
                .ok()
                .map(|()| place.clone())
        };
        let (memory, pids) = (enable("memory"), enable("pids"));
        if memory.is_none() && pids.is_none() {
            let _ = fs::remove_dir(&place);
        }
        Some(Self {
            memory,
            pids,
            version: 2,
            ..Self::default()
        })
    }

    /// Makes [`ALL`]; where that cannot be had, memory cannot be limited.
    fn bounded(mut self) -> Self {
        let Some(memory) = &self.memory else {
            return self;
        };
        let all = memory.join(ALL);
        let open = || match self.version {
            2 => File::options()
                .write(true)
                .open(all.join("cgroup.procs"))
                .map(Some),
            _ => Ok(None),
        };
        let made = fs::create_dir(&all)
            .and_then(|()| self.write_bound(&all, 0))
            .and_then(|()| open());
        if let Ok(file) = made {
            self.all_processes = file;
        } else {
            let _ = fs::remove_dir(&all);
            if self.pids.as_ref() != Some(memory) {
                let _ = fs::remove_dir(memory);
            }
            self.memory = None;
        }
        self
    }

    fn memory_file(&self) -> &'static str {
        if self.version == 1 {
            "memory.limit_in_bytes"
        } else {
            "memory.max"
        }
    }

    fn write_bound(&self, all: &Path, room: u64) -> io::Result<()> {
        let each = BOUND.saturating_add(EMULATORS.saturating_mul(self.emulated));
        let bound = each.saturating_mul(self.runs).saturating_add(room);
        fs::write(all.join(self.memory_file()), bound.to_string())
    }

    /// What is to be removed in the end, with what is directly below.
    pub(super) fn groups(&self) -> Vec<PathBuf> {
        let mut groups: Vec<_> = self.memory.iter().chain(&self.pids).cloned().collect();
        groups.dedup();
        groups
    }

    /// Removes them, where no keeper will.
    pub(super) fn remove(&self) {
        for group in self.groups() {
            remove_group(&group);
        }
    }

    /// What this thread's children use counts for all sandboxes from now on. Only v1
    /// has cgroups of threads, where it spares a move for each sandbox.
    pub(super) fn adopt_thread(&self) -> io::Result<()> {
        match (&self.memory, self.version) {
            (Some(memory), 1) => fs::write(memory.join(ALL).join("tasks"), "0"),
            _ => Ok(()),
        }
    }

    /// The same for the calling process and its children, on v2.
    pub(super) fn join(&self) -> io::Result<()> {
        match &self.all_processes {
            Some(file) => Ok(rustix::io::write(file, b"0").map(drop)?),
            None => Ok(()),
        }
    }

    /// Raises the bound where sandboxes hold larger files than any before.
    pub(super) fn make_room(&self, bytes: u64) -> io::Result<()> {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        let wanted = bytes.saturating_mul(AT_ONCE);
        // A number has no invariant that a panic could have broken.
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > *room {
            self.write_bound(&memory.join(ALL), wanted)?;
            *room = wanted;
        }
        Ok(())
    }

    pub(super) fn can_limit_memory(&self) -> Result<(), String> {
        self.memory
            .as_ref()
            .map(drop)
            .ok_or_else(|| "this user may make no memory cgroup here".to_owned())
    }

    pub(super) fn can_limit_pids(&self) -> Result<(), String> {
        self.pids
            .as_ref()
            .map(drop)
            .ok_or_else(|| "this user may make no pids cgroup here".to_owned())
    }

    /// A cgroup with these limits; `None` where none is asked for.
    pub(super) fn create(
        &self,
        memory: Option<u64>,
        pids: Option<u32>,
    ) -> io::Result<Option<Cgroup>> {
        if memory.is_none() && pids.is_none() {
            return Ok(None);
        }
        let name = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let mut cgroup = Cgroup {
            directories: Vec::new(),
        };
        if let Some(bytes) = memory {
            let directory = cgroup.make(self.memory.as_deref(), &name)?;
            fs::write(directory.join(self.memory_file()), bytes.to_string())?;
        }
        if let Some(count) = pids {
            let directory = cgroup.make(self.pids.as_deref(), &name)?;
            fs::write(directory.join("pids.max"), count.to_string())?;
        }
        Ok(Some(cgroup))
    }
}

impl Cgroup {
    fn make(&mut self, parent: Option<&Path>, name: &str) -> io::Result<PathBuf> {
        let parent = parent.ok_or(io::ErrorKind::Unsupported)?;
        let directory = parent.join(name);
        if !self.directories.contains(&directory) {
            fs::create_dir(&directory)?;
            self.directories.push(directory.clone());
        }
        Ok(directory)
    }

    /// Moves a process in.
    pub(super) fn add(&self, pid: i32) -> io::Result<()> {
        for directory in &self.directories {
            fs::write(directory.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// The most memory it ever used, in bytes.
    pub(super) fn memory_peak(&self) -> Option<u64> {
        self.directories.iter().find_map(|directory| {
            ["memory.max_usage_in_bytes", "memory.peak"]
                .iter()
                .find_map(|file| {
                    fs::read_to_string(directory.join(file))
                        .ok()?
                        .trim()
                        .parse()
                        .ok()
                })
        })
    }

    /// Removes it once its last process has gone.
    pub(super) fn remove(mut self, deadline: Instant) {
        self.try_remove(deadline);
    }

    fn try_remove(&mut self, deadline: Instant) {
        for directory in self.directories.drain(..) {
            // The kernel takes a reaped process out a moment after its wait (EBUSY until then).
            while fs::remove_dir(&directory).is_err()
                && directory.exists()
                && Instant::now() < deadline
            {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.try_remove(Instant::now());
    }
}

/// Where a hierarchy is mounted: mountinfo lines, proc_pid_mountinfo(5).
fn mount_point(mounts: &str, fstype: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let matches = right.next()? == fstype
            && controller
                .is_none_or(|c| right.nth(1).is_some_and(|o| o.split(',').any(|o| o == c)));
        matches.then(|| left.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// This process's cgroup in a hierarchy: cgroups(7), /proc/PID/cgroup.
fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        match controller {
            Some(c) => names.split(',').any(|n| n == c).then_some(path),
            None => (number == "0").then_some(path),
        }
    })
}

/// Whether processes may be moved from one cgroup of v2 below this to another, and be limited.
fn offers_limits(place: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};

    let enabled = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
    let mut enabled = enabled.split_whitespace();
    let processes = place.join("cgroup.procs");
    enabled.any(|name| name == "memory" || name == "pids")
        && accessat(CWD, &processes, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// A cgroup for this suite at a place, if one can be made there.
fn group(place: &Path) -> Option<PathBuf> {
    sweep(place);
    let group = place.join(format!("{PREFIX}{}", std::process::id()));
    fs::create_dir(&group).ok()?;
    Some(group)
}

/// Removes what was left by suites whose keeper was killed as well.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        // One of another pid namespace may have a number that is free in this one.
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > STALE));
        if old && !Path::new(&format!("/proc/{pid}")).exists() {
            remove_group(&entry.path());
        }
    }
}

/// Removes a cgroup and those directly below it, unless a process is in one of them.
fn remove_group(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(below.path());
        }
    }
    let _ = fs::remove_dir(group);
}
