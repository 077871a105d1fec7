//! The family `cli`: what the program does with its arguments.

use std::time::Duration;

use crate::advice::Advice;
use crate::backend::{Spec, Stream};
use crate::check::{Check, Family, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::Context;
use crate::process::ExitStatus;
use crate::subject;

mod cluster;

/// Arguments.
pub static FAMILY: Family = Family {
    name: "cli",
    title: "arguments",
    checks: &[
        &VERSION,
        &UNKNOWN_ARGUMENTS,
        &cluster::VERSION_MATCHES_CLUSTER,
        &VERSION_AGREES,
    ],
};

/// What every check of a running program needs.
const RUNS: Needs = Needs::PROGRAM.union(Needs::SANDBOX);

/// How long the program may take to say its version.
const AT_ONCE: Duration = Duration::from_secs(1);

static VERSION: Check = Check {
    id: "cli/version",
    title: "`-v` prints a line and ends",
    level: Level::Should,
    requirement: "Run with `-v` the program SHOULD print one line on standard output and exit with status 0 at once.",
    source: Source {
        title: "kubernetes#56762",
        url: "https://github.com/kubernetes/kubernetes/pull/56762",
    },
    advice: Advice::new(
        "`pause -v` is how people and scripts find out what runs on a node.",
        "Print one line such as `pause.c 3.10` to standard output, and exit with 0.",
    ),
    needs: RUNS
        .union(Needs::ARGUMENTS)
        .union(Needs::OUTPUT)
        .union(Needs::QUICK_END)
        .union(Needs::SLOW),
    after: &[],
    run: version,
};

fn version(cx: &Context<'_>) -> Outcome {
    let line = ask_version(cx)?;
    Ok(Pass::new(format!("printed {line:?}, exited 0")))
}

/// The line that `-v` prints.
fn ask_version(cx: &Context<'_>) -> Result<String, Stop> {
    let mut pod = cx.start_unready(Spec {
        arguments: Some(vec!["-v".to_owned()]),
        stdin: Stream::Null,
        own_network: false,
        ..Spec::default()
    })?;
    pod.expect_end(ExitStatus::Exited(0), AT_ONCE, "its start with -v")?;
    let printed = pod.stdout();
    match printed.strip_suffix('\n') {
        Some(line) if !line.trim().is_empty() && !line.contains('\n') => {
            Ok(subject::escape(line.as_bytes()))
        }
        _ => Err(pod
            .finding(
                "one line on standard output".to_owned(),
                format!("{} lines", printed.lines().count()),
            )
            .into()),
    }
}

static UNKNOWN_ARGUMENTS: Check = Check {
    id: "cli/unknown-arguments",
    title: "unknown arguments do not stop it",
    level: Level::Should,
    requirement: "The program SHOULD ignore arguments that it does not know.",
    source: Source {
        title: "kubernetes build/pause/linux/pause.c",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
    },
    advice: Advice::new(
        "A runtime or a pod may pass arguments that are for another version: the sandbox would not start.",
        "Ignore what you do not know.",
    ),
    needs: RUNS.union(Needs::ARGUMENTS),
    after: &["signals/term-exits-zero"],
    run: unknown_arguments,
};

fn unknown_arguments(cx: &Context<'_>) -> Outcome {
    let arguments = ["--pause-conformance-unknown", "argument"];
    let mut pod = cx.start_or_blame(Spec {
        arguments: Some(arguments.map(str::to_owned).to_vec()),
        own_network: false,
        ..Spec::default()
    })?;
    pod.expect_term_works("a start with unknown arguments")?;
    Ok(Pass::new("ran, and exited 0 on SIGTERM"))
}

static VERSION_AGREES: Check = Check {
    id: "cli/version-agrees",
    title: "the version that it prints is the image's",
    level: Level::Info,
    requirement: "The version that the program prints is compared with the image's tag.",
    source: Source {
        title: "kubernetes build/pause/Makefile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Makefile",
    },
    advice: Advice::new(
        "A tag that says another version than the program misleads whoever looks for a fault.",
        "Take both from one place in the build.",
    ),
    needs: RUNS
        .union(Needs::VERSION)
        .union(Needs::ARGUMENTS)
        .union(Needs::OUTPUT)
        .union(Needs::QUICK_END),
    after: &["cli/version"],
    run: version_agrees,
};

fn version_agrees(cx: &Context<'_>) -> Outcome {
    let line = ask_version(cx)?;
    let Some(version) = cx.subject().version() else {
        return Err(Stop::Skip("the image has no version".to_owned()));
    };
    let same = line
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .any(|word| subject::Version::parse(word) == Some(version));
    Ok(Pass::new(format!(
        "the program says {line:?}, the image {version}: {}",
        if same { "the same" } else { "not the same" }
    )))
}
