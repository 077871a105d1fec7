;; The reference pause as a WASI component (preview 2): what `wasi.rs` is in
;; preview 1. A sleep cannot fail here, so there is no error to end on.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))

  (core module $pause
    (import "" "s" (func $subscribe (param i64) (result i32)))
    (import "" "b" (func $block (param i32)))
    (import "" "d" (func $drop (param i32)))
    (func (export "r") (result i32)
      (local $hour i32)
      (loop $again
        ;; One hour in nanoseconds, as in `wasi.rs`.
        (local.set $hour (call $subscribe (i64.const 3600_000_000_000)))
        (call $block (local.get $hour))
        ;; Handles that nobody gives back pile up in the engine.
        (call $drop (local.get $hour))
        (br $again))
      (unreachable)))

  (core instance $pause (instantiate $pause (with "" (instance
    (export "s" (func $subscribe))
    (export "b" (func $block))
    (export "d" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $pause "r")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
