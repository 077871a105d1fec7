//! A WebAssembly program: what it says of itself, and a minute of its life.

use conformance::subject::wasm::{Wasm, WasmKind};
use conformance::wasi_sim::{Fault, Faults, watch};

use super::held;

/// A minute of the virtual clock, in nanoseconds.
const MINUTE: u64 = 60_000_000_000;

/// Names are shown escaped, lists are bounded, and a valid module lives through a minute
/// of the virtual clock the same way twice.
pub fn run(bytes: &[u8]) {
    let wasm = match Wasm::read(bytes) {
        Ok(wasm) => wasm,
        Err(why) => return held::legible(&why),
    };
    for named in wasm.imports.iter().chain(&wasm.exports) {
        held::legible(&named.to_string());
        held::legible(named.signature.as_deref().unwrap_or_default());
    }
    assert!(wasm.imports.len() < 1024 && wasm.exports.len() < 1024 && wasm.memories.len() < 1024);
    if wasm.kind == WasmKind::Module {
        for faults in [Faults::None, Faults::Bursts(Fault::NoEvent)] {
            let (once, again) = (watch(bytes, faults, MINUTE), watch(bytes, faults, MINUTE));
            assert_eq!(format!("{once:?}"), format!("{again:?}"));
            assert!(once.lasted <= MINUTE || once.waits > 0);
        }
    }
}
