//! The central test: all fixtures, whose verdicts are known, run through all checks. A sound
//! fixture fails no MUST, a broken one fails exactly the checks that it names, and every check is
//! failed by some fixture.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use conformance::backend::embedded::Embedded;
use conformance::backend::{Backend, Root, Spec};
use conformance::check::Check;
use conformance::context::{CheckOptions, Context, Shared};
use conformance::runner::Settings;
use conformance::self_test::{self, Selection};
use conformance::subject::{Platform, Subject};
use conformance::wasi_host;
use libtest_mimic::{Arguments, Failed, Trial};

#[path = "common/filter.rs"]
mod filter;

use filter::Named;

fn engine() -> anyhow::Result<Arc<dyn Backend>> {
    Ok(Arc::new(Embedded::prepare()?))
}

/// A root that is only read is made once per image; one that is written to is made for each
/// sandbox. Otherwise only the time of a start would show it.
fn sandboxes_share_their_image(backend: &Arc<dyn Backend>) -> Result<(), Failed> {
    backend.adopt_thread()?;
    let program = conformance::programs::REFERENCE;
    let subject = Subject::of_program("the reference", program.into(), Platform::host());
    let backend = Some(Arc::clone(backend));
    let shared = Shared::new(subject, CheckOptions::default(), backend, 1.0);
    let context = Context::new(&shared);
    for (root, wanted) in [(Root::ReadOnly, 1), (Root::Writable, 2), (Root::Bare, 1)] {
        let spec = || Spec {
            root,
            ..Spec::default()
        };
        let start = || context.start(spec()).map_err(|stop| stop.to_string());
        let pods = [start()?, start()?];
        let mut filesystems = BTreeSet::new();
        for pod in &pods {
            let root = std::fs::metadata(format!("/proc/{}/root", pod.pid()))?;
            filesystems.insert(root.dev());
        }
        if filesystems.len() != wanted {
            return Err(Failed::from(format!("{root:?}: {filesystems:?}")));
        }
    }
    Ok(())
}

/// A held process has no pipes but its own: a reader waits for the end of a pipe as long as any
/// process has a copy of it.
fn a_held_sandbox_has_nothing_of_others(backend: &Arc<dyn Backend>) -> Result<(), Failed> {
    backend.adopt_thread()?;
    let program = conformance::programs::REFERENCE;
    let subject = Subject::of_program("the reference", program.into(), Platform::host());
    let backend = Some(Arc::clone(backend));
    let shared = Shared::new(subject, CheckOptions::default(), backend, 1.0);
    let context = Context::new(&shared);
    let (end, _write) = std::io::pipe()?;
    let held = Spec {
        held: true,
        ..Spec::default()
    };
    let mut pod = context
        .start_unready(held)
        .map_err(|stop| stop.to_string())?;
    let link = |path: String| std::fs::read_link(path);
    let others = link(format!("/proc/self/fd/{}", end.as_raw_fd()))?;
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", pod.pid()))?
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .collect();
    if open.contains(&others) {
        return Err(format!("it has a pipe of another's: {open:?}").into());
    }
    pod.release().map_err(|stop| stop.to_string())?;
    Ok(())
}

/// Every check that can run here failed on some fixture.
fn all_are_broken(
    mut caught: BTreeSet<String>,
    checks: &[&'static Check],
    backend: &Arc<dyn Backend>,
    settings: &Settings,
) -> anyhow::Result<()> {
    let mut not_made = self_test::not_made(checks, &**backend);
    for (id, why) in &not_made {
        eprintln!("{id} is not made here: {why}");
    }
    // Root can run every check, but those of engines, which other tests run. One that was not run
    // failed on no fixture.
    if rustix::process::geteuid().is_root() {
        not_made.retain(|(id, _)| self_test::is_of_engines(id));
    }
    let unbroken = |caught: &BTreeSet<String>| -> Vec<&str> {
        let ids = checks.iter().map(|check| check.id);
        ids.filter(|id| !caught.contains(*id))
            .filter(|id| !not_made.iter().any(|(other, _)| other == id))
            .collect()
    };
    // Not in this thread: one that is prepared for sandboxes must start no other threads.
    let open = unbroken(&caught);
    for (trial, judged) in self_test::judge_alone(&open, &Selection::all(), backend, 1.0, settings)?
    {
        let (kind, name) = (trial.kind(), trial.name());
        eprintln!("judged alone: {kind} {name} fails {:?}", judged.caught);
        anyhow::ensure!(judged.is_right(), "{kind} {name}: {judged:?}");
        caught.extend(judged.caught);
    }
    let open = unbroken(&caught);
    anyhow::ensure!(open.is_empty(), "nothing breaks {}", open.join(", "));
    Ok(())
}

fn of_backend(
    name: &str,
    backend: &Arc<dyn Backend>,
    test: fn(&Arc<dyn Backend>) -> Result<(), Failed>,
) -> Trial {
    let backend = Arc::clone(backend);
    Trial::test(name, move || test(&backend)).with_kind("start")
}

/// The test that the verdicts of a trial are the expected ones.
fn of_trial(
    trial: self_test::Trial,
    backend: &Arc<dyn Backend>,
    settings: &Settings,
    checks: &[&'static Check],
    caught: &Arc<Mutex<BTreeSet<String>>>,
) -> Named {
    let (backend, settings) = (Arc::clone(backend), settings.clone());
    let (own, caught) = (checks.to_vec(), Arc::clone(caught));
    let test = Trial::test(trial.name(), move || {
        let judged = trial.judge(&own, &backend, 1.0, &settings)?;
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
    });
    let checks = trial.breaks().iter().chain(trial.also()).copied();
    Named::new(test.with_kind(trial.kind()), checks)
}

fn main() -> ExitCode {
    wasi_host::run_if_asked();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(self_test::at_a_time());
    // Before any other thread starts: unshare(2) of a user namespace needs a single-threaded
    // process.
    let backend = match engine() {
        Ok(backend) => backend,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let caught = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let settings = self_test::settings(Arc::default());
    let checks = self_test::checks();
    let of_backend = [
        of_backend(
            "sandboxes-share-their-image",
            &backend,
            sandboxes_share_their_image,
        ),
        of_backend(
            "a-held-sandbox-has-nothing-of-others",
            &backend,
            a_held_sandbox_has_nothing_of_others,
        ),
    ];
    let trials = self_test::trials()
        .map(|trial| of_trial(trial, &backend, &settings, &checks, &caught))
        .chain(of_backend.map(|test| Named::new(test, [])));
    let whole = arguments.filter.is_none() && !arguments.list && arguments.skip.is_empty();
    let trials = filter::chosen(&mut arguments, trials);
    let score = || std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let before = score();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // It shares memory with processes that it starts, and the OOM killer must not kill it instead.
    if score() != before {
        eprintln!("error: the suite's own oom_score_adj is {}", score().trim());
        return ExitCode::FAILURE;
    }
    if whole && !conclusion.has_failed() {
        let caught = caught
            .lock()
            .map(|caught| caught.clone())
            .unwrap_or_default();
        if let Err(error) = all_are_broken(caught, &checks, &backend, &settings) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}
