//! Limits by cgroup, v1 or v2, where the caller may make one; a limit that the host refuses is
//! reported. Each sandbox has a cgroup of its own with bounds that no sound pause
//! reaches: one that reaches them leaves the others alone.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

mod group;
mod lease;

pub(super) use group::CROWD;
pub(in crate::backend) use group::{Group, Limit};

use crate::shortage::groups::{self, Count, Place, Version};
use crate::shortage::{Counters, Shortage, needs};
use group::Limits;
use lease::Lease;

/// Memory for one sandbox, in bytes: for programs of 200 MiB, and an emulator.
pub(in crate::backend) const MEMORY: u64 = 512 << 20;
/// The cgroup, below a suite's, of the suite's own helpers and of what they make in sandboxes: a
/// program does not share its limits with the orphans that it is given.
const ALL: &str = "all";
/// How long a cgroup whose processes were reaped may stay busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// This suite's own cgroups, by controller; below them those of its sandboxes.
#[derive(Debug)]
pub(super) struct Cgroups {
    version: Version,
    memory: Option<Arc<Lease>>,
    pids: Option<Arc<Lease>>,
    /// That of [`ALL`].
    all: Option<Group>,
    made: AtomicU32,
    free: Arc<Free>,
    /// For one sandbox, where nothing else is asked for.
    usual: Limits,
    /// Of the suite's own cgroups: that of memory, and those that limit its processes.
    own: (Option<Count>, Vec<Count>),
}

/// Where memory is limited, and where processes.
type Leases = (Option<Arc<Lease>>, Option<Arc<Lease>>);

/// Cgroups whose sandbox is gone, to be used again: making one takes a tenth of the time of a
/// sandbox.
type Free = Mutex<Vec<Group>>;

/// A sandbox's hold on its cgroup.
#[derive(Debug)]
pub(super) struct Held {
    group: Option<Group>,
    free: Arc<Free>,
    /// Its limits are judged: they are not those of other sandboxes.
    pub(super) judged: bool,
}

impl Cgroups {
    /// Looks for a place, makes the suite's cgroup there, and removes what suites that
    /// were killed have left. `processes` is the limit of one sandbox.
    pub(super) fn detect(processes: u64) -> Self {
        let v1 = |controller: &str| {
            let place = Place::of(controller).filter(|place| place.version == Version::V1)?;
            Lease::take(&place.directory).map(Arc::new)
        };
        let (memory, pids) = (v1("memory"), v1("pids"));
        let (version, memory, pids) = if memory.is_some() || pids.is_some() {
            (Version::V1, memory, pids)
        } else {
            let (memory, pids) = detect_v2().unwrap_or_default();
            (Version::V2, memory, pids)
        };
        let own = |controller: &str| Place::of(controller);
        let upwards = |place: Place| place.upwards().map(Count::of_refused).collect();
        let mut found = Self {
            version,
            memory,
            pids,
            all: None,
            made: AtomicU32::new(0),
            free: Arc::default(),
            usual: Limits {
                memory: MEMORY,
                pids: processes,
            },
            own: (
                own("memory").map(|place| Count::of_killed(&place.directory)),
                own("pids").map(upwards).unwrap_or_default(),
            ),
        };
        found.bound();
        found
    }

    /// Makes [`ALL`], and limits the whole by what the host can spare; where that fails, nothing
    /// can be limited.
    fn bound(&mut self) {
        if let (Some(memory), Some(bound)) = (&self.memory, needs::spare_memory()) {
            let file = groups::memory_limit_file(self.version);
            // If that fails, only the host's own limits hold.
            let _ = fs::write(memory.directory().join(file), bound.to_string());
        }
        let unlimited = Limits {
            memory: u64::MAX >> 1,
            pids: MOST_PIDS,
        };
        self.all = self.make(ALL, unlimited).ok();
        if self.all.is_none() {
            self.remove();
            (self.memory, self.pids) = (None, None);
        }
    }

    fn make(&self, name: &str, limits: Limits) -> io::Result<Group> {
        let memory = self.memory.as_deref().map(Lease::directory);
        let pids = self.pids.as_deref().map(Lease::directory);
        Group::make(self.version, memory, pids, name, limits)
    }

    fn leases(&self) -> impl Iterator<Item = &Lease> {
        let memory = self.memory.as_ref();
        let same = |pids: &&Arc<Lease>| memory.is_some_and(|memory| Arc::ptr_eq(memory, pids));
        let pids = self.pids.as_ref().filter(|pids| !same(pids));
        memory.into_iter().chain(pids).map(|lease| &**lease)
    }

    /// The cgroups to remove in the end, with those directly below.
    pub(super) fn groups(&self) -> Vec<PathBuf> {
        self.leases()
            .map(|lease| lease.directory().to_owned())
            .collect()
    }

    /// The locks that keep other suites from removing them before.
    pub(super) fn locks(&self) -> Vec<BorrowedFd<'_>> {
        self.leases().map(Lease::lock).collect()
    }

    /// Removes them, where there is no sandbox init to do it.
    pub(super) fn remove(&self) {
        for group in self.groups() {
            lease::remove(&group);
        }
    }

    /// From now on this thread's children are charged to [`ALL`]. Only v1 has cgroups
    /// of threads.
    pub(super) fn adopt_thread(&self) -> io::Result<()> {
        match (&self.all, self.version) {
            (Some(all), Version::V1) => all.join(),
            _ => Ok(()),
        }
    }

    /// The same for the calling process and its children, on v2.
    pub(super) fn join_all(&self) -> io::Result<()> {
        match (&self.all, self.version) {
            (Some(all), Version::V2) => all.join(),
            _ => Ok(()),
        }
    }

    /// What was killed and refused so far outside the sandboxes' own cgroups.
    pub(super) fn counters(&self) -> Counters {
        let (memory, pids) = &self.own;
        let (killed, refused) = self.all.as_ref().map(Group::counts).unwrap_or_default();
        let own = memory.as_ref().and_then(Count::now);
        let killed: Vec<u64> = own.into_iter().chain(killed).collect();
        Counters {
            killed: (!killed.is_empty()).then(|| killed.iter().sum()),
            refused: pids.iter().filter_map(Count::now).chain(refused).sum(),
        }
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

    /// A cgroup for a sandbox, with these limits where some are asked for; `None` where none can be
    /// made and none is asked for.
    pub(super) fn take(&self, memory: Option<u64>, pids: Option<u32>) -> io::Result<Option<Held>> {
        let refuse = |asked: bool, lease: &Option<Arc<Lease>>| asked && lease.is_none();
        if refuse(memory.is_some(), &self.memory) || refuse(pids.is_some(), &self.pids) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if self.memory.is_none() && self.pids.is_none() {
            return Ok(None);
        }
        let judged = memory.is_some() || pids.is_some();
        let limits = Limits {
            memory: memory.unwrap_or(self.usual.memory),
            pids: pids.map_or(self.usual.pids, u64::from),
        };
        // A list has no invariant that a panic could have broken.
        let lock = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (!judged).then(|| lock().pop()).flatten();
        let group = if let Some(group) = free {
            group
        } else {
            let name = self.made.fetch_add(1, Ordering::Relaxed).to_string();
            self.make(&name, limits)?
        };
        Ok(Some(Held {
            group: Some(group),
            free: Arc::clone(&self.free),
            judged,
        }))
    }
}

/// What ran short in a sandbox with this cgroup. `judged`: its limits are what a check asked for.
/// `by_another`: process 1 was killed, and the suite did not do that. `peak`: the most bytes that
/// were resident.
pub(in crate::backend) fn shortage(
    group: Option<&Group>,
    judged: bool,
    by_another: bool,
    peak: impl Fn() -> u64,
) -> Option<Shortage> {
    // The effect of a limit that is judged is what the check asked for.
    match group.and_then(Group::killed) {
        Some(Limit::Own(_)) if judged => return None,
        Some(Limit::Own(limit)) => return Some(Shortage::Memory(Some(limit))),
        Some(Limit::Above) => return Some(Shortage::Memory(None)),
        // The kernel would have ended it there.
        None if !group.is_some_and(Group::limits_memory) && peak() >= MEMORY => {
            return Some(Shortage::Memory(Some(MEMORY)));
        }
        None => {}
    }
    // PID 1 takes no SIGKILL from its own namespace (pid_namespaces(7)); another process may have
    // had it from a neighbour, or from itself.
    if by_another && !judged {
        return Some(Shortage::Killed);
    }
    match group.and_then(Group::refused) {
        Some(Limit::Own(_)) if judged => None,
        Some(Limit::Own(limit)) => Some(Shortage::Processes(Some(limit))),
        Some(Limit::Above) => Some(Shortage::Processes(None)),
        None => None,
    }
}

/// Processes for all that is not limited: what a kernel can number (`PID_MAX_LIMIT`).
const MOST_PIDS: u64 = 1 << 22;

impl Held {
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else {
            return;
        };
        if !self.judged && group.is_untouched() {
            self.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(group);
        } else {
            group.remove(Instant::now() + PATIENCE);
        }
    }
}

/// Below the suite's own cgroup, or beside it: one that holds processes limits none below
/// itself (cgroups(7), "no internal processes").
fn detect_v2() -> Option<Leases> {
    let own = Place::of_v2()?;
    let place = own.upwards().take(2).find(|place| offers_limits(place))?;
    let lease = Arc::new(Lease::take(place)?);
    let enable = |name: &str| {
        let line = format!("+{name}");
        fs::write(lease.directory().join("cgroup.subtree_control"), line)
            .ok()
            .map(|()| Arc::clone(&lease))
    };
    let (memory, pids) = (enable("memory"), enable("pids"));
    if memory.is_none() && pids.is_none() {
        lease::remove(lease.directory());
    }
    Some((memory, pids))
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
