//! Deadlines that a busy host does not shorten.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::proc;
use super::waits::{Call, Calls};

/// How often a process that waits for a processor is looked at when its time is up.
const LOOK: Duration = Duration::from_millis(5);

/// So soon after its start a look tells nothing more.
const FRESH: Duration = Duration::from_millis(1);

/// Longest that a deadline is put off for a process that never gets a processor, and for what the
/// kernel holds it in all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Descendants that are looked at: more than a sandbox may have.
const DESCENDANTS: usize = 256;

/// Time in which a process could have acted: wall time less what its threads spent
/// runnable without a processor (/proc/PID/task/TID/schedstat, in nanoseconds), unless
/// another of its threads, or a descendant of its own, had the processor meanwhile. The kernel adds
/// a wait only once it is over; one that goes on shows in figures that do not change. So does a
/// sleep that no signal ends, for memory, a disk or a lock of the kernel's, of which it keeps no sum:
/// that is left out as far as it was seen.
///
/// The kernel gives sums, not intervals, so both parts are bounds, and the time that
/// counts is never more than what it had: all waits added up are at least the time in which
/// every runnable thread waited; the longest run of one thread, and all runs divided by the
/// processors, are at most the time in which one of them ran. Neither bound falls once it was
/// reached, though which of the two is the higher changes: the highest so far counts.
#[derive(Clone, Debug)]
pub struct Stopwatch {
    started: Instant,
    pid: i32,
    threads: RefCell<Threads>,
    /// What it and its descendants had run.
    ran: Runs,
    /// The most that has counted so far.
    most: Highest,
    /// The longest limit that was up.
    up: Cell<Option<Duration>>,
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
    /// The kernel holds it in a sleep that no signal ends.
    held: bool,
}

/// The highest of what was measured so far.
#[derive(Clone, Debug, Default)]
struct Highest(Cell<Duration>);

/// How long the threads of a process have waited since a moment, those that ended too.
#[derive(Clone, Debug)]
struct Threads {
    /// At that moment, by thread; nothing for one that came later.
    before: HashMap<i32, u64>,
    /// When each was last looked at.
    last: HashMap<i32, u64>,
    /// Those that were runnable then, and since when they may not have run.
    waiting: HashMap<i32, (Use, Instant)>,
    /// How long they were held, as far as it was seen and is over.
    held: Duration,
    looked: Instant,
}

/// How long threads have run, by thread.
type Runs = HashMap<i32, u64>;

impl Stopwatch {
    /// Starts now.
    pub fn start(pid: i32) -> Self {
        let started = Instant::now();
        let now = threads(pid);
        Self {
            started,
            pid,
            threads: RefCell::new(Threads::of(&now, started)),
            ran: runs_of_all(pid, &now),
            most: Highest::default(),
            up: Cell::new(None),
            at_limit: RefCell::new(None),
        }
    }

    /// Wall time since the start.
    pub fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time since the start that counts.
    pub fn elapsed(&self) -> Duration {
        let at = Instant::now();
        self.counted(&threads(self.pid), at)
    }

    /// Until a moment before its threads were looked at: what came after that is not known.
    fn counted(&self, now: &HashMap<i32, Use>, at: Instant) -> Duration {
        let wall = at.saturating_duration_since(self.started);
        let waited = self.threads.borrow_mut().waited(now, at);
        self.most.of(could_run(wall, waited, || self.ran_by(now)))
    }

    /// The least time since the start in which it, or a descendant of its own, had a processor.
    pub fn ran(&self) -> Duration {
        self.ran_by(&HashMap::new())
    }

    /// The same, where its threads were just looked at.
    fn ran_by(&self, now: &HashMap<i32, Use>) -> Duration {
        let ran = least_run(&self.ran, &runs_of_all(self.pid, now), processors());
        Duration::from_nanos(ran)
    }

    /// What is left of a limit. Where the time is up while a thread waits for a processor, a little
    /// more is left until that has ended. Once none is left of a limit, none ever is.
    pub fn left(&self, limit: Duration) -> Duration {
        let wall = self.wall();
        if wall < limit.min(FRESH) {
            return limit.saturating_sub(wall);
        }
        if self.up.get() >= Some(limit) {
            return Duration::ZERO;
        }
        let left = self.left_now(limit);
        if left.is_zero() {
            self.up.set(Some(limit));
        }
        left
    }

    fn left_now(&self, limit: Duration) -> Duration {
        let at = Instant::now();
        let now = threads(self.pid);
        let left = limit.saturating_sub(self.counted(&now, at));
        if !left.is_zero() || self.wall() > limit + PATIENCE {
            self.at_limit.replace(None);
            return left;
        }
        let mut at_limit = self.at_limit.borrow_mut();
        // Once each thread has had its turn, the time stays up, even if one waits again.
        let first = at_limit.get_or_insert_with(|| now.clone());
        let waits_since =
            |(thread, then): (&i32, &Use)| then.waits() && now.get(thread) == Some(then);
        if first.iter().any(waits_since) {
            LOOK
        } else {
            Duration::ZERO
        }
    }
}

impl Highest {
    /// Of all before, and this.
    fn of(&self, next: Duration) -> Duration {
        self.0.set(self.0.get().max(next));
        self.0.get()
    }
}

impl Threads {
    fn of(now: &HashMap<i32, Use>, at: Instant) -> Self {
        let mut threads = Self {
            before: waits(now),
            last: HashMap::new(),
            waiting: HashMap::new(),
            held: Duration::ZERO,
            looked: at,
        };
        threads.look(now, at);
        threads
    }

    /// One that waits now, and did not then, may have waited since then.
    fn look(&mut self, now: &HashMap<i32, Use>, at: Instant) {
        let over = |(thread, (it, since)): (&i32, &(Use, Instant))| {
            let is_over = it.held && now.get(thread) != Some(it);
            is_over.then(|| self.looked.saturating_duration_since(*since))
        };
        self.held += self.waiting.iter().filter_map(over).sum::<Duration>();
        let since = |(thread, it): (&i32, &Use)| {
            let known = self.waiting.get(thread).filter(|(same, _)| same == it);
            (
                *thread,
                (*it, known.map_or(self.looked, |(_, since)| *since)),
            )
        };
        let waiting = now.iter().filter(|(_, it)| it.waits());
        self.waiting = waiting.map(since).collect();
        self.looked = at;
    }

    /// All waits together, also those that may go on, given the threads that are there now.
    fn waited(&mut self, now: &HashMap<i32, Use>, at: Instant) -> Duration {
        self.last.extend(waits(now));
        self.look(now, at);
        let ended = |(thread, waited): (&i32, &u64)| {
            waited.saturating_sub(self.before.get(thread).copied().unwrap_or_default())
        };
        let goes_on = |held: bool| -> Duration {
            let these = self.waiting.values().filter(|(it, _)| it.held == held);
            these
                .map(|(_, since)| at.saturating_duration_since(*since))
                .sum()
        };
        Duration::from_nanos(self.last.iter().map(ended).sum())
            + goes_on(false)
            + (self.held + goes_on(true)).min(PATIENCE)
    }
}

/// The time in which a process could run at least, of `wall`: whichever bound is higher. How
/// long it `ran` is asked only where its waits leave it open.
fn could_run(wall: Duration, waited: Duration, ran: impl FnOnce() -> Duration) -> Duration {
    let counted = wall.saturating_sub(waited);
    if waited < wall / 2 {
        return counted;
    }
    counted.max(ran()).min(wall)
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

/// The processors that the suite may use; what it starts may use no others.
fn processors() -> u64 {
    // What limits them is looked up in files.
    static PROCESSORS: OnceLock<u64> = OnceLock::new();
    *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, |it| it.get() as u64))
}

fn waits(threads: &HashMap<i32, Use>) -> HashMap<i32, u64> {
    let waited = |(thread, it): (&i32, &Use)| (*thread, it.waited);
    threads.iter().map(waited).collect()
}

/// None for a process that has gone, and where the kernel keeps no such figures.
fn threads(pid: i32) -> HashMap<i32, Use> {
    let use_of = |thread: i32| Some((thread, Use::of(pid, thread)?));
    let ids = proc::thread_ids(pid).unwrap_or_default();
    ids.into_iter().filter_map(use_of).collect()
}

impl Use {
    /// Nothing for a thread that has ended.
    fn of(pid: i32, thread: i32) -> Option<Self> {
        let read = |name| proc::read_of(pid, thread, name).ok();
        let (schedstat, stat) = (read("schedstat")?, read("stat")?);
        let mut figures = schedstat
            .split_ascii_whitespace()
            .map(|figure| figure.parse::<u64>().unwrap_or_default());
        let mut figure = || figures.next().unwrap_or_default();
        // Behind the name, which may hold anything: proc_pid_stat(5).
        let state = stat.rsplit(") ").next()?;
        // A child of vfork(2) may well be the program's own doing.
        let is_held = || !matches!(Calls::Own.of(pid, thread), Call::Forks | Call::Unknown);
        Some(Self {
            ran: figure(),
            waited: figure(),
            turns: figure(),
            runnable: state.starts_with('R'),
            held: state.starts_with('D') && is_held(),
        })
    }

    fn waits(self) -> bool {
        self.runnable || self.held
    }
}

/// How long the threads of a process and of its living descendants have run; `known` are threads
/// that were just looked at.
fn runs_of_all(pid: i32, known: &HashMap<i32, Use>) -> Runs {
    let mut all = vec![pid];
    let mut at = 0;
    let mut runs = Runs::new();
    while let Some(pid) = all.get(at).copied() {
        for thread in proc::thread_ids(pid).unwrap_or_default() {
            let ran = known.get(&thread).map(|it| it.ran);
            let ran = ran.or_else(|| proc::ran(pid, thread).ok());
            runs.insert(thread, ran.unwrap_or_default());
            let children = proc::read_of(pid, thread, "children").unwrap_or_default();
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

    fn waited(waited: u64) -> Use {
        Use {
            waited,
            ..Use::default()
        }
    }

    #[test]
    fn the_waits_of_a_thread_count_when_it_has_ended() {
        let at = Instant::now();
        let mut threads = Threads::of(&HashMap::from([(1, waited(100)), (2, waited(5))]), at);
        let three = HashMap::from([(1, waited(130)), (2, waited(5)), (3, waited(20))]);
        assert_eq!(threads.waited(&three, at), Duration::from_nanos(50));
        let one = HashMap::from([(1, waited(140))]);
        assert_eq!(threads.waited(&one, at), Duration::from_nanos(60));
    }

    #[test]
    fn a_wait_counts_while_it_goes_on_and_once_when_it_is_over() {
        const MS: Duration = Duration::from_millis(1);
        let runnable = Use {
            runnable: true,
            ..waited(0)
        };
        let began = Instant::now();
        let of_one = |it: Use| HashMap::from([(1, it)]);
        let mut threads = Threads::of(&of_one(runnable), began);
        let turn = |turns, waited: u64| Use {
            turns,
            waited: waited * 1_000_000,
            ..runnable
        };
        let asleep = waited(40_000_000);
        for (it, at, wanted) in [
            (runnable, 30, 30),
            (turn(1, 32), 33, 32 + 3),
            (turn(1, 32), 40, 32 + 10),
            (asleep, 60, 40),
            // Woken since, it may have waited as long.
            (turn(2, 40), 90, 40 + 30),
        ] {
            let waited = threads.waited(&of_one(it), began + MS * at);
            assert_eq!(waited, MS * wanted, "at {at} ms");
        }
    }

    #[test]
    fn what_the_kernel_held_is_left_out_as_far_as_it_was_seen() {
        const MS: Duration = Duration::from_millis(1);
        let held = Use {
            held: true,
            ..Use::default()
        };
        let began = Instant::now();
        let of_one = |it: Use| HashMap::from([(1, it)]);
        let mut threads = Threads::of(&of_one(Use::default()), began);
        let again = Use { turns: 3, ..held };
        let long = 2 * PATIENCE.as_millis() as u32;
        for (now, at, wanted) in [
            (of_one(held), 30, 30),
            (of_one(held), 50, 50),
            (of_one(Use::default()), 60, 50),
            (of_one(again), 90, 50 + 30),
            // It has ended.
            (HashMap::new(), 95, 50 + 30),
            (of_one(held), long, PATIENCE.as_millis() as u32),
        ] {
            let waited = threads.waited(&now, began + MS * at);
            assert_eq!(waited, MS * wanted, "at {at} ms");
        }
    }

    /// Two threads that share a processor wait half of the time each, and now and then more: the
    /// bounds fall where they change places.
    #[test]
    fn what_has_counted_is_never_taken_back() {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        let most = Highest::default();
        let counted = |wall, waited, ran| could_run(MS(wall), MS(waited), || MS(ran));
        let bounds = [
            (counted(100, 49, 40), 51, 51),
            (counted(102, 52, 40), 50, 51),
            (counted(140, 80, 60), 60, 60),
            (counted(150, 95, 58), 58, 60),
            (counted(200, 99, 90), 101, 101),
        ];
        for (bound, now, so_far) in bounds {
            assert_eq!((bound, most.of(bound)), (MS(now), MS(so_far)));
        }
    }

    #[test]
    fn the_time_that_counts_is_none_of_what_it_ran_where_it_hardly_waited() {
        let ran = || unreachable!("not asked");
        let wall = Duration::from_millis(100);
        let waited = Duration::from_millis(30);
        assert_eq!(could_run(wall, waited, ran), Duration::from_millis(70));
    }

    #[test]
    fn a_limit_however_short_is_not_up_before_its_time() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("it starts");
        for limit in [Duration::ZERO, FRESH / 4, FRESH * 2] {
            let watch = Stopwatch::start(child.id() as i32);
            while !watch.left(limit).is_zero() {
                assert!(watch.wall() < PATIENCE, "{limit:?}");
            }
            assert!(watch.wall() >= limit, "{limit:?}");
        }
        child.kill().expect("it is there");
        child.wait().expect("it ends");
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
            let (limit, less) = (Duration::from_millis(60), Duration::from_millis(40));
            let (mut up_at, mut fell, mut last) = (None, false, Duration::ZERO);
            while watch.wall() < Duration::from_secs(30) {
                let now = watch.elapsed();
                fell |= now < last;
                last = now;
                match (watch.left(limit).is_zero(), up_at) {
                    (true, None) => up_at = Some(watch.wall()),
                    // Whether their waits or their runs say it changes as they run.
                    (false, Some(_)) => fell = true,
                    (true, Some(at)) if watch.wall() > at + limit => break,
                    _ => {}
                }
                fell |= up_at.is_some() && !watch.left(less).is_zero();
                std::thread::yield_now();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(up_at.is_some(), "{last:?} of {:?}", watch.wall());
            assert!(!fell);
            assert!(watch.elapsed() <= watch.wall());
        });
    }
}
