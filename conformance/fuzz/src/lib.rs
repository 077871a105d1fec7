//! What the fuzzer is pointed at. The stable tests of the suite run the same functions
//! over the committed corpora (`conformance/tests/fuzz.rs`).

pub mod targets;
