//! What this backend offers on this host, and why it does not offer the rest.

use std::path::Path;

use super::ids::Mapping;
use super::limits::kernel_at_least;
use super::{Embedded, trial};
use crate::Features;
use crate::emulator::baseline::Baseline;
use crate::workload;
use pause_image::Platform;

/// What every host gives on which a sandbox can be made.
const ALWAYS: Features = Features::OF_ALL
    .union(Features::SECCOMP)
    .union(Features::CGROUP_NAMESPACE)
    .union(Features::HELD)
    .union(Features::EXEC_ON_ORDER)
    .union(Features::BARE_ROOT)
    .union(Features::STREAMS)
    .union(Features::CLOSED_STREAMS)
    .union(Features::DISPOSITIONS);

const NO_USER_NAMESPACES: &str = "this host allows no user namespaces";

const NO_ENGINE: &str =
    "the suite makes the sandboxes itself, and is no engine: --runtime names one";

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

impl Embedded {
    /// Finds out what it offers; `shown` is what the trial sandbox had.
    pub(super) fn find_offers(&mut self, shown: &trial::TrialResult) {
        self.offers = ALWAYS;
        let own_users = self.mapping != Mapping::Host;
        let rows = [
            (Features::MEMORY_LIMIT, self.cgroups.can_limit_memory()),
            (Features::PIDS_LIMIT, self.cgroups.can_limit_pids()),
            (Features::ENGINE, or(false, NO_ENGINE)),
            (Features::USER_NAMESPACE, or(own_users, NO_USER_NAMESPACES)),
            (
                Features::ID_RANGE,
                match self.mapping {
                    Mapping::Range { .. } => Ok(()),
                    Mapping::Single { .. } => Err("a rootless caller maps one id".to_owned()),
                    Mapping::Host => Err(NO_USER_NAMESPACES.to_owned()),
                },
            ),
            (
                Features::SANDBOX_PROC,
                or(shown.has_proc, "this host lets no sandbox mount /proc"),
            ),
            (
                Features::TIME_NAMESPACE,
                or(
                    exists("/proc/self/ns/time"),
                    "the kernel has no time namespaces",
                ),
            ),
            (
                Features::MQUEUE,
                or(
                    exists("/proc/sys/fs/mqueue"),
                    "the kernel has no POSIX message queues",
                ),
            ),
            (Features::TRACE, shown.traces.clone()),
            (Features::STEP, shown.steps.clone()),
            (Features::BASELINE, Baseline::is_there(&Platform::host())),
            (
                Features::SELF_EXEC,
                or(
                    workload::may_execute_itself(),
                    "this program cannot be executed inside a sandbox",
                ),
            ),
            (
                Features::PIDFD_HUP,
                or(
                    kernel_at_least(6, 9),
                    "the kernel reports no reaping on a pidfd before Linux 6.9",
                ),
            ),
        ];
        for (feature, have) in rows {
            match have {
                Ok(()) => self.offers |= feature,
                Err(why) => self.lacking.push((feature, why)),
            }
        }
    }
}

fn or(have: bool, why: &str) -> Result<(), String> {
    have.then_some(()).ok_or_else(|| why.to_owned())
}
