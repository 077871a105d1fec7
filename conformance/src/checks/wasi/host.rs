//! A WASI runtime with the program, as PID 1 of a sandbox. A WASI program has no signals and no
//! children, so the runtime must do for the pod what a native pause does; a runtime made for
//! programs that end by themselves does not.

use std::io;
use std::time::{Duration, Instant};

use crate::advice::Advice;
use crate::backend::{Join, Spec};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Orphans, Pod, Watched};
use crate::process::ExitStatus;
use crate::signal;

/// What every check here needs.
const PAIR: Needs = Needs::WASM_MODULE
    .union(Needs::SANDBOX)
    .union(Needs::HOST_PID)
    .union(Needs::WASI_HOST);

const HOLDS_ID: &str = "wasi/host-holds";
/// Without it no signal shows anything.
const HELD: &[&str] = &[HOLDS_ID];
/// Without these no host can start it.
const STARTS: &[&str] = &[
    "wasi/imports-few",
    "wasi/exports-entry",
    "wasi/no-start-section",
];

/// How long the WASI runtime must keep running.
const WINDOW: Duration = Duration::from_millis(900);
/// How soon a signal must end it.
const ENDS: Duration = Duration::from_secs(2);
/// Processor time that counts as none: one tick of a clock of 100 Hz.
const TICK: Duration = Duration::from_millis(10);
/// Processor time that a WASI runtime may take to start, and how long it rests once it has.
const START: Duration = Duration::from_millis(500);
const REST: Duration = Duration::from_millis(200);

const PAUSE: Source = Source {
    title: "pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

/// The WASI runtime with the program, started, in words for reports.
fn engine(cx: &Context<'_>) -> String {
    format!("engine {}", cx.options().wasi_engine.name())
}

pub(super) static HOLDS: Check = Check {
    id: HOLDS_ID,
    title: "the WASI runtime with the program holds a sandbox as PID 1",
    level: Level::Must,
    requirement: "A WASI runtime that runs the program as PID 1 of a sandbox MUST keep running.",
    source: PAUSE,
    advice: Advice::new(
        "The WASI runtime is process 1 of the pod: where it ends, all of the pod is restarted.",
        "Use a WASI runtime that keeps running, such as the suite's own.",
    ),
    needs: PAIR.union(Needs::WAITS),
    after: STARTS,
    run: holds,
};

fn holds(cx: &Context<'_>) -> Outcome {
    hold(cx).map_err(|stop| match stop {
        // No other check gives the reason.
        Stop::NotRunning(finding) | Stop::Ended(finding) => finding.with(engine(cx)).into(),
        other => other,
    })
}

fn hold(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_engine(spec())?;
    let pids = pod.status()?.nspid.unwrap_or_default();
    ensure(
        pids.last() == Some(&1),
        "the WASI runtime is PID 1 of the sandbox",
        format!("its pids are {pids:?}, the innermost namespace's last"),
    )?;
    pod.expect_running_for(WINDOW, "its start")?;
    Ok(Pass::new(format!("PID 1 after {WINDOW:?}")).with(engine(cx)))
}

pub(super) static ENDS_ON_TERM: Check = Check {
    id: "wasi/host-ends-on-term",
    title: "the WASI runtime ends the program on SIGTERM",
    level: Level::Must,
    requirement: "On SIGTERM the WASI runtime as PID 1 MUST end within 2 s, with status 0 or 143.",
    source: PAUSE,
    advice: Advice::new(
        "The program knows no signals: where its runtime takes no SIGTERM, each deletion of a pod takes the grace period.",
        "Use a WASI runtime that handles SIGTERM as process 1, or a shim that ends it.",
    ),
    needs: PAIR,
    after: HELD,
    run: |cx| ends_on(cx, signal::TERM),
};

pub(super) static ENDS_ON_INT: Check = Check {
    id: "wasi/host-ends-on-int",
    title: "the WASI runtime ends the program on SIGINT",
    level: Level::Must,
    requirement: "On SIGINT the WASI runtime as PID 1 MUST end within 2 s, with status 0 or 130.",
    source: PAUSE,
    advice: Advice::new(
        "Ctrl-C, and engines whose stop signal it is, leave the sandbox running.",
        "Use a WASI runtime that handles SIGINT as process 1.",
    ),
    needs: PAIR,
    after: HELD,
    run: |cx| ends_on(cx, signal::INT),
};

fn ends_on(cx: &Context<'_>, number: i32) -> Outcome {
    let cause = signal::name(number);
    let conventional = 128 + number;
    let mut pod = cx.start_engine(spec())?;
    await_rest(&mut pod)?;
    let sent = Instant::now();
    pod.signal(number)?;
    let expected = format!("exited 0 or {conventional} within {ENDS:?} of {cause}");
    match pod.await_end(ENDS)? {
        Some(status @ ExitStatus::Exited(code)) if code == 0 || code == conventional => {
            Ok(Pass::new(format!("{status} after {:.1?}", sent.elapsed())).with(engine(cx)))
        }
        Some(status) => Err(pod
            .finding(expected, format!("{status} after {cause}"))
            .with(engine(cx))
            .into()),
        None => {
            let observed = format!("still running {:.1?} after {cause}", sent.elapsed());
            let state = pod.describe();
            Err(pod
                .finding(expected, observed)
                .with(engine(cx))
                .with(state)
                .into())
        }
    }
}

pub(super) static KILLED: Check = Check {
    id: "wasi/host-kill-is-137",
    title: "SIGKILL ends the WASI runtime and every process of its sandbox",
    level: Level::Must,
    requirement: "On SIGKILL from outside the WASI runtime as PID 1 MUST end by that signal, and every process of its pid namespace with it.",
    source: Source {
        title: "containerd, sandbox_stop.go",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/server/sandbox_stop.go",
    },
    advice: Advice::new(
        "The runtime waits for a sandbox that does not go away.",
        "Let nothing hold the WASI runtime after SIGKILL.",
    ),
    needs: PAIR.union(Needs::PROBE),
    after: STARTS,
    run: killed,
};

fn killed(cx: &Context<'_>) -> Outcome {
    const ORPHANS: usize = 4;
    let mut pod = cx.start_engine(spec())?;
    await_rest(&mut pod)?;
    let member = pod.enter(&Join::default())?;
    let _orphans = Orphans::spawn(
        &mut pod,
        &member,
        ORPHANS,
        (fixtures::protocol::Death::Exit, 0),
        0,
        "orphans",
    )?;
    let children = pod.children()?;
    if children.len() < ORPHANS {
        let count = format!("it has {} children, not {ORPHANS}", children.len());
        return Err(pod.harness_failed("count its orphans", &io::Error::other(count)));
    }
    pod.signal(signal::KILL)?;
    pod.expect_end_with(vec![member], ExitStatus::Signaled(signal::KILL), "SIGKILL")?;
    for child in &children {
        ensure(
            child.is_gone(),
            "no process of the sandbox is left once the WASI runtime has ended",
            format!("process {} is left", child.pid()),
        )?;
    }
    Ok(Pass::new(format!(
        "killed by SIGKILL; its {} children and a member ended with it",
        children.len()
    ))
    .with(engine(cx)))
}

pub(super) static REAPS: Check = Check {
    id: "wasi/host-reaps",
    title: "the WASI runtime reaps orphans",
    level: Level::Must,
    requirement: "The WASI runtime as PID 1 MUST reap an orphan within 1 s of its end, while the program waits.",
    source: Source {
        title: "kubernetes#36853",
        url: "https://github.com/kubernetes/kubernetes/pull/36853",
    },
    advice: Advice::new(
        "The program knows no children: where its runtime does not reap, the pod fills with zombies.",
        "Use a WASI runtime that reaps as process 1, or a small init before it.",
    ),
    needs: PAIR.union(Needs::PROBE),
    after: HELD,
    run: reaps,
};

fn reaps(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_engine(spec())?;
    await_rest(&mut pod)?;
    let member = pod.enter(&Join::default())?;
    let orphans = Orphans::spawn(
        &mut pod,
        &member,
        1,
        (fixtures::protocol::Death::Exit, 0),
        0,
        "an orphan",
    )?;
    orphans.expect_reaped(&mut pod)?;
    pod.expect_running("an orphan ended")?;
    Ok(Pass::new("an orphan was reaped").with(engine(cx)))
}

pub(super) static IDLE: Check = Check {
    id: "wasi/host-idle",
    title: "the WASI runtime uses no processor time while the program waits",
    level: Level::Must,
    requirement: "The WASI runtime with the program MUST use no processor time while nothing happens in the pod.",
    source: Source {
        title: "kubernetes#95840",
        url: "https://github.com/kubernetes/kubernetes/issues/95840",
    },
    advice: Advice::new(
        "A runtime that polls takes processor time for each pod of each node.",
        "Use a WASI runtime that sleeps while the program waits.",
    ),
    needs: PAIR.union(Needs::WAITS),
    after: HELD,
    run: idle,
};

fn idle(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_engine(spec())?;
    await_rest(&mut pod)?;
    let since = pod.processor_time()?;
    match pod.watch_use(WINDOW, TICK, since)? {
        Watched::Idle(used) => Ok(Pass::new(format!("{used:.1?} in {WINDOW:?}")).with(engine(cx))),
        Watched::Busy(used) => Err(Finding::new(
            format!("less than {TICK:?} of processor time in {WINDOW:?}"),
            format!("{used:.1?} and more"),
        )
        .with(engine(cx))
        .into()),
        Watched::Ended(_) => {
            pod.leave_alone(Duration::ZERO)?;
            Err(Stop::Error("it ended and still runs".to_owned()))
        }
    }
}

/// Waits until the WASI runtime has started the program, and rests: a runtime that compiles has
/// threads that work. One that never rests is judged as it is.
fn await_rest(pod: &mut Pod<'_>) -> Result<(), Stop> {
    if pod.is_ready() {
        return Ok(());
    }
    let mut used = pod.processor_time()?;
    while used < START {
        match pod.watch_use(REST, TICK / 10, used)? {
            Watched::Idle(_) => return Ok(()),
            Watched::Busy(more) => used += more,
            Watched::Ended(_) => return pod.leave_alone(Duration::ZERO),
        }
    }
    Ok(())
}
