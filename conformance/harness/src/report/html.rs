//! The HTML report: a self-contained file for a browser or a CI artifact.
//!
//! It has no script and no font, and links only to the sources of the requirements. Pictures are in
//! it. A content security policy forbids the rest, whatever names an image has. The browser chooses the light or
//! the dark style.

use std::fmt::{self, Display, Write};

use crate::event::{Comparison, Conclusion, Record, Report, Run, Verdict};
use crate::report::compare::{self, Ranked};
use crate::report::matrix::{self, Matrix};
use crate::report::outline::{self, Light};
use crate::report::text;

mod chart;

const STYLE: &str = include_str!("html/style.css");

/// The report as HTML.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(report: &Report) -> Result<String, fmt::Error> {
    let report = text::legible(report);
    let mut out = String::new();
    let conclusion = report.conclusion.words(report.part.as_ref());
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Pause image: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        Text(&conclusion)
    )?;
    let class = class(report.conclusion);
    writeln!(
        out,
        "<h1 class=\"{class}\">Pause image: {}</h1>",
        Text(&conclusion)
    )?;
    if let Some(why) = outline::report_unjudged(&report) {
        writeln!(out, "<p class=\"bad\">{}</p>", Text(&why))?;
    }
    if !report.runs.is_empty() {
        write_runs(&mut out, &report.runs)?;
    }
    if let Some(matrix) = Matrix::of(&report) {
        write_choice(&mut out, &matrix, &report)?;
    }
    let names = matrix::names(&report.runs);
    for (of, (name, run)) in names.iter().zip(&report.runs).enumerate() {
        write_run(&mut out, of, name, run, report.strict)?;
    }
    write_footer(&mut out, &report)?;
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

/// Text for an element or an attribute, with all special characters escaped.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn class(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Conformant => "good",
        Conclusion::NotConformant | Conclusion::NotJudged => "bad",
        Conclusion::Inconclusive => "open",
    }
}

fn write_runs(out: &mut String, runs: &[Run]) -> fmt::Result {
    out.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th>image<th>verdict<th>platform<th>runtime\
         <th>passed<th>failed<th>inconclusive<th>error<th>skipped<th>time</tr></thead>\n<tbody>\n",
    );
    for run in runs {
        let tally = &run.tally;
        let class = class(run.conclusion);
        let conclusion = run.conclusion.words(run.part.as_ref());
        write!(
            out,
            "<tr><td>{}<td class=\"{class}\">{}<td>{}<td>{}",
            Text(&run.image),
            Text(&conclusion),
            Text(&run.platform),
            Text(&outline::engines(run))
        )?;
        let counts = [
            tally.pass,
            tally.fail,
            tally.inconclusive,
            tally.error,
            tally.skipped,
        ];
        for count in counts {
            write!(out, "<td class=\"number\">{count}")?;
        }
        let time = text::duration(run.duration_us);
        writeln!(out, "<td class=\"number\">{}</tr>", Text(&time))?;
    }
    out.push_str("</tbody>\n</table></div>\n");
    Ok(())
}

/// Which image comes first, the checks that differ, figures and pictures of them.
fn write_choice(out: &mut String, matrix: &Matrix<'_>, report: &Report) -> fmt::Result {
    let comparison = compare::shown(report);
    out.push_str("<section class=\"compared\">\n<h2>Compared</h2>\n");
    let ranking = compare::ranking(&comparison, matrix);
    if !ranking.is_empty() {
        out.push_str("<ol>\n");
        for Ranked { place, column, why } in &ranking {
            let label = Text(&matrix.columns[*column]);
            writeln!(
                out,
                "<li value=\"{place}\"><b>[{}] {label}</b>: {}",
                column + 1,
                Text(why)
            )?;
        }
        out.push_str("</ol>\n");
    }
    let differing = compare::differing(matrix, report.strict);
    if !differing.is_empty() {
        write_matrix(out, matrix, &differing, report.strict)?;
    }
    chart::write(out, &comparison, matrix)?;
    write_figures(out, matrix, &comparison)?;
    out.push_str("<details><summary>Checks by run</summary>\n");
    let all: Vec<_> = matrix.rows.iter().collect();
    write_matrix(out, matrix, &all, report.strict)?;
    out.push_str("</details>\n</section>\n");
    Ok(())
}

fn write_columns(out: &mut String, first: &str, matrix: &Matrix<'_>) -> fmt::Result {
    write!(out, "<div class=\"wide\"><table>\n<thead><tr><th>{first}")?;
    for (column, label) in matrix.columns.iter().enumerate() {
        write!(out, "<th>[{}] {}", column + 1, Text(label))?;
    }
    Ok(())
}

fn write_figures(out: &mut String, matrix: &Matrix<'_>, comparison: &Comparison) -> fmt::Result {
    let figures = compare::figures(comparison, matrix);
    if figures.is_empty() {
        return Ok(());
    }
    out.push_str("<details><summary>Figures by run</summary>\n");
    write_columns(out, "figure", matrix)?;
    out.push_str("<th></tr></thead>\n<tbody>\n");
    for row in figures {
        write!(out, "<tr><td>{}", Text(&row.name))?;
        for cell in &row.cells {
            write!(out, "<td>{}", Text(cell))?;
        }
        writeln!(out, "<td class=\"dim\">{}</tr>", Text(&row.remark))?;
    }
    out.push_str("</tbody>\n</table></div>\n</details>\n");
    Ok(())
}

fn write_matrix(
    out: &mut String,
    matrix: &Matrix<'_>,
    rows: &[&matrix::Row<'_>],
    strict: bool,
) -> fmt::Result {
    write_columns(out, "check", matrix)?;
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        write!(out, "<tr><td>{}", Text(row.id))?;
        for cell in &row.cells {
            let word = matrix::word(*cell, strict);
            let class = match word {
                "pass" => "good",
                "FAIL" | "ERROR" | "stale" => "bad",
                "WARN" | "?" => "open",
                _ => "dim",
            };
            write!(out, "<td class=\"{class}\">{word}")?;
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n<p class=\"dim\">");
    let legend = matrix::WORDS.map(|(word, meaning)| format!("{word}: {meaning}"));
    writeln!(out, "{}</p>", Text(&legend.join("; ")))
}

fn write_run(out: &mut String, of: usize, name: &str, run: &Run, strict: bool) -> fmt::Result {
    writeln!(out, "<section>\n<h2>{}</h2>", Text(name))?;
    if let Some(digest) = &run.digest {
        writeln!(out, "<p class=\"dim\">{}</p>", Text(digest))?;
    }
    let remarks = outline::remarks(run);
    if !remarks.is_empty() {
        out.push_str("<dl>\n");
        for (label, value) in remarks {
            writeln!(out, "<dt>{label}<dd>{}", Text(&value))?;
        }
        out.push_str("</dl>\n");
    }
    if let Some(why) = outline::unjudged(run, strict) {
        writeln!(
            out,
            "<p class=\"bad\">could not be judged: {}</p>",
            Text(&why)
        )?;
    }
    // The red ones first, unfolded.
    for red in [true, false] {
        let records = run.checks.iter();
        for record in records.filter(|record| record.is_red(strict) == red) {
            match outline::light(record, strict) {
                Light::Red { .. } => write_record(out, "bad", true, (of, strict), record)?,
                Light::Excused(_) => write_record(out, "open", false, (of, strict), record)?,
                Light::Undecided(_) if record.verdict == Verdict::Inconclusive => {
                    write_record(out, "open", false, (of, strict), record)?;
                }
                Light::Passed | Light::Undecided(_) => {}
            }
        }
    }
    write_skipped(out, of, run)?;
    write_passed(out, of, run)?;
    write_measurements(out, run)?;
    out.push_str("</section>\n");
    Ok(())
}

fn write_record(
    out: &mut String,
    class: &str,
    open: bool,
    (of, strict): (usize, bool),
    record: &Record,
) -> fmt::Result {
    writeln!(
        out,
        "<details class=\"record {class}\" id=\"{}\"{}><summary><b class=\"{class}\">{}</b> {} {} <code>{}</code></summary>\n<dl>",
        Text(&anchor(of, &record.id)),
        if open { " open" } else { "" },
        outline::word(record, strict),
        record.level,
        Text(&record.title),
        Text(&record.id),
    )?;
    for (label, value) in outline::details(record) {
        match label {
            "evidence" | "" => {}
            "source" => writeln!(out, "<dt>source<dd>{}", Source(record))?,
            "rerun" | "explain" => writeln!(out, "<dt>{label}<dd><code>{}</code>", Text(&value))?,
            _ => writeln!(out, "<dt>{label}<dd>{}", Text(&value))?,
        }
    }
    out.push_str("</dl>\n");
    if !record.evidence.is_empty() {
        write!(out, "<pre>{}", Text(&record.evidence.join("\n")))?;
        out.push_str("</pre>\n");
    }
    out.push_str("</details>\n");
    Ok(())
}

/// A source, as a link if its address is of http or https.
struct Source<'a>(&'a Record);

impl Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, url) = (Text(&self.0.source), &self.0.source_url);
        if url.starts_with("https://") || url.starts_with("http://") {
            write!(
                f,
                "<a href=\"{}\" rel=\"noreferrer\">{title}</a>",
                Text(url)
            )
        } else {
            write!(f, "{title} {}", Text(url))
        }
    }
}

fn write_skipped(out: &mut String, of: usize, run: &Run) -> fmt::Result {
    let reasons = outline::skipped(run);
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<details><summary>{} skipped</summary>\n<ul>",
        run.tally.skipped
    )?;
    for (reason, ids) in reasons {
        let ids = ids.join(", ");
        writeln!(out, "<li>{}: <code>{}</code>", Text(reason), Text(&ids))?;
    }
    out.push_str("</ul>\n");
    // What is folded to its family above can be linked to as well.
    let skipped = |record: &&Record| record.verdict == Verdict::Skipped && !record.required;
    for record in run.checks.iter().filter(skipped) {
        writeln!(
            out,
            "<span id=\"{}\"></span>",
            Text(&anchor(of, &record.id))
        )?;
    }
    out.push_str("</details>\n");
    Ok(())
}

fn write_passed(out: &mut String, of: usize, run: &Run) -> fmt::Result {
    let passed =
        |record: &&Record| record.verdict == Verdict::Pass && record.expected_failure.is_none();
    let passed: Vec<_> = run.checks.iter().filter(passed).collect();
    if passed.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "<details><summary>{} passed</summary>\n<ul>",
        passed.len()
    )?;
    for record in passed {
        write!(
            out,
            "<li id=\"{}\">{} <code>{}</code>",
            Text(&anchor(of, &record.id)),
            Text(&record.title),
            Text(&record.id)
        )?;
        if let Some(observed) = &record.observed {
            write!(out, " <span class=\"dim\">{}</span>", Text(observed))?;
        }
        out.push('\n');
    }
    out.push_str("</ul>\n</details>\n");
    Ok(())
}

/// The anchor of a check: its id, and before it the number of the run where there are several.
fn anchor(of: usize, id: &str) -> String {
    match of {
        0 => id.to_owned(),
        of => format!("{}/{id}", of + 1),
    }
}

fn write_measurements(out: &mut String, run: &Run) -> fmt::Result {
    if run.measurements.is_empty() {
        return Ok(());
    }
    out.push_str("<details><summary>Measurements</summary>\n<table>\n");
    for (name, measurement) in &run.measurements {
        let figures = outline::measured(run, name, measurement);
        writeln!(out, "<tr><th>{}<td>{}</tr>", Text(name), Text(&figures))?;
    }
    out.push_str("</table>\n</details>\n");
    Ok(())
}

fn write_footer(out: &mut String, report: &Report) -> fmt::Result {
    let (tool, host) = (&report.tool, &report.host);
    writeln!(
        out,
        "<footer>{} {}, requirements {}, {} {}, {}</footer>",
        Text(&tool.name),
        Text(&tool.version),
        Text(&report.spec_version),
        Text(&host.kernel),
        Text(&host.machine),
        Text(&report.started),
    )
}
