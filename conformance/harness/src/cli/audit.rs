//! The command lines of `audit` and `merge`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::kubernetes::Minor;
use crate::report::spec::{Formats, ReportSpec};

use super::seconds;

/// What to look at, and how to say it.
#[derive(Clone, Debug, Args)]
pub struct Audit {
    /// Socket of a CRI runtime, a path or `unix://PATH`; repeatable; default: as crictl finds it
    #[arg(long = "cri", value_name = "SOCKET")]
    pub sockets: Vec<String>,

    /// Only this pod, with all of its checks
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,

    /// The zombies and their ancestry, in place of the pods
    #[arg(long)]
    pub zombies: bool,

    /// Age in seconds from which a zombie counts
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub zombie_age: u32,

    /// Look again at this interval, and say what changes, until interrupted
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub watch: Option<Duration>,

    /// Also run the whole suite over each different pause that is found
    #[arg(long, conflicts_with = "watch")]
    pub judge: bool,

    /// Kubernetes minor version of the node, `1.34` or `34`, in place of what kubelet's program says
    #[arg(long, value_name = "MINOR", value_parser = Minor::parse)]
    pub kubernetes: Option<Minor>,

    /// A failed SHOULD fails the audit
    #[arg(long)]
    pub strict: bool,

    /// Folder in which the node's /proc is mounted
    #[arg(long, value_name = "DIR", default_value = "/proc")]
    pub proc: PathBuf,

    /// File that is told, once the reports are written, where the first of them is: Sonobuoy waits
    /// for it
    #[arg(long, value_name = "FILE")]
    pub done: Option<PathBuf>,

    /// List the checks of an audit, with their sources, and look at nothing
    #[arg(long)]
    pub checks: bool,

    /// Report to write, `FORMAT[=FILE]`: human, json, markdown, html, junit, tap, prometheus; repeatable; default: human
    #[arg(long = "report", value_name = "FORMAT[=FILE]")]
    pub reports: Vec<ReportSpec<AuditFormat>>,
}

/// A format of the report of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// A table, for people.
    Human,
    /// JSON, by the schema in `schema/`.
    Json,
    /// Markdown.
    Markdown,
    /// HTML in one self-contained file.
    Html,
    /// XML that CI servers read.
    Junit,
    /// Test Anything Protocol, version 14.
    Tap,
    /// Prometheus' text format, for the textfile collector of node_exporter.
    Prometheus,
}

impl Formats for AuditFormat {
    const PEOPLE: Self = Self::Human;

    fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Json => "json",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Junit => "junit",
            Self::Tap => "tap",
            Self::Prometheus => "prometheus",
        }
    }
}

impl fmt::Display for AuditFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which audits to gather.
#[derive(Clone, Debug, Args)]
pub struct Merge {
    /// Reports of audits in JSON, one a node
    #[arg(required = true, value_name = "REPORT")]
    pub reports: Vec<PathBuf>,

    /// Form of the matrix
    #[arg(long, value_enum, default_value_t = MergeFormat::Human)]
    pub format: MergeFormat,
}

/// `--format` of `merge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MergeFormat {
    /// A table, for people.
    Human,
    /// JSON.
    Json,
    /// Markdown.
    Markdown,
}
