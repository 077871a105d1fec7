//! A part of the matrix: one check over every fixture, one fixture through every check, or
//! anything between.

use std::collections::BTreeSet;

use wildmatch::WildMatch;

use super::{Trial, checks, trials};
use crate::catalogue::matches;
use crate::check::{Check, Needs};

/// Some checks over some fixtures.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The checks whose verdicts count, in registry order.
    pub(super) checks: Vec<&'static Check>,
    /// Those, and the checks that they depend on.
    pub(super) run: Vec<&'static Check>,
    /// The fixtures.
    pub(super) trials: Vec<Trial>,
    /// Only some of the checks are selected.
    pub(super) some_checks: bool,
    /// Only some of the fixtures are selected: a check that nothing breaks is then no fault.
    pub(super) some_trials: bool,
}

/// A filter that selects nothing; exit status 64.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {what} of the self-test matches {option} {}",
    crate::report::text::escape(filter)
)]
pub struct NoMatch {
    what: &'static str,
    option: &'static str,
    filter: String,
    /// The name most like it.
    nearest: Option<&'static str>,
}

impl NoMatch {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self.nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None if self.option == "--check" => {
                "`pause-conformance list` names the checks; those of level INFO judge nothing"
                    .to_owned()
            }
            None => "`pause-conformance self-test` without filters names every fixture".to_owned(),
        }
    }
}

impl Selection {
    /// The whole matrix.
    pub fn all() -> Self {
        Self {
            checks: checks(),
            run: checks(),
            trials: trials().collect(),
            some_checks: false,
            some_trials: false,
        }
    }

    /// What these filters select; where there are none, everything.
    ///
    /// # Errors
    /// A filter that selects nothing.
    pub fn of(ids: &[String], names: &[String]) -> Result<Self, NoMatch> {
        let all = Self::all();
        let none = |what, option, filter: &str, nearest| NoMatch {
            what,
            option,
            filter: filter.to_owned(),
            nearest,
        };
        for filter in ids {
            if !all.checks.iter().any(|check| matches(filter, check.id)) {
                let near = crate::suggest::nearest(filter, all.checks.iter().map(|check| check.id));
                return Err(none("check", "--check", filter, near));
            }
        }
        let is_named = |filter: &str, trial: &Trial| WildMatch::new(filter).matches(trial.name());
        for filter in names {
            if !all.trials.iter().any(|trial| is_named(filter, trial)) {
                let near =
                    crate::suggest::nearest(filter, all.trials.iter().map(|trial| trial.name()));
                return Err(none("fixture", "--fixture", filter, near));
            }
        }
        let mut selection = all;
        if !ids.is_empty() {
            selection.some_checks = true;
            let is_selected = |check: &&Check| ids.iter().any(|filter| matches(filter, check.id));
            selection.checks.retain(|check| is_selected(check));
            selection.run = with_prerequisites(&selection.checks, &selection.run);
        }
        if !names.is_empty() {
            selection.some_trials = true;
            let trials = &mut selection.trials;
            trials.retain(|trial| names.iter().any(|filter| is_named(filter, trial)));
        }
        Ok(selection)
    }

    /// How many fixtures there are.
    pub fn fixtures(&self) -> usize {
        self.trials.len()
    }

    /// Whether the verdict of this check counts.
    pub(super) fn counts(&self, id: &str) -> bool {
        self.checks.iter().any(|check| check.id == id)
    }
}

/// `selected` and what they depend on, in the order of `all`: without it a program that does not
/// even start would be taken for one that breaks whatever is asked.
fn with_prerequisites(selected: &[&'static Check], all: &[&'static Check]) -> Vec<&'static Check> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = selected.iter().map(|check| check.id).collect();
    if selected
        .iter()
        .any(|check| check.needs.contains(Needs::SANDBOX))
    {
        let gates = all.iter().filter(|check| check.needs.contains(Needs::GATE));
        open.extend(gates.map(|check| check.id));
    }
    while let Some(id) = open.pop() {
        if wanted.insert(id)
            && let Some(check) = all.iter().find(|check| check.id == id)
        {
            open.extend(check.after);
        }
    }
    let is_wanted = |check: &&&'static Check| wanted.contains(check.id);
    all.iter().filter(is_wanted).copied().collect()
}

#[cfg(test)]
mod tests;
