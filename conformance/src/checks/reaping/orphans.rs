//! Whose orphans it reaps, and however they ended.

use fixtures::protocol::{Death, origin};

use super::{AFTER_ONE, CONTAINER, JOINED, PAUSE_C, reaps, spec};
use crate::advice::{self, Advice};
use crate::backend::{Join, Spec};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Orphans, PROMPTLY};
use crate::signal::{CHLD, KILL};

pub(super) static ONE_ORPHAN: Check = Check {
    id: "reaping/one-orphan",
    title: "an orphan that ends is reaped",
    level: Level::Must,
    requirement: "The pause process MUST reap an orphan within one second of its end.",
    source: Source {
        title: "kubernetes#36853",
        url: "https://github.com/kubernetes/kubernetes/pull/36853",
    },
    advice: Advice::new(
        "Zombies fill the pod's pids limit: after a while nothing in the pod can fork.",
        "On SIGCHLD call waitpid(-1, NULL, WNOHANG) until it gives 0 or fails.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::HOST_PID),
    after: &[],
    run: one_orphan,
};

fn one_orphan(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    for (before, what) in ["an orphan", "an orphan after another"].iter().enumerate() {
        let orphan = Orphans::spawn(&mut pod, &probe, 1, (Death::Exit, 0), 0, what)?;
        orphan.release(&mut pod)?;
        let reaped = orphan.expect_reaped_within(&mut pod, PROMPTLY);
        if let (0, Err(Stop::Fail(_))) = (before, &reaped) {
            cx.reaps_none();
        }
        reaped?;
        // It may reap and then end.
        pod.settle(CHLD, &format!("{what} ended"))?;
    }
    drop(probe);
    Ok(Pass::new(
        "two orphans of a process that had joined were reaped, one after the other",
    ))
}

pub(super) static ANY_DEATH: Check = Check {
    id: "reaping/any-death",
    title: "orphans are reaped however they end and wherever they come from",
    level: Level::Must,
    requirement: "The pause process MUST reap orphans that exit with any status or die by any signal, also those of other sessions and process groups.",
    source: Source {
        title: "wait(2)",
        url: "https://man7.org/linux/man-pages/man2/waitpid.2.html",
    },
    advice: Advice::new(
        "Processes that died in an unexpected way stay as zombies.",
        "Wait for -1, that is for any child, with no filter on group or status.",
    )
    .as_in(&advice::REAP),
    needs: JOINED,
    after: AFTER_ONE,
    run: any_death,
};

fn any_death(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    for (what, death, origin) in [
        ("24 orphans that exit with a failure", (Death::Exit, 42), 0),
        (
            "24 orphans that SIGKILL ends",
            (Death::Signal, KILL as u64),
            0,
        ),
        ("24 orphans of many deaths", (Death::Mixed, 0), 0),
        (
            "24 orphans in sessions of their own",
            (Death::Mixed, 0),
            origin::SESSION,
        ),
        (
            "24 orphans in process groups of their own",
            (Death::Mixed, 0),
            origin::GROUP,
        ),
    ] {
        reaps(&mut pod, &probe, 24, death, origin, what)?;
    }
    Ok(Pass::new(
        "orphans of all deaths, sessions and process groups reaped",
    ))
}

pub(super) static ANY_USER: Check = Check {
    id: "reaping/any-user",
    title: "orphans of other users are reaped",
    level: Level::Must,
    requirement: "The pause process MUST reap orphans that run as another user than itself.",
    source: PAUSE_C,
    advice: Advice::new(
        "Containers of a pod run as other users; their orphans stay as zombies.",
        "Wait for any child; send no signal and look into no /proc first.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::ID_RANGE),
    after: AFTER_ONE,
    run: any_user,
};

fn any_user(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let own = pod.status()?.ruid;
    let mut others = Vec::new();
    for user in [(0, 0), (12345, 54321)] {
        let join = Join {
            user: Some(user),
            ..CONTAINER
        };
        let probe = pod.enter(&join)?;
        let host_uid = procfs::process::Process::new(probe.host_pid())
            .and_then(|process| process.status())
            .map_err(|error| Stop::Error(format!("cannot read /proc of the probe: {error}")))?
            .ruid;
        if host_uid == own {
            continue;
        }
        let what = format!("an orphan of user {}", user.0);
        reaps(&mut pod, &probe, 1, (Death::Exit, 0), 0, &what)?;
        others.push(what);
    }
    Ok(Pass::new(format!("{} reaped", others.join(" and "))))
}

pub(super) static PROBE_TREE: Check = Check {
    id: "reaping/probe-tree",
    title: "a whole tree of processes is reaped when its root is killed",
    level: Level::Must,
    requirement: "The pause process MUST reap every process of a tree whose root is killed, as happens to an exec probe that times out.",
    source: Source {
        title: "kubernetes#81042",
        url: "https://github.com/kubernetes/kubernetes/issues/81042",
    },
    advice: Advice::new(
        "Each exec probe that times out leaves its processes: the classic way in which a pod fills with zombies.",
        "Reap in a loop until none is left.",
    )
    .as_in(&advice::REAP),
    needs: JOINED,
    after: AFTER_ONE,
    run: probe_tree,
};

fn probe_tree(cx: &Context<'_>) -> Outcome {
    const WIDTH: u64 = 3;
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let count = probe
        .tree(3, WIDTH)
        .map_err(|error| pod.harness_failed("make a tree of processes", &error))?;
    pod.provoke("the top of a tree of processes was killed");
    probe
        .kill_tree()
        .map_err(|error| pod.harness_failed("kill the top of the tree", &error))?;
    let what = format!("{count} processes of a tree whose top was killed");
    let orphans = Orphans::adopt(&probe, count, WIDTH, &what);
    // Those below are killed one by one: each end may orphan others.
    probe
        .signal_orphans(KILL)
        .map_err(|error| pod.harness_failed("kill the tree", &error))?;
    orphans.await_dead(&mut pod)?;
    orphans.expect_reaped_within(&mut pod, PROMPTLY)?;
    Ok(Pass::new(format!("all of {what} reaped")))
}

pub(super) static FROM_SIBLING_CONTAINER: Check = Check {
    id: "reaping/from-sibling-container",
    title: "what a container leaves behind is reaped, and what the next one leaves as well",
    level: Level::Must,
    requirement: "The pause process MUST reap the processes that each container which shares its pid namespace leaves behind when it ends.",
    source: Source {
        title: "moby#25348",
        url: "https://github.com/moby/moby/issues/25348",
    },
    advice: Advice::new(
        "Each restart of a container leaves zombies in a pod that shares its pid namespace.",
        "Reap in a loop until none is left.",
    )
    .as_in(&advice::REAP),
    needs: JOINED,
    after: AFTER_ONE,
    run: from_sibling_container,
};

fn from_sibling_container(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let witness = pod.enter(&CONTAINER)?;
    for what in [
        "what the first container left behind",
        "what the second container left behind",
    ] {
        let container = pod.enter(&CONTAINER)?;
        let left_behind = container
            .tree(1, 3)
            .and_then(|_| container.members())
            .and_then(|members| witness.watch(&members))
            .map_err(|error| pod.harness_failed("make the processes of a container", &error))?;
        // Its parent is outside: its children have none in the sandbox but process 1.
        pod.provoke(&format!("{what} ended"));
        container
            .exit(0)
            .map_err(|error| pod.harness_failed("end a container", &error))?;
        let orphans = Orphans::adopt(&witness, left_behind, 1, what);
        orphans.await_dead(&mut pod)?;
        orphans.expect_reaped_within(&mut pod, PROMPTLY)?;
    }
    Ok(Pass::new(
        "what each of two containers left behind was reaped",
    ))
}

pub(super) static BEFORE_HANDLER: Check = Check {
    id: "reaping/before-handler",
    title: "zombies older than the program are reaped, although no further process ends",
    level: Level::Should,
    requirement: "The pause process SHOULD reap orphans that ended before it was ready to, without waiting for another to end.",
    source: PAUSE_C,
    advice: Advice::new(
        "What ends before the handler stands raises a SIGCHLD that is lost: it stays until the next one ends.",
        "Reap once after the handlers stand, before the first wait.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::HELD).union(Needs::SLOW),
    after: AFTER_ONE,
    run: before_handler,
};

fn before_handler(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_unready(Spec {
        held: true,
        ..spec()
    })?;
    let probe = pod.enter(&CONTAINER)?;
    let older = Orphans::spawn(
        &mut pod,
        &probe,
        3,
        (Death::Exit, 0),
        0,
        "3 orphans that ended before exec",
    )?;
    older.release(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    older.expect_older_reaped(&mut pod, PROMPTLY)?;
    Ok(Pass::new("3 orphans that ended before exec reaped"))
}
