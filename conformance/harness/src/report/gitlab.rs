//! GitLab's Code Quality report: one issue for each record that needs attention.
//!
//! Exactly where the exit status is red (see `outline`), an issue has the severity `blocker` for
//! what could not be judged, `critical` for a MUST, and else `major`. A failure that does not count
//! is `minor`, an inconclusive record that does not count is `info`, and so is that a run is of a part
//! of the checks.

use serde::Serialize;

use crate::event::{Record, Report, Run, Verdict};
use crate::report::outline::{self, Light};
use crate::report::{json, matrix, text};
use crate::requirement::Level;

/// One issue, in GitLab's format.
#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    /// Identifies a finding: it is the same in each report on the same image.
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

/// A file of the repository. An image is not a file, so this is the image's name as the user gave
/// it.
#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// The report as JSON.
///
/// # Errors
/// When a value cannot be serialised.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let report = text::legible(report);
    let mut issues = Vec::new();
    for (name, run) in matrix::names(&report.runs).iter().zip(&report.runs) {
        let found = run.checks.iter().filter_map(|record| {
            let (severity, message) = severity(record, report.strict)?;
            let words = format!("{}: {message} ({name})", record.title);
            Some(issue(run, name, &record.id, severity, words))
        });
        issues.extend(found);
        if let Some(why) = outline::unjudged(run, report.strict) {
            issues.push(issue(run, name, "run/judged", "blocker", why));
        }
        if run.part.is_some() {
            let words = format!("{} ({name})", run.conclusion.words(run.part.as_ref()));
            issues.push(issue(run, name, "run/part", "info", words));
        }
    }
    if let Some(why) = outline::report_unjudged(&report) {
        let name = report.tool.name.clone();
        issues.push(Issue {
            description: why,
            check_name: "run/judged".to_owned(),
            fingerprint: format!("run/judged {name}"),
            severity: "blocker",
            location: Location {
                path: name,
                lines: Lines { begin: 1 },
            },
        });
    }
    json::pretty(&issues)
}

/// The severity of a record and its reason; `None` if it passed or does not apply.
fn severity(record: &Record, strict: bool) -> Option<(&'static str, String)> {
    let must = record.level == Level::Must;
    Some(match outline::light(record, strict) {
        Light::Red {
            kind: "error",
            message,
        } => ("blocker", message),
        Light::Red { message, .. } if must => ("critical", message),
        Light::Red { message, .. } => ("major", message),
        Light::Excused(message) => ("minor", message),
        Light::Undecided(message) if record.verdict == Verdict::Inconclusive => ("info", message),
        Light::Passed | Light::Undecided(_) => return None,
    })
}

fn issue(run: &Run, name: &str, check: &str, severity: &'static str, description: String) -> Issue {
    Issue {
        description,
        check_name: check.to_owned(),
        fingerprint: format!("{check} {} {name}", run.image),
        severity,
        location: Location {
            path: run.image.clone(),
            lines: Lines { begin: 1 },
        },
    }
}
