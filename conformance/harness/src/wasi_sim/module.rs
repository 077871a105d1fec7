//! Core modules of WASI preview 1, interpreted by wasmi.

use wasmi::{
    AsContext, AsContextMut, Caller, CompilationMode, Config, EnforcedLimits, Engine, Error,
    Extern, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TrapCode,
    errors::HostError,
};

use super::{
    End, Fault, Look, MOST_ELEMENTS, MOST_MEMORY, MOST_SUBSCRIPTIONS, SLICE_FUEL, START_FUEL,
    Stopped, World,
};
use crate::wasi_abi::{EBADF, EFAULT, EINVAL, PREVIEW1, SUCCESS, Subscription};

impl HostError for Stopped {}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        Error::host(stopped)
    }
}

/// What the host keeps for the guest.
struct GuestState {
    world: World,
    limits: StoreLimits,
    memory: Option<Memory>,
}

/// Runs a valid module until it ends or is stopped.
pub(super) fn run(module: &[u8], world: World) -> (End, World) {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Lazy)
        .enforced_limits(EnforcedLimits::default());
    let engine = Engine::new(&config);
    let guest = GuestState {
        world,
        limits: StoreLimitsBuilder::new()
            .memory_size(MOST_MEMORY)
            .table_elements(MOST_ELEMENTS)
            .instances(1)
            .build(),
        memory: None,
    };
    let mut store = Store::new(&engine, guest);
    store.limiter(|guest| &mut guest.limits);
    let end = start(&engine, &mut store, module);
    (end, store.into_data().world)
}

fn start(engine: &Engine, store: &mut Store<GuestState>, module: &[u8]) -> End {
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

/// The four functions that a pause may import.
fn linker(engine: &Engine) -> Result<Linker<GuestState>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(PREVIEW1, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(
        PREVIEW1,
        "proc_exit",
        |_: Caller<'_, GuestState>, status: i32| -> Result<(), Error> {
            Err(Stopped(End::Exited(status.cast_unsigned())).into())
        },
    )?;
    linker.func_wrap(PREVIEW1, "sched_yield", |_: Caller<'_, GuestState>| {
        i32::from(SUCCESS)
    })?;
    linker.func_wrap(
        PREVIEW1,
        "clock_time_get",
        |mut caller: Caller<'_, GuestState>, _clock: i32, _precision: i64, to: i32| {
            let now = caller.data().world.now.to_le_bytes();
            memory(&caller)
                .and_then(|memory| store_bytes(&mut caller, memory, to, &now))
                .map_or(i32::from(EFAULT), |()| i32::from(SUCCESS))
        },
    )?;
    Ok(linker)
}

fn memory(caller: &Caller<'_, GuestState>) -> Option<Memory> {
    caller
        .data()
        .memory
        .or_else(|| caller.get_export("memory")?.into_memory())
}

fn store_bytes(
    caller: &mut Caller<'_, GuestState>,
    memory: Memory,
    to: i32,
    bytes: &[u8],
) -> Option<()> {
    let to = usize::try_from(to.cast_unsigned()).ok()?;
    memory.write(caller.as_context_mut(), to, bytes).ok()
}

fn poll_oneoff(
    mut caller: Caller<'_, GuestState>,
    of: i32,
    to: i32,
    count: i32,
    stored: i32,
) -> Result<i32, Error> {
    let memory = memory(&caller);
    let pages = memory.map(|memory| memory.size(caller.as_context()));
    let look = Look {
        fuel: caller.get_fuel()?,
        pages,
        handles: None,
    };
    caller.data_mut().world.begin_wait(&look)?;
    let result = memory.map_or(Ok(i32::from(EFAULT)), |memory| {
        wait(&mut caller, memory, [of, to, count, stored])
    });
    caller.set_fuel(SLICE_FUEL)?;
    result
}

fn wait(
    caller: &mut Caller<'_, GuestState>,
    memory: Memory,
    [of, to, count, stored]: [i32; 4],
) -> Result<i32, Error> {
    let count = count.cast_unsigned();
    if count == 0 || count > MOST_SUBSCRIPTIONS {
        caller
            .data_mut()
            .world
            .odd_wait
            .get_or_insert_with(|| format!("a wait with {count} subscriptions"));
        return Ok(i32::from(EINVAL));
    }
    let Some(subscriptions) = read_subscriptions(caller, memory, of.cast_unsigned(), count) else {
        return Ok(i32::from(EFAULT));
    };
    let world = &mut caller.data_mut().world;
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
    if let Some(Fault::Call(error)) = fault {
        return Ok(i32::from(error));
    }
    let due = world.due(ends.unwrap_or(now), fault);
    world.advance(due)?;
    let now = world.now;
    let is_over = |one: &Subscription| one.ends(due.min(now)) <= now || ends == Some(now);
    let events = events(&subscriptions, fault, is_over);
    let number = u32::try_from(events.len()).unwrap_or(count).to_le_bytes();
    let written = store_bytes(caller, memory, to, &events.concat())
        .and_then(|()| store_bytes(caller, memory, stored, &number));
    Ok(written.map_or(i32::from(EFAULT), |()| i32::from(SUCCESS)))
}

/// `None` where the guest's memory does not hold them.
fn read_subscriptions(
    caller: &Caller<'_, GuestState>,
    memory: Memory,
    of: u32,
    count: u32,
) -> Option<Vec<Subscription>> {
    let read = |index: u32| {
        let at = of.wrapping_add(index * Subscription::SIZE as u32);
        let mut bytes = [0; Subscription::SIZE];
        let at = usize::try_from(at).ok()?;
        memory.read(caller.as_context(), at, &mut bytes).ok()?;
        Some(Subscription::parse(&bytes))
    };
    (0..count).map(read).collect()
}

/// The events that a wait stores: of the clocks that are over, or as the fault has it.
fn events(
    subscriptions: &[Subscription],
    fault: Option<Fault>,
    is_over: impl Fn(&Subscription) -> bool,
) -> Vec<[u8; 32]> {
    let event = |one: &Subscription| match fault {
        Some(Fault::NoEvent) => None,
        Some(Fault::Event(error)) => Some(one.event(error)),
        _ if !one.is_clock() => Some(one.event(EBADF)),
        Some(_) => Some(one.event(0)),
        None => is_over(one).then(|| one.event(0)),
    };
    subscriptions.iter().filter_map(event).collect()
}
