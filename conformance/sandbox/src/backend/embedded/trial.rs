//! One sandbox made for a trial, before a way of making them is settled on: only what has been
//! done once is known to be allowed here.

use std::io;
use std::time::Duration;

use super::Embedded;
use super::obstacles::Refusal;
use crate::backend::{Backend, Join, Launch, Spec, StartError};
use crate::programs::REFERENCE;
use crate::sys::ExitStatus;
use crate::{step, wait};
use pause_image::{Platform, Subject};

/// How long a killed sandbox may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a trial has shown.
#[derive(Clone, Debug)]
pub(super) struct TrialResult {
    /// A sandbox has a /proc of its own.
    pub(super) has_proc: bool,
    /// A program can be traced, or why not.
    pub(super) traces: Result<(), String>,
    /// And followed from call to call, or why not.
    pub(super) steps: Result<(), String>,
}

/// Starts the reference, enters its sandbox, and ends it.
pub(super) fn run(engine: &Embedded) -> Result<TrialResult, Refusal> {
    // A rootless thread cannot return from the pid namespace that it chose for its children.
    let at = || Refusal::at("make a sandbox for a trial");
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, || run_here(engine))
            .map_err(at())?
            .join()
            .unwrap_or_else(|_| Err(at()(io::Error::other("a panic"))))
    })
}

fn refusal(error: StartError) -> Refusal {
    match error {
        StartError::Host { step, cause } => Refusal::at(step)(cause),
        StartError::Exec { cause, .. } => Refusal::at("execute the reference")(cause),
        StartError::Root { cause }
        | StartError::Refused { why: cause }
        | StartError::Unable { why: cause } => {
            Refusal::at("make the reference's root")(io::Error::other(cause))
        }
    }
}

fn run_here(engine: &Embedded) -> Result<TrialResult, Refusal> {
    engine
        .adopt_thread()
        .map_err(Refusal::at("enter the pid namespace of sandboxes"))?;
    let subject = Subject::of_program("the reference", REFERENCE.into(), Platform::host());
    let launch = Launch {
        rootfs: &subject.rootfs,
        program: subject
            .program
            .as_ref()
            .map_err(|_| Refusal::at("read the reference")(io::ErrorKind::InvalidData.into()))?,
    };
    let mut sandbox = engine.start(&launch, &Spec::default()).map_err(refusal)?;
    look_at(sandbox.host_pid()).map_err(Refusal::at("look at a sandbox"))?;
    let entered = sandbox.enter(&Join::default());
    let has_proc = entered.and_then(|probe| match probe.read_link("/proc/self") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|_| true),
    });
    let has_proc = has_proc.map_err(Refusal::at("enter a sandbox"))?;
    let steps = step::is_possible(sandbox.host_pid());
    let traces = match &steps {
        // Tracing alone needs nothing of the processor.
        Err(error) if error.kind() != io::ErrorKind::Unsupported => {
            Err(format!("this host refuses ptrace(2): {error}"))
        }
        _ => Ok(()),
    };
    let steps = steps.map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => "the registers of this processor are not known".to_owned(),
        _ => format!("this host refuses ptrace(2): {error}"),
    });
    let ended = sandbox.signal(crate::signal::KILL).and_then(|()| {
        wait::readable(sandbox.pidfd(), PATIENCE)?;
        sandbox.try_wait()
    });
    match ended.map_err(Refusal::at("end a sandbox"))? {
        Some(ExitStatus::Signaled(crate::signal::KILL)) => Ok(TrialResult {
            has_proc,
            traces,
            steps,
        }),
        other => {
            let said = other.map_or_else(|| "it did not end".to_owned(), |how| how.to_string());
            Err(Refusal::at("run the reference in a sandbox")(
                io::Error::other(said),
            ))
        }
    }
}

/// As checks do from outside: files that the kernel shows to their owner, and to privileges.
fn look_at(pid: i32) -> io::Result<()> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    match std::fs::read(format!("/proc/{pid}/syscall")) {
        // Not every kernel has it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}
