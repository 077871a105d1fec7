//! A WASI pause in other WASI runtimes, as PID 1 of a sandbox. They are made for programs that end
//! by themselves: they ignore TERM and INT, and never reap. The matrix judges the suite's own WASI
//! runtime; here it gets hostile guests.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use conformance::backend::Backend;
use conformance::backend::embedded::Embedded;
use conformance::check::{Check, Needs};
use conformance::checks::wasi::FAMILY;
use conformance::context::{CheckOptions, Shared};
use conformance::event::Verdict;
use conformance::subject::Subject;
use conformance::wasi_engine::Engine;
use conformance::wasi_host;
use conformance::{runner, self_test};
use libtest_mimic::{Arguments, Failed, Trial};

/// A sound guest.
const GUEST: &str = include_str!("../../fixtures/wasi/sound_hourly.wat");

/// Other WASI runtimes, and the checks that must fail in each.
const ENGINES: &[(Engine, &[&str])] = &[
    (Engine::Node, NAIVE),
    (Engine::Python, NAIVE),
    (Engine::Wasmtime, NAIVE),
];

/// The checks that fail in a WASI runtime that is made for programs which end by themselves.
const NAIVE: &[&str] = &[
    "wasi/host-ends-on-term",
    "wasi/host-ends-on-int",
    "wasi/host-reaps",
];

/// The checks of a guest in a WASI runtime.
fn checks() -> Vec<&'static Check> {
    let of_pair = |check: &&&Check| check.needs.contains(Needs::WASI_HOST);
    FAMILY.checks.iter().filter(of_pair).copied().collect()
}

fn judge(backend: &Arc<dyn Backend>, engine: Engine, breaks: &[&str]) -> Result<(), Failed> {
    engine.find()?;
    let subject = Subject::of_wasm("sound_hourly", wat::parse_str(GUEST)?.into());
    let options = CheckOptions {
        wasi_engine: engine,
        ..CheckOptions::default()
    };
    let shared = Shared::new(subject, options, Some(Arc::clone(backend)), 1.0);
    let settings = self_test::settings(Arc::default());
    let ran = runner::run(&checks(), &Arc::new(shared), &settings, &mut |_| {});
    let wrong: Vec<String> = ran
        .records
        .iter()
        .filter(|record| {
            let breaks = breaks.contains(&record.id.as_str());
            record.verdict != if breaks { Verdict::Fail } else { Verdict::Pass }
        })
        .map(|record| {
            format!(
                "{}: {}: {:?} {:?} {:?}",
                record.id,
                record.verdict.as_str(),
                record.observed,
                record.reason,
                record.evidence
            )
        })
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n").into())
    }
}

/// Whether this runtime is missing and may be: CI has all but the `wasmtime` command, which is
/// neither in the distribution nor in wasmtime's packages for other languages.
fn may_lack(engine: Engine) -> bool {
    let wanted = engine != Engine::Wasmtime && std::env::var_os("CI").is_some();
    let lacks = engine.find().err().filter(|_| !wanted);
    if let Some(why) = &lacks {
        eprintln!("not run: {why}; {}", why.hint);
    }
    lacks.is_some()
}

/// Guests that are hostile or invalid, and the exit status of the suite's own WASI runtime.
const HOSTILE: &[(&str, &str, i32)] = &[
    (
        "takes all memory",
        r#"(memory 1 65536) (func (export "_start")
            (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            (if (i32.gt_u (memory.size) (i32.const 256)) (then unreachable)))"#,
        0,
    ),
    (
        "wants more memory than it may have",
        r#"(memory (export "memory") 4096) (func (export "_start"))"#,
        wasi_host::NOT_STARTED,
    ),
    (
        "takes all tables",
        r#"(table 1 funcref) (func (export "_start")
            (if (i32.ne (table.grow (ref.null func) (i32.const 100000000)) (i32.const -1))
              (then unreachable)))"#,
        0,
    ),
    (
        "calls itself without end",
        r#"(func $again (export "_start") (call $again))"#,
        wasi_host::TRAPPED,
    ),
    (
        "exits with a number that is reserved",
        r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
           (func (export "_start") (call $exit (i32.const 300)))"#,
        wasi_host::TRAPPED,
    ),
    (
        "lies about what it imports",
        r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i64) (result i64)))
           (func (export "_start"))"#,
        wasi_host::NOT_STARTED,
    ),
    (
        "imports what there is none of",
        r#"(import "wasi_snapshot_preview1" "path_open" (func))
           (func (export "_start"))"#,
        wasi_host::NOT_STARTED,
    ),
    (
        "has no entry",
        r#"(func (export "_begin"))"#,
        wasi_host::NOT_STARTED,
    ),
    (
        "points beyond its memory",
        r#"(import "wasi_snapshot_preview1" "poll_oneoff"
             (func $poll (param i32 i32 i32 i32) (result i32)))
           (import "wasi_snapshot_preview1" "fd_write"
             (func $write (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 1 1)
           (func (export "_start")
             ;; EFAULT is 21, EINVAL 28.
             (if (i32.ne (call $poll (i32.const -8) (i32.const 0) (i32.const 1) (i32.const 0))
                   (i32.const 21)) (then unreachable))
             (if (i32.ne (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))
                   (i32.const 28)) (then unreachable))
             (if (i32.ne (call $write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 0))
                   (i32.const 21)) (then unreachable)))"#,
        0,
    ),
    (
        "reads what is not its own",
        r#"(import "wasi_snapshot_preview1" "fd_read"
             (func $read (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 1 1)
           (data (i32.const 0) "\10\00\00\00\10\00\00\00")
           (func (export "_start") (local $fd i32)
             ;; EBADF is 8: not standard input, not the module, not what takes signals.
             (loop
               (if (i32.ne (call $read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
                     (i32.const 8)) (then unreachable))
               (br_if 0 (i32.lt_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1)))
                 (i32.const 64)))))"#,
        0,
    ),
];

/// The suite's own WASI runtime with this guest, outside of any sandbox; its output is a pipe.
fn host(guest: &str) -> Result<std::process::Child, Failed> {
    let command = Engine::Builtin.command(&wat::parse_str(format!("(module {guest})"))?)?;
    rustix::io::fcntl_setfd(&command.module, rustix::io::FdFlags::empty())?;
    let mut words = command.argv.iter();
    let mut host = std::process::Command::new("/proc/self/exe");
    host.arg0(words.next().ok_or("no name")?)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Ok(host.spawn()?)
}

fn ends(guest: &str, status: i32) -> Result<(), Failed> {
    let ended = host(guest)?.wait()?;
    if ended.code() == Some(status) {
        Ok(())
    } else {
        Err(format!("{ended}, not {status}").into())
    }
}

/// A running guest is confined, and ends on TERM although it never sleeps.
fn confined() -> Result<(), Failed> {
    let mut host = host(
        r#"(import "wasi_snapshot_preview1" "fd_write"
             (func $write (param i32 i32 i32 i32) (result i32)))
           (memory (export "memory") 1 1)
           (data (i32.const 0) "\08\00\00\00\04\00\00\00run\n")
           (func (export "_start")
             (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
             (loop (br 0)))"#,
    )?;
    let mut line = String::new();
    BufReader::new(host.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id()))?;
    let pid = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    let ended = host.wait()?;
    for wanted in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t1"] {
        if !status.lines().any(|line| line == wanted) {
            return Err(format!("not {wanted:?}: {status}").into());
        }
    }
    match (line.as_str(), ended.code()) {
        ("run\n", Some(0)) => Ok(()),
        _ => Err(format!("it said {line:?} and ended with {ended}").into()),
    }
}

fn main() -> ExitCode {
    wasi_host::run_if_asked();
    let mut arguments = Arguments::from_args();
    // The checks of a pair run side by side already.
    arguments.test_threads.get_or_insert(1);
    // Before any other thread starts: unshare(2) of a user namespace needs a single-threaded
    // process.
    let backend: Arc<dyn Backend> = match Embedded::prepare() {
        Ok(engine) => Arc::new(engine),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials = ENGINES
        .iter()
        .map(|&(engine, breaks)| {
            let backend = Arc::clone(&backend);
            Trial::test(engine.name(), move || judge(&backend, engine, breaks))
                .with_ignored_flag(may_lack(engine))
        })
        .chain(HOSTILE.iter().map(|&(name, guest, status)| {
            Trial::test(name, move || ends(guest, status)).with_kind("guest")
        }))
        .chain([Trial::test("is confined while it runs a guest", confined)])
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
