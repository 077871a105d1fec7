//! Starting within limits: memory and processes.

use super::{RUNS, TERM_WORKS, not_started};
use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Pod};
use crate::process::ExitStatus;
use crate::signal;

/// The memory limit under which a pause must work, in bytes.
const LIMIT: u64 = 4 << 20;

/// How finely the least memory that works is looked for, in bytes.
const STEP: u64 = 16 << 10;

/// What the kernel may charge above a limit, in bytes: allocations that cannot fail
/// (`__GFP_NOFAIL`), and those of a task that is about to end.
const FORCED: u64 = 64 << 10;

/// How many limits are tried at once.
const BESIDE: u64 = 7;

pub(super) static TINY_MEMORY: Check = Check {
    id: "startup/tiny-memory",
    title: "the program works within 4 MiB of memory",
    level: Level::Must,
    requirement: "The program MUST start, and exit 0 on SIGTERM, within a memory limit of 4 MiB.",
    source: Source {
        title: "moby#41167",
        url: "https://github.com/moby/moby/issues/41167",
    },
    advice: Advice::new(
        "The memory of pause is charged to the pod: where a pod is small, pause is killed and all of the pod restarted.",
        "Allocate nothing, link statically, and leave out a runtime that reserves memory.",
    )
    .as_in(&advice::SMALL),
    needs: RUNS.union(Needs::NATIVE).union(Needs::MEMORY_LIMIT),
    after: TERM_WORKS,
    run: tiny_memory,
};

fn tiny_memory(cx: &Context<'_>) -> Outcome {
    let limit = cx.memory_floor().max(LIMIT);
    let way = format!("within {} MiB of memory", limit >> 20);
    let started = cx.start_unready(within(limit));
    let ended = started.and_then(|mut pod| end_within(&mut pod, limit));
    match ended.map_err(|stop| not_started(stop, &way, "the memory cgroup's limit"))? {
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
    if limit > LIMIT {
        return Ok(
            Pass::new(format!("starts {way}, and exits 0 on SIGTERM")).with(format!(
                "what starts it here needs more than {} MiB itself",
                LIMIT >> 20
            )),
        );
    }
    if cx.options().brief {
        return Ok(Pass::new("starts within 4 MiB, and exits 0 on SIGTERM"));
    }
    // Counted in steps; with `fails` it never ran, with `works` it did.
    let (mut fails, mut works) = (0, LIMIT / STEP);
    while works - fails > 1 {
        // Those that sleep for long before they are ready do so side by side.
        let steps = between(fails, works, if cx.starts_slowly() { BESIDE } else { 1 });
        let pods: Vec<_> = steps
            .iter()
            .map(|step| cx.start_unready(within(step * STEP)))
            .collect();
        for (pod, step) in pods.into_iter().zip(steps) {
            match pod.and_then(|mut pod| end_within(&mut pod, step * STEP)) {
                Ok(Some(ExitStatus::Exited(0))) => {
                    works = step;
                    break;
                }
                Ok(_) | Err(Stop::NotRunning(_)) => fails = step,
                Err(stop) => return Err(stop),
            }
        }
    }
    let least = works * STEP;
    cx.measure("least_memory", "bytes", least as f64);
    Ok(Pass::new(format!(
        "starts within 4 MiB, and exits 0 on SIGTERM; {} KiB suffice",
        least >> 10
    )))
}

/// At most this many steps, evenly spread between two of them, the least first.
fn between(fails: u64, works: u64, most: u64) -> Vec<u64> {
    let parts = (works - fails).min(most + 1);
    let part = |number| fails + (works - fails) * number / parts;
    (1..parts).map(part).collect()
}

/// A start under a memory limit.
fn within(bytes: u64) -> Spec {
    Spec {
        memory_limit: Some(bytes),
        own_network: false,
        ..Spec::default()
    }
}

/// How a program ends on TERM, once it is ready, that was started under a memory limit.
fn end_within(pod: &mut Pod<'_>, bytes: u64) -> Result<Option<ExitStatus>, Stop> {
    pod.await_ready()?;
    let used = pod.memory_used();
    if used.is_none_or(|used| used > bytes + FORCED) {
        return Err(Stop::Error(format!(
            "the memory limit does not hold: {used:?} of {bytes} bytes used"
        )));
    }
    pod.signal(signal::TERM)?;
    Ok(pod.await_answer(super::WINDOW)?.end())
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
    advice: Advice::new(
        "In a pod whose pids limit is used up the program cannot start a thread, and the sandbox fails.",
        "Start no thread and no process.",
    )
    .as_in(&advice::THREAD),
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::between;

    #[rstest]
    #[case::halves((0, 256, 1), &[128])]
    #[case::odd((3, 6, 1), &[4])]
    #[case::eighths((0, 256, 7), &[32, 64, 96, 128, 160, 192, 224])]
    #[case::fewer_than_asked_for((10, 13, 7), &[11, 12])]
    #[case::none((4, 5, 7), &[])]
    fn steps_part_what_is_between(
        #[case] (fails, works, most): (u64, u64, u64),
        #[case] steps: &[u64],
    ) {
        assert_eq!(between(fails, works, most), steps);
    }

    /// Whatever the least that works is, it is found.
    #[test]
    fn what_is_left_gets_smaller_until_nothing_is() {
        for most in [1, 2, 7] {
            for least in 1..=256 {
                let (mut fails, mut works) = (0, 256);
                while works - fails > 1 {
                    for step in between(fails, works, most) {
                        if step >= least {
                            works = step;
                            break;
                        }
                        fails = step;
                    }
                }
                assert_eq!(works, least, "{most} at once");
            }
        }
    }
}
