//! What a program does over 30 days of a virtual clock, and when its sleeps fail.

use super::{read, subject};
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject::wasm::{WasmKind, is_component};
use crate::wasi_sim::{EAGAIN, EINTR, ENOTSUP, End, Fault, Faults, HOUR, MONTH, Watched, watch};

/// The most waits in an hour of the clock.
const MOST_WAKES: u64 = 60;
/// The most work from one wait to the next, in units of fuel: about as many instructions.
const MOST_WORK: u64 = 1000;
/// How long a program is watched where faults are injected.
const DAYS: u64 = 3 * 24 * HOUR;

/// Without these no host can start it.
const STARTS: &[&str] = &[
    "wasi/imports-few",
    "wasi/exports-entry",
    "wasi/no-start-section",
];
const STAYS_ID: &str = "wasi/stays";
const RUNS: &[&str] = &[STAYS_ID];

const POLL_SOURCE: Source = Source {
    title: "WASI preview 1, poll_oneoff",
    url: "https://github.com/WebAssembly/WASI/blob/snapshot-01/phases/snapshot/docs.md#-poll_oneoffin-constpointersubscription-out-pointerevent-nsubscriptions-size---errno-size",
};

/// The largest component that is compiled, in bytes: what is larger is refused anyhow.
const MOST_COMPILED: usize = 256 << 10;

fn watched(cx: &Context<'_>, faults: Faults, until: u64) -> Result<Watched, Stop> {
    let program = &subject(cx)?.content;
    if is_component(program) && program.len() > MOST_COMPILED {
        let why = format!("a component of more than {MOST_COMPILED} bytes is not run");
        return Err(Stop::Skip(why));
    }
    Ok(watch(program, faults, until))
}

fn month(cx: &Context<'_>) -> Result<Watched, Stop> {
    watched(cx, Faults::None, MONTH)
}

/// One line of what was seen.
fn seen(watched: &Watched) -> String {
    format!(
        "{} after {} waits in {:.1} hours",
        watched.end,
        watched.waits,
        watched.lasted as f64 / HOUR as f64
    )
}

pub(super) static STAYS: Check = Check {
    id: STAYS_ID,
    title: "the program still waits after 30 days",
    level: Level::Must,
    requirement: "The program MUST NOT return, exit, trap or spin in 30 days of a virtual clock.",
    source: Source {
        title: "pause.c",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
    },
    advice: Advice::new(
        "The pod's sandbox ends, and all its containers are restarted.",
        "Wait in a loop without an end.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: STARTS,
    run: stays,
};

fn stays(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    // How often it wakes is another check's; here it must not have ended.
    let stays = matches!(watched.end, End::Waiting | End::Busy);
    ensure(stays, "still waiting after 720 hours", seen(&watched))?;
    cx.measure("wasi/start-work", "fuel", watched.start_fuel as f64);
    Ok(Pass::new(seen(&watched)))
}

pub(super) static WAITS_ON_CLOCK: Check = Check {
    id: "wasi/waits-on-clock",
    title: "every wait is for a clock",
    level: Level::Must,
    requirement: "Every wait MUST have at least one subscription, and each MUST be to a clock.",
    source: POLL_SOURCE,
    advice: Advice::new(
        "Another event, or none, either never wakes the program or wakes it at once.",
        "Subscribe to the monotonic clock in each call of poll_oneoff.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: RUNS,
    run: waits_on_clock,
};

fn waits_on_clock(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    let expected = "subscriptions to the realtime or the monotonic clock";
    match watched.odd_wait {
        Some(odd) => Err(Finding::new(expected, odd).into()),
        None => Ok(Pass::new(format!(
            "{} waits, all for a clock",
            watched.waits
        ))),
    }
}

pub(super) static WAKES_RARELY: Check = Check {
    id: "wasi/wakes-rarely",
    title: "the program wakes at most once a minute",
    level: Level::Must,
    requirement: "The program MUST NOT begin more than 60 waits in an hour of the clock.",
    source: Source {
        title: "kubernetes#95840",
        url: "https://github.com/kubernetes/kubernetes/issues/95840",
    },
    advice: Advice::new(
        "Wake-ups keep processors out of their deeper sleep, for each pod.",
        "Wait for hours at a time.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: &[STAYS_ID, "wasi/waits-on-clock"],
    run: wakes_rarely,
};

fn wakes_rarely(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    cx.measure("wasi/waits-per-hour", "waits", watched.busiest_hour as f64);
    let observed = format!("{} waits in the busiest hour", watched.busiest_hour);
    ensure(
        watched.busiest_hour <= MOST_WAKES,
        format!("at most {MOST_WAKES} waits an hour"),
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static WORKS_LITTLE: Check = Check {
    id: "wasi/works-little",
    title: "the program does almost no work between two waits",
    level: Level::Must,
    requirement: "The program MUST NOT do more than 1,000 units of work (about as many instructions) between two waits.",
    source: Source {
        title: "kubernetes#95840",
        url: "https://github.com/kubernetes/kubernetes/issues/95840",
    },
    advice: Advice::new(
        "Its work times the number of pods is what a node loses for nothing.",
        "Do nothing between two waits.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: &[STAYS_ID, "wasi/memory-flat"],
    run: works_little,
};

fn works_little(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    let Some((_, most)) = watched.fuel else {
        return Ok(Pass::new(format!("no work: {}", seen(&watched))));
    };
    cx.measure("wasi/work-per-wait", "fuel", most as f64);
    let observed = format!("at most {most} units between two waits");
    ensure(
        most <= MOST_WORK,
        format!("at most {MOST_WORK} units"),
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static WORKS_EVENLY: Check = Check {
    id: "wasi/works-evenly",
    title: "each wake costs the same",
    level: Level::Should,
    requirement: "The work between two waits SHOULD be the same each time from the second wait on.",
    source: POLL_SOURCE,
    advice: Advice::new(
        "Work that grows shows state that grows, which ends badly after weeks.",
        "Keep no state from wait to wait.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: &[STAYS_ID, "wasi/works-little"],
    run: works_evenly,
};

fn works_evenly(cx: &Context<'_>) -> Outcome {
    match month(cx)?.fuel {
        None => Ok(Pass::new("fewer than three waits")),
        Some((least, most)) => {
            let observed = format!("{least} to {most} units");
            ensure(least == most, "the same number of units", observed.clone())?;
            Ok(Pass::new(observed))
        }
    }
}

pub(super) static MEMORY_FLAT: Check = Check {
    id: "wasi/memory-flat",
    title: "the memory never grows",
    level: Level::Must,
    requirement: "The memory of the program MUST NOT grow after its first wait.",
    source: Source {
        title: "WebAssembly 2.0, memory.grow",
        url: "https://www.w3.org/TR/2024/WD-wasm-core-2-20241222/#memory-instructions%E2%91%A0",
    },
    advice: Advice::new(
        "Memory that grows ends as an OOM kill of the pod.",
        "Allocate nothing in the loop.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: RUNS,
    run: memory_flat,
};

fn memory_flat(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    let Some((first, last)) = watched.pages else {
        return Err(Stop::Error("it waits without a memory".to_owned()));
    };
    let observed = format!("{first} pages at the first wait, {last} at the last");
    ensure(first == last, "as many pages as before", observed.clone())?;
    Ok(Pass::new(observed))
}

pub(super) static HANDLES_FLAT: Check = Check {
    id: "wasi/handles-flat",
    title: "the program gives back the resources that it takes",
    level: Level::Must,
    requirement: "The program MUST NOT hold more resources of the host from wait to wait.",
    source: Source {
        title: "WASI preview 2, wasi:io/poll",
        url: "https://github.com/WebAssembly/wasi-io/blob/v0.2.0/wit/poll.wit",
    },
    advice: Advice::new(
        "Resources of the host that grow in number end as a trap, and the pod with it.",
        "Drop each pollable after its wait.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK.union(Needs::WASM_COMPONENT),
    after: RUNS,
    run: handles_flat,
};

/// How many more than at the first wait it may hold: a second sleep beside the first.
const SPARE_HANDLES: u64 = 8;

fn handles_flat(cx: &Context<'_>) -> Outcome {
    let watched = month(cx)?;
    let Some((first, last)) = watched.handles else {
        return Err(Stop::Error("it never waited".to_owned()));
    };
    let observed = format!("{first} at the first wait, {last} at the last");
    ensure(
        last <= first + SPARE_HANDLES,
        format!("no more than {SPARE_HANDLES} resources on top of the first wait's"),
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static SURVIVES_EINTR: Check = Check {
    id: "wasi/survives-eintr",
    title: "an interrupted wait is waited again",
    level: Level::Must,
    requirement: "The program MUST go on waiting, and MUST NOT spin, where waits end with EINTR.",
    source: POLL_SOURCE,
    advice: Advice::new(
        "A signal to the WASI runtime would end the pod, or have it take a whole processor.",
        "Take an error of the wait for a wake-up, and wait again.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK.union(Needs::WASM_MODULE),
    after: &[STAYS_ID, "wasi/wakes-rarely", "wasi/works-little"],
    run: |cx| survives(cx, &[Fault::Call(EINTR), Fault::Event(EINTR)], "EINTR"),
};

pub(super) static SURVIVES_EAGAIN: Check = Check {
    id: "wasi/survives-eagain",
    title: "a wait that the WASI runtime cannot make now is made again",
    level: Level::Must,
    requirement: "The program MUST go on waiting, and MUST NOT spin, where waits end with EAGAIN.",
    source: POLL_SOURCE,
    advice: Advice::new(
        "A runtime that is short of something for a moment would end the pod.",
        "Take the error for a wake-up, and wait again.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK.union(Needs::WASM_MODULE),
    after: &[STAYS_ID, "wasi/wakes-rarely", "wasi/works-little"],
    run: |cx| survives(cx, &[Fault::Call(EAGAIN), Fault::Event(EAGAIN)], "EAGAIN"),
};

pub(super) static SURVIVES_EARLY_WAKE: Check = Check {
    id: "wasi/survives-early-wake",
    title: "a wait that ends early is waited again",
    level: Level::Must,
    requirement: "The program MUST go on waiting, and MUST NOT spin, where waits end before their time.",
    source: POLL_SOURCE,
    advice: Advice::new(
        "A wait may end early; a program that counts on its length ends or spins.",
        "Wait again, whatever time has passed.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK,
    after: &[STAYS_ID, "wasi/wakes-rarely", "wasi/works-little"],
    run: |cx| {
        // Preview 2 has no poll that returns without an event: runtimes trap first.
        let faults = match read(cx)?.kind {
            WasmKind::Module => &[Fault::Early, Fault::NoEvent][..],
            WasmKind::Component => &[Fault::Early],
        };
        survives(cx, faults, "early wakes")
    },
};

fn survives(cx: &Context<'_>, faults: &[Fault], what: &str) -> Outcome {
    let mut pass = Pass::new(format!("still waiting after each of the {what}"));
    for fault in faults {
        let watched = watched(cx, Faults::Bursts(*fault), DAYS)?;
        if watched.faults == 0 {
            return Err(Stop::Error(format!("no {what} could be injected")));
        }
        let line = format!("{fault:?}: {} faults, {}", watched.faults, seen(&watched));
        ensure(
            watched.end == End::Waiting,
            format!("still waiting after {what}"),
            line.clone(),
        )?;
        let most = watched.fuel.map_or(0, |(_, most)| most);
        ensure(
            watched.busiest_hour <= MOST_WAKES && most <= MOST_WORK,
            format!("no more than {MOST_WAKES} waits an hour and {MOST_WORK} units of work a wait"),
            format!(
                "{line}; {} waits in an hour, {most} units",
                watched.busiest_hour
            ),
        )?;
        pass = pass.with(line);
    }
    Ok(pass)
}

pub(super) static ENDS_ON_ERROR: Check = Check {
    id: "wasi/ends-on-error",
    title: "an error that stays ends the program",
    level: Level::Must,
    requirement: "The program MUST exit with a status from 1 to 125 where the WASI runtime answers every wait with an error that stays.",
    source: Source {
        title: "WASI#235",
        url: "https://github.com/WebAssembly/WASI/issues/235",
    },
    advice: Advice::new(
        "Where waiting never works the pod would take a whole processor for ever.",
        "After some errors in a row call proc_exit with a status from 1 to 125.",
    )
    .as_in(&advice::WASI),
    needs: Needs::VIRTUAL_CLOCK.union(Needs::WASM_MODULE),
    after: &[STAYS_ID, "wasi/waits-on-clock"],
    run: ends_on_error,
};

fn ends_on_error(cx: &Context<'_>) -> Outcome {
    let mut ends = Vec::new();
    for fault in [Fault::Call(ENOTSUP), Fault::Event(ENOTSUP)] {
        // From the first wait on: one that sleeps for years has no third.
        let watched = watched(cx, Faults::Permanent(fault), MONTH)?;
        if watched.faults == 0 {
            return Err(Stop::Error("no error could be injected".to_owned()));
        }
        ensure(
            matches!(watched.end, End::Exited(1..=125)),
            "exited 1 to 125",
            format!("{fault:?}: {}", seen(&watched)),
        )?;
        ends.push(watched.end.to_string());
    }
    Ok(Pass::new(ends.join(", ")))
}
