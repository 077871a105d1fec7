//! The page of the scoreboard, from reports.

use anyhow::{Context as _, Result};
use serde_json::Value;
use std::fmt::Write as _;

/// The head of its table.
pub(super) const HEAD: &str = "| pause | made by | verdict | MUST failed | SHOULD failed | \
     memory | program | ends on SIGTERM | reaps an orphan |";

/// A pause that was judged.
pub(super) struct Subject {
    pub(super) name: String,
    made: String,
    what: String,
    report: Value,
}

impl Subject {
    /// From what the corpus keeps: a report, and what it is about.
    pub(super) fn of(name: &str, kept: &Value) -> Self {
        let about = &kept["about"];
        let command = about["command"].as_array().into_iter().flatten();
        let command: Vec<_> = command.filter_map(Value::as_str).collect();
        let base = about["base"].as_str().unwrap_or_default();
        Self {
            name: name.to_owned(),
            made: about["made"].as_str().unwrap_or_default().to_owned(),
            what: format!("`{}`, {base}", command.join(" ").replace('`', "")),
            report: kept["report"].clone(),
        }
    }

    fn run(&self) -> &Value {
        &self.report["runs"][0]
    }

    /// The checks of this level that failed.
    fn failed(&self, level: &str) -> Vec<&str> {
        let checks = self.run()["checks"].as_array().into_iter().flatten();
        checks
            .filter(|it| it["level"] == level && it["verdict"] == "fail")
            .filter_map(|it| it["id"].as_str())
            .collect()
    }

    /// Less is better.
    pub(super) fn standing(&self) -> (usize, usize, u64) {
        let memory = self.run()["measurements"]["rss"]["value"].as_f64();
        let memory = memory.map_or(u64::MAX, |bytes| bytes as u64);
        (
            self.failed("must").len(),
            self.failed("should").len(),
            memory,
        )
    }

    /// Names and numbers of what is the same on every host.
    pub(super) fn figures(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.run()["measurements"].as_object().into_iter().flatten();
        all.filter_map(|(name, it)| {
            // Times are those of a host, and say nothing on another.
            let is_figure = it["unit"] != "1/s" && it["unit"] != "us";
            let number = it["value"].as_f64().filter(|_| is_figure);
            Some((name.as_str(), number?))
        })
    }

    fn row(&self) -> String {
        let measured = &self.run()["measurements"];
        let bytes = |name: &str| {
            measured[name]["value"]
                .as_f64()
                .map_or(String::new(), bytes)
        };
        let time = |name: &str| time(&measured[name]);
        let verdict = self.run()["conclusion"].as_str().unwrap_or_default();
        let verdict = verdict.replace('-', " ");
        let cells = [
            cell(&self.name),
            cell(&self.made),
            verdict,
            self.failed("must").len().to_string(),
            self.failed("should").len().to_string(),
            bytes("rss"),
            bytes("program_size"),
            time("term_latency"),
            time("reap_latency"),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

/// Text that ends no cell and begins no element.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn bytes(value: f64) -> String {
    match value {
        _ if value >= 1_048_576.0 => format!("{:.1} MiB", value / 1_048_576.0),
        _ if value >= 10_240.0 => format!("{:.0} KiB", value / 1024.0),
        _ if value >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
        _ => format!("{value} B"),
    }
}

/// The median, and where half of all samples lie, in microseconds.
fn time(measurement: &Value) -> String {
    let figure = |key: &str| measurement[key].as_f64();
    match (figure("p50"), figure("p25"), figure("p75")) {
        (Some(middle), Some(low), Some(high)) => format!("{middle} µs ({low} to {high})"),
        (Some(middle), ..) => format!("{middle} µs"),
        _ => String::new(),
    }
}

/// The page, of subjects in their order.
///
/// `load` is how many processes wanted a processor meanwhile.
pub(super) fn write(subjects: &[Subject], load: &str) -> Result<String> {
    let first = subjects.first().context("nothing was judged")?;
    let text = |pointer: &str| {
        let value = first.report.pointer(pointer);
        value.map_or(String::new(), |it| match it {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let day = text("/started");
    let day = day.get(..10).unwrap_or_default();
    let mut out = format!(
        "# Scoreboard\n\n\
         Pauses, and programs that people use as one, judged by the suite as it is: each is the program of an image,\n\
         with the arguments that make it wait. Many of them are made for something else, and are no worse for it.\n\n\
         Judged on {day} by {} {}, requirements {}, on Linux {} ({}, {} processors, a load of {load}).\n\
         Times are medians, and where the middle half of all samples lies. They are those of this host under that load,\n\
         measured one pause after the other: `--image` given twice measures two in turn.\n\
         `cargo xtask scoreboard` writes this page, and `cargo xtask scoreboard --check` minds its form and age.\n\n",
        text("/tool/name"),
        text("/tool/version"),
        text("/spec_version"),
        text("/host/kernel"),
        text("/host/machine"),
        text("/host/cpus"),
    );
    writeln!(out, "{HEAD}\n|---|---|---|--:|--:|--:|--:|--:|--:|")?;
    for subject in subjects {
        writeln!(out, "{}", subject.row())?;
    }
    out.push_str("\n## What fails\n");
    for subject in subjects {
        writeln!(
            out,
            "\n**{}**: {}\n",
            cell(&subject.name),
            cell(&subject.what)
        )?;
        let mut nothing = true;
        for level in ["must", "should"] {
            let failed = subject.failed(level);
            if !failed.is_empty() {
                writeln!(out, "- {}: {}", level.to_uppercase(), failed.join(", "))?;
                nothing = false;
            }
        }
        if nothing {
            out.push_str("- nothing\n");
        }
    }
    Ok(out)
}
