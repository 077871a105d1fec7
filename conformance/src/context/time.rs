//! Deadlines that a busy host does not shorten.

use std::time::{Duration, Instant};

/// Time in which a process could have acted: wall time less what it spent runnable
/// without a processor (/proc/PID/schedstat, second figure, in nanoseconds).
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    pid: i32,
    waited: Duration,
}

impl Stopwatch {
    /// Starts now.
    pub fn start(pid: i32) -> Self {
        Self {
            started: Instant::now(),
            pid,
            waited: run_delay(pid),
        }
    }

    /// Wall time since the start.
    pub fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the start that counts.
    pub fn elapsed(&self) -> Duration {
        let waited = run_delay(self.pid).saturating_sub(self.waited);
        self.wall().saturating_sub(waited)
    }

    /// What is left of a limit.
    pub fn left(&self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }
}

/// Zero for a process that has gone, and where the kernel keeps no such figure.
fn run_delay(pid: i32) -> Duration {
    std::fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}
