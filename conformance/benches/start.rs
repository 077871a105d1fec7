//! What a sandbox costs: from nothing to a pause that is ready, beside what no sandbox
//! can do without, a clone into the same namespaces and an exec. The two in turn, so
//! that a drifting host moves both; prints nanoseconds as JSON for `cargo xtask bench`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use conformance::backend::embedded::Embedded;
use conformance::backend::{Backend, Spec};
use conformance::context::{CheckOptions, Context, Shared};
use conformance::subject::{Platform, Subject};
use conformance::{process, programs};
use rustix::fs::MemfdFlags;

const ROUNDS: usize = 200;

fn main() -> io::Result<()> {
    let score = std::fs::read("/proc/self/oom_score_adj")?;
    let program = program()?;
    // Before any thread: a new user namespace wants a process with one (unshare(2)).
    let engine = Embedded::prepare().map_err(io::Error::other)?;
    let backend: Arc<dyn Backend> = Arc::new(engine);
    let subject = Subject::of_program("pause", programs::REFERENCE.into(), Platform::host());
    let shared = Shared::new(subject, CheckOptions::default(), Some(backend.clone()), 1.0);
    let (mut bare, mut sandbox) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let alone = std::thread::scope(|scope| {
            let (program, backend) = (&program, &backend);
            let thread = scope.spawn(move || -> io::Result<_> {
                backend.adopt_thread()?;
                process::start_bare(program)
            });
            thread.join().map_err(|_| io::Error::other("a panic"))?
        })?;
        let whole = std::thread::scope(|scope| {
            let (shared, backend) = (&shared, &backend);
            let thread = scope.spawn(move || -> io::Result<_> {
                backend.adopt_thread()?;
                let began = Instant::now();
                let pod = Context::new(shared).start(Spec::default());
                let took = began.elapsed();
                pod.map_err(|stop| io::Error::other(stop.to_string()))?;
                Ok(took)
            });
            thread.join().map_err(|_| io::Error::other("a panic"))?
        })?;
        // The first of each finds every cache cold.
        if round > 0 {
            bare.push(alone.as_nanos());
            sandbox.push(whole.as_nanos());
        }
    }
    // Which shares its memory with what it starts.
    if std::fs::read("/proc/self/oom_score_adj")? != score {
        return Err(io::Error::other(
            "the suite's own oom_score_adj has changed",
        ));
    }
    println!(
        "{}",
        serde_json::json!({ "bare": bare, "sandbox": sandbox })
    );
    Ok(())
}

/// The reference, ready to be executed by descriptor.
fn program() -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"pause", MemfdFlags::CLOEXEC)?;
    let mut rest = programs::REFERENCE;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}
