//! The verdicts of many runs, check by check.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The verdict that load may cause, if the record has a reason.
const UNDECIDED: &str = "inconclusive";

/// The verdicts by subject and check.
#[derive(Debug, Default)]
pub(super) struct Verdicts(BTreeMap<(String, String), Vec<Seen>>);

/// A verdict of a check.
#[derive(Debug)]
struct Seen {
    verdict: String,
    /// How many runs had it.
    times: u32,
    /// The first run that had it.
    first: String,
    /// The reason or summary in that run.
    said: String,
    /// Only loaded runs had it, and it has a reason.
    excused: bool,
}

impl Verdicts {
    /// Adds the verdicts of a report. Returns a line for each that differs from the runs before.
    pub(super) fn add(
        &mut self,
        report: &Value,
        loaded: bool,
        whence: &str,
    ) -> Result<Vec<String>> {
        let mut new = Vec::new();
        let runs = report["runs"]
            .as_array()
            .context("the report has no runs")?;
        for run in runs {
            let image = run["image"].as_str().context("a run has no image")?;
            if let Some(error) = run["error"].as_str() {
                anyhow::bail!("{whence} could not judge {image}: {error}");
            }
            for check in run["checks"].as_array().context("a run has no checks")? {
                let word = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
                let verdict = word("verdict");
                let reason = word("reason");
                let excused = loaded && verdict == UNDECIDED && !reason.is_empty();
                let seen = self.0.entry((image.to_owned(), word("id"))).or_default();
                if let Some(same) = seen.iter_mut().find(|seen| seen.verdict == verdict) {
                    same.times += 1;
                    same.excused &= excused;
                    continue;
                }
                let said = if reason.is_empty() {
                    word("observed")
                } else {
                    reason
                };
                if !seen.is_empty() {
                    new.push(format!("{} of {image}: {verdict}: {said}", word("id")));
                }
                seen.push(Seen {
                    verdict,
                    times: 1,
                    first: whence.to_owned(),
                    said,
                    excused,
                });
            }
        }
        Ok(new)
    }

    /// How many verdicts were compared.
    pub(super) fn count(&self) -> u32 {
        self.0.values().flatten().map(|seen| seen.times).sum()
    }

    /// How many checks changed their verdict.
    pub(super) fn changed(&self) -> usize {
        self.0.values().filter(|seen| has_changed(seen)).count()
    }
}

fn has_changed(seen: &[Seen]) -> bool {
    seen.iter().filter(|seen| !seen.excused).count() > 1
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((image, id), seen) in &self.0 {
            if seen.len() < 2 {
                continue;
            }
            let word = if has_changed(seen) {
                "CHANGED"
            } else {
                "under load"
            };
            writeln!(f, "{word}: {id} of {image}")?;
            for seen in seen {
                let (verdict, times, first, said) =
                    (&seen.verdict, seen.times, &seen.first, &seen.said);
                writeln!(f, "  {times:>4} × {verdict}, first in {first}: {said}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn report(verdict: &str, reason: &str) -> Value {
        let check = json!({ "id": "a/b", "verdict": verdict, "reason": reason, "observed": "x" });
        json!({ "runs": [{ "image": "i", "checks": [check] }] })
    }

    #[rstest]
    #[case::the_same(&[("pass", "", false), ("pass", "", true)], 0)]
    #[case::another(&[("pass", "", false), ("fail", "", false)], 1)]
    #[case::another_under_load(&[("pass", "", false), ("fail", "", true)], 1)]
    #[case::undecided_under_load(&[("pass", "", false), ("inconclusive", "busy", true)], 0)]
    #[case::undecided_without_reason(&[("pass", "", false), ("inconclusive", "", true)], 1)]
    #[case::undecided_without_load(&[("pass", "", false), ("inconclusive", "busy", false)], 1)]
    #[case::undecided_both_ways(
        &[("pass", "", false), ("inconclusive", "busy", true), ("inconclusive", "busy", false)], 1
    )]
    fn a_verdict_changes_unless_load_excuses_it(
        #[case] runs: &[(&str, &str, bool)],
        #[case] changed: usize,
    ) {
        let mut verdicts = Verdicts::default();
        for (verdict, reason, loaded) in runs {
            let report = report(verdict, reason);
            verdicts.add(&report, *loaded, "a run").expect("a report");
        }
        assert_eq!(verdicts.changed(), changed, "{verdicts}");
    }

    #[test]
    fn a_report_that_judged_nothing_is_refused() {
        let report = json!({ "runs": [{ "image": "i", "error": "no such file", "checks": [] }] });
        assert!(Verdicts::default().add(&report, false, "a run").is_err());
        assert!(Verdicts::default().add(&json!({}), false, "a run").is_err());
    }
}
