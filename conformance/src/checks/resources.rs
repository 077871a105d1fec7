//! The family `resources`: a pause weighs almost nothing.

use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, ensure};
use crate::context::{Context, ORPHANS, Rest, Rested, TICK};
use crate::shortage::Shortage;

/// Processor and memory.
pub static FAMILY: Family = Family {
    name: "resources",
    title: "processor and memory",
    checks: &[&IDLE_CPU, &IDLE_WAKEUPS, &MEMORY, &FLAT_FOR_DAYS],
};

/// A running program whose /proc the suite reads.
const SEEN: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::HOST_PID);

/// Most resident memory that a sound pause has, in bytes.
const SMALL: u64 = 1 << 20;

/// Allocators and page tables settle by a few pages.
const SLACK: u64 = 64 << 10;

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
    requirement: "The pause process MUST use no processor time while nothing happens in the pod, also once it has reaped and after its work: thousands of orphans, and each signal that it survives.",
    source: IDLE_ISSUE,
    advice: Advice::new(
        "Its work times the number of pods is what a node loses for nothing.",
        "Wait in one call until a signal comes; poll nothing.",
    )
    .as_in(&advice::WAIT),
    needs: SEEN.union(Needs::WAITS),
    after: &[],
    run: idle_cpu,
};

fn idle_cpu(cx: &Context<'_>) -> Outcome {
    let idle = cx.idle()?;
    let busy = |rest: &Rest, when: &str| {
        let expected = format!(
            "less than {TICK:?} of processor time in {:.1?}",
            rest.window
        );
        rest.finding(expected, format!("{:.1?} and more{when}", rest.used))
    };
    if idle.fresh.is_busy() {
        return Err(busy(&idle.fresh, "").into());
    }
    let reaped = idle.reaped?;
    if let Some(reaped) = reaped.as_ref().filter(|reaped| reaped.is_busy()) {
        return Err(busy(reaped, ", once it has reaped").into());
    }
    let rested = cx.rested()?;
    if let Some(rested) = rested.as_ref().filter(|it| it.rest.is_busy()) {
        return Err(busy(&rested.rest, AFTER_WORK).into());
    }
    let used = |rest: &Rest| format!("{:.1?} in {:.1?}", rest.used, rest.window);
    let mut pass = Pass::new(used(&idle.fresh));
    if let Some(reaped) = &reaped {
        pass = pass.with(format!("{} after it has reaped", used(reaped)));
    }
    if let Some(rested) = &rested {
        pass = pass.with(format!("{} after its work", used(&rested.rest)));
    }
    Ok(pass)
}

/// When a fault shows that shows in what came after the work.
const AFTER_WORK: &str = ", after its work";

static IDLE_WAKEUPS: Check = Check {
    id: "resources/idle-wakeups",
    title: "it does not wake up while it waits",
    level: Level::Should,
    requirement: "The pause process SHOULD NOT wake up while nothing happens in the pod, also once it has reaped and after its work: thousands of orphans, and each signal that it survives.",
    source: IDLE_ISSUE,
    advice: Advice::new(
        "Wake-ups keep processors out of their deeper sleep, on each node for each pod.",
        "Wait without a time limit, and start no runtime that has timers.",
    )
    .as_in(&advice::WAIT),
    needs: SEEN.union(Needs::NATIVE).union(Needs::WAITS),
    after: &[],
    run: idle_wakeups,
};

fn idle_wakeups(cx: &Context<'_>) -> Outcome {
    let idle = cx.idle()?;
    let fresh = idle.fresh;
    cx.measure("idle_wakeups", "count", fresh.switches as f64);
    let reaped = idle.reaped.ok().flatten();
    // One that wakes anyway has nothing to show at its work.
    let is_still = fresh.switches == 0;
    let rested = if is_still { cx.rested()? } else { None };
    let rests = [
        (Some(&fresh), ""),
        (reaped.as_ref(), ", once it has reaped"),
        (rested.as_ref().map(|it| &it.rest), AFTER_WORK),
    ];
    for (rest, when) in rests {
        if let Some(rest) = rest.filter(|rest| rest.switches > 0) {
            let expected = format!("no context switch in {:.1?}", rest.window);
            let observed = format!("{} context switches{when}", rest.switches);
            return Err(rest.finding(expected, observed).into());
        }
    }
    Ok(Pass::new(format!(
        "no context switch in {:.1?}",
        fresh.window
    )))
}

static MEMORY: Check = Check {
    id: "resources/memory",
    title: "its resident memory is small",
    level: Level::Should,
    requirement: "The pause process SHOULD have at most 1 MiB of resident memory, and no more after its work: thousands of orphans, and each signal that it survives.",
    source: Source {
        title: "cri-o#1722",
        url: "https://github.com/cri-o/cri-o/issues/1722",
    },
    advice: Advice::new(
        "It is charged to every pod: a thousand pods take a thousand times as much.",
        "Link statically and allocate nothing.",
    )
    .as_in(&advice::SMALL),
    needs: SEEN.union(Needs::NATIVE).union(Needs::WAITS),
    after: &[],
    run: memory,
};

fn memory(cx: &Context<'_>) -> Outcome {
    let mut pod = match cx.start_to_reap(spec()) {
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
    let pass = Pass::new(format!("{resident} bytes"));
    let Some(Rested { before, after, .. }) = cx.rested()? else {
        return Ok(pass);
    };
    let (before, after) = (before.resident, after.resident);
    let grown =
        format!("{before} bytes after it reaped {ORPHANS} orphans, {after} after all its work");
    if after > before + SLACK {
        let expected = format!("grows by at most {SLACK} bytes while it works");
        return Err(pod.finding(expected, grown).into());
    }
    Ok(pass.with(grown))
}

static FLAT_FOR_DAYS: Check = Check {
    id: "resources/flat-for-days",
    title: "it takes no more of anything in 30 days",
    level: Level::Should,
    requirement: "The pause process SHOULD have no more memory of its own, descriptors and children after 30 days of waiting than when it began to wait.",
    source: Source {
        title: "cri-o#1722",
        url: "https://github.com/cri-o/cri-o/issues/1722",
    },
    advice: Advice::new(
        "What grows in a pod of weeks ends as an OOM kill of the whole pod, or as EMFILE.",
        "Allocate and open nothing after the start.",
    )
    .as_in(&advice::SMALL),
    needs: SEEN.union(Needs::FOLLOWED),
    after: &["startup/stays-for-days"],
    run: flat_for_days,
};

fn flat_for_days(cx: &Context<'_>) -> Outcome {
    let days = cx.days()?;
    match days.last.more_than(&days.first) {
        Some(finding) => Err(finding.with(days.in_words()).into()),
        None => Ok(Pass::new("no more memory, descriptors or children").with(days.in_words())),
    }
}
