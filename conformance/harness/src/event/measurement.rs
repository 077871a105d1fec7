//! What is measured: one figure, a distribution or names; and whether two of them differ.
//!
//! Two measurements of one program are never the same. A difference is shown only where noise
//! does not explain it: sizes of files are exact, memory and counts vary by what
//! [`figures`] says of them, and times differ where every round of one lies beyond
//! every round of the other.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::figures::{self, Figure};

/// The least samples of which a 99th percentile is told: of fewer none need lie beyond it.
pub const FOR_P99: usize = 100;

/// The least rounds, in turn with those of another, by which times are told apart. Of two that are
/// alike all rounds of one are beyond all of the other in 2 of 184,756 cases.
pub const ROUNDS: usize = 10;

/// Something measured; `value` for one figure, the others for a distribution.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Unit: `us`, `bytes`, `count`, `1/s`, `names`.
    pub unit: String,
    /// A single figure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub value: Option<f64>,
    /// How many samples the distribution has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub samples: Option<u64>,
    /// 25th percentile: with the 75th, the spread.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p25: Option<f64>,
    /// Median.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50: Option<f64>,
    /// 75th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p75: Option<f64>,
    /// 99th percentile; absent of fewer than 100 samples.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<f64>,
    /// Largest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<f64>,
    /// The median, or the figure, of each round in which it was measured again, in turn with what it
    /// is compared with; absent where it was measured once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rounds: Vec<f64>,
    /// How many samples lie where, in tenths of a power of ten.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub bins: Vec<Bin>,
    /// The most that is good, by a requirement: of a distribution, what its largest may be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub good: Option<f64>,
    /// What known pauses have, by their names; absent of times, which are those of a host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub known: BTreeMap<String, f64>,
    /// A list, such as the system calls seen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub names: Vec<String>,
    /// The samples themselves; reports have their summary.
    #[serde(skip)]
    pub all: Vec<u64>,
}

/// Samples between the tenth of a power of ten before, and this one.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Which one: samples of at most ten to the power of a tenth of it, and more than those of the
    /// bin before.
    pub tenth: u32,
    /// How many.
    pub count: u64,
}

impl Bin {
    /// The bin of a sample; all below 1 are in the first.
    fn tenth(sample: u64) -> u32 {
        // Of a whole number of 64 bits it is at most 193.
        (10.0 * (sample.max(1) as f64).log10()).ceil() as u32
    }

    /// The largest sample of it.
    pub fn at_most(self) -> f64 {
        10_f64.powf(f64::from(self.tenth) / 10.0)
    }
}

/// How one measurement compares with another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Difference {
    /// They are equal.
    None,
    /// Noise explains it, or too little was measured to say.
    NotShown,
    /// Noise does not explain it. Holds the one by the other.
    Shown(f64),
}

impl Measurement {
    /// With a unit and nothing else.
    pub fn new(unit: &str) -> Self {
        Self {
            unit: unit.to_owned(),
            ..Self::default()
        }
    }

    /// One figure.
    pub fn one(unit: &str, value: f64) -> Self {
        Self {
            value: Some(value),
            ..Self::new(unit)
        }
    }

    /// One figure that was measured in several rounds: their median. `None` without any.
    pub fn repeated(unit: &str, rounds: Vec<f64>) -> Option<Self> {
        Some(Self {
            value: Some(middle(&rounds)?),
            rounds,
            ..Self::new(unit)
        })
    }

    /// The samples of all rounds. `None` where there are none, and where one is too large to be
    /// counted.
    pub fn distribution(unit: &str, rounds: &[Vec<u64>]) -> Option<Self> {
        let summary = |samples: &[u64]| {
            // Three digits are within the library's bounds.
            let mut histogram = hdrhistogram::Histogram::<u64>::new(3).ok()?;
            // It grows as needed; the saturating form would cut off at its first bound.
            let recorded = samples.iter().try_for_each(|it| histogram.record(*it));
            recorded.ok().filter(|()| !histogram.is_empty())?;
            Some(histogram)
        };
        let all = rounds.concat();
        let whole = summary(&all)?;
        let most = all.iter().copied().max()? as f64;
        // The histogram rounds up: capped, so that no budget fails that every sample keeps.
        let at = |quantile| Some((whole.value_at_quantile(quantile) as f64).min(most));
        let of_round = |round: &Vec<u64>| Some(summary(round)?.value_at_quantile(0.5) as f64);
        let medians: Vec<f64> = rounds.iter().filter_map(of_round).collect();
        Some(Self {
            samples: Some(whole.len()),
            p25: at(0.25),
            p50: at(0.5),
            p75: at(0.75),
            p99: at(0.99).filter(|_| all.len() >= FOR_P99),
            max: Some(most),
            rounds: if medians.len() > 1 {
                medians
            } else {
                Vec::new()
            },
            bins: bins(&all),
            all,
            ..Self::new(unit)
        })
    }

    /// Its figure, or the median of its distribution.
    pub fn figure(&self) -> Option<f64> {
        self.value.or(self.p50)
    }

    /// It is a time, or made of times.
    pub fn is_timed(&self) -> bool {
        matches!(self.unit.as_str(), "us" | "1/s")
    }

    /// How it compares with another measurement of this name.
    pub fn difference(&self, name: &str, other: &Self) -> Difference {
        let (Some(here), Some(there)) = (self.figure(), other.figure()) else {
            return Difference::NotShown;
        };
        let ratio = here / there;
        let is_shown = if self.is_timed() {
            self.is_apart_from(other) && (here - there).abs() > self.noise_beside(other)
        } else {
            let noise = figures::find(name).map_or(0.0, |figure| noise(figure, here, there));
            (here - there).abs() > noise
        };
        // Bit by bit: nothing is computed from a figure that is exact. Times that have one median
        // are not equal for that.
        let is_equal = !self.is_timed() && here.to_bits() == there.to_bits();
        match is_shown {
            true => Difference::Shown(ratio),
            false if is_equal => Difference::None,
            false => Difference::NotShown,
        }
    }

    /// Every round of one lies beyond every round of the other.
    fn is_apart_from(&self, other: &Self) -> bool {
        let least = |of: &Self| of.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |of: &Self| of.rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let enough = self.rounds.len() >= ROUNDS && other.rounds.len() >= ROUNDS;
        enough && (least(self) > most(other) || least(other) > most(self))
    }

    /// A tenth, and half of where the middle half of the samples lies.
    fn noise_beside(&self, other: &Self) -> f64 {
        let spread = |of: &Self| of.p75.unwrap_or_default() - of.p25.unwrap_or_default();
        let figure = |of: &Self| of.figure().unwrap_or_default();
        let spread = spread(self).max(spread(other)) / 2.0;
        spread.max(figure(self).max(figure(other)) / 10.0)
    }
}

/// How far apart two measurements of one program may be.
fn noise(figure: &Figure, here: f64, there: f64) -> f64 {
    let noise = &figure.noise;
    noise.least.max(noise.share * here.max(there))
}

/// The lower of the two in the middle where they are even.
fn middle(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

fn bins(samples: &[u64]) -> Vec<Bin> {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for sample in samples {
        *counts.entry(Bin::tenth(*sample)).or_default() += 1;
    }
    let bin = |(tenth, count)| Bin { tenth, count };
    counts.into_iter().map(bin).collect()
}

#[cfg(test)]
mod tests;
