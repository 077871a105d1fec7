//! What a check is: its record, its level and source, what it needs, and how it ends.
//!
//! Owns no behaviour. Families (`checks/*.rs`) hold records of these types, the
//! runner reads them, and everything that lists or explains checks derives from them.

use std::fmt;

use crate::context::Context;
pub use crate::need::{Needs, Request, Schedule};

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
