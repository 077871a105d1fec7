//! The Markdown report, for a CI job summary: the conclusion first, details folded.
//!
//! It is GitHub's flavour. Text from an image cannot make links, tables or tags.

use std::fmt::{self, Write};

use crate::event::{Comparison, Conclusion, Record, Report, Run, Verdict};
use crate::report::compare::{self, Ranked};
use crate::report::matrix::{self, Matrix};
use crate::report::outline::{self, Light};
use crate::report::text;

/// How many lines of evidence are shown for one check: a job summary is limited to 1 MiB.
const EVIDENCE: usize = 20;

/// The report as Markdown.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(report: &Report) -> Result<String, fmt::Error> {
    let report = text::legible(report);
    let mut out = String::new();
    let conclusion = report.conclusion;
    writeln!(
        out,
        "## Pause image: {} {}\n",
        mark(conclusion),
        prose(&conclusion.words(report.part.as_ref()))
    )?;
    if let Some(why) = outline::report_unjudged(&report) {
        writeln!(out, "**{}**\n", prose(&why))?;
    }
    if !report.runs.is_empty() {
        write_runs(&mut out, &report.runs)?;
    }
    if let Some(matrix) = Matrix::of(&report) {
        write_choice(&mut out, &matrix, &compare::shown(&report))?;
        write_matrix(&mut out, &matrix, &report)?;
    }
    for (name, run) in matrix::names(&report.runs).iter().zip(&report.runs) {
        write_run(&mut out, name, run, report.strict)?;
    }
    let (tool, host) = (&report.tool, &report.host);
    writeln!(
        out,
        "<sub>{} {}, requirements {}, {} {}</sub>",
        html(&tool.name),
        html(&tool.version),
        html(&report.spec_version),
        html(&host.kernel),
        html(&host.machine),
    )?;
    Ok(out)
}

fn write_runs(out: &mut String, runs: &[Run]) -> fmt::Result {
    writeln!(
        out,
        "| image | platform | runtime | | passed | failed | inconclusive | error | skipped | time |"
    )?;
    writeln!(out, "|---|---|---|---|--:|--:|--:|--:|--:|--:|")?;
    for run in runs {
        let tally = &run.tally;
        writeln!(
            out,
            "| {} | {} | {} | {} {} | {} | {} | {} | {} | {} | {} |",
            prose(&run.image),
            prose(&run.platform),
            prose(&outline::engines(run)),
            mark(run.conclusion),
            prose(&run.conclusion.words(run.part.as_ref())),
            tally.pass,
            tally.fail,
            tally.inconclusive,
            tally.error,
            tally.skipped,
            text::duration(run.duration_us),
        )?;
    }
    writeln!(out)
}

/// Which image comes first, and the figures side by side.
fn write_choice(out: &mut String, matrix: &Matrix<'_>, comparison: &Comparison) -> fmt::Result {
    let columns = numbered(&matrix.columns);
    let ranking = compare::ranking(comparison, matrix);
    for Ranked { place, column, why } in &ranking {
        writeln!(out, "{place}. {}: {}", columns[*column], prose(why))?;
    }
    if !ranking.is_empty() {
        writeln!(out)?;
    }
    let figures = compare::figures(comparison, matrix);
    if figures.is_empty() {
        return Ok(());
    }
    open(out, "Figures by run")?;
    writeln!(out, "| figure | {} | |", columns.join(" | "))?;
    writeln!(out, "|---{}|---|", "|---".repeat(columns.len()))?;
    for row in figures {
        let cells: Vec<_> = row.cells.iter().map(|cell| prose(cell)).collect();
        let (name, remark) = (prose(&row.name), prose(&row.remark));
        writeln!(out, "| {name} | {} | {remark} |", cells.join(" | "))?;
    }
    writeln!(out)?;
    close(out)
}

/// The labels of columns, each with its number.
fn numbered(columns: &[String]) -> Vec<String> {
    let all = columns.iter().enumerate();
    all.map(|(column, label)| prose(&format!("[{}] {label}", column + 1)))
        .collect()
}

fn write_matrix(out: &mut String, matrix: &Matrix<'_>, report: &Report) -> fmt::Result {
    open(out, "Checks by run")?;
    let columns = numbered(&matrix.columns);
    writeln!(out, "| check | {} |", columns.join(" | "))?;
    writeln!(out, "|---{}|", "|---".repeat(columns.len()))?;
    for row in &matrix.rows {
        write!(out, "| {} |", prose(row.id))?;
        for cell in &row.cells {
            write!(out, " {} |", matrix::word(*cell, report.strict))?;
        }
        writeln!(out)?;
    }
    let legend: Vec<_> = matrix::WORDS
        .iter()
        .map(|(word, meaning)| format!("{word}: {meaning}"))
        .collect();
    writeln!(out, "\n{}", legend.join("; "))?;
    close(out)
}

fn write_run(out: &mut String, name: &str, run: &Run, strict: bool) -> fmt::Result {
    writeln!(out, "### {}\n", prose(name))?;
    if let Some(digest) = &run.digest {
        writeln!(out, "{}\n", prose(digest))?;
    }
    let remarks = outline::remarks(run);
    for (label, value) in &remarks {
        writeln!(out, "- {label}: {}", prose(value))?;
    }
    if !remarks.is_empty() {
        writeln!(out)?;
    }
    if let Some(why) = outline::unjudged(run, strict) {
        writeln!(out, "**could not be judged:** {}\n", prose(&why))?;
    }
    // The red ones first.
    for red in [true, false] {
        for record in run
            .checks
            .iter()
            .filter(|record| record.is_red(strict) == red)
        {
            match outline::light(record, strict) {
                Light::Red { .. } => write_record(out, "❌", strict, record)?,
                Light::Excused(_) => write_record(out, "⚠️", strict, record)?,
                Light::Undecided(_) if record.verdict == Verdict::Inconclusive => {
                    write_record(out, "❔", strict, record)?;
                }
                Light::Passed | Light::Undecided(_) => {}
            }
        }
    }
    write_skipped(out, run)?;
    write_measurements(out, run)
}

fn write_record(out: &mut String, mark: &str, strict: bool, record: &Record) -> fmt::Result {
    let Record {
        id, title, level, ..
    } = record;
    let word = outline::word(record, strict);
    let summary = format!(
        "{mark} {word} {level}: <b>{}</b> <code>{}</code>",
        html(title),
        html(id)
    );
    open(out, &summary)?;
    writeln!(out, "| | |\n|---|---|")?;
    for (label, value) in outline::details(record) {
        match label {
            "evidence" | "" => {}
            "source" => {
                let (title, url) = (prose(&record.source), &record.source_url);
                writeln!(out, "| source | [{title}](<{url}>) |")?;
            }
            _ => writeln!(out, "| {label} | {} |", prose(&value))?,
        }
    }
    if !record.evidence.is_empty() {
        write!(out, "\n<pre>")?;
        for line in record.evidence.iter().take(EVIDENCE) {
            writeln!(out, "{}", html(line))?;
        }
        if let Some(more) = record
            .evidence
            .len()
            .checked_sub(EVIDENCE)
            .filter(|more| *more > 0)
        {
            writeln!(out, "… {more} more")?;
        }
        writeln!(out, "</pre>")?;
    }
    close(out)
}

fn write_skipped(out: &mut String, run: &Run) -> fmt::Result {
    let reasons = outline::skipped(run);
    if reasons.is_empty() {
        return Ok(());
    }
    open(out, &format!("{} skipped", run.tally.skipped))?;
    for (reason, ids) in reasons {
        writeln!(out, "- {}: {}", prose(reason), prose(&ids.join(", ")))?;
    }
    close(out)
}

fn write_measurements(out: &mut String, run: &Run) -> fmt::Result {
    if run.measurements.is_empty() {
        return Ok(());
    }
    open(out, "Measurements")?;
    writeln!(out, "| | |\n|---|---|")?;
    for (name, measurement) in &run.measurements {
        writeln!(
            out,
            "| {} | {} |",
            prose(name),
            prose(&outline::measured(run, name, measurement))
        )?;
    }
    close(out)
}

fn open(out: &mut String, summary: &str) -> fmt::Result {
    writeln!(out, "<details><summary>{summary}</summary>\n")
}

fn close(out: &mut String) -> fmt::Result {
    writeln!(out, "\n</details>\n")
}

fn mark(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Conformant => "✅",
        Conclusion::NotConformant => "❌",
        Conclusion::Inconclusive => "❔",
        Conclusion::NotJudged => "⛔",
    }
}

/// Text with a backslash before every special character of Markdown and its tables; also before `:`,
/// `.` and `@`, since a URL or a name would become a link. Its beginning, which may be a line's,
/// starts no list, rule, underline or code block.
pub(crate) fn prose(text: &str) -> String {
    let text = text.trim_start_matches(' ');
    let mut out = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        match c {
            '-' | '+' | '=' if at == 0 => {
                out.push('\\');
                out.push(c);
            }
            ')' if text[..at].bytes().all(|byte| byte.is_ascii_digit()) => out.push_str("\\)"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // GitHub looks for mentions after it has removed backslashes.
            '@' => out.push_str("<span>@</span>"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | ':' | '.' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// Text inside of HTML elements.
fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
