//! Components of WASI preview 2, compiled by wasmtime. Of its interfaces the host has
//! those that a pause may import: `wasi:io/poll`, `wasi:clocks/monotonic-clock` and
//! `wasi:cli/exit`.

use std::collections::BTreeMap;

use wasmtime::component::{
    Component, Instance, Linker, LinkerInstance, Resource, ResourceType, TypedFunc,
};
use wasmtime::{Config, Engine, Error, ResourceLimiter, Result, Store, StoreContextMut, Trap};

use super::{
    End, Look, MOST_ELEMENTS, MOST_MEMORY, MOST_SUBSCRIPTIONS, SLICE_FUEL, START_FUEL, Stopped,
    World,
};

/// Any 0.2 will do: the linker takes them for one, as semantic versions are meant.
const POLL: &str = "wasi:io/poll@0.2.0";
const CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.0";
const EXIT: &str = "wasi:cli/exit@0.2.0";
const RUN: &str = "wasi:cli/run@0.2.0";

/// Bytes of a page of memory.
const PAGE: usize = 1 << 16;
/// The most core instances, tables and memories; a pause has a handful.
const MOST_PARTS: usize = 64;

/// The type of the resource `pollable`.
struct Pollable;

/// What the host keeps for the guest.
struct GuestState {
    world: World,
    /// When each pollable is ready.
    pollables: BTreeMap<u32, u64>,
    /// The last number that one was given.
    last: u32,
    /// Bytes of all memories.
    memory: usize,
}

/// Runs a valid component until it ends or is stopped.
pub(super) fn run(component: &[u8], world: World) -> (End, World) {
    let guest = GuestState {
        world,
        pollables: BTreeMap::new(),
        last: 0,
        memory: 0,
    };
    let mut config = Config::new();
    config
        .consume_fuel(true)
        // The suite keeps its own signal handlers, and its address space small.
        .signals_based_traps(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .wasm_backtrace_max_frames(None);
    let engine = match Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => return (not_started(&error), guest.world),
    };
    let mut store = Store::new(&engine, guest);
    store.limiter(|guest| guest);
    let end = start(&engine, &mut store, component);
    (end, store.into_data().world)
}

fn start(engine: &Engine, store: &mut Store<GuestState>, component: &[u8]) -> End {
    let started = Component::new(engine, component).and_then(|component| {
        let linker = linker(engine)?;
        store.set_fuel(START_FUEL)?;
        linker.instantiate(&mut *store, &component)
    });
    let instance = match started {
        Ok(instance) => instance,
        // Where a start section waits for ever, the sleep is seen all the same.
        Err(error) => return ended(&error).unwrap_or_else(|| not_started(&error)),
    };
    let entry = match entry(&mut *store, &instance) {
        Ok(entry) => entry,
        Err(error) => return not_started(&error),
    };
    match entry.call(&mut *store, ()) {
        Ok(_) => End::Returned,
        Err(error) => ended(&error).unwrap_or_else(|| End::Trapped(format!("{error:#}"))),
    }
}

type Entry = TypedFunc<(), (core::result::Result<(), ()>,)>;

fn entry(store: &mut Store<GuestState>, instance: &Instance) -> Result<Entry> {
    let missing = || Error::msg("no function run in an exported wasi:cli/run");
    let interface = instance.get_export_index(&mut *store, None, RUN);
    let interface = interface.ok_or_else(missing)?;
    let run = instance.get_export_index(&mut *store, Some(&interface), "run");
    instance.get_typed_func(&mut *store, run.ok_or_else(missing)?)
}

fn not_started(error: &Error) -> End {
    End::NotStarted(format!("{error:#}"))
}

/// What an error of the call means, where it is not a trap of the guest's.
fn ended(error: &Error) -> Option<End> {
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return Some(stopped.0.clone());
    }
    let trap = error.downcast_ref::<Trap>()?;
    Some(match trap {
        Trap::OutOfFuel => End::Spun,
        // Without the runtime's words on where.
        trap => End::Trapped(trap.to_string()),
    })
}

/// Bounds what a guest takes, and counts its memory.
impl ResourceLimiter for GuestState {
    fn memory_growing(&mut self, now: usize, wanted: usize, most: Option<usize>) -> Result<bool> {
        let grown = self.memory.saturating_add(wanted.saturating_sub(now));
        let granted = grown <= MOST_MEMORY && most.is_none_or(|most| wanted <= most);
        if granted {
            self.memory = grown;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> Result<bool> {
        Ok(wanted <= MOST_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MOST_PARTS
    }

    fn tables(&self) -> usize {
        MOST_PARTS
    }

    fn memories(&self) -> usize {
        MOST_PARTS
    }
}

fn linker(engine: &Engine) -> Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    poll(&mut linker.instance(POLL)?)?;
    clock(&mut linker.instance(CLOCK)?)?;
    exit(&mut linker.instance(EXIT)?)?;
    Ok(linker)
}

fn poll(host: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    host.resource(
        "pollable",
        ResourceType::host::<Pollable>(),
        |mut store, number| {
            store.data_mut().pollables.remove(&number);
            Ok(())
        },
    )?;
    host.func_wrap(
        "[method]pollable.ready",
        |store: StoreContextMut<'_, GuestState>, (one,): (Resource<Pollable>,)| {
            let guest = store.data();
            Ok((guest.due(&one)? <= guest.world.now,))
        },
    )?;
    host.func_wrap(
        "[method]pollable.block",
        |store: StoreContextMut<'_, GuestState>, (one,): (Resource<Pollable>,)| {
            sleep(store, &[one]).map(|_| ())
        },
    )?;
    host.func_wrap(
        "poll",
        |store: StoreContextMut<'_, GuestState>, (all,): (Vec<Resource<Pollable>>,)| {
            Ok((sleep(store, &all)?,))
        },
    )
}

fn clock(host: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    host.func_wrap("now", |store: StoreContextMut<'_, GuestState>, ()| {
        Ok((store.data().world.now,))
    })?;
    host.func_wrap("resolution", |_: StoreContextMut<'_, GuestState>, ()| {
        Ok((1_u64,))
    })?;
    host.func_wrap(
        "subscribe-instant",
        |mut store: StoreContextMut<'_, GuestState>, (when,): (u64,)| {
            Ok((store.data_mut().subscribe(when),))
        },
    )?;
    host.func_wrap(
        "subscribe-duration",
        |mut store: StoreContextMut<'_, GuestState>, (after,): (u64,)| {
            let guest = store.data_mut();
            let when = guest.world.now.saturating_add(after);
            Ok((guest.subscribe(when),))
        },
    )
}

fn exit(host: &mut LinkerInstance<'_, GuestState>) -> Result<()> {
    let end = |status: u32| -> Result<()> { Err(Error::new(Stopped(End::Exited(status)))) };
    host.func_wrap(
        "exit",
        move |_: StoreContextMut<'_, GuestState>, (status,): (core::result::Result<(), ()>,)| {
            end(u32::from(status.is_err()))
        },
    )?;
    host.func_wrap(
        "exit-with-code",
        move |_: StoreContextMut<'_, GuestState>, (status,): (u8,)| end(u32::from(status)),
    )
}

/// Sleeps until one of them is ready; the places of those that are.
fn sleep(
    mut store: StoreContextMut<'_, GuestState>,
    on: &[Resource<Pollable>],
) -> Result<Vec<u32>> {
    let fuel = store.get_fuel()?;
    let ready = store.data_mut().sleep(fuel, on)?;
    store.set_fuel(SLICE_FUEL)?;
    Ok(ready)
}

impl GuestState {
    fn subscribe(&mut self, when: u64) -> Resource<Pollable> {
        // What is still held has no more numbers than the fuel of a month can buy.
        self.last = self.last.wrapping_add(1);
        self.pollables.insert(self.last, when);
        Resource::new_own(self.last)
    }

    fn due(&self, one: &Resource<Pollable>) -> Result<u64> {
        let due = self.pollables.get(&one.rep()).copied();
        due.ok_or_else(|| Error::msg("a pollable that is not there"))
    }

    fn sleep(&mut self, fuel: u64, on: &[Resource<Pollable>]) -> Result<Vec<u32>> {
        self.world
            .begin_wait(&Look {
                fuel,
                pages: Some((self.memory / PAGE) as u64),
                handles: Some(self.pollables.len() as u64),
            })
            .map_err(Error::new)?;
        let few = u32::try_from(on.len()).is_ok_and(|count| count <= MOST_SUBSCRIPTIONS);
        let dues: Vec<u64> = if few {
            on.iter().map(|one| self.due(one)).collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        let Some(first) = dues.iter().min() else {
            // Runtimes trap here; the check of waits says it in better words.
            let odd = || format!("a wait with {} pollables", on.len());
            self.world.odd_wait.get_or_insert_with(odd);
            return Ok(Vec::new());
        };
        let fault = self.world.fault();
        let due = self.world.due((*first).max(self.world.now), fault);
        self.world.advance(due).map_err(Error::new)?;
        // One that wakes early is told that the first of them was ready.
        let until = self.world.now.max(*first);
        let ready = (0_u32..).zip(&dues).filter(|(_, due)| **due <= until);
        Ok(ready.map(|(place, _)| place).collect())
    }
}
