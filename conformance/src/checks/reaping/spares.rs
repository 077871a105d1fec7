//! What it leaves alone: the living, the stopped, and others' children.

use std::time::{Duration, Instant};

use fixtures::protocol::Death;
use nix::libc;

use super::{AFTER_ONE, CONTAINER, JOINED, PAUSE_C, WITH_PROC, or_inconclusive, reaps, spec};
use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Orphans, PROMPTLY, Pod};
use crate::probe::Probe;
use crate::process::ExitStatus;
use crate::seccomp::{self, Answer};
use crate::signal::{CHLD, CONT, STOP};

pub(super) static SPARES_THE_LIVING: Check = Check {
    id: "reaping/spares-the-living",
    title: "living orphans are left alone while others are reaped",
    level: Level::Must,
    requirement: "The pause process MUST NOT disturb orphans that still live while it reaps others.",
    source: PAUSE_C,
    advice: Advice::new(
        "Live processes of a container would be stopped, killed or waited for in vain.",
        "Use WNOHANG, and send no signal to what was inherited.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::HOST_PID),
    after: &["reaping/one-orphan"],
    run: spares_the_living,
};

fn spares_the_living(cx: &Context<'_>) -> Outcome {
    const LIVING: usize = 8;
    const OTHERS: usize = 6;
    let mut pod = cx.start(spec())?;
    let (long, short) = (pod.enter(&CONTAINER)?, pod.enter(&CONTAINER)?);
    let exit = (Death::Exit, 0);
    let living = Orphans::spawn(
        &mut pod,
        &long,
        LIVING,
        exit,
        0,
        "orphans that had lived on",
    )?;
    let mut others = || -> Result<(), Stop> {
        for _ in 0..OTHERS {
            reaps(&mut pod, &short, 1, exit, 0, "an orphan beside living ones")?;
            pod.settle(CHLD, "an orphan ended beside living ones")?;
        }
        Ok(())
    };
    let reaped = others();
    // A pause that ends living orphans may end one that is still being made: then these show it.
    let patience = if reaped.is_ok() {
        Duration::ZERO
    } else {
        PROMPTLY
    };
    let dead = match (long.await_dead(patience), reaped) {
        (Ok(dead @ 1..), Err(Stop::Error(_) | Stop::Fail(_)) | Ok(())) => dead,
        (_, Err(stop)) => return Err(stop),
        (Ok(none), Ok(())) => none,
        (Err(error), Ok(())) => {
            return Err(pod.harness_failed("look after living orphans", &error));
        }
    };
    let observed = format!("{dead} of {LIVING} ended while {OTHERS} others were reaped");
    ensure(
        dead == 0,
        format!("{LIVING} of {LIVING} orphans live on"),
        observed,
    )?;
    // They say themselves that they live, and that process 1 is still their parent.
    living.release(&mut pod)?;
    Ok(Pass::new(format!(
        "{LIVING} living orphans undisturbed while {OTHERS} others were reaped"
    )))
}

pub(super) static STOPPED_CHILD: Check = Check {
    id: "reaping/stopped-child",
    title: "an orphan that stops and goes on does not wake the program",
    level: Level::Should,
    requirement: "The pause process SHOULD NOT wake when an orphan stops or continues.",
    source: Source {
        title: "sigaction(2), SA_NOCLDSTOP",
        url: "https://man7.org/linux/man-pages/man2/sigaction.2.html",
    },
    advice: Advice::new(
        "A debugger or job control in a container wakes pause each time.",
        "Set SA_NOCLDSTOP.",
    )
    .as_in(&advice::NOCLDSTOP),
    needs: JOINED
        .union(Needs::HOST_PID)
        .union(Needs::SANDBOX_PROC)
        .union(Needs::NOCLDSTOP),
    after: AFTER_ONE,
    run: stopped_child,
};

/// How often the orphan stops and continues in one try, and the most tries.
const CYCLES: u64 = 8;
const TRIES: usize = 5;

fn stopped_child(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    pod.expect_asleep()?;
    let probe = pod.enter(&WITH_PROC)?;
    let orphan = Orphans::spawn(&mut pod, &probe, 1, (Death::Exit, 0), 0, "a stopped orphan")?;
    let pid = probe
        .members()
        .map_err(|error| pod.harness_failed("ask for the orphan", &error))?
        .first()
        .copied()
        .unwrap_or_default();
    // The first may make it change how it handles SIGCHLD; what counts is that it does not go on.
    stop_and_continue(&mut pod, &probe, pid)?;
    // One that wakes by itself does so the more often, the slower the host is; once is enough to see
    // that nothing else wakes it.
    let mut alone = 0;
    for _ in 0..TRIES {
        let (woken, took) = wakes(&mut pod, &probe, pid)?;
        let observed = format!(
            "{woken} context switches while an orphan stopped and continued {CYCLES} times"
        );
        // A program that wakes does so at least once for each, except where two came together.
        if woken < CYCLES / 2 {
            orphan.expect_reaped(&mut pod)?;
            return Ok(Pass::new(observed));
        }
        let before = pod.state()?.switches;
        pod.leave_alone(took)?;
        alone = pod.state()?.switches.saturating_sub(before);
        if alone < woken / 2 {
            return Err(pod.finding("no wake-up".to_owned(), observed).into());
        }
    }
    Err(Stop::Skip(format!(
        "the program wakes by itself, {alone} context switches as long again, so nothing shows \
         whether this would wake it"
    )))
}

/// How often it wakes while the orphan stops and continues some times, and how long that takes.
fn wakes(pod: &mut Pod<'_>, probe: &Probe, pid: i32) -> Result<(u64, Duration), Stop> {
    let before = pod.state()?.switches;
    let began = Instant::now();
    for _ in 0..CYCLES {
        stop_and_continue(pod, probe, pid)?;
    }
    let woken = pod.state()?.switches.saturating_sub(before);
    Ok((woken, began.elapsed()))
}

/// Stops the one orphan and continues it, each seen in /proc, and lets the pause process answer.
fn stop_and_continue(pod: &mut Pod<'_>, probe: &Probe, pid: i32) -> Result<(), Stop> {
    for (number, stopped, words) in [
        (STOP, true, "an orphan stopped"),
        (CONT, false, "an orphan continued"),
    ] {
        probe
            .signal_orphans(number)
            .map_err(|error| pod.harness_failed("stop an orphan", &error))?;
        let sent = Instant::now();
        loop {
            let stat = probe
                .read_file(&format!("/proc/{pid}/stat"))
                .map_err(|error| pod.harness_failed("look at an orphan", &error))?;
            let state = stat
                .rsplit(|byte| *byte == b')')
                .next()
                .and_then(|rest| rest.get(1));
            if (state == Some(&b'T')) == stopped {
                break;
            }
            if sent.elapsed() > pod.context().scaled(Duration::from_secs(10)) {
                return Err(Stop::Inconclusive(format!("{words} was not seen")));
            }
        }
        if !pod.settle(CHLD, words)? {
            let observed = format!("not asleep {:.1?} after {words}", sent.elapsed());
            return Err(pod
                .finding("no wake-up, or a short one".to_owned(), observed)
                .into());
        }
    }
    Ok(())
}

pub(super) static ONLY_AS_PID1: Check = Check {
    id: "reaping/only-as-pid1",
    title: "whether the program is a subreaper where it is not process 1",
    level: Level::Info,
    requirement: "Whether the program makes itself a child subreaper where it is not process 1 is reported.",
    source: Source {
        title: "PR_SET_CHILD_SUBREAPER(2const)",
        url: "https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html",
    },
    advice: Advice::new(
        "A subreaper that is not process 1 takes orphans from whoever else waits for them.",
        "Call prctl(PR_SET_CHILD_SUBREAPER) only if that is meant.",
    ),
    needs: Needs::PROGRAM
        .union(Needs::SANDBOX)
        .union(Needs::HOST_PID_NAMESPACE)
        .union(Needs::SECCOMP)
        .union(Needs::NATIVE),
    after: &["startup/stays", "startup/not-first"],
    run: |cx| only_as_pid1(cx).map_err(or_inconclusive),
};

fn only_as_pid1(cx: &Context<'_>) -> Outcome {
    // The kernel shows no other process which one is a subreaper; but a process that asks to be one
    // is killed here.
    let option = libc::PR_SET_CHILD_SUBREAPER.unsigned_abs();
    let filter = seccomp::first_argument("prctl", option, Answer::Kill)?;
    let started = cx.start_unready(Spec {
        seccomp: Some(filter),
        own_pid_namespace: false,
        ..spec()
    });
    let mut pod = started?;
    let ready = pod.await_ready();
    match (pod.ended()?, ready) {
        (Some(ExitStatus::Signaled(libc::SIGSYS)), _) => {
            Ok(Pass::new("makes itself a child subreaper"))
        }
        (None, Ok(())) => Ok(Pass::new("does not make itself a child subreaper")),
        (_, Err(other)) => Err(other),
        (Some(status), Ok(())) => Err(Stop::NotRunning(Finding::new(
            "the program stays",
            status.to_string(),
        ))),
    }
}
