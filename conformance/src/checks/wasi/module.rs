//! What the program says of itself; nothing is run.

use super::{read, subject};
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, ensure};
use crate::context::Context;
use crate::subject::wasm::{Extern, WasmKind};

/// What a pause may import of preview 1: sleep, end, and ask the time.
const PREVIEW1: [&str; 4] = ["clock_time_get", "poll_oneoff", "proc_exit", "sched_yield"];
/// Likewise of preview 2, in any version of it.
const PREVIEW2: [&str; 3] = [
    "wasi:cli/exit",
    "wasi:clocks/monotonic-clock",
    "wasi:io/poll",
];
/// Pages of 64 KiB that are enough for any pause.
const MOST_MEMORY: u64 = 16 << 16;

const VALID_ID: &str = "wasi/program-valid";

const PREVIEW1_SOURCE: Source = Source {
    title: "WASI preview 1, wasi_snapshot_preview1",
    url: "https://github.com/WebAssembly/WASI/blob/snapshot-01/phases/snapshot/docs.md",
};

const ABI_SOURCE: Source = Source {
    title: "WASI application ABI",
    url: "https://github.com/WebAssembly/WASI/blob/snapshot-01/design/application-abi.md",
};

pub(super) static VALID: Check = Check {
    id: VALID_ID,
    title: "the program is valid WebAssembly",
    level: Level::Must,
    requirement: "The program MUST be a valid core module or a valid component.",
    source: Source {
        title: "WebAssembly 2.0, Validation",
        url: "https://www.w3.org/TR/2024/WD-wasm-core-2-20241222/#validation%E2%91%A1",
    },
    advice: Advice::new(
        "No WASI runtime loads it, and no pod starts.",
        "Build with a current toolchain, and check by `wasm-tools validate`.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[],
    run: valid,
};

fn valid(cx: &Context<'_>) -> Outcome {
    let subject = subject(cx)?;
    match &subject.read {
        Ok(wasm) => Ok(Pass::new(format!(
            "{} is a {} of {} bytes",
            subject.name,
            kind(wasm.kind),
            subject.content.len()
        ))),
        Err(why) => Err(Finding::new("a valid module or component", why.as_str()).into()),
    }
}

fn kind(kind: WasmKind) -> &'static str {
    match kind {
        WasmKind::Module => "core module",
        WasmKind::Component => "component",
    }
}

pub(super) static IMPORTS_FEW: Check = Check {
    id: "wasi/imports-few",
    title: "the program imports only sleep, time and exit",
    level: Level::Must,
    requirement: "The program MUST import nothing but poll_oneoff, proc_exit, sched_yield and clock_time_get of preview 1, or wasi:io/poll, wasi:clocks/monotonic-clock and wasi:cli/exit of preview 2.",
    source: PREVIEW1_SOURCE,
    advice: Advice::new(
        "A WASI runtime that lacks an import refuses the program, and each import is a way out of the sandbox.",
        "Leave out the standard library, and import the few functions by hand.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[VALID_ID],
    run: imports_few,
};

fn imports_few(cx: &Context<'_>) -> Outcome {
    let wasm = read(cx)?;
    let allowed = |import: &&Extern| match wasm.kind {
        WasmKind::Module => {
            import.module == "wasi_snapshot_preview1"
                && import.what == "function"
                && PREVIEW1.contains(&import.name.as_str())
        }
        WasmKind::Component => PREVIEW2.iter().any(|name| import.is_preview2(name)),
    };
    let refused: Vec<String> = wasm
        .imports
        .iter()
        .filter(|import| !allowed(import))
        .map(|import| format!("{} ({})", import, import.what))
        .collect();
    let expected = match wasm.kind {
        WasmKind::Module => PREVIEW1.join(", "),
        WasmKind::Component => PREVIEW2.map(|name| format!("{name}@0.2")).join(", "),
    };
    if refused.is_empty() {
        let names: Vec<String> = wasm.imports.iter().map(ToString::to_string).collect();
        return Ok(Pass::new(format!("imports {}", list(&names))));
    }
    let expected = format!("no imports but {expected}");
    Err(Finding::new(expected, format!("imports {}", list(&refused))).into())
}

fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => "nothing".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!(
            "{} and {} more",
            names[..SHOWN].join(", "),
            names.len() - SHOWN
        ),
    }
}

pub(super) static EXPORTS_ENTRY: Check = Check {
    id: "wasi/exports-entry",
    title: "the program exports what a WASI runtime calls",
    level: Level::Must,
    requirement: "A module MUST export the function _start without parameters and results and the memory as memory; a component MUST export wasi:cli/run of preview 2, whose run has no parameters and gives a result.",
    source: ABI_SOURCE,
    advice: Advice::new(
        "The WASI runtime finds nothing to start.",
        "Export `_start` and `memory`, or build a command component.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[VALID_ID],
    run: exports_entry,
};

fn exports_entry(cx: &Context<'_>) -> Outcome {
    let wasm = read(cx)?;
    if wasm.kind == WasmKind::Component {
        let expected = "exports wasi:cli/run@0.2 with run, a function () -> result";
        let observed = match &wasm.run {
            Some(run) => format!("run is a function {run}"),
            None => exports(&wasm.exports),
        };
        ensure(
            wasm.run.as_deref() == Some("() -> result"),
            expected,
            observed,
        )?;
        return Ok(Pass::new(expected));
    }
    let start = wasm.export("_start");
    let signature = start.and_then(|start| start.signature.as_deref());
    let memory = wasm.export("memory").map(|memory| memory.what);
    ensure(
        signature == Some("() -> ()") && memory == Some("memory"),
        "exports _start, a function () -> (), and memory",
        match (signature, memory) {
            (Some(signature), Some("memory")) => format!("_start is a function {signature}"),
            _ => exports(&wasm.exports),
        },
    )?;
    Ok(Pass::new("exports _start () -> () and memory"))
}

fn exports(all: &[Extern]) -> String {
    let names: Vec<String> = all
        .iter()
        .map(|export| format!("{} ({})", export, export.what))
        .collect();
    format!("exports {}", list(&names))
}

pub(super) static NO_START_SECTION: Check = Check {
    id: "wasi/no-start-section",
    title: "nothing runs before the entry is called",
    level: Level::Must,
    requirement: "The program MUST have no start section, since a WASI runtime may instantiate it long before it runs it.",
    source: ABI_SOURCE,
    advice: Advice::new(
        "What runs at instantiation runs before the runtime is ready to stop it.",
        "Move the work to `_start`.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[VALID_ID],
    run: no_start_section,
};

fn no_start_section(cx: &Context<'_>) -> Outcome {
    ensure(!read(cx)?.start, "no start section", "it has one")?;
    Ok(Pass::new("no start section"))
}

pub(super) static MEMORY_SMALL: Check = Check {
    id: "wasi/memory-small",
    title: "the program takes no more than 16 pages of memory",
    level: Level::Must,
    requirement: "The memories of the program MUST NOT take more than 1 MiB (16 pages) together at the start.",
    source: ABI_SOURCE,
    advice: Advice::new(
        "It is taken in each pod on each node.",
        "Link with a small stack: `-z stack-size=4096`, and one page of memory.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[VALID_ID],
    run: memory_small,
};

fn memory_small(cx: &Context<'_>) -> Outcome {
    let bytes = read(cx)?.memories.iter().fold(0_u64, |sum, memory| {
        sum.saturating_add(memory.initial.saturating_mul(memory.page))
    });
    let observed = format!("{bytes} bytes");
    ensure(
        bytes <= MOST_MEMORY,
        format!("at most {MOST_MEMORY} bytes of memory"),
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static MEMORY_BOUNDED: Check = Check {
    id: "wasi/memory-bounded",
    title: "the program declares how far its memory may grow",
    level: Level::Should,
    requirement: "Each memory of the program SHOULD declare a maximum of at most 1 MiB (16 pages).",
    source: Source {
        title: "WebAssembly 2.0, Memory Types",
        url: "https://www.w3.org/TR/2024/WD-wasm-core-2-20241222/#memory-types%E2%91%A0",
    },
    advice: Advice::new(
        "A fault in the program could take memory until the pod is killed.",
        "Link with `--max-memory=65536`.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[VALID_ID, "wasi/memory-small"],
    run: memory_bounded,
};

fn memory_bounded(cx: &Context<'_>) -> Outcome {
    let expected = format!("a maximum of at most {MOST_MEMORY} bytes");
    for memory in &read(cx)?.memories {
        let Some(maximum) = memory.maximum else {
            return Err(Finding::new(expected, "no maximum").into());
        };
        let bytes = maximum.saturating_mul(memory.page);
        ensure(
            bytes <= MOST_MEMORY,
            expected.clone(),
            format!("a maximum of {bytes} bytes"),
        )?;
    }
    Ok(Pass::new(format!(
        "{} memories, each with {expected}",
        read(cx)?.memories.len()
    )))
}

pub(super) static PROGRAM_SMALL: Check = Check {
    id: "wasi/program-small",
    title: "the program has at most 64 KiB",
    level: Level::Must,
    requirement: "The program MUST NOT have more than 64 KiB, since the WASI runtime of every pod compiles it.",
    source: ABI_SOURCE,
    advice: Advice::new(
        "Every pod compiles it at its start.",
        "Leave out the standard library and debug information.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &[],
    run: |cx| size(cx, 64 << 10),
};

pub(super) static PROGRAM_TINY: Check = Check {
    id: "wasi/program-tiny",
    title: "the program has at most 4 KiB",
    level: Level::Should,
    requirement: "The program SHOULD NOT have more than 4 KiB.",
    source: ABI_SOURCE,
    advice: Advice::new(
        "Every pod compiles it at its start.",
        "Leave out the standard library, and strip custom sections: `wasm-tools strip`.",
    )
    .as_in(&advice::WASI),
    needs: Needs::WASM,
    after: &["wasi/program-small"],
    run: |cx| size(cx, 4 << 10),
};

fn size(cx: &Context<'_>, most: usize) -> Outcome {
    let size = subject(cx)?.content.len();
    cx.measure("wasi/program-size", "bytes", size as f64);
    let observed = format!("{size} bytes");
    ensure(
        size <= most,
        format!("at most {most} bytes"),
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}
