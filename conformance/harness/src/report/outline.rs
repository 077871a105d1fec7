//! What all formats state of a record, and the verdict for formats that know only passed, failed
//! and skipped.
//!
//! In such a format (JUnit, TAP) a record is red exactly where the exit status is. An inconclusive
//! MUST is red (exit status 3). A failed SHOULD without `--strict`, a known failure and an
//! inconclusive SHOULD are shown as skipped or as to-do, with their verdict in the message.

use std::collections::BTreeMap;

use crate::event::{Conclusion, Measurement, Record, Report, Run, Verdict, Want};
use crate::report::text;
use crate::requirement::Level;

/// A record in three colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Light {
    /// It passed.
    Passed,
    /// It keeps the run from being conformant.
    Red {
        /// `failure`, `unexpected-pass`, `inconclusive` or `error`.
        kind: &'static str,
        /// One line.
        message: String,
    },
    /// It failed, but does not count, for this reason.
    Excused(String),
    /// It decided nothing, for this reason.
    Undecided(String),
}

/// The runtime, emulator and WASI runtime of a run, for one cell of a table.
pub fn engines(run: &Run) -> String {
    let emulator = run.emulator.iter().cloned();
    let wasi = run.wasi_engine.iter().map(|it| format!("WASI host {it}"));
    let all = std::iter::once(run.runtime.clone())
        .chain(emulator)
        .chain(wasi);
    all.collect::<Vec<_>>().join(", ")
}

/// The colour of a record.
pub fn light(record: &Record, strict: bool) -> Light {
    let reason = || {
        let reason = record.reason.as_deref().unwrap_or("no reason given");
        let known = record.expected_failure.as_ref();
        // There is no verdict, so the expectation was neither met nor missed: only mention it.
        known.map_or_else(
            || reason.to_owned(),
            |known| format!("{reason} (known failure: {known})"),
        )
    };
    let observed = || {
        record
            .observed
            .clone()
            .unwrap_or_else(|| record.requirement.clone())
    };
    let known = record.expected_failure.as_ref();
    let red = record.is_red(strict);
    match record.verdict {
        Verdict::Pass => match known {
            Some(known) => Light::Red {
                kind: "unexpected-pass",
                message: format!("expected to fail but passed: {known}"),
            },
            None => Light::Passed,
        },
        Verdict::Fail if red => Light::Red {
            kind: "failure",
            message: observed(),
        },
        Verdict::Fail => Light::Excused(match known {
            Some(known) => format!("known failure: {known}"),
            None => format!("{} does not hold: {}", record.level, observed()),
        }),
        Verdict::Inconclusive if red => Light::Red {
            kind: "inconclusive",
            message: format!("inconclusive: {}", reason()),
        },
        Verdict::Inconclusive => Light::Undecided(format!("inconclusive: {}", reason())),
        Verdict::Error => Light::Red {
            kind: "error",
            message: reason(),
        },
        Verdict::Skipped if red => Light::Red {
            kind: "inconclusive",
            message: format!("not judged here: {}", reason()),
        },
        Verdict::Skipped => Light::Undecided(reason()),
    }
}

/// What was judged in a run, and what ran it: a label and a value each.
pub fn head(run: &Run) -> impl Iterator<Item = (&'static str, &str)> {
    let lines = [
        ("digest", run.digest.as_deref()),
        ("platform", Some(run.platform.as_str())),
        ("runtime", Some(run.runtime.as_str())),
        ("emulator", run.emulator.as_deref()),
        ("WASI host", run.wasi_engine.as_deref()),
    ];
    let known = lines
        .into_iter()
        .filter_map(|(label, value)| Some((label, value?)));
    known.filter(|(_, value)| !value.is_empty())
}

/// Which MUSTs this host could not judge, counted: `3 MUST (2 skipped, 1 inconclusive)`; `None`
/// where there is none.
pub fn unjudged_musts(run: &Run) -> Option<String> {
    let count = |verdict| {
        let is = |record: &&Record| {
            record.level == Level::Must && record.is_unjudged() && record.verdict == verdict
        };
        run.checks.iter().filter(is).count()
    };
    let counts = [
        (count(Verdict::Skipped), "skipped"),
        (count(Verdict::Inconclusive), "inconclusive"),
    ];
    let all: usize = counts.iter().map(|(count, _)| count).sum();
    let parts = counts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    (all > 0).then(|| format!("{all} MUST ({})", parts.join(", ")))
}

/// How many names a line has at most.
const NAMES: usize = 8;

/// Why the conclusion of a run is not that it is conformant: the checks, and the options without
/// which they would not count. `None` where it is, or where a reason of the run as a whole is told
/// by [`unjudged`].
pub fn why(run: &Run, strict: bool) -> Option<String> {
    let mut causes: Vec<(&str, Vec<&str>)> = Vec::new();
    let decides = |record: &&Record| {
        let effect = record.effect(strict);
        effect == Some(run.conclusion) && effect != Some(Conclusion::Conformant)
    };
    for record in run.checks.iter().filter(decides) {
        let option = option(record);
        match causes.iter_mut().find(|(known, _)| *known == option) {
            Some((_, ids)) => ids.push(&record.id),
            None => causes.push((option, vec![&record.id])),
        }
    }
    let causes = causes.iter().map(|(option, ids)| {
        let more = match ids.len().saturating_sub(NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let ids = ids.iter().take(NAMES).copied().collect::<Vec<_>>();
        let option = match *option {
            "" => String::new(),
            option => format!(" ({option})"),
        };
        format!("{}{more}{option}", ids.join(", "))
    });
    let causes: Vec<_> = causes.collect();
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// The same for the report: each run that has its conclusion, by its label, and why.
pub fn report_why(report: &Report, labels: &[String]) -> Option<String> {
    /// More are told by how many they are.
    const RUNS: usize = 3;
    let runs = labels.iter().zip(&report.runs);
    let runs = runs.filter(|(_, run)| run.conclusion == report.conclusion);
    let whys: Vec<_> = runs
        .filter_map(|(label, run)| {
            let why = why(run, report.strict).or_else(|| unjudged(run, report.strict))?;
            Some(format!("{label}: {why}"))
        })
        .collect();
    let more = match whys.len().saturating_sub(RUNS) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let first: Vec<_> = whys.iter().take(RUNS).map(String::as_str).collect();
    (!first.is_empty()).then(|| format!("{}{more}", first.join("; ")))
}

/// The option without which a record would not count; empty where it counts anyway.
fn option(record: &Record) -> &'static str {
    match record.verdict {
        Verdict::Pass => "--expect names it, and it passes",
        Verdict::Skipped => "--require-all",
        Verdict::Error => "an error of the suite",
        Verdict::Fail | Verdict::Inconclusive if record.level == Level::Must => "",
        Verdict::Fail if record.is_worse() => "--baseline",
        Verdict::Fail | Verdict::Inconclusive => "--strict",
    }
}

/// The word for how a record ended and what that weighs, as all reports for people say it.
pub fn word(record: &Record, strict: bool) -> &'static str {
    let known = record.expected_failure.is_some();
    match record.verdict {
        Verdict::Pass if known => "STALE",
        Verdict::Pass => "PASS",
        Verdict::Fail if known => "KNOWN",
        Verdict::Fail if record.is_red(strict) => "FAIL",
        Verdict::Fail => "WARN",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Skipped if record.required => "UNJUDGED",
        Verdict::Skipped => "SKIPPED",
        Verdict::Error => "ERROR",
    }
}

/// A first line, and the details of a record below it, a line each.
pub fn in_lines(first: &str, record: &Record) -> String {
    let details = details(record).into_iter();
    let details = details.map(|(label, value)| format!("{label:<11} {value}"));
    let lines: Vec<_> = std::iter::once(first.to_owned()).chain(details).collect();
    lines.join("\n")
}

/// Remarks on a run as a whole, a label and a line each; [`comparison`] is the last of them.
pub fn remarks(run: &Run) -> Vec<(&'static str, String)> {
    let profile = run.profile.iter().map(|it| ("profile", it.clone()));
    let part = run.part.iter().map(|part| ("checks", part.to_string()));
    let unjudged = unjudged_musts(run).map(|musts| ("not judged", format!("{musts} on this host")));
    let lacks = run.root_lacks.iter().map(|line| ("root", line.clone()));
    let facts = run.engine_facts.iter();
    let facts = facts.map(|line| ("engine", line.clone()));
    let all = profile.chain(part).chain(unjudged).chain(facts);
    let all = all.chain(lacks);
    all.chain(comparison(run)).collect()
}

/// The baseline of a run and how it compares, a label and a line each; empty without a baseline.
pub fn comparison(run: &Run) -> Vec<(&'static str, String)> {
    let Some(baseline) = &run.baseline else {
        return Vec::new();
    };
    let named = match &baseline.digest {
        Some(digest) => format!("{} {digest}", baseline.image),
        None => baseline.image.clone(),
    };
    let mut lines = vec![("baseline", named)];
    if let Some(error) = &baseline.error {
        lines.push(("open", format!("nothing is compared: {error}")));
        return lines;
    }
    let ids = |is: fn(&Record) -> bool| {
        let ids = run.checks.iter().filter(|record| is(record));
        ids.map(|record| record.id.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (worse, better) = (ids(Record::is_worse), ids(Record::is_better));
    if worse.is_empty() && better.is_empty() {
        let alike = "every check that passes on the baseline passes here";
        lines.push(("alike", alike.to_owned()));
    }
    for (label, ids) in [("worse", worse), ("better", better)] {
        if !ids.is_empty() {
            lines.push((label, ids));
        }
    }
    lines
}

/// A measurement of a run on one line, with the baseline's if there is one, with what is good, and
/// with what known pauses have.
pub fn measured(run: &Run, name: &str, measurement: &Measurement) -> String {
    let there = run.baseline.as_ref();
    let there = there.and_then(|it| it.measurements.get(name));
    let figures = text::measurement_beside(name, measurement, there);
    let quantity = |it: f64| text::quantity(it, &measurement.unit);
    let good = measurement
        .good
        .map(|good| format!("good: at most {}", quantity(good)));
    let known = measurement.known.iter();
    let known: Vec<_> = known
        .map(|(name, it)| format!("{name} {}", quantity(*it)))
        .collect();
    let known = (!known.is_empty()).then(|| format!("known: {}", known.join(", ")));
    let remarks: Vec<_> = good.into_iter().chain(known).collect();
    if remarks.is_empty() {
        return figures;
    }
    format!("{figures}  ({})", remarks.join("; "))
}

/// The reason why a run could not be judged, if no red record shows it.
pub fn unjudged(run: &Run, strict: bool) -> Option<String> {
    if let Some(error) = &run.error {
        Some(error.clone())
    } else if run.interrupted {
        Some("interrupted: this is a part of the run".to_owned())
    } else if let (Some(why), Conclusion::NotJudged) = (&run.not_run, run.conclusion) {
        Some(format!("its program was not run: {why}"))
    } else if run.companion {
        None
    } else if run
        .checks
        .iter()
        .all(|record| record.effect(strict).is_none())
    {
        Some("nothing ran".to_owned())
    } else {
        None
    }
}

/// The reason why the report could not be judged, if no run shows it.
pub fn report_unjudged(report: &Report) -> Option<String> {
    if let Some(error) = &report.error {
        Some(error.clone())
    } else if report.interrupted {
        Some("interrupted: this report is partial".to_owned())
    } else if report.runs.is_empty() {
        Some("nothing ran".to_owned())
    } else {
        None
    }
}

/// The skipped ids that do not count by reason, in the order of each reason's first record. A family that was skipped
/// as a whole for one reason is one entry: `signals/* (17)`.
pub fn skipped(run: &Run) -> Vec<(&str, Vec<String>)> {
    by_reason(run, |record| {
        record.verdict == Verdict::Skipped && !record.required
    })
}

/// The same for people: how many are not for a subject of this kind, and the others by reason; all of
/// them by reason if that is asked for.
pub fn skipped_here(run: &Run, all: bool) -> (u64, Vec<(&str, Vec<String>)>) {
    let of_kind = |record: &Record| {
        let other = record.verdict == Verdict::Skipped && !record.required;
        other && record.skipped_for == Some(Want::Subject) && record.expected_failure.is_none()
    };
    if all {
        return (0, skipped(run));
    }
    let kind = run.checks.iter().filter(|record| of_kind(record)).count();
    let reasons = by_reason(run, |record| {
        record.verdict == Verdict::Skipped && !record.required && !of_kind(record)
    });
    (u64::try_from(kind).unwrap_or(u64::MAX), reasons)
}

/// The same for inconclusive records, if many share a reason.
pub fn many_inconclusive(run: &Run) -> Vec<(&str, Vec<String>)> {
    by_reason(run, |record| is_one_of_many(run, record))
}

/// Whether a record is inconclusive, or counts as that, for a reason that many others share.
pub fn is_one_of_many(run: &Run, record: &Record) -> bool {
    /// Fewer are shown separately.
    const MANY: usize = 4;
    let open = |record: &Record| record.verdict == Verdict::Inconclusive || record.required;
    let alike = |other: &&Record| open(other) && other.reason == record.reason;
    open(record) && run.checks.iter().filter(alike).count() >= MANY
}

fn by_reason(run: &Run, counts: impl Fn(&Record) -> bool) -> Vec<(&str, Vec<String>)> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    let mut places = BTreeMap::new();
    for record in run.checks.iter().filter(|record| counts(record)) {
        let reason = record.reason.as_deref().unwrap_or("no reason given");
        let place = *places.entry(reason).or_insert_with(|| {
            reasons.push((reason, Vec::new()));
            reasons.len() - 1
        });
        let known = if record.expected_failure.is_some() {
            " (known failure)"
        } else {
            ""
        };
        reasons[place].1.push(format!("{}{known}", record.id));
    }
    for (_, ids) in &mut reasons {
        fold_families(run, ids);
    }
    reasons
}

/// Replaces the ids of a family by `family/*` if all checks that the run has of it are among them.
fn fold_families(run: &Run, ids: &mut Vec<String>) {
    /// Fewer names are as short.
    const WORTH_FOLDING: usize = 3;
    fn family(id: &str) -> &str {
        id.split('/').next().unwrap_or_default()
    }
    let mut count = BTreeMap::<&str, usize>::new();
    for record in &run.checks {
        *count.entry(family(&record.id)).or_default() += 1;
    }
    // An entry with a remark after the id is kept.
    let plain = |id: &String| !id.contains(' ');
    let mut folded = Vec::new();
    for id in &*ids {
        let name = family(id);
        let whole = count.get(name).copied().unwrap_or_default();
        let here = || {
            ids.iter()
                .filter(|id| plain(id) && family(id) == name)
                .count()
        };
        if whole < WORTH_FOLDING || here() < whole {
            folded.push(id.clone());
        } else {
            let entry = format!("{name}/* ({whole})");
            if !folded.contains(&entry) {
                folded.push(entry);
            }
        }
    }
    *ids = folded;
}

/// All that is known of a record besides its id and title, a label and a line each. An empty label
/// continues the line before.
pub fn details(record: &Record) -> Vec<(&'static str, String)> {
    let mut all = vec![
        (
            "requirement",
            format!("{}: {}", record.level, record.requirement),
        ),
        ("source", format!("{} {}", record.source, record.source_url)),
    ];
    let fields = [
        ("expected", &record.expected),
        ("observed", &record.observed),
        ("reason", &record.reason),
    ];
    for (label, value) in fields {
        if let Some(value) = value {
            all.push((label, value.clone()));
        }
    }
    if let Some(declared) = record.declared_level {
        let what = format!(
            "{} by the profile, {declared} by the requirement",
            record.level
        );
        all.push(("level", what));
    }
    for (number, line) in record.evidence.iter().enumerate() {
        all.push((if number == 0 { "evidence" } else { "" }, line.clone()));
    }
    if let (Verdict::Fail, Some(there)) = (record.verdict, record.baseline) {
        let what = match there {
            Verdict::Pass if record.is_worse() => "passes there, so this failure counts",
            Verdict::Pass => "passes there",
            Verdict::Fail => "fails there as well",
            Verdict::Skipped | Verdict::Inconclusive | Verdict::Error => "has no verdict there",
        };
        all.push(("baseline", what.to_owned()));
    }
    if let Some(known) = &record.expected_failure {
        let what = match record.verdict {
            Verdict::Pass => "expected to fail but passed; remove it",
            Verdict::Fail => "fails as expected",
            Verdict::Skipped | Verdict::Inconclusive | Verdict::Error => {
                "expected to fail, but could not be judged"
            }
        };
        all.push(("known", format!("{what} ({known})")));
    }
    if let Some(command) = &record.reproduce {
        all.push(("rerun", command.clone()));
    }
    if let Some(command) = &record.explain {
        all.push(("explain", command.clone()));
    }
    all
}
