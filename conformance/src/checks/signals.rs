//! The family `signals`: what ends the pause process, what must not, and how soon.

use crate::backend::{Join, Namespaces, Spec};
use crate::check::{Family, Needs, Source};

mod ends;
mod moments;
mod starts;
mod survives;

/// How the pause process answers signals.
pub static FAMILY: Family = Family {
    name: "signals",
    title: "how the pause process answers signals",
    checks: &[
        &ends::TERM_EXITS_ZERO,
        &ends::INT_EXITS_ZERO,
        &ends::TERM_FROM_INSIDE,
        &ends::KILL_IS_137,
        &survives::KILL_FROM_INSIDE_IGNORED,
        &survives::SURVIVES_HUP,
        &survives::SURVIVES_OTHERS,
        &survives::SURVIVES_REALTIME,
        &survives::SURVIVES_SENT_FAULTS,
        &survives::TTY_STOP_IGNORED,
        &survives::STOP_CONT,
        &survives::SPURIOUS_CHLD,
        &ends::BURST,
        &ends::TERM_IN_CHLD_STORM,
        &moments::NO_LOST_TERM,
        &survives::CHILD_STATUS_IGNORED,
        &starts::BLOCKED_AT_EXEC,
        &starts::BROKEN_STDERR,
        &starts::BROKEN_STDERR_NOT_FIRST,
        &starts::SIGACTION_FAILS,
        &ends::TERM_AFTER_WORK,
        &ends::TERM_LATENCY,
    ],
};

/// What every check of a running program needs.
const RUNS: Needs = Needs::PROGRAM.union(Needs::SANDBOX);

/// And where a process joins it.
const JOINED: Needs = RUNS.union(Needs::PROBE);

/// And where /proc shows when it has acted on a signal.
const SETTLES: Needs = RUNS.union(Needs::HOST_PID);

/// Nearly all end with TERM, to see that the program still works.
const AFTER_TERM: &[&str] = &["signals/term-exits-zero"];

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

const PID_NAMESPACES: Source = Source {
    title: "pid_namespaces(7)",
    url: "https://man7.org/linux/man-pages/man7/pid_namespaces.7.html",
};

const CATATONIT: Source = Source {
    title: "catatonit.c",
    url: "https://github.com/openSUSE/catatonit/blob/v0.2.0/catatonit.c",
};

/// A container of a pod that shares its pid namespace.
const CONTAINER: Join = Join {
    namespaces: Namespaces::PID,
    privileged: false,
    user: None,
};

/// Signals need no network: a sandbox without one of its own starts sooner.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}
