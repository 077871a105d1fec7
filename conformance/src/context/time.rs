//! Deadlines that a busy host does not shorten.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often a process that waits for a processor is looked at when its time is up.
const LOOK: Duration = Duration::from_millis(5);

/// Longest that a deadline is put off for a process that never gets a processor.
const PATIENCE: Duration = Duration::from_secs(20);

/// Descendants that are looked at: more than a sandbox may have.
const DESCENDANTS: usize = 256;

/// Time in which a process could have acted: wall time less what its threads spent
/// runnable without a processor (/proc/PID/task/TID/schedstat, in nanoseconds), unless
/// another of its threads, or a descendant of its own, had the processor meanwhile.
///
/// The kernel gives sums, not intervals, so both parts are bounds, and the time that
/// counts is never more than what it had: all waits added up are at least the time in which
/// every runnable thread waited; the longest run of one thread, and all runs divided by the
/// processors, are at most the time in which one of them ran.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Instant,
    pid: i32,
    threads: RefCell<Threads>,
    /// What it and its descendants had run.
    ran: Runs,
    /// Its threads when its time first seemed to be up.
    at_limit: RefCell<Option<HashMap<i32, Use>>>,
}

/// What a thread has had of the processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Use {
    ran: u64,
    waited: u64,
    turns: u64,
    /// It has or awaits a processor.
    runnable: bool,
}

/// How long the threads of a process have waited since a moment, those that ended too.
#[derive(Clone, Debug, Default)]
struct Threads {
    /// At that moment, by thread; nothing for one that came later.
    before: HashMap<i32, u64>,
    /// When each was last looked at.
    last: HashMap<i32, u64>,
}

/// How long threads have run, by thread.
type Runs = HashMap<i32, u64>;

impl Stopwatch {
    /// Starts now.
    pub fn start(pid: i32) -> Self {
        Self {
            started: Instant::now(),
            pid,
            threads: RefCell::new(Threads {
                before: waits(&threads(pid)),
                last: HashMap::new(),
            }),
            ran: runs_of_all(pid),
            at_limit: RefCell::new(None),
        }
    }

    /// Wall time since the start.
    pub fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the start that counts.
    pub fn elapsed(&self) -> Duration {
        self.counted(&threads(self.pid))
    }

    fn counted(&self, now: &HashMap<i32, Use>) -> Duration {
        let wall = self.wall();
        let waited = Duration::from_nanos(self.threads.borrow_mut().waited(waits(now)));
        let counted = wall.saturating_sub(waited);
        if waited < wall / 2 {
            return counted;
        }
        let ran = least_run(&self.ran, &runs_of_all(self.pid), processors());
        counted.max(Duration::from_nanos(ran)).min(wall)
    }

    /// What is left of a limit. A wait for a processor counts only once it is over: where
    /// the time is up during one, a little more is left until that has ended.
    pub fn left(&self, limit: Duration) -> Duration {
        let now = threads(self.pid);
        let left = limit.saturating_sub(self.counted(&now));
        if !left.is_zero() || self.wall() > limit + PATIENCE {
            self.at_limit.replace(None);
            return left;
        }
        let mut at_limit = self.at_limit.borrow_mut();
        // Kept: once each had its turn the time stays up, however often one waits again.
        let first = at_limit.get_or_insert_with(|| now.clone());
        let waits_since =
            |(thread, then): (&i32, &Use)| then.runnable && now.get(thread) == Some(then);
        if first.iter().any(waits_since) {
            LOOK
        } else {
            Duration::ZERO
        }
    }
}

impl Threads {
    /// All waits together, given those of the threads that are there now.
    fn waited(&mut self, now: HashMap<i32, u64>) -> u64 {
        self.last.extend(now);
        let since = |(thread, waited): (&i32, &u64)| {
            waited.saturating_sub(self.before.get(thread).copied().unwrap_or_default())
        };
        self.last.iter().map(since).sum()
    }
}

/// The least time in which one of these threads ran, as far as their sums tell.
fn least_run(before: &Runs, now: &Runs, processors: u64) -> u64 {
    let since = |(thread, ran): (&i32, &u64)| {
        ran.saturating_sub(before.get(thread).copied().unwrap_or_default())
    };
    let longest = now.iter().map(since).max().unwrap_or_default();
    let all: u64 = now.iter().map(since).sum();
    longest.max(all / processors.max(1))
}

/// Those that the suite may use; what it starts may use no others.
fn processors() -> u64 {
    std::thread::available_parallelism().map_or(1, |number| number.get() as u64)
}

fn waits(threads: &HashMap<i32, Use>) -> HashMap<i32, u64> {
    let waited = |(thread, it): (&i32, &Use)| (*thread, it.waited);
    threads.iter().map(waited).collect()
}

/// None for a process that has gone, and where the kernel keeps no such figures.
fn threads(pid: i32) -> HashMap<i32, Use> {
    let use_of = |thread: i32| Some((thread, Use::of(pid, thread)?));
    thread_ids(pid).filter_map(use_of).collect()
}

fn thread_ids(pid: i32) -> impl Iterator<Item = i32> {
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
}

impl Use {
    /// Nothing for a thread that has ended.
    fn of(pid: i32, thread: i32) -> Option<Self> {
        let read = |name| std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}")).ok();
        let (schedstat, stat) = (read("schedstat")?, read("stat")?);
        let mut figures = schedstat
            .split_ascii_whitespace()
            .map(|figure| figure.parse::<u64>().unwrap_or_default());
        let mut figure = || figures.next().unwrap_or_default();
        Some(Self {
            ran: figure(),
            waited: figure(),
            turns: figure(),
            // Behind the name, which may hold anything: proc_pid_stat(5).
            runnable: stat.rsplit(") ").next()?.starts_with('R'),
        })
    }
}

/// How long the threads of a process and of its living descendants have run.
fn runs_of_all(pid: i32) -> Runs {
    let mut all = vec![pid];
    let mut at = 0;
    let mut runs = Runs::new();
    while let Some(pid) = all.get(at).copied() {
        for thread in thread_ids(pid) {
            let read = |name| {
                std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}"))
                    .unwrap_or_default()
            };
            let schedstat = read("schedstat");
            let figure = schedstat.split_ascii_whitespace().next();
            let ran = figure.and_then(|it| it.parse().ok()).unwrap_or_default();
            runs.insert(thread, ran);
            let children = read("children");
            let room = DESCENDANTS.saturating_sub(all.len());
            let children = children.split_ascii_whitespace();
            all.extend(
                children
                    .filter_map(|child| child.parse::<i32>().ok())
                    .take(room),
            );
        }
        at += 1;
    }
    runs
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::two_that_share_one_processor(&[(1, 500), (2, 500)], 1, 1000)]
    #[case::two_side_by_side(&[(1, 500), (2, 500)], 2, 500)]
    #[case::four_that_share_two(&[(1, 500), (2, 500), (3, 500), (4, 500)], 2, 1000)]
    #[case::one_of_three(&[(1, 900), (2, 10), (3, 10)], 4, 900)]
    #[case::none(&[], 2, 0)]
    fn what_ran_is_never_more_than_the_time_in_which_one_ran(
        #[case] runs: &[(i32, u64)],
        #[case] processors: u64,
        #[case] least: u64,
    ) {
        let before = Runs::from([(1, 7)]);
        let mut now = Runs::new();
        for (thread, ran) in runs {
            let since = before.get(thread).copied().unwrap_or_default();
            now.insert(*thread, since + ran);
        }
        assert_eq!(least_run(&before, &now, processors), least);
    }

    #[test]
    fn the_waits_of_a_thread_count_when_it_has_ended() {
        let mut threads = Threads {
            before: HashMap::from([(1, 100), (2, 5)]),
            last: HashMap::new(),
        };
        assert_eq!(
            threads.waited(HashMap::from([(1, 130), (2, 5), (3, 20)])),
            50
        );
        assert_eq!(threads.waited(HashMap::from([(1, 140)])), 60);
    }

    #[test]
    fn threads_that_spin_use_their_time_up() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        let busy = || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            // More than there are processors: each waits most of the time.
            for _ in 0..=2 * processors() {
                scope.spawn(busy);
            }
            let watch = Stopwatch::start(std::process::id() as i32);
            let limit = Duration::from_millis(60);
            let is_up = loop {
                // Once: whether their waits or their runs say it changes as they run.
                if watch.left(limit).is_zero() {
                    break true;
                }
                if watch.wall() > Duration::from_secs(30) {
                    break false;
                }
                std::thread::yield_now();
            };
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(is_up);
            assert!(watch.elapsed() <= watch.wall());
        });
    }
}
