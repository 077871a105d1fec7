//! The family `startup`: the program starts under everything that a runtime may ask
//! of it, stays, and can be stopped from the moment it waits.

use std::time::Duration;

use crate::advice::Advice;
use crate::backend::{Root, Spec};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Pod};

pub(super) mod confined;
mod days;
mod limits;
mod read_only;
mod seccomp;
mod stays;
mod timing;

/// Starting and staying.
pub static FAMILY: Family = Family {
    name: "startup",
    title: "starting and staying",
    checks: &[
        &stays::STAYS,
        &stays::STAYS_WITHOUT_STDIN,
        &days::STAYS_FOR_DAYS,
        &days::WORKS_AFTER_DAYS,
        &BARE_FILESYSTEM,
        &read_only::READ_ONLY_ROOT,
        &confined::NO_PRIVILEGES,
        &seccomp::DEFAULT_SECCOMP,
        &confined::ANY_UID,
        &confined::USER_NAMESPACE,
        &limits::TINY_MEMORY,
        &limits::ONE_PID,
        &NOT_FIRST,
        &timing::ANSWERS_WHEN_READY,
        &timing::SAFE_SOON,
        &timing::LOSS_WINDOW,
        &timing::TIME_TO_READY,
    ],
};

/// What every check of a running program needs.
const RUNS: Needs = Needs::PROGRAM.union(Needs::SANDBOX);

/// What every check needs that ends with TERM.
const TERM_WORKS: &[&str] = &["signals/term-exits-zero"];

/// How long a program that should stay is watched.
const WINDOW: Duration = Duration::from_secs(1);

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

static BARE_FILESYSTEM: Check = Check {
    id: "startup/bare-filesystem",
    title: "the program needs no /proc, no /dev and no environment",
    level: Level::Must,
    requirement: "The program MUST start with an empty environment and with no file but those of the image: no /proc, no /dev, no /etc.",
    source: Source {
        title: "kubernetes build/pause/Dockerfile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Dockerfile",
    },
    advice: Advice::new(
        "A pod sandbox has the image's files alone, and perhaps no /proc: the program fails before the pod exists.",
        "Open no file at the start, and read no environment.",
    ),
    needs: RUNS.union(Needs::HOST_PID).union(Needs::BARE_ROOT),
    after: TERM_WORKS,
    run: bare_filesystem,
};

fn bare_filesystem(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        root: Root::Bare,
        env: Some(Vec::new()),
        ..Spec::default()
    };
    let outcome = starts(cx, spec, "on the image's files alone", |pod| {
        let files = pod.files()?;
        if let Some((path, _)) = files.iter().find(|(_, stamp)| stamp.mounted) {
            return Err(Stop::Error(format!(
                "the root is not bare: /{} is mounted",
                path.escape_ascii()
            )));
        }
        Ok(format!(
            "nothing mounted on the root, {} files and directories in all",
            files.len()
        ))
    });
    let Err(Stop::NotRunning(finding)) = outcome else {
        return outcome;
    };
    Err(Stop::NotRunning(match missed_file(cx) {
        Some(with) => {
            let observed = format!("{}; it stays with {with}", finding.observed);
            Finding {
                observed,
                ..finding
            }
        }
        None => finding,
    }))
}

/// What a program needs that does not stay on the image's files alone: one thing that suffices
/// without the others.
fn missed_file(cx: &Context<'_>) -> Option<&'static str> {
    let none = Some(Vec::new());
    let ways = [
        (
            "an environment",
            Spec {
                root: Root::Bare,
                ..Spec::default()
            },
        ),
        (
            "/dev",
            // Which has no /proc: only the owner of a pid namespace may mount it.
            Spec {
                own_pid_namespace: false,
                env: none.clone(),
                ..Spec::default()
            },
        ),
        (
            "/proc and /dev",
            Spec {
                env: none,
                ..Spec::default()
            },
        ),
    ];
    let stays = |spec: Spec| {
        let started = cx.start(Spec {
            own_network: false,
            ..spec
        });
        started.is_ok_and(|mut pod| pod.expect_running("its start").is_ok())
    };
    let found = ways.into_iter().find(|(_, spec)| stays(spec.clone()));
    found.map(|(with, _)| with)
}

static NOT_FIRST: Check = Check {
    id: "startup/not-first",
    title: "the program works without being PID 1",
    level: Level::Must,
    requirement: "A pause process that is not PID 1, as in a pod that shares the host's pid namespace, MUST keep running and exit 0 on SIGTERM.",
    source: PAUSE_C,
    advice: Advice::new(
        "In a pod with `hostPID: true` pause is not process 1: a program that insists on it never starts.",
        "Do not end where getpid() is not 1; a warning is enough.",
    ),
    needs: RUNS.union(Needs::HOST_PID).union(Needs::HOST_PID_NAMESPACE),
    // Such a sandbox has no /proc: only the namespace's owner may mount it.
    after: &["signals/term-exits-zero", "startup/bare-filesystem"],
    run: not_first,
};

fn not_first(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        own_pid_namespace: false,
        ..Spec::default()
    };
    starts(
        cx,
        spec,
        "without a pid namespace of its own",
        |pod| match pod.status()?.nspid.as_deref() {
            Some([.., 1]) => Err(Stop::Error(
                "the process is PID 1, and was not to be".to_owned(),
            )),
            Some([.., pid]) => Ok(format!("its pid is {pid}")),
            _ => Err(Stop::Error("the kernel does not tell its pid".to_owned())),
        },
    )
}

/// Starts the program in a special way, proven before it is executed, and expects it
/// to become ready and to exit 0 on TERM.
fn starts(
    cx: &Context<'_>,
    spec: Spec,
    way: &str,
    prove: impl Fn(&mut Pod<'_>) -> Result<String, Stop>,
) -> Outcome {
    let mut pod = cx.start_unready(Spec {
        own_network: false,
        held: true,
        ..spec
    })?;
    let proof = prove(&mut pod)?;
    let started = pod.release().and_then(|()| pod.await_ready());
    started.map_err(|stop| not_started(stop, way, &proof))?;
    pod.expect_term_works(&format!("it started {way}"))?;
    Ok(Pass::new(format!("starts {way}, and exits 0 on SIGTERM")).with(proof))
}

/// Adds how a program was started that did not start.
fn not_started(stop: Stop, way: &str, proof: &str) -> Stop {
    match stop {
        Stop::NotRunning(finding) => {
            let finding = Finding {
                expected: format!("it starts {way}, and stays"),
                ..finding
            };
            Stop::NotRunning(finding.with(proof))
        }
        other => other,
    }
}
