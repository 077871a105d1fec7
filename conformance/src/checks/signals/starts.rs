//! What was done to its signals and streams before it was started.

use std::time::{Duration, Instant};

use nix::libc;

use super::{AFTER_TERM, PAUSE_C, RUNS, SETTLES, spec};
use crate::advice::{self, Advice};
use crate::backend::{Spec, Stream};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Becomes, Context, PROMPTLY};
use crate::process::ExitStatus;
use crate::seccomp::{self, Answer};
use crate::signal::{CHLD, INT, TERM, bit, name};

pub(super) static BLOCKED_AT_EXEC: Check = Check {
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
        .union(Needs::SLOW),
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

pub(super) static BROKEN_STDERR: Check = Check {
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
        .union(Needs::SLOW),
    after: AFTER_TERM,
    run: |cx| broken_stderr(cx, true),
};

pub(super) static BROKEN_STDERR_NOT_FIRST: Check = Check {
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

pub(super) static SIGACTION_FAILS: Check = Check {
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
