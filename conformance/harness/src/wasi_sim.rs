//! A WASI host whose clock is virtual: a guest that sleeps for 30 days is watched for all of them
//! in milliseconds, and the suite decides how each sleep ends. It judges
//! nothing; [`Watched`] is what happened. One file a WASI runtime below: wasmi runs core
//! modules, wasmtime components.
//!
//! Deterministic: one thread, no time but its own, and work counted in fuel (about one unit an
//! instruction). The guest is hostile: its memory and its work between two waits are bounded, and
//! it reaches nothing of this machine.

#[cfg(feature = "wasmtime")]
mod component;
mod module;

use std::fmt;

use crate::subject::wasm::is_component;

pub use crate::wasi_abi::{EAGAIN, EINTR, ENOTSUP};

/// Whether components can be watched: their runtime is large, and built in only where a component
/// is to be judged.
pub const RUNS_COMPONENTS: bool = cfg!(feature = "wasmtime");

/// Nanoseconds of an hour.
pub const HOUR: u64 = 3600 * 1_000_000_000;

/// How long a guest is watched, in virtual time.
pub const MONTH: u64 = 30 * 24 * HOUR;

/// Fuel up to the first wait: a runtime may initialise itself.
const START_FUEL: u64 = 2_000_000;
/// Fuel between two waits, beyond which the guest is taken to spin.
const SLICE_FUEL: u64 = 200_000;
/// Waits in an hour of the clock, or while it stands still, beyond which the guest is
/// busy and no longer watched.
const MOST_WAITS: u64 = 1000;
/// Subscriptions of one wait that are read.
const MOST_SUBSCRIPTIONS: u32 = 64;
/// Bytes of memory that the guest may grow to.
const MOST_MEMORY: usize = 64 << 20;
/// Elements of a table.
const MOST_ELEMENTS: usize = 1 << 16;

/// What a wait does instead of the sleep that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this error, at once.
    Call(u16),
    /// The call succeeds, and its event holds this error.
    Event(u16),
    /// The sleep ends after a tenth of its time, at most a minute, with success.
    Early,
    /// The call succeeds at once, and no event is stored.
    NoEvent,
}

/// When faults are injected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// Never.
    #[default]
    None,
    /// At the waits whose number, from 1, is one to three above a multiple of ten.
    Bursts(Fault),
    /// At every wait.
    Permanent(Fault),
}

/// How the guest ended, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was still waiting when the time was over.
    Waiting,
    /// The entry returned.
    Returned,
    /// It asked for its end, with this status.
    Exited(u32),
    /// A trap, in the runtime's words.
    Trapped(String),
    /// It computed without waiting.
    Spun,
    /// It waited so often that it was watched no longer.
    Busy,
    /// It could not be started: an import that the host lacks, a start section.
    NotStarted(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("still waiting"),
            Self::Returned => f.write_str("returned"),
            Self::Exited(status) => write!(f, "exited {status}"),
            Self::Trapped(why) => write!(f, "trapped: {why}"),
            Self::Spun => write!(f, "computed {SLICE_FUEL} units of fuel without a wait"),
            Self::Busy => write!(f, "waited {MOST_WAITS} times in an hour"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// What happened to a guest.
#[derive(Clone, Debug)]
pub struct Watched {
    /// How it ended.
    pub end: End,
    /// Virtual time that it was watched for, in nanoseconds.
    pub lasted: u64,
    /// Times that it waited.
    pub waits: u64,
    /// Faults among them.
    pub faults: u64,
    /// The most waits without a fault that began within one hour of the virtual clock.
    pub busiest_hour: u64,
    /// Fuel up to the first wait.
    pub start_fuel: u64,
    /// Least and most fuel from one wait to the next, from the second wait on.
    pub fuel: Option<(u64, u64)>,
    /// Pages of memory at the first and at the last wait.
    pub pages: Option<(u64, u64)>,
    /// Resources of the host's that a component held at the first and at the last wait.
    pub handles: Option<(u64, u64)>,
    /// The first wait that is none on a clock, in words.
    pub odd_wait: Option<String>,
}

/// What runs this program, for reports.
pub fn describe(program: &[u8]) -> &'static str {
    match (is_component(program), RUNS_COMPONENTS) {
        (false, _) => "wasmi, on a virtual clock",
        (true, true) => "wasmtime, on a virtual clock",
        (true, false) => "none (static checks)",
    }
}

/// Watches a valid program through `until` nanoseconds of virtual time.
pub fn watch(program: &[u8], faults: Faults, until: u64) -> Watched {
    let world = World::new(faults, until);
    let (end, world) = if is_component(program) {
        run_component(program, world)
    } else {
        module::run(program, world)
    };
    Watched {
        end,
        lasted: world.now,
        waits: world.waits,
        faults: world.injected,
        busiest_hour: world.busiest_hour,
        start_fuel: world.start_fuel,
        fuel: world.fuel,
        pages: world.pages,
        handles: world.handles,
        odd_wait: world.odd_wait,
    }
}

#[cfg(feature = "wasmtime")]
fn run_component(program: &[u8], world: World) -> (End, World) {
    component::run(program, world)
}

#[cfg(not(feature = "wasmtime"))]
fn run_component(_: &[u8], world: World) -> (End, World) {
    let why = "components need the feature `wasmtime`".to_owned();
    (End::NotStarted(why), world)
}

/// Ends the call from inside a host function.
#[derive(Debug)]
struct Stopped(End);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Stopped {}

/// The clock and the records, for both runtimes.
#[derive(Default)]
struct World {
    faults: Faults,
    until: u64,
    now: u64,
    waits: u64,
    injected: u64,
    /// Waits since the last full hour of the clock.
    this_hour: (u64, u64),
    busiest_hour: u64,
    /// Waits since the clock last moved.
    standing: u64,
    start_fuel: u64,
    fuel: Option<(u64, u64)>,
    pages: Option<(u64, u64)>,
    handles: Option<(u64, u64)>,
    odd_wait: Option<String>,
}

/// What a runtime reports when a wait begins.
struct Look {
    /// Fuel that is left.
    fuel: u64,
    /// Pages of memory, where there is one.
    pages: Option<u64>,
    /// Resources of the host's that are held, where there are such.
    handles: Option<u64>,
}

impl World {
    fn new(faults: Faults, until: u64) -> Self {
        Self {
            faults,
            until,
            ..Self::default()
        }
    }

    /// Books the work since the last wait.
    fn begin_wait(&mut self, look: &Look) -> Result<(), Stopped> {
        self.waits += 1;
        self.standing += 1;
        if self.waits == 1 {
            self.start_fuel = START_FUEL.saturating_sub(look.fuel);
        } else {
            let used = SLICE_FUEL.saturating_sub(look.fuel);
            // The way from the first wait to the second may differ: the guest may
            // set something up once.
            if self.waits > 2 {
                let (least, most) = self.fuel.unwrap_or((used, used));
                self.fuel = Some((least.min(used), most.max(used)));
            }
        }
        let span = |seen: Option<(u64, u64)>, now: Option<u64>| {
            now.map_or(seen, |now| {
                Some((seen.map_or(now, |(first, _)| first), now))
            })
        };
        self.pages = span(self.pages, look.pages);
        self.handles = span(self.handles, look.handles);
        if self.standing >= MOST_WAITS || self.this_hour.1 >= MOST_WAITS {
            return Err(Stopped(End::Busy));
        }
        Ok(())
    }

    /// What is to go wrong with the wait that has just begun.
    fn fault(&mut self) -> Option<Fault> {
        let fault = match self.faults {
            Faults::Bursts(fault) if (1..=3).contains(&(self.waits % 10)) => Some(fault),
            Faults::Permanent(fault) => Some(fault),
            _ => None,
        };
        if fault.is_some() {
            self.injected += 1;
            return fault;
        }
        let hour = self.now / HOUR;
        if self.this_hour.0 != hour {
            self.this_hour = (hour, 0);
        }
        self.this_hour.1 += 1;
        self.busiest_hour = self.busiest_hour.max(self.this_hour.1);
        None
    }

    /// When a sleep ends that was to end at `ends`, and met `fault`.
    fn due(&self, ends: u64, fault: Option<Fault>) -> u64 {
        match fault {
            None => ends,
            Some(Fault::Early) => self.now + (ends.saturating_sub(self.now) / 10).min(HOUR / 60),
            Some(_) => self.now,
        }
    }

    fn advance(&mut self, to: u64) -> Result<(), Stopped> {
        let now = to.min(self.until).max(self.now);
        if now > self.now {
            self.standing = 0;
        }
        self.now = now;
        if to >= self.until {
            return Err(Stopped(End::Waiting));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "wasmtime"))]
mod component_tests;
#[cfg(test)]
mod tests;
