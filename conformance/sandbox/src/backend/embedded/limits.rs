//! Resource limits of a program, for what no cgroup limits. Each counts for one sandbox
//! alone, and none is below what container engines give a container.

use std::io;

use procfs::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cgroup::{CROWD as CROWD_OF_PROCESSES, Group, MEMORY};
use super::ids::Mapping;
use crate::shortage::needs;

/// Private memory that one process may map, where no cgroup limits what it uses.
const DATA: u64 = 1 << 30;
/// The largest file that it may write, likewise.
const FILE_SIZE: u64 = 64 << 20;
/// Memory that it may lock: what systemd lets a container engine lock.
const LOCKED: u64 = 8 << 20;
/// Processes of its user where others run as that user as well: orphans that it is given.
const CROWD: u64 = 4096;
/// How many times more processes a spared program may have.
const SPARED: u64 = 8;

/// Processes and threads that a program may have: room for those of a run-time, of which
/// some have a few for each processor, and few enough that one which forks without end leaves
/// time to judge and end it.
pub(in crate::backend) fn processes() -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    32 + 4 * processors
}

/// What the child sets before exec.
#[derive(Debug, Default)]
pub(in crate::backend) struct ProgramLimits {
    limits: Vec<(Resource, Rlimit)>,
}

impl ProgramLimits {
    /// For a program in this cgroup, if it is in one; that is `spared` or not.
    pub(super) fn new(group: Option<&Group>, mapping: Mapping, spared: bool) -> Self {
        let mut wanted = vec![(Resource::Core, 0, 0), (Resource::Memlock, LOCKED, LOCKED)];
        if !group.is_some_and(Group::limits_memory) {
            if !spared {
                wanted.push((Resource::Data, DATA, DATA));
            }
            wanted.push((Resource::Fsize, FILE_SIZE, FILE_SIZE));
        }
        if !group.is_some_and(Group::limits_pids) {
            let soft = match mapping {
                // Of this user on the whole host.
                Mapping::Host => CROWD,
                _ if !is_counted_by_namespace() => CROWD,
                _ if spared => SPARED * processes(),
                _ => processes(),
            };
            wanted.push((Resource::Nproc, soft, CROWD));
        }
        let mut limits: Vec<_> = wanted
            .into_iter()
            .map(|(resource, soft, hard)| {
                let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
                let limit = Rlimit {
                    current: Some(soft.min(most)),
                    maximum: Some(hard.min(most)),
                };
                (resource, limit)
            })
            .collect();
        limits.push((Resource::Nofile, needs::program_descriptors()));
        Self { limits }
    }

    /// For one that an engine has started, in this cgroup, if it limits anything. What is lower there
    /// already stays so.
    #[cfg(feature = "engines")]
    pub(in crate::backend) fn set_for(pid: i32, group: &Group, spared: bool) {
        let pid = rustix::process::Pid::from_raw(pid);
        let own = Self::new(Some(group), Mapping::Host, spared);
        for (resource, limit) in own.limits {
            if [Resource::Data, Resource::Fsize, Resource::Nproc].contains(&resource) {
                // It may have ended.
                let _ = rustix::process::prlimit(pid, resource, limit);
            }
        }
    }

    /// In the child.
    pub(super) fn set(&self) -> io::Result<()> {
        self.limits
            .iter()
            .try_for_each(|(resource, limit)| Ok(setrlimit(*resource, *limit)?))
    }
}

/// Whether processes of a user are counted for each user namespace alone, as from Linux 5.14 on.
fn is_counted_by_namespace() -> bool {
    kernel_at_least(5, 14)
}

/// Whether a program in this cgroup, if it is in one, has limits that do not report which process
/// they refused.
pub(in crate::backend) fn are_silent(group: Option<&Group>) -> bool {
    !group.is_some_and(|group| group.limits_memory() && group.limits_pids())
}

/// Whether such a limit may have refused a program something that its run-time wanted: one
/// that runs, with few threads and little memory, it cannot have; and many processes, or much
/// memory in use, are no run-time's.
pub(in crate::backend) fn may_have_refused(pid: i32) -> bool {
    let status = Process::new(pid).and_then(|process| process.status());
    let Ok(status) = status else { return true };
    // In KiB, proc_pid_status(5); none of one that is on its way out.
    let bytes = |field: Option<u64>| field.map(|kib| kib << 10);
    let (Some(mapped), Some(used)) = (bytes(status.vmpeak), bytes(status.vmhwm)) else {
        return true;
    };
    let is_near = status.threads > processes() / 2 || mapped > DATA / 2;
    is_near && used < MEMORY && children_of(pid) <= CROWD_OF_PROCESSES
}

/// The most bytes that were resident of a process that runs.
pub(in crate::backend) fn memory_peak(pid: i32) -> Option<u64> {
    let status = Process::new(pid).and_then(|process| process.status());
    Some(status.ok()?.vmhwm? << 10)
}

fn children_of(pid: i32) -> usize {
    let process = Process::new(pid).and_then(|process| process.tasks());
    let tasks = process.into_iter().flatten().flatten();
    tasks
        .filter_map(|task| Some(task.children().ok()?.len()))
        .sum()
}

/// Bounds a resource, unless the suite's own hard limit is less: only root may raise that
/// (getrlimit(2)).
pub(in crate::backend) fn limit(resource: Resource, bound: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum;
    let bound = Some(hard.map_or(bound, |hard| hard.min(bound)));
    let limit = Rlimit {
        current: bound,
        maximum: bound,
    };
    Ok(setrlimit(resource, limit)?)
}

/// Raises a program's limit where other processes of its user join its sandbox, and only a limit
/// per user exists.
pub(super) fn make_room_for_others(pid: i32) {
    // As the program's hard limit was set.
    let most = getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
    let crowd = Rlimit {
        current: Some(CROWD.min(most)),
        maximum: Some(CROWD.min(most)),
    };
    // It may have ended, or lowered the limit for good.
    let _ = rustix::process::prlimit(rustix::process::Pid::from_raw(pid), Resource::Nproc, crowd);
}

/// Whether the running kernel is of this version or newer.
pub(super) fn kernel_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(a)), Some(Ok(b))) => (a, b) >= (major, minor),
        _ => false,
    }
}
