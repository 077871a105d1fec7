//! The family `output`: a pause is never noticed, and needs no streams.

use crate::advice::Advice;
use crate::backend::{Spec, Stream};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Passed, time_in_words};

/// Standard streams.
pub static FAMILY: Family = Family {
    name: "output",
    title: "standard streams",
    checks: &[&QUIET, &QUIET_FOR_DAYS, &CLOSED_STDIO],
};

/// What every check of a running program needs.
const RUNS: Needs = Needs::PROGRAM.union(Needs::SANDBOX);

static QUIET: Check = Check {
    id: "output/quiet",
    title: "it writes nothing while it waits",
    level: Level::Must,
    requirement: "The pause process MUST write nothing to standard output or standard error from its start as PID 1 until it is told to end.",
    source: Source {
        title: "openshift/images ee7e02d5",
        url: "https://github.com/openshift/images/commit/ee7e02d5",
    },
    advice: Advice::new(
        "What pause writes lands in the logs of the runtime for every pod.",
        "Write nothing unless there is an error.",
    ),
    needs: RUNS.union(Needs::OUTPUT).union(Needs::WAITS),
    after: &[],
    run: quiet,
};

fn quiet(cx: &Context<'_>) -> Outcome {
    let idle = cx.idle()?;
    let reaped = idle.reaped.ok().flatten();
    let wrote = [(Some(idle.fresh), ""), (reaped, " once it has reaped")];
    for (rest, when) in wrote {
        if let Some(rest) = rest.filter(|rest| rest.written > 0) {
            let observed = format!("{} bytes of output{when}", rest.written);
            return Err(rest.finding("no output".to_owned(), observed).into());
        }
    }
    Ok(Pass::new("no output"))
}

static QUIET_FOR_DAYS: Check = Check {
    id: "output/quiet-for-days",
    title: "it writes nothing in 30 days",
    level: Level::Must,
    requirement: "The pause process MUST write nothing to standard output or standard error while it waits, for 30 days at least.",
    source: Source {
        title: "openshift/images ee7e02d5",
        url: "https://github.com/openshift/images/commit/ee7e02d5",
    },
    advice: Advice::new(
        "Each line is written on every node for every pod, and fills its disk.",
        "Write no heartbeat and no debug line.",
    ),
    needs: RUNS.union(Needs::OUTPUT).union(Needs::FOLLOWED),
    after: &["output/quiet"],
    run: quiet_for_days,
};

fn quiet_for_days(cx: &Context<'_>) -> Outcome {
    let days = cx.days()?;
    match &days.wrote {
        None => Ok(Pass::new("no output").with(days.in_words())),
        Some((when, text)) => {
            let observed = format!("output after {}", time_in_words(*when));
            let wrote = format!("it wrote: {}", text.escape_debug());
            let finding = Finding::new("no output", observed).with(wrote);
            Err(match days.passed {
                // What one writes that does not stay, says why: `startup/stays` judges it.
                Passed::Ended(_) => Stop::NotRunning(finding),
                _ => finding.into(),
            })
        }
    }
}

static CLOSED_STDIO: Check = Check {
    id: "output/closed-stdio",
    title: "it starts and ends without standard streams",
    level: Level::Must,
    requirement: "The pause process MUST start, and end with status 0 on SIGTERM, when descriptors 0 to 2 are closed.",
    source: Source {
        title: "containerd pkg/cio, NullIO",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/pkg/cio/io.go",
    },
    advice: Advice::new(
        "A runtime may start pause without standard streams; a file opened later gets their numbers.",
        "Depend on no standard stream, and open no file.",
    ),
    needs: RUNS.union(Needs::CLOSED_STREAMS),
    after: &["signals/term-exits-zero"],
    run: closed_stdio,
};

fn closed_stdio(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_or_blame(Spec {
        stdin: Stream::Closed,
        stdout: Stream::Closed,
        stderr: Stream::Closed,
        own_network: false,
        ..Spec::default()
    })?;
    pod.expect_term_works("a start with descriptors 0 to 2 closed")?;
    Ok(Pass::new("started with none, and exited 0 on SIGTERM"))
}
