//! The embedded backend with programs of another architecture: the sandbox is the same, and only
//! the program runs under an emulator.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::binfmt::{self, Rule};
use super::{Binfmt, Embedded};
use crate::Features;
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::emulator::baseline::Baseline;
use crate::emulator::limits::{self, Effect};
use crate::emulator::{EmulationMode, Emulator};
use crate::shortage::Counters;

/// The backend, and the emulator that runs the programs in it.
#[derive(Debug)]
pub struct Emulated {
    engine: Arc<Embedded>,
    emulation: Emulation,
    words: String,
    /// Features that it does not offer, and why.
    hidden: Vec<(Features, String)>,
    /// Features of which a failure cannot be believed, and why.
    doubted: Vec<(Features, String)>,
}

/// How a start uses the emulator.
#[derive(Debug)]
pub(super) struct Emulation {
    pub(super) emulator: Emulator,
    /// To be registered by the sandbox itself.
    pub(super) rule: Option<Arc<Rule>>,
    /// To be executed instead of the program.
    pub(super) program: Option<Arc<File>>,
    /// The processor that it then is.
    pub(super) model: Option<&'static str>,
}

impl Emulated {
    /// By the given way, or by the first that works here.
    ///
    /// # Errors
    /// In words, where the way does not work.
    pub fn new(
        engine: Arc<Embedded>,
        emulator: &Emulator,
        way: Option<EmulationMode>,
    ) -> Result<Self, String> {
        let ways = match way {
            Some(way) => vec![way],
            None => vec![
                EmulationMode::Private,
                EmulationMode::Host,
                EmulationMode::Program,
            ],
        };
        let mut closed = Vec::new();
        for way in ways {
            match Self::by(&engine, emulator, way) {
                Ok((words, emulation)) => {
                    return Ok(Self {
                        hidden: limited(emulator, Effect::Hides),
                        doubted: limited(emulator, Effect::Doubts),
                        engine,
                        emulation,
                        words,
                    });
                }
                Err(why) => closed.push(format!("{way}: {why}")),
            }
        }
        Err(format!("{emulator} cannot be used: {}", closed.join("; ")))
    }

    fn by(
        engine: &Embedded,
        emulator: &Emulator,
        way: EmulationMode,
    ) -> Result<(String, Emulation), String> {
        let mut words = format!("{emulator} ({way})");
        let mut emulation = Emulation {
            emulator: emulator.clone(),
            rule: None,
            program: None,
            model: None,
        };
        match (way, &engine.binfmt) {
            (EmulationMode::Private, Binfmt::Held(_)) => {}
            (EmulationMode::Private, Binfmt::EachSandbox) => {
                let rule = Rule::by_descriptor(emulator).map_err(|error| error.to_string())?;
                emulation.rule = Some(Arc::new(rule));
            }
            (EmulationMode::Private, Binfmt::None(why)) => return Err(why.clone()),
            (EmulationMode::Host, _) => {
                words = format!("{} ({way})", binfmt::host_entry(emulator)?);
            }
            (EmulationMode::Program, _) => emulation.program = Some(Arc::clone(&emulator.file)),
        }
        Ok((words, emulation))
    }

    /// On the oldest processor that the emulator's programs are for, and its name.
    pub(super) fn on_baseline(
        engine: Arc<Embedded>,
        emulator: &Emulator,
    ) -> Result<(Arc<dyn Backend>, &'static str), String> {
        let baseline = Baseline::of(emulator).ok_or("no oldest processor is known")?;
        let mut emulated = Self::new(engine, emulator, Some(EmulationMode::Program))?;
        emulated.emulation.model = Some(baseline.model);
        Ok((Arc::new(emulated), baseline.level))
    }

    /// The emulator, its version and how it is started, for reports.
    pub fn emulator(&self) -> &str {
        &self.words
    }
}

/// The limits of an emulator with this effect, in words.
fn limited(emulator: &Emulator, effect: Effect) -> Vec<(Features, String)> {
    limits::of(emulator.release())
        .filter(|limit| limit.effect == effect)
        .map(|limit| {
            let words = format!("the program runs under {emulator}, {}", limit.why);
            (limit.needs, words.trim_end_matches(", ").to_owned())
        })
        .collect()
}

fn first(limits: &[(Features, String)], needs: Features) -> Option<&str> {
    let found = limits.iter().find(|(limit, _)| limit.intersects(needs));
    found.map(|(_, words)| words.as_str())
}

impl Backend for Emulated {
    fn describe(&self) -> String {
        self.engine.describe()
    }

    fn offers(&self) -> Features {
        let hidden = self.hidden.iter().map(|(needs, _)| *needs);
        let mut offers = self.engine.offers() - hidden.fold(Features::empty(), Features::union);
        offers.set(
            Features::BASELINE,
            Baseline::of(&self.emulation.emulator).is_some(),
        );
        offers
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        first(&self.hidden, need).or_else(|| self.engine.lacks(need))
    }

    fn doubts(&self, needs: Features) -> Option<&str> {
        first(&self.doubted, needs)
    }

    fn on_baseline(self: Arc<Self>) -> Result<(Arc<dyn Backend>, &'static str), String> {
        Self::on_baseline(Arc::clone(&self.engine), &self.emulation.emulator)
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.engine.start_under(launch, spec, Some(&self.emulation))
    }

    fn adopt_thread(&self) -> io::Result<()> {
        self.engine.adopt_thread()
    }

    fn counters(&self) -> Counters {
        self.engine.counters()
    }
}
