//! Namespaces: what a pause is for. It holds a pod's namespaces: what was set up in them before it
//! started, and the processes that joined, are there for each process that joins later, until the
//! pause process ends and they end with it.
//!
//! The first member of a pod enters while the program is still held before exec, as
//! a runtime and its network plugin do; later ones enter where the pause process then
//! is. A pause that left a namespace separates the two. Every check of sharing has a control in
//! another sandbox, which must not see what members share.

mod ipc;
pub(super) mod network;
mod pid;
mod wasi;

use std::io;
use std::time::Duration;

use nix::libc::SIGUSR1 as USR1;

use crate::advice::{self, Advice};
use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Orphans, Pod};
use crate::probe::Probe;
use crate::process::ExitStatus;
use crate::signal;
use ipc::{finds_ipc_objects, leave_ipc_objects};
use network::{plug_in, same_network};

pub(super) static FAMILY: Family = Family {
    name: "namespaces",
    title: "Holding the namespaces of a pod",
    checks: &[
        &STABLE,
        &network::SHARED,
        &network::SURVIVES_RESTART,
        &ipc::SHARED,
        &UTS_SHARED,
        &pid::SHARED,
        &pid::PRIVATE,
        &pid::HOST,
        &VOLUME_SHARED,
        &HELD_ALONE,
        &CGROUP_AND_TIME,
        &TEARDOWN,
        &wasi::JOINS,
        &wasi::REACHABLE,
        &wasi::OUTLIVES,
        &wasi::REAPS,
        &wasi::TEARDOWN,
    ],
};

/// What every check here needs.
const MEMBERS: Needs = Needs::SANDBOX.union(Needs::PROGRAM).union(Needs::PROBE);

const PODS: Source = Source {
    title: "Kubernetes documentation, Pods",
    url: "https://github.com/kubernetes/website/blob/snapshot-final-v1.33/content/en/docs/concepts/workloads/pods/_index.md",
};

/// How long nothing must change by itself, where it is not shown that nothing wakes the program.
const WINDOW: Duration = Duration::from_millis(600);
/// How many orphans end at once, before it is watched.
const ORPHANS: usize = 8;
/// Time for a sandbox to be gone after its pause process ended.
const RELEASE: Duration = Duration::from_secs(3);

static STABLE: Check = Check {
    id: "namespaces/stable",
    title: "stays in the namespaces in which it was started",
    level: Level::Must,
    requirement: "The pause process MUST stay in the namespaces in which it was started, whatever signals it receives and whatever the pod's members do.",
    source: Source {
        title: "namespaces(7)",
        url: "https://man7.org/linux/man-pages/man7/namespaces.7.html",
    },
    advice: Advice::new(
        "Containers that start later would join other namespaces than those that run.",
        "Call neither unshare nor setns, and end on no other signal than SIGTERM and SIGINT.",
    ),
    needs: Needs::CAN_UNSHARE.union(MEMBERS.union(Needs::HOST_PID).union(Needs::WAITS)),
    after: &[
        "signals/survives-hup",
        "signals/survives-others",
        "signals/spurious-chld",
        "signals/child-status-ignored",
        "reaping/any-death",
        "reaping/burst",
        "reaping/spares-the-living",
    ],
    run: stable,
};

fn stable(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        own_network: true,
        ..Spec::default()
    };
    let mut pod = held(cx, spec.clone())?;
    let made = pod.namespaces()?;
    let unchanged = |pod: &mut Pod<'_>, after: &str| {
        let now = pod.namespaces()?;
        let moved: Vec<_> = made
            .iter()
            .filter(|(kind, inode)| now.get(*kind) != Some(inode))
            .collect();
        let names: Vec<_> = moved.iter().map(|(kind, _)| kind.as_str()).collect();
        ensure(
            moved.is_empty(),
            format!("the same namespaces after {after} as when it was started"),
            format!("other namespaces after {after}: {}", names.join(", ")),
        )
    };
    pod.release()?;
    pod.await_ready()?;
    unchanged(&mut pod, "its start")?;
    let sent = cx.harmless(&[signal::HUP, signal::CHLD, USR1]);
    for number in &sent {
        pod.signal(*number)?;
    }
    let member = pod.enter(&Join::default())?;
    let orphans = Orphans::spawn(
        &mut pod,
        &member,
        ORPHANS,
        (fixtures::protocol::Death::Exit, 1),
        0,
        "orphans",
    )?;
    orphans.expect_reaped(&mut pod)?;
    drop(member);
    let names: Vec<String> = sent.iter().copied().map(signal::name).collect();
    unchanged(
        &mut pod,
        &format!("{}, eight orphans and a member that left", names.join(", ")),
    )?;
    let window = cx.to_be_watched(spec, &sent, ORPHANS, WINDOW)?;
    pod.expect_running_for(window, "all that")?;
    unchanged(&mut pod, "a quiet while")?;
    Ok(Pass::new(format!(
        "the same {} namespaces throughout",
        made.len()
    )))
}

static UTS_SHARED: Check = Check {
    id: "namespaces/uts-shared",
    title: "members share the host name",
    level: Level::Must,
    requirement: "All members of a pod MUST have the same host name, and a change by one MUST be seen by the others.",
    source: Source {
        title: "uts_namespaces(7)",
        url: "https://man7.org/linux/man-pages/man7/uts_namespaces.7.html",
    },
    advice: Advice::new(
        "Containers of one pod would have different host names.",
        "Do not call sethostname, unshare or setns.",
    ),
    needs: Needs::CAN_UNSHARE.union(MEMBERS),
    after: &[],
    run: uts_shared,
};

fn uts_shared(cx: &Context<'_>) -> Outcome {
    let quick = || Spec {
        own_network: false,
        ..Spec::default()
    };
    let mut pod = held(cx, quick())?;
    let privileged = Join {
        privileged: true,
        ..Join::default()
    };
    let early = pod.enter(&privileged)?;
    pod.release()?;
    pod.await_ready()?;
    let late = pod.enter(&privileged)?;
    let (mut control, outside) = outside(cx, quick())?;
    let before = told(&mut control, "say its host name", outside.hostname())?;
    for (changes, sees, name) in [
        (&early, &late, "set-by-the-first"),
        (&late, &early, "set-by-the-second"),
    ] {
        told(&mut pod, "change the host name", changes.set_hostname(name))?;
        let seen = told(&mut pod, "say the host name", sees.hostname())?;
        ensure(
            seen == name,
            format!("a member sees the host name {name} that another has set"),
            format!("it sees {}", seen.escape_debug()),
        )?;
    }
    let after = told(&mut control, "say its host name", outside.hostname())?;
    ensure(
        before == after,
        "the host name of another sandbox stays",
        format!("it changed to {}", after.escape_debug()),
    )?;
    pod.expect_running("two changes of the host name")?;
    Ok(Pass::new(
        "each of two members saw the other's change of the host name",
    ))
}

static VOLUME_SHARED: Check = Check {
    id: "namespaces/volume-shared",
    title: "members share a volume, and the pause process is not involved",
    level: Level::Must,
    requirement: "Members with mount namespaces of their own MUST see the same files in a volume mounted for both, and the pause process's mounts MUST stay as they were.",
    source: PODS,
    advice: Advice::new(
        "A volume would show different files in different containers.",
        "Mount nothing, and do not change the propagation of mounts.",
    ),
    needs: MEMBERS.union(Needs::HOST_PID),
    after: &[],
    run: volume_shared,
};

/// Where the volume is mounted, and a file in it.
const VOLUME: &str = "/dev";
const VOLUME_FILE: &str = "/dev/pause-conformance-volume";

fn volume_shared(cx: &Context<'_>) -> Outcome {
    let quick = || Spec {
        own_network: false,
        ..Spec::default()
    };
    let mut pod = cx.start(quick())?;
    let before = mountinfo(&mut pod)?;
    let (one, other) = share_a_volume(&mut pod)?;
    for (writes, reads, content) in [(&one, &other, "from one"), (&other, &one, "from the other")] {
        let written = writes.write_file(VOLUME_FILE, content.as_bytes());
        told(&mut pod, "write to the volume", written)?;
        let read = reads.read_file(VOLUME_FILE);
        let seen = told(&mut pod, "read from the volume", read)?;
        ensure(
            seen == content.as_bytes(),
            format!("a member reads what another wrote to the volume: {content}"),
            format!("it reads {}", seen.escape_ascii()),
        )?;
    }
    let beside = pod.enter(&Join::default())?;
    let (mut control, outside) = outside(cx, quick())?;
    for (pod, process, where_) in [
        (&mut pod, &beside, "the pause process's own mounts"),
        (&mut control, &outside, "another sandbox"),
    ] {
        refused(
            pod,
            ("read from the volume", process.read_file(VOLUME_FILE)),
            io::ErrorKind::NotFound,
            format!("the volume is not seen in {where_}"),
            format!("its file is there in {where_}"),
        )?;
    }
    let after = mountinfo(&mut pod)?;
    ensure(
        before == after,
        "the pause process's mounts stay as they were",
        "they changed",
    )?;
    pod.expect_running("members shared a volume")?;
    Ok(Pass::new(
        "two members read each other's files; the pause process's mounts stayed as they were",
    ))
}

fn mountinfo(pod: &mut Pod<'_>) -> Result<String, Stop> {
    let read = std::fs::read_to_string(format!("/proc/{}/mountinfo", pod.pid()));
    told(pod, "read its mountinfo", read)
}

/// Two members with mount namespaces of their own, and one file system mounted in both.
fn share_a_volume(pod: &mut Pod<'_>) -> Result<(Probe, Probe), Stop> {
    let privileged = Join {
        privileged: true,
        ..Join::default()
    };
    let one = pod.enter(&privileged)?;
    let other = pod.enter(&privileged)?;
    for member in [&one, &other] {
        let made = member.new_mount_namespace();
        told(pod, "make a mount namespace", made)?;
    }
    told(pod, "mount a volume", one.mount_tmpfs(VOLUME))?;
    let volume = told(pod, "take the volume's mount", one.clone_mount(VOLUME))?;
    let owner = told(pod, "say its pid", one.who())?.pid;
    let attached = other.attach_mount(VOLUME, owner, volume);
    told(pod, "mount the volume again", attached)?;
    Ok((one, other))
}

static HELD_ALONE: Check = Check {
    id: "namespaces/held-alone",
    title: "holds the namespaces as their only member",
    level: Level::Must,
    requirement: "With the pause process as their only member, a pod's namespaces MUST persist with all that they hold.",
    source: PODS,
    advice: Advice::new(
        "Between two containers nothing but pause holds the pod's network: its address would be lost.",
        "Keep running, whatever the pod's members do.",
    ),
    needs: MEMBERS.union(Needs::NETWORK),
    after: &[
        "namespaces/network-shared",
        "namespaces/ipc-shared",
        "namespaces/uts-shared",
        "reaping/burst",
        "reaping/any-death",
        "reaping/spares-the-living",
    ],
    run: held_alone,
};

fn held_alone(cx: &Context<'_>) -> Outcome {
    const NAME: &str = "held-alone";
    let mut pod = held(cx, Spec::default())?;
    let set_up = plug_in(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    let made = leave_ipc_objects(&mut pod)?;
    let last = pod.enter(&Join {
        privileged: true,
        ..Join::default()
    })?;
    told(&mut pod, "change the host name", last.set_hostname(NAME))?;
    let orphans = Orphans::spawn(
        &mut pod,
        &last,
        4,
        (fixtures::protocol::Death::Exit, 0),
        0,
        "orphans",
    )?;
    orphans.expect_reaped(&mut pod)?;
    // Killed, and waited for: from here on the pause process is alone.
    drop(last);
    pod.expect_running("every other member was killed")?;
    let next = pod.enter(&Join::default())?;
    same_network(&mut pod, &next, &set_up, "the next member")?;
    let name = told(&mut pod, "say the host name", next.hostname())?;
    ensure(
        name == NAME,
        format!("the host name is still {NAME}"),
        format!("it is {}", name.escape_debug()),
    )?;
    finds_ipc_objects(&mut pod, made, "the next member")?;
    Ok(Pass::new(
        "network, IPC objects and host name were there for the next member",
    ))
}

static CGROUP_AND_TIME: Check = Check {
    id: "namespaces/cgroup-and-time",
    title: "holds a cgroup and a time namespace",
    level: Level::Should,
    requirement: "The pause process SHOULD hold a cgroup namespace and a time namespace for its pod as it holds the others.",
    source: Source {
        title: "time_namespaces(7)",
        url: "https://man7.org/linux/man-pages/man7/time_namespaces.7.html",
    },
    advice: Advice::new(
        "Containers that are to join these namespaces would not find the pod's.",
        "Call neither unshare nor setns.",
    ),
    needs: Needs::CAN_UNSHARE.union(
        MEMBERS
            .union(Needs::HOST_PID)
            .union(Needs::SANDBOX_PROC)
            .union(Needs::TIME_NAMESPACE)
            .union(Needs::CGROUP_NAMESPACE),
    ),
    after: &[],
    run: cgroup_and_time,
};

fn cgroup_and_time(cx: &Context<'_>) -> Outcome {
    let spec = || Spec {
        own_network: false,
        own_time: true,
        ..Spec::default()
    };
    let mut pod = held(cx, spec())?;
    let mut control = held(cx, spec())?;
    // While both are held: the inode number of a namespace that is gone may be used again.
    let (made, elsewhere) = (pod.namespaces()?, control.namespaces()?);
    pod.release()?;
    pod.await_ready()?;
    let member = pod.enter(&Join {
        namespaces: Namespaces::all(),
        ..Join::default()
    })?;
    for kind in ["cgroup", "time"] {
        // It reads its own: no other process may look into a probe.
        let path = format!("/proc/self/ns/{kind}");
        let joined = match member.read_link(&path) {
            // The pod's /proc shows only what is in its pid namespace.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Stop::Skip(
                    "a member does not see itself in /proc".to_owned(),
                ));
            }
            joined => told(&mut pod, "say its namespaces", joined)?,
        };
        let own = made.get(kind).copied();
        if own.is_none() || own == elsewhere.get(kind).copied() {
            return Err(Stop::Error(format!(
                "two sandboxes have one {kind} namespace"
            )));
        }
        ensure(
            own.is_some_and(|inode| joined == format!("{kind}:[{inode}]")),
            format!("a member joins the {kind} namespace that was made for the pod"),
            format!("it is in another {kind} namespace"),
        )?;
    }
    pod.expect_running("a member joined its cgroup and time namespace")?;
    Ok(Pass::new(
        "a member joined the cgroup and the time namespace that were made for the pod",
    ))
}

static TEARDOWN: Check = Check {
    id: "namespaces/teardown",
    title: "the pod's members end with the pause process",
    level: Level::Must,
    requirement: "When the pause process ends, every member of its pid namespace MUST end with it, no zombie MUST be left, and the namespaces MUST be released within 3 s.",
    source: Source {
        title: "kubernetes#66892",
        url: "https://github.com/kubernetes/kubernetes/issues/66892",
    },
    advice: Advice::new(
        "Processes of a pod would outlive it, or its address would stay in use.",
        "End by exiting: the kernel then ends all of the pid namespace. Wait for nobody.",
    )
    .as_in(&advice::TERM),
    needs: MEMBERS
        .union(Needs::HOST_PID)
        .union(Needs::OWN_MOUNTS)
        .union(Needs::SLOW),
    after: &[
        "signals/term-exits-zero",
        "signals/kill-is-137",
        "reaping/one-orphan",
        "pid1/no-children",
    ],
    run: teardown,
};

fn teardown(cx: &Context<'_>) -> Outcome {
    let ways = [
        (signal::TERM, ExitStatus::Exited(0)),
        (signal::KILL, ExitStatus::Signaled(signal::KILL)),
    ];
    let mut members = 0;
    for (number, wanted) in ways {
        members += tear_down(cx, number, wanted)?;
    }
    Ok(Pass::new(format!(
        "{members} members ended with it, after TERM and after KILL, and its mounts are gone"
    )))
}

/// How many members there were.
fn tear_down(cx: &Context<'_>, number: i32, wanted: ExitStatus) -> Result<usize, Stop> {
    const ORPHANS: usize = 16;
    let cause = signal::name(number);
    let mut pod = cx.start(Spec::default())?;
    let joiners = [pod.enter(&Join::default())?, pod.enter(&Join::default())?];
    // They live on as children of the pause process: orphans that are never told to end.
    let _orphans = Orphans::spawn(
        &mut pod,
        &joiners[0],
        ORPHANS,
        (fixtures::protocol::Death::Exit, 0),
        0,
        "orphans",
    )?;
    let orphans = pod.children()?;
    // It may have a child of its own besides, which goes with it as well.
    if orphans.len() < ORPHANS {
        let count = format!("it has {} children, not {ORPHANS}", orphans.len());
        return Err(pod.harness_failed("count its orphans", &io::Error::other(count)));
    }
    let mounts = pod.watch_mounts()?;
    let watch = pod.stopwatch();
    pod.signal(number)?;
    for (joiner, what) in joiners.iter().zip(["a member", "another member"]) {
        let ended = crate::wait::readable(joiner.pidfd(), watch.left(cx.scaled(RELEASE)));
        ensure(
            told(&mut pod, "watch a member", ended)?,
            format!("{what} ends with the pause process after {cause}"),
            format!("it runs {:.1?} after {cause}", watch.wall()),
        )?;
    }
    // The kernel keeps a pid namespace until the parents of its members have waited for them.
    drop(joiners);
    pod.expect_end(wanted, RELEASE, &cause)?;
    for orphan in &orphans {
        ensure(
            orphan.is_gone(),
            "no orphan is left of the pod once the pause process has ended",
            format!("process {} is left", orphan.pid()),
        )?;
    }
    let released =
        mounts.await_unmounted(watch.left(cx.scaled(RELEASE)).max(Duration::from_millis(1)))?;
    ensure(
        released,
        format!("the sandbox's namespaces are released within {RELEASE:?} of {cause}"),
        format!("its mounts are there {:.1?} after {cause}", watch.wall()),
    )?;
    Ok(ORPHANS + 2)
}

/// A sandbox in which everything is made but the program not yet executed.
fn held<'a>(cx: &Context<'a>, spec: Spec) -> Result<Pod<'a>, Stop> {
    cx.start_unready(Spec { held: true, ..spec })
}

/// The negative control: a member of another sandbox.
fn outside<'a>(cx: &Context<'a>, spec: Spec) -> Result<(Pod<'a>, Probe), Stop> {
    let mut pod = cx.start(spec)?;
    let probe = pod.enter(&Join::default())?;
    Ok((pod, probe))
}

/// The answer of a member: its error is the image's fault where the pause process has ended.
pub(super) fn told<T>(pod: &mut Pod<'_>, doing: &str, answer: io::Result<T>) -> Result<T, Stop> {
    answer.map_err(|error| pod.harness_failed(doing, &error))
}

/// The answer of a member to a request that must be refused, with this error.
fn refused<T>(
    pod: &mut Pod<'_>,
    (doing, answer): (&str, io::Result<T>),
    wanted: io::ErrorKind,
    expected: impl Into<String>,
    granted: impl Into<String>,
) -> Result<(), Stop> {
    let observed = match answer {
        Err(error) if error.kind() == wanted => return Ok(()),
        Err(error) => format!("it cannot {doing}: {error}"),
        Ok(_) => granted.into(),
    };
    Err(pod.blame(doing, Finding::new(expected, observed)))
}

/// The answer of a member that must outlive the pause process.
fn told_after<T>(after: &str, doing: &str, answer: io::Result<T>) -> Result<T, Stop> {
    let expected = format!("a member lives on after {after}");
    answer.map_err(|error| Finding::new(expected, format!("it cannot {doing}: {error}")).into())
}
