//! The family `resources`: a pause weighs almost nothing.

use std::time::Duration;

use crate::backend::Spec;
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Watched};
use crate::shortage::Shortage;

/// Processor and memory.
pub static FAMILY: Family = Family {
    name: "resources",
    title: "processor and memory",
    checks: &[&IDLE_CPU, &IDLE_WAKEUPS, &MEMORY],
};

/// A running program whose /proc the suite reads.
const SEEN: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::HOST_PID);

/// How long an idle program is watched.
const WINDOW: Duration = Duration::from_millis(900);

/// Wakes that may belong to its start, in which it may have seemed to wait for good: of a
/// child, for example, whose end comes late on a busy host.
const LAST_OF_ITS_START: u64 = 3;

/// Processor time that is none: one tick of a clock of 100 Hz.
const TICK: Duration = Duration::from_millis(10);

/// Most resident memory that a sound pause has, in bytes.
const SMALL: u64 = 1 << 20;

const IDLE_ISSUE: Source = Source {
    title: "kubernetes#95840",
    url: "https://github.com/kubernetes/kubernetes/issues/95840",
};

fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

static IDLE_CPU: Check = Check {
    id: "resources/idle-cpu",
    title: "it uses no processor time while it waits",
    level: Level::Must,
    requirement: "The pause process MUST use no processor time while nothing happens in the pod.",
    source: IDLE_ISSUE,
    needs: SEEN.union(Needs::WINDOW),
    after: &[],
    run: idle_cpu,
};

fn idle_cpu(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let since = pod.processor_time()?;
    match pod.watch_use(WINDOW, TICK, since)? {
        Watched::Idle(used) => Ok(Pass::new(format!("{used:.1?} in {WINDOW:?}"))),
        Watched::Busy(used) => {
            let state = pod.describe();
            Err(pod
                .finding(
                    format!("less than {TICK:?} of processor time in {WINDOW:?}"),
                    format!("{used:.1?} and more"),
                )
                .with(state)
                .into())
        }
        Watched::Ended(_) => {
            pod.leave_alone(Duration::ZERO)?;
            Err(Stop::Error("it ended and still runs".to_owned()))
        }
    }
}

static IDLE_WAKEUPS: Check = Check {
    id: "resources/idle-wakeups",
    title: "it does not wake up while it waits",
    level: Level::Should,
    requirement: "The pause process SHOULD NOT wake up while nothing happens in the pod.",
    source: IDLE_ISSUE,
    needs: SEEN.union(Needs::NATIVE).union(Needs::WINDOW),
    after: &[],
    run: idle_wakeups,
};

fn idle_wakeups(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let mut woken_in = |window| {
        let before = pod.state()?.switches;
        pod.leave_alone(window)?;
        Ok::<_, Stop>(pod.state()?.switches.saturating_sub(before))
    };
    let mut window = WINDOW;
    let mut woken = woken_in(window)?;
    if (1..=LAST_OF_ITS_START).contains(&woken) {
        // As long again, for what comes back to come back.
        window *= 2;
        woken = woken_in(window)?;
    }
    cx.measure("idle_wakeups", "count", woken as f64);
    ensure(
        woken == 0,
        format!("no context switch in {window:?}"),
        format!("{woken} context switches"),
    )?;
    Ok(Pass::new(format!("no context switch in {window:?}")))
}

static MEMORY: Check = Check {
    id: "resources/memory",
    title: "its resident memory is small",
    level: Level::Should,
    requirement: "The pause process SHOULD have at most 1 MiB of resident memory.",
    source: Source {
        title: "cri-o#1722",
        url: "https://github.com/cri-o/cri-o/issues/1722",
    },
    needs: SEEN.union(Needs::NATIVE),
    after: &[],
    run: memory,
};

fn memory(cx: &Context<'_>) -> Outcome {
    let mut pod = match cx.start(spec()) {
        Ok(pod) => pod,
        Err(stop) => {
            // What the suite lets a sandbox have is far more than what is small.
            return Err(match cx.take_shortage() {
                Some(Shortage::Memory(Some(limit))) => {
                    let observed = format!("more than {limit} bytes, where the suite ends it");
                    Finding::new(format!("at most {SMALL} bytes"), observed).into()
                }
                _ => stop,
            });
        }
    };
    let status = pod.status()?;
    // In KiB, proc_pid_status(5).
    let bytes = |field: Option<u64>| field.map(|kib| kib * 1024);
    let Some(resident) = bytes(status.vmrss) else {
        let error = std::io::Error::other("there is none");
        return Err(pod.harness_failed("read its resident memory", &error));
    };
    cx.measure("rss", "bytes", resident as f64);
    if let Some(anonymous) = bytes(status.rssanon) {
        cx.measure("rss_anonymous", "bytes", anonymous as f64);
    }
    if let Ok(program) = &cx.subject().program {
        cx.measure("program_size", "bytes", program.content.len() as f64);
    }
    if let Some(image) = &cx.subject().image {
        let layers: u64 = image.layers.iter().map(|layer| layer.size).sum();
        cx.measure("image_size", "bytes", layers as f64);
    }
    ensure(
        resident <= SMALL,
        format!("at most {SMALL} bytes"),
        format!("{resident} bytes"),
    )?;
    Ok(Pass::new(format!("{resident} bytes")))
}
