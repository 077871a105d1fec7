//! SARIF 2.1.0, for code scanning: one run per run, one rule per check, one result for each failed
//! or inconclusive record, and for each that `--require-all` makes count.
//!
//! A result is of level `error` exactly where a failure makes the exit status red (see `outline`);
//! a failure that does not count is a `warning`, a known one is suppressed. An inconclusive record
//! is of kind `open`. An error of the suite, and a run that could not be judged, are notifications
//! of an invocation that did not succeed.
//! Source: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use serde_json::{Value, json};

use crate::event::{Conclusion, Record, Report, Run, Verdict};
use crate::report::outline::{self, Light};
use crate::report::{json, matrix, text};
use crate::requirement::Level;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The report as JSON.
///
/// # Errors
/// When a value cannot be serialised.
pub fn render(report: &Report) -> serde_json::Result<String> {
    let report = text::legible(report);
    let names = matrix::names(&report.runs);
    let mut runs: Vec<Value> = names
        .iter()
        .zip(&report.runs)
        .map(|(name, run)| one(name, run, &report))
        .collect();
    if let Some(why) = outline::report_unjudged(&report) {
        runs.push(json!({
            "tool": tool(&report, &[]),
            "invocations": [invocation(false, &[why])],
            "results": [],
        }));
    }
    json::pretty(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": runs,
    }))
}

fn one(name: &str, run: &Run, report: &Report) -> Value {
    let errors = run.checks.iter().filter(|it| it.verdict == Verdict::Error);
    let reason = |record: &Record| record.reason.clone().unwrap_or_default();
    let mut notes: Vec<_> = errors
        .map(|record| format!("{}: {}", record.id, reason(record)))
        .collect();
    notes.extend(outline::unjudged(run, report.strict));
    let results: Vec<_> = run
        .checks
        .iter()
        .enumerate()
        .filter_map(|(rule, record)| result(rule, record, run, report.strict))
        .collect();
    json!({
        "tool": tool(report, &run.checks),
        "automationDetails": {"id": format!("{}/{}/", report.tool.name, encoded(name))},
        "invocations": [invocation(run.conclusion != Conclusion::NotJudged, &notes)],
        "results": results,
        "properties": {
            "image": run.image,
            "platform": run.platform,
            "runtime": run.runtime,
            "profile": run.profile,
            "checks": run.part.as_ref().map(ToString::to_string),
            "unjudgedMust": run.tally.unjudged_must,
            "conclusion": run.conclusion.words(run.part.as_ref()),
        },
    })
}

fn tool(report: &Report, checks: &[Record]) -> Value {
    let rules: Vec<_> = checks
        .iter()
        .map(|record| {
            json!({
                "id": record.id,
                "shortDescription": {"text": record.title},
                "fullDescription": {"text": record.requirement},
                "help": {"text": format!("{} Source: {}", record.requirement, record.source)},
                "helpUri": record.source_url,
                "defaultConfiguration": {"level": default_level(record.level)},
            })
        })
        .collect();
    json!({"driver": {
        "name": report.tool.name,
        "version": report.tool.version,
        "rules": rules,
    }})
}

fn default_level(level: Level) -> &'static str {
    match level {
        Level::Must => "error",
        Level::Should => "warning",
        Level::Info => "note",
    }
}

fn invocation(succeeded: bool, notes: &[String]) -> Value {
    let notes: Vec<_> = notes
        .iter()
        .map(|text| json!({"level": "error", "message": {"text": text}}))
        .collect();
    json!({"executionSuccessful": succeeded, "toolExecutionNotifications": notes})
}

/// The result of a record; `None` if it passed, does not apply or is a notification.
fn result(rule: usize, record: &Record, run: &Run, strict: bool) -> Option<Value> {
    let (kind, level, message) = match (record.verdict, outline::light(record, strict)) {
        (Verdict::Fail | Verdict::Pass, Light::Red { message, .. }) => ("fail", "error", message),
        (Verdict::Fail, Light::Excused(message)) => ("fail", "warning", message),
        // The level is `none` for any kind but `fail` (section 3.27.10).
        (Verdict::Inconclusive, Light::Red { message, .. } | Light::Undecided(message))
        | (Verdict::Skipped, Light::Red { message, .. }) => ("open", "none", message),
        _ => return None,
    };
    let mut result = json!({
        "ruleId": record.id,
        "ruleIndex": rule,
        "kind": kind,
        "level": level,
        "message": {"text": outline::in_lines(&message, record)},
        "locations": [{
            // Code scanning shows no result without a file, so the image takes its place.
            "physicalLocation": {
                "artifactLocation": {"uri": encoded(&run.image)},
                "region": {"startLine": 1},
            },
        }],
        "partialFingerprints": {
            "imagePlatformCheck/v1": format!("{} {} {}", run.image, run.platform, record.id),
        },
    });
    if let (Verdict::Fail, Some(known)) = (record.verdict, &record.expected_failure) {
        result["suppressions"] = json!([{"kind": "external", "justification": known}]);
    }
    Some(result)
}

/// A reference as a relative URI, which has no colon before its first slash (RFC 3986, section
/// 4.2).
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(uri, "%{byte:02X}");
        }
        uri
    })
}
