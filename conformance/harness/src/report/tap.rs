//! The TAP 14 report: one test point per check; with several runs, one subtest per run.
//!
//! A point is `not ok` without a directive exactly where the exit status is red (see `outline`). A
//! known failure, or a failed SHOULD that does not bind, is `# TODO`; a record without a decision is
//! `# SKIP`. A single run that could not be judged bails out.
//! Source: <https://testanything.org/tap-version-14-specification.html>.

use std::fmt::{self, Write};

use crate::event::{Conclusion, Record, Report, Run};
use crate::report::outline::{self, Light};
use crate::report::{matrix, text};

/// The report as TAP.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(report: &Report) -> Result<String, fmt::Error> {
    let report = text::legible(report);
    let strict = report.strict;
    let mut out = "TAP version 14\n".to_owned();
    let mut bail = outline::report_unjudged(&report);
    if let [run] = report.runs.as_slice() {
        write_head(&mut out, "", run)?;
        write_points(&mut out, "", run, strict)?;
        bail = bail.or_else(|| outline::unjudged(run, strict));
    } else {
        writeln!(out, "1..{}", report.runs.len())?;
        let names = matrix::names(&report.runs);
        for (number, (name, run)) in (1_usize..).zip(names.iter().zip(&report.runs)) {
            writeln!(out, "# Subtest: {}", comment(name))?;
            write_head(&mut out, "    ", run)?;
            write_points(&mut out, "    ", run, strict)?;
            let ok = if run.conclusion == Conclusion::Conformant {
                "ok"
            } else {
                "not ok"
            };
            let why = outline::unjudged(run, strict).map(|why| format!(" ({why})"));
            let name = description(&format!(
                "{name}: {}{}",
                run.conclusion.words(run.part.as_ref()),
                why.unwrap_or_default()
            ));
            writeln!(out, "{ok} {number} - {name}")?;
        }
    }
    if let Some(why) = bail {
        writeln!(out, "Bail out! {}", comment(&why))?;
    }
    Ok(out)
}

fn write_head(out: &mut String, indent: &str, run: &Run) -> fmt::Result {
    if !run.image.is_empty() {
        writeln!(out, "{indent}# image: {}", comment(&run.image))?;
    }
    for (label, value) in outline::head(run) {
        writeln!(out, "{indent}# {label}: {}", comment(value))?;
    }
    for (label, value) in outline::remarks(run) {
        writeln!(out, "{indent}# {label}: {}", comment(&value))?;
    }
    Ok(())
}

fn write_points(out: &mut String, indent: &str, run: &Run, strict: bool) -> fmt::Result {
    match run.checks.len() {
        0 => writeln!(out, "{indent}1..0 # SKIP nothing ran")?,
        count => writeln!(out, "{indent}1..{count}")?,
    }
    for (number, record) in (1_usize..).zip(&run.checks) {
        let name = description(&format!("{}: {}", record.id, record.title));
        let (ok, directive) = match outline::light(record, strict) {
            Light::Passed => ("ok", String::new()),
            Light::Red { .. } => ("not ok", String::new()),
            Light::Excused(why) => ("not ok", format!(" # TODO {}", description(&why))),
            Light::Undecided(why) => ("ok", format!(" # SKIP {}", description(&why))),
        };
        writeln!(out, "{indent}{ok} {number} - {name}{directive}")?;
        if ok == "not ok" {
            write_diagnostics(out, &format!("{indent}  "), record)?;
        }
    }
    Ok(())
}

/// A YAML block; every value is a double-quoted string.
fn write_diagnostics(out: &mut String, indent: &str, record: &Record) -> fmt::Result {
    writeln!(out, "{indent}---")?;
    writeln!(out, "{indent}verdict: {}", quoted(record.verdict.as_str()))?;
    writeln!(out, "{indent}level: {}", quoted(&record.level.to_string()))?;
    for (label, value) in outline::details(record) {
        match label {
            "evidence" => {
                writeln!(out, "{indent}evidence:")?;
                writeln!(out, "{indent}  - {}", item(&value))?;
            }
            "" => writeln!(out, "{indent}  - {}", item(&value))?,
            _ => writeln!(out, "{indent}{label}: {}", quoted(&value))?,
        }
    }
    writeln!(out, "{indent}...")
}

/// The text is legible already, so only these two characters need an escape.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Perl's reader takes a string that begins like `stderr: ` for a mapping, although it is quoted,
/// and then gives up the whole stream. So that colon is escaped.
fn item(text: &str) -> String {
    let quoted = quoted(text);
    let end = quoted.find(char::is_whitespace).unwrap_or(quoted.len());
    let (word, rest) = quoted.split_at(end);
    if let Some(word) = word.strip_suffix(':') {
        format!("{word}\\x3a{rest}")
    } else if let Some(after) = rest.trim_start().strip_prefix(':') {
        let space = &rest[..rest.len() - after.len() - 1];
        format!("{word}{space}\\x3a{after}")
    } else {
        quoted
    }
}

/// In a description `#` would begin a directive.
fn description(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#")
}

/// A comment has no syntax, but some readers take words in it for a directive.
fn comment(text: &str) -> String {
    text.replace('#', "\\#")
}
