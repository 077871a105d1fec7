//! All reports of one invocation: each event goes to all of them.
//!
//! A broken pipe ends that report without an error. Any other error ends that report alone, and is
//! returned at the end.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anstream::{AutoStream, StripStream};

use crate::event::{Event, Report};
use crate::report::human::{Detail, Human};
#[cfg(feature = "junit")]
use crate::report::junit;
use crate::report::output::Output;
use crate::report::patient::Patient;
use crate::report::spec::{Format, ReportSpec};
use crate::report::{Reporter, github, gitlab, html, json, markdown, sarif, tap, wrap};

/// A report that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {format} report to {}", target(file.as_ref()))]
pub struct ReportError {
    /// Its format.
    pub format: Format,
    /// Its file; `None` is stdout.
    pub file: Option<PathBuf>,
    /// The cause.
    pub source: io::Error,
}

fn target(file: Option<&PathBuf>) -> String {
    match file {
        Some(file) => format!("`{}`", file.display()),
        None => "stdout".to_owned(),
    }
}

/// Hands each event to every report.
#[derive(Default)]
pub struct Reporters<'p> {
    /// The progress line. An error of it is not reported.
    progress: Option<Box<dyn Reporter + 'p>>,
    reports: Vec<(ReportSpec, Box<dyn Reporter>)>,
    errors: Vec<ReportError>,
}

impl<'p> Reporters<'p> {
    /// Opens every report of the plan, and writes nothing.
    ///
    /// # Errors
    /// For the first report that cannot be written.
    pub fn open(plan: &[ReportSpec], detail: Detail) -> Result<Self, ReportError> {
        let mut all = Self::default();
        for spec in plan {
            let reporter = open(spec, detail).map_err(|source| error(spec, source))?;
            all.reports.push((spec.clone(), reporter));
        }
        Ok(all)
    }

    /// Adds a progress line. It gets each event first, to remove its line before a report is
    /// printed.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Reporter + 'p) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Drops each report that is not among these.
    pub fn keep(&mut self, these: &[ReportSpec]) {
        self.reports.retain(|(spec, _)| these.contains(spec));
    }

    /// Shows an event as progress only; no report has it.
    pub fn aside(&mut self, event: &Event<'_>) {
        if let Some(progress) = &mut self.progress
            && progress.event(event).is_err()
        {
            self.progress = None;
        }
    }

    /// Passes an event to all reports.
    pub fn event(&mut self, event: &Event<'_>) {
        self.aside(event);
        let errors = &mut self.errors;
        self.reports
            .retain_mut(|(spec, reporter)| match reporter.event(event) {
                Ok(()) => true,
                Err(source) => {
                    if source.kind() != io::ErrorKind::BrokenPipe {
                        errors.push(error(spec, source));
                    }
                    false
                }
            });
    }

    /// The reports that could not be written, in the order of their errors.
    pub fn finish(self) -> Vec<ReportError> {
        self.errors
    }
}

fn error(spec: &ReportSpec, source: io::Error) -> ReportError {
    ReportError {
        format: spec.format,
        file: spec.file.clone(),
        source,
    }
}

/// Whether it is the summary of a step of a workflow, which every program of the step adds to
/// (GitHub, "Workflow commands", "Adding a job summary").
fn is_step_summary(file: &Path) -> bool {
    std::env::var_os("GITHUB_STEP_SUMMARY").is_some_and(|summary| file.as_os_str() == summary)
}

fn open(spec: &ReportSpec, detail: Detail) -> io::Result<Box<dyn Reporter>> {
    let output = match &spec.file {
        Some(file) if spec.format == Format::Markdown && is_step_summary(file) => {
            Output::added_to(file)?
        }
        Some(file) => Output::file(file)?,
        None => Output::stdout(),
    };
    let render: Render = match spec.format {
        Format::Human if spec.file.is_none() => {
            let colours = AutoStream::choice(&io::stdout());
            let stdout: Box<dyn Write> = Box::new(Patient::stdout());
            let stdout = AutoStream::new(stdout, colours);
            let human = Human::new(BufWriter::new(stdout)).saying(detail);
            return Ok(Box::new(match wrap::terminal_columns() {
                Some(columns) => human.wrapped(columns),
                None => human,
            }));
        }
        Format::Human => match detail {
            Detail::Quiet => |report| people(report, Detail::Quiet),
            Detail::Usual => |report| people(report, Detail::Usual),
            Detail::Verbose => |report| people(report, Detail::Verbose),
        },
        Format::Json => |report| Ok(json::render(report)?.into_bytes()),
        #[cfg(feature = "junit")]
        Format::Junit => |report| finished(junit::render(report)),
        #[cfg(not(feature = "junit"))]
        Format::Junit => {
            return Err(io::Error::other(
                "this build cannot write JUnit; build with --features junit",
            ));
        }
        Format::Tap => |report| finished(tap::render(report)),
        Format::Markdown => |report| finished(markdown::render(report)),
        Format::Html => |report| finished(html::render(report)),
        Format::Github => |report| finished(github::render(report)),
        Format::Gitlab => |report| Ok(gitlab::render(report)?.into_bytes()),
        Format::Sarif => |report| Ok(sarif::render(report)?.into_bytes()),
    };
    Ok(Box::new(Document { output, render }))
}

/// The report for people, for a file.
fn people(report: &Report, detail: Detail) -> io::Result<Vec<u8>> {
    let mut human = Human::new(StripStream::new(Vec::new())).saying(detail);
    human.whole(report)?;
    Ok(human.into_inner().into_inner())
}

fn finished<E>(text: Result<String, E>) -> io::Result<Vec<u8>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    text.map(String::into_bytes).map_err(io::Error::other)
}

type Render = fn(&Report) -> io::Result<Vec<u8>>;

/// A report that is written in one piece, at the end.
struct Document {
    output: Output,
    render: Render,
}

impl Reporter for Document {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::SuiteFinished { report } => self.output.commit(&(self.render)(report)?),
            _ => Ok(()),
        }
    }
}
