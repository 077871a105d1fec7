//! The host's command line, and the guest of mixed pods.

use std::ffi::OsString;

use super::{Fault, Order, SERVER};

#[test]
fn the_server_is_its_text_assembled() {
    let assembled = wat::parse_str(include_str!("server.wat")).expect("it is a module in text");
    assert!(
        assembled == SERVER,
        "write it anew: wat2wasm conformance/harness/src/wasi_host/server.wat, or any assembler"
    );
}

#[test]
fn an_order_survives_the_command_line() {
    let faults = Fault::ALL.iter().copied().map(Some).chain([None]);
    for (fault, listen) in faults.zip([None, Some(80)].into_iter().cycle()) {
        let order = Order {
            module: 7,
            listen,
            helper: listen.is_none(),
            fault,
        };
        let words = order.words().into_iter().map(OsString::from);
        assert_eq!(Order::parse(words), Ok(order));
    }
}

#[test]
fn a_wrong_word_is_named() {
    for words in [
        &["x"][..],
        &["3", "fault=none"],
        &["3", "listen=x"],
        &["3", "y"],
    ] {
        let error = Order::parse(words.iter().map(OsString::from)).expect_err("it is wrong");
        assert!(
            error.starts_with("no descriptor") || error.contains(words[1]),
            "{error}"
        );
    }
}
