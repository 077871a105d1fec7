//! Workflow commands of GitHub Actions: one annotation for each record that needs attention.
//!
//! An annotation is an error exactly where the exit status is red (see `outline`). A failure or an
//! inconclusive record that does not count is a warning. GitHub shows the first ten of each kind in
//! a step, so those of MUSTs come first. The last line is the conclusion.
//! Source: <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use std::fmt::{self, Write};

use crate::event::{Conclusion, Record, Report, Verdict};
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
            let must = record.level == Level::Must;
            let title = format!("{} ({name})", record.id);
            match outline::light(record, report.strict) {
                Light::Red { message, .. } => {
                    errors.push((!must, title, in_lines(record, &message)));
                }
                Light::Excused(message) => {
                    warnings.push((!must, title, in_lines(record, &message)));
                }
                Light::Undecided(message) if record.verdict == Verdict::Inconclusive => {
                    warnings.push((!must, title, in_lines(record, &message)));
                }
                Light::Passed | Light::Undecided(_) => {}
            }
        }
        if let Some(why) = outline::unjudged(run, report.strict) {
            errors.push((false, name.clone(), why));
        }
    }
    let unjudged = outline::report_unjudged(&report);
    errors.extend(unjudged.map(|why| (false, report.tool.name.clone(), why.to_owned())));

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
    let words = report.conclusion.words(report.static_only);
    write_command(&mut out, last, &report.tool.name, words)?;
    Ok(out)
}

fn in_lines(record: &Record, message: &str) -> String {
    let mut lines = vec![message.to_owned()];
    for (label, value) in outline::details(record) {
        lines.push(format!("{label:<11} {value}").trim_end().to_owned());
    }
    lines.join("\n")
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
