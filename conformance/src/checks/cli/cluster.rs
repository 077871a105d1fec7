//! The version that a Kubernetes release expects, by what the program prints; by what it does,
//! where its numbers are another vendor's.

use fixtures::protocol::Death;

use super::super::image::minor_wants;
use super::{RUNS, ask_version};
use crate::advice::Advice;
use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Check, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Orphans, PROMPTLY};
use crate::kubernetes::{self, Minor};
use crate::subject::Version;

pub(super) static VERSION_MATCHES_CLUSTER: Check = Check {
    id: "cli/version-matches-cluster",
    title: "the program fits the Kubernetes release",
    level: Level::Should,
    requirement: "The version that upstream's program prints SHOULD be the one that the Kubernetes release defaults to, or newer. \
                  Another vendor's program SHOULD do what the release needs: reap orphans from Kubernetes 1.10 on.",
    source: Source {
        title: "kubernetes#56762",
        url: "https://github.com/kubernetes/kubernetes/pull/56762",
    },
    advice: Advice::new(
        "An older pause lacks what the release counts on, such as reaping.",
        "Build from the version that the release names.",
    ),
    needs: RUNS
        .union(Needs::PROBE)
        .union(Needs::HOST_PID)
        .union(Needs::KUBERNETES)
        .union(Needs::SLOW),
    after: &[],
    run: version_matches_cluster,
};

fn version_matches_cluster(cx: &Context<'_>) -> Outcome {
    let Some(minor) = cx.options().kubernetes else {
        return Err(Stop::Skip("no version of Kubernetes is given".to_owned()));
    };
    let line = match ask_version(cx) {
        Ok(line) => Some(line),
        // That it has no version is for another check to say.
        Err(Stop::Fail(_) | Stop::NotRunning(_) | Stop::Ended(_)) => None,
        Err(other) => return Err(other),
    };
    match line.as_deref().and_then(upstreams) {
        Some(version) => minor_wants(minor, version, format!("it says that it is {version}")),
        None => behaves(cx, line.as_deref(), minor),
    }
}

/// The version in a line that upstream's program prints.
fn upstreams(line: &str) -> Option<Version> {
    let number = line.strip_prefix(kubernetes::UPSTREAM)?;
    Version::parse(number.trim()).filter(|version| kubernetes::is_upstreams(*version))
}

/// What the release needs of a program whose number says nothing.
fn behaves(cx: &Context<'_>, line: Option<&str>, minor: Minor) -> Outcome {
    let says = line.map_or_else(
        || "it does not say its version".to_owned(),
        |line| format!("another vendor's {line:?}"),
    );
    if minor.default() < kubernetes::REAPS {
        return Ok(Pass::new(format!(
            "{says}; pods of Kubernetes {minor} do not share their pid namespace"
        )));
    }
    let mut pod = cx.start(Spec {
        own_network: false,
        ..Spec::default()
    })?;
    let probe = pod.enter(&Join {
        namespaces: Namespaces::PID,
        privileged: false,
        user: None,
    })?;
    let orphan = Orphans::spawn(&mut pod, &probe, 1, (Death::Exit, 0), 0, "an orphan")?;
    orphan.release(&mut pod)?;
    let reaped = orphan.expect_reaped_within(&mut pod, PROMPTLY);
    let reaps = kubernetes::REAPS;
    reaped.map_err(|stop| match stop {
        Stop::Fail(finding) => Stop::Fail(finding.with(format!(
            "{says}; pods of Kubernetes {minor} may share their pid namespace, and upstream reaps since {reaps}"
        ))),
        other => other,
    })?;
    Ok(Pass::new(format!(
        "{says}; it reaps, as upstream does since {reaps} and pods of Kubernetes {minor} need"
    )))
}

#[cfg(test)]
mod tests {
    use super::upstreams;

    #[test]
    fn only_upstreams_lines_are_upstreams_versions() {
        let version = |line| upstreams(line).map(|version| version.to_string());
        assert_eq!(version("pause.c 3.1").as_deref(), Some("3.1"));
        assert_eq!(version("pause.c v3.9-6d3cb4b").as_deref(), Some("3.9"));
        for line in [
            "pause 3.1",
            "pause.c UNKNOWN",
            "pause.c v4.15.0",
            "pause.c",
            "catatonit version 0.1.7",
        ] {
            assert_eq!(version(line), None, "{line}");
        }
    }
}
