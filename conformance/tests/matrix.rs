//! The central test: every fixture through every check that runs a program. A sound
//! fixture fails nothing that binds, a broken one exactly what it names, and every
//! check is broken by at least one.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use conformance::backend::Backend;
use conformance::backend::embedded::Embedded;
use conformance::self_test;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A fixture's checks run side by side already; more at a time only slow each other down.
    arguments.test_threads.get_or_insert(1);
    // Before any thread: a new user namespace wants a process with one (unshare(2)).
    let backend: Arc<dyn Backend + Send + Sync> = match Embedded::prepare() {
        Ok(engine) => Arc::new(engine),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let caught = Arc::new(Mutex::new(Vec::<String>::new()));
    let settings = self_test::settings(Arc::default());
    let checks = self_test::checks();
    let trials = fixtures::all()
        .map(|fixture| {
            let (backend, settings, checks, caught) = (
                Arc::clone(&backend),
                settings.clone(),
                checks.clone(),
                Arc::clone(&caught),
            );
            Trial::test(fixture.name, move || {
                let judged = self_test::judge(fixture, &checks, &backend, 1.0, &settings)?;
                caught
                    .lock()
                    .map_err(|_| "another trial panicked")?
                    .extend(judged.caught.iter().cloned());
                if judged.is_right() {
                    return Ok(());
                }
                let lines = judged.missed.iter().map(|line| format!("missed {line}"));
                let lines = lines.chain(judged.wrong.iter().map(|line| format!("wrong {line}")));
                Err(Failed::from(lines.collect::<Vec<_>>().join("\n")))
            })
        })
        .collect();
    let whole = arguments.filter.is_none() && !arguments.list && arguments.skip.is_empty();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if whole && !conclusion.has_failed() {
        let caught = caught
            .lock()
            .map(|caught| caught.clone())
            .unwrap_or_default();
        let unbroken: Vec<_> = checks
            .iter()
            .map(|check| check.id)
            .filter(|id| !self_test::BROKEN_BY_NO_PROGRAM.contains(id))
            .filter(|id| !caught.iter().any(|c| c == id))
            .collect();
        if !unbroken.is_empty() {
            eprintln!("error: no fixture breaks {}", unbroken.join(", "));
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}
