//! What is read of a program, and that nothing makes the reader panic.

use proptest::prelude::*;

use super::{Extern, Memory, Wasm, WasmKind};

const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 2)
  (func $start)
  (start $start)
  (func (export "_start")))"#;

fn assembled(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a program in text")
}

fn function(module: &str, name: &str, signature: &str) -> Extern {
    Extern {
        module: module.to_owned(),
        name: name.to_owned(),
        what: "function",
        signature: Some(signature.to_owned()),
    }
}

#[test]
fn a_module_is_read_with_the_types_of_its_functions() {
    let wasm = Wasm::read(&assembled(MODULE)).expect("it is valid");
    assert_eq!(wasm.kind, WasmKind::Module);
    assert_eq!(
        wasm.imports,
        [function(
            "wasi_snapshot_preview1",
            "poll_oneoff",
            "(i32, i32, i32, i32) -> (i32)"
        )]
    );
    assert_eq!(
        wasm.export("_start"),
        Some(&function("", "_start", "() -> ()"))
    );
    assert!(wasm.start);
    let page = Memory {
        initial: 1,
        maximum: Some(2),
        page: 65536,
    };
    assert_eq!(wasm.memories, [page]);
}

#[test]
fn a_component_is_read_with_what_is_inside_it() {
    let text = r#"(component
      (import "wasi:io/poll@0.2.0" (instance (export "pollable" (type (sub resource)))))
      (core module (memory 3) (func $f) (start $f))
      (component (core module (memory 4))))"#;
    let wasm = Wasm::read(&assembled(text)).expect("it is valid");
    assert_eq!(wasm.kind, WasmKind::Component);
    let names: Vec<_> = wasm.imports.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["wasi:io/poll@0.2.0"]);
    assert!(wasm.start);
    let pages: Vec<_> = wasm.memories.iter().map(|memory| memory.initial).collect();
    assert_eq!(pages, [3, 4]);
}

#[test]
fn a_flood_of_imports_is_refused() {
    let one = r#"(import "m" "f" (func))"#;
    let error = Wasm::read(&assembled(&format!("(module {})", one.repeat(2000))));
    assert!(error.is_err_and(|why| why.contains("limit")));
}

proptest! {
    #[test]
    fn no_change_of_a_byte_makes_the_reader_panic(at in 0..90_usize, to: u8, cut in 0..90_usize) {
        let mut bytes = assembled(MODULE);
        let len = bytes.len();
        bytes[at % len] = to;
        bytes.truncate(len - cut % len);
        let _ = Wasm::read(&bytes);
    }
}
