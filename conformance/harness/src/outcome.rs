//! How a check ends: it passes, with what was seen, or it stops, and says why.

use std::fmt;

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
    /// It ended on the stimulus where it should not have, or otherwise than it should. Skipped
    /// where `startup/stays` failed, since it may have ended by itself; else a failure.
    Ended(Finding),
    /// It does not apply to this subject after all; says why.
    Skip(String),
    /// It depends on another check, which is known not to pass.
    Blocked {
        /// The id of that check.
        by: &'static str,
        /// What was seen of it.
        why: String,
    },
    /// It applies, but right and wrong cannot be told apart on this host; says why.
    Inconclusive(String),
    /// What is proven of the program is not what an untraced window shows of it. That is the suite's
    /// own fault, unless the host ran short of something in one of them.
    Contradicted(String),
    /// The suite's own fault, or the host's: a stimulus that could not be produced.
    Error(String),
    /// The same, beside the end of a program that had been sent nothing. Skipped where
    /// `startup/stays` failed, since it comes of that; else an error.
    Gone(String),
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
            Stop::Blocked { by, why } => {
                write!(f, "depends on {by}, which did not pass: {why}")
            }
            Stop::Skip(reason)
            | Stop::Inconclusive(reason)
            | Stop::Contradicted(reason)
            | Stop::Error(reason)
            | Stop::Gone(reason) => f.write_str(reason),
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
        let (by, why) = ("startup/stays", "it ended".to_owned());
        assert_eq!(
            Stop::Blocked { by, why }.to_string(),
            "depends on startup/stays, which did not pass: it ended"
        );
        for stop in [Stop::Skip, Stop::Inconclusive, Stop::Error] {
            assert_eq!(stop("no time".to_owned()).to_string(), "no time");
        }
    }
}
