//! What runs each subject: the host's own processor, an emulator, or nothing.

use std::sync::Arc;

use pause_image::Traits;
use pause_sandbox::Features;

use crate::backend::Backend;
use crate::backend::embedded::{Embedded, Emulated};
use crate::calibration::Calibration;
use crate::check::{Check, Needs};
use crate::cli::Runtime;
use crate::emulator::{EmulationMode, Emulator, NoEmulator};
use crate::event::{Part, Record, RunHead, Verdict};
use crate::subject::elf::is_of;
use crate::subject::{self, Platform, Subject};
use crate::{wasi_host, wasi_sim};

use super::beside;

/// What is judged in one run, or why it cannot be.
pub(super) struct Planned {
    pub(super) head: RunHead,
    pub(super) subject: Result<Subject, String>,
    /// What runs its program; none where only static checks are made.
    pub(super) backend: Option<Arc<dyn Backend>>,
    /// Tells whether a verdict can be believed there.
    pub(super) calibration: Option<Arc<Calibration>>,
    /// Why not, where that is the subject's doing.
    pub(super) not_run: Option<String>,
    /// What was asked to run it.
    pub(super) runtime: Runtime,
    /// Another run has the checks that run nothing.
    pub(super) repeats: bool,
}

/// What makes sandboxes for programs of the host's processor.
#[derive(Clone)]
pub(super) struct Chosen {
    /// As it was asked for.
    pub(super) runtime: Runtime,
    pub(super) backend: Arc<dyn Backend>,
}

impl Planned {
    /// Those of the checks that are made: for a companion only checks of its files, and none of the
    /// index as a whole.
    pub(super) fn checks(&self, all: &[&'static Check]) -> Vec<&'static Check> {
        let Ok(subject) = &self.subject else {
            return Vec::new();
        };
        if self.repeats {
            let runs = |check: &&&'static Check| check.needs.contains(Needs::SANDBOX);
            return all.iter().filter(runs).copied().collect();
        }
        if !self.head.companion {
            return all.to_vec();
        }
        let offered = (Needs::from(subject.traits()) | Needs::HINTS | Needs::FILES) - OF_THE_WHOLE;
        let applies = |check: &&&'static Check| offered.contains(check.needs);
        all.iter().filter(applies).copied().collect()
    }

    /// Whether any check applies to it: where only checks that run a program, or judge an index as
    /// a whole, are asked for, companions are left out.
    pub(super) fn is_wanted(&self, all: &[&'static Check]) -> bool {
        let of_files = |check: &&Check| !check.needs.intersects(RUNS.union(OF_THE_WHOLE));
        let nothing = self.subject.is_ok() && self.checks(all).is_empty();
        !self.head.companion || (all.iter().any(of_files) && !nothing)
    }

    /// Why the program was not run, where checks that run one were asked for and none of them
    /// decided anything.
    pub(super) fn idle(&self, checks: &[&Check], records: &[Record]) -> Option<String> {
        let Ok(subject) = &self.subject else {
            return None;
        };
        // Then the user asked to run none.
        if self.head.static_only {
            return None;
        }
        let other = if subject.wasm.is_some() {
            Needs::PROGRAM
        } else {
            OF_WASM
        };
        let running = checks
            .iter()
            .filter(|check| check.needs.intersects(RUNS) && !check.needs.intersects(other));
        let running: Vec<&str> = running.map(|check| check.id).collect();
        let mut records = records
            .iter()
            .filter(|record| running.contains(&record.id.as_str()));
        let first = records.clone().next()?;
        records
            .all(|record| record.verdict == Verdict::Skipped)
            .then(|| {
                let why = self.not_run.clone().or(first.reason.clone());
                why.unwrap_or_default()
            })
    }
}

/// What a check needs that runs a program.
const RUNS: Needs = Needs::SANDBOX.union(Needs::VIRTUAL_CLOCK);
/// What only a WebAssembly program has.
const OF_WASM: Needs = Needs::WASM
    .union(Needs::WASM_MODULE)
    .union(Needs::WASM_COMPONENT)
    .union(Needs::VIRTUAL_CLOCK);
/// What is asked of an index as a whole, and said once.
const OF_THE_WHOLE: Needs = Needs::INDEX
    .union(Needs::WINDOWS)
    .union(Needs::REQUIRED_PLATFORMS)
    .union(Needs::KUBERNETES);

/// The head of a subject's run, which no emulator and no WASI runtime takes part in.
fn head(subject: &Subject, runtime: &str) -> RunHead {
    RunHead {
        image: subject.reference.clone(),
        digest: subject.image.as_ref().map(|image| image.digest.clone()),
        platform: subject.platform.to_string(),
        runtime: runtime.to_owned(),
        emulator: None,
        wasi_engine: None,
        engine_facts: Vec::new(),
        static_only: false,
        part: None,
        companion: subject.companion,
    }
}

/// The run that is missing where an index has nothing for the host, and only companions.
pub(super) fn absent(image: &[Subject], host: &Platform) -> Option<Planned> {
    let first = image.first().filter(|first| first.companion)?;
    let mut there: Vec<String> = first
        .platforms()
        .iter()
        .map(|(platform, _)| platform.to_string())
        .collect();
    there.dedup();
    let why = format!(
        "no manifest for {host}; it has {}: choose one to run with --platform",
        there.join(", ")
    );
    Some(Planned {
        head: RunHead {
            digest: first.index.as_ref().map(|index| index.digest.clone()),
            platform: host.to_string(),
            companion: false,
            ..head(first, "")
        },
        subject: Err(subject::escape(why.as_bytes())),
        backend: None,
        calibration: None,
        not_run: None,
        runtime: Runtime::Embedded,
        repeats: false,
    })
}

/// One of several images that cannot be read.
pub(super) struct Unread {
    /// As the user named it.
    image: String,
    /// Why, and what can be done.
    why: String,
}

impl Unread {
    pub(super) fn of(image: &str, error: &subject::Error) -> Self {
        let why = match error.hint() {
            Some(hint) => format!("{error} ({hint})"),
            None => error.to_string(),
        };
        let image = image.to_owned();
        Self { image, why }
    }
}

/// The run of an image that cannot be read.
pub(super) fn unread(unread: &Unread, host: &Platform) -> Planned {
    Planned {
        head: RunHead {
            image: unread.image.clone(),
            platform: host.to_string(),
            ..RunHead::default()
        },
        subject: Err(unread.why.clone()),
        backend: None,
        calibration: None,
        not_run: None,
        runtime: Runtime::Embedded,
        repeats: false,
    }
}

/// What executes a subject's program.
pub(super) enum Processor {
    /// Nothing: there is no program, or none is to run.
    None,
    /// Nothing, since the image contradicts itself about its platform: how its program behaves here
    /// would say nothing about that platform. Says what disagrees.
    Mislabelled(String),
    /// The host's own.
    Own,
    /// Another, in software.
    Emulated(Result<Emulator, NoEmulator>),
}

impl Processor {
    fn of(subject: &Subject, host: &Platform) -> Self {
        let named = subject.platform.normal();
        let config = subject
            .image
            .as_ref()
            .and_then(|image| image.config.platform());
        let program = subject.elf().map(|elf| elf.architecture);
        let other = match (config, program) {
            (_, Some(elf)) if !is_of(&named.os) => {
                Some(format!("the program is an ELF file, {}", elf.words))
            }
            (_, Some(elf)) if !elf.architectures.contains(&&*named.architecture) => {
                Some(format!("the program is for {}", elf.words))
            }
            (Some(config), _) if config.contradicts(&subject.platform) => {
                Some(format!("the configuration says {config}"))
            }
            _ => None,
        };
        if subject.traits().contains(Traits::WASM_MODULE) {
            // The WASI runtime is a program of the host's.
            Self::Own
        } else if subject.program.is_err() {
            Self::None
        } else if let Some(other) = other {
            Self::Mislabelled(other)
        } else if host.accepts(&subject.platform).is_some() || beside::runs(&subject.platform, host)
        {
            Self::Own
        } else {
            Self::Emulated(Emulator::find(&subject.platform))
        }
    }
}

/// What one run judges, and by what.
pub(super) fn plan(
    subject: Subject,
    processor: Processor,
    engine: Option<&Arc<Embedded>>,
    way: Option<EmulationMode>,
    chosen: Option<&Chosen>,
) -> Planned {
    // A WASI runtime is started with files of the host's, which the suite's own backend can.
    let chosen = chosen.filter(|_| subject.wasm.is_none());
    let runtime = match &subject.wasm {
        Some(wasm) => wasi_sim::describe(&wasm.content),
        None => "none (static checks)",
    };
    let mut head = head(&subject, runtime);
    let mut not_run = None;
    let backend: Result<Option<Arc<dyn Backend>>, String> = match (processor, engine) {
        (Processor::Mislabelled(other), _) => {
            let words = format!("nothing is run for {}: {other}", head.platform);
            not_run = Some(subject::escape(words.as_bytes()));
            Ok(None)
        }
        (Processor::Emulated(Err(error)), _) => Err(error.to_string()),
        (Processor::None, _) | (_, None) => Ok(None),
        (Processor::Own, Some(engine)) => Ok(Some(match chosen {
            Some(chosen) => Arc::clone(&chosen.backend),
            None => Arc::clone(engine) as _,
        })),
        (Processor::Emulated(Ok(emulator)), Some(engine)) => {
            Emulated::new(Arc::clone(engine), &emulator, way).map(|emulated| {
                head.emulator = Some(emulated.emulator().to_owned());
                Some(Arc::new(emulated) as _)
            })
        }
    };
    let (backend, subject) = match backend {
        // Nothing of it could be read.
        Ok(_) if subject.companion && subject.image.is_none() => (None, Err(no_file(&subject))),
        Ok(backend) => (backend, Ok(subject)),
        Err(why) => (None, Err(why)),
    };
    if let Some(backend) = &backend {
        head.runtime = backend.describe();
        head.engine_facts = backend.facts();
    }
    let runtime = chosen.filter(|_| backend.is_some() && head.emulator.is_none());
    Planned {
        head,
        subject,
        backend,
        calibration: None,
        not_run,
        runtime: runtime.map_or(Runtime::Embedded, |chosen| chosen.runtime.clone()),
        repeats: false,
    }
}

/// The same subject once more, run by another; `None` where nothing was run.
pub(super) fn repeat(first: &Planned, chosen: &Chosen) -> Option<Planned> {
    let subject = first.subject.as_ref().ok()?;
    if first.backend.is_none() || first.head.emulator.is_some() || subject.wasm.is_some() {
        return None;
    }
    Some(Planned {
        head: RunHead {
            runtime: chosen.backend.describe(),
            engine_facts: chosen.backend.facts(),
            ..first.head.clone()
        },
        subject: Ok(subject.clone()),
        backend: Some(Arc::clone(&chosen.backend)),
        calibration: None,
        not_run: None,
        runtime: chosen.runtime.clone(),
        repeats: true,
    })
}

fn no_file(subject: &Subject) -> String {
    let why = subject.program.as_ref().err();
    why.map(ToString::to_string).unwrap_or_default()
}

/// Says in the head of each run what runs WASI programs there: for a WASI subject the runtime that
/// was asked for, for workloads beside a native one the suite's own host.
pub(super) fn name_wasi_engines(planned: &mut [Planned], checks: &[&Check], asked: Option<&str>) {
    let run_any = checks
        .iter()
        .any(|check| check.needs.contains(Needs::WASI_HOST));
    for run in planned.iter_mut().filter(|_| run_any) {
        let offers = |it: &Arc<dyn Backend>| it.offers().contains(Features::SELF_EXEC);
        let Ok(subject) = &run.subject else { continue };
        if !run.backend.as_ref().is_some_and(offers) {
            continue;
        }
        if subject.wasm.is_none() {
            run.head.wasi_engine = Some(wasi_host::describe());
        } else if subject.traits().contains(Traits::WASM_MODULE) {
            run.head.wasi_engine = asked.map(str::to_owned);
        }
    }
}

/// Says in the head of each run which part of the checks was asked for, and that no sandbox is made
/// where that was.
pub(super) fn mark(planned: &mut [Planned], static_only: bool, part: Option<&Part>) {
    for run in planned {
        run.head.part = part.cloned();
        if static_only {
            run.head.runtime += ", no sandbox (--static-only)";
            run.head.static_only = true;
        }
    }
}

/// What executes the program of each; nothing where no check is to be made that runs it.
pub(super) fn processors(
    subjects: Vec<Subject>,
    host: &Platform,
    needs_engine: bool,
) -> Vec<(Subject, Processor)> {
    subjects
        .into_iter()
        .map(|subject| {
            let processor = if needs_engine && !subject.companion {
                Processor::of(&subject, host)
            } else {
                Processor::None
            };
            (subject, processor)
        })
        .collect()
}

/// Those whose programs are run.
fn running(subjects: &[(Subject, Processor)]) -> impl Iterator<Item = &Subject> {
    let runs = |processor| matches!(processor, &Processor::Own | &Processor::Emulated(Ok(_)));
    let running = subjects
        .iter()
        .filter(move |(_, processor)| runs(processor));
    running.map(|(subject, _)| subject)
}

/// Whether a backend is needed at all.
pub(super) fn run_any(subjects: &[(Subject, Processor)]) -> bool {
    running(subjects).next().is_some()
}

/// Whether there is room on this host for the files of each image whose program is run.
///
/// # Errors
/// Names the first for which there is none.
pub(super) fn has_places(subjects: &[(Subject, Processor)]) -> Result<(), subject::Error> {
    for subject in running(subjects).filter(|subject| subject.program.is_ok()) {
        Embedded::has_place_for(&subject.rootfs).map_err(|error| {
            subject::Error::new(&subject.reference, error).with_hint(
                "free some space, or set TMPDIR to a folder that has it, on a file system that is not mounted noexec",
            )
        })?;
    }
    Ok(())
}

/// The emulators that are needed, each once.
pub(super) fn emulators(subjects: &[(Subject, Processor)]) -> Vec<Emulator> {
    let mut emulators: Vec<Emulator> = Vec::new();
    for (_, processor) in subjects {
        if let Processor::Emulated(Ok(emulator)) = processor
            && emulators.iter().all(|known| known.name != emulator.name)
        {
            emulators.push(emulator.clone());
        }
    }
    emulators
}

#[cfg(test)]
mod tests;
