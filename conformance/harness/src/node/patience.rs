//! Questions that a pod may leave unanswered, asked side by side: one that is stuck keeps no other
//! from its answer, and all of an audit have one time limit.
//!
//! The kernel reads a process' arguments from its memory, and resolves paths on its filesystem.
//! Where the pod serves those itself, by FUSE for example, the reader may wait for ever.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// How long an audit waits for pods, all together.
const ALL: Duration = Duration::from_secs(10);
/// How long it waits where all are being asked and none answers.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it waits before others are asked beside those that do not answer.
const STEP: Duration = Duration::from_millis(50);
/// Those that are asked at once at first, and at most.
const FIRST: usize = 4;
const MOST: usize = 1024;
/// The stack of one who asks: what is read lies on the heap.
const STACK: usize = 256 << 10;

/// Names a process: its pid, and when it started.
pub type Key = (i32, u64);

/// The time that an audit has left for pods, and those that have not answered.
#[derive(Debug)]
pub struct Patience {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: Duration,
    /// Each with whether it has answered since. They are not asked again: each waits in a thread.
    stuck: BTreeMap<Key, Arc<AtomicBool>>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                left: ALL,
                stuck: BTreeMap::new(),
            }),
        }
    }
}

/// A question, with its place among all.
struct Question<Q> {
    number: usize,
    about: Q,
    is_answered: Arc<AtomicBool>,
}

type Queue<Q> = Arc<Mutex<VecDeque<Question<Q>>>>;

impl Patience {
    /// All of its time again, for another audit.
    pub fn renew(&self) {
        let mut state = lock(&self.state);
        state.left = ALL;
        state.stuck.retain(|_, done| !done.load(Ordering::Acquire));
    }

    /// Asks about each process; `None` where there is no answer in time.
    pub fn each<Q, T>(&self, about: Vec<(Key, Q)>, ask: fn(&Q) -> T) -> Vec<Option<T>>
    where
        Q: Send + 'static,
        T: Send + 'static,
    {
        let mut state = lock(&self.state);
        let mut answers: Vec<Option<T>> = about.iter().map(|_| None).collect();
        let mut keys = BTreeMap::new();
        let mut questions = VecDeque::new();
        for (number, (key, about)) in about.into_iter().enumerate() {
            let is_stuck = |done: &Arc<AtomicBool>| !done.load(Ordering::Acquire);
            if state.stuck.get(&key).is_some_and(is_stuck) {
                continue;
            }
            let is_answered = Arc::new(AtomicBool::new(false));
            keys.insert(number, (key, Arc::clone(&is_answered)));
            questions.push_back(Question {
                number,
                about,
                is_answered,
            });
        }
        let began = Instant::now();
        let queue = Arc::new(Mutex::new(questions));
        let mut asking = Asking::new(&queue, ask);
        asking.gather(state.left, |number, answer| {
            keys.remove(&number);
            answers[number] = Some(answer);
        });
        state.left = state.left.saturating_sub(began.elapsed());
        // Those that were not asked may be another time.
        for question in lock(&queue).drain(..) {
            keys.remove(&question.number);
        }
        state.stuck.extend(keys.into_values());
        answers
    }
}

/// Threads that ask.
struct Asking<Q, T> {
    queue: Queue<Q>,
    ask: fn(&Q) -> T,
    sender: mpsc::Sender<(usize, T)>,
    answers: mpsc::Receiver<(usize, T)>,
    threads: usize,
}

impl<Q: Send + 'static, T: Send + 'static> Asking<Q, T> {
    fn new(queue: &Queue<Q>, ask: fn(&Q) -> T) -> Self {
        let (sender, answers) = mpsc::channel();
        Self {
            queue: Arc::clone(queue),
            ask,
            sender,
            answers,
            threads: 0,
        }
    }

    /// Hands each answer over, until there are all, the time is over, or nobody answers any more.
    fn gather(&mut self, time: Duration, mut answered: impl FnMut(usize, T)) {
        let mut missing = lock(&self.queue).len();
        let until = Instant::now() + time;
        let mut last = Instant::now();
        self.grow(FIRST);
        while missing > 0 {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            match self.answers.recv_timeout(STEP.min(left)) {
                Ok((number, answer)) => {
                    answered(number, answer);
                    missing -= 1;
                    last = Instant::now();
                }
                Err(_) if left.is_zero() => return,
                Err(_) if self.grow(self.threads) => last = Instant::now(),
                Err(_) if last.elapsed() > SILENCE => return,
                Err(_) => {}
            }
        }
    }

    /// So many more threads, if something is left to ask; whether there is one more.
    fn grow(&mut self, by: usize) -> bool {
        let left = lock(&self.queue).len().min(MOST - self.threads);
        let before = self.threads;
        for _ in 0..by.max(1).min(left) {
            if self.thread().is_err() {
                break;
            }
            self.threads += 1;
        }
        self.threads > before
    }

    fn thread(&self) -> std::io::Result<()> {
        let queue = Arc::clone(&self.queue);
        let (ask, sender) = (self.ask, self.sender.clone());
        let all = move || {
            let next = || lock(&queue).pop_front();
            while let Some(question) = next() {
                let answer = ask(&question.about);
                question.is_answered.store(true, Ordering::Release);
                // Nobody may wait any more.
                if sender.send((question.number, answer)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(all).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Instant;

    use super::{ALL, Patience, SILENCE};

    /// Closed, it holds who asks; it counts how many did.
    #[derive(Clone, Debug, Default)]
    struct Gate(Arc<(Mutex<(bool, usize)>, Condvar)>);

    impl Gate {
        fn pass(&self) {
            let (state, changed) = &*self.0;
            let mut state = state.lock().expect("no panic");
            state.1 += 1;
            changed.notify_all();
            drop(
                changed
                    .wait_while(state, |state| !state.0)
                    .expect("no panic"),
            );
        }

        fn open(&self) {
            let (state, changed) = &*self.0;
            state.lock().expect("no panic").0 = true;
            changed.notify_all();
        }

        fn asked(&self) -> usize {
            self.0.0.lock().expect("no panic").1
        }
    }

    fn ask((number, gate): &(i32, Option<Gate>)) -> i32 {
        gate.iter().for_each(Gate::pass);
        *number
    }

    #[test]
    fn those_that_are_stuck_keep_no_other_from_its_answer() {
        let patience = Patience::default();
        let gate = Gate::default();
        let about = |number: i32| {
            // All that are asked first, and more.
            let gate = (number < 40).then(|| gate.clone());
            ((number, 0), (number, gate))
        };
        let began = Instant::now();
        let answers = patience.each((0..60).map(about).collect(), ask);
        let took = began.elapsed();
        let expected: Vec<_> = (0..60).map(|n| (n >= 40).then_some(n)).collect();
        assert_eq!(answers, expected);
        assert!(took >= SILENCE, "{took:?}");
        assert_eq!(gate.asked(), 40);
        // They are not asked again, and cost no time.
        let before = super::lock(&patience.state).left;
        assert!(before < ALL);
        let answers = patience.each(vec![about(7), about(50)], ask);
        assert_eq!(answers, [None, Some(50)]);
        assert_eq!(gate.asked(), 40);
        // Until they answer.
        gate.open();
        let is_free = |patience: &Patience| {
            patience.renew();
            super::lock(&patience.state).stuck.is_empty()
        };
        while !is_free(&patience) {
            std::thread::yield_now();
        }
        assert_eq!(patience.each(vec![about(7)], ask), [Some(7)]);
    }

    #[test]
    fn without_time_left_nobody_is_waited_for() {
        let patience = Patience::default();
        super::lock(&patience.state).left = std::time::Duration::ZERO;
        let gate = Gate::default();
        let answers = patience.each(vec![((1, 0), (1, Some(gate.clone())))], ask);
        assert_eq!(answers, [None]);
        gate.open();
    }

    #[test]
    fn many_that_answer_all_answer() {
        let about = (0..3_000).map(|number| ((number, 0), (number, None)));
        let answers = Patience::default().each(about.collect(), ask);
        assert_eq!(answers, (0..3_000).map(Some).collect::<Vec<_>>());
    }
}
