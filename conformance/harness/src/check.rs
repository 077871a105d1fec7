//! What a check is: a requirement, what it needs, and the function that judges it.
//!
//! Owns no behaviour. Families (`checks/*.rs`) hold records of these types, the
//! runner reads them, and everything that lists or explains checks derives from them.

pub use crate::advice::Advice;
use crate::context::Context;
pub use crate::need::{Needs, Request, Schedule};
pub use crate::outcome::{Finding, Outcome, Pass, Stop, ensure};
pub use crate::requirement::{Level, Source};

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
    /// What a failure means in a pod, and how it is mended.
    pub advice: Advice,
    /// What must be offered for the check to apply.
    pub needs: Needs,
    /// Ids of the checks that this one depends on; where one of them did not pass, this one is
    /// skipped and names it.
    pub after: &'static [&'static str],
    /// Provokes, waits, and says what was expected and observed.
    pub run: fn(&Context<'_>) -> Outcome,
}

#[cfg(test)]
impl Check {
    /// A check of no family, which needs nothing.
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
            advice: Advice::new("It matters.", "Mend it."),
            needs: Needs::empty(),
            after: &[],
            run,
        }
    }
}

/// A registry: all families there are, in the order of reports.
pub type Families = &'static [&'static Family];

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
