//! Workflow commands of GitHub Actions: one annotation for each record that needs attention.
//!
//! An annotation is an error exactly where the exit status is red (see `outline`). A failure or an
//! inconclusive record that does not count is a warning. GitHub shows the first ten of each kind in
//! a step, so those of MUSTs come first. The last line is the conclusion.
//! Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use std::fmt::{self, Write};

use crate::event::{Conclusion, Report, Verdict};
use crate::report::outline::{self, Light};
use crate::report::{matrix, text};
use crate::requirement::Level;

/// The report as workflow commands.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(report: &Report) -> Result<String, fmt::Error> {
    let report = text::legible(report);
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (name, run) in matrix::names(&report.runs).iter().zip(&report.runs) {
        for record in &run.checks {
            let (annotations, message) = match outline::light(record, report.strict) {
                Light::Red { message, .. } => (&mut errors, message),
                Light::Excused(message) => (&mut warnings, message),
                Light::Undecided(message) if record.verdict == Verdict::Inconclusive => {
                    (&mut warnings, message)
                }
                Light::Passed | Light::Undecided(_) => continue,
            };
            let title = format!("{} ({name})", record.id);
            let is_minor = record.level != Level::Must;
            annotations.push((is_minor, title, outline::in_lines(&message, record)));
        }
        if let Some(why) = outline::unjudged(run, report.strict) {
            errors.push((false, name.clone(), why));
        }
    }
    let unjudged = outline::report_unjudged(&report);
    errors.extend(unjudged.map(|why| (false, report.tool.name.clone(), why)));

    let mut out = String::new();
    for (command, mut annotations) in [("error", errors), ("warning", warnings)] {
        annotations.sort_by_key(|(is_minor, ..)| *is_minor);
        for (_, title, message) in annotations {
            write_command(&mut out, command, &title, &message)?;
        }
    }
    let last = if report.conclusion == Conclusion::Conformant {
        "notice"
    } else {
        "error"
    };
    let words = report.conclusion.words(report.part.as_ref());
    write_command(&mut out, last, &report.tool.name, &words)?;
    Ok(out)
}

fn write_command(out: &mut String, command: &str, title: &str, message: &str) -> fmt::Result {
    let message = message
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A");
    let title = title
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace(',', "%2C");
    writeln!(out, "::{command} title={title}::{message}")
}
