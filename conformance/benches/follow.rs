//! What it costs to follow a program: a moment of a signal that is tried, thirty days of the
//! reference, and thirty days of a program that wakes; prints nanoseconds as JSON for
//! `cargo xtask bench`.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use conformance::backend::Backend;
use conformance::backend::embedded::Embedded;
use conformance::check::Stop;
use conformance::context::{CheckOptions, Context, Moment, Shared, Stimulus};
use conformance::subject::{Platform, Subject};
use conformance::{programs, self_test, signal};

const ROUNDS: usize = 30;
const WAKES: &str = "wakes-each-100-ms";

fn main() -> io::Result<()> {
    // Before any thread: a new user namespace wants a process with one (unshare(2)).
    let engine = Embedded::prepare().map_err(io::Error::other)?;
    let backend: Arc<dyn Backend> = Arc::new(engine);
    let reference = Subject::of_program("pause", programs::REFERENCE.into(), Platform::host());
    let fixture = fixtures::catalogue::all().find(|fixture| fixture.name == WAKES);
    let fixture = fixture.ok_or_else(|| io::Error::other("no fixture wakes"))?;
    let waking = self_test::program(fixture).map_err(io::Error::other)?;
    let moment = measure(&backend, &reference, |cx| {
        let stimulus = Stimulus::Signal(signal::TERM);
        let tried = cx.try_moment(Moment::Reaping(1), stimulus)?;
        tried.map(drop).ok_or_else(none)
    })?;
    let days = |cx: &Context<'_>| cx.days().map(drop);
    let still = measure(&backend, &reference, days)?;
    let waking = measure(&backend, &waking, days)?;
    println!(
        "{}",
        serde_json::json!({ "moment": moment, "still": still, "waking": waking })
    );
    Ok(())
}

fn none() -> Stop {
    Stop::Error("there is no such moment".to_owned())
}

/// How long something takes, each time of a program of which nothing is known.
fn measure(
    backend: &Arc<dyn Backend>,
    subject: &Subject,
    act: impl Fn(&Context<'_>) -> Result<(), Stop> + Sync,
) -> io::Result<Vec<u128>> {
    let mut all = Vec::with_capacity(ROUNDS);
    for round in 0..=ROUNDS {
        let (options, backend) = (CheckOptions::default(), Arc::clone(backend));
        let shared = Shared::new(subject.clone(), options, Some(backend.clone()), 1.0);
        let took = std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> io::Result<_> {
                backend.adopt_thread()?;
                let began = Instant::now();
                act(&Context::new(&shared)).map_err(|stop| io::Error::other(stop.to_string()))?;
                Ok(began.elapsed())
            });
            thread.join().map_err(|_| io::Error::other("a panic"))?
        })?;
        // The first finds every cache cold.
        if round > 0 {
            all.push(took.as_nanos());
        }
    }
    Ok(all)
}
