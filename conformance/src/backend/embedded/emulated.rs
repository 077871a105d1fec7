//! The embedded engine with programs of another architecture: the sandbox is the same,
//! the program alone runs under an emulator.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::binfmt::{self, Rule};
use super::{Binfmt, Embedded};
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::check::Needs;
use crate::emulator::{Emulator, Way};

/// What the emulator comes between, so that a check which needs it says nothing here.
///
/// `DEFAULT_ACTIONS`: QEMU takes every signal first, and ends itself by those that the
/// program does not handle. The kernel spares it as process 1, but it has stopped by then:
/// it waits in sigsuspend(2) for an end that does not come (7.2, measured).
///
/// `LEAVES`: unshare(2) fails, since the emulator has threads of its own, so that what
/// would leave its namespaces stays in them (measured likewise).
const HIDDEN: Needs = Needs::NATIVE
    .union(Needs::TRACE)
    .union(Needs::DEFAULT_ACTIONS)
    .union(Needs::LEAVES);

/// The engine, and what runs the programs in it.
#[derive(Debug)]
pub struct Emulated {
    engine: Arc<Embedded>,
    emulation: Emulation,
    words: String,
    lacking: String,
}

/// What one start has to do about the emulator.
#[derive(Debug)]
pub(super) struct Emulation {
    pub(super) emulator: Emulator,
    /// To be registered by the sandbox itself.
    pub(super) rule: Option<Arc<Rule>>,
    /// To be executed instead of the program.
    pub(super) program: Option<Arc<File>>,
}

impl Emulated {
    /// By the given way, or by the first that is open here.
    ///
    /// # Errors
    /// In words, where the way is not open.
    pub fn new(
        engine: Arc<Embedded>,
        emulator: &Emulator,
        way: Option<Way>,
    ) -> Result<Self, String> {
        let ways = match way {
            Some(way) => vec![way],
            None => vec![Way::Private, Way::Host, Way::Program],
        };
        let mut closed = Vec::new();
        for way in ways {
            match Self::by(&engine, emulator, way) {
                Ok((words, emulation)) => {
                    return Ok(Self {
                        lacking: format!("the program runs under {emulator}"),
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

    fn by(engine: &Embedded, emulator: &Emulator, way: Way) -> Result<(String, Emulation), String> {
        let mut words = format!("{emulator} ({way})");
        let mut emulation = Emulation {
            emulator: emulator.clone(),
            rule: None,
            program: None,
        };
        match (way, &engine.binfmt) {
            (Way::Private, Binfmt::Held(_)) => {}
            (Way::Private, Binfmt::EachSandbox) => {
                let rule = Rule::new(emulator).map_err(|error| error.to_string())?;
                emulation.rule = Some(Arc::new(rule));
            }
            (Way::Private, Binfmt::None(why)) => return Err(why.clone()),
            (Way::Host, _) => words = format!("{} ({way})", binfmt::host_entry(emulator)?),
            (Way::Program, _) => emulation.program = Some(Arc::clone(&emulator.file)),
        }
        Ok((words, emulation))
    }

    /// Emulator, version and way, for reports.
    pub fn emulator(&self) -> &str {
        &self.words
    }
}

impl Backend for Emulated {
    fn describe(&self) -> String {
        self.engine.describe()
    }

    fn offers(&self) -> Needs {
        self.engine.offers() - HIDDEN
    }

    fn lacks(&self, need: Needs) -> Option<&str> {
        if need == Needs::LEAVES {
            return Some(
                "under the emulator no program can leave its namespaces, so none is seen to stay",
            );
        }
        if HIDDEN.contains(need) {
            return Some(&self.lacking);
        }
        self.engine.lacks(need)
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.engine.start_under(launch, spec, Some(&self.emulation))
    }

    fn adopt_thread(&self) -> io::Result<()> {
        self.engine.adopt_thread()
    }
}
