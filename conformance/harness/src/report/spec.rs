//! `--report FORMAT[=FILE]`: the reports that the user asked for, validated together.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; each run is printed when it ends.
    Human,
    /// JSON, by the schema in `schema/`.
    Json,
    /// XML that CI servers read.
    Junit,
    /// Test Anything Protocol, version 14.
    Tap,
    /// Markdown, for a CI job summary.
    Markdown,
    /// HTML in one self-contained file.
    Html,
    /// Annotations of GitHub Actions, as workflow commands.
    Github,
    /// JSON that GitLab reads as Code Quality.
    Gitlab,
    /// SARIF 2.1.0, which code scanning reads.
    Sarif,
}

/// A set of formats: those of the suite, or those of an audit.
pub trait Formats: ValueEnum + fmt::Display + fmt::Debug + Copy + PartialEq + 'static {
    /// The one for people, which is the default.
    const PEOPLE: Self;

    /// The word on the command line.
    fn as_str(self) -> &'static str;
}

impl Formats for Format {
    const PEOPLE: Self = Self::Human;

    fn as_str(self) -> &'static str {
        Self::as_str(self)
    }
}

impl Format {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Human => "human",
            Format::Json => "json",
            Format::Junit => "junit",
            Format::Tap => "tap",
            Format::Markdown => "markdown",
            Format::Html => "html",
            Format::Github => "github",
            Format::Gitlab => "gitlab",
            Format::Sarif => "sarif",
        }
    }
}

/// One report: its format and destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSpec<F = Format> {
    /// The format.
    pub format: F,
    /// The file; `None` is stdout.
    pub file: Option<PathBuf>,
}

/// An error in the reports that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError<F: Formats = Format> {
    /// No such format.
    #[error("unknown report format `{name}`; known are {}", known::<F>())]
    UnknownFormat {
        /// The word that was given.
        name: String,
    },
    /// `json=` with nothing after it.
    #[error("no file after `{format}=`")]
    NoFile {
        /// The format.
        format: F,
    },
    /// More than one report for stdout.
    #[error("reports {first} and {second} both go to stdout")]
    SharedStdout {
        /// One.
        first: F,
        /// The other.
        second: F,
    },
    /// More than one report for a file.
    #[error("reports {first} and {second} both go to `{}`", file.display())]
    SharedFile {
        /// One.
        first: F,
        /// The other.
        second: F,
        /// The file.
        file: PathBuf,
    },
}

impl<F: Formats> SpecError<F> {
    /// A hint for the user.
    pub fn hint(&self) -> String {
        match self {
            SpecError::UnknownFormat { name } => {
                let words = F::value_variants().iter().map(|format| format.as_str());
                match crate::suggest::nearest(name, words) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => "write `--report FORMAT` or `--report FORMAT=FILE`".to_owned(),
                }
            }
            SpecError::NoFile { format } => {
                format!("leave out the `=` for stdout, or write `{format}=FILE`")
            }
            SpecError::SharedStdout { second: format, .. }
            | SpecError::SharedFile { second: format, .. } => {
                format!("give one a file of its own: `{format}=FILE`")
            }
        }
    }
}

fn known<F: Formats>() -> String {
    let words: Vec<_> = F::value_variants()
        .iter()
        .map(|format| format.as_str())
        .collect();
    words.join(", ")
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<F: Formats> FromStr for ReportSpec<F> {
    type Err = SpecError<F>;

    /// Reads `FORMAT`, `FORMAT=FILE` or, for stdout, `FORMAT=-`.
    fn from_str(text: &str) -> Result<Self, SpecError<F>> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (name, Some(file)),
            None => (text, None),
        };
        let format = F::value_variants()
            .iter()
            .copied()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| SpecError::UnknownFormat {
                name: name.to_owned(),
            })?;
        match file {
            Some("") => Err(SpecError::NoFile { format }),
            None | Some("-") => Ok(Self { format, file: None }),
            Some(file) => Ok(Self {
                format,
                file: Some(PathBuf::from(file)),
            }),
        }
    }
}

/// The reports to write: those that were asked for, and the one for people if no other goes to
/// stdout.
///
/// # Errors
/// When two go to stdout or to one file.
pub fn plan<F: Formats>(asked: &[ReportSpec<F>]) -> Result<Vec<ReportSpec<F>>, SpecError<F>> {
    for (number, second) in asked.iter().enumerate() {
        let earlier = asked.iter().take(number);
        let Some(first) = earlier.into_iter().find(|first| same(first, second)) else {
            continue;
        };
        let (first, format) = (first.format, second.format);
        return Err(match &second.file {
            None => SpecError::SharedStdout {
                first,
                second: format,
            },
            Some(file) => SpecError::SharedFile {
                first,
                second: format,
                file: file.clone(),
            },
        });
    }
    let mut all = asked.to_vec();
    if all.iter().all(|spec| spec.file.is_some()) {
        all.insert(
            0,
            ReportSpec {
                format: F::PEOPLE,
                file: None,
            },
        );
    }
    Ok(all)
}

fn same<F>(a: &ReportSpec<F>, b: &ReportSpec<F>) -> bool {
    match (&a.file, &b.file) {
        (None, None) => true,
        (Some(a), Some(b)) => resolved(a) == resolved(b),
        _ => false,
    }
}

/// The path with symbolic links resolved, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}
