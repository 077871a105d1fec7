//! The command line: what the user can type, and what is wrong with what was typed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::budget::Budget;
use crate::catalogue::{self, ListFormat, matches};
use crate::check::{Check, Families, Level, Needs};
use crate::emulator::EmulationMode;
use crate::event::Part;
use crate::kubernetes::Minor;
use crate::node::checks::Entry as Passive;
use crate::profile::Profile;
use crate::report::human::Detail;
use crate::report::spec::{ReportSpec, SpecError};
use crate::subject::{Platform, Platforms};
use crate::wasi_engine::Engine;

mod audit;
mod command;
mod runtime;

pub use audit::{Audit, AuditFormat, Merge, MergeFormat};
pub use command::command;
pub use runtime::{ContainerEngine, Runtime};

/// Of the program, whose package is not this one.
const ABOUT: &str = "Conformance suite for Kubernetes pause (pod sandbox) images";

const EXIT_STATUS: &str = "\
Exit status:
   0  conformant
   1  not conformant
   2  the suite could not judge: bad input, an error of its own, interrupted, or nothing ran
   3  a MUST stayed inconclusive, or with --require-all was not judged
  64  wrong usage";

const AUDIT_STATUS: &str = "\
Exit status:
   0  no MUST failed
   1  a MUST failed, or with --strict a SHOULD
   2  nothing could be seen or read: no pods, no report, with --judge no program of a pause
   3  a MUST stayed inconclusive
  64  wrong usage";

const SELF_TEST_STATUS: &str = "\
Exit status:
   0  every fixture was judged as it must be, and some fixture breaks each check
      (with --fixture only the former counts)
   2  a wrong verdict, a check that nothing breaks, interrupted, or no sandbox can be made here
  64  wrong usage";

/// Judges Kubernetes pause (pod sandbox) images.
///
/// Runs the image's program in sandboxes of its own making and says, check by check, what is
/// required, which document requires it, and what was observed. Needs no root, no daemon and, for
/// local images, no network.
#[derive(Debug, Parser)]
#[command(name = "pause-conformance", version, about = ABOUT, long_about, after_help = EXIT_STATUS, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of judging.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to judge.
    #[command(flatten)]
    pub judge: Judge,
}

impl Cli {
    /// The arguments of this process. `--version` says this, `-V` the version alone.
    ///
    /// # Errors
    /// What is wrong with them, or the help or version that they ask for.
    pub fn read(version: String) -> Result<Self, clap::Error> {
        let mut command = Self::definition(version);
        let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    }

    /// All that can be typed, as clap describes it.
    pub fn definition(version: String) -> clap::Command {
        // clap takes text that lives as long as the program.
        Self::command().long_version(&*version.leak())
    }
}

/// How many checks a registry has.
fn count(families: Families) -> usize {
    families.iter().map(|family| family.checks.len()).sum()
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the checks
    List {
        /// Which of them.
        #[command(flatten)]
        select: Select,
        /// Form of the list
        #[arg(long, value_enum, default_value_t = ListFormat::Human)]
        format: ListFormat,
    },
    /// Explains checks: requirement, why it matters, how a failure is mended, source, needs
    Explain {
        /// Ids, for example `signals/term-exits-zero`, families or patterns (`signals/*`)
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Form of the explanation
        #[arg(long, value_enum, default_value_t = ListFormat::Human)]
        format: ListFormat,
    },
    /// Tests the suite itself on this host, by programs, images and backends whose faults are known
    #[command(after_help = SELF_TEST_STATUS)]
    SelfTest(SelfTest),
    /// Looks at the pauses that run on this node: whether each is sound and the right one, and whose
    /// the zombies are; reads only
    #[command(after_help = AUDIT_STATUS)]
    Audit(Box<Audit>),
    /// Gathers audits of many nodes, in JSON, into one matrix: nodes × checks
    #[command(after_help = AUDIT_STATUS)]
    Merge(Merge),
    /// Prints the JSON schema of the JSON report, or of the file that holds profiles
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t = SchemaOf::Report)]
        of: SchemaOf,
    },
    /// Prints a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// The JSON report on images.
    Report,
    /// The JSON report of an audit.
    Audit,
    /// `.pause-conformance.toml`, as the data that TOML stands for.
    Profile,
}

/// Which part of the self-test to run; default: all of it.
#[derive(Debug, Default, Args)]
pub struct SelfTest {
    /// Judge only by checks with this id, of this family, or matching this pattern
    /// (`signals/*`); repeatable
    #[arg(long = "check", value_name = "ID")]
    pub checks: Vec<String>,

    /// Judge only the fixtures with this name or matching this pattern (`no-*`); repeatable
    #[arg(long = "fixture", value_name = "NAME")]
    pub fixtures: Vec<String>,
}

/// Which checks, of all there are.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Checks")]
pub struct Select {
    /// Only checks with this id, of this family, or matching this pattern (`signals/*`); repeatable
    #[arg(long = "filter", value_name = "ID")]
    pub filters: Vec<String>,

    /// No checks with this id, of this family, or matching this pattern; repeatable
    #[arg(long = "skip", value_name = "ID")]
    pub skips: Vec<String>,

    /// Only checks of at least this level
    #[arg(long, value_enum)]
    pub level: Option<LevelArgument>,

    /// Levels that a profile sets, by id.
    #[arg(skip)]
    pub levels: BTreeMap<String, Level>,
}

/// How to judge.
#[derive(Clone, Debug, Args)]
pub struct Judge {
    /// Image to judge: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:REF]`,
    /// `docker://REF` or a bare reference, `docker-daemon:REF`, `containers-storage:REF` (podman, CRI-O), `containerd:REF` or
    /// `cri:REF`, `binary:FILE`, `wasm:FILE`, or the path of any of these; repeatable
    #[arg(
        help_heading = "Image",
        long = "image",
        value_name = "REF",
        required = true
    )]
    pub images: Vec<String>,

    /// Platform to judge, `os/arch[/variant]` or `all`; repeatable; default: the host's platform,
    /// and of the image's other platforms for Linux only the files
    #[arg(help_heading = "Image", long = "platform", value_name = "PLATFORM")]
    pub platforms: Vec<String>,

    /// What runs the sandboxes, `embedded`, an OCI runtime, `runc`, `crun` or `youki`, a container
    /// engine, `docker` or `podman`, or `cri`, a containerd of the suite's own; `NAME=PATH` for a program
    /// that is not in PATH, or a socket; repeatable, one run each; default: embedded
    #[arg(
        help_heading = "Sandboxes",
        long = "runtime",
        value_name = "NAME[=PATH]"
    )]
    pub runtimes: Vec<Runtime>,

    /// How foreign binaries are executed; default: the first way that works on this host
    #[arg(help_heading = "Sandboxes", long, value_parser = emulation_mode(), value_name = "MODE")]
    pub emulation: Option<EmulationMode>,

    /// Folder with the programs that test an emulator before it is trusted, `linux-ARCH/pause` and
    /// `linux-ARCH/fixture`; default: $PAUSE_CONFORMANCE_PROGRAMS
    #[arg(help_heading = "Sandboxes", long, value_name = "DIR")]
    pub programs: Option<PathBuf>,

    /// Report to write, `FORMAT[=FILE]`: human, json, junit, tap, markdown, html, github, gitlab, sarif; repeatable; default: human
    #[arg(
        help_heading = "Reports",
        long = "report",
        value_name = "FORMAT[=FILE]"
    )]
    pub reports: Vec<ReportSpec>,

    /// Which checks.
    #[command(flatten)]
    pub select: Select,

    /// A failed SHOULD fails the run
    #[arg(help_heading = "Verdict", long)]
    pub strict: bool,

    /// Figures that fail the run where they are larger, `NAME=LIMIT`, such as `rss=1MiB`,
    /// `image_size=500kB` or `term_latency_p99=50ms`; separated by commas, repeatable
    #[arg(
        help_heading = "Verdict",
        long = "budget",
        value_name = "NAME=LIMIT",
        value_delimiter = ','
    )]
    pub budgets: Vec<Budget>,

    /// Options, levels, budgets and expectations of this name in `.pause-conformance.toml`
    #[arg(help_heading = "Verdict", long, value_name = "NAME")]
    pub profile: Option<String>,

    /// File that holds the profiles; default: `.pause-conformance.toml`
    #[arg(
        help_heading = "Verdict",
        long,
        value_name = "FILE",
        requires = "profile"
    )]
    pub config: Option<PathBuf>,

    /// A MUST that this host could not judge makes the run inconclusive (exit status 3)
    #[arg(help_heading = "Verdict", long)]
    pub require_all: bool,

    /// File that lists known failures; one that passes fails the run
    #[arg(help_heading = "Verdict", long, value_name = "FILE")]
    pub expect: Option<PathBuf>,

    /// Image to compare with, such as the last release: a SHOULD that passes there and fails here
    /// fails the run, and the report shows the measurements of both
    #[arg(help_heading = "Verdict", long, value_name = "REF")]
    pub baseline: Option<String>,

    /// How many checks run at the same time; default: two per processor
    #[arg(help_heading = "Sandboxes", long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// How many times everything is run, one run after another
    #[arg(help_heading = "Sandboxes", long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub repeat: u16,

    /// Time limit of one check, in seconds
    #[arg(help_heading = "Sandboxes", long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,

    /// Kubernetes minor version that the image is meant for, `1.34` or `34`
    #[arg(help_heading = "Image", long, value_name = "MINOR", value_parser = Minor::parse)]
    pub kubernetes: Option<Minor>,

    /// Platform that the image's index must hold; repeatable
    #[arg(help_heading = "Image", long = "require-platform", value_name = "PLATFORM", value_parser = platform)]
    pub required_platforms: Vec<Platform>,

    /// WASI runtime that runs a WASI pause as PID 1 of its sandbox
    #[arg(help_heading = "Sandboxes", long, value_enum, value_name = "ENGINE", default_value_t = WasiEngine::Builtin)]
    pub wasi_engine: WasiEngine,

    /// Only checks that need no sandbox; they do not show how the program behaves when it runs
    #[arg(help_heading = "Checks", long)]
    pub static_only: bool,

    /// Also the checks that take long: soak runs
    #[arg(help_heading = "Checks", long)]
    pub long: bool,

    /// Allow registries over plain HTTP, or with a certificate that cannot be verified
    #[arg(help_heading = "Image", long)]
    pub insecure_registry: bool,

    /// No progress on stderr, and in the report for people only what needs attention, and the
    /// conclusion
    #[arg(help_heading = "Reports", long, short, conflicts_with = "verbose")]
    pub quiet: bool,

    /// In the report for people also what passed, and each check that was skipped
    #[arg(help_heading = "Reports", long, short)]
    pub verbose: bool,
}

/// `--wasi-engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WasiEngine {
    /// The suite's own: a good PID 1.
    Builtin,
    /// The `wasmtime` command.
    Wasmtime,
    /// Node's module `node:wasi`.
    Node,
    /// Python's package `wasmtime`.
    Python,
}

impl From<WasiEngine> for Engine {
    fn from(engine: WasiEngine) -> Self {
        match engine {
            WasiEngine::Builtin => Self::Builtin,
            WasiEngine::Wasmtime => Self::Wasmtime,
            WasiEngine::Node => Self::Node,
            WasiEngine::Python => Self::Python,
        }
    }
}

/// `--level`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LevelArgument {
    /// Only MUST.
    Must,
    /// MUST and SHOULD.
    Should,
}

/// A wrong word on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct UsageError {
    message: String,
    /// What to type instead.
    pub hint: Option<String>,
}

impl UsageError {
    /// What clap found wrong, in one line, and what it knows to suggest.
    pub fn of(error: &clap::Error) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        let named = |kind| match error.get(kind) {
            Some(ContextValue::String(word)) => word.clone(),
            Some(ContextValue::Strings(words)) => words.join(", "),
            _ => String::new(),
        };
        let suggested = [
            ContextKind::SuggestedArg,
            ContextKind::SuggestedSubcommand,
            ContextKind::SuggestedValue,
        ];
        let suggested = suggested.map(named).into_iter().find(|it| !it.is_empty());
        let valid = named(ContextKind::ValidValue);
        let source = std::error::Error::source(error);
        let hint = if let Some(wrong) = source.and_then(|it| it.downcast_ref::<SpecError>()) {
            wrong.hint()
        } else if let Some(wrong) =
            source.and_then(|it| it.downcast_ref::<SpecError<AuditFormat>>())
        {
            wrong.hint()
        } else if let Some(word) = suggested {
            format!("did you mean {word}?")
        } else if !valid.is_empty() {
            format!("known: {valid}")
        } else {
            "`pause-conformance --help` lists the options".to_owned()
        };
        let message = match error.kind() {
            // One a line below the first.
            ErrorKind::MissingRequiredArgument => {
                format!("{} is missing", named(ContextKind::InvalidArg))
            }
            _ => first.trim_end_matches(':').to_owned(),
        };
        Self {
            message,
            hint: Some(hint),
        }
    }
}

impl Select {
    /// The checks that filters and level leave, in registry order.
    ///
    /// # Errors
    /// A filter that no check matches, or options that leave none.
    pub fn checks(&self, families: Families) -> Result<Vec<&'static Check>, UsageError> {
        let all = || {
            families
                .iter()
                .flat_map(|family| family.checks.iter().copied())
        };
        let named = |option| move |filter: &String| (option, filter.clone());
        let filters = self.filters.iter().map(named("--filter"));
        for (option, filter) in filters.chain(self.skips.iter().map(named("--skip"))) {
            if !all().any(|check| matches(&filter, check.id)) {
                let filter = pause_image::escape_text(&filter);
                if !catalogue::select_of_audit(&[filter.to_string()], &[], Level::Info).is_empty() {
                    return Err(UsageError {
                        message: format!(
                            "{option} {filter}: a check of pods that run, not of images"
                        ),
                        hint: Some(
                            "`pause-conformance audit` judges pods, and does so by all its checks"
                                .to_owned(),
                        ),
                    });
                }
                let near = crate::suggest::nearest(&filter, all().map(|check| check.id));
                return Err(UsageError {
                    message: format!("no check matches {option} {filter}"),
                    hint: Some(match near {
                        Some(id) => {
                            format!("did you mean {id}? `pause-conformance list` names them all")
                        }
                        None => "`pause-conformance list` names them all".to_owned(),
                    }),
                });
            }
        }
        let level = self.least();
        let any = |filters: &[String], id| filters.iter().any(|filter| matches(filter, id));
        let checks: Vec<_> = all()
            .filter(|check| *self.levels.get(check.id).unwrap_or(&check.level) <= level)
            .filter(|check| self.filters.is_empty() || any(&self.filters, check.id))
            .filter(|check| !any(&self.skips, check.id))
            .collect();
        if checks.is_empty() {
            return Err(UsageError {
                message: format!("{} leaves no check", self.options().join(" ")),
                hint: Some("leave out one of them".to_owned()),
            });
        }
        Ok(checks)
    }

    /// The same of the catalogue, which has the checks of `audit` too.
    ///
    /// # Errors
    /// As [`Select::checks`].
    pub fn listed(
        &self,
        families: Families,
    ) -> Result<(Vec<&'static Check>, Vec<Passive>), UsageError> {
        let of_audit = catalogue::select_of_audit(&self.filters, &self.skips, self.least());
        let is_of_audit = |filter: &String| {
            let mut all = families.iter().flat_map(|family| family.checks.iter());
            let known = catalogue::select_of_audit(std::slice::from_ref(filter), &[], Level::Info);
            !known.is_empty() && !all.any(|check| matches(filter, check.id))
        };
        let others = |these: &[String]| {
            let others = these.iter().filter(|it| !is_of_audit(it));
            others.cloned().collect::<Vec<_>>()
        };
        let of_images = Self {
            filters: others(&self.filters),
            skips: others(&self.skips),
            ..self.clone()
        };
        if of_images.filters.is_empty() && !self.filters.is_empty() && !of_audit.is_empty() {
            return Ok((Vec::new(), of_audit));
        }
        Ok((of_images.checks(families)?, of_audit))
    }

    /// The level that binds least, of those that are asked for.
    fn least(&self) -> Level {
        match self.level {
            Some(LevelArgument::Must) => Level::Must,
            Some(LevelArgument::Should) => Level::Should,
            None => Level::Info,
        }
    }

    /// The options as they were typed.
    pub fn options(&self) -> Vec<String> {
        let filters = self.filters.iter().map(|it| format!("--filter {it}"));
        let skips = self.skips.iter().map(|it| format!("--skip {it}"));
        let level = self.level.iter().map(|level| match level {
            LevelArgument::Must => "--level must".to_owned(),
            LevelArgument::Should => "--level should".to_owned(),
        });
        filters.chain(skips).chain(level).collect()
    }
}

impl Judge {
    /// The first podman that was asked for.
    pub(crate) fn podman(&self) -> Option<&Runtime> {
        let mut all = self.runtimes.iter();
        all.find(|it| matches!(it, Runtime::Engine(ContainerEngine::Podman, _)))
    }

    /// The checks that the options leave, in registry order.
    ///
    /// # Errors
    /// A filter that no check matches, or options that leave none.
    pub fn checks(&self, families: Families) -> Result<Vec<&'static Check>, UsageError> {
        let mut checks = self.select.checks(families)?;
        if self.static_only {
            checks.retain(|check| !check.needs.contains(Needs::SANDBOX));
            if checks.is_empty() {
                return Err(UsageError {
                    message: format!(
                        "every check of {} needs a sandbox, and --static-only makes none",
                        self.select.options().join(" ")
                    ),
                    hint: Some("leave out one of the two".to_owned()),
                });
            }
        }
        Ok(checks)
    }

    /// Which part of all checks these are, and by which options; `None` where they are all. One
    /// whose level a profile lowers is none of them.
    pub fn part(&self, checks: &[&'static Check], families: Families) -> Option<Part> {
        let in_report = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let all = count(families);
        let levels = &self.select.levels;
        let is_lower = |check: &&&Check| levels.get(check.id).is_some_and(|it| *it > check.level);
        let lower = checks.iter().filter(is_lower).count();
        if checks.len() - lower >= all {
            return None;
        }
        let select = self.select.options().into_iter();
        let static_only = self.static_only.then(|| "--static-only".to_owned());
        let profile = self.profile.iter().filter(|_| lower > 0);
        let profile = profile.map(|name| format!("--profile {name}"));
        Some(Part {
            checks: in_report(checks.len() - lower),
            of: in_report(all),
            options: select.chain(static_only).chain(profile).collect(),
        })
    }

    /// The same options, with those of a profile where they do not say otherwise.
    #[must_use]
    pub fn with(&self, profile: &Profile) -> Self {
        let mut all = self.clone();
        all.strict |= profile.strict;
        all.require_all |= profile.require_all;
        all.kubernetes = all.kubernetes.or(profile.kubernetes);
        if all.select.filters.is_empty() {
            all.select.filters.clone_from(&profile.filters);
        }
        all.select.skips.extend_from_slice(&profile.skips);
        all.select.levels.clone_from(&profile.levels);
        let own = |budget: &&Budget| self.budgets.iter().all(|it| it.name() != budget.name());
        all.budgets
            .extend(profile.budgets.iter().filter(own).cloned());
        all
    }

    /// How much the report for people says.
    pub fn detail(&self) -> Detail {
        match (self.quiet, self.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Usual,
        }
    }

    /// Which platforms of an image are judged.
    ///
    /// # Errors
    /// A word that is no platform.
    pub fn platforms(&self) -> Result<Platforms, UsageError> {
        if self.platforms.is_empty() {
            return Ok(Platforms::HostFirst);
        }
        if self.platforms.iter().any(|word| word == "all") {
            return Ok(Platforms::All);
        }
        let list = self.platforms.iter().map(|word| {
            platform(word).map_err(|message| UsageError {
                message: format!("--platform {word}: {message}"),
                hint: Some("for example linux/arm64, linux/arm/v7, or all".to_owned()),
            })
        });
        Ok(Platforms::List(list.collect::<Result<_, _>>()?))
    }
}

/// The default of `--timeout`.
const TIMEOUT: Duration = Duration::from_mins(1);

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = f64::from_str(word).map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

fn platform(word: &str) -> Result<Platform, String> {
    let mut parts = word.split('/');
    let (Some(os), Some(architecture), variant, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("expected os/architecture[/variant], for example linux/arm64".to_owned());
    };
    if os.is_empty() || architecture.is_empty() || variant == Some("") {
        return Err("expected os/architecture[/variant], for example linux/arm64".to_owned());
    }
    Ok(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    })
}

/// The word of `--emulation`.
fn emulation_name(mode: EmulationMode) -> &'static str {
    match mode {
        EmulationMode::Private => "private",
        EmulationMode::Host => "host",
        EmulationMode::Program => "program",
    }
}

/// Reads [`EmulationMode`]; its crate knows of no command line.
fn emulation_mode() -> impl TypedValueParser<Value = EmulationMode> {
    use EmulationMode::{Host, Private, Program};
    let modes = [
        (
            Private,
            "By an entry in a private binfmt_misc, in the sandboxes' own user namespace (Linux \
             6.7)",
        ),
        (Host, "By the host's own binfmt_misc entry"),
        (
            Program,
            "By no entry: the emulator is started, with the program as its argument",
        ),
    ];
    let name = emulation_name;
    let values = modes.map(|(mode, help)| PossibleValue::new(name(mode)).help(help));
    PossibleValuesParser::new(values).try_map(move |name| {
        let mode = modes.iter().find(|(mode, _)| emulation_name(*mode) == name);
        mode.map(|(mode, _)| *mode).ok_or("unknown")
    })
}
