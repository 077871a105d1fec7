//! Starting within limits: memory and processes.

use super::{RUNS, TERM_WORKS, not_started};
use crate::backend::Spec;
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::process::ExitStatus;
use crate::signal;

/// The memory limit under which a pause must work, in bytes.
const LIMIT: u64 = 4 << 20;

/// How finely the least memory that works is looked for, in bytes.
const STEP: u64 = 16 << 10;

pub(super) static TINY_MEMORY: Check = Check {
    id: "startup/tiny-memory",
    title: "the program works within 4 MiB of memory",
    level: Level::Must,
    requirement: "The program MUST start, and exit 0 on SIGTERM, within a memory limit of 4 MiB.",
    source: Source {
        title: "moby#41167",
        url: "https://github.com/moby/moby/issues/41167",
    },
    needs: RUNS.union(Needs::NATIVE).union(Needs::MEMORY_LIMIT),
    after: TERM_WORKS,
    run: tiny_memory,
};

fn tiny_memory(cx: &Context<'_>) -> Outcome {
    let way = "within 4 MiB of memory";
    match within(cx, LIMIT).map_err(|stop| not_started(stop, way, "the memory cgroup's limit"))? {
        Some(ExitStatus::Exited(0)) => {}
        other => {
            let observed = other.map_or("still running".to_owned(), |status| status.to_string());
            ensure(
                false,
                format!("exits 0 on SIGTERM {way}"),
                format!("{observed} after SIGTERM"),
            )?;
        }
    }
    // Counted in steps; `fails` never ran and `works` did.
    let (mut fails, mut works) = (0, LIMIT / STEP);
    while works - fails > 1 {
        let middle = fails.midpoint(works);
        match within(cx, middle * STEP) {
            Ok(Some(ExitStatus::Exited(0))) => works = middle,
            Ok(_) | Err(Stop::NotRunning(_)) => fails = middle,
            Err(stop) => return Err(stop),
        }
    }
    let least = works * STEP;
    cx.measure("least_memory", "bytes", least as f64);
    Ok(Pass::new(format!(
        "starts within 4 MiB, and exits 0 on SIGTERM; {} KiB are enough",
        least >> 10
    )))
}

/// Runs the program once under a memory limit; how it ended on TERM.
fn within(cx: &Context<'_>, bytes: u64) -> Result<Option<ExitStatus>, Stop> {
    let spec = Spec {
        memory_limit: Some(bytes),
        own_network: false,
        ..Spec::default()
    };
    let mut pod = cx.start(spec)?;
    let used = pod.memory_used();
    if used.is_none_or(|used| used > bytes) {
        return Err(Stop::Error(format!(
            "the memory limit does not hold: {used:?} of {bytes} bytes used"
        )));
    }
    pod.signal(signal::TERM)?;
    pod.await_end(super::WINDOW)
}

pub(super) static ONE_PID: Check = Check {
    id: "startup/one-pid",
    title: "the program needs no second process or thread",
    level: Level::Should,
    requirement: "The program SHOULD start, and exit 0 on SIGTERM, where pids.max allows one process.",
    source: Source {
        title: "The Linux kernel documentation: process number controller",
        url: "https://www.kernel.org/doc/html/v6.12/admin-guide/cgroup-v1/pids.html",
    },
    needs: RUNS.union(Needs::NATIVE).union(Needs::PIDS_LIMIT),
    after: TERM_WORKS,
    run: one_pid,
};

fn one_pid(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        pids_limit: Some(1),
        own_network: false,
        ..Spec::default()
    };
    let way = "with pids.max = 1";
    let mut pod = cx
        .start(spec)
        .map_err(|stop| not_started(stop, way, "the pids cgroup's limit"))?;
    pod.expect_term_works("it started with pids.max = 1")?;
    Ok(Pass::new(
        "starts with pids.max = 1, and exits 0 on SIGTERM",
    ))
}
