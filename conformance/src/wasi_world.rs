//! A WASI preview-1 host whose clock is virtual: a guest that sleeps for 30 days is
//! watched for all of them in milliseconds, and what its sleeps come to is ours to
//! say. It judges nothing; [`Watched`] is what happened.
//!
//! Deterministic: one thread, no time but its own, and work counted in wasmi's fuel
//! (about one unit an instruction). The guest is hostile: its memory and its work
//! between two waits are bounded, and it reaches nothing of this machine.

use std::fmt;

use wasmi::{
    AsContext, AsContextMut, Caller, CompilationMode, Config, EnforcedLimits, Engine, Error,
    Extern, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TrapCode,
    errors::HostError,
};

pub use crate::wasi_abi::{EAGAIN, EINTR, ENOTSUP};
use crate::wasi_abi::{EBADF, EFAULT, EINVAL, PREVIEW1, SUCCESS, Subscription};

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
/// Memory that the guest may grow to.
const MOST_MEMORY: usize = 64 << 20;

/// What a wait comes to instead of the sleep that was asked for.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Never.
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
    /// `_start` returned.
    Returned,
    /// `proc_exit` with this status.
    Exited(u32),
    /// A trap, in the engine's words.
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
    /// The first wait that is none on a clock, in words.
    pub odd_wait: Option<String>,
}

/// Watches a valid core module through `until` nanoseconds of virtual time.
pub fn watch(module: &[u8], faults: Faults, until: u64) -> Watched {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Lazy)
        .enforced_limits(EnforcedLimits::default());
    let engine = Engine::new(&config);
    let world = World {
        faults,
        until,
        ..World::default()
    };
    let mut store = Store::new(&engine, world);
    store.limiter(|world| &mut world.limits);
    let end = run(&engine, &mut store, module);
    let world = store.into_data();
    Watched {
        end,
        lasted: world.now,
        waits: world.waits,
        faults: world.injected,
        busiest_hour: world.busiest_hour,
        start_fuel: world.start_fuel,
        fuel: world.fuel,
        pages: world.pages,
        odd_wait: world.odd_wait,
    }
}

fn run(engine: &Engine, store: &mut Store<World>, module: &[u8]) -> End {
    let not_started = |error: Error| End::NotStarted(error.to_string());
    let started = Module::new(engine, module).and_then(|module| {
        let linker = linker(engine)?;
        store.set_fuel(START_FUEL)?;
        linker.instantiate_and_start(&mut *store, &module)
    });
    let instance = match started {
        Ok(instance) => instance,
        // Where a start section waits for ever, the sleep is seen all the same.
        Err(error) => return ended(&error).unwrap_or_else(|| not_started(error)),
    };
    store.data_mut().memory = instance
        .get_export(&*store, "memory")
        .and_then(Extern::into_memory);
    let entry = match instance.get_typed_func::<(), ()>(&*store, "_start") {
        Ok(entry) => entry,
        Err(error) => return not_started(error),
    };
    match entry.call(&mut *store, ()) {
        Ok(()) => End::Returned,
        Err(error) => ended(&error).unwrap_or_else(|| End::Trapped(error.to_string())),
    }
}

/// What an error of the call means, where it is not a trap of the guest's.
fn ended(error: &Error) -> Option<End> {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return Some(stopped.0.clone());
    }
    (error.as_trap_code() == Some(TrapCode::OutOfFuel)).then_some(End::Spun)
}

/// Ends the call from inside a host function.
#[derive(Debug)]
struct Stopped(End);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl HostError for Stopped {}

struct World {
    limits: StoreLimits,
    memory: Option<Memory>,
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
    odd_wait: Option<String>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            limits: StoreLimitsBuilder::new()
                .memory_size(MOST_MEMORY)
                .table_elements(1 << 16)
                .instances(1)
                .build(),
            memory: None,
            faults: Faults::None,
            until: MONTH,
            now: 0,
            waits: 0,
            injected: 0,
            this_hour: (0, 0),
            busiest_hour: 0,
            standing: 0,
            start_fuel: 0,
            fuel: None,
            pages: None,
            odd_wait: None,
        }
    }
}

/// The four functions that a pause may import.
fn linker(engine: &Engine) -> Result<Linker<World>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(PREVIEW1, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(
        PREVIEW1,
        "proc_exit",
        |_: Caller<'_, World>, status: i32| -> Result<(), Error> {
            Err(Error::host(Stopped(End::Exited(status.cast_unsigned()))))
        },
    )?;
    linker.func_wrap(PREVIEW1, "sched_yield", |_: Caller<'_, World>| {
        i32::from(SUCCESS)
    })?;
    linker.func_wrap(
        PREVIEW1,
        "clock_time_get",
        |mut caller: Caller<'_, World>, _clock: i32, _precision: i64, to: i32| {
            let now = caller.data().now.to_le_bytes();
            memory(&caller)
                .and_then(|memory| store_bytes(&mut caller, memory, to, &now))
                .map_or(i32::from(EFAULT), |()| i32::from(SUCCESS))
        },
    )?;
    Ok(linker)
}

fn memory(caller: &Caller<'_, World>) -> Option<Memory> {
    caller
        .data()
        .memory
        .or_else(|| caller.get_export("memory")?.into_memory())
}

fn store_bytes(
    caller: &mut Caller<'_, World>,
    memory: Memory,
    to: i32,
    bytes: &[u8],
) -> Option<()> {
    let to = usize::try_from(to.cast_unsigned()).ok()?;
    memory.write(caller.as_context_mut(), to, bytes).ok()
}

fn poll_oneoff(
    mut caller: Caller<'_, World>,
    of: i32,
    to: i32,
    count: i32,
    stored: i32,
) -> Result<i32, Error> {
    let memory = memory(&caller);
    let pages = memory.map(|memory| memory.size(caller.as_context()));
    let fuel = caller.get_fuel()?;
    caller.data_mut().begin_wait(fuel, pages)?;
    let result = memory.map_or(Ok(i32::from(EFAULT)), |memory| {
        wait(&mut caller, memory, [of, to, count, stored])
    });
    caller.set_fuel(SLICE_FUEL)?;
    result
}

fn wait(
    caller: &mut Caller<'_, World>,
    memory: Memory,
    [of, to, count, stored]: [i32; 4],
) -> Result<i32, Error> {
    let count = count.cast_unsigned();
    if count == 0 || count > MOST_SUBSCRIPTIONS {
        caller
            .data_mut()
            .odd_wait
            .get_or_insert_with(|| format!("a wait with {count} subscriptions"));
        return Ok(i32::from(EINVAL));
    }
    let mut subscriptions = Vec::new();
    for index in 0..count {
        let at = of.cast_unsigned().wrapping_add(index * 48);
        let mut bytes = [0; Subscription::SIZE];
        let read = usize::try_from(at)
            .is_ok_and(|at| memory.read(caller.as_context(), at, &mut bytes).is_ok());
        if !read {
            return Ok(i32::from(EFAULT));
        }
        subscriptions.push(Subscription::parse(&bytes));
    }
    let world = caller.data_mut();
    if let Some(odd) = subscriptions.iter().find(|one| !one.is_clock()) {
        world.odd_wait.get_or_insert_with(|| match odd.tag {
            0 => format!("a wait on clock {}", odd.clock),
            tag => format!("a wait on a file (subscription type {tag})"),
        });
    }
    let fault = world.fault();
    let now = world.now;
    let clocks = subscriptions.iter().filter(|one| one.is_clock());
    let ends = clocks.map(|one| one.ends(now)).min();
    let due = match (fault, ends) {
        (Some(Fault::Call(error)), _) => return Ok(i32::from(error)),
        (Some(Fault::Early), Some(ends)) => now + ((ends - now) / 10).min(HOUR / 60),
        (Some(_), _) | (None, None) => now,
        (None, Some(ends)) => ends,
    };
    world.advance(due)?;
    let now = world.now;
    let mut events = Vec::new();
    for one in &subscriptions {
        match fault {
            Some(Fault::NoEvent) => {}
            Some(Fault::Event(error)) => events.push(one.event(error)),
            _ if !one.is_clock() => events.push(one.event(EBADF)),
            Some(_) => events.push(one.event(0)),
            None if one.ends(due.min(now)) <= now || ends == Some(now) => {
                events.push(one.event(0));
            }
            None => {}
        }
    }
    let number = u32::try_from(events.len()).unwrap_or(count).to_le_bytes();
    let written = store_bytes(caller, memory, to, &events.concat())
        .and_then(|()| store_bytes(caller, memory, stored, &number));
    Ok(written.map_or(i32::from(EFAULT), |()| i32::from(SUCCESS)))
}

impl World {
    /// Books the work since the last wait.
    fn begin_wait(&mut self, left: u64, pages: Option<u64>) -> Result<(), Error> {
        self.waits += 1;
        self.standing += 1;
        if self.waits == 1 {
            self.start_fuel = START_FUEL.saturating_sub(left);
        } else {
            let used = SLICE_FUEL.saturating_sub(left);
            // The way from the first wait to the second may differ: the guest may
            // set something up once.
            if self.waits > 2 {
                let (least, most) = self.fuel.unwrap_or((used, used));
                self.fuel = Some((least.min(used), most.max(used)));
            }
        }
        if let Some(pages) = pages {
            self.pages = Some((self.pages.map_or(pages, |(first, _)| first), pages));
        }
        if self.standing >= MOST_WAITS || self.this_hour.1 >= MOST_WAITS {
            return Err(Error::host(Stopped(End::Busy)));
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

    fn advance(&mut self, to: u64) -> Result<(), Error> {
        let now = to.min(self.until).max(self.now);
        if now > self.now {
            self.standing = 0;
        }
        self.now = now;
        if to >= self.until {
            return Err(Error::host(Stopped(End::Waiting)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
