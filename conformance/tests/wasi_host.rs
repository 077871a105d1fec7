//! A WASI pause in engines of others, as PID 1 of a sandbox: made for programs that end by
//! themselves, they ignore TERM and INT and never reap. The suite's own host is judged by
//! the matrix.

use std::process::ExitCode;
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

/// The guest: a sound one.
const GUEST: &str = include_str!("../../fixtures/wasi/sound_hourly.wat");

/// Engines of others, and the checks of the pair that must fail.
const ENGINES: &[(Engine, &[&str])] = &[
    (Engine::Node, NAIVE),
    (Engine::Python, NAIVE),
    (Engine::Wasmtime, NAIVE),
];

/// What an engine fails that is made for programs which end by themselves.
const NAIVE: &[&str] = &[
    "wasi/host-ends-on-term",
    "wasi/host-ends-on-int",
    "wasi/host-reaps",
];

/// The checks of a pair.
fn checks() -> Vec<&'static Check> {
    let of_pair = |check: &&&Check| check.needs.contains(Needs::WASI_HOST);
    FAMILY.checks.iter().filter(of_pair).copied().collect()
}

fn judge(
    backend: &Arc<dyn Backend + Send + Sync>,
    engine: Engine,
    breaks: &[&str],
) -> Result<(), Failed> {
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
    let trials = ENGINES
        .iter()
        .map(|&(engine, breaks)| {
            let backend = Arc::clone(&backend);
            Trial::test(engine.name(), move || judge(&backend, engine, breaks))
                .with_ignored_flag(may_lack(engine))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
