//! When TERM is first honoured.

use std::time::{Duration, Instant};

use super::{RUNS, TERM_WORKS};
use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Ahead, Answer, Came, Context, Moment, PROMPTLY, Pod, Stimulus};
use crate::process::ExitStatus;
use crate::signal;

const PID_NAMESPACES: Source = Source {
    title: "pid_namespaces(7)",
    url: "https://man7.org/linux/man-pages/man7/pid_namespaces.7.html",
};

/// How often a pause that waits is told to end, where nothing else tries each moment.
const ROUNDS: u32 = 100;

/// How often where it can be followed: `signals/no-lost-term` then tries each moment, and this is
/// what it does unobserved.
const FOLLOWED: u32 = 20;

/// How often at least, for the slowest program.
const LEAST: u32 = 10;

/// How much later than the signal before it TERM comes, at most, in steps of a tenth.
const SPREAD: Duration = Duration::from_micros(500);

pub(super) static ANSWERS_WHEN_READY: Check = Check {
    id: "startup/answers-when-ready",
    title: "TERM is honoured whenever it comes to a program that waits",
    level: Level::Must,
    requirement: "Every SIGTERM sent once the pause process waits MUST end it with exit status 0, also one that comes as it is just woken by another signal.",
    source: Source {
        title: "kata-containers/agent#525",
        url: "https://github.com/kata-containers/agent/issues/525",
    },
    advice: Advice::new(
        "A SIGTERM that is lost costs the whole grace period: the pod hangs until it is killed.",
        "Block the signals before anything else and take them by sigwaitinfo, or install every handler before the first wait.",
    )
    .as_in(&advice::WAIT),
    needs: RUNS.union(Needs::HOST_PID).union(Needs::NATIVE),
    after: &["signals/term-exits-zero", "signals/spurious-chld"],
    run: answers_when_ready,
};

fn answers_when_ready(cx: &Context<'_>) -> Outcome {
    let began = Instant::now();
    let spec = || Spec {
        own_network: false,
        ..Spec::default()
    };
    let mut rounds = 0;
    let most = if cx.offers(Needs::FOLLOWED) {
        cx.options().amount(FOLLOWED, LEAST)
    } else {
        ROUNDS
    };
    // Fewer for a program whose readiness is a guess after a long time.
    while rounds < most && (rounds < LEAST || began.elapsed() < Duration::from_secs(1)) {
        let some: Vec<u32> = (rounds..most.min(rounds + LEAST)).collect();
        cx.start_each(&some, spec, |pod, round| {
            let mut after = "it waited".to_owned();
            // Every other time TERM meets it between its wake-up and its next wait.
            if round % 2 == 1 {
                let delay = SPREAD / 10 * (round / 2 % 10);
                pod.signal(signal::CHLD)?;
                crate::wait::readable(pod.pidfd(), delay)
                    .map_err(|error| Stop::Error(error.to_string()))?;
                after = format!("it waited and was woken by a SIGCHLD {delay:?} before");
            }
            pod.expect_term_works(&after)
                .map_err(|stop| in_round(stop, round + 1, most))?;
            rounds += 1;
            Ok(())
        })?;
    }
    Ok(Pass::new(format!(
        "{rounds} of {rounds} exited 0 on SIGTERM"
    )))
}

fn in_round(stop: Stop, round: u32, of: u32) -> Stop {
    let place = format!("in round {round} of {of}");
    match stop {
        Stop::Fail(finding) => Stop::Fail(finding.with(place)),
        Stop::Ended(finding) => Stop::Ended(finding.with(place)),
        other => other,
    }
}

/// How long after exec a SIGTERM may be lost, in time in which the program could run.
const SOON: Duration = Duration::from_millis(50);

/// How long after exec one comes at most that shows, by its answer, that it is not lost then.
const IN_TIME: Duration = Duration::from_millis(100);

/// How many times as long a program computes where it has to wait for the processor, which others
/// slow down.
const SLOWED_DOWN: u32 = 4;

/// How many starts are tried until one gets its signal in time and ends.
const STARTS: usize = 3;

pub(super) static SAFE_SOON: Check = Check {
    id: "startup/safe-soon",
    title: "TERM is honoured from 50 ms, and 128 system calls, after exec on",
    level: Level::Should,
    requirement: "A SIGTERM that comes 50 ms and 128 system calls after the program was executed, or later, SHOULD end it: until its handlers stand the kernel discards what is sent to process 1.",
    source: PID_NAMESPACES,
    advice: Advice::new(
        "A pod that is deleted as it starts hangs for its whole grace period.",
        "Install the handlers first in main, before anything else is set up.",
    )
    .as_in(&advice::TERM),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::NATIVE)
        .union(Needs::HELD)
        .union(Needs::EXEC_ON_ORDER)
        .union(Needs::WAITS),
    after: TERM_WORKS,
    run: safe_soon,
};

/// A busy host does not delay every one of several starts; a program's own delay does. Where a busy
/// host delays the signal, an answer shows nothing.
fn safe_soon(cx: &Context<'_>) -> Outcome {
    let mut lost = Vec::new();
    for start in 1..=2 * STARTS {
        let told = tell_to_end(cx, SOON)?;
        if !told.ended {
            lost.push(told);
        } else if told.at_most <= IN_TIME {
            let observed = format!(
                "exited 0 on a SIGTERM {:.1?} after it was executed",
                told.after
            );
            let pass = Pass::new(observed).with(format!("in start {start} of {STARTS}"));
            return Ok(pass.with(safe_after_calls(cx)?));
        }
        if lost.len() == STARTS {
            break;
        }
    }
    let too_busy = |what| {
        let why = format!("the host is too busy or too slow to tell: {what}");
        Err(Stop::Inconclusive(why))
    };
    let is_lost = lost.len() == STARTS;
    let is_slowed_down = lost.iter().any(|told| told.slowed_down);
    let Some(told) = lost.pop().filter(|_| is_lost) else {
        return too_busy(format!("a SIGTERM came later than {IN_TIME:?} after exec"));
    };
    let slowly = cx.scaled(if is_slowed_down {
        SOON * SLOWED_DOWN
    } else {
        SOON
    });
    if slowly > SOON && tell_to_end(cx, slowly)?.ended {
        return too_busy(format!("a SIGTERM {slowly:.1?} after exec is not lost"));
    }
    let expected = format!("exited 0 on a SIGTERM {SOON:?} after it was executed, or later");
    let observed = format!("a SIGTERM {:.1?} after it was executed is lost", told.after);
    Err(Finding::new(expected, observed)
        .with(format!("in {STARTS} of {STARTS} starts"))
        .with(told.state)
        .into())
}

/// How many system calls after exec a SIGTERM may be lost: Go's run-time makes 72 until then, for
/// the most part one for each signal.
const CALLS: u64 = 128;

/// Has a SIGTERM come right before the first call that is to be safe; what to say of that.
fn safe_after_calls(cx: &Context<'_>) -> Result<String, Stop> {
    if !cx.offers(Needs::FOLLOWED) {
        return Ok("its system calls cannot be followed here: time alone was judged".to_owned());
    }
    let moment = Moment::Start(CALLS + 1);
    match cx.try_moment(moment, Stimulus::Signal(signal::TERM)) {
        Ok(None) => Ok(format!(
            "it makes no more than {CALLS} calls until it waits"
        )),
        Ok(Some(tried)) => match tried.came {
            Came::Lost(_) | Came::Late => {
                let expected = format!("no SIGTERM lost {CALLS} system calls after exec, or later");
                let place = tried.place(moment);
                let observed = format!("SIGTERM right before {place}, is lost");
                Err(Finding::new(expected, observed).into())
            }
            _ => Ok(format!("nor is one lost after {CALLS} calls")),
        },
        Err(Stop::Skip(why)) => Ok(format!("time alone was judged: {why}")),
        Err(other) => Err(other),
    }
}

/// The effect of a SIGTERM that came soon after exec.
struct EarlyTerm {
    /// How long after exec it came, in time in which the program could run.
    after: Duration,
    /// The same, as far as that is known.
    at_most: Duration,
    /// It computed until then, and waited for the processor besides.
    slowed_down: bool,
    /// The program exited 0.
    ended: bool,
    /// What it did, where it did not.
    state: String,
}

/// Starts it, and tells it to end this soon. Where the kernel discards the signal, nothing waits
/// for the answer.
fn tell_to_end(cx: &Context<'_>, soon: Duration) -> Result<EarlyTerm, Stop> {
    let mut pod = held(cx)?;
    let ordered = Instant::now();
    pod.release()?;
    let watch = pod.stopwatch();
    pod.leave_alone(soon)?;
    // It may have been executed before the suite looked at the time.
    let unseen = ordered.elapsed().saturating_sub(watch.wall());
    let after = watch.elapsed().max(soon);
    let computed = pod.processor_time()? > after / 2;
    let slowed_down = computed && watch.wall() > after + after / 4;
    pod.signal(signal::TERM)?;
    let (ended, state) = match pod.await_answer(PROMPTLY)? {
        Answer::Ended(ExitStatus::Exited(0)) => (true, String::new()),
        Answer::Ended(status) => {
            let expected = "exited 0 on SIGTERM".to_owned();
            return Err(Stop::Ended(pod.finding(expected, status.to_string())));
        }
        Answer::Discarded | Answer::None => (false, pod.describe()),
    };
    Ok(EarlyTerm {
        after,
        at_most: after + unseen,
        slowed_down,
        ended,
        state,
    })
}

/// Windows that are measured, and ends, which are a part of each window.
const SAMPLES: (usize, usize) = (6, 3);

/// Of a program that is known to be broken.
const BRIEF_SAMPLES: (usize, usize) = (1, 1);

/// The most time for all of them, once there are some.
const BUDGET: Duration = Duration::from_millis(120);

pub(super) static LOSS_WINDOW: Check = Check {
    id: "startup/loss-window",
    title: "how long after exec a SIGTERM is lost",
    level: Level::Info,
    requirement: "How long after exec a SIGTERM to PID 1 is discarded by the kernel, since no handler stands yet.",
    source: PID_NAMESPACES,
    advice: Advice::new(
        "The shorter it is, the fewer pods hang that are deleted as they start.",
        "Install the handlers first in main.",
    )
    .as_in(&advice::TERM),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::NATIVE)
        .union(Needs::HELD)
        .union(Needs::EXEC_ON_ORDER)
        .union(Needs::EXCLUSIVE),
    after: TERM_WORKS,
    run: loss_window,
};

/// Each sample sends TERM from exec on, over and over, until the program ends: the one
/// that ended it came as the window closed, but for the time that ending takes.
fn loss_window(cx: &Context<'_>) -> Outcome {
    let began = Instant::now();
    let (mut windows, mut endings) = (Vec::new(), Vec::new());
    let (most_windows, most_endings) = cx.options().amount(SAMPLES, BRIEF_SAMPLES);
    let is_over = |windows: &[u64]| match windows {
        [] => false,
        // It differs little from start to start.
        [first, ..] if *first >= microseconds(BUDGET) => true,
        some => some.len() >= most_windows || some.len() >= 3 && began.elapsed() >= BUDGET,
    };
    let mut ahead = Ahead::of(cx, most_windows + most_endings);
    while !is_over(&windows) {
        let mut pod = ahead.take()?;
        pod.release()?;
        windows.push(microseconds(until_ended(&mut pod)?));
        if endings.len() < most_endings {
            let mut pod = ahead.take()?.started()?;
            endings.push(microseconds(until_ended(&mut pod)?));
        }
    }
    endings.sort_unstable();
    let ending = endings[endings.len() / 2];
    for window in &mut windows {
        *window = window.saturating_sub(ending);
    }
    let middle = cx.measure_all("term_loss_window", "us", &windows);
    let most = windows.iter().max().copied().unwrap_or_default();
    Ok(Pass::new(format!(
        "SIGTERM is lost for {middle} µs after exec (median), {most} µs at most"
    ))
    .with(format!(
        "{} starts; {ending} µs from SIGTERM to its end taken off",
        windows.len()
    ))
    .with(lost_calls(cx)))
}

/// The same in system calls, which no host's speed changes.
fn lost_calls(cx: &Context<'_>) -> String {
    if !cx.offers(Needs::FOLLOWED) {
        return "its system calls cannot be followed here".to_owned();
    }
    match cx.lost_calls() {
        Err(stop) => format!("its system calls cannot be followed: {stop}"),
        Ok(calls) => {
            cx.measure("term_loss_calls", "count", calls.lost as f64);
            let (lost, all) = (calls.lost, calls.all);
            match (calls.first_safe, lost) {
                (Some(_), 0) => format!("lost right before none of the {all} calls until it waits"),
                (Some(place), 1) => {
                    format!("lost right before the first of {all} calls; safe from {place}, on")
                }
                (Some(place), _) => format!(
                    "lost right before each of the first {lost} of {all} calls; safe from {place}, on"
                ),
                (None, _) => format!("lost right before each of {all} calls until it waits"),
            }
        }
    }
}

/// Sends TERM until the process has ended; how long that took.
fn until_ended(pod: &mut Pod<'_>) -> Result<Duration, Stop> {
    let began = Instant::now();
    let limit = pod.context().scaled(super::WINDOW);
    loop {
        // Whether it arrives is not known: the process may just have ended.
        let _ = pod.signal(signal::TERM);
        match pod.ended()? {
            Some(ExitStatus::Exited(0)) => return Ok(began.elapsed()),
            Some(status) => {
                let observed = format!("{status} on a SIGTERM that came early");
                let finding = pod.finding("exited 0".to_owned(), observed);
                return Err(Stop::NotRunning(finding));
            }
            None if began.elapsed() > limit => {
                return Err(Stop::Inconclusive(format!(
                    "no SIGTERM ended it within {limit:?} of exec"
                )));
            }
            None => {}
        }
    }
}

pub(super) static TIME_TO_READY: Check = Check {
    id: "startup/time-to-ready",
    title: "how long the program takes to become ready",
    level: Level::Info,
    requirement: "The time from the order to execute the program until it sleeps and awaits SIGTERM.",
    source: super::PAUSE_C,
    advice: Advice::new(
        "It is a part of the time in which every pod starts.",
        "Leave out what a runtime sets up: threads, a heap, a garbage collector.",
    )
    .as_in(&advice::SMALL),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::NATIVE)
        .union(Needs::HELD)
        .union(Needs::EXEC_ON_ORDER)
        .union(Needs::EXCLUSIVE),
    after: &["startup/answers-when-ready"],
    run: time_to_ready,
};

fn time_to_ready(cx: &Context<'_>) -> Outcome {
    let samples: Vec<u64> = cx.timing()?.ready.into_iter().map(microseconds).collect();
    let median = cx.measure_all("time_to_ready", "us", &samples);
    Ok(Pass::new(format!(
        "ready after {median} µs (median of {})",
        samples.len()
    )))
}

fn held<'a>(cx: &Context<'a>) -> Result<Pod<'a>, Stop> {
    Ahead::of(cx, 1).take()
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
