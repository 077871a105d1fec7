//! The record that a check's conclusion becomes.

use crate::check::{Check, Finding, Outcome, Pass, Stop};
use crate::context::Noted;
use crate::event::{Record, Verdict, Want};

/// How a check was concluded.
pub(super) enum Concluded {
    Pass(Pass),
    Fail(Finding),
    Skipped(Want, String),
    /// It was not run, or its outcome says nothing, because another check did not pass.
    Blocked {
        by: String,
        why: Option<String>,
    },
    Inconclusive(String),
    Error(String),
}

/// The record of a check with this verdict and nothing observed.
pub fn record(check: &Check, verdict: Verdict) -> Record {
    Record {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        level: check.level,
        requirement: check.requirement.to_owned(),
        source: check.source.title.to_owned(),
        source_url: check.source.url.to_owned(),
        ..Record::new(verdict)
    }
}

impl Record {
    pub(super) fn conclude(&mut self, concluded: Concluded) {
        let (verdict, reason) = match concluded {
            Concluded::Pass(pass) => {
                (self.observed, self.evidence) = (Some(pass.observed), pass.evidence);
                (Verdict::Pass, None)
            }
            Concluded::Fail(finding) => {
                self.expected = Some(finding.expected).filter(|line| !line.is_empty());
                (self.observed, self.evidence) = (Some(finding.observed), finding.evidence);
                (Verdict::Fail, None)
            }
            Concluded::Skipped(want, reason) => {
                self.skipped_for = Some(want);
                (Verdict::Skipped, Some(reason))
            }
            Concluded::Blocked { by, why } => {
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                let reason = format!("depends on {by}, which did not pass{why}");
                (self.blocked_by, self.skipped_for) = (Some(by), Some(Want::Check));
                (Verdict::Skipped, Some(reason))
            }
            Concluded::Inconclusive(reason) => (Verdict::Inconclusive, Some(reason)),
            Concluded::Error(reason) => (Verdict::Error, Some(reason)),
        };
        (self.verdict, self.reason) = (verdict, reason);
    }
}

/// The outcome of a check that met an error while the program ended of its own accord: what the
/// suite looked at was going.
pub(super) fn blame_end(outcome: Outcome, noted: &Noted) -> Outcome {
    match (outcome, noted.ended.get()) {
        (Err(Stop::Error(why)), Some(())) => Err(Stop::Gone(why)),
        (outcome, _) => outcome,
    }
}

/// The verdict of a check during which the emulator crashed, `gave_up` in words: neither the
/// program nor the suite is blamed.
pub(super) fn blame_nobody(outcome: Outcome, gave_up: Option<String>) -> Outcome {
    match (outcome, gave_up) {
        (
            Err(
                Stop::Fail(_)
                | Stop::NotRunning(_)
                | Stop::Ended(_)
                | Stop::Contradicted(_)
                | Stop::Error(_)
                | Stop::Gone(_),
            ),
            Some(words),
        ) => Err(Stop::Inconclusive(words)),
        (outcome, _) => outcome,
    }
}
