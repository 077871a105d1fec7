//! The JUnit report: one suite per run, one case per check.
//!
//! A case is red exactly where the exit status is (see `outline`): a failure is a `failure`; an
//! error, or a binding check that is inconclusive, is an `error`; any other record that did not pass
//! is `skipped`, with its reason. A run that could not be judged at all has one more case, with an
//! `error`, since servers count cases.
//!
//! The class of a case is its run and its family, so that no two cases of several images, platforms
//! or repeats have one name. The type of a failure is its level, MUST or SHOULD.
//!
//! The report is valid by the strictest schema, that of Jenkins' xUnit plugin (junit-10.xsd): a
//! case has no properties, and the root has neither a time stamp nor a count of skipped cases.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use crate::event::{Record, Report, Run};
use crate::report::outline::{self, Light};
use crate::report::{matrix, text};

/// The report as XML.
///
/// # Errors
/// When the XML cannot be written.
pub fn render(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let report = text::legible(report);
    let mut xml = quick_junit::Report::new(report.tool.name.as_str());
    xml.set_time(Duration::from_micros(
        report.runs.iter().map(|run| run.duration_us).sum(),
    ));
    for (name, run) in matrix::names(&report.runs).iter().zip(&report.runs) {
        xml.add_test_suite(suite(name, run, &report));
    }
    if let Some(why) = outline::report_unjudged(&report) {
        let mut suite = TestSuite::new(report.tool.name.as_str());
        suite.add_test_case(not_judged(&report.tool.name, &why));
        xml.add_test_suite(suite);
    }
    let text = xml.to_string()?;
    // The first match is the root's attribute: it is the first element, and quotation marks in its
    // name are escaped.
    Ok(text.replacen(&format!(" skipped=\"{}\"", xml.skipped), "", 1))
}

fn suite(name: &str, run: &Run, report: &Report) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.set_time(Duration::from_micros(run.duration_us));
    if let Some(started) = started(&report.started) {
        suite.extra.insert("timestamp".into(), started.into());
    }
    if !report.host.name.is_empty() {
        let host = report.host.name.as_str();
        suite.extra.insert("hostname".into(), host.into());
    }
    let part = run.part.as_ref().map(ToString::to_string);
    let unjudged = outline::unjudged_musts(run);
    let conclusion = run.conclusion.words(run.part.as_ref());
    let properties = [
        ("image", Some(run.image.as_str())),
        ("digest", run.digest.as_deref()),
        ("platform", Some(run.platform.as_str())),
        ("runtime", Some(run.runtime.as_str())),
        ("emulator", run.emulator.as_deref()),
        ("wasi-engine", run.wasi_engine.as_deref()),
        ("profile", run.profile.as_deref()),
        ("checks", part.as_deref()),
        ("unjudged-must", unjudged.as_deref()),
        ("conclusion", Some(conclusion.as_str())),
        ("started", Some(report.started.as_str())),
        ("tool", Some(report.tool.version.as_str())),
        ("spec", Some(report.spec_version.as_str())),
        ("kernel", Some(report.host.kernel.as_str())),
    ];
    for (name, value) in properties {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            suite.add_property(Property::new(name, value));
        }
    }
    let facts = run.engine_facts.iter().map(|line| ("engine", line));
    for (name, line) in facts.chain(run.root_lacks.iter().map(|line| ("root", line))) {
        suite.add_property(Property::new(name, line.as_str()));
    }
    for (label, value) in outline::comparison(run) {
        let name = match label {
            "baseline" => label.to_owned(),
            _ => format!("baseline.{label}"),
        };
        suite.add_property(Property::new(name, value));
    }
    for (name, measurement) in &run.measurements {
        suite.add_property(Property::new(
            format!("measured.{name}"),
            outline::measured(run, name, measurement),
        ));
    }
    let cases = run.checks.iter();
    suite.add_test_cases(cases.map(|record| case(name, record, report.strict)));
    if let Some(why) = outline::unjudged(run, report.strict) {
        suite.add_test_case(not_judged(name, &why));
    }
    suite
}

/// Whole seconds without a zone, as the schema of Ant wants them.
fn started(time: &str) -> Option<String> {
    let (day, time) = time.split_once('T')?;
    Some(format!("{day}T{}", time.get(..8)?))
}

fn case(run: &str, record: &Record, strict: bool) -> TestCase {
    let mut status = match outline::light(record, strict) {
        Light::Passed => TestCaseStatus::success(),
        Light::Red { kind, message } => {
            let mut status = TestCaseStatus::non_success(match kind {
                "failure" | "unexpected-pass" => NonSuccessKind::Failure,
                _ => NonSuccessKind::Error,
            });
            let level = record.level.to_string();
            let kind = if kind == "failure" { &level } else { kind };
            status.set_message(message).set_type(kind);
            status
        }
        Light::Excused(message) | Light::Undecided(message) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(message);
            status
        }
    };
    if !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_description(outline::in_lines(&record.title, record));
    }
    let mut case = TestCase::new(record.id.as_str(), status);
    let (family, _) = record.id.split_once('/').unwrap_or((&record.id, ""));
    case.set_classname(format!("{run}.{family}"));
    case.set_time(Duration::from_micros(record.duration_us));
    let seen: Vec<_> = record
        .observed
        .iter()
        .chain(&record.evidence)
        .map(String::as_str)
        .collect();
    if !seen.is_empty() {
        case.set_system_out(seen.join("\n"));
    }
    case
}

/// A red case, for a run or a report that could not be judged.
fn not_judged(run: &str, why: &str) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(why).set_type("not-judged");
    let mut case = TestCase::new("judged", status);
    case.set_classname(format!("{run}.run"));
    case
}
