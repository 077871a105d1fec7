//! What a check is: its record, its level and source, what it needs, and how it ends.
//!
//! Owns no behaviour. Families (`checks/*.rs`) hold records of these types, the
//! runner reads them, and everything that lists or explains checks derives from them.

use std::fmt;

use crate::context::Context;

bitflags::bitflags! {
    /// What a check needs, and what a subject, a backend and a host offer.
    ///
    /// A check is applicable when every bit it needs is offered; the runner
    /// computes that, so no check asks which backend it is on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Needs: u64 {
        /// The subject is an image with a manifest and a configuration (not a bare program).
        const IMAGE = 1;
        /// The subject was reached through an image index.
        const INDEX = 1 << 1;
        /// The image holds an entry for Windows.
        const WINDOWS = 1 << 2;
        /// The subject has a native program that resolves inside its root filesystem.
        const PROGRAM = 1 << 3;
        /// That program is an ELF file.
        const ELF = 1 << 4;
        /// The architecture runs with 64 KiB pages on real hosts (arm64, ppc64le).
        const LARGE_PAGES = 1 << 5;
        /// `--kubernetes` names a minor version.
        const KUBERNETES = 1 << 6;
        /// `--require-platform` names at least one platform.
        const REQUIRED_PLATFORMS = 1 << 7;
        /// The subject's version is known from its tag or annotations.
        const VERSION = 1 << 8;
        /// The subject is an image whose program is not WebAssembly.
        const NATIVE_IMAGE = 1 << 9;
        /// The subject is a WebAssembly program, in an image or alone.
        const WASM = 1 << 10;
        /// That program is a valid core module.
        const WASM_MODULE = 1 << 11;
        /// That program is a valid component.
        const WASM_COMPONENT = 1 << 14;
        /// That program can be run on a virtual clock.
        const VIRTUAL_CLOCK = 1 << 15;
        /// The layers of the image were read.
        const FILES = 1 << 12;
        /// `--long` is given.
        const LONG = 1 << 13;

        /// A sandbox can be run.
        const SANDBOX = 1 << 16;
        /// The probe can enter a sandbox.
        const PROBE = 1 << 17;
        /// The program runs on the processor itself, not under an emulator.
        const NATIVE = 1 << 18;
        /// `/proc` of the pause process can be read from outside.
        const HOST_PID = 1 << 19;
        /// The sandbox has a network namespace of its own.
        const NETWORK = 1 << 20;
        /// A memory limit can be set (memory cgroup).
        const MEMORY_LIMIT = 1 << 21;
        /// A limit on processes can be set (pids cgroup).
        const PIDS_LIMIT = 1 << 22;
        /// A seccomp filter can be installed.
        const SECCOMP = 1 << 23;
        /// The process can be traced.
        const TRACE = 1 << 24;
        /// A user namespace with 65536 mapped ids can be made.
        const ID_RANGE = 1 << 25;
        /// A user namespace can be made.
        const USER_NAMESPACE = 1 << 26;
        /// A time namespace can be made.
        const TIME_NAMESPACE = 1 << 27;
        /// A cgroup namespace can be made.
        const CGROUP_NAMESPACE = 1 << 28;
        /// The process can be started without a pid namespace of its own.
        const HOST_PID_NAMESPACE = 1 << 29;
        /// The start of the process is ours: signal mask, dispositions, descriptors, root.
        const START_CONTROL = 1 << 30;
        /// POSIX message queues can be mounted.
        const MQUEUE = 1 << 31;
        /// The kernel reports reaping on a pidfd (Linux 6.9).
        const PIDFD_HUP = 1 << 32;
        /// A signal that the program leaves to its default action does to it, as process 1,
        /// what the kernel does: nothing.
        const DEFAULT_ACTIONS = 1 << 33;
        /// The program can leave the namespaces that it was started in.
        const LEAVES = 1 << 34;
        /// A sandbox has a /proc of its own.
        const SANDBOX_PROC = 1 << 35;

        /// Programs can be run on the oldest processor of their architecture, in software.
        const BASELINE = 1 << 39;
        /// The program is not told of children that stop where it does not ask for that.
        const NOCLDSTOP = 1 << 36;

        /// The suite's own WASI host can be started in a sandbox and beside one.
        const WASI_HOST = 1 << 40;

        /// Not a need but a hint: it takes seconds to fail, so start it early where a failure
        /// is to be shown as well.
        const LATE = 1 << 61;
        /// Not a need but a hint: run alone, or its figures mean nothing.
        const QUIET = 1 << 62;
        /// Not a need but a hint: mostly waits for a window to pass, so start it early.
        const WINDOW = 1 << 63;
    }
}

impl Needs {
    /// What says how to run a check, not whether it applies.
    pub const HINTS: Needs = Needs::QUIET.union(Needs::WINDOW).union(Needs::LATE);
}

/// RFC 2119 level of a requirement.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// An image that fails it breaks pods.
    Must,
    /// A sound image has it.
    Should,
    /// Measured and reported, never failed.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Info => "INFO",
        })
    }
}

/// Where a requirement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Short title: "pause.c", "OCI image-spec v1.1 config.md", "pid_namespaces(7)", "kubernetes#36853".
    pub title: &'static str,
    /// A pinned URL: a tag or commit, a manual page, or an issue.
    pub url: &'static str,
}

/// One requirement and the function that judges it.
#[derive(Debug)]
pub struct Check {
    /// `family/verb-phrase`. Once released, never reused.
    pub id: &'static str,
    /// One line for reports, without a full stop.
    pub title: &'static str,
    /// RFC 2119 level.
    pub level: Level,
    /// One sentence that holds the level's word (MUST, SHOULD; none for INFO).
    pub requirement: &'static str,
    /// Where the requirement comes from.
    pub source: Source,
    /// What must be offered for the check to apply.
    pub needs: Needs,
    /// Ids of checks without whose success this one says nothing; where one of
    /// them failed, this one is skipped and names it.
    pub after: &'static [&'static str],
    /// Provokes, waits, and says what was expected and observed.
    pub run: fn(&Context<'_>) -> Outcome,
}

#[cfg(test)]
impl Check {
    /// One of no family, that needs nothing.
    pub(crate) const fn made_up(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Self {
        Self {
            id,
            title: "title",
            level: Level::Must,
            requirement: "It MUST hold.",
            source: Source {
                title: "pause.c",
                url: "https://example.org/",
            },
            needs: Needs::empty(),
            after: &[],
            run,
        }
    }
}

/// Checks that share a subject; one file under `checks/`.
#[derive(Debug)]
pub struct Family {
    /// The first part of every id in it, and the name of its file.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// In the order of reports.
    pub checks: &'static [&'static Check],
}

/// How a check that ran to its end ended: `Ok` is a pass.
pub type Outcome = Result<Pass, Stop>;

/// The requirement holds; says what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// What was observed, one line.
    pub observed: String,
    /// More of it, a line each.
    pub evidence: Vec<String>,
}

impl Pass {
    /// The requirement holds, and this was seen.
    pub fn new(observed: impl Into<String>) -> Self {
        Self {
            observed: observed.into(),
            evidence: Vec::new(),
        }
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }
}

/// Expected against observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the requirement asks for here, one line.
    pub expected: String,
    /// What was seen instead, one line.
    pub observed: String,
    /// What supports it, a line each.
    pub evidence: Vec<String>,
}

impl Finding {
    /// A finding without further evidence.
    pub fn new(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            observed: observed.into(),
            evidence: Vec::new(),
        }
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }
}

/// Why a check stopped without passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The requirement does not hold.
    Fail(Finding),
    /// The pause process was not there to be judged: it never started, or it ended
    /// before the stimulus. Skipped where `startup/stays` failed, else a failure.
    NotRunning(Finding),
    /// It ended upon the stimulus, and was not to, or not so. Skipped where
    /// `startup/stays` failed, for then it may have ended by itself; else a failure.
    Ended(Finding),
    /// It does not apply to this subject after all; says why.
    Skip(String),
    /// It applies, but right and wrong cannot be told apart on this host; says why.
    Inconclusive(String),
    /// The suite's own fault, or the host's: a stimulus that could not be produced.
    Error(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Fail(finding) | Stop::NotRunning(finding) | Stop::Ended(finding) => {
                write!(
                    f,
                    "expected {}, observed {}",
                    finding.expected, finding.observed
                )
            }
            Stop::Skip(reason) | Stop::Inconclusive(reason) | Stop::Error(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl From<Finding> for Stop {
    fn from(finding: Finding) -> Self {
        Stop::Fail(finding)
    }
}

/// Fails the check unless the condition holds.
///
/// # Errors
/// `Stop::Fail` with the two lines when `holds` is false.
pub fn ensure(
    holds: bool,
    expected: impl Into<String>,
    observed: impl Into<String>,
) -> Result<(), Stop> {
    if holds {
        Ok(())
    } else {
        Err(Stop::Fail(Finding::new(expected, observed)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Stop, ensure};

    #[test]
    fn what_does_not_hold_fails_with_both_sides() {
        assert!(ensure(true, "it stays", "it ended").is_ok());
        let Err(Stop::Fail(finding)) = ensure(false, "it stays", "it ended") else {
            panic!("it does not hold");
        };
        assert_eq!(finding.expected, "it stays");
        assert_eq!(finding.observed, "it ended");
    }

    #[test]
    fn a_stop_says_what_was_expected_or_why() {
        let finding = || Finding::new("it stays", "it ended");
        for stop in [
            Stop::Fail(finding()),
            Stop::NotRunning(finding()),
            Stop::Ended(finding()),
        ] {
            assert_eq!(stop.to_string(), "expected it stays, observed it ended");
        }
        for stop in [Stop::Skip, Stop::Inconclusive, Stop::Error] {
            assert_eq!(stop("no time".to_owned()).to_string(), "no time");
        }
    }
}
