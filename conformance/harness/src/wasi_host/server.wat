;; The guest of mixed pods: a server on the listening socket that its host gives it as
;; descriptor 3. It says on standard output that it listens. Each connection sends two
;; bytes, an order and a number: `x` exits with the number, `t` traps, `r` returns, and
;; anything else is greeted; then the connection is closed.
;;
;; `server.wasm` is this text assembled; a test compares them.
(module
  (import "wasi_snapshot_preview1" "sock_accept"
    (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1 1)
  ;; Vectors of one buffer each: the order, the greeting, the word on standard output.
  (data (i32.const 0) "\40\00\00\00\02\00\00\00\80\00\00\00\0b\00\00\00\90\00\00\00\0a\00\00\00")
  (data (i32.const 128) "wasi guest\n")
  (data (i32.const 144) "listening\n")
  (func (export "_start")
    (local $connection i32)
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
    (loop $next
      (if (call $accept (i32.const 3) (i32.const 0) (i32.const 28))
        (then (call $exit (i32.const 1))))
      (local.set $connection (i32.load (i32.const 28)))
      (i32.store (i32.const 64) (i32.const 0))
      (drop (call $read (local.get $connection) (i32.const 0) (i32.const 1) (i32.const 24)))
      (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 120)) ;; x
        (then (call $exit (i32.load8_u (i32.const 65)))))
      (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 116)) ;; t
        (then (unreachable)))
      (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const 114)) ;; r
        (then (return)))
      (drop (call $write (local.get $connection) (i32.const 8) (i32.const 1) (i32.const 24)))
      (drop (call $close (local.get $connection)))
      (br $next))))
