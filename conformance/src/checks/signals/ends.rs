//! What ends the pause process, and how soon.

use std::time::{Duration, Instant};

use fixtures::protocol::Death;

use super::{AFTER_TERM, CONTAINER, JOINED, PAUSE_C, PID_NAMESPACES, RUNS, SETTLES, spec};
use crate::advice::{self, Advice};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Orphans, PROMPTLY};
use crate::process::ExitStatus;
use crate::signal::{CONT, INT, KILL, TERM, name};

pub(super) static TERM_EXITS_ZERO: Check = Check {
    id: "signals/term-exits-zero",
    title: "TERM ends the program with status 0",
    level: Level::Must,
    requirement: "The pause process MUST exit with status 0 within one second of SIGTERM.",
    source: PAUSE_C,
    advice: Advice::new(
        "A runtime stops a sandbox by SIGTERM: where pause does not end, every deletion of a pod takes the grace period, and ends as a failure with 137.",
        "Handle SIGTERM and exit with status 0: for process 1 the kernel takes no default action.",
    )
    .as_in(&advice::TERM),
    needs: RUNS.union(Needs::SLOW),
    after: &[],
    run: |cx| exits_zero(cx, TERM),
};

pub(super) static INT_EXITS_ZERO: Check = Check {
    id: "signals/int-exits-zero",
    title: "INT ends the program with status 0",
    level: Level::Must,
    requirement: "The pause process MUST exit with status 0 within one second of SIGINT.",
    source: PAUSE_C,
    advice: Advice::new(
        "Ctrl-C in `docker run`, and engines whose stop signal it is, leave the sandbox running.",
        "Handle SIGINT as SIGTERM.",
    )
    .as_in(&advice::TERM),
    needs: RUNS.union(Needs::SLOW),
    after: &[],
    run: |cx| exits_zero(cx, INT),
};

fn exits_zero(cx: &Context<'_>, number: i32) -> Outcome {
    let mut pod = cx.start(spec())?;
    pod.signal(number)?;
    let took = pod.expect_end(ExitStatus::Exited(0), PROMPTLY, &name(number))?;
    Ok(Pass::new(format!(
        "exited 0 {took:.1?} after {}",
        name(number)
    )))
}

pub(super) static TERM_FROM_INSIDE: Check = Check {
    id: "signals/term-from-inside",
    title: "TERM from a container of the pod ends the program, and the pid namespace with it",
    level: Level::Must,
    requirement: "The pause process MUST exit with status 0 within one second of a SIGTERM that a member of its pid namespace sends.",
    source: PID_NAMESPACES,
    advice: Advice::new(
        "A container of a pod with a shared pid namespace cannot end its pod in order.",
        "Handle SIGTERM whoever sends it; do not look at si_pid.",
    )
    .as_in(&advice::TERM),
    needs: JOINED.union(Needs::SLOW),
    after: AFTER_TERM,
    run: term_from_inside,
};

fn term_from_inside(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    pod.signal_from_inside(&probe, TERM)?;
    pod.expect_end_with(vec![probe], ExitStatus::Exited(0), "SIGTERM from inside")?;
    Ok(Pass::new(
        "exited 0 on SIGTERM from inside, and the namespace ended with it",
    ))
}

pub(super) static KILL_IS_137: Check = Check {
    id: "signals/kill-is-137",
    title: "KILL from outside ends the program at once",
    level: Level::Must,
    requirement: "The pause process MUST end within one second of a SIGKILL from the parent pid namespace, as runtimes stop a sandbox, with that signal as its wait status.",
    source: Source {
        title: "containerd sandbox_stop.go",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/server/podsandbox/sandbox_stop.go",
    },
    advice: Advice::new(
        "The runtime waits for a sandbox that does not go away, and the pod hangs in Terminating.",
        "Let nothing hold the process after SIGKILL, and have no supervisor report another status.",
    ),
    needs: RUNS,
    after: &[],
    run: kill_is_137,
};

fn kill_is_137(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    pod.signal(KILL)?;
    let took = pod.expect_end(ExitStatus::Signaled(KILL), PROMPTLY, "SIGKILL")?;
    Ok(Pass::new(format!(
        "killed by SIGKILL (status 137 in container engines) {took:.1?} after SIGKILL"
    )))
}

pub(super) static BURST: Check = Check {
    id: "signals/burst",
    title: "many TERM and INT at once end the program as one does",
    level: Level::Should,
    requirement: "The pause process SHOULD exit with status 0 when SIGTERM and SIGINT arrive together and go on arriving while it ends.",
    source: Source {
        title: "signal-safety(7)",
        url: "https://man7.org/linux/man-pages/man7/signal-safety.7.html",
    },
    advice: Advice::new(
        "A runtime that repeats its signal gets a failure in the place of a clean end.",
        "Exit by _exit(0) from the handler, or block all signals while ending.",
    )
    .as_in(&advice::TERM),
    needs: SETTLES,
    after: &[
        "signals/term-exits-zero",
        "signals/int-exits-zero",
        "signals/stop-cont",
    ],
    run: burst,
};

fn burst(cx: &Context<'_>) -> Outcome {
    const SIGNALS: usize = 100;
    for together in [true, false, true, false] {
        let mut pod = cx.start(spec())?;
        if together {
            pod.stop()?;
        }
        for index in 0..SIGNALS {
            // Not reaped before the last was sent, so each finds the process or its zombie.
            pod.signal(if index % 2 == 0 { TERM } else { INT })?;
            if together && index == 1 {
                pod.signal(CONT)?;
            }
        }
        let cause = format!("{SIGNALS} SIGTERM and SIGINT in turn");
        pod.expect_end(ExitStatus::Exited(0), PROMPTLY, &cause)?;
    }
    Ok(Pass::new(format!(
        "exited 0 on {SIGNALS} SIGTERM and SIGINT in turn, 4 of 4 times"
    )))
}

pub(super) static TERM_IN_CHLD_STORM: Check = Check {
    id: "signals/term-in-chld-storm",
    title: "TERM is answered while orphans keep dying",
    level: Level::Should,
    requirement: "The pause process SHOULD exit with status 0 within one second of SIGTERM while orphans end without pause and others live on.",
    source: Source {
        title: "catatonit#4",
        url: "https://github.com/openSUSE/catatonit/issues/4",
    },
    advice: Advice::new(
        "A busy pod cannot be stopped while its processes end.",
        "Look for SIGTERM between two reaps too; do not reap in a loop that has no end.",
    )
    .as_in(&advice::WAIT),
    needs: JOINED.union(Needs::SLOW),
    after: &["signals/term-exits-zero", "reaping/burst"],
    run: term_in_chld_storm,
};

fn term_in_chld_storm(cx: &Context<'_>) -> Outcome {
    const BEFORE: u64 = 100;
    let mut pod = cx.start(spec())?;
    let storm = pod.enter(&CONTAINER)?;
    let living = pod.enter(&CONTAINER)?;
    Orphans::spawn(&mut pod, &living, 1, (Death::Exit, 0), 0, "a living orphan")?;
    pod.provoke("orphans ended");
    storm.storm(BEFORE).map_err(|error| match error.kind() {
        // A storm needs a pause that keeps up with it, which `reaping/no-lost-wakeup` judges.
        std::io::ErrorKind::TimedOut => Stop::Inconclusive(format!(
            "{BEFORE} orphans were not reaped in time to be a storm"
        )),
        _ => pod.harness_failed("raise a storm of orphans", &error),
    })?;
    pod.signal(TERM)?;
    let cause = "SIGTERM amid dying orphans";
    let took = pod.expect_end_with(vec![storm, living], ExitStatus::Exited(0), cause)?;
    Ok(Pass::new(format!("exited 0 {took:.1?} after {cause}")))
}

pub(super) static TERM_AFTER_WORK: Check = Check {
    id: "signals/term-after-work",
    title: "SIGTERM ends it after thousands of orphans, signals and a stop, too",
    level: Level::Must,
    requirement: "The pause process MUST exit with status 0 on SIGTERM for as long as the pod lives: also after thousands of orphans, after each signal that it survives, and after SIGSTOP and SIGCONT.",
    source: PAUSE_C,
    advice: Advice::new(
        "A pod that has lived for long cannot be stopped.",
        "Let no handler remove itself (SA_RESETHAND), and count or keep nothing at a wake-up.",
    )
    .as_in(&advice::TERM),
    needs: JOINED
        .union(Needs::NATIVE)
        .union(Needs::HOST_PID)
        .union(Needs::WAITS),
    after: &["reaping/after-work", "signals/term-exits-zero"],
    run: term_after_work,
};

fn term_after_work(cx: &Context<'_>) -> Outcome {
    let Some(rested) = cx.worked()?.and_then(|worked| worked.rested) else {
        return Err(Stop::Blocked {
            by: "reaping/after-work",
            why: "it does not get through its work".to_owned(),
        });
    };
    let took = rested.term?;
    Ok(Pass::new(format!("exited 0 {took:.1?} after SIGTERM")))
}

pub(super) static TERM_LATENCY: Check = Check {
    id: "signals/term-latency",
    title: "how long the program takes to end on TERM",
    level: Level::Info,
    requirement: "The time from SIGTERM to the end of the pause process is measured.",
    source: PAUSE_C,
    advice: Advice::new(
        "It is a part of the time in which every pod ends.",
        "Exit from the handler, or as the first thing after the wait.",
    )
    .as_in(&advice::TERM),
    needs: RUNS.union(Needs::NATIVE).union(Needs::EXCLUSIVE),
    after: AFTER_TERM,
    run: term_latency,
};

fn term_latency(cx: &Context<'_>) -> Outcome {
    let can_be_held = cx.offers(Needs::HELD.union(Needs::EXEC_ON_ORDER));
    let took = match can_be_held.then(|| cx.timing()) {
        Some(Ok(timing)) => timing.ended?,
        // It does not show when it is ready.
        None | Some(Err(Stop::Inconclusive(_))) => ends(cx)?,
        Some(Err(other)) => return Err(other),
    };
    let took: Vec<u64> = took.iter().map(|it| it.as_micros() as u64).collect();
    let median = cx.measure_all("term_latency", "us", &took);
    Ok(Pass::new(format!(
        "{median} µs, the median of {}",
        took.len()
    )))
}

/// How long each of several takes that are not made ahead.
fn ends(cx: &Context<'_>) -> Result<Vec<Duration>, Stop> {
    const SAMPLES: usize = 20;
    const BUDGET: Duration = Duration::from_millis(120);
    let began = Instant::now();
    let mut took = Vec::with_capacity(SAMPLES);
    while took.len() < SAMPLES && (took.is_empty() || began.elapsed() < BUDGET) {
        took.push(cx.start(spec())?.until_ended_by_term()?);
    }
    Ok(took)
}
