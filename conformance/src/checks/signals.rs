//! The family `signals`: what ends the pause process, what must not, and how soon.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use fixtures::protocol::Death;
use nix::libc;

use crate::advice::{self, Advice};
use crate::backend::{Join, Namespaces, Spec, Stream};
use crate::check::{Check, Family, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Becomes, Context, Orphans, PROMPTLY, Pod};
use crate::process::ExitStatus;
use crate::seccomp::{self, Answer};
use crate::signal::{CHLD, CONT, HUP, INT, KILL, RT_FIRST, RT_LAST, STOP, TERM, bit, name};

mod moments;

/// How the pause process answers signals.
pub static FAMILY: Family = Family {
    name: "signals",
    title: "how the pause process answers signals",
    checks: &[
        &TERM_EXITS_ZERO,
        &INT_EXITS_ZERO,
        &TERM_FROM_INSIDE,
        &KILL_IS_137,
        &KILL_FROM_INSIDE_IGNORED,
        &SURVIVES_HUP,
        &SURVIVES_OTHERS,
        &SURVIVES_REALTIME,
        &SURVIVES_SENT_FAULTS,
        &TTY_STOP_IGNORED,
        &STOP_CONT,
        &SPURIOUS_CHLD,
        &BURST,
        &TERM_IN_CHLD_STORM,
        &moments::NO_LOST_TERM,
        &CHILD_STATUS_IGNORED,
        &BLOCKED_AT_EXEC,
        &BROKEN_STDERR,
        &BROKEN_STDERR_NOT_FIRST,
        &SIGACTION_FAILS,
        &TERM_AFTER_WORK,
        &TERM_LATENCY,
    ],
};

/// What every check of a running program needs.
const RUNS: Needs = Needs::PROGRAM.union(Needs::SANDBOX);
/// And where a process joins it.
const JOINED: Needs = RUNS.union(Needs::PROBE);
/// And where /proc shows when it has acted on a signal.
const SETTLES: Needs = RUNS.union(Needs::HOST_PID);

/// Nearly all end with TERM, to see that the program still works.
const AFTER_TERM: &[&str] = &["signals/term-exits-zero"];

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

const PID_NAMESPACES: Source = Source {
    title: "pid_namespaces(7)",
    url: "https://man7.org/linux/man-pages/man7/pid_namespaces.7.html",
};

const CATATONIT: Source = Source {
    title: "catatonit.c",
    url: "https://github.com/openSUSE/catatonit/blob/v0.2.0/catatonit.c",
};

/// A container of a pod that shares its pid namespace.
const CONTAINER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// Signals need no network: a sandbox without one of its own starts sooner.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

static TERM_EXITS_ZERO: Check = Check {
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
    needs: RUNS.union(Needs::SLOW_FAIL),
    after: &[],
    run: |cx| exits_zero(cx, TERM),
};

static INT_EXITS_ZERO: Check = Check {
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
    needs: RUNS.union(Needs::SLOW_FAIL),
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

static TERM_FROM_INSIDE: Check = Check {
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
    needs: JOINED.union(Needs::SLOW_FAIL),
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

static KILL_IS_137: Check = Check {
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
        "signaled 9 (status 137 in container engines) {took:.1?} after SIGKILL"
    )))
}

static KILL_FROM_INSIDE_IGNORED: Check = Check {
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

static SURVIVES_HUP: Check = Check {
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

static SURVIVES_OTHERS: Check = Check {
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

static SURVIVES_REALTIME: Check = Check {
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
    needs: SETTLES.union(Needs::NATIVE).union(Needs::SLOW_FAIL),
    after: AFTER_TERM,
    run: |cx| {
        const ALL: RangeInclusive<i32> = RT_FIRST..=RT_LAST;
        survives(cx, ALL)
    },
};

static SURVIVES_SENT_FAULTS: Check = Check {
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

/// Each signal to a sandbox of its own, as what one does to a program may hide another's doing.
fn survives(cx: &Context<'_>, numbers: impl IntoIterator<Item = i32>) -> Outcome {
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let together = cx.starts_are_dear() && survives_all(cx, &numbers)?;
    if !together {
        cx.start_each(&numbers, spec, |pod, number| {
            pod.signal(number)?;
            pod.expect_unharmed(number, &name(number))
        })?;
    }
    let survived: Vec<_> = numbers.into_iter().map(name).collect();
    let pass = Pass::new(format!(
        "running after each of {} signals{}",
        survived.len(),
        cx.unharmed()
    ))
    .with(survived.join(" "));
    Ok(if together {
        pass.with("one sandbox got all of them, one after the other")
    } else {
        pass
    })
}

/// Whether one sandbox survives one signal after the other: they leave a sound program as it was.
/// Where it does not, each is tried alone, to name the one that does harm.
fn survives_all(cx: &Context<'_>, numbers: &[i32]) -> Result<bool, Stop> {
    let mut pod = cx.start(spec())?;
    let mut survives = || {
        for number in numbers {
            pod.signal(*number)?;
            if !pod.settle(*number, &name(*number))? {
                return Ok(false);
            }
        }
        pod.expect_term_works("all of them").map(|_| true)
    };
    match survives() {
        Err(Stop::Fail(_) | Stop::Ended(_) | Stop::NotRunning(_)) => Ok(false),
        other => other,
    }
}

static TTY_STOP_IGNORED: Check = Check {
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
    needs: SETTLES.union(Needs::SLOW_FAIL),
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

static STOP_CONT: Check = Check {
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

static SPURIOUS_CHLD: Check = Check {
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
        let watch = pod.stopwatch();
        pod.signal(CHLD)?;
        if !pod.settle(CHLD, "SIGCHLD without a child")? {
            let state = pod.state()?;
            let observed = format!(
                "state {} {:.1?} after it, {} ticks used",
                state.state,
                watch.wall(),
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

static BURST: Check = Check {
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

static TERM_IN_CHLD_STORM: Check = Check {
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
    needs: JOINED.union(Needs::SLOW_FAIL),
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

static CHILD_STATUS_IGNORED: Check = Check {
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
    // Enough for every exit status once.
    let orphans = Orphans::spawn(&mut pod, &probe, 512, (Death::Mixed, 0), 0, "512 orphans")?;
    orphans.release(&mut pod)?;
    // Whether all are reaped is not asked here, only what comes of how they ended.
    pod.settle(CHLD, "512 orphans ended")?;
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

static BLOCKED_AT_EXEC: Check = Check {
    id: "signals/blocked-at-exec",
    title: "TERM works although the parent had it blocked or ignored",
    level: Level::Should,
    requirement: "The pause process SHOULD exit with status 0 on SIGTERM also where SIGTERM was blocked or ignored when it was executed.",
    source: Source {
        title: "podman#3440",
        url: "https://github.com/containers/podman/issues/3440",
    },
    advice: Advice::new(
        "The mask and ignored signals are inherited through exec: with a runtime that leaves them so, the pod cannot be stopped.",
        "Set the mask and the handlers yourself at the start.",
    )
    .as_in(&advice::TERM),
    needs: SETTLES
        .union(Needs::HELD)
        .union(Needs::DISPOSITIONS)
        .union(Needs::SLOW_FAIL),
    after: AFTER_TERM,
    run: blocked_at_exec,
};

fn blocked_at_exec(cx: &Context<'_>) -> Outcome {
    for (how, blocked, ignored) in [("blocked", bit(TERM), 0), ("ignored", 0, bit(TERM))] {
        let mut pod = cx.start_unready(Spec {
            blocked,
            ignored,
            held: true,
            ..spec()
        })?;
        let status = pod.status()?;
        if (status.sigblk & bit(TERM), status.sigign & bit(TERM)) != (blocked, ignored) {
            return Err(Stop::Error(format!("SIGTERM is not {how} before exec")));
        }
        pod.release()?;
        pod.await_ready()?;
        pod.signal(TERM)?;
        let cause = format!("SIGTERM, which was {how} at exec");
        pod.expect_end(ExitStatus::Exited(0), PROMPTLY, &cause)?;
    }
    Ok(Pass::new(
        "exited 0 on SIGTERM that was blocked, and that was ignored, at exec",
    ))
}

static BROKEN_STDERR: Check = Check {
    id: "signals/broken-stderr",
    title: "TERM works although no process can read the program's output",
    level: Level::Should,
    requirement: "The pause process SHOULD exit with status 0 within one second of SIGTERM also where standard error is closed, a broken pipe, or a full pipe that is not read.",
    source: PAUSE_C,
    advice: Advice::new(
        "The pod hangs when it is deleted, since its last words cannot be written.",
        "Write nothing at the end, or ignore SIGPIPE and the error, and never wait for the write.",
    )
    .as_in(&advice::STDERR),
    needs: RUNS
        .union(Needs::STREAMS)
        .union(Needs::CLOSED_STREAMS)
        .union(Needs::SLOW_FAIL),
    after: AFTER_TERM,
    run: |cx| broken_stderr(cx, true),
};

static BROKEN_STDERR_NOT_FIRST: Check = Check {
    id: "signals/broken-stderr-not-first",
    title: "the same where the program is not process 1, and PIPE would end it",
    level: Level::Should,
    requirement: "The program SHOULD, also where it is not process 1, start and exit with status 0 within one second of SIGTERM with standard error closed, a broken pipe, or a full pipe that is not read.",
    source: PAUSE_C,
    advice: Advice::new(
        "Outside of a pid namespace of its own SIGPIPE ends the program where nobody reads its warning.",
        "Ignore SIGPIPE and the error of the write, and do not wait for it.",
    )
    .as_in(&advice::STDERR),
    needs: RUNS
        .union(Needs::STREAMS)
        .union(Needs::CLOSED_STREAMS)
        .union(Needs::HOST_PID_NAMESPACE),
    after: &["signals/broken-stderr", "startup/not-first"],
    run: |cx| broken_stderr(cx, false),
};

fn broken_stderr(cx: &Context<'_>, own_pid_namespace: bool) -> Outcome {
    for (how, stderr) in [
        ("closed", Stream::Closed),
        ("a broken pipe", Stream::Broken),
        ("a full pipe", Stream::Full),
    ] {
        let mut pod = cx.start(Spec {
            stderr,
            own_pid_namespace,
            ..spec()
        })?;
        pod.signal(TERM)?;
        let cause = format!("SIGTERM with standard error {how}");
        pod.expect_end(ExitStatus::Exited(0), PROMPTLY, &cause)?;
    }
    Ok(Pass::new(
        "exited 0 on SIGTERM with standard error closed, a broken pipe, and a full pipe",
    ))
}

static SIGACTION_FAILS: Check = Check {
    id: "signals/sigaction-fails",
    title: "what the program does where its handlers are denied",
    level: Level::Info,
    requirement: "How the program ends where sigaction(2) is denied for SIGINT, SIGTERM or SIGCHLD is reported.",
    source: PAUSE_C,
    advice: Advice::new(
        "It shows whether the program would run on without its handlers, deaf to SIGTERM.",
        "Look at what sigaction returns, and exit with a status of its own.",
    ),
    needs: RUNS
        .union(Needs::SECCOMP)
        .union(Needs::NATIVE)
        .union(Needs::WAITS),
    after: AFTER_TERM,
    run: sigaction_fails,
};

fn sigaction_fails(cx: &Context<'_>) -> Outcome {
    const WINDOW: Duration = Duration::from_millis(300);
    let stays = || "stays".to_owned();
    let mut seen = Vec::new();
    let mut pods = Vec::new();
    for number in [INT, TERM, CHLD] {
        let denied = Answer::Errno(libc::EPERM);
        let filter = seccomp::first_argument("rt_sigaction", number.unsigned_abs(), denied)?;
        let seccomp = Some(filter);
        let spec = Spec { seccomp, ..spec() };
        match cx.becomes(spec.clone())? {
            Becomes::Still(_) => seen.push((number, stays())),
            Becomes::Ended(status) => seen.push((number, status.to_string())),
            Becomes::Unknown => pods.push((number, cx.start_unready(spec)?)),
        }
    }
    let began = Instant::now();
    for (number, pod) in &mut pods {
        let ended = pod.await_end(WINDOW.saturating_sub(began.elapsed()))?;
        let did = ended.map_or_else(stays, |status| status.to_string());
        seen.push((*number, did));
    }
    let seen = seen
        .into_iter()
        .map(|(number, did)| format!("{}: {did}", name(number)));
    let seen: Vec<_> = seen.collect();
    Ok(Pass::new(format!(
        "with sigaction denied for {}",
        seen.join(", ")
    )))
}

static TERM_AFTER_WORK: Check = Check {
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

static TERM_LATENCY: Check = Check {
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
    const SAMPLES: usize = 30;
    const BUDGET: Duration = Duration::from_millis(120);
    let began = Instant::now();
    let mut took = Vec::with_capacity(SAMPLES);
    while took.len() < SAMPLES && (took.is_empty() || began.elapsed() < BUDGET) {
        let mut pod = cx.start(spec())?;
        let sent = Instant::now();
        pod.signal(TERM)?;
        match pod.await_end(PROMPTLY)? {
            Some(ExitStatus::Exited(0)) => took.push(sent.elapsed().as_micros() as u64),
            _ => {
                return Err(Stop::Inconclusive(
                    "one SIGTERM was not answered as before".to_owned(),
                ));
            }
        }
    }
    let median = cx.measure_all("term_latency", "us", &took);
    Ok(Pass::new(format!(
        "{median} µs, the median of {}",
        took.len()
    )))
}
