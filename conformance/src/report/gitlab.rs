//! GitLab's Code Quality report: one issue for each record that is not as it should be.
//!
//! An issue is of severity `critical` or `major` exactly where the exit status is red (see
//! `outline`), by whether it is of a MUST; one that does not count is `minor`, an open question that
//! does not count is `info`. What the suite could not judge is a `blocker`.
//! Source: <https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>.

use serde::Serialize;

use crate::event::{Record, Report, Run, Verdict};
use crate::report::outline::{self, Light};
use crate::report::{json, matrix, text};
use crate::requirement::Level;

/// One issue, in GitLab's words.
#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    /// The same for the same finding of the same image, whenever it was made.
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

/// A file of the repository; an image is none, and is named as the user did.
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
    }
    if let Some(why) = outline::report_unjudged(&report) {
        let name = report.tool.name.clone();
        issues.push(Issue {
            description: why.to_owned(),
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

/// How severe a record is, and why; nothing where it passed or does not apply.
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
