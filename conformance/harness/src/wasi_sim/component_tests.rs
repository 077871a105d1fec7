//! That a component is told the same of the world as a module, and the world tells the
//! same of it.

use super::{End, Fault, Faults, HOUR, MONTH, Watched, watch};

/// A component whose run is this, with what a pause may call.
fn watched(body: &str, faults: Faults) -> Watched {
    let text = format!(
        r#"(component
          (import "wasi:io/poll@0.2.6" (instance $poll
            (export "pollable" (type $pollable (sub resource)))
            (export "[method]pollable.ready"
              (func (param "self" (borrow $pollable)) (result bool)))
            (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
          (alias export $poll "pollable" (type $pollable))
          (import "wasi:clocks/monotonic-clock@0.2.1" (instance $clock
            (alias outer 1 $pollable (type $pollable))
            (export "now" (func (result u64)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
          (import "wasi:cli/exit@0.2.0" (instance $exit
            (export "exit" (func (param "status" (result))))
            (export "exit-with-code" (func (param "status-code" u8)))))
          (core func $ready (canon lower (func $poll "[method]pollable.ready")))
          (core func $block (canon lower (func $poll "[method]pollable.block")))
          (core func $drop (canon resource.drop $pollable))
          (core func $now (canon lower (func $clock "now")))
          (core func $sleep (canon lower (func $clock "subscribe-duration")))
          (core func $exit (canon lower (func $exit "exit")))
          (core func $code (canon lower (func $exit "exit-with-code")))
          (core module $pause
            (import "" "ready" (func $ready (param i32) (result i32)))
            (import "" "block" (func $block (param i32)))
            (import "" "drop" (func $drop (param i32)))
            (import "" "now" (func $now (result i64)))
            (import "" "sleep" (func $sleep (param i64) (result i32)))
            (import "" "exit" (func $exit (param i32)))
            (import "" "code" (func $code (param i32)))
            (memory 1 4)
            (func $hour (local $for i32)
              (local.set $for (call $sleep (i64.const {HOUR})))
              (call $block (local.get $for))
              (call $drop (local.get $for)))
            (func (export "run") (result i32) {body} (i32.const 0)))
          (core instance $pause (instantiate $pause (with "" (instance
            (export "ready" (func $ready))
            (export "block" (func $block))
            (export "drop" (func $drop))
            (export "now" (func $now))
            (export "sleep" (func $sleep))
            (export "exit" (func $exit))
            (export "code" (func $code))))))
          (func $run (result (result)) (canon lift (core func $pause "run")))
          (instance $cli (export "run" (func $run)))
          (export "wasi:cli/run@0.2.6" (instance $cli)))"#
    );
    let component = wat::parse_str(text).expect("a component");
    watch(&component, faults, MONTH)
}

#[test]
fn a_month_of_hours_passes() {
    let watched = watched("(loop (call $hour) (br 0))", Faults::None);
    super::tests::slept_by_the_hour(&watched);
    assert_eq!(watched.handles, Some((1, 1)));
}

#[test]
fn every_end_is_told_apart() {
    let end = |body: &str| watched(body, Faults::None).end;
    assert_eq!(end(""), End::Returned);
    assert_eq!(end("(call $exit (i32.const 0))"), End::Exited(0));
    assert_eq!(end("(call $exit (i32.const 1))"), End::Exited(1));
    assert_eq!(end("(call $code (i32.const 42))"), End::Exited(42));
    assert!(matches!(end("unreachable"), End::Trapped(_)));
    assert!(matches!(
        end("(call $block (i32.const 7))"),
        End::Trapped(_)
    ));
    assert_eq!(end("(loop (br 0))"), End::Spun);
    let unready = "(loop (br_if 0 (i32.eqz (call $ready (local.get 0)))))";
    let polling = format!("(local i32) (local.set 0 (call $sleep (i64.const 1))) {unready}");
    assert_eq!(end(&polling), End::Spun);
    assert_eq!(
        end("(loop (call $block (call $sleep (i64.const 0))) (br 0))"),
        End::Busy
    );
}

#[test]
fn the_clock_says_how_long_the_guest_slept() {
    let body =
        format!("(call $hour) (if (i64.ne (call $now) (i64.const {HOUR})) (then unreachable))");
    assert_eq!(watched(&body, Faults::None).end, End::Returned);
}

#[test]
fn a_sleep_that_ends_early_is_seen_by_the_guest() {
    let body =
        format!("(call $hour) (if (i64.ge_u (call $now) (i64.const {HOUR})) (then unreachable))");
    let watched = watched(&body, Faults::Bursts(Fault::Early));
    assert_eq!((watched.end, watched.faults), (End::Returned, 1));
}

#[test]
fn what_a_guest_takes_is_counted_and_bounded() {
    let leaking = watched(
        &format!("(loop (call $block (call $sleep (i64.const {HOUR}))) (br 0))"),
        Faults::None,
    );
    assert_eq!(
        (leaking.end, leaking.handles),
        (End::Waiting, Some((1, 720)))
    );
    let growing = watched(
        "(call $hour) (drop (memory.grow (i32.const 2))) (call $hour)
         (if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then unreachable))",
        Faults::None,
    );
    assert_eq!((growing.end, growing.pages), (End::Returned, Some((1, 3))));
}
