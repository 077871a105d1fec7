//! How much a requirement binds, and where it comes from.

use std::fmt;

/// Version of the requirement catalogue: raised with any change of a requirement.
pub const SPEC_VERSION: &str = "0.1";

/// RFC 2119 level of a requirement.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// An image that fails it breaks pods.
    Must,
    /// A sound image has it.
    Should,
    /// Measured and reported, never failed.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Info => "INFO",
        })
    }
}

/// Where a requirement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Short title: "pause.c", "OCI image-spec v1.1 config.md", "pid_namespaces(7)", "kubernetes#36853".
    pub title: &'static str,
    /// A pinned URL: a tag or commit, a manual page, or an issue.
    pub url: &'static str,
}
