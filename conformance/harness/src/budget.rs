//! `--budget`: how much each figure that is measured may be.
//!
//! A budget becomes a record like those of checks, so that each report shows it and the exit status
//! heeds it.

use crate::event::{FOR_P99, Measurement, Record, Run, Verdict, Want};
use crate::figures::{FIGURES, Figure};
use crate::report::text;
use crate::requirement::Level;

/// Which number of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Value,
    P50,
    P99,
    Max,
}

impl Of {
    fn in_measurement(self, measurement: &Measurement) -> Option<f64> {
        match self {
            Of::Value => measurement.value,
            Of::P50 => measurement.p50,
            Of::P99 => measurement.p99,
            Of::Max => measurement.max,
        }
    }
}

/// How much one figure may be.
#[derive(Clone, Debug)]
pub struct Budget {
    figure: &'static Figure,
    of: Of,
    /// In the unit of the measurement.
    limit: f64,
    /// As it was typed.
    words: String,
}

/// What is wrong with a budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// No `=`.
    #[error("expected NAME=LIMIT, for example rss=1MiB")]
    Form,
    /// No such figure; holds the one most like it.
    #[error("no figure `{}`; {}", pause_image::escape_text(name), hint(nearest.as_deref()))]
    Unknown {
        /// As typed.
        name: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// It is measured many times.
    #[error("`{name}` is measured many times: {name}_p50, {name}_p99 or {name}_max")]
    Distribution {
        /// As typed.
        name: &'static str,
    },
    /// No figure with a unit of this kind.
    #[error(
        "`{}` is no limit of {name}: {expected}",
        pause_image::escape_text(word)
    )]
    Limit {
        /// The figure.
        name: &'static str,
        /// As typed.
        word: String,
        /// What is one.
        expected: &'static str,
    },
}

fn hint(nearest: Option<&str>) -> String {
    if let Some(nearest) = nearest {
        return format!("did you mean {nearest}?");
    }
    let names = FIGURES.iter().map(|figure| figure.name);
    format!("known are {}", names.collect::<Vec<_>>().join(", "))
}

impl std::str::FromStr for Budget {
    type Err = BudgetError;

    /// Reads `rss=1MiB`, `term_latency_p99=50ms`.
    fn from_str(words: &str) -> Result<Self, BudgetError> {
        let (name, word) = words.split_once('=').ok_or(BudgetError::Form)?;
        let (figure, of) = find(name)?;
        let limit = limit(word, figure.unit).ok_or_else(|| BudgetError::Limit {
            name: figure.name,
            word: word.to_owned(),
            expected: match figure.unit {
                "bytes" => "a number and B, kB, MB, GB, KiB, MiB or GiB",
                "us" => "a number and us, ms or s",
                _ => "a number",
            },
        })?;
        let words = words.to_owned();
        Ok(Self {
            figure,
            of,
            limit,
            words,
        })
    }
}

/// What of a figure that is measured many times can be limited, by how its name ends.
const OF_MANY: [(&str, Of); 3] = [("_p50", Of::P50), ("_p99", Of::P99), ("_max", Of::Max)];

fn find(name: &str) -> Result<(&'static Figure, Of), BudgetError> {
    for (suffix, of) in OF_MANY {
        let figure = name.strip_suffix(suffix);
        let figure = figure.and_then(|name| FIGURES.iter().find(|it| it.name == name));
        if let Some(figure) = figure.filter(|figure| figure.is_distribution) {
            return Ok((figure, of));
        }
    }
    match FIGURES.iter().find(|figure| figure.name == name) {
        Some(figure) if figure.is_distribution => {
            Err(BudgetError::Distribution { name: figure.name })
        }
        Some(figure) => Ok((figure, Of::Value)),
        None => {
            let nearest = crate::suggest::nearest(name, FIGURES.iter().map(|it| it.name));
            Err(BudgetError::Unknown {
                name: name.to_owned(),
                nearest: nearest.map(str::to_owned),
            })
        }
    }
}

/// A limit in the unit of a measurement; `None` for what is none.
fn limit(word: &str, unit: &str) -> Option<f64> {
    const MIB: f64 = 1_048_576.0;
    let units: &[(&str, f64)] = match unit {
        "bytes" => &[
            ("KiB", 1024.0),
            ("MiB", MIB),
            ("GiB", 1024.0 * MIB),
            ("kB", 1e3),
            ("KB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("B", 1.0),
        ],
        "us" => &[("us", 1.0), ("µs", 1.0), ("ms", 1e3), ("s", 1e6)],
        _ => &[("", 1.0)],
    };
    let (number, scale) = units
        .iter()
        .find_map(|(unit, scale)| Some((word.strip_suffix(unit)?, scale)))?;
    // Not `inf`, `nan` or `1e3`.
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.trim().parse().ok().filter(|_| is_plain)?;
    Some(number * scale).filter(|limit| limit.is_finite())
}

impl Budget {
    /// The names of all that can be limited.
    pub fn names() -> impl Iterator<Item = String> {
        FIGURES.iter().flat_map(|figure| {
            let suffixes: &[&str] = if figure.is_distribution {
                &OF_MANY.map(|(suffix, _)| suffix)
            } else {
                &[""]
            };
            let names = suffixes
                .iter()
                .map(|suffix| format!("{}{suffix}", figure.name));
            names.collect::<Vec<_>>()
        })
    }

    /// The figure, as it was named.
    pub fn name(&self) -> &str {
        let (name, _) = self.words.split_once('=').unwrap_or((&self.words, ""));
        name
    }

    /// The option's value as it was typed.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The check that measures it.
    pub fn check(&self) -> &'static str {
        self.figure.check
    }

    /// It is of a 99th percentile, which takes many samples.
    pub fn is_of_p99(&self) -> bool {
        self.of == Of::P99
    }

    /// The record of a run that is over or within it. `reproduce` is the command that judges the
    /// image again, without what is judged.
    pub fn record(&self, run: &Run, reproduce: &str) -> Record {
        let (name, most) = (self.name(), text::quantity(self.limit, self.figure.unit));
        let measurement = run.measurements.get(self.figure.name);
        let value = measurement.and_then(|it| self.of.in_measurement(it));
        let mut record = Record {
            id: format!("budget/{name}"),
            title: format!("{name} is within its budget"),
            requirement: format!("{name} MUST be at most {most}, as the user asks."),
            source: format!("--budget {}", self.words),
            level: Level::Must,
            ..Record::new(Verdict::Pass)
        };
        if let Some(value) = value {
            record.observed = Some(text::quantity(value, self.figure.unit));
            if value > self.limit {
                record.verdict = Verdict::Fail;
                record.expected = Some(format!("at most {most}"));
            }
        } else {
            let (verdict, want, why) = self.why_not(run);
            record.verdict = verdict;
            (record.skipped_for, record.reason) = (want, Some(why));
        }
        if matches!(record.verdict, Verdict::Fail | Verdict::Inconclusive) {
            let command = format!(
                "{reproduce} --budget {} --filter {}",
                self.words,
                self.check()
            );
            record.reproduce = Some(command);
        }
        record
    }

    /// Why it was not measured.
    fn why_not(&self, run: &Run) -> (Verdict, Option<Want>, String) {
        let id = self.check();
        let measurement = run.measurements.get(self.figure.name);
        if let Some(samples) = measurement.and_then(|it| it.samples) {
            let why = if samples >= FOR_P99 as u64 {
                format!("{id} did not pass each time, so its p99 is not known")
            } else {
                format!("too few samples: a p99 takes {FOR_P99}, and there are {samples}")
            };
            return (Verdict::Inconclusive, None, why);
        }
        let Some(check) = run.checks.iter().find(|record| record.id == id) else {
            let why = format!("{id}, which measures it, was left out");
            return (Verdict::Skipped, Some(Want::Option), why);
        };
        match (check.verdict, check.skipped_for) {
            (Verdict::Skipped, Some(Want::Subject)) | (Verdict::Pass, _) => {
                let why = "a subject of this kind has no such figure".to_owned();
                (Verdict::Skipped, Some(Want::Subject), why)
            }
            (verdict, _) => {
                let why = format!("not measured: {id} ended as {}", verdict.as_str());
                (Verdict::Inconclusive, None, why)
            }
        }
    }
}

#[cfg(test)]
mod tests;
