//! `audit` and `merge`, from what was typed to an exit status.

use std::env;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use crate::check::Families;
use crate::cli::{self, AuditFormat, Merge, MergeFormat};
use crate::event::Host;
use crate::interrupt::{self, InOrder};
use crate::node::checks::{self, Options};
use crate::node::descriptors::Raised;
use crate::node::gather::{Gathered, gather};
use crate::node::merge::Matrix;
use crate::node::model::{Audit, Head};
use crate::node::proc::ProcRoot;
use crate::node::{source, watch};
use crate::report::audit::table::View;
use crate::report::audit::{json, markdown, matrix, prometheus, table};
#[cfg(feature = "junit")]
use crate::report::junit;
use crate::report::output::Output;
use crate::report::spec::{self, ReportSpec};
use crate::report::{html, tap};
use crate::subject::io_words;
use crate::suite::{self, Failure};

mod judge;

/// The largest report that is merged.
const MOST: u64 = 256 << 20;
/// The variable with the node's name, where a manifest sets it.
const NODE_NAME: &str = "NODE_NAME";

/// Audits this node; with `--judge`, judges its pauses by the checks of a registry.
///
/// # Errors
/// [`Failure`] where nothing could be seen, or a report not be written.
pub fn run(options: &cli::Audit, families: Families) -> Result<ExitCode, Failure> {
    if options.checks {
        // A reader that has gone is no error.
        let _ = anstream::stdout().write_all(checks::list().as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let specs = spec::plan(&options.reports)
        .map_err(|error| Failure::usage(error.to_string(), Some(error.hint())))?;
    let outputs = open(&specs)?;
    let descriptors = Raised::begin();
    let root = ProcRoot::open(&options.proc).map_err(|error| unread(options, &error))?;
    let (mut audit, seen) = look(options, &root, true)?;
    write(options, &audit, &outputs)?;
    if let Some(done) = &options.done {
        tell(done, &specs)?;
    }
    if let Some(interval) = options.watch {
        audit = keep_watching(options, &root, audit, &outputs, interval)?;
    }
    let mut status = audit.conclusion.exit_status();
    drop(descriptors);
    if options.judge {
        let judged = judge::each(&seen, &options.reports, families)?;
        status = judged.map_or(status, |judged| judge::worse(status, judged));
    }
    Ok(ExitCode::from(status))
}

type Outputs<'s> = Vec<(&'s ReportSpec<AuditFormat>, Output)>;

/// Opens what is written at the end, so that what cannot be written is known now.
fn open(specs: &[ReportSpec<AuditFormat>]) -> Result<Outputs<'_>, Failure> {
    let outputs = specs.iter().map(|spec| {
        let output = match &spec.file {
            None => Ok(Output::stdout()),
            Some(file) => Output::file(file),
        };
        let output = output.map_err(|error| unwritten(spec, &error))?;
        Ok((spec, output))
    });
    outputs.collect()
}

/// Writes the path of the first report that is a file.
fn tell(done: &Path, specs: &[ReportSpec<AuditFormat>]) -> Result<(), Failure> {
    let path = specs.iter().find_map(|spec| spec.file.as_ref());
    let path = path
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let written = Output::file(done).and_then(|output| output.commit(path.as_bytes()));
    written.map_err(|error| {
        let why = io_words(&error);
        Failure::not_judged(format!("cannot write `{}`: {why}", done.display()), None)
    })
}

fn unwritten(spec: &ReportSpec<AuditFormat>, error: &io::Error) -> Failure {
    let target = spec.file.as_ref().map_or_else(
        || "stdout".to_owned(),
        |file| format!("`{}`", file.display()),
    );
    Failure::not_judged(
        format!(
            "cannot write the {} report to {target}: {}",
            spec.format,
            io_words(error)
        ),
        Some("check that its folder exists and that you may write to it".to_owned()),
    )
}

fn unread(options: &cli::Audit, error: &io::Error) -> Failure {
    let path = options.proc.display();
    Failure::not_judged(
        format!("cannot read {path}: {}", io_words(error)),
        Some("mount it: mount -t proc proc /proc, or name it with --proc".to_owned()),
    )
}

/// Looks at the node once. The first time, what the user names must be there.
fn look(
    options: &cli::Audit,
    root: &ProcRoot,
    is_first: bool,
) -> Result<(Audit, Gathered), Failure> {
    let began = Instant::now();
    let started = suite::time_of_day();
    root.patience().renew();
    let sources = source::all(root, &options.sockets);
    let mut seen = gather(root, &sources).map_err(|error| unread(options, &error))?;
    if is_first {
        asked_in_vain(options, &seen)?;
    }
    let wanted = options.pod.as_deref().map(|wanted| which(&seen, wanted));
    let wanted = match wanted {
        // Later it may go away.
        Some(found) if is_first => Some(found?),
        other => other.map(Result::unwrap_or_default),
    };
    let how = Options {
        zombie_age: f64::from(options.zombie_age),
        kubernetes: options.kubernetes,
    };
    let head = Head {
        tool: suite::tool(),
        started,
        duration_us: 0,
        host: host(),
        strict: options.strict,
    };
    // The node is judged by all of its pods.
    let mut audit = Audit::of(&seen, &how, head);
    if let Some(wanted) = wanted {
        audit.leave(&wanted);
        seen.pods.retain(|pod| wanted.contains(&pod.told.id));
    }
    audit.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Ok((audit, seen))
}

/// This node. In a pod the host's name is the pod's, so that its manifest tells the node's.
fn host() -> Host {
    let mut host = suite::describe_host(1.0);
    if let Some(name) = env::var(NODE_NAME).ok().filter(|name| !name.is_empty()) {
        host.name = name;
    }
    host
}

/// A runtime that the user names is to answer.
fn asked_in_vain(options: &cli::Audit, seen: &Gathered) -> Result<(), Failure> {
    if options.sockets.is_empty() {
        return Ok(());
    }
    if cfg!(not(feature = "cri")) {
        return Err(Failure::not_judged(
            "this build cannot ask a CRI runtime",
            Some("build with --features cri".to_owned()),
        ));
    }
    let mut silent = seen.sources.iter().filter(|it| it.name == "cri");
    let silent = silent.find_map(|it| Some((&it.place, it.answer.as_ref().err()?)));
    silent.map_or(Ok(()), |(place, why)| {
        Err(Failure::not_judged(
            format!("--cri {}: {why}", place.display()),
            Some("check that the runtime runs, and that you may use its socket".to_owned()),
        ))
    })
}

/// The ids of the pods that are meant.
fn which(seen: &Gathered, wanted: &str) -> Result<Vec<String>, Failure> {
    let title = |pod: &crate::node::gather::PodFacts| match &pod.told.namespace {
        Some(namespace) => format!("{namespace}/{}", pod.told.name),
        None => pod.told.name.clone(),
    };
    let known: Vec<_> = seen.pods.iter().map(title).collect();
    let meant = seen.pods.iter().filter(|pod| {
        let uid = pod.told.uid.as_deref();
        title(pod) == wanted || pod.told.id == wanted || uid == Some(wanted)
    });
    let ids: Vec<_> = meant.map(|pod| pod.told.id.clone()).collect();
    if !ids.is_empty() {
        return Ok(ids);
    }
    let near = crate::suggest::nearest(wanted, known.iter().map(String::as_str));
    Err(Failure::not_judged(
        format!("no pod {}", pause_image::escape_text(wanted)),
        Some(match near {
            Some(name) => format!("did you mean {}?", pause_image::escape_text(name)),
            None => "`pause-conformance audit` lists all pods, as NAMESPACE/NAME".to_owned(),
        }),
    ))
}

fn view(options: &cli::Audit) -> View {
    match (options.zombies, &options.pod) {
        (true, _) => View::Zombies,
        (false, Some(_)) => View::Pod,
        (false, None) => View::Pods,
    }
}

fn write(options: &cli::Audit, audit: &Audit, outputs: &Outputs<'_>) -> Result<(), Failure> {
    for (spec, output) in outputs {
        let text = render(audit, spec.format, view(options));
        let written = text.and_then(|text| output.commit(text.as_bytes()));
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(unwritten(spec, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn render(audit: &Audit, format: AuditFormat, view: View) -> io::Result<String> {
    match format {
        AuditFormat::Human => table::render(audit, view).map_err(io::Error::other),
        AuditFormat::Json => Ok(json::render(audit)?),
        AuditFormat::Markdown => markdown::render(audit).map_err(io::Error::other),
        AuditFormat::Html => html::render(&audit.report()).map_err(io::Error::other),
        AuditFormat::Tap => tap::render(&audit.report()).map_err(io::Error::other),
        #[cfg(feature = "junit")]
        AuditFormat::Junit => junit::render(&audit.report()).map_err(io::Error::other),
        #[cfg(not(feature = "junit"))]
        AuditFormat::Junit => Err(io::Error::other(
            "this build cannot write JUnit; build with --features junit",
        )),
        AuditFormat::Prometheus => {
            prometheus::render(audit, began(audit)).map_err(io::Error::other)
        }
    }
}

/// When an audit began, in seconds since 1970.
fn began(audit: &Audit) -> f64 {
    let began = humantime::parse_rfc3339(&audit.started).ok();
    let since = began.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0.0, |it| it.as_secs_f64())
}

/// Looks again and again; each time what is written to files is written anew, and what changed is
/// said.
fn keep_watching(
    options: &cli::Audit,
    root: &ProcRoot,
    mut before: Audit,
    outputs: &Outputs<'_>,
    interval: Duration,
) -> Result<Audit, Failure> {
    let _in_order = InOrder::begin();
    while interrupt::pause(interval).is_ok() {
        let (now, _) = look(options, root, false)?;
        for (spec, output) in outputs.iter().filter(|(spec, _)| spec.file.is_some()) {
            let text = render(&now, spec.format, view(options));
            let written = text.and_then(|text| output.commit(text.as_bytes()));
            written.map_err(|error| unwritten(spec, &error))?;
        }
        let mut lines = String::new();
        for change in watch::changes(&before, &now) {
            let change = crate::report::text::line(&change);
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{} {change}", now.started);
        }
        // Nothing follows a document. A reader that has gone is no error, but the end.
        let is_document = outputs
            .iter()
            .any(|(spec, _)| spec.file.is_none() && spec.format != AuditFormat::Human);
        let written = if is_document {
            anstream::stderr().write_all(lines.as_bytes())
        } else {
            anstream::stdout().write_all(lines.as_bytes())
        };
        if written.is_err() {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Gathers audits of many nodes.
///
/// # Errors
/// [`Failure`] where one cannot be read.
pub fn merge(options: &Merge) -> Result<ExitCode, Failure> {
    let audits = options.reports.iter().map(|path| read(path));
    let matrix = Matrix::of(&audits.collect::<Result<Vec<_>, _>>()?);
    let text = match options.format {
        MergeFormat::Human => matrix::human(&matrix).map_err(io::Error::other),
        MergeFormat::Markdown => matrix::markdown(&matrix).map_err(io::Error::other),
        MergeFormat::Json => json::render_matrix(&matrix).map_err(io::Error::from),
    };
    let text = text
        .map_err(|error| Failure::not_judged(format!("cannot write the matrix: {error}"), None))?;
    // A reader that has gone is no error.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(matrix.conclusion.exit_status()))
}

fn read(path: &Path) -> Result<Audit, Failure> {
    let wrong = |why: String| {
        Failure::not_judged(
            format!("cannot read {}: {why}", path.display()),
            Some("give what `pause-conformance audit --report json=FILE` writes".to_owned()),
        )
    };
    let text = bounded(path).map_err(|error| wrong(io_words(&error)))?;
    let audit: Audit = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("it is no report of an audit: {error}")))?;
    let version = crate::node::model::SCHEMA_VERSION;
    if audit.schema_version != version {
        return Err(wrong(format!(
            "its schema_version is {}, and {version} is known",
            audit.schema_version
        )));
    }
    Ok(audit)
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = std::fs::File::open(path)?
        .take(MOST + 1)
        .read_to_end(&mut text)?;
    if read as u64 > MOST {
        return Err(io::Error::other("it is larger than any report"));
    }
    Ok(text)
}
