//! The family `wasi`: a pause that is a WASI program, what it asks of its host, what it
//! does over 30 days of a virtual clock, what it and a WASI runtime do together as PID 1 of a
//! sandbox, and the image that carries it; and that a native pause image is not taken
//! for one.

mod clock;
mod host;
mod image;
mod module;

use crate::check::{Family, Stop};
use crate::context::Context;
use crate::subject::WasmSubject;
use crate::subject::wasm::Wasm;

/// WASI pauses, and native ones beside WASI workloads.
pub static FAMILY: Family = Family {
    name: "wasi",
    title: "a pause as a WASI program, and native pauses beside WASI workloads",
    checks: &[
        &module::VALID,
        &module::IMPORTS_FEW,
        &module::EXPORTS_ENTRY,
        &module::NO_START_SECTION,
        &module::MEMORY_SMALL,
        &module::MEMORY_BOUNDED,
        &module::PROGRAM_SMALL,
        &module::PROGRAM_TINY,
        &clock::STAYS,
        &clock::WAITS_ON_CLOCK,
        &clock::WAKES_RARELY,
        &clock::WORKS_LITTLE,
        &clock::WORKS_EVENLY,
        &clock::MEMORY_FLAT,
        &clock::HANDLES_FLAT,
        &clock::SURVIVES_EINTR,
        &clock::SURVIVES_EAGAIN,
        &clock::SURVIVES_EARLY_WAKE,
        &clock::ENDS_ON_ERROR,
        &host::HOLDS,
        &host::ENDS_ON_TERM,
        &host::ENDS_ON_INT,
        &host::KILLED,
        &host::REAPS,
        &host::IDLE,
        &image::ONE_FORM,
        &image::PLATFORM_TRUE,
        &image::INDEX_HAS_NATIVE,
        &image::NATIVE_UNMISTAKABLE,
    ],
};

/// The program; the runner gives these checks no other subject.
fn subject<'a>(cx: &'a Context<'_>) -> Result<&'a WasmSubject, Stop> {
    cx.subject()
        .wasm
        .as_ref()
        .ok_or_else(|| Stop::Skip("the program is not WebAssembly".to_owned()))
}

/// What the program says of itself.
fn read<'a>(cx: &'a Context<'_>) -> Result<&'a Wasm, Stop> {
    subject(cx)?
        .read
        .as_ref()
        .map_err(|why| Stop::Skip(format!("the program is not valid: {why}")))
}
