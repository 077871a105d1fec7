//! What happens during a run, and the report that it adds up to.
//!
//! Owns the words of the outcome: verdicts, tallies, records. Reporters see only
//! these types; the JSON report is this model, serialised. How records fold to a
//! conclusion lives in `event/fold.rs`.

use std::collections::BTreeMap;
use std::fmt;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::requirement::Level;

mod comparison;
mod fold;
mod measurement;

pub use comparison::{Comparison, Place, SideBySide};
pub use measurement::{Bin, Difference, FOR_P99, Measurement, ROUNDS};

/// Version of the JSON report's shape: raised when a field changes meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// How one check ended.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The requirement holds.
    Pass,
    /// The requirement does not hold.
    Fail,
    /// Does not apply to this subject, backend or host; the reason is named.
    Skipped,
    /// Applies, but on this host right and wrong cannot be told apart.
    Inconclusive,
    /// The suite's own fault.
    Error,
}

impl Verdict {
    /// The word of the reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Skipped => "skipped",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Error => "error",
        }
    }
}

/// The conclusion of a run, or of all runs together.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// Every MUST that applies passed (with `--strict` every SHOULD as well), or
    /// failed as `--expect` says.
    Conformant,
    /// A MUST failed (with `--strict` also a SHOULD, with `--baseline` one that passes
    /// there), or a known failure passed.
    NotConformant,
    /// A MUST stayed inconclusive (with `--strict` also a SHOULD).
    Inconclusive,
    /// The suite could not judge: an error, an interruption, or nothing ran.
    NotJudged,
}

impl Conclusion {
    /// Exit status of the program: 0, 1, 3 or 2.
    pub fn exit_status(self) -> u8 {
        match self {
            Conclusion::Conformant => 0,
            Conclusion::NotConformant => 1,
            Conclusion::NotJudged => 2,
            Conclusion::Inconclusive => 3,
        }
    }

    /// The words of the reports; where only a part of the checks was asked for they claim no more.
    pub fn words(self, part: Option<&Part>) -> String {
        match (self, part) {
            (Conclusion::Conformant, Some(part)) => format!("conformant in {part}"),
            (Conclusion::NotConformant | Conclusion::Inconclusive, Some(part)) => {
                format!("{} by {part}", self.as_str())
            }
            (_, _) => self.as_str().to_owned(),
        }
    }

    /// The word of the reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Conclusion::Conformant => "conformant",
            Conclusion::NotConformant => "not conformant",
            Conclusion::Inconclusive => "inconclusive",
            Conclusion::NotJudged => "not judged",
        }
    }
}

/// How many checks ended how.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Passed.
    pub pass: u32,
    /// Failed, at any level.
    pub fail: u32,
    /// Of those, failed MUSTs.
    pub fail_must: u32,
    /// Of those, failed SHOULDs.
    pub fail_should: u32,
    /// Of the failed, at any level, those that `--expect` names.
    pub known_failures: u32,
    /// Of the passed, those that `--expect` says fail.
    pub unexpected_passes: u32,
    /// Skipped.
    pub skipped: u32,
    /// Inconclusive.
    pub inconclusive: u32,
    /// Errors of the suite.
    pub error: u32,
    /// MUSTs that this host could not judge: those that are inconclusive, and those that were
    /// skipped for want of something that another host has.
    #[serde(default)]
    pub unjudged_must: u32,
}

/// For want of what a check was skipped.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Want {
    /// The subject is of another kind, such as a program alone where an image is judged.
    Subject,
    /// An option was not given, such as `--kubernetes`.
    Option,
    /// This host, backend, emulator or build lacks something that another has.
    Host,
    /// A check that it depends on did not pass.
    Check,
}

/// The part of the checks that was asked for, where that is not all of them.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many checks were asked for.
    pub checks: u32,
    /// How many there are.
    pub of: u32,
    /// The options that leave out the others, such as `--filter cli`.
    pub options: Vec<String>,
}

impl fmt::Display for Part {
    /// `3 of 152 checks (--filter cli)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            checks,
            of,
            options,
        } = self;
        write!(f, "{checks} of {of} checks ({})", options.join(" "))
    }
}

/// One check's record in the report.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `family/verb-phrase`.
    pub id: String,
    /// One line.
    pub title: String,
    /// RFC 2119 level.
    pub level: Level,
    /// The level of the requirement, where a profile sets another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub declared_level: Option<Level>,
    /// How it ended.
    pub verdict: Verdict,
    /// The requirement, one sentence.
    pub requirement: String,
    /// Title of the source.
    pub source: String,
    /// URL of the source.
    pub source_url: String,
    /// What the requirement asks for here; set where it failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<String>,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub observed: Option<String>,
    /// What supports it, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub evidence: Vec<String>,
    /// Why it was skipped, inconclusive or an error.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The check because of which it was skipped.
    #[serde(skip)]
    pub blocked_by: Option<String>,
    /// For want of what it was skipped; set where it was. Behind a check that was not judged
    /// itself, for want of the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skipped_for: Option<Want>,
    /// `--require-all`, and it is a MUST that was skipped for want of something that another host
    /// has: it counts as inconclusive.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub required: bool,
    /// Why `--expect` says that it fails; absent where it says nothing. With
    /// `fail` the failure is known and does not count, with `pass` the
    /// expectation is out of date and that does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected_failure: Option<String>,
    /// How it ended for the image of `--baseline`; absent without one. A SHOULD that passes
    /// there and fails here counts as a MUST does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<Verdict>,
    /// The command that shows it again; set where it did not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reproduce: Option<String>,
    /// The command that explains the check; set where it did not pass.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub explain: Option<String>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

impl Record {
    /// Of no check yet, with nothing observed.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            id: String::new(),
            title: String::new(),
            level: Level::Must,
            declared_level: None,
            verdict,
            requirement: String::new(),
            source: String::new(),
            source_url: String::new(),
            expected: None,
            observed: None,
            evidence: Vec::new(),
            reason: None,
            blocked_by: None,
            skipped_for: None,
            required: false,
            expected_failure: None,
            baseline: None,
            reproduce: None,
            explain: None,
            duration_us: 0,
        }
    }
}

/// What a run is compared with: the same platform of the image of `--baseline`.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The image as the user named it.
    pub image: String,
    /// Digest of its manifest; absent for a bare program.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// Why nothing is compared with it, such as a platform that it does not have.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Its measurements, by the names of the run's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub measurements: BTreeMap<String, Measurement>,
}

/// One subject on one backend and platform.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The image as the user named it.
    pub image: String,
    /// Digest of the manifest that was judged; absent for a bare program.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// The backend and its version: `embedded (rootless)`.
    pub runtime: String,
    /// The emulator, its version and how it is started; absent where the program ran natively.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emulator: Option<String>,
    /// What runs WASI programs, a subject or workloads beside one, and its version; absent
    /// where nothing was to be run so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wasi_engine: Option<String>,
    /// What the engine does to every pod that others do not, such as a UTS namespace for each
    /// container, and how its own tools show a sandbox; a line each. None of it is the image's.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub engine_facts: Vec<String>,
    /// What the root of its sandboxes lacks of the image on this host, such as owners whose ids are
    /// not mapped; a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub root_lacks: Vec<String>,
    /// What it is compared with; absent without `--baseline`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<Baseline>,
    /// It was judged beside the platform that was run: by its files, and nothing was run.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub companion: bool,
    /// Why its program was not run, though checks that run it were asked for: such a run is
    /// never conformant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_run: Option<String>,
    /// Why nothing of it could be judged, such as an image that could not be read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// It was interrupted; what is here is part of it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub interrupted: bool,
    /// `--static-only`: no sandbox was made; the conclusion speaks of the other checks alone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub static_only: bool,
    /// The part of the checks that was asked for; absent where that is all of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub part: Option<Part>,
    /// The profile of the user's file by which it was judged, and which levels that sets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub profile: Option<String>,
    /// Its conclusion.
    pub conclusion: Conclusion,
    /// How many ended how.
    pub tally: Tally,
    /// In the order of the registry.
    pub checks: Vec<Record>,
    /// By name, for example `reap_latency`.
    pub measurements: BTreeMap<String, Measurement>,
    /// Wall time in microseconds.
    pub duration_us: u64,
}

impl Run {
    /// A run with its records, in the order of the registry, not yet concluded.
    pub fn new(head: &RunHead, checks: Vec<Record>) -> Self {
        Self {
            image: head.image.clone(),
            digest: head.digest.clone(),
            platform: head.platform.clone(),
            runtime: head.runtime.clone(),
            emulator: head.emulator.clone(),
            wasi_engine: head.wasi_engine.clone(),
            engine_facts: head.engine_facts.clone(),
            root_lacks: Vec::new(),
            baseline: None,
            companion: head.companion,
            not_run: None,
            error: None,
            interrupted: false,
            static_only: head.static_only,
            part: head.part.clone(),
            profile: None,
            conclusion: Conclusion::NotJudged,
            tally: Tally::default(),
            checks,
            measurements: BTreeMap::new(),
            duration_us: 0,
        }
    }
}

/// What the suite ran on.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, the node name of uname(2).
    #[serde(default)]
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine: `x86_64`, `aarch64`, …
    pub machine: String,
    /// Processors usable by the suite.
    pub cpus: u32,
    /// Effective user id was 0.
    pub root: bool,
    /// Cgroup hierarchy: `v1`, `v2`, `hybrid`, `none`.
    pub cgroups: String,
    /// How many times slower than nominal a sandbox starts here; deadlines are multiplied by it.
    pub time_scale: f64,
}

/// The program that made the report.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `pause-conformance`.
    pub name: String,
    /// Version.
    pub version: String,
}

/// The whole report; the JSON report is this, with `schema_version` first.
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the shape of this report.
    #[cfg_attr(feature = "schema", schemars(extend("const" = SCHEMA_VERSION)))]
    pub schema_version: u32,
    /// The program that made it.
    pub tool: Tool,
    /// Version of the requirement catalogue.
    pub spec_version: String,
    /// Start of the run, RFC 3339.
    pub started: String,
    /// What it ran on.
    pub host: Host,
    /// `--strict`: a SHOULD weighs as much as a MUST.
    pub strict: bool,
    /// `--static-only`: no sandbox was made; the conclusion speaks of the other checks alone.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub static_only: bool,
    /// The part of the checks that was asked for; absent where that is all of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub part: Option<Part>,
    /// Why nothing was judged, and what can be done; absent where runs were made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// The conclusion of all runs together.
    pub conclusion: Conclusion,
    /// The run was interrupted; what is here is part of it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub interrupted: bool,
    /// One for each image, platform, backend and repetition.
    pub runs: Vec<Run>,
    /// How the runs compare; absent where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comparison: Option<Comparison>,
}

/// What a run has in its head before the first check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunHead {
    /// The image as the user named it.
    pub image: String,
    /// Digest of the manifest.
    pub digest: Option<String>,
    /// `os/architecture[/variant]`.
    pub platform: String,
    /// The backend and its version.
    pub runtime: String,
    /// Emulator, if any.
    pub emulator: Option<String>,
    /// What runs WASI programs, if anything does.
    pub wasi_engine: Option<String>,
    /// What the engine does to every pod that others do not.
    pub engine_facts: Vec<String>,
    /// No sandbox is made, as the user asked.
    pub static_only: bool,
    /// The part of the checks that was asked for.
    pub part: Option<Part>,
    /// Its files are judged, beside the platform that is run.
    pub companion: bool,
}

/// What the runner tells the reporters, in this order.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Once, first; `runs` runs of `checks` checks each, at most.
    SuiteStarted {
        /// What it runs on.
        host: &'a Host,
        /// Number of runs.
        runs: usize,
    },
    /// Before the first check of a run.
    RunStarted {
        /// Its head.
        head: &'a RunHead,
        /// How many checks the run will finish, skipped ones included.
        checks: usize,
    },
    /// A check began; several may be under way.
    CheckStarted {
        /// Its id.
        id: &'static str,
    },
    /// Time passes, and nothing else: a few times in a second while checks are under way.
    Waiting,
    /// A check ended; in the order of ending.
    CheckFinished {
        /// Its record.
        record: &'a Record,
    },
    /// After the last check of a run.
    RunFinished {
        /// The run, records in registry order.
        run: &'a Run,
        /// `--strict`.
        strict: bool,
    },
    /// Once, last.
    SuiteFinished {
        /// Everything.
        report: &'a Report,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Conclusion, Part, Verdict};

    #[test]
    fn every_report_says_it_in_the_words_of_the_json() {
        for verdict in [
            Verdict::Pass,
            Verdict::Fail,
            Verdict::Skipped,
            Verdict::Inconclusive,
            Verdict::Error,
        ] {
            assert_eq!(json!(verdict), verdict.as_str());
        }
        for (conclusion, words) in [
            (Conclusion::Conformant, "conformant"),
            (Conclusion::NotConformant, "not conformant"),
            (Conclusion::Inconclusive, "inconclusive"),
            (Conclusion::NotJudged, "not judged"),
        ] {
            assert_eq!(conclusion.as_str(), words);
            assert_eq!(conclusion.words(None), words);
            let part = Part {
                checks: 3,
                of: 152,
                options: vec!["--filter cli".to_owned(), "--static-only".to_owned()],
            };
            let part = conclusion.words(Some(&part));
            let marked = part.ends_with("3 of 152 checks (--filter cli --static-only)");
            // What judged nothing claims nothing.
            assert_eq!(marked, conclusion != Conclusion::NotJudged, "{part}");
            assert!(part.starts_with(words), "{part}");
        }
    }
}
