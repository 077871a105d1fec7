//! Prepares everything that the runs need, runs them, and ends with a report.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::plan::{self, Chosen, Planned, Unread};
use super::{
    Baselines, Failure, Ran, SPEC_VERSION, Suite, describe_host, find_wasi_engine, jobs,
    load_failure, measure_host, prepare, suffices, time_of_day, tool, unread_expectations,
    unusable, unwritten, without_sandbox,
};
use crate::backend::embedded::Embedded;
use crate::backend::oci::Oci;
use crate::backend::{Backend, Unusable};
use crate::budget::Budget;
use crate::check::{Check, Families, Needs};
use crate::cli::{ContainerEngine, Judge, Runtime};
use crate::event::{Conclusion, Event, Part, Report, SCHEMA_VERSION};
use crate::expect::Expectations;
use crate::interrupt::{self, InOrder};
use crate::profile::Profile;
use crate::report::compare;
use crate::report::reporters::Reporters;
use crate::shortage::needs::Room;
use crate::subject::{self, LoadOptions, Platform, Platforms, Reference, Subject};

/// What the options ask for, before any image is read.
pub(super) struct Asked {
    checks: Vec<&'static Check>,
    /// Which part of all they are.
    part: Option<Part>,
    platforms: Platforms,
    expectations: Expectations,
    profile: Option<Profile>,
}

impl Asked {
    pub(super) fn of(
        options: &Judge,
        profile: Option<Profile>,
        families: Families,
    ) -> Result<Self, Failure> {
        let checks = options
            .checks(families)
            .map_err(|error| Failure::usage(error.to_string(), error.hint))?;
        let platforms = options
            .platforms()
            .map_err(|error| Failure::usage(error.to_string(), error.hint))?;
        let read = |path: &PathBuf| Expectations::read(path, families);
        let expectations = options.expect.as_ref().map(read).transpose();
        let mut expectations = expectations
            .map_err(|error| unread_expectations(&error))?
            .unwrap_or_default();
        if let Some(profile) = &profile {
            expectations.extend(profile.expectations.clone());
        }
        measured(options, &checks, profile.as_ref())?;
        Ok(Self {
            part: options.part(&checks, families),
            checks,
            platforms,
            expectations,
            profile,
        })
    }

    /// The report without its runs, on a host that is this many times slower than nominal.
    pub(super) fn report(&self, options: &Judge, time_scale: f64) -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            tool: tool(),
            spec_version: SPEC_VERSION.to_owned(),
            started: time_of_day(),
            host: describe_host(time_scale),
            strict: options.strict,
            static_only: options.static_only,
            part: self.part.clone(),
            error: None,
            conclusion: Conclusion::NotJudged,
            interrupted: false,
            runs: Vec::new(),
            comparison: None,
        }
    }

    pub(super) fn needs_sandbox(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.needs.contains(Needs::SANDBOX))
    }
}

/// Whether each budget of the command line is of a figure that these checks measure, and of one only
/// once. Those of a profile are skipped where their check is left out.
fn measured(
    options: &Judge,
    checks: &[&'static Check],
    profile: Option<&Profile>,
) -> Result<(), Failure> {
    let kept = profile.map_or(&[][..], |profile| &profile.budgets);
    let is_kept = |budget: &Budget| kept.iter().any(|it| it.words() == budget.words());
    for (number, budget) in options.budgets.iter().enumerate() {
        let (name, id) = (budget.name(), budget.check());
        if options
            .budgets
            .iter()
            .take(number)
            .any(|it| it.name() == name)
        {
            let message = format!("--budget {name} is given twice");
            return Err(Failure::usage(
                message,
                Some("remove one of them".to_owned()),
            ));
        }
        if !is_kept(budget) && checks.iter().all(|check| check.id != id) {
            let message = format!("--budget {name}: {id}, which measures it, is left out");
            return Err(Failure::usage(message, Some(format!("add --filter {id}"))));
        }
    }
    Ok(())
}

/// All that the runs need: they are planned, and the backend is there.
pub(super) struct Prepared<'a> {
    suite: Suite<'a>,
    asked: &'a Asked,
    planned: Vec<Planned>,
    /// How many of them, the first, are the baseline's.
    baselines: usize,
    /// From when the backend is made until the report is written, an interrupt ends the run in
    /// order.
    _in_order: InOrder,
}

impl<'a> Prepared<'a> {
    /// Reads the images, and makes the backend where one is needed.
    pub(super) fn from(options: &'a Judge, asked: &'a Asked) -> Result<Self, Failure> {
        let room = Room::find();
        let images = load(options, &asked.platforms)?;
        let host = Platform::host();
        let runs_any = asked.needs_sandbox();
        let is_wasi = |subject: &Subject| subject.wasm.is_some();
        let wasi_engine = (runs_any && images.iter().flatten().flatten().any(is_wasi))
            .then(|| find_wasi_engine(options))
            .transpose()?;
        let absent = |image: &Result<Vec<Subject>, Unread>| match image {
            Ok(subjects) => plan::absent(subjects, &host).filter(|_| runs_any),
            Err(unread) => Some(plan::unread(unread, &host)),
        };
        let absent: Vec<Option<Planned>> = images.iter().map(absent).collect();
        let size = |image: &Result<Vec<Subject>, _>| image.as_ref().map_or(0, Vec::len);
        let sizes: Vec<usize> = images.iter().map(size).collect();
        let subjects = images.into_iter().flatten().flatten().collect();
        let subjects = plan::processors(subjects, &host, runs_any);
        let in_order = InOrder::begin();
        let engine = plan::run_any(&subjects)
            .then(|| {
                suffices(room)?;
                plan::has_places(&subjects)
                    .map_err(|error| without_sandbox(load_failure(&error)))?;
                prepare(options, &plan::emulators(&subjects))
            })
            .transpose()?;
        let runtimes = prepare_runtimes(options, engine.as_ref())?;
        let time_scale = engine.as_ref().map_or(Ok(1.0), measure_host)?;
        let (mut planned, baselines) = plan_images(
            options,
            asked,
            subjects,
            sizes,
            absent,
            (engine.as_ref(), &runtimes),
        );
        plan::name_wasi_engines(&mut planned, &asked.checks, wasi_engine.as_deref());
        Ok(Self {
            suite: Suite {
                options,
                checks: &asked.checks,
                jobs: jobs(options, &room),
                time_scale,
                interrupted: interrupt::flag(),
                expectations: &asked.expectations,
                profile: asked.profile.as_ref().map(|it| &*it.words),
            },
            asked,
            planned,
            baselines,
            _in_order: in_order,
        })
    }

    /// Runs all that is planned, and writes the reports.
    pub(super) fn run(mut self, mut reporters: Reporters<'_>) -> Result<ExitCode, Failure> {
        let mut report = self.asked.report(self.suite.options, self.suite.time_scale);
        let own = repeated(&self.planned[self.baselines..], self.suite.options.repeat);
        reporters.event(&Event::SuiteStarted {
            host: &report.host,
            runs: self.baselines + own.count(),
        });
        self.suite.calibrate(&mut self.planned);
        let baselines = self.run_baselines(&mut reporters);
        report.interrupted = interrupt::is_asked();
        let mut again = Vec::new();
        for planned in repeated(&self.planned[self.baselines..], self.suite.options.repeat) {
            if report.interrupted {
                break;
            }
            let emit = &mut |event: &Event<'_>| reporters.event(event);
            let Ran { run, timed } = self.suite.run(planned, baselines.as_ref(), emit);
            report.interrupted = run.interrupted || interrupt::is_asked();
            report.runs.push(run);
            again.push(timed.filter(|_| self.suite.is_side_by_side()));
        }
        let emit = &mut |event: &Event<'_>| reporters.event(event);
        let in_turn = self.suite.side_by_side(&report.runs, &again, emit);
        report.interrupted |= interrupt::is_asked();
        report.conclude();
        report.comparison = compare::of(&report, &in_turn);
        reporters.event(&Event::SuiteFinished { report: &report });
        if let Some(error) = reporters.finish().first() {
            return Err(unwritten(error));
        }
        Ok(ExitCode::from(report.conclusion.exit_status()))
    }

    /// Runs the baseline. No report holds these runs: a fault of the baseline is no fault of the
    /// image.
    fn run_baselines(&self, reporters: &mut Reporters<'_>) -> Option<Baselines<'a>> {
        let image = self.suite.options.baseline.as_ref()?;
        let mut run = |planned: &Planned| -> Ran {
            self.suite
                .run(planned, None, &mut |event| reporters.aside(event))
        };
        Some(Baselines {
            image,
            runs: self.planned[..self.baselines]
                .iter()
                .map(&mut run)
                .collect(),
        })
    }
}

/// The backends that were asked for; none where nothing is run.
fn prepare_runtimes(
    options: &Judge,
    engine: Option<&Arc<Embedded>>,
) -> Result<Vec<Chosen>, Failure> {
    let Some(engine) = engine else {
        return Ok(Vec::new());
    };
    let failed = unusable;
    let prepare = |runtime: &Runtime| -> Result<Chosen, Failure> {
        let backend: Arc<dyn Backend> = match runtime {
            Runtime::Embedded => Arc::clone(engine) as _,
            Runtime::Oci(kind, program) => {
                Arc::new(Oci::prepare(kind, program.as_deref(), engine).map_err(failed)?)
            }
            Runtime::Engine(name, path) => {
                prepare_engine(*name, path.as_deref(), engine).map_err(failed)?
            }
            Runtime::Cri(path) => prepare_cri(path.as_deref(), engine).map_err(failed)?,
        };
        Ok(Chosen {
            runtime: runtime.clone(),
            backend,
        })
    };
    options.runtimes.iter().map(prepare).collect()
}

#[cfg(feature = "engines")]
fn prepare_engine(
    name: ContainerEngine,
    path: Option<&Path>,
    engine: &Arc<Embedded>,
) -> Result<Arc<dyn Backend>, Unusable> {
    use crate::backend::{docker, podman};

    Ok(Arc::new(match name {
        ContainerEngine::Docker => docker::prepare(path, engine)?,
        ContainerEngine::Podman => podman::prepare(path, engine)?,
    }))
}

#[cfg(not(feature = "engines"))]
fn prepare_engine(
    name: ContainerEngine,
    _: Option<&Path>,
    _: &Arc<Embedded>,
) -> Result<Arc<dyn Backend>, Unusable> {
    Err(Unusable {
        name: name.name().to_owned(),
        cause: "this build cannot ask container engines".to_owned(),
        hint: "build with --features engines; cargo xtask conformance does so by itself".to_owned(),
    })
}

#[cfg(feature = "cri")]
fn prepare_cri(path: Option<&Path>, engine: &Arc<Embedded>) -> Result<Arc<dyn Backend>, Unusable> {
    Ok(Arc::new(crate::backend::cri::prepare(path, engine)?))
}

#[cfg(not(feature = "cri"))]
fn prepare_cri(_: Option<&Path>, _: &Arc<Embedded>) -> Result<Arc<dyn Backend>, Unusable> {
    Err(Unusable {
        name: "cri".to_owned(),
        cause: "this build does not speak the Container Runtime Interface".to_owned(),
        hint: "build with --features cri; cargo xtask conformance does so by itself".to_owned(),
    })
}

/// The runs of all images in order, and how many of them, the first, are the baseline's.
fn plan_images(
    options: &Judge,
    asked: &Asked,
    subjects: Vec<(Subject, plan::Processor)>,
    sizes: Vec<usize>,
    absent: Vec<Option<Planned>>,
    (engine, runtimes): (Option<&Arc<Embedded>>, &[Chosen]),
) -> (Vec<Planned>, usize) {
    let (first, others) = match runtimes {
        [first, others @ ..] => (Some(first), others),
        [] => (None, runtimes),
    };
    let mut each = subjects.into_iter().map(|(subject, processor)| {
        let planned = plan::plan(subject, processor, engine, options.emulation, first);
        let repeated = others.iter().filter_map(|it| plan::repeat(&planned, it));
        let repeated: Vec<_> = repeated.collect();
        std::iter::once(planned).chain(repeated)
    });
    let mut planned: Vec<Planned> = Vec::new();
    let mut baselines = 0;
    for (number, (absent, size)) in absent.into_iter().zip(sizes).enumerate() {
        planned.extend(absent);
        let own = each.by_ref().take(size).flatten();
        planned.extend(own.filter(|it| it.is_wanted(&asked.checks)));
        if number == 0 && options.baseline.is_some() {
            baselines = planned.len();
        }
    }
    plan::mark(&mut planned, options.static_only, asked.part.as_ref());
    (planned, baselines)
}

/// All runs, in order. What is only read is the same each time.
fn repeated(planned: &[Planned], times: u16) -> impl Iterator<Item = &Planned> {
    (0..times).flat_map(move |time| {
        let again = move |it: &&Planned| time == 0 || !it.head.companion;
        planned.iter().filter(again)
    })
}

/// What is to be judged, by image; the baseline is the first. Of several images those that cannot be
/// read do not keep the others from being judged.
///
/// # Errors
/// The only image, or the baseline, cannot be read.
fn load(
    options: &Judge,
    platforms: &Platforms,
) -> Result<Vec<Result<Vec<Subject>, Unread>>, Failure> {
    let load = LoadOptions {
        platforms: platforms.clone(),
        insecure_registry: options.insecure_registry,
        // A container engine is given the image itself.
        keep_original: options
            .runtimes
            .iter()
            .any(|runtime| matches!(runtime, Runtime::Engine(..) | Runtime::Cri(_))),
        ..LoadOptions::default()
    };
    let read = |image: &String| -> Result<Vec<Subject>, subject::Error> {
        let reference: Reference = image.parse()?;
        subject::load(&reference, &load)
    };
    let mut all = Vec::new();
    if let Some(baseline) = &options.baseline {
        all.push(Ok(read(baseline).map_err(|error| load_failure(&error))?));
    }
    for image in &options.images {
        let subjects = match read(image) {
            Err(error) if options.images.len() > 1 => Err(Unread::of(image, &error)),
            subjects => Ok(subjects.map_err(|error| load_failure(&error))?),
        };
        all.push(subjects);
    }
    Ok(all)
}
