//! One sandbox's cgroup: its limits, its members, and what was killed or refused there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::shortage::groups::{self, Count, Version};

/// Processes of its own that no sound pause has. The threads of a run-time are not counted.
pub(in crate::backend) const CROWD: usize = 8;

/// What a sandbox may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) memory: u64,
    pub(super) pids: u64,
}

/// On v1 a directory for each controller, on v2 one.
#[derive(Debug)]
pub(in crate::backend) struct Group {
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    /// What was killed there.
    kills: Option<Count>,
    /// What was refused there.
    refusals: Option<Count>,
    /// The file that moves a process in; kept open for processes that do not see its path.
    doors: Vec<File>,
    limits: Limits,
}

impl Group {
    /// Makes it, as far as there is something to make it in.
    pub(super) fn make(
        version: Version,
        memory: Option<&Path>,
        pids: Option<&Path>,
        name: &str,
        limits: Limits,
    ) -> io::Result<Self> {
        let below = |above: &Path| above.join(name);
        let mut group = Self::of(memory.map(below), pids.map(below), limits);
        for directory in group.directories() {
            fs::create_dir(directory)?;
        }
        if let Some(memory) = &group.memory {
            let file = memory.join(groups::memory_limit_file(version));
            fs::write(file, limits.memory.to_string())?;
        }
        if let Some(pids) = &group.pids {
            fs::write(pids.join("pids.max"), limits.pids.to_string())?;
        }
        let door = match version {
            // A single thread moves without waiting for all others (cgroup-v1, "tasks").
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        };
        let open = |directory: &Path| File::options().write(true).open(directory.join(door));
        group.doors = group.directories().map(open).collect::<Result<_, _>>()?;
        Ok(group)
    }

    fn of(memory: Option<PathBuf>, pids: Option<PathBuf>, limits: Limits) -> Self {
        Self {
            kills: memory.as_deref().map(Count::of_killed),
            refusals: pids.as_deref().map(Count::of_refused),
            memory,
            pids,
            doors: Vec::new(),
            limits,
        }
    }

    /// One that a container runtime has made, with these limits.
    pub(in crate::backend) fn found(
        memory: Option<PathBuf>,
        pids: Option<PathBuf>,
        limits: (u64, u64),
    ) -> Self {
        let there = |directory: &PathBuf| directory.is_dir();
        let limits = Limits {
            memory: limits.0,
            pids: limits.1,
        };
        Self::of(memory.filter(there), pids.filter(there), limits)
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        let memory = self.memory.as_deref();
        let pids = self.pids.as_deref().filter(|pids| memory != Some(pids));
        memory.into_iter().chain(pids)
    }

    /// Moves the calling thread in. Does not allocate.
    pub(in crate::backend) fn join(&self) -> io::Result<()> {
        self.doors
            .iter()
            .try_for_each(|door| Ok(rustix::io::write(door, b"0").map(drop)?))
    }

    /// Moves a process in.
    pub(in crate::backend) fn add(&self, pid: i32) -> io::Result<()> {
        self.directories()
            .try_for_each(|directory| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }

    /// Whether it limits memory.
    pub(in crate::backend) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether it limits processes.
    pub(in crate::backend) fn limits_pids(&self) -> bool {
        self.pids.is_some()
    }

    /// The most memory it ever used, in bytes.
    pub(in crate::backend) fn memory_peak(&self) -> Option<u64> {
        groups::memory_peak(self.memory.as_deref()?)
    }

    /// How many were killed in it, and how many refused, where it tells.
    pub(super) fn counts(&self) -> (Option<u64>, Option<u64>) {
        let now = |count: &Option<Count>| count.as_ref().and_then(Count::now);
        (now(&self.kills), now(&self.refusals))
    }

    /// Whether nothing was killed or refused in it.
    pub(super) fn is_untouched(&self) -> bool {
        let (killed, refused) = self.counts();
        killed.unwrap_or_default() == 0 && refused.unwrap_or_default() == 0
    }

    /// Whether the OOM killer killed in it, and whether for its own limit.
    pub(in crate::backend) fn killed(&self) -> Option<Limit> {
        let memory = self.memory.as_deref()?;
        let killed = self.kills.as_ref()?.now()? > 0;
        killed.then(|| {
            if groups::reached_its_memory_limit(memory) {
                Limit::Own(self.limits.memory)
            } else {
                Limit::Above
            }
        })
    }

    /// Whether it was refused a process or thread that the program may have needed: no sound
    /// program needs many.
    pub(in crate::backend) fn refused(&self) -> Option<Limit> {
        let pids = self.pids.as_deref()?;
        if self.refusals.as_ref()?.now()? == 0 {
            return None;
        }
        let processes = fs::read_to_string(pids.join("cgroup.procs")).unwrap_or_default();
        if processes.lines().count() > CROWD {
            return None;
        }
        let above = pids.parent().and_then(Path::parent);
        let full = |directory: &Path| {
            let (limit, used) = (groups::pids_limit(directory), groups::pids_used(directory));
            matches!((limit, used), (Some(limit), Some(used)) if used >= limit.saturating_sub(limit / 8))
        };
        let above = above.is_some_and(|above| above.ancestors().any(full));
        Some(if above {
            Limit::Above
        } else {
            Limit::Own(self.limits.pids)
        })
    }

    /// Removes it once its last process has gone.
    pub(super) fn remove(self, deadline: Instant) {
        for directory in self.directories() {
            // The kernel takes a reaped process out a moment after its wait (EBUSY until then).
            while fs::remove_dir(directory).is_err()
                && directory.exists()
                && Instant::now() < deadline
            {
                std::thread::yield_now();
            }
        }
    }
}

/// Whose limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Limit {
    /// The sandbox's own.
    Own(u64),
    /// One of the suite's, or the host's.
    Above,
}
