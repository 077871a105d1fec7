//! What the world tells a guest, and tells of it.

use super::{End, Fault, Faults, HOUR, MONTH, Watched, watch};

fn watched(body: &str, faults: Faults) -> Watched {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "clock_time_get"
            (func $time (param i32 i64 i32) (result i32)))
          (memory (export "memory") 1 1)
          ;; A relative hour of the monotonic clock at 0.
          (data (i32.const 16) "\01")
          (data (i32.const 24) "\00\a0\b8\30\46\03")
          (func (export "_start") {body}))"#
    );
    watch(&wat::parse_str(text).expect("a module"), faults, MONTH)
}

const POLL: &str = "(call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))";

#[test]
fn a_month_of_hours_passes() {
    let watched = watched(&format!("(loop (drop {POLL}) (br 0))"), Faults::None);
    slept_by_the_hour(&watched);
}

/// For a month, with the same little work each time.
pub(super) fn slept_by_the_hour(watched: &Watched) {
    assert_eq!(watched.end, End::Waiting);
    assert_eq!((watched.lasted, watched.waits), (MONTH, 720));
    assert_eq!(watched.busiest_hour, 1);
    assert_eq!(watched.pages, Some((1, 1)));
    let (least, most) = watched.fuel.expect("it waited");
    assert!(least == most && most < 100, "{least}..{most}");
}

#[test]
fn every_end_is_told_apart() {
    let end = |body: &str| watched(body, Faults::None).end;
    assert_eq!(end(""), End::Returned);
    assert_eq!(end("(call $exit (i32.const 42))"), End::Exited(42));
    assert!(matches!(end("unreachable"), End::Trapped(_)));
    assert_eq!(end("(loop (br 0))"), End::Spun);
}

#[test]
fn the_clock_says_how_long_the_guest_slept() {
    let body = format!(
        "(drop {POLL}) (drop (call $time (i32.const 1) (i64.const 0) (i32.const 200)))
         (if (i64.ne (i64.load (i32.const 200)) (i64.const {HOUR})) (then unreachable))"
    );
    assert_eq!(watched(&body, Faults::None).end, End::Returned);
}

#[test]
fn what_is_injected_reaches_the_guest() {
    // Exits with the call's error, or else with the event's.
    let body = format!(
        "(local $error i32)
         (loop (local.set $error {POLL})
           (br_if 0 (i32.eqz (i32.or (local.get $error) (i32.load16_u (i32.const 72)))))
           (call $exit (i32.or (local.get $error) (i32.load16_u (i32.const 72)))))"
    );
    for fault in [Fault::Call(27), Fault::Event(27)] {
        let watched = watched(&body, Faults::Permanent(fault));
        assert_eq!((watched.end, watched.faults), (End::Exited(27), 1));
        assert_eq!(watched.lasted, 0);
    }
    let slow = watched(&body, Faults::Bursts(Fault::Early));
    assert_eq!(slow.end, End::Waiting);
    assert!(slow.waits > 1000 && slow.waits < 1100, "{}", slow.waits);
}
