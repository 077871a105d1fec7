//! Escapes for text that may come from an image, and figures for people.
//!
//! [`legible`] copies a report. In the copy no string can move a cursor, hide or reorder text,
//! break a line or be illegal in XML, so each format for people only escapes its own syntax.

use std::collections::BTreeMap;

pub use pause_image::escape_text as escape;

use crate::event::{
    Baseline, Comparison, Difference, FOR_P99, Host, Measurement, Part, Record, Report, Run,
    SideBySide, Tool,
};

/// The longest line that a report for people shows, in characters.
const LONGEST: usize = 1000;

/// The text as of [`escape`], cut after a thousand characters.
pub fn line(text: &str) -> String {
    let text = escape(text);
    match text.char_indices().nth(LONGEST) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}… ({} more bytes)", &text[..end], text.len() - end),
    }
}

fn lines(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| line(text)).collect()
}

fn optional(text: Option<&String>) -> Option<String> {
    text.map(|text| line(text))
}

/// A copy of the report with every string made legible by [`line`].
pub fn legible(report: &Report) -> Report {
    // Every field is named, so that the compiler finds a new one that is missing here.
    let Report {
        schema_version,
        tool: Tool { name, version },
        spec_version,
        started,
        host,
        strict,
        static_only,
        part,
        error,
        conclusion,
        interrupted,
        runs,
        comparison,
    } = report;
    Report {
        schema_version: *schema_version,
        tool: Tool {
            name: line(name),
            version: line(version),
        },
        spec_version: line(spec_version),
        started: line(started),
        host: legible_host(host),
        strict: *strict,
        static_only: *static_only,
        part: part.as_ref().map(legible_part),
        error: optional(error.as_ref()),
        conclusion: *conclusion,
        interrupted: *interrupted,
        runs: runs.iter().map(legible_run).collect(),
        comparison: comparison.as_ref().map(legible_comparison),
    }
}

fn legible_comparison(comparison: &Comparison) -> Comparison {
    let Comparison { ranking, figures } = comparison;
    let figure = |figure: &SideBySide| {
        let SideBySide { name, runs, best } = figure;
        let legible = |it: &Option<Measurement>| it.as_ref().map(legible_measurement);
        SideBySide {
            name: line(name),
            runs: runs.iter().map(legible).collect(),
            best: best.clone(),
        }
    };
    Comparison {
        // In the suite's own words.
        ranking: ranking.clone(),
        figures: figures.iter().map(figure).collect(),
    }
}

/// The same for the host.
pub fn legible_host(host: &Host) -> Host {
    let Host {
        name,
        kernel,
        machine,
        cpus,
        root,
        cgroups,
        time_scale,
    } = host;
    Host {
        name: line(name),
        kernel: line(kernel),
        machine: line(machine),
        cpus: *cpus,
        root: *root,
        cgroups: line(cgroups),
        time_scale: *time_scale,
    }
}

/// The same for one run.
pub fn legible_run(run: &Run) -> Run {
    let Run {
        image,
        digest,
        platform,
        runtime,
        emulator,
        wasi_engine,
        engine_facts,
        root_lacks,
        baseline,
        companion,
        not_run,
        error,
        interrupted,
        static_only,
        part,
        profile,
        conclusion,
        tally,
        checks,
        measurements,
        duration_us,
    } = run;
    Run {
        image: line(image),
        digest: optional(digest.as_ref()),
        platform: line(platform),
        runtime: line(runtime),
        emulator: optional(emulator.as_ref()),
        wasi_engine: optional(wasi_engine.as_ref()),
        engine_facts: lines(engine_facts),
        root_lacks: lines(root_lacks),
        baseline: baseline.as_ref().map(legible_baseline),
        companion: *companion,
        not_run: optional(not_run.as_ref()),
        error: optional(error.as_ref()),
        interrupted: *interrupted,
        static_only: *static_only,
        part: part.as_ref().map(legible_part),
        profile: optional(profile.as_ref()),
        conclusion: *conclusion,
        tally: *tally,
        checks: checks.iter().map(legible_record).collect(),
        measurements: legible_measurements(measurements),
        duration_us: *duration_us,
    }
}

fn legible_part(part: &Part) -> Part {
    let Part {
        checks,
        of,
        options,
    } = part;
    Part {
        checks: *checks,
        of: *of,
        options: lines(options),
    }
}

fn legible_baseline(baseline: &Baseline) -> Baseline {
    let Baseline {
        image,
        digest,
        error,
        measurements,
    } = baseline;
    Baseline {
        image: line(image),
        digest: optional(digest.as_ref()),
        error: optional(error.as_ref()),
        measurements: legible_measurements(measurements),
    }
}

fn legible_record(record: &Record) -> Record {
    let Record {
        id,
        title,
        level,
        declared_level,
        verdict,
        requirement,
        source,
        source_url,
        expected,
        observed,
        evidence,
        reason,
        blocked_by,
        skipped_for,
        required,
        expected_failure,
        baseline,
        reproduce,
        explain,
        duration_us,
    } = record;
    Record {
        id: line(id),
        title: line(title),
        level: *level,
        declared_level: *declared_level,
        verdict: *verdict,
        requirement: line(requirement),
        source: line(source),
        source_url: line(source_url),
        expected: optional(expected.as_ref()),
        observed: optional(observed.as_ref()),
        evidence: lines(evidence),
        reason: optional(reason.as_ref()),
        blocked_by: optional(blocked_by.as_ref()),
        skipped_for: *skipped_for,
        required: *required,
        expected_failure: optional(expected_failure.as_ref()),
        baseline: *baseline,
        reproduce: optional(reproduce.as_ref()),
        explain: optional(explain.as_ref()),
        duration_us: *duration_us,
    }
}

fn legible_measurements(
    measurements: &BTreeMap<String, Measurement>,
) -> BTreeMap<String, Measurement> {
    measurements
        .iter()
        .map(|(name, measurement)| (line(name), legible_measurement(measurement)))
        .collect()
}

fn legible_measurement(measurement: &Measurement) -> Measurement {
    let Measurement {
        unit,
        value,
        samples,
        p25,
        p50,
        p75,
        p99,
        max,
        rounds,
        bins,
        good,
        known,
        names,
        all,
    } = measurement;
    Measurement {
        unit: line(unit),
        value: *value,
        samples: *samples,
        p25: *p25,
        p50: *p50,
        p75: *p75,
        p99: *p99,
        max: *max,
        rounds: rounds.clone(),
        bins: bins.clone(),
        good: *good,
        known: known.iter().map(|(name, it)| (line(name), *it)).collect(),
        names: lines(names),
        all: all.clone(),
    }
}

/// A time in microseconds, as `85 µs`, `1.3 ms` or `2.41 s`.
#[expect(
    clippy::cast_precision_loss,
    reason = "a time of 285 years has 53 bits of microseconds"
)]
pub fn duration(us: u64) -> String {
    quantity(us as f64, "us")
}

/// A figure with three digits and its unit, scaled for people: `us` to µs, ms and s; `bytes` to B,
/// KiB, MiB and GiB; `count` has no unit; other units are appended.
pub fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "us" => scaled(value, 1000.0, &["µs", "ms", "s"]),
        "bytes" => scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB"]),
        "count" => digits(value),
        "1/s" => format!("{}/s", digits(value)),
        _ => format!("{} {unit}", digits(value)),
    }
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter().peekable();
    while let Some(unit) = units.next() {
        // Rounded first, so that 999.9 µs becomes 1 ms and not 1000 µs.
        if value.abs().round() < step || units.peek().is_none() {
            return format!("{} {unit}", digits(value));
        }
        value /= step;
    }
    digits(value)
}

/// Three significant digits below 1000, no trailing zeros.
fn digits(value: f64) -> String {
    let rounded = |decimals: usize| format!("{value:.decimals$}");
    let fits = |text: &String| text.bytes().filter(u8::is_ascii_digit).count() <= 3;
    match [2, 1].map(rounded).iter().find(|text| fits(text)) {
        Some(text) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => rounded(0),
    }
}

/// A measurement on one line: its figure, its distribution, its names.
pub fn measurement(measurement: &Measurement) -> String {
    let unit = measurement.unit.as_str();
    let mut parts = Vec::new();
    if let Some(value) = measurement.value {
        parts.push(if unit == "names" {
            digits(value)
        } else {
            quantity(value, unit)
        });
    }
    if let Some(median) = measurement.p50 {
        let median = format!("p50 {}", quantity(median, unit));
        parts.push(match (measurement.p25, measurement.p75) {
            (Some(low), Some(high)) => {
                let (low, high) = (quantity(low, unit), quantity(high, unit));
                format!("{median} (half of all: {low} to {high})")
            }
            _ => median,
        });
    }
    for (name, value) in [("p99", measurement.p99), ("max", measurement.max)] {
        if let Some(value) = value {
            parts.push(format!("{name} {}", quantity(value, unit)));
        }
    }
    if let Some(samples) = measurement.samples {
        let too_few = measurement.p99.is_none() && samples < FOR_P99 as u64;
        let too_few = if too_few { ", too few for a p99" } else { "" };
        parts.push(format!("({samples} samples{too_few})"));
    }
    if !measurement.names.is_empty() {
        parts.push(measurement.names.join(", "));
    }
    parts.join("  ")
}

/// A measurement beside others: its figure, or its median and spread.
pub fn brief(measurement: &Measurement) -> String {
    let unit = measurement.unit.as_str();
    let Some(figure) = measurement.figure() else {
        return String::new();
    };
    let figure = quantity(figure, unit);
    match (measurement.p25, measurement.p75) {
        (Some(low), Some(high)) => {
            format!(
                "{figure} ({} to {})",
                quantity(low, unit),
                quantity(high, unit)
            )
        }
        _ => figure,
    }
}

/// As of [`measurement`], with the baseline's of this name and the difference.
pub fn measurement_beside(name: &str, here: &Measurement, there: Option<&Measurement>) -> String {
    let text = measurement(here);
    let Some(there) = there else { return text };
    if !here.names.is_empty() || !there.names.is_empty() {
        let only = |these: &[String], those: &[String]| {
            let only: Vec<_> = these.iter().filter(|name| !those.contains(name)).collect();
            only.into_iter().cloned().collect::<Vec<_>>().join(", ")
        };
        let (more, less) = (
            only(&here.names, &there.names),
            only(&there.names, &here.names),
        );
        let difference = match (more.is_empty(), less.is_empty()) {
            (true, true) => "baseline the same".to_owned(),
            (false, true) => format!("baseline without {more}"),
            (true, false) => format!("baseline with {less}"),
            (false, false) => format!("baseline without {more}, with {less}"),
        };
        return format!("{text}  ({difference})");
    }
    let other = measurement(there);
    if other == text {
        return format!("{text}  (baseline the same)");
    }
    let change = match here.difference(name, there) {
        Difference::None => String::new(),
        Difference::NotShown => ", no difference shown".to_owned(),
        // By nothing, nothing is divided.
        Difference::Shown(ratio) if !ratio.is_finite() => String::new(),
        Difference::Shown(ratio) => format!(", {}", change(ratio)),
    };
    format!("{text}  (baseline {other}{change})")
}

/// A ratio in words: `+10 %`, `-99.9 %`, `3.2 times as much`.
fn change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    match percent {
        _ if ratio >= 3.0 => format!("{} times as much", digits(ratio)),
        0.0.. => format!("+{} %", digits(percent)),
        _ => format!("-{} %", digits(-percent)),
    }
}

/// `1 check`, `2 checks`.
pub fn plural(count: impl Into<u64>, one: &str, many: &str) -> String {
    let count = count.into();
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests;
