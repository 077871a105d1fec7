//! The audit in Markdown: the conclusion, a table of pods, what failed.

use std::fmt::{self, Write as _};

use crate::event::{Record, Verdict};
use crate::node::model::Audit;
use crate::report::audit::{COLUMNS, row, sources, sum};
use crate::report::markdown::prose;
use crate::report::text::line;

/// The audit as Markdown.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(audit: &Audit) -> Result<String, fmt::Error> {
    let mut out = String::new();
    writeln!(out, "## Pauses of node {}\n", cell(&audit.host.name))?;
    writeln!(out, "**{}**\n", prose(&sum(audit)))?;
    for text in sources(audit).chain(audit.notes.iter().map(|it| line(it))) {
        writeln!(out, "- {}", prose(&text))?;
    }
    writeln!(out, "\n| {} |", COLUMNS.map(str::to_lowercase).join(" | "))?;
    writeln!(out, "|{}", " --- |".repeat(COLUMNS.len()))?;
    for pod in &audit.pods {
        writeln!(out, "| {} |", row(pod).map(|text| prose(&text)).join(" | "))?;
    }
    let node = audit
        .node
        .checks
        .iter()
        .map(|record| ("node".to_owned(), record));
    let pods = audit
        .pods
        .iter()
        .flat_map(|pod| pod.checks.iter().map(|record| (pod.title(), record)));
    let failed = node
        .chain(pods)
        .filter(|(_, it)| it.verdict == Verdict::Fail);
    let failed: Vec<_> = failed.collect();
    if !failed.is_empty() {
        writeln!(out, "\n### What failed\n")?;
    }
    for (whose, record) in failed {
        write_failed(&mut out, &whose, record)?;
    }
    for (id, advice) in &audit.advice {
        writeln!(
            out,
            "\n**{id}** {} {}",
            prose(&advice.why),
            prose(&advice.mend)
        )?;
    }
    Ok(out)
}

fn write_failed(out: &mut String, whose: &str, record: &Record) -> fmt::Result {
    let expected = cell(record.expected.as_deref().unwrap_or_default());
    let observed = cell(record.observed.as_deref().unwrap_or_default());
    let (id, level) = (&record.id, record.level);
    writeln!(
        out,
        "- {}: {id} ({level}): expected {expected}, observed {observed}",
        cell(whose)
    )?;
    for evidence in &record.evidence {
        writeln!(out, "  - {}", cell(evidence))?;
    }
    Ok(())
}

fn cell(text: &str) -> String {
    prose(&line(text))
}
