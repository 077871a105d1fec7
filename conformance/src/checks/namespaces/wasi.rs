//! Mixed pods: WASI workloads, each in a WASI runtime of the host's, that join a pod which a native
//! pause holds, beside native neighbours. A container runtime that hosts WASI workloads makes the
//! sandbox as for others, and executes the WASI runtime where a container's program would be.
//!
//! The workload is a server of the suite's own that does as it is told: it greets, or it
//! ends in the way that is asked for.

use std::io;
use std::time::Duration;

use super::network::PORT;
use super::{MEMBERS, RELEASE, held, outside, told, told_after};
use crate::advice::{self, Advice};
use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Helper, Orphans, PidMode, Pod};
use crate::probe::Probe;
use crate::process::ExitStatus;
use crate::signal;
use crate::wasi_host::{GREETING, TRAPPED};
use crate::workload::Workload;

/// What every check here needs.
const MIXED: Needs = MEMBERS
    .union(Needs::NETWORK)
    .union(Needs::HOST_PID)
    .union(Needs::WASI_HOST);

/// The ports of two workloads of a pod.
const PORTS: [u16; 2] = [PORT, PORT + 1];

/// Without it no workload can be given an order.
const REACHABLE_ID: &str = "namespaces/wasi-reachable";

/// The order to greet.
const GREET: &[u8] = b"g\0";

const RUNWASI: Source = Source {
    title: "runwasi, containerd-shim-wasm: the sandbox's pause stays native",
    url: "https://github.com/containerd/runwasi/blob/containerd-shim-wasm/v0.8.0/crates/containerd-shim-wasm/src/sys/unix/container/instance.rs",
};

const SHARE_PID: Source = Source {
    title: "KEP-495, shared pid namespace",
    url: "https://github.com/kubernetes/enhancements/blob/keps-v1.33/keps/sig-node/495-pod-pid-namespace/README.md",
};

pub(super) static JOINS: Check = Check {
    id: "namespaces/wasi-joins",
    title: "a WASI workload, a native neighbour and pause are in one pod",
    level: Level::Must,
    requirement: "A WASI workload MUST join the network, IPC and UTS namespaces that were made for the pod, and its pid namespace where that is shared, as a native neighbour does.",
    source: RUNWASI,
    advice: Advice::new(
        "A WASI container beside native ones would have another network.",
        "Leave the namespaces as they are.",
    ),
    needs: MIXED.union(Needs::SANDBOX_PROC),
    after: &[],
    run: joins,
};

fn joins(cx: &Context<'_>) -> Outcome {
    let mut pod = held(cx, Spec::default())?;
    let made = pod.namespaces()?;
    // In the namespaces that were made for the pod, whatever the pause process does then.
    let neighbour = pod.enter(&Join::default())?;
    pod.release()?;
    pod.await_ready()?;
    let files = pod.namespaces()?.remove("mnt");
    let shared = pod.run_guest(PORTS[0], PidMode::Shared, false)?;
    let private = pod.run_guest(PORTS[1], PidMode::Private, false)?;
    for (guest, kinds, mode) in [
        (&shared, &["net", "ipc", "uts", "pid"][..], "shared"),
        (&private, &["net", "ipc", "uts"][..], "private"),
    ] {
        let joined = told(&mut pod, "see a workload's namespaces", guest.namespaces())?;
        let pids = told(&mut pod, "see a workload's pids", guest.pids())?;
        ensure(
            (pids.last() == Some(&1)) == (mode == "private"),
            format!("a workload with a {mode} pid namespace is PID 1 only in one of its own"),
            format!("its pids are {pids:?}, the innermost namespace's last"),
        )?;
        if joined.get("mnt") == files.as_ref() {
            return Err(Stop::Error("the workload has the pod's files".to_owned()));
        }
        for kind in kinds {
            let path = format!("/proc/self/ns/{kind}");
            let beside = told(&mut pod, "say its namespaces", neighbour.read_link(&path))?;
            let inode = made.get(*kind).copied().unwrap_or_default();
            ensure(
                joined.get(*kind) == Some(&inode) && beside == format!("{kind}:[{inode}]"),
                format!("a workload and a neighbour are in the {kind} namespace made for the pod"),
                format!(
                    "made {inode}; the workload is in {:?}, the neighbour in {}",
                    joined.get(*kind),
                    beside.escape_debug()
                ),
            )?;
        }
    }
    pod.expect_running("two WASI workloads joined")?;
    Ok(Pass::new(
        "a workload in the pod's pid namespace and one in its own were in the namespaces made for the pod",
    ))
}

pub(super) static REACHABLE: Check = Check {
    id: REACHABLE_ID,
    title: "a native neighbour reaches a WASI server over localhost, and no other process does",
    level: Level::Must,
    requirement: "A native member of a pod MUST reach a WASI workload's server at 127.0.0.1, and a process outside the pod MUST NOT reach it there.",
    source: RUNWASI,
    advice: Advice::new(
        "Native containers could not use a WASI sidecar.",
        "Leave the network namespace as it is, and listen on no port.",
    ),
    needs: MIXED.union(Needs::SLOW),
    after: &[],
    run: reachable,
};

fn reachable(cx: &Context<'_>) -> Outcome {
    let mut pod = held(cx, Spec::default())?;
    // Before the pause process runs: where the network was set up.
    let neighbour = pod.enter(&Join::default())?;
    pod.release()?;
    pod.await_ready()?;
    let mut shared = pod.run_guest(PORTS[0], PidMode::Shared, false)?;
    let mut private = pod.run_guest(PORTS[1], PidMode::Private, false)?;
    for (guest, port) in [&mut shared, &mut private].into_iter().zip(PORTS) {
        greeted(&mut pod, &neighbour, guest, port, "a native neighbour")?;
    }
    let (mut control, outside) = outside(cx, Spec::default())?;
    for port in PORTS {
        let answer = outside.converse(port, GREET);
        let expected = "a process of another sandbox cannot reach the workload";
        match answer {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(answer) => {
                let answer = answer.escape_ascii();
                let observed = format!("a process of another sandbox is answered \"{answer}\"");
                return Err(Finding::new(expected, observed).into());
            }
            Err(error) => return Err(control.harness_failed("be refused", &error)),
        }
    }
    // This shows that not the other sandbox's network refuses.
    told(&mut control, "listen on a port", outside.listen(PORT))?;
    told(&mut control, "reach its own port", outside.connect(PORT))?;
    Ok(Pass::new(
        "a neighbour was answered by both workloads at 127.0.0.1; outside was refused",
    ))
}

pub(super) static OUTLIVES: Check = Check {
    id: "namespaces/wasi-outlives",
    title: "pause outlives every end of a WASI workload, and a restarted workload joins again",
    level: Level::Must,
    requirement: "However a WASI workload ends, the pause process MUST keep running in the same namespaces, and a workload that is started again MUST join them again.",
    source: RUNWASI,
    advice: Advice::new(
        "A WASI container that traps would take the pod with it.",
        "End on no other signal than SIGTERM and SIGINT, and throw away the status of what is reaped.",
    )
    .as_in(&advice::REAP),
    needs: MIXED.union(Needs::SLOW),
    after: &[REACHABLE_ID],
    run: outlives,
};

/// A way to end a workload: the order or signal, and its status then.
enum Ending {
    Ordered(&'static [u8], i32),
    Sent(i32, ExitStatus),
}

impl Ending {
    fn words(&self) -> String {
        match self {
            Self::Ordered(b"r\0", _) => "returning".to_owned(),
            Self::Ordered(_, TRAPPED) => "a trap".to_owned(),
            Self::Ordered(_, status) => format!("proc_exit({status})"),
            Self::Sent(number, _) => signal::name(*number),
        }
    }
}

const WAYS: [Ending; 6] = [
    Ending::Ordered(b"r\0", 0),
    Ending::Ordered(b"x\0", 0),
    Ending::Ordered(b"x*", 42),
    Ending::Ordered(b"t\0", TRAPPED),
    Ending::Sent(signal::TERM, ExitStatus::Exited(0)),
    Ending::Sent(signal::KILL, ExitStatus::Signaled(signal::KILL)),
];

fn outlives(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(Spec::default())?;
    let before = pod.namespaces()?;
    // In the pod's network alone, so that the pause process is alone between workloads.
    let neighbour = pod.enter(&Join {
        namespaces: Namespaces::NETWORK,
        ..Join::default()
    })?;
    pod.provoke("WASI workloads came and went");
    let mut lives = 0;
    let kills = &WAYS[WAYS.len() - 1..];
    let (shared, private) = cx.options().amount((&WAYS[..], &WAYS[3..]), (kills, kills));
    for (mode, ways) in [(PidMode::Shared, shared), (PidMode::Private, private)] {
        for way in ways {
            end_guest(&mut pod, &neighbour, mode, way)?;
            lives += 1;
            let now = pod.namespaces()?;
            ensure(
                now == before,
                format!(
                    "the same namespaces after a workload ended by {}",
                    way.words()
                ),
                format!("they were {before:?} and are {now:?}"),
            )?;
        }
    }
    let mut last = pod.run_guest(PORT, PidMode::Shared, false)?;
    greeted(
        &mut pod,
        &neighbour,
        &mut last,
        PORT,
        "a neighbour of the last workload",
    )?;
    Ok(Pass::new(format!(
        "a workload ended {lives} times and was there again each time; nothing else changed"
    )))
}

/// Starts a workload, proves that it serves, and ends it in this way.
fn end_guest(
    pod: &mut Pod<'_>,
    neighbour: &Probe,
    mode: PidMode,
    way: &Ending,
) -> Result<(), Stop> {
    let cause = way.words();
    // A child that a WASI runtime leaves behind when it is killed becomes the pause process's
    // child.
    let leaves = mode == PidMode::Shared && matches!(way, Ending::Sent(signal::KILL, _));
    let mut guest = pod.run_guest(PORT, mode, leaves)?;
    let helper = leaves.then(|| Helper::of(&guest, pod)).transpose()?;
    greeted(pod, neighbour, &mut guest, PORT, "a neighbour")?;
    let wanted = match way {
        Ending::Ordered(order, status) => {
            told(
                pod,
                "tell a workload to end",
                neighbour.converse(PORT, order),
            )?;
            ExitStatus::Exited(*status)
        }
        Ending::Sent(number, status) => {
            told(pod, "send a workload a signal", guest.signal(*number))?;
            *status
        }
    };
    pod.guest_ends(&mut guest, wanted, &cause)?;
    let after = format!("a workload ended by {cause}");
    if let Some(helper) = helper {
        helper.end(pod)?;
    }
    pod.settle(signal::CHLD, &after)?;
    pod.expect_running(&after)
}

pub(super) static REAPS: Check = Check {
    id: "namespaces/wasi-reaps",
    title: "orphans of a WASI workload's runtime and of its neighbours are reaped",
    level: Level::Must,
    requirement: "In a pod that shares its pid namespace with a WASI workload, the pause process MUST reap the orphans of the WASI runtime and those of native neighbours.",
    source: SHARE_PID,
    advice: Advice::new(
        "What a WASI runtime leaves behind fills the pod with zombies.",
        "Reap any child in a loop until none is left.",
    )
    .as_in(&advice::REAP),
    needs: MIXED,
    after: &[REACHABLE_ID, "reaping/one-orphan"],
    run: reaps,
};

fn reaps(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(Spec::default())?;
    let neighbour = pod.enter(&Join::default())?;
    let mut guest = pod.run_guest(PORT, PidMode::Shared, true)?;
    let helper = Helper::of(&guest, &mut pod)?;
    let orphan = Orphans::spawn(
        &mut pod,
        &neighbour,
        1,
        (fixtures::protocol::Death::Exit, 0),
        0,
        "an orphan of a neighbour",
    )?;
    orphan.expect_reaped(&mut pod)?;
    greeted(
        &mut pod,
        &neighbour,
        &mut guest,
        PORT,
        "a neighbour whose orphan was reaped",
    )?;
    told(&mut pod, "kill a workload", guest.signal(signal::KILL))?;
    let killed = ExitStatus::Signaled(signal::KILL);
    pod.guest_ends(&mut guest, killed, "SIGKILL")?;
    helper.expect_reaped(&mut pod)?;
    pod.expect_running("its orphans ended")?;
    Ok(Pass::new(
        "an orphan of a neighbour and one of the WASI runtime were reaped",
    ))
}

pub(super) static TEARDOWN: Check = Check {
    id: "namespaces/wasi-teardown",
    title: "the end of pause ends the WASI workloads of its pid namespace, and no others",
    level: Level::Must,
    requirement: "When the pause process ends on TERM, a WASI workload in its pid namespace MUST end with it within 3 s, and one in a pid namespace of its own MUST keep serving its neighbours.",
    source: SHARE_PID,
    advice: Advice::new(
        "WASI containers would outlive their pod.",
        "End by exiting on SIGTERM; wait for nobody.",
    )
    .as_in(&advice::TERM),
    needs: MIXED.union(Needs::SLOW),
    after: &[REACHABLE_ID, "signals/term-exits-zero"],
    run: teardown,
};

fn teardown(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(Spec::default())?;
    let neighbour = pod.enter(&Join {
        namespaces: Namespaces::NETWORK,
        ..Join::default()
    })?;
    let mut shared = pod.run_guest(PORTS[0], PidMode::Shared, false)?;
    let mut private = pod.run_guest(PORTS[1], PidMode::Private, false)?;
    for (guest, port) in [&mut shared, &mut private].into_iter().zip(PORTS) {
        greeted(
            &mut pod,
            &neighbour,
            guest,
            port,
            "a neighbour before the end",
        )?;
    }
    let watch = pod.stopwatch();
    pod.signal(signal::TERM)?;
    let ended = pod.await_guest_end(&mut shared, RELEASE)?;
    ensure(
        ended == Some(ExitStatus::Signaled(signal::KILL)),
        format!("the workload in pause's pid namespace is killed within {RELEASE:?} of SIGTERM"),
        ended.map_or_else(
            || format!("it runs {:.1?} after", watch.wall()),
            |status| status.to_string(),
        ),
    )?;
    pod.expect_end(
        ExitStatus::Exited(0),
        watch.left(RELEASE).max(Duration::from_millis(1)),
        "SIGTERM",
    )?;
    let gone = "the pause process ended";
    let answer = told_after(gone, "be answered", neighbour.converse(PORTS[1], GREET))?;
    ensure(
        answer == GREETING,
        format!("a workload in a pid namespace of its own still serves after {gone}"),
        format!("it answers {}", answer.escape_ascii()),
    )?;
    Ok(Pass::new(
        "the workload in its pid namespace ended with it; the one in its own still served",
    ))
}

/// A workload answers on this port; where it does not, it may have ended with the pause process.
fn greeted(
    pod: &mut Pod<'_>,
    neighbour: &Probe,
    guest: &mut Workload,
    port: u16,
    who: &str,
) -> Result<(), Stop> {
    let observed = match neighbour.converse(port, GREET) {
        Ok(answer) if answer == GREETING => return Ok(()),
        Ok(answer) => format!("it is answered \"{}\"", answer.escape_ascii()),
        Err(error) => error.to_string(),
    };
    let expected = format!("{who} is greeted by the WASI workload at 127.0.0.1");
    let cut_off = io::ErrorKind::ConnectionAborted.into();
    match pod.harness_failed("be greeted by a WASI workload", &cut_off) {
        stop @ (Stop::NotRunning(_) | Stop::Ended(_)) => Err(stop),
        // A process that has ended does not answer, whatever the image does.
        _ => match pod.guest_ended(guest)? {
            Some(how) => Err(Stop::Error(format!("{who} {observed}: {how}"))),
            None => Err(Finding::new(expected, observed).into()),
        },
    }
}
