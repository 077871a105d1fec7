//! The family `reaping`: whether orphans of the pod are reaped.
//!
//! Every orphan here descends from a process that joined the sandbox by setns(2), as
//! those of containers do.

use std::time::{Duration, Instant};

use fixtures::protocol::{Death, origin};
use nix::libc;

use crate::advice::{self, Advice};
use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Orphans, PROMPTLY, Pod};
use crate::probe::{Probe, Rounds};
use crate::process::ExitStatus;
use crate::seccomp::{self, Answer};
use crate::signal::{CHLD, CONT, KILL, STOP};

mod moments;

/// Whether the pause process reaps.
pub static FAMILY: Family = Family {
    name: "reaping",
    title: "orphans and zombies of the pod",
    checks: &[
        &ONE_ORPHAN,
        &BURST,
        &ANY_DEATH,
        &ANY_USER,
        &PROBE_TREE,
        &FROM_SIBLING_CONTAINER,
        &SPARES_THE_LIVING,
        &BEFORE_HANDLER,
        &STOPPED_CHILD,
        &NO_LOST_WAKEUP,
        &AFTER_WORK,
        &SOAK,
        &LATENCY,
        &ONLY_AS_PID1,
    ],
};

/// What every check of a running program that something joins needs.
const JOINED: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::PROBE);

/// Where one orphan is not reaped, more of them show nothing new; and where living orphans are not
/// left alone, none ends as it is told.
const AFTER_ONE: &[&str] = &["reaping/one-orphan", "reaping/spares-the-living"];

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

/// Reaping needs no network: a sandbox without one of its own starts sooner.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

/// A container of a pod that shares its pid namespace.
const CONTAINER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// The same, with /proc of the sandbox to look at.
const WITH_PROC: Join = Join {
    namespaces: Namespaces::PID.union(Namespaces::MOUNT),
    ..CONTAINER
};

static ONE_ORPHAN: Check = Check {
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

/// Makes orphans, ends them, and expects all reaped.
fn reaps(
    pod: &mut Pod<'_>,
    probe: &Probe,
    count: usize,
    death: (Death, u64),
    origin: u64,
    what: &str,
) -> Result<(), Stop> {
    Orphans::spawn(pod, probe, count, death, origin, what)?
        .expect_reaped(pod)
        .map(drop)
}

static BURST: Check = Check {
    id: "reaping/burst",
    title: "many orphans that end at once are all reaped",
    level: Level::Must,
    requirement: "The pause process MUST reap all of 200 and of 2,000 orphans that end at the same time, within one second.",
    source: Source {
        title: "dumb-init#44",
        url: "https://github.com/Yelp/dumb-init/issues/44",
    },
    advice: Advice::new(
        "One SIGCHLD may stand for many ends: who reaps one for each leaves zombies.",
        "Reap in a loop until waitpid gives 0 or ECHILD.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::SLOW_FAIL),
    after: AFTER_ONE,
    run: burst,
};

fn burst(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    reaps(&mut pod, &probe, 200, (Death::Exit, 0), 0, "200 orphans")?;
    match Orphans::spawn(&mut pod, &probe, 2000, (Death::Exit, 0), 0, "2,000 orphans") {
        Ok(many) => {
            many.expect_reaped(&mut pod)?;
            Ok(Pass::new("all of 200 and all of 2,000 orphans reaped"))
        }
        // A host that limits processes allows fewer; 200 have shown the same.
        Err(Stop::Error(why)) => Ok(Pass::new("all of 200 orphans reaped").with(why)),
        Err(other) => Err(other),
    }
}

static ANY_DEATH: Check = Check {
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

static ANY_USER: Check = Check {
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

static PROBE_TREE: Check = Check {
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

static FROM_SIBLING_CONTAINER: Check = Check {
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

static SPARES_THE_LIVING: Check = Check {
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
        (Ok(dead @ 1..), Err(Stop::Error(_)) | Ok(())) => dead,
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

static BEFORE_HANDLER: Check = Check {
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
    needs: JOINED.union(Needs::HELD),
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
    older.expect_reaped_within(&mut pod, PROMPTLY)?;
    Ok(Pass::new("3 orphans that ended before exec reaped"))
}

static STOPPED_CHILD: Check = Check {
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

fn stopped_child(cx: &Context<'_>) -> Outcome {
    const CYCLES: u64 = 8;
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
    let before = pod.state()?.switches;
    let began = Instant::now();
    for _ in 0..CYCLES {
        stop_and_continue(&mut pod, &probe, pid)?;
    }
    let woken = pod.state()?.switches.saturating_sub(before);
    let observed =
        format!("{woken} context switches while an orphan stopped and continued {CYCLES} times");
    // A program that wakes does so at least once for each, except where two came together.
    if woken >= CYCLES / 2 {
        let before = pod.state()?.switches;
        pod.leave_alone(began.elapsed())?;
        let by_itself = pod.state()?.switches.saturating_sub(before);
        if by_itself >= woken / 2 {
            return Err(Stop::Skip(format!(
                "the program wakes by itself, {by_itself} context switches as long again, so \
                 nothing shows whether this would wake it"
            )));
        }
        return Err(pod.finding("no wake-up".to_owned(), observed).into());
    }
    orphan.expect_reaped(&mut pod)?;
    Ok(Pass::new(observed))
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
        let watch = pod.stopwatch();
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
            if watch.wall() > pod.context().scaled(Duration::from_secs(10)) {
                return Err(Stop::Inconclusive(format!("{words} was not seen")));
            }
        }
        if !pod.settle(CHLD, words)? {
            let observed = format!("not asleep {:.1?} after {words}", watch.wall());
            return Err(pod
                .finding("no wake-up, or a short one".to_owned(), observed)
                .into());
        }
    }
    Ok(())
}

static NO_LOST_WAKEUP: Check = Check {
    id: "reaping/no-lost-wakeup",
    title: "no zombie remains when two orphans end together, again and again",
    level: Level::Must,
    requirement: "The pause process MUST NOT miss an orphan that ends while it reaps or goes to sleep: after each of up to 1,000 pairs none is left, nor one that ends right before whichever of its system calls.",
    source: Source {
        title: "sigsuspend(2)",
        url: "https://man7.org/linux/man-pages/man2/sigsuspend.2.html",
    },
    advice: Advice::new(
        "An orphan that ends as pause goes to sleep stays as a zombie until the next ends.",
        "Do not test and then wait: block SIGCHLD, and wait by sigwaitinfo, sigsuspend, ppoll or signalfd.",
    )
    .as_in(&advice::WAIT),
    needs: JOINED.union(Needs::SLOW_FAIL),
    after: &["reaping/burst", "reaping/spares-the-living"],
    run: no_lost_wakeup,
};

fn no_lost_wakeup(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let done = rounds(&mut pod, &probe, (1000, 20), 2)?.completed;
    let pass = Pass::new(format!(
        "{done} of {done} pairs reaped, one pair after the other"
    ));
    Ok(pass.with(moments::reaped_at_every_one(cx)?))
}

/// Rounds of orphans, none of which may leave one behind: as many as the time allows,
/// `least` at least.
fn rounds(
    pod: &mut Pod<'_>,
    probe: &Probe,
    (count, least): (u64, u64),
    size: u64,
) -> Result<Rounds, Stop> {
    pod.provoke("orphans ended");
    let budget = pod.context().scaled(BUDGET);
    let rounds = probe
        .rounds(count, size, PROMPTLY, budget)
        .map_err(|error| pod.harness_failed("raise rounds of orphans", &error))?;
    let done = rounds.completed;
    if done < count {
        // On a busy host a round may take longer than it was given: it is judged by time that counts.
        let what = format!("the {size} of round {}", done + 1);
        Orphans::adopt(probe, size, size, &what).expect_reaped_within(pod, PROMPTLY)?;
    }
    if done < least {
        let reason = format!("only {done} of {count} rounds of orphans in {budget:?}");
        return Err(Stop::Inconclusive(reason));
    }
    Ok(rounds)
}

/// Longest that rounds of orphans may take.
const BUDGET: Duration = Duration::from_secs(4);

/// An INFO check never fails: where there is no figure, it gives the reason.
fn or_inconclusive(stop: Stop) -> Stop {
    match stop {
        Stop::Fail(finding) | Stop::Ended(finding) => Stop::Inconclusive(finding.observed),
        other => other,
    }
}

static AFTER_WORK: Check = Check {
    id: "reaping/after-work",
    title: "it still reaps after thousands of orphans, signals, a stop, and members that went",
    level: Level::Must,
    requirement: "The pause process MUST reap for as long as the pod lives: after thousands of orphans, after each signal that it survives, after SIGSTOP and SIGCONT, and after containers have come and gone.",
    source: PAUSE_C,
    advice: Advice::new(
        "A pod that has lived for long fills with zombies.",
        "Do the same at each wake-up, and keep no state.",
    )
    .as_in(&advice::REAP),
    needs: JOINED
        .union(Needs::NATIVE)
        .union(Needs::HOST_PID)
        .union(Needs::WAITS),
    after: &[
        "reaping/burst",
        "signals/survives-hup",
        "signals/survives-others",
        "signals/stop-cont",
    ],
    run: after_work,
};

fn after_work(cx: &Context<'_>) -> Outcome {
    let Some(worked) = cx.worked()? else {
        return Err(Stop::Blocked {
            by: "reaping/one-orphan",
            why: "it does not reap its first orphans".to_owned(),
        });
    };
    worked.reaping?;
    if let Some(rested) = worked.rested {
        let (before, after) = (rested.before.children, rested.after.children);
        let expected = format!("{before} children, as before its work");
        ensure(after <= before, expected, format!("{after} children"))?;
    }
    Ok(Pass::new(format!(
        "all of {} orphans reaped, and one after each signal, after a stop, and after a member went",
        worked.orphans
    )))
}

static SOAK: Check = Check {
    id: "reaping/soak",
    title: "100,000 orphans leave no zombie, and no memory allocated",
    level: Level::Should,
    requirement: "The pause process SHOULD reap 100,000 orphans while its memory does not grow.",
    source: Source {
        title: "openshift/images#27",
        url: "https://github.com/openshift/images/pull/27",
    },
    advice: Advice::new(
        "Memory that grows with each orphan ends as an OOM kill of the whole pod.",
        "Keep nothing of an orphan.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::HOST_PID).union(Needs::LONG),
    after: &["reaping/burst"],
    run: soak,
};

fn soak(cx: &Context<'_>) -> Outcome {
    /// Allocators and page tables settle by a few pages, in KiB.
    const SLACK: u64 = 64;
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&WITH_PROC)?;
    rounds(&mut pod, &probe, (2, 2), 500)?;
    let before = pod.status()?.vmrss.unwrap_or_default();
    let mut grown = String::new();
    for done in (10_000..=100_000).step_by(10_000) {
        rounds(&mut pod, &probe, (20, 20), 500)?;
        let after = pod.status()?.vmrss.unwrap_or_default();
        grown = format!("{before} KiB resident before, {after} KiB after {done} orphans");
        ensure(
            after <= before + SLACK,
            format!("resident memory grows by {SLACK} KiB at most"),
            &grown,
        )?;
    }
    let left = probe
        .processes()
        .map_err(|error| pod.harness_failed("list the processes", &error))?
        .len();
    ensure(
        left <= 2,
        "2 processes, the pause process and the probe",
        format!("{left} processes"),
    )?;
    Ok(Pass::new(grown))
}

static LATENCY: Check = Check {
    id: "reaping/latency",
    title: "how soon and how fast orphans are reaped",
    level: Level::Info,
    requirement: "The time from an orphan's end to its reaping, and orphans reaped in a second, are measured.",
    source: PAUSE_C,
    advice: Advice::new(
        "It shows how soon a pid is free again.",
        "Reap at once when SIGCHLD comes; do not poll by a timer.",
    )
    .as_in(&advice::REAP),
    needs: JOINED.union(Needs::NATIVE).union(Needs::EXCLUSIVE),
    after: &["reaping/burst"],
    run: |cx| latency(cx).map_err(or_inconclusive),
};

fn latency(cx: &Context<'_>) -> Outcome {
    const MANY: u64 = 300;
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let one = rounds(&mut pod, &probe, (100, 1), 1)?;
    let took: Vec<u64> = one.latencies_us.iter().map(|us| u64::from(*us)).collect();
    let median = cx.measure_all("reap_latency", "us", &took);
    let many = rounds(&mut pod, &probe, (1, 1), MANY)?;
    let all = many
        .latencies_us
        .first()
        .copied()
        .unwrap_or_default()
        .max(1);
    let throughput = MANY as f64 * 1e6 / f64::from(all);
    cx.measure("reap_throughput", "1/s", throughput.round());
    Ok(Pass::new(format!(
        "{median} µs, the median of {}; {MANY} at once: {throughput:.0} a second",
        took.len()
    )))
}

static ONLY_AS_PID1: Check = Check {
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
