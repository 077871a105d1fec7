//! What must not end the pause process.

use std::ops::RangeInclusive;
use std::time::Instant;

use fixtures::protocol::{ALL_DEATHS, Death};
use nix::libc;

use super::{AFTER_TERM, CATATONIT, CONTAINER, JOINED, PAUSE_C, PID_NAMESPACES, SETTLES, spec};
use crate::advice::{self, Advice};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Orphans, PROMPTLY, Pod};
use crate::signal::{CHLD, CONT, HUP, KILL, RT_FIRST, RT_LAST, STOP, name};

pub(super) static KILL_FROM_INSIDE_IGNORED: Check = Check {
    id: "signals/kill-from-inside-ignored",
    title: "KILL and STOP from a container of the pod have no effect",
    level: Level::Must,
    requirement: "The pause process MUST survive SIGKILL and SIGSTOP that a member of its pid namespace sends.",
    source: PID_NAMESPACES,
    advice: Advice::new(
        "A container with a shared pid namespace could end or stop the whole pod.",
        "Have the program itself as process 1: the kernel protects it from SIGKILL of its own namespace.",
    ),
    needs: JOINED.union(Needs::HOST_PID),
    after: AFTER_TERM,
    run: kill_from_inside_ignored,
};

fn kill_from_inside_ignored(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    for number in [KILL, STOP] {
        pod.signal_from_inside(&probe, number)?;
    }
    drop(probe);
    lives_and_answers(&mut pod, STOP, "SIGKILL and SIGSTOP from inside")?;
    Ok(Pass::new(
        "running after SIGKILL and SIGSTOP from inside; SIGTERM then exited 0",
    ))
}

/// The program has acted upon the signal, runs, and TERM still ends it.
fn lives_and_answers(pod: &mut Pod<'_>, sent: i32, after: &str) -> Result<(), Stop> {
    // A program that does not go back to sleep may be slow or may spin: TERM shows whether it works.
    pod.settle(sent, after)?;
    pod.expect_term_works(after).map(drop)
}

pub(super) static SURVIVES_HUP: Check = Check {
    id: "signals/survives-hup",
    title: "HUP from outside and from a container of the pod does no harm",
    level: Level::Must,
    requirement: "The pause process MUST survive SIGHUP, which users are told to send to process 1, and MUST still answer SIGTERM.",
    source: Source {
        title: "Share Process Namespace between Containers in a Pod",
        url: "https://github.com/kubernetes/website/blob/release-1.34/content/en/docs/tasks/configure-pod-container/share-process-namespace.md",
    },
    advice: Advice::new(
        "`kill -HUP 1` is in many a manual for reloading: it would end the pod.",
        "Install no handler that ends the program; for process 1 a signal without a handler is dropped.",
    )
    .as_in(&advice::SURVIVE),
    needs: JOINED.union(Needs::HOST_PID),
    after: AFTER_TERM,
    run: survives_hup,
};

fn survives_hup(cx: &Context<'_>) -> Outcome {
    survives(cx, [HUP])?;
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    pod.signal_from_inside(&probe, HUP)?;
    drop(probe);
    pod.expect_unharmed(HUP, "SIGHUP from inside")?;
    Ok(Pass::new(format!(
        "running after SIGHUP from outside and from inside{}",
        cx.unharmed()
    )))
}

pub(super) static SURVIVES_OTHERS: Check = Check {
    id: "signals/survives-others",
    title: "no other signal that a process may send does harm",
    level: Level::Must,
    requirement: "The pause process MUST survive SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGWINCH, SIGURG, SIGCONT, SIGIO, SIGPWR, SIGVTALRM, SIGPROF and SIGSTKFLT, and MUST still answer SIGTERM.",
    source: Source {
        title: "pause(2)",
        url: "https://man7.org/linux/man-pages/man2/pause.2.html",
    },
    advice: Advice::new(
        "Containers of a pod with a shared pid namespace can send any of them; each would restart the whole pod.",
        "Install handlers for SIGTERM, SIGINT and SIGCHLD alone; for process 1 any other signal is dropped.",
    )
    .as_in(&advice::SURVIVE),
    needs: SETTLES,
    after: AFTER_TERM,
    run: |cx| {
        survives(
            cx,
            [
                libc::SIGQUIT,
                libc::SIGUSR1,
                libc::SIGUSR2,
                libc::SIGPIPE,
                libc::SIGALRM,
                libc::SIGWINCH,
                libc::SIGURG,
                CONT,
                libc::SIGIO,
                libc::SIGPWR,
                libc::SIGVTALRM,
                libc::SIGPROF,
                libc::SIGSTKFLT,
            ],
        )
    },
};

pub(super) static SURVIVES_REALTIME: Check = Check {
    id: "signals/survives-realtime",
    title: "no real-time signal does harm",
    level: Level::Must,
    requirement: "The pause process MUST survive every real-time signal, and MUST still answer SIGTERM.",
    source: Source {
        title: "signal(7)",
        url: "https://man7.org/linux/man-pages/man7/signal.7.html",
    },
    advice: Advice::new(
        "Any member of the pod could end it by a signal that programs use among themselves.",
        "Install no handlers for real-time signals, or ones that do nothing.",
    )
    .as_in(&advice::SURVIVE),
    needs: SETTLES.union(Needs::NATIVE).union(Needs::SLOW),
    after: AFTER_TERM,
    run: |cx| {
        const ALL: RangeInclusive<i32> = RT_FIRST..=RT_LAST;
        survives(cx, ALL)
    },
};

pub(super) static SURVIVES_SENT_FAULTS: Check = Check {
    id: "signals/survives-sent-faults",
    title: "fault signals that were sent, not raised by a fault, do no harm",
    level: Level::Should,
    requirement: "The pause process SHOULD survive SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP and SIGSYS that a process sends.",
    source: PID_NAMESPACES,
    advice: Advice::new(
        "A member of the pod could end it by a signal that a fault would raise.",
        "Install no handlers for them; for process 1 the kernel drops those that are sent.",
    )
    .as_in(&advice::SURVIVE),
    needs: SETTLES,
    after: AFTER_TERM,
    run: |cx| {
        survives(
            cx,
            [
                libc::SIGSEGV,
                libc::SIGABRT,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGTRAP,
                libc::SIGSYS,
            ],
        )
    },
};

/// Each signal to a sandbox of its own, as what one does to a program may hide another's doing;
/// those that do nothing to it share one.
fn survives(cx: &Context<'_>, numbers: impl IntoIterator<Item = i32>) -> Outcome {
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let together = survives_together(cx, &numbers)?;
    let is_alone = |number: &i32| !together.contains(number);
    let alone: Vec<i32> = numbers.iter().copied().filter(is_alone).collect();
    cx.start_each(&alone, spec, |pod, number| {
        pod.signal(number)?;
        pod.expect_unharmed(number, &name(number))
    })?;
    let pass = Pass::new(format!(
        "running after each of {} signals{}",
        numbers.len(),
        cx.unharmed()
    ))
    .with(names(&numbers));
    Ok(match together.len() {
        0 => pass,
        some if some == numbers.len() => {
            pass.with("one sandbox got all of them, one after the other")
        }
        some => pass.with(format!(
            "one sandbox got {some} of them, one after the other: {}",
            names(&together)
        )),
    })
}

fn names(numbers: &[i32]) -> String {
    let names: Vec<_> = numbers.iter().copied().map(name).collect();
    names.join(" ")
}

/// Those that one sandbox survived, one after the other: the ones that the kernel discards, or all
/// where starts are dear, as they leave a sound program as it was. None where it does not survive
/// them: each is then tried alone, to name the one that does harm.
fn survives_together(cx: &Context<'_>, numbers: &[i32]) -> Result<Vec<i32>, Stop> {
    let all = cx.starts_are_dear();
    if numbers.len() < 2 || !all && !cx.offers(Needs::NATIVE) {
        return Ok(Vec::new());
    }
    let mut pod = cx.start(spec())?;
    let discarded = pod.discarded(numbers);
    let some = if all { numbers } else { &discarded };
    if some.len() < 2 {
        return Ok(Vec::new());
    }
    let mut survives = || {
        for number in some {
            pod.signal(*number)?;
            if all && !pod.settle(*number, &name(*number))? {
                return Ok(false);
            }
        }
        // What a program handles since then has to be tried alone.
        if !all && pod.discarded(some) != *some {
            return Ok(false);
        }
        pod.expect_term_works("all of them").map(|_| true)
    };
    match survives() {
        Ok(true) => Ok(some.to_vec()),
        Ok(false) | Err(Stop::Fail(_) | Stop::Ended(_) | Stop::NotRunning(_)) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}

pub(super) static TTY_STOP_IGNORED: Check = Check {
    id: "signals/tty-stop-ignored",
    title: "the terminal's stop signals never stop the program",
    level: Level::Should,
    requirement: "The pause process SHOULD NOT stop or end on SIGTSTP, SIGTTIN and SIGTTOU.",
    source: CATATONIT,
    advice: Advice::new(
        "A stopped pause neither reaps nor answers SIGTERM, and the pod hangs.",
        "Install no handler that stops the process.",
    )
    .as_in(&advice::SURVIVE),
    needs: SETTLES.union(Needs::SLOW),
    after: AFTER_TERM,
    run: tty_stop_ignored,
};

fn tty_stop_ignored(cx: &Context<'_>) -> Outcome {
    for number in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        let mut pod = cx.start(spec())?;
        pod.signal(number)?;
        let after = name(number);
        pod.settle(number, &after)?;
        let state = pod.state()?.state;
        if state.eq_ignore_ascii_case(&'t') {
            return Err(pod
                .finding(format!("not stopped by {after}"), format!("state {state}"))
                .into());
        }
        pod.expect_term_works(&after)?;
    }
    Ok(Pass::new(
        "not stopped by SIGTSTP, SIGTTIN and SIGTTOU; SIGTERM then exited 0",
    ))
}

pub(super) static STOP_CONT: Check = Check {
    id: "signals/stop-cont",
    title: "the program goes on after STOP and CONT",
    level: Level::Should,
    requirement: "The pause process SHOULD go on after SIGSTOP and SIGCONT from outside: wait, reap what ended meanwhile, and answer SIGTERM.",
    source: Source {
        title: "signal(7), interruption by stop signals",
        url: "https://man7.org/linux/man-pages/man7/signal.7.html",
    },
    advice: Advice::new(
        "Freezers and debuggers stop a pod and let it go on: after that it must still reap and end.",
        "Take EINTR for an ordinary wake-up: reap, and wait again.",
    )
    .as_in(&advice::WAIT),
    needs: JOINED.union(Needs::HOST_PID),
    after: &["signals/term-exits-zero", "reaping/one-orphan"],
    run: stop_cont,
};

fn stop_cont(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let what = "an orphan that ended meanwhile";
    let orphan = Orphans::spawn(&mut pod, &probe, 1, (Death::Exit, 0), 0, what)?;
    pod.stop()?;
    orphan.release(&mut pod)?;
    pod.signal(CONT)?;
    pod.settle(CONT, "SIGSTOP and SIGCONT")?;
    orphan.expect_reaped_within(&mut pod, PROMPTLY)?;
    drop(probe);
    pod.expect_term_works("SIGSTOP and SIGCONT")?;
    Ok(Pass::new(
        "stopped and continued: running, reaped what ended meanwhile; SIGTERM then exited 0",
    ))
}

pub(super) static SPURIOUS_CHLD: Check = Check {
    id: "signals/spurious-chld",
    title: "CHLD without a child does no harm",
    level: Level::Must,
    requirement: "The pause process MUST neither end nor spin on a SIGCHLD without a child to wait for.",
    source: Source {
        title: "kubernetes#36853",
        url: "https://github.com/kubernetes/kubernetes/pull/36853",
    },
    advice: Advice::new(
        "A stray SIGCHLD would end the pod, or have pause take a whole processor.",
        "Take ECHILD and 0 from waitpid for \"none left\", and wait again.",
    )
    .as_in(&advice::REAP),
    needs: SETTLES,
    after: AFTER_TERM,
    run: spurious_chld,
};

fn spurious_chld(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    pod.expect_asleep()?;
    for _ in 0..3 {
        let sent = Instant::now();
        pod.signal(CHLD)?;
        if !pod.settle(CHLD, "SIGCHLD without a child")? {
            let state = pod.state()?;
            let observed = format!(
                "state {} {:.1?} after it, {} ticks used",
                state.state,
                sent.elapsed(),
                state.ticks
            );
            let expected = "asleep again after SIGCHLD without a child".to_owned();
            return Err(pod.finding(expected, observed).with(pod.describe()).into());
        }
    }
    pod.expect_term_works("SIGCHLD without a child")?;
    Ok(Pass::new(
        "asleep again after each of 3 SIGCHLD without a child; SIGTERM then exited 0",
    ))
}

pub(super) static CHILD_STATUS_IGNORED: Check = Check {
    id: "signals/child-status-ignored",
    title: "the program keeps running, however an orphan ends",
    level: Level::Must,
    requirement: "The pause process MUST keep running, and MUST still exit with status 0 on SIGTERM, whatever the exit status or signal with which orphans end.",
    source: PAUSE_C,
    advice: Advice::new(
        "A process of a container that dies badly would take the pod with it.",
        "Throw the status away that waitpid gives.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::HOST_PID),
    after: &[
        "signals/term-exits-zero",
        "reaping/one-orphan",
        "reaping/spares-the-living",
    ],
    run: child_status_ignored,
};

fn child_status_ignored(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let what = format!("{ALL_DEATHS} orphans");
    let orphans = Orphans::spawn(&mut pod, &probe, ALL_DEATHS, (Death::Mixed, 0), 0, &what)?;
    orphans.release(&mut pod)?;
    // Whether all are reaped is not asked here, only what comes of how they ended.
    pod.settle(CHLD, &format!("{what} ended"))?;
    drop(probe);
    lives_and_answers(
        &mut pod,
        CHLD,
        "orphans of every exit status and 12 signals ended",
    )?;
    Ok(Pass::new(
        "running after orphans of every exit status and 12 signals ended; SIGTERM then exited 0",
    ))
}
