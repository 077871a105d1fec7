//! The pid namespace in its three modes: the pod's, a member's own, the host's.

use procfs::FromRead;
use procfs::process::Stat;

use super::ipc::{finds_ipc_objects, leave_ipc_objects};
use super::network::{PORT, connected, over_localhost};
use super::{MEMBERS, held, outside, told, told_after};
use crate::advice::{self, Advice};
use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::probe::Probe;

const NAMESPACE_MODE: Source = Source {
    title: "CRI api.proto, NamespaceMode",
    url: "https://github.com/kubernetes/cri-api/blob/v0.34.0/pkg/apis/runtime/v1/api.proto",
};

pub(super) static SHARED: Check = Check {
    id: "namespaces/pid-shared",
    title: "members of a shared pid namespace see each other, and the pause process as PID 1",
    level: Level::Must,
    requirement: "In a pod that shares its pid namespace, a member MUST see every process of the pod, with the pause process as PID 1.",
    source: NAMESPACE_MODE,
    advice: Advice::new(
        "With `shareProcessNamespace: true` containers could not see or signal each other.",
        "Be process 1 itself, and do not hide or leave the namespace.",
    ),
    needs: MEMBERS.union(Needs::HOST_PID).union(Needs::SANDBOX_PROC),
    after: &[],
    run: pid_shared,
};

fn pid_shared(cx: &Context<'_>) -> Outcome {
    let quick = || Spec {
        own_network: false,
        ..Spec::default()
    };
    let mut pod = cx.start(quick())?;
    let one = pod.enter(&Join::default())?;
    let other = pod.enter(&Join::default())?;
    let pids = [
        told(&mut pod, "say its pid", one.who())?.pid,
        told(&mut pod, "say its pid", other.who())?.pid,
    ];
    ensure(
        !pids.contains(&1) && pids[0] != pids[1],
        "two members have pids of their own beside PID 1",
        format!("their pids are {pids:?}"),
    )?;
    let seen = told(&mut pod, "list /proc", one.processes())?;
    ensure(
        seen.contains(&1) && pids.iter().all(|pid| seen.contains(pid)),
        format!("a member's /proc shows 1 and {pids:?}"),
        format!("it shows {seen:?}"),
    )?;
    let stat = told(&mut pod, "read /proc/1/stat", one.read_file("/proc/1/stat"))?;
    let inside = Stat::from_read(stat.as_slice())
        .map_err(|error| Stop::Error(format!("cannot read /proc/1/stat: {error}")))?;
    let pause = pod.stat()?;
    ensure(
        (inside.starttime, &inside.comm) == (pause.starttime, &pause.comm),
        format!(
            "/proc/1 is the pause process, {}",
            pause.comm.escape_debug()
        ),
        format!(
            "/proc/1 is {}, started at another time",
            inside.comm.escape_debug()
        ),
    )?;
    let (mut control, outside) = outside(cx, quick())?;
    let itself = told(&mut control, "say its pid", outside.who())?.pid;
    let elsewhere = told(&mut control, "list /proc", outside.processes())?;
    let strangers = strangers(&outside, &elsewhere, itself);
    ensure(
        elsewhere.contains(&1) && strangers.is_empty(),
        "a process of another sandbox sees itself, that sandbox's pause and its children only",
        format!("it sees {elsewhere:?}, of which {strangers:?} are none of these"),
    )?;
    pod.expect_running("members looked around")?;
    Ok(Pass::new(format!(
        "a member sees {seen:?}, of which 1 is the pause process"
    )))
}

/// The processes that a member sees and should not: neither itself, nor the pause process or a
/// child of it, which is not judged here.
fn strangers(probe: &Probe, seen: &[i32], itself: i32) -> Vec<i32> {
    let parents: Vec<_> = seen
        .iter()
        .filter_map(|pid| {
            // One that has ended belongs to no sandbox.
            let stat = probe.read_file(&format!("/proc/{pid}/stat")).ok()?;
            Some((*pid, Stat::from_read(stat.as_slice()).ok()?.ppid))
        })
        .collect();
    let mut known = vec![1, itself];
    loop {
        let (own, others): (Vec<_>, Vec<_>) = parents
            .iter()
            .filter(|(pid, _)| !known.contains(pid))
            .partition(|(_, parent)| known.contains(parent));
        if own.is_empty() {
            return others.into_iter().map(|(pid, _)| pid).collect();
        }
        known.extend(own.into_iter().map(|(pid, _)| pid));
    }
}

pub(super) static PRIVATE: Check = Check {
    id: "namespaces/pid-private",
    title: "members with pid namespaces of their own neither see the pause process nor end with it",
    level: Level::Must,
    requirement: "A member with a pid namespace of its own MUST be PID 1 there, not see the pause process, share the pod's network, and outlive the pause process.",
    source: NAMESPACE_MODE,
    advice: Advice::new(
        "A pod whose containers have pid namespaces of their own depends on pause for the network alone.",
        "Leave the namespaces as they are.",
    ),
    needs: MEMBERS.union(Needs::NETWORK).union(Needs::SANDBOX_PROC),
    after: &["signals/term-exits-zero", "namespaces/network-shared"],
    run: pid_private,
};

fn pid_private(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(Spec::default())?;
    let neighbour = pod.enter(&Join {
        namespaces: Namespaces::NETWORK,
        ..Join::default()
    })?;
    told(&mut pod, "listen on a port", neighbour.listen(PORT))?;
    let member = pod.enter(&Join {
        namespaces: Namespaces::all() - Namespaces::PID - Namespaces::TIME,
        privileged: true,
        user: None,
    })?;
    told(&mut pod, "make a pid namespace", member.new_pid_namespace())?;
    told(
        &mut pod,
        "make a mount namespace",
        member.new_mount_namespace(),
    )?;
    told(&mut pod, "mount /proc", member.mount_proc("/proc"))?;
    let pid = told(&mut pod, "say its pid", member.who())?.pid;
    let seen = told(&mut pod, "list /proc", member.processes())?;
    ensure(
        pid == 1 && seen == [1],
        "the member is PID 1 and sees itself alone",
        format!("it is {pid} and sees {seen:?}"),
    )?;
    over_localhost(&mut pod, &member, "it reaches its neighbour's port")?;
    pod.expect_term_works("a member of another pid namespace joined")?;
    let gone = "the pause process ended";
    told_after(gone, "say its pid", member.who())?;
    connected(
        &member,
        &format!("it reaches its neighbour's port after {gone}"),
    )?;
    Ok(Pass::new(
        "a member was PID 1, saw itself alone, reached its neighbour, and outlived the pause process",
    ))
}

pub(super) static HOST: Check = Check {
    id: "namespaces/pid-host",
    title: "holds the other namespaces where the pid namespace is the host's",
    level: Level::Must,
    requirement: "In a pod with the host's pid namespace the pause process, which is not PID 1 there, MUST hold the other namespaces, and still end on TERM.",
    source: NAMESPACE_MODE,
    advice: Advice::new(
        "A pod with `hostPID: true` would not start, or could not be stopped.",
        "Run on where getpid() is not 1, and handle SIGTERM there too.",
    )
    .as_in(&advice::TERM),
    needs: MEMBERS
        .union(Needs::HOST_PID_NAMESPACE)
        .union(Needs::HOST_PID),
    after: &[
        "signals/term-exits-zero",
        "startup/not-first",
        "namespaces/ipc-shared",
    ],
    run: pid_host,
};

fn pid_host(cx: &Context<'_>) -> Outcome {
    let mut pod = held(
        cx,
        Spec {
            own_pid_namespace: false,
            own_network: false,
            ..Spec::default()
        },
    )?;
    let made = leave_ipc_objects(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    let pids = pod.status()?.nspid.unwrap_or_default();
    if pids.last() == Some(&1) {
        return Err(Stop::Error(
            "the pause process is PID 1, and was not to be".to_owned(),
        ));
    }
    finds_ipc_objects(&mut pod, made, "a member")?;
    let member = pod.enter(&Join::default())?;
    pod.expect_term_works("a member left")?;
    told_after("the pause process ended", "say its pid", member.who())?;
    Ok(Pass::new(
        "not PID 1; a member found what another had left; ended on TERM, and the member lived on",
    ))
}
