//! How several runs compare.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Measurement;

/// Several runs side by side. A run is named by its number in the report, from 0.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The best first; empty where not every run is of another image.
    pub ranking: Vec<Place>,
    /// What more than one run has measured, by name.
    pub figures: Vec<SideBySide>,
}

/// One run in the order.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// From 1; runs that nothing tells apart share one.
    pub place: usize,
    /// Which run.
    pub run: usize,
    /// What put it there.
    pub why: String,
}

/// One figure in every run.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideBySide {
    /// Its name.
    pub name: String,
    /// By run; `null` where one has none. Times were measured in turn, so they may be other samples
    /// than those of the run itself.
    pub runs: Vec<Option<Measurement>>,
    /// The runs than which a difference shows no other to be better; empty where no difference is
    /// shown.
    pub best: Vec<usize>,
}
