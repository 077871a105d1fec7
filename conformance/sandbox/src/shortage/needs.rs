//! What a run needs of the host, looked at once before anything is judged; soft limits are raised,
//! and what is too little is reported with the figure.

use std::fs;
use std::sync::OnceLock;

pub use pause_image::disk::mebibytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::groups::{self, Place};

/// Without this much memory nothing can be judged, in bytes: the suite alone.
const LEAST_MEMORY: u64 = 48 << 20;
/// What all checks of a small program need.
const MEMORY: u64 = 100 << 20;
/// What one check more at a time needs of it.
const MEMORY_A_CHECK: u64 = 64 << 20;
/// With fewer processes and threads nothing can be judged.
const LEAST_PROCESSES: u64 = 128;
/// What all checks need: the largest crowd of orphans, and the rest beside it.
const PROCESSES: u64 = 2200;
/// What one check more at a time needs of it.
const PROCESSES_A_CHECK: u64 = 64;
/// With fewer descriptors nothing can be judged.
const LEAST_DESCRIPTORS: u64 = 192;
/// What one check more at a time needs of it.
const DESCRIPTORS_A_CHECK: u64 = 64;
/// A process that may map so much is refused nothing that a run-time asks for.
const MAPPED: u64 = 16 << 30;
/// A host with more memory than this is kept from giving all of it to sandboxes.
const LARGE: u64 = 2 << 30;
/// The descriptor limit of a program: what a container engine would give it, not what the suite
/// took.
const PROGRAM_DESCRIPTORS: u64 = 1024;

/// What there is too little of, in a line, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TooLittle {
    message: String,
    /// What the user can do.
    pub hint: &'static str,
}

/// What a run may still use; `None` where nothing limits it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes.
    memory: Option<u64>,
    /// Processes and threads.
    processes: Option<u64>,
    /// Open files of the suite itself, beside those that it was started with.
    descriptors: Option<u64>,
}

impl Room {
    /// Raises soft limits to hard ones, and looks at what there is.
    pub fn find() -> Self {
        Self {
            memory: available_memory(),
            processes: processes_left(),
            descriptors: raise(Resource::Nofile)
                .map(|limit| limit.saturating_sub(inherited_descriptors())),
        }
    }

    /// Whether anything can be judged at all.
    ///
    /// # Errors
    /// [`TooLittle`] names what is missing.
    pub fn suffices(&self) -> Result<(), TooLittle> {
        let short = |have: Option<u64>, least: u64| have.filter(|have| *have < least);
        if let Some(have) = short(self.memory, LEAST_MEMORY) {
            return Err(TooLittle {
                message: format!(
                    "too little memory: {} may be used here, a run needs about {}",
                    mebibytes(have),
                    mebibytes(MEMORY)
                ),
                hint: "raise the memory limit of this cgroup or container, or end other programs",
            });
        }
        if let Some(have) = short(self.processes, LEAST_PROCESSES) {
            return Err(TooLittle {
                message: format!(
                    "too few processes: {have} may be started here, a run needs about {PROCESSES} and at least {LEAST_PROCESSES}"
                ),
                hint: "raise pids.max of this cgroup (docker run --pids-limit), or ulimit -u",
            });
        }
        if let Some(have) = short(self.descriptors, LEAST_DESCRIPTORS) {
            return Err(TooLittle {
                message: format!(
                    "too few descriptors: {have} more may be open at a time, a run needs at least {LEAST_DESCRIPTORS}"
                ),
                hint: "raise the hard limit (ulimit -Hn), or hand the suite fewer open files",
            });
        }
        Ok(())
    }

    /// How many of these checks may run at the same time.
    pub fn checks(&self, wanted: usize) -> usize {
        let fits = |have: Option<u64>, least: u64, each: u64| {
            have.map_or(u64::MAX, |have| have.saturating_sub(least) / each)
        };
        let most = fits(self.memory, MEMORY, MEMORY_A_CHECK)
            .min(fits(self.processes, LEAST_PROCESSES, PROCESSES_A_CHECK))
            .min(fits(
                self.descriptors,
                LEAST_DESCRIPTORS,
                DESCRIPTORS_A_CHECK,
            ));
        wanted
            .min(usize::try_from(most).unwrap_or(usize::MAX))
            .max(1)
    }
}

/// Raises a soft limit to the hard one; what holds then, where anything does.
fn raise(resource: Resource) -> Option<u64> {
    let limit = getrlimit(resource);
    if matches!(resource, Resource::Nofile) {
        let _ = DESCRIPTORS.set(limit);
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    match setrlimit(resource, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Open files, but for the three of every program and the one that is opened to see them.
fn inherited_descriptors() -> u64 {
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    u64::try_from(open.saturating_sub(4)).unwrap_or(u64::MAX)
}

/// The limit on descriptors before it was raised.
static DESCRIPTORS: OnceLock<Rlimit> = OnceLock::new();

/// The limit on descriptors that a program in a sandbox gets: the same on every host, and
/// nothing for a run-time to raise.
pub fn program_descriptors() -> Rlimit {
    let limit = *DESCRIPTORS.get_or_init(|| getrlimit(Resource::Nofile));
    let most = limit.maximum.unwrap_or(u64::MAX);
    let limit = Some(PROGRAM_DESCRIPTORS.min(most));
    Rlimit {
        current: limit,
        maximum: limit,
    }
}

/// Bytes for all sandboxes together, where the host has much: the rest is others'.
pub fn spare_memory() -> Option<u64> {
    available_memory()
        .filter(|available| *available > LARGE)
        .map(|available| available / 4 * 3)
}

/// Bytes that can still be used: by the host, and by each limit that can be seen.
fn available_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let host = kibibytes(&text, "MemAvailable:");
    let place = Place::of("memory");
    let limits = place.iter().flat_map(Place::upwards).filter_map(|at| {
        let limit = groups::memory_limit(at)?;
        Some(limit.saturating_sub(groups::memory_used(at).unwrap_or(0)))
    });
    limits.chain(host).min()
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let number = line.strip_prefix(name)?.trim().strip_suffix("kB")?;
        Some(number.trim().parse::<u64>().ok()? << 10)
    })
}

/// Processes and threads that can still be started, by each limit that can be seen.
fn processes_left() -> Option<u64> {
    let place = Place::of("pids");
    let limits = place.iter().flat_map(Place::upwards).filter_map(|at| {
        let limit = groups::pids_limit(at)?;
        Some(limit.saturating_sub(groups::pids_used(at).unwrap_or(0)))
    });
    // Those of root are not counted (setrlimit(2), RLIMIT_NPROC).
    let user = raise(Resource::Nproc).filter(|_| !rustix::process::geteuid().is_root());
    let user = user.map(|limit| limit.saturating_sub(threads_of_user()));
    limits.chain(user).min()
}

/// Threads of this user, as far as they can be seen.
fn threads_of_user() -> u64 {
    let own = rustix::process::getuid().as_raw().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let threads = processes.filter_map(|process| {
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let is_own = field("Uid:")?.split_whitespace().next()? == own;
        is_own.then(|| field("Threads:")?.trim().parse::<u64>().ok())?
    });
    threads.sum()
}

/// What the host gives this user too little of, where no counter tells which process was refused.
pub fn short_by_user() -> Option<String> {
    let mapped = [Resource::Data, Resource::As].map(|resource| getrlimit(resource).current);
    if let Some(most) = mapped
        .into_iter()
        .flatten()
        .min()
        .filter(|most| *most < MAPPED)
    {
        let most = mebibytes(most);
        return Some(format!("this host lets a process map no more than {most}"));
    }
    let user = getrlimit(Resource::Nproc).current;
    let user = user.filter(|_| !rustix::process::geteuid().is_root());
    let is_short = user.is_some_and(|limit| limit < PROCESSES + threads_of_user());
    is_short.then(out_of_processes)
}

/// Says so, with the limit.
pub fn out_of_memory() -> String {
    let place = Place::of("memory");
    let limits = place.iter().flat_map(Place::upwards);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let limit = limits
        .filter_map(groups::memory_limit)
        .chain(kibibytes(&text, "MemTotal:"))
        .min();
    let limit = limit.map_or_else(String::new, |limit| {
        format!(
            ": limit {}, a run needs about {}",
            mebibytes(limit),
            mebibytes(MEMORY)
        )
    });
    format!("this host ran out of memory{limit}")
}

/// Says so, with the limit.
pub fn out_of_processes() -> String {
    let place = Place::of("pids");
    let limits = place.iter().flat_map(Place::upwards);
    let user = getrlimit(Resource::Nproc)
        .current
        .filter(|_| !rustix::process::geteuid().is_root());
    let limit = limits.filter_map(groups::pids_limit).chain(user).min();
    let limit = limit.map_or_else(String::new, |limit| {
        format!(": limit {limit}, a run needs about {PROCESSES}")
    });
    format!("this host allows too few processes{limit}")
}

/// Says so, with the limit.
pub fn out_of_descriptors() -> String {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(String::new, |limit| format!(": limit {limit}"));
    format!("this host allows too few descriptors{limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: Room = Room {
        memory: None,
        processes: None,
        descriptors: None,
    };

    #[test]
    fn what_is_too_little_is_one_line_with_the_number() {
        assert!(MUCH.suffices().is_ok());
        for (room, number) in [
            (
                Room {
                    memory: Some(32 << 20),
                    ..MUCH
                },
                "32 MiB",
            ),
            (
                Room {
                    processes: Some(48),
                    ..MUCH
                },
                "48 may be started",
            ),
            (
                Room {
                    descriptors: Some(64),
                    ..MUCH
                },
                "64 more may be open",
            ),
        ] {
            let error = room.suffices().expect_err("it is too little");
            let line = error.to_string();
            assert!(line.contains(number) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn fewer_checks_run_at_a_time_where_there_is_little() {
        assert_eq!(MUCH.checks(8), 8);
        let room = Room {
            memory: Some(MEMORY + 2 * MEMORY_A_CHECK),
            ..MUCH
        };
        assert_eq!(room.checks(8), 2);
        assert_eq!(
            Room {
                memory: Some(MEMORY),
                ..MUCH
            }
            .checks(8),
            1
        );
        assert_eq!(
            Room {
                processes: Some(LEAST_PROCESSES),
                ..MUCH
            }
            .checks(8),
            1
        );
        assert_eq!(
            Room {
                descriptors: Some(LEAST_DESCRIPTORS),
                ..MUCH
            }
            .checks(8),
            1
        );
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        let text = "MemTotal:       24683648 kB\nMemAvailable:   23500000 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(23_500_000 << 10));
        assert_eq!(kibibytes(text, "SwapTotal:"), None);
    }
}
