//! WASI pauses in engines, as PID 1 of a sandbox: the suite's own host with a sound guest
//! fails nothing; with a broken guest, or with something wrong in it, exactly what is
//! named; and an engine made for programs that end by themselves ignores TERM and INT and
//! never reaps.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use conformance::backend::Backend;
use conformance::backend::embedded::Embedded;
use conformance::check::{Check, Needs};
use conformance::checks::wasi::FAMILY;
use conformance::context::{CheckOptions, Shared};
use conformance::event::Verdict;
use conformance::subject::Subject;
use conformance::wasi_engine::Engine;
use conformance::wasi_host::{self, Fault};
use conformance::{runner, self_test};
use libtest_mimic::{Arguments, Failed, Trial};

const SOUND: &str = "sound_hourly";
/// Guests that do not wait at all.
const HASTY: &[(&str, &str)] = &[
    ("returns", "(func (export \"_start\"))"),
    (
        "exits",
        "(func (export \"_start\") (call $exit (i32.const 42)))",
    ),
    ("traps", "(func (export \"_start\") (unreachable))"),
    ("spins", "(func (export \"_start\") (loop (br 0)))"),
];
const HOLDS: &str = "wasi/host-holds";
const TERM: &str = "wasi/host-ends-on-term";
const INT: &str = "wasi/host-ends-on-int";
const KILL: &str = "wasi/host-kill-is-137";
const REAPS: &str = "wasi/host-reaps";
const IDLE: &str = "wasi/host-idle";

/// Guest, engine, and the checks of the pair that must fail.
const PAIRS: &[(&str, Engine, &[&str])] = &[
    (SOUND, Engine::Builtin, &[]),
    ("sound_forever", Engine::Builtin, &[]),
    ("sound_deadline", Engine::Builtin, &[]),
    ("returns", Engine::Builtin, &[HOLDS, KILL]),
    ("exits", Engine::Builtin, &[HOLDS, KILL]),
    ("traps", Engine::Builtin, &[HOLDS, KILL]),
    ("spins", Engine::Builtin, &[IDLE]),
    (SOUND, Engine::Faulty(Fault::Deaf), &[TERM, INT]),
    (SOUND, Engine::Faulty(Fault::IgnoresInt), &[INT]),
    (SOUND, Engine::Faulty(Fault::FailsOnTerm), &[TERM]),
    (SOUND, Engine::Faulty(Fault::Slow), &[TERM]),
    (SOUND, Engine::Faulty(Fault::Negligent), &[REAPS]),
    (SOUND, Engine::Faulty(Fault::Restless), &[IDLE]),
    (SOUND, Engine::Faulty(Fault::Ends), &[HOLDS, KILL]),
    (SOUND, Engine::Node, &[TERM, INT, REAPS]),
    (SOUND, Engine::Python, &[TERM, INT, REAPS]),
    (SOUND, Engine::Wasmtime, &[TERM, INT, REAPS]),
];

/// The checks of a pair.
fn checks() -> Vec<&'static Check> {
    let of_pair = |check: &&&Check| check.needs.contains(Needs::WASI_HOST);
    FAMILY.checks.iter().filter(of_pair).copied().collect()
}

fn assemble(guest: &str) -> Result<Vec<u8>, wat::Error> {
    if let Some((_, text)) = HASTY.iter().find(|(name, _)| *name == guest) {
        let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
        return wat::parse_str(format!(
            "(module {exit} (memory (export \"memory\") 1 1) {text})"
        ));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wasi");
    wat::parse_file(folder.join(guest).with_extension("wat"))
}

fn judge(
    backend: &Arc<dyn Backend + Send + Sync>,
    (guest, engine, breaks): (&str, Engine, &[&str]),
) -> Result<BTreeSet<String>, Failed> {
    engine.find()?;
    let program = assemble(guest)?;
    let subject = Subject::of_wasm(guest, program.into());
    let options = CheckOptions {
        wasi_engine: engine,
        ..CheckOptions::default()
    };
    let shared = Arc::new(Shared::new(
        subject,
        options,
        Some(Arc::clone(backend)),
        1.0,
    ));
    let settings = self_test::settings(Arc::default());
    let ran = runner::run(&checks(), &shared, &settings, &mut |_| {});
    let mut wrong = Vec::new();
    let mut failed = BTreeSet::new();
    for record in &ran.records {
        let line = format!(
            "{}: {}: {:?} {:?} {:?}",
            record.id,
            record.verdict.as_str(),
            record.observed,
            record.reason,
            record.evidence
        );
        let breaks = breaks.contains(&record.id.as_str());
        match record.verdict {
            Verdict::Fail => {
                failed.insert(record.id.clone());
                wrong.extend((!breaks).then_some(line));
            }
            Verdict::Pass => wrong.extend(breaks.then_some(line)),
            Verdict::Skipped => {
                let follows = failed.contains(HOLDS) && !breaks;
                wrong.extend((!follows).then_some(line));
            }
            Verdict::Error | Verdict::Inconclusive => wrong.push(line),
        }
    }
    if wrong.is_empty() {
        Ok(failed)
    } else {
        Err(wrong.join("\n").into())
    }
}

/// An engine that is not here and need not be: CI has all but the `wasmtime` command, which
/// neither the distribution nor its maker's packages for other languages hold.
fn may_lack(engine: Engine) -> bool {
    let wanted = engine != Engine::Wasmtime && std::env::var_os("CI").is_some();
    let lacks = engine.find().err().filter(|_| !wanted);
    if let Some(why) = &lacks {
        eprintln!("not run: {why}; {}", why.hint);
    }
    lacks.is_some()
}

fn main() -> ExitCode {
    wasi_host::run_if_asked();
    let mut arguments = Arguments::from_args();
    // The checks of a pair run side by side already.
    arguments.test_threads.get_or_insert(1);
    // Before any thread: a new user namespace wants a process with one (unshare(2)).
    let backend: Arc<dyn Backend + Send + Sync> = match Embedded::prepare() {
        Ok(engine) => Arc::new(engine),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let failed = Arc::new(Mutex::new(BTreeSet::new()));
    let trials = PAIRS
        .iter()
        .map(|pair| {
            let (backend, failed) = (Arc::clone(&backend), Arc::clone(&failed));
            let trial = Trial::test(format!("{} in {}", pair.0, pair.1.name()), move || {
                let seen = judge(&backend, *pair)?;
                failed
                    .lock()
                    .map_err(|_| "another trial panicked")?
                    .extend(seen);
                Ok(())
            });
            trial.with_ignored_flag(may_lack(pair.1))
        })
        .collect();
    let whole = arguments.filter.is_none() && !arguments.list && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let failed = failed.lock().map(|it| it.clone()).unwrap_or_default();
    let unbroken: Vec<_> = checks()
        .iter()
        .map(|check| check.id)
        .filter(|id| !failed.contains(*id))
        .collect();
    if whole && !conclusion.has_failed() && !unbroken.is_empty() {
        eprintln!("error: no pair breaks {}", unbroken.join(", "));
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
