//! Many audits: nodes × checks, for people and in Markdown.

use std::fmt::{self, Write as _};

use crate::event::Tally;
use crate::node::merge::Matrix;
use crate::report::audit::counted;
use crate::report::markdown::prose;
use crate::report::text::line;

/// The cells: a head, and a row a node; only checks that failed somewhere have a column.
fn cells(matrix: &Matrix) -> Vec<Vec<String>> {
    let failed = matrix.failed();
    let head = ["NODE", "PODS", "VERDICT"]
        .into_iter()
        .chain(failed.iter().copied());
    let head = head.map(str::to_owned).collect();
    let rows = matrix.nodes.iter().map(|row| {
        let checks = failed.iter().map(|id| of(row.checks.get(*id)));
        let verdict = row.conclusion.as_str().to_owned();
        let first = [line(&row.node), row.pods.to_string(), verdict];
        first.into_iter().chain(checks).collect()
    });
    [head].into_iter().chain(rows).collect()
}

/// How many failed, of those that were judged.
fn of(tally: Option<&Tally>) -> String {
    let Some(tally) = tally else {
        return "-".to_owned();
    };
    match (tally.pass + tally.fail, tally.fail) {
        (0, _) => "-".to_owned(),
        (_, 0) => "pass".to_owned(),
        (all, fail) => format!("{fail} of {all} fail"),
    }
}

/// As text.
///
/// # Errors
/// None: text is formatted into memory.
pub fn human(matrix: &Matrix) -> Result<String, fmt::Error> {
    let cells = cells(matrix);
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..columns).filter_map(width).collect();
    let mut out = String::new();
    for row in &cells {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    writeln!(out)?;
    for (digest, nodes) in &matrix.programs {
        let pods: usize = nodes.values().sum();
        writeln!(
            out,
            "sha256:{}: {} on {}",
            line(digest),
            counted(pods, "pod", "pods"),
            counted(nodes.len(), "node", "nodes"),
        )?;
    }
    writeln!(
        out,
        "{}, {}: {}",
        counted(matrix.nodes.len(), "node", "nodes"),
        counted(matrix.programs.len(), "different pause", "different pauses"),
        matrix.conclusion.as_str()
    )?;
    Ok(out)
}

/// As Markdown.
///
/// # Errors
/// None: text is formatted into memory.
pub fn markdown(matrix: &Matrix) -> Result<String, fmt::Error> {
    let mut out = String::new();
    writeln!(
        out,
        "## Pauses of {}: {}\n",
        counted(matrix.nodes.len(), "node", "nodes"),
        matrix.conclusion.as_str()
    )?;
    for (number, row) in cells(matrix).iter().enumerate() {
        let row: Vec<_> = row.iter().map(|cell| prose(cell)).collect();
        writeln!(out, "| {} |", row.join(" | "))?;
        if number == 0 {
            writeln!(out, "|{}", " --- |".repeat(row.len()))?;
        }
    }
    Ok(out)
}
