//! What a verdict is worth under an emulator, with a backend that starts nothing: each
//! check here tells by the program's name what becomes of it.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use rstest::rstest;

use pause_sandbox::Features;

use super::{AT_A_TIME, Calibration, Confirm as _, Programs, TRIED, breakers};
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Stop};
use crate::context::Context;
use crate::programs;
use crate::runner::Settings;
use crate::subject::Platform;

/// Fixtures break it.
const ID: &str = "signals/term-exits-zero";

/// A backend whose host refuses something.
#[derive(Clone, Copy, Default)]
pub(crate) struct Engine {
    /// Refuses to prepare threads.
    pub(crate) refuses_threads: bool,
    /// The kernel would not execute what it starts; else no sandbox can be made.
    pub(crate) refuses_programs: bool,
    /// Doubts every failure.
    pub(crate) doubts: bool,
    /// What a start takes.
    pub(crate) cost: Duration,
}

impl Backend for Engine {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        (need == Features::NATIVE).then_some("runs under qemu-x")
    }

    fn doubts(&self, _: Features) -> Option<&str> {
        self.doubts.then_some("qemu-x may have done it")
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let cause = io::Error::other("not here");
        Err(if self.refuses_programs {
            let path = "/pause".to_owned();
            StartError::Exec { path, cause }
        } else {
            let step = "mount";
            StartError::Host { step, cause }
        })
    }

    fn adopt_thread(&self) -> io::Result<()> {
        if self.refuses_threads {
            Err(io::Error::other("no threads"))
        } else {
            Ok(())
        }
    }

    fn cost(&self) -> Duration {
        self.cost
    }

    fn counters(&self) -> crate::shortage::Counters {
        crate::shortage::Counters::default()
    }
}

fn new(engine: Engine, programs: Programs) -> Calibration {
    let settings = Settings {
        jobs: 1,
        timeout: Duration::from_mins(1),
        reproduce: String::new(),
        explain: "pause-conformance explain".to_owned(),
        interrupted: Arc::default(),
    };
    Calibration::new(Arc::new(engine), programs, Platform::host(), 1.0, settings)
}

fn both() -> Programs {
    Programs {
        reference: Some(programs::REFERENCE.to_vec()),
        fixture: Some(programs::FIXTURE.to_vec()),
    }
}

/// With programs of known worth, which are taken to run.
pub(crate) fn working(engine: Engine) -> Calibration {
    Calibration {
        works: Ok(()).into(),
        ..new(engine, both())
    }
}

pub(crate) const fn check(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Check {
    Check {
        needs: Needs::SANDBOX,
        ..Check::made_up(id, run)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as every check's function")]
fn passes() -> Outcome {
    Ok(Pass::new("it ended"))
}

fn fails() -> Outcome {
    Err(Finding::new("it ends", "it stays").into())
}

/// Passes what is right and fails what is broken.
fn tells(context: &Context<'_>) -> Outcome {
    if context.subject().reference == "the reference" {
        passes()
    } else {
        fails()
    }
}

fn inconclusive(words: &str) -> Outcome {
    Err(Stop::Inconclusive(words.to_owned()))
}

#[rstest]
#[case::passed(passes())]
#[case::failed(fails())]
#[case::never_ran(Err(Stop::NotRunning(Finding::new("it runs", "it does not"))))]
#[case::ended(Err(Stop::Ended(Finding::new("it stays", "it ended"))))]
fn what_tells_right_from_wrong_is_believed(#[case] outcome: Outcome) {
    static TELLS: Check = check(ID, tells);
    let shown = working(Engine::default()).confirm(&TELLS, outcome.clone());
    assert_eq!(shown, outcome);
}

#[test]
fn a_pass_is_worth_nothing_where_what_is_broken_passes_too() {
    static BLIND: Check = check(ID, |_| passes());
    let last = breakers(ID).pop().expect("there are some").name;
    let shown = working(Engine::default()).confirm(&BLIND, passes());
    let words = format!("under the emulator `{last}`, which breaks it, passes too: it ended");
    assert_eq!(shown, inconclusive(&words));
    assert_eq!(
        working(Engine::default()).confirm(&BLIND, fails()),
        fails(),
        "the reference passes"
    );
}

#[rstest]
#[case(check(ID, |_| fails()), "fails too: it stays")]
#[case(check(ID, |_| Err(Stop::Skip("no seccomp".to_owned()))), "is skipped too: no seccomp")]
#[case(check(ID, |_| inconclusive("too busy")), "is inconclusive too: too busy")]
#[case(check(ID, |_| Err(Stop::Error("no pidfd".to_owned()))), "ends in an error too: no pidfd")]
fn a_failure_is_worth_nothing_where_the_reference_does_not_pass(
    #[case] check: Check,
    #[case] words: &str,
) {
    let check = Box::leak(Box::new(check));
    let shown = working(Engine::default()).confirm(check, fails());
    let words = format!("under the emulator the reference pause {words}");
    assert_eq!(shown, inconclusive(&words));
}

#[test]
fn what_was_not_run_to_the_end_shows_nothing() {
    static TELLS: Check = check(ID, tells);
    let calibration = working(Engine::default());
    calibration
        .settings
        .interrupted
        .store(true, Ordering::Relaxed);
    let words = "under the emulator the reference pause was not run to the end";
    assert_eq!(calibration.confirm(&TELLS, fails()), inconclusive(words));
}

#[test]
fn where_the_engine_may_be_to_blame_a_failure_is_worth_nothing() {
    static TELLS: Check = check(ID, tells);
    let calibration = working(Engine {
        doubts: true,
        ..Engine::default()
    });
    let words = "qemu-x may have done it: expected it ends, observed it stays";
    assert_eq!(calibration.confirm(&TELLS, fails()), inconclusive(words));
    assert_eq!(calibration.confirm(&TELLS, passes()), passes());
}

#[test]
fn nothing_is_run_for_what_rests_on_nothing() {
    fn never(_: &Context<'_>) -> Outcome {
        unreachable!("no verdict rests on it")
    }
    static READS: Check = Check {
        needs: Needs::ELF,
        ..check(ID, never)
    };
    static MEASURES: Check = Check {
        level: Level::Info,
        ..check(ID, never)
    };
    static RUNS: Check = check(ID, never);
    let calibration = working(Engine::default());
    for check in [&READS, &MEASURES] {
        assert_eq!(calibration.confirm(check, passes()), passes());
        assert_eq!(calibration.confirm(check, fails()), fails());
    }
    for stop in [Stop::Skip, Stop::Inconclusive, Stop::Error] {
        let outcome = Err(stop("why".to_owned()));
        assert_eq!(calibration.confirm(&RUNS, outcome.clone()), outcome);
    }
}

#[test]
fn each_half_is_shown_once() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static COUNTED: Check = check(ID, |context| {
        RUNS.fetch_add(1, Ordering::SeqCst);
        tells(context)
    });
    let calibration = working(Engine::default());
    for _ in 0..3 {
        let _ = calibration.confirm(&COUNTED, passes());
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 1, "the first broken one fails");
    for _ in 0..3 {
        let _ = calibration.confirm(&COUNTED, fails());
    }
    assert_eq!(RUNS.load(Ordering::SeqCst), 2);
}

#[test]
fn what_was_found_ahead_is_not_looked_for_again() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static COUNTED: Check = check(ID, |context| {
        RUNS.fetch_add(1, Ordering::SeqCst);
        tells(context)
    });
    static MEASURES: Check = Check {
        level: Level::Info,
        ..check("a/figure", |_| unreachable!("no verdict rests on it"))
    };
    let calibration = Arc::new(working(Engine::default()));
    drop(Arc::clone(&calibration).look_ahead(vec![&COUNTED, &MEASURES]));
    assert_eq!(calibration.confirm(&COUNTED, passes()), passes());
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

/// A host that is short of something while many run is not when one does.
#[test]
fn what_was_not_shown_ahead_is_tried_again() {
    static AHEAD: AtomicBool = AtomicBool::new(true);
    static SHORT: Check = check(ID, |context| {
        if AHEAD.load(Ordering::SeqCst) {
            return inconclusive("this host allows too few processes");
        }
        tells(context)
    });
    let calibration = Arc::new(working(Engine::default()));
    drop(Arc::clone(&calibration).look_ahead(vec![&SHORT]));
    AHEAD.store(false, Ordering::SeqCst);
    assert_eq!(calibration.confirm(&SHORT, passes()), passes());
}

#[test]
fn where_starts_are_dear_no_more_is_looked_for_at_a_time_than_is_judged() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    fn counted(_: &Context<'_>) -> Outcome {
        let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
        MOST.fetch_max(running, Ordering::SeqCst);
        SEEN.fetch_add(1, Ordering::SeqCst);
        std::thread::yield_now();
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        fails()
    }
    static CHECKS: [Check; 3] = [
        check(ID, counted),
        check("reaping/one-orphan", counted),
        check("startup/stays", counted),
    ];
    let calibration = working(Engine {
        cost: Duration::from_millis(100),
        ..Engine::default()
    });
    let jobs = calibration.settings.jobs;
    let ahead = Arc::new(calibration).look_ahead(CHECKS.iter().collect());
    assert_eq!(ahead.threads.len(), jobs);
    for thread in { ahead }.threads.drain(..) {
        thread.join().expect("nobody panics");
    }
    assert_eq!(SEEN.load(Ordering::SeqCst), CHECKS.len());
    assert_eq!(MOST.load(Ordering::SeqCst), jobs);
}

#[test]
fn once_the_run_is_over_nothing_more_is_looked_for() {
    static RUNS: Mutex<usize> = Mutex::new(0);
    static BEGUN: Condvar = Condvar::new();
    static OVER: AtomicBool = AtomicBool::new(false);
    const LONG: Duration = Duration::from_secs(30);
    fn waits(_: &Context<'_>) -> Outcome {
        *RUNS.lock().expect("nobody panics") += 1;
        BEGUN.notify_all();
        let began = Instant::now();
        while !OVER.load(Ordering::Relaxed) && began.elapsed() < LONG {
            std::thread::yield_now();
        }
        fails()
    }
    let broken = fixtures::all().flat_map(|fixture| fixture.breaks);
    let ids: BTreeSet<&'static str> = broken.copied().collect();
    assert!(ids.len() > AT_A_TIME);
    let checks = ids
        .into_iter()
        .map(|id| &*Box::leak(Box::new(check(id, waits))));
    let ahead = Arc::new(working(Engine::default())).look_ahead(checks.collect());
    let runs = RUNS.lock().expect("nobody panics");
    let too_few = |runs: &mut usize| *runs < AT_A_TIME;
    let (runs, late) = BEGUN
        .wait_timeout_while(runs, LONG, too_few)
        .expect("nobody panics");
    assert!(!late.timed_out());
    drop(runs);
    let over = Arc::clone(&ahead.over);
    let dropped = std::thread::spawn(move || drop(ahead));
    let began = Instant::now();
    while !over.load(Ordering::Relaxed) && began.elapsed() < LONG {
        std::thread::yield_now();
    }
    OVER.store(true, Ordering::Relaxed);
    dropped.join().expect("nobody panics");
    assert_eq!(*RUNS.lock().expect("nobody panics"), AT_A_TIME);
}

#[test]
fn more_than_a_number_of_programs_wait_for_a_place() {
    let calibration = Arc::new(working(Engine::default()));
    let mut held: Vec<_> = (0..AT_A_TIME).map(|_| calibration.take_place()).collect();
    let (send, taken) = mpsc::channel();
    let other = Arc::clone(&calibration);
    std::thread::spawn(move || {
        let _place = other.take_place();
        send.send(()).expect("the test waits");
    });
    assert!(taken.recv_timeout(Duration::from_millis(100)).is_err());
    held.pop();
    assert!(taken.recv_timeout(Duration::from_secs(10)).is_ok());
}

#[test]
fn without_programs_of_known_worth_nothing_is_said_and_where_they_come_from_is() {
    for programs in [
        Programs::default(),
        Programs {
            reference: None,
            ..both()
        },
        Programs {
            fixture: None,
            ..both()
        },
    ] {
        let calibration = new(Engine::default(), programs);
        let why = calibration.says_nothing().expect("they are missing");
        let missing = format!("there is no reference pause for {}", Platform::host());
        assert!(why.contains(&missing), "{why}");
        assert!(why.contains("`cargo xtask build --fixtures`"), "{why}");
    }
    assert_eq!(working(Engine::default()).says_nothing(), None);
}

#[rstest]
#[case::threads(
    Engine { refuses_threads: true, ..Engine::default() },
    "cannot prepare a thread for sandboxes: no threads"
)]
#[case::programs(
    Engine { refuses_programs: true, ..Engine::default() },
    "nothing can be judged: the fixture SOUND, which is known to be right, does not run; \
     runs under qemu-x: cannot execute /pause: not here"
)]
#[case::sandboxes(
    Engine::default(),
    "nothing can be judged: the fixture SOUND, which is known to be right, does not run; \
     cannot make a sandbox: mount: not here"
)]
fn where_what_is_right_does_not_run_nothing_is_judged(#[case] engine: Engine, #[case] why: &str) {
    let sound = fixtures::all().find(|it| it.is_sound()).expect("one");
    let why = why.replace("SOUND", sound.name);
    assert_eq!(new(engine, both()).says_nothing(), Some(&*why));
}

#[rstest]
#[case("linux/arm64", Some("linux-arm64"))]
#[case("linux/arm64/v8", Some("linux-arm64"))]
#[case("linux/arm", Some("linux-arm-v7"))]
#[case("linux/riscv64", None)]
fn programs_are_found_by_their_platform(#[case] platform: &str, #[case] found: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    for platform in ["linux-arm64", "linux-arm-v7", "linux-s390x"] {
        let of = folder.path().join(platform);
        std::fs::create_dir(&of).expect("made");
        for name in ["pause", "fixture"] {
            std::fs::write(of.join(name), format!("{platform}/{name}")).expect("written");
        }
    }
    let platform = platform.parse().expect("a platform");
    let read = Programs::read(Some(folder.path()), &platform);
    let of = |name: &str| found.map(|found| format!("{found}/{name}").into_bytes());
    assert_eq!((read.reference, read.fixture), (of("pause"), of("fixture")));
    let nowhere = Programs::read(None, &platform);
    assert_eq!((nowhere.reference, nowhere.fixture), (None, None));
}

#[test]
fn few_programs_are_tried_and_first_those_that_fail_soon_or_break_little_else() {
    let tried = breakers("startup/stays");
    assert_eq!(tried.len(), TRIED);
    let all = fixtures::all().filter(|fixture| fixture.breaks.contains(&"startup/stays"));
    let least = all.map(|fixture| fixture.breaks.len()).min();
    assert_eq!(Some(tried[0].breaks.len()), least);
    assert!(tried.is_sorted_by_key(|fixture| (fixture.is_sound(), fixture.breaks.len())));
    let tried = breakers("namespaces/teardown");
    assert!(tried[0].quick && tried[0].breaks.len() > tried[1].breaks.len());
    assert!(breakers("no/such").is_empty());
}
