//! The family `reaping`: whether orphans of the pod are reaped.
//!
//! Every orphan here descends from a process that joined the sandbox by setns(2), as
//! those of containers do.

use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Family, Needs, Source, Stop};
use crate::context::{Orphans, Pod};
use crate::probe::Probe;
use fixtures::protocol::Death;

mod many;
mod moments;
mod orphans;
mod spares;

/// Whether the pause process reaps.
pub static FAMILY: Family = Family {
    name: "reaping",
    title: "orphans and zombies of the pod",
    checks: &[
        &orphans::ONE_ORPHAN,
        &many::BURST,
        &orphans::ANY_DEATH,
        &orphans::ANY_USER,
        &orphans::PROBE_TREE,
        &orphans::FROM_SIBLING_CONTAINER,
        &spares::SPARES_THE_LIVING,
        &orphans::BEFORE_HANDLER,
        &spares::STOPPED_CHILD,
        &many::NO_LOST_WAKEUP,
        &many::AFTER_WORK,
        &many::SOAK,
        &many::LATENCY,
        &spares::ONLY_AS_PID1,
    ],
};

/// What every check of a running program that something joins needs.
const JOINED: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::PROBE);

/// Where one orphan is not reaped, more of them show nothing new; and where living orphans are not
/// left alone, none ends as it is told.
const AFTER_ONE: &[&str] = &["reaping/one-orphan", "reaping/spares-the-living"];

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

/// Reaping needs no network: a sandbox without one of its own starts sooner.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

/// A container of a pod that shares its pid namespace.
const CONTAINER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// The same, with /proc of the sandbox to look at.
const WITH_PROC: Join = Join {
    namespaces: Namespaces::PID.union(Namespaces::MOUNT),
    ..CONTAINER
};

/// Makes orphans, ends them, and expects all reaped.
fn reaps(
    pod: &mut Pod<'_>,
    probe: &Probe,
    count: usize,
    death: (Death, u64),
    origin: u64,
    what: &str,
) -> Result<(), Stop> {
    Orphans::spawn(pod, probe, count, death, origin, what)?
        .expect_reaped(pod)
        .map(drop)
}

/// An INFO check never fails: where there is no figure, it gives the reason.
fn or_inconclusive(stop: Stop) -> Stop {
    match stop {
        Stop::Fail(finding) | Stop::Ended(finding) => Stop::Inconclusive(finding.observed),
        other => other,
    }
}
