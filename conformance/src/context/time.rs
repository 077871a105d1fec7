//! Deadlines that a busy host does not shorten.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a process that waits for a processor is looked at when its time is up.
const LOOK: Duration = Duration::from_millis(5);

/// Longest that a deadline is put off for a process that never gets a processor.
const PATIENCE: Duration = Duration::from_secs(20);

/// Descendants that are looked at: more than a sandbox may have.
const DESCENDANTS: usize = 256;

/// Time in which a process could have acted: wall time less what its threads spent
/// runnable without a processor (/proc/PID/schedstat, in nanoseconds), unless its own
/// descendants had the processor meanwhile.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Instant,
    pid: i32,
    waited: Duration,
    /// What it and its descendants had run.
    ran: Duration,
    /// What it had used when its time first seemed to be up.
    at_limit: Cell<Option<Use>>,
}

/// What a process has had of the processors, all its threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    ran: u64,
    waited: u64,
    turns: u64,
    /// A thread has or awaits a processor.
    runnable: bool,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(pid: i32) -> Self {
        Self {
            started: Instant::now(),
            pid,
            waited: Duration::from_nanos(Use::of(pid).waited),
            ran: ran_by_all(pid),
            at_limit: Cell::new(None),
        }
    }

    /// Wall time since the start.
    pub fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the start that counts.
    pub fn elapsed(&self) -> Duration {
        let wall = self.wall();
        let waited = Duration::from_nanos(Use::of(self.pid).waited).saturating_sub(self.waited);
        let counted = wall.saturating_sub(waited);
        if waited < wall / 2 {
            return counted;
        }
        let ran = ran_by_all(self.pid).saturating_sub(self.ran);
        counted.max(ran).min(wall)
    }

    /// What is left of a limit. A wait for a processor counts only once it is over: where
    /// the time is up during one, a little more is left until that has ended.
    pub fn left(&self, limit: Duration) -> Duration {
        let left = limit.saturating_sub(self.elapsed());
        if !left.is_zero() || self.wall() > limit + PATIENCE {
            self.at_limit.set(None);
            return left;
        }
        let now = Use::of(self.pid);
        let first = self.at_limit.get().unwrap_or(now);
        // Kept: once it had its turn the time stays up, however often it waits again.
        self.at_limit.set(Some(first));
        if now.runnable && first == now {
            LOOK
        } else {
            Duration::ZERO
        }
    }
}

impl Use {
    /// Nothing for a process that has gone, and where the kernel keeps no such figures.
    fn of(pid: i32) -> Self {
        let mut sum = Self::default();
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return sum;
        };
        for task in tasks.flatten() {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name));
            let (Ok(schedstat), Ok(stat)) = (read("schedstat"), read("stat")) else {
                continue;
            };
            let mut figures = schedstat
                .split_ascii_whitespace()
                .map(|figure| figure.parse::<u64>().unwrap_or_default());
            let mut add = |to: &mut u64| *to += figures.next().unwrap_or_default();
            add(&mut sum.ran);
            add(&mut sum.waited);
            add(&mut sum.turns);
            // Behind the name, which may hold anything: proc_pid_stat(5).
            let state = stat.rsplit(") ").next().unwrap_or_default();
            sum.runnable |= state.starts_with('R');
        }
        sum
    }
}

/// How long the first threads of a process and of its living descendants have run.
fn ran_by_all(pid: i32) -> Duration {
    let mut all = vec![pid];
    let mut at = 0;
    let mut ran = 0_u64;
    while let Some(pid) = all.get(at).copied() {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/{name}"));
        let schedstat = read("schedstat").unwrap_or_default();
        let figure = schedstat.split_ascii_whitespace().next();
        ran = ran.saturating_add(figure.and_then(|it| it.parse().ok()).unwrap_or(0));
        let children = read("children").unwrap_or_default();
        let room = DESCENDANTS.saturating_sub(all.len());
        let children = children.split_ascii_whitespace();
        all.extend(
            children
                .filter_map(|child| child.parse::<i32>().ok())
                .take(room),
        );
        at += 1;
    }
    Duration::from_nanos(ran)
}
