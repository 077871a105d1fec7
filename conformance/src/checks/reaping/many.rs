//! That it reaps many, again and again.

use std::time::Duration;

use fixtures::protocol::Death;

use super::{
    AFTER_ONE, CONTAINER, JOINED, PAUSE_C, WITH_PROC, moments, or_inconclusive, reaps, spec,
};
use crate::advice::{self, Advice};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Orphans, PROMPTLY, Pod};
use crate::probe::{Probe, Rounds};

pub(super) static BURST: Check = Check {
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
    needs: JOINED.union(Needs::SLOW),
    after: AFTER_ONE,
    run: burst,
};

fn burst(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    reaps(&mut pod, &probe, 200, (Death::Exit, 0), 0, "200 orphans")?;
    if cx.options().brief {
        return Ok(Pass::new("all of 200 orphans reaped"));
    }
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

pub(super) static NO_LOST_WAKEUP: Check = Check {
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
    needs: JOINED.union(Needs::SLOW),
    after: &["reaping/burst", "reaping/spares-the-living"],
    run: no_lost_wakeup,
};

/// Pairs of orphans, where nothing but their number makes it likely that one ends at a bad moment.
const PAIRS: u64 = 1000;

/// The same, where an orphan was reaped that ended at each moment there is.
const PAIRS_BESIDE_PROOF: u64 = 100;

fn no_lost_wakeup(cx: &Context<'_>) -> Outcome {
    let shown = moments::reaped_at_every_one(cx)?;
    let is_few = shown.all || cx.options().brief;
    let most = if is_few { PAIRS_BESIDE_PROOF } else { PAIRS };
    let mut pod = cx.start(spec())?;
    let probe = pod.enter(&CONTAINER)?;
    let done = rounds(&mut pod, &probe, (most, 20), 2, BUDGET)?.completed;
    let pass = Pass::new(format!(
        "{done} of {done} pairs reaped, one pair after the other"
    ));
    Ok(pass.with(shown.words))
}

/// Rounds of orphans, none of which may leave one behind: as many as the time allows,
/// `least` at least.
fn rounds(
    pod: &mut Pod<'_>,
    probe: &Probe,
    (count, least): (u64, u64),
    size: u64,
    budget: Duration,
) -> Result<Rounds, Stop> {
    pod.provoke("orphans ended");
    let budget = pod.context().scaled(budget);
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

/// The same for the 10,000 of one step of a soak, which has hours: on a host with 40 other
/// processes that compute, a step under emulation takes 12 s.
const SOAK_BUDGET: Duration = Duration::from_mins(2);

pub(super) static AFTER_WORK: Check = Check {
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

pub(super) static SOAK: Check = Check {
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
    rounds(&mut pod, &probe, (2, 2), 500, SOAK_BUDGET)?;
    let before = pod.status()?.vmrss.unwrap_or_default();
    let mut grown = String::new();
    for done in (10_000..=100_000).step_by(10_000) {
        rounds(&mut pod, &probe, (20, 20), 500, SOAK_BUDGET)?;
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

pub(super) static LATENCY: Check = Check {
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
    let count = cx.options().amount(100, 10);
    let one = rounds(&mut pod, &probe, (count, 1), 1, BUDGET)?;
    let took: Vec<u64> = one.latencies_us.iter().map(|us| u64::from(*us)).collect();
    let median = cx.measure_all("reap_latency", "us", &took);
    let many = rounds(&mut pod, &probe, (1, 1), MANY, BUDGET)?;
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
