//! Several runs side by side: one row per check, one column per run.

use std::collections::BTreeMap;

use crate::event::{Record, Report, Run, Verdict};

/// A table of checks and runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix<'a> {
    /// A label for each run: those of image, platform and runtime that differ between runs.
    pub columns: Vec<String>,
    /// The runs, one per column.
    pub runs: Vec<&'a Run>,
    /// Which of the report's runs each of them is, from 0.
    pub numbers: Vec<usize>,
    /// One row per check, in the order of the runs.
    pub rows: Vec<Row<'a>>,
}

/// One check in every run.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// The check's id.
    pub id: &'a str,
    /// Its record in each run; `None` where the run has none.
    pub cells: Vec<Option<&'a Record>>,
}

impl<'a> Matrix<'a> {
    /// The matrix of a report; `None` if it has fewer than two runs. Companions have no column,
    /// since they have records of few checks.
    pub fn of(report: &'a Report) -> Option<Self> {
        let all = report.runs.iter().enumerate();
        let (numbers, runs): (Vec<_>, Vec<&Run>) = all.filter(|(_, run)| !run.companion).unzip();
        if runs.len() < 2 {
            return None;
        }
        let mut rows: Vec<Row<'a>> = Vec::new();
        let mut places = BTreeMap::new();
        for (column, run) in runs.iter().enumerate() {
            for record in &run.checks {
                let place = *places.entry(record.id.as_str()).or_insert_with(|| {
                    rows.push(Row {
                        id: &record.id,
                        cells: vec![None; runs.len()],
                    });
                    rows.len() - 1
                });
                rows[place].cells[column] = Some(record);
            }
        }
        Some(Self {
            columns: labels(&runs),
            rows,
            runs,
            numbers,
        })
    }
}

fn labels(runs: &[&Run]) -> Vec<String> {
    let differs = |field: fn(&Run) -> &str| {
        runs.windows(2)
            .any(|pair| matches!(pair, [a, b] if field(a) != field(b)))
    };
    let fields: [fn(&Run) -> &str; 3] = [|run| &run.image, |run| &run.platform, |run| &run.runtime];
    let telling: Vec<_> = fields.into_iter().filter(|field| differs(*field)).collect();
    numbered(runs.iter().map(|run| {
        let parts: Vec<_> = telling
            .iter()
            .map(|field| field(run))
            .filter(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            "run".to_owned()
        } else {
            parts.join(" ")
        }
    }))
}

/// The full name of each run, for formats that need one also for a single run.
pub fn names(runs: &[Run]) -> Vec<String> {
    numbered(runs.iter().map(|run| match run.runtime.as_str() {
        "" => format!("{} {}", run.image, run.platform),
        runtime => format!("{} {} on {runtime}", run.image, run.platform),
    }))
}

/// Appends a number to each repeated label.
fn numbered(labels: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    labels
        .map(|label| {
            let count = seen.entry(label.clone()).or_default();
            *count += 1;
            if *count == 1 {
                label
            } else {
                format!("{label} #{count}")
            }
        })
        .collect()
}

/// The words of cells and their meanings, in the order of the legend.
pub const WORDS: [(&str, &str); 9] = [
    ("pass", "the requirement holds"),
    ("FAIL", "it does not, and that fails the run"),
    ("WARN", "it does not; reported only"),
    ("known", "fails, as expected"),
    ("stale", "passes, but is expected to fail"),
    ("?", "inconclusive"),
    ("skip", "does not apply"),
    ("ERROR", "the suite's own fault"),
    ("-", "not run"),
];

/// The word of a cell, one of [`WORDS`].
pub fn word(cell: Option<&Record>, strict: bool) -> &'static str {
    let Some(record) = cell else { return "-" };
    let known = record.expected_failure.is_some();
    match record.verdict {
        Verdict::Pass if known => "stale",
        Verdict::Pass => "pass",
        Verdict::Fail if known => "known",
        Verdict::Fail if record.is_red(strict) => "FAIL",
        Verdict::Fail => "WARN",
        Verdict::Inconclusive => "?",
        Verdict::Skipped if record.required => "?",
        Verdict::Skipped => "skip",
        Verdict::Error => "ERROR",
    }
}
