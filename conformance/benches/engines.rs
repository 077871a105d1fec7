//! What the suite adds to what an engine takes: a whole run through each of the runtimes and engines
//! that are named, how often that starts a sandbox, and what a sandbox takes that nothing is done to.
//! Prints nanoseconds as JSON for `cargo xtask bench --runtime`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conformance::backend::embedded::Embedded;
use conformance::backend::oci::Oci;
use conformance::backend::{Backend, Launch, Sandbox, Spec, StartError, cri, docker, podman};
use conformance::check::Needs;
use conformance::checks::FAMILIES;
use conformance::cli::{ContainerEngine, Runtime};
use conformance::context::{CheckOptions, Shared};
use conformance::event::Verdict;
use conformance::programs;
use conformance::runner::{self, Settings};
use conformance::shortage::Counters;
use conformance::subject::{Platform, Subject};
use conformance::workload::Command;
use pause_sandbox::Features;
use serde_json::{Value, json};

/// Sandboxes that nothing is done to, of which the median counts.
const ALONE: usize = 11;
/// As the suite has it, by the cost of a start.
const TIMEOUT: Duration = Duration::from_mins(5);

fn main() -> io::Result<()> {
    conformance::backend::engine::keeper::run_if_asked();
    cri::keeper::run_if_asked();
    conformance::wasi_host::run_if_asked();
    // Cargo adds an option of its own.
    let words = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let runtimes: Result<Vec<Runtime>, _> = words.map(|word| word.parse()).collect();
    let runtimes = runtimes.map_err(io::Error::other)?;
    let embedded = Arc::new(Embedded::prepare().map_err(io::Error::other)?);
    let subject = Subject::of_program("pause", programs::REFERENCE.into(), Platform::host());
    let mut all = Vec::new();
    for runtime in &runtimes {
        // In turn, so that a host that gets slower does so for both.
        let own = Counted::of(Arc::clone(&embedded) as _);
        let (of_embedded, _) = whole(&own, &subject)?;
        let backend = Counted::of(prepare(runtime, &embedded)?);
        backend.adopt(&subject).map_err(io::Error::other)?;
        let before = alone(&*backend, &subject)?;
        let (took, starts) = whole(&backend, &subject)?;
        let after = alone(&*backend, &subject)?;
        all.push(json!({
            "runtime": runtime.to_string(),
            "run": nanoseconds(took),
            "starts": starts,
            "start": nanoseconds((before + after) / 2),
            "embedded": nanoseconds(of_embedded),
        }));
    }
    println!("{}", Value::Array(all));
    Ok(())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn prepare(runtime: &Runtime, embedded: &Arc<Embedded>) -> io::Result<Arc<dyn Backend>> {
    let path = |path: &Option<_>| path.as_deref().map(Path::to_owned);
    Ok(match runtime {
        Runtime::Embedded => Arc::clone(embedded) as _,
        Runtime::Oci(kind, program) => {
            let made = Oci::prepare(kind, path(program).as_deref(), embedded);
            Arc::new(made.map_err(io::Error::other)?)
        }
        Runtime::Engine(ContainerEngine::Docker, at) => {
            let made = docker::prepare(path(at).as_deref(), embedded);
            Arc::new(made.map_err(io::Error::other)?)
        }
        Runtime::Engine(ContainerEngine::Podman, at) => {
            let made = podman::prepare(path(at).as_deref(), embedded);
            Arc::new(made.map_err(io::Error::other)?)
        }
        Runtime::Cri(at) => {
            let made = cri::prepare(path(at).as_deref(), embedded);
            Arc::new(made.map_err(io::Error::other)?)
        }
    })
}

/// What it takes to make and remove a sandbox, and no more.
fn alone(backend: &dyn Backend, subject: &Subject) -> io::Result<Duration> {
    let program = subject.program.as_ref();
    let launch = Launch {
        rootfs: &subject.rootfs,
        program: program.map_err(|why| io::Error::other(why.to_string()))?,
    };
    let mut all = Vec::new();
    for _ in 0..ALONE {
        let began = Instant::now();
        let sandbox = backend.start(&launch, &Spec::default());
        drop(sandbox.map_err(io::Error::other)?);
        all.push(began.elapsed());
    }
    all.sort_unstable();
    Ok(all[ALONE / 2])
}

/// A run by all checks that start something, and how many sandboxes it starts.
fn whole(backend: &Arc<Counted>, subject: &Subject) -> io::Result<(Duration, usize)> {
    let checks = FAMILIES.iter().flat_map(|family| family.checks);
    let checks: Vec<_> = checks
        .copied()
        .filter(|check| check.needs.contains(Needs::SANDBOX))
        .collect();
    let options = CheckOptions::default();
    let backend = Arc::clone(backend);
    let shared = Shared::new(subject.clone(), options, Some(backend.clone() as _), 1.0);
    let settings = Settings {
        jobs: 2 * std::thread::available_parallelism()?.get(),
        timeout: TIMEOUT,
        reproduce: String::new(),
        explain: String::new(),
        interrupted: Arc::default(),
    };
    let before = backend.starts.load(Ordering::Relaxed);
    let began = Instant::now();
    let ran = runner::run(&checks, &Arc::new(shared), &settings, &mut |_| {});
    let took = began.elapsed();
    let wrong = [Verdict::Fail, Verdict::Error, Verdict::Inconclusive];
    let wrong = ran.records.iter().filter(|it| wrong.contains(&it.verdict));
    let wrong: Vec<_> = wrong.map(|record| record.id.as_str()).collect();
    // A run that judges nothing is fast.
    if !wrong.is_empty() {
        let cause = format!("{}: {}", backend.describe(), wrong.join(", "));
        return Err(io::Error::other(cause));
    }
    Ok((took, backend.starts.load(Ordering::Relaxed) - before))
}

/// A backend, and how many sandboxes it was asked for.
struct Counted {
    inner: Arc<dyn Backend>,
    starts: AtomicUsize,
}

impl Counted {
    fn of(inner: Arc<dyn Backend>) -> Arc<Self> {
        let starts = AtomicUsize::new(0);
        Arc::new(Self { inner, starts })
    }
}

impl Backend for Counted {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn offers(&self) -> Features {
        self.inner.offers()
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        self.inner.lacks(need)
    }

    fn doubts(&self, needs: Features) -> Option<&str> {
        self.inner.doubts(needs)
    }

    fn adopt(&self, subject: &Subject) -> Result<(), StartError> {
        self.inner.adopt(subject)
    }

    fn release(&self, subject: &Subject) {
        self.inner.release(subject);
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.inner.start(launch, spec)
    }

    fn start_engine(&self, command: Command, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.inner.start_engine(command, spec)
    }

    fn on_baseline(self: Arc<Self>) -> Result<(Arc<dyn Backend>, &'static str), String> {
        Arc::clone(&self.inner).on_baseline()
    }

    fn memory_floor(&self) -> u64 {
        self.inner.memory_floor()
    }

    fn cost(&self) -> Duration {
        self.inner.cost()
    }

    fn facts(&self) -> Vec<String> {
        self.inner.facts()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn adopt_thread(&self) -> io::Result<()> {
        self.inner.adopt_thread()
    }
}
