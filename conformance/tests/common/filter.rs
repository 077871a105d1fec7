//! A filter of tests that knows checks too: `cargo xtask test signals/term-exits-zero` runs all
//! fixtures that must fail that check.

use libtest_mimic::{Arguments, Trial};

/// A trial, and the checks that must or may fail in it.
pub(crate) struct Named {
    pub(crate) trial: Trial,
    pub(crate) checks: Vec<String>,
}

impl Named {
    /// A trial with these checks.
    pub(crate) fn new<'a>(trial: Trial, checks: impl IntoIterator<Item = &'a str>) -> Self {
        let checks = checks.into_iter().map(str::to_owned).collect();
        Self { trial, checks }
    }
}

/// The trials whose name, kind or checks match the filter. The harness applies `--skip`.
pub(crate) fn chosen(
    arguments: &mut Arguments,
    trials: impl IntoIterator<Item = Named>,
) -> Vec<Trial> {
    let Some(filter) = arguments.filter.clone() else {
        return trials.into_iter().map(|named| named.trial).collect();
    };
    let mut by_name = Arguments::from_iter(["test", &filter]);
    by_name.exact = arguments.exact;
    let exact = arguments.exact;
    let fits = |named: &Named| {
        let is_check = |id: &String| {
            if exact {
                *id == filter
            } else {
                id.contains(&filter)
            }
        };
        !by_name.is_filtered_out(&named.trial) || named.checks.iter().any(is_check)
    };
    let chosen = trials.into_iter().filter(fits).map(|named| named.trial);
    let chosen = chosen.collect();
    // Else the harness would apply it too, to names alone.
    arguments.filter = None;
    chosen
}
