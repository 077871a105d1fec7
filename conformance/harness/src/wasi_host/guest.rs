//! The guest: preview 1 as far as a pause and a small server need it, on real time.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::time::ClockId;
use wasmi::errors::HostError;
use wasmi::{
    AsContext, AsContextMut, Caller, CompilationMode, Config, EnforcedLimits, Engine, Error,
    Extern, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TypedResumableCall,
};

use super::confine;
use super::init::{Asked, Signals};
use super::{Fault, Order, TRAPPED};
use crate::wasi_abi::{EBADF, EFAULT, EINVAL, EIO, EMFILE, PREVIEW1, SUCCESS, Subscription};

/// Bytes of a module.
const MOST_PROGRAM: usize = 16 << 20;
/// Memory that the guest may grow to.
const MOST_MEMORY: usize = 16 << 20;
/// Fuel between two looks at the signals, about as many instructions.
const SLICE: u64 = 1_000_000;
/// Subscriptions of one wait, and buffers of one transfer.
const MOST_ITEMS: u32 = 64;
/// Bytes of one transfer.
const MOST_BYTES: usize = 1 << 16;
/// The listening socket's number; what it accepts comes after it.
const LISTENER: i32 = 3;
/// The last number of a connection.
const LAST: i32 = LISTENER + 16;
/// The last status that is not reserved (WASI#235).
const LAST_STATUS: i32 = 125;

/// Ends the guest from inside a host function, with this status.
#[derive(Debug)]
struct Ended(i32);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with status {}", self.0)
    }
}

impl HostError for Ended {}

impl From<Asked> for Error {
    fn from(asked: Asked) -> Self {
        Error::host(Ended(asked.0))
    }
}

/// What the host functions work on.
struct Guest {
    limits: StoreLimits,
    memory: Option<Memory>,
    signals: Signals,
    fault: Option<Fault>,
    listener: Option<OwnedFd>,
    connections: BTreeMap<i32, OwnedFd>,
}

/// Runs it; the status to end with.
pub(super) fn run(order: &Order, signals: Signals) -> Result<i32, String> {
    let program = read(order.module).map_err(|error| format!("read the module: {error}"))?;
    let listener = order.listen.map(listen).transpose();
    confine::confine()?;
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Lazy)
        .enforced_limits(EnforcedLimits::default());
    let engine = Engine::new(&config);
    let guest = Guest {
        limits: StoreLimitsBuilder::new()
            .memory_size(MOST_MEMORY)
            .table_elements(1 << 16)
            .instances(1)
            .build(),
        memory: None,
        signals,
        fault: order.fault,
        listener: listener.map_err(|error| format!("listen: {error}"))?,
        connections: BTreeMap::new(),
    };
    let mut store = Store::new(&engine, guest);
    store.limiter(|guest| &mut guest.limits);
    let not_started = |error: Error| error.to_string();
    store.set_fuel(SLICE).map_err(not_started)?;
    let module = Module::new(&engine, &program).map_err(not_started)?;
    let linker = linker(&engine).map_err(not_started)?;
    let instance = linker
        .instantiate_and_start(&mut store, &module)
        .map_err(not_started)?;
    store.data_mut().memory = instance
        .get_export(&store, "memory")
        .and_then(Extern::into_memory);
    let entry = instance
        .get_typed_func::<(), ()>(&store, "_start")
        .map_err(not_started)?;
    let mut call = entry.call_resumable(&mut store, ());
    loop {
        call = match call {
            Ok(TypedResumableCall::Finished(())) => return Ok(0),
            Ok(TypedResumableCall::HostTrap(trap)) => return Ok(ended(trap.host_error())),
            Ok(TypedResumableCall::OutOfFuel(rest)) => {
                if let Err(asked) = store.data().signals.answer() {
                    return Ok(asked.0);
                }
                store
                    .set_fuel(rest.required_fuel().max(SLICE))
                    .map_err(not_started)?;
                rest.resume(&mut store)
            }
            Err(error) => return Ok(ended(&error)),
        };
    }
}

/// The status for an error of the call.
fn ended(error: &Error) -> i32 {
    if let Some(Ended(status)) = error.downcast_ref() {
        return *status;
    }
    eprintln!("wasi host: trapped: {error}");
    TRAPPED
}

fn read(number: i32) -> Result<Vec<u8>, Errno> {
    #[expect(unsafe_code, reason = "a number from outside")]
    // SAFETY: the order names the number that the process that executed this host left open for it.
    let fd = unsafe { crate::process::inherited(number) }
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::BADF))?;
    let mut program = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        // From its start: another process may have read from the same open file before.
        match rustix::io::pread(&fd, &mut buffer[..], program.len() as u64)? {
            0 => return Ok(program),
            length => program.extend_from_slice(&buffer[..length]),
        }
        if program.len() > MOST_PROGRAM {
            return Err(Errno::FBIG);
        }
    }
}

fn listen(port: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // What a server before this one closed keeps the port for a while.
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, 8)?;
    Ok(socket)
}

fn linker(engine: &Engine) -> Result<Linker<Guest>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(PREVIEW1, "clock_time_get", clock_time_get)?;
    linker.func_wrap(PREVIEW1, "fd_close", fd_close)?;
    linker.func_wrap(PREVIEW1, "fd_read", fd_read)?;
    linker.func_wrap(PREVIEW1, "fd_write", fd_write)?;
    linker.func_wrap(PREVIEW1, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(PREVIEW1, "proc_exit", proc_exit)?;
    linker.func_wrap(PREVIEW1, "sched_yield", sched_yield)?;
    linker.func_wrap(PREVIEW1, "sock_accept", sock_accept)?;
    Ok(linker)
}

/// What a function answers: an error number, or the end of the guest.
type Answer = Result<i32, Error>;

/// The result of a function before it is an [`Answer`].
enum Stop {
    Errno(u16),
    Asked(Asked),
}

impl From<u16> for Stop {
    fn from(errno: u16) -> Self {
        Self::Errno(errno)
    }
}

impl From<Asked> for Stop {
    fn from(asked: Asked) -> Self {
        Self::Asked(asked)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what a function comes to is answered once"
)]
fn answer(result: Result<(), Stop>) -> Answer {
    match result {
        Ok(()) => Ok(i32::from(SUCCESS)),
        Err(Stop::Errno(errno)) => Ok(i32::from(errno)),
        Err(Stop::Asked(asked)) => Err(asked.into()),
    }
}

fn proc_exit(_: Caller<'_, Guest>, status: i32) -> Result<(), Error> {
    let status = if (0..=LAST_STATUS).contains(&status) {
        status
    } else {
        TRAPPED
    };
    Err(Error::host(Ended(status)))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that wasmi wants of a host function"
)]
fn sched_yield(caller: Caller<'_, Guest>) -> Answer {
    answer(caller.data().signals.answer().map_err(Stop::from))
}

fn clock_time_get(mut caller: Caller<'_, Guest>, clock: i32, _precision: i64, to: i32) -> Answer {
    let result = now(clock.cast_unsigned())
        .ok_or(EINVAL)
        .and_then(|now| store(&mut caller, to, &now.to_le_bytes()));
    answer(result.map_err(Stop::from))
}

/// A clock in nanoseconds; `None` where the guest has none of that number.
fn now(clock: u32) -> Option<u64> {
    let id = match clock {
        0 => ClockId::Realtime,
        1 => ClockId::Monotonic,
        _ => return None,
    };
    let time = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok()?;
    Some(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
    )
}

fn poll_oneoff(mut caller: Caller<'_, Guest>, of: i32, to: i32, count: i32, stored: i32) -> Answer {
    answer(poll(&mut caller, [of, to, count, stored]))
}

fn poll(caller: &mut Caller<'_, Guest>, [of, to, count, stored]: [i32; 4]) -> Result<(), Stop> {
    let count = count.cast_unsigned();
    if count == 0 || count > MOST_ITEMS {
        return Err(EINVAL.into());
    }
    let mut waits = Vec::new();
    for index in 0..count {
        let at = of
            .cast_unsigned()
            .wrapping_add(index * Subscription::SIZE as u32);
        let mut bytes = [0; Subscription::SIZE];
        load(caller, at.cast_signed(), &mut bytes)?;
        let wait = Subscription::parse(&bytes);
        // Due at once where there is no such clock, or a file is meant, which it says then.
        let due = match now(wait.clock) {
            Some(now) if wait.is_clock() => wait.ends(now),
            _ => 0,
        };
        waits.push((wait, due));
    }
    let left = |(wait, due): &(Subscription, u64)| {
        let left = due.saturating_sub(now(wait.clock).unwrap_or(u64::MAX));
        Duration::from_nanos(if *due == 0 { 0 } else { left })
    };
    let guest = caller.data();
    match guest.fault {
        Some(Fault::Restless) => guest.signals.answer()?,
        Some(Fault::Ends) => return Err(Asked(0).into()),
        _ => {
            guest.signals.wait(None, || waits.iter().map(left).min())?;
        }
    }
    let mut events = Vec::new();
    let mut number: u32 = 0;
    for wait in waits.iter().filter(|wait| left(wait).is_zero()) {
        let errno = match wait.0.tag {
            0 if wait.0.is_clock() => SUCCESS,
            0 => EINVAL,
            _ => EBADF,
        };
        events.extend(wait.0.event(errno));
        number += 1;
    }
    store(caller, to, &events)?;
    store(caller, stored, &number.to_le_bytes())?;
    Ok(())
}

fn sock_accept(mut caller: Caller<'_, Guest>, fd: i32, _flags: i32, to: i32) -> Answer {
    let accept = |caller: &mut Caller<'_, Guest>| -> Result<(), Stop> {
        let guest = caller.data_mut();
        let listener = guest.listener.as_ref().filter(|_| fd == LISTENER);
        let listener = listener.ok_or(EBADF)?;
        let number = (LISTENER + 1..=LAST)
            .find(|number| !guest.connections.contains_key(number))
            .ok_or(EMFILE)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connection = transfer(&guest.signals, listener.as_fd(), PollFlags::IN, || {
            rustix::net::accept_with(listener, flags)
        })?;
        guest.connections.insert(number, connection);
        store(caller, to, &number.to_le_bytes())?;
        Ok(())
    };
    answer(accept(&mut caller))
}

fn fd_close(mut caller: Caller<'_, Guest>, fd: i32) -> Answer {
    let closed = caller.data_mut().connections.remove(&fd);
    answer(closed.map(drop).ok_or(EBADF.into()))
}

fn fd_read(mut caller: Caller<'_, Guest>, fd: i32, of: i32, count: i32, to: i32) -> Answer {
    let read = |caller: &mut Caller<'_, Guest>| -> Result<(), Stop> {
        let buffers = buffers(caller, of, count)?;
        let mut bytes = vec![0; buffers.iter().map(|(_, length)| length).sum()];
        let guest = caller.data();
        let connection = guest.connections.get(&fd).ok_or(EBADF)?;
        let length = transfer(&guest.signals, connection.as_fd(), PollFlags::IN, || {
            rustix::io::read(connection, &mut bytes[..])
        })?;
        let mut rest = &bytes[..length];
        for (at, room) in buffers {
            let (now, later) = rest.split_at(room.min(rest.len()));
            store(caller, at, now)?;
            rest = later;
        }
        store(caller, to, &(length as u32).to_le_bytes())?;
        Ok(())
    };
    answer(read(&mut caller))
}

fn fd_write(mut caller: Caller<'_, Guest>, fd: i32, of: i32, count: i32, to: i32) -> Answer {
    let write = |caller: &mut Caller<'_, Guest>| -> Result<(), Stop> {
        let mut bytes = Vec::new();
        for (at, length) in buffers(caller, of, count)? {
            let mut part = vec![0; length];
            load(caller, at, &mut part)?;
            bytes.extend(part);
        }
        let guest = caller.data();
        let target: BorrowedFd<'_> = match fd {
            1 => rustix::stdio::stdout(),
            2 => rustix::stdio::stderr(),
            _ => guest.connections.get(&fd).ok_or(EBADF)?.as_fd(),
        };
        let length = transfer(&guest.signals, target, PollFlags::OUT, || {
            rustix::io::write(target, &bytes)
        })?;
        store(caller, to, &(length as u32).to_le_bytes())?;
        Ok(())
    };
    answer(write(&mut caller))
}

/// Does it once the descriptor is ready, as often as another was faster.
fn transfer<T>(
    signals: &Signals,
    fd: BorrowedFd<'_>,
    flags: PollFlags,
    mut act: impl FnMut() -> Result<T, Errno>,
) -> Result<T, Stop> {
    loop {
        signals.wait(Some((fd, flags)), || None)?;
        match act() {
            // Aborted: the client has gone, and another may connect.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            other => return other.map_err(|_| EIO.into()),
        }
    }
}

/// The buffers of a transfer (WASI preview 1, `iovec`): address and length.
fn buffers(caller: &Caller<'_, Guest>, of: i32, count: i32) -> Result<Vec<(i32, usize)>, Stop> {
    let count = count.cast_unsigned();
    if count > MOST_ITEMS {
        return Err(EINVAL.into());
    }
    let mut buffers = Vec::new();
    let mut room = MOST_BYTES;
    for index in 0..count {
        let at = of.cast_unsigned().wrapping_add(index * 8);
        let mut bytes = [0; 8];
        load(caller, at.cast_signed(), &mut bytes)?;
        let [a0, a1, a2, a3, l0, l1, l2, l3] = bytes;
        let length = (u32::from_le_bytes([l0, l1, l2, l3]) as usize).min(room);
        room -= length;
        buffers.push((i32::from_le_bytes([a0, a1, a2, a3]), length));
    }
    Ok(buffers)
}

fn load(caller: &Caller<'_, Guest>, from: i32, bytes: &mut [u8]) -> Result<(), u16> {
    let memory = caller.data().memory.ok_or(EFAULT)?;
    memory
        .read(caller.as_context(), from.cast_unsigned() as usize, bytes)
        .map_err(|_| EFAULT)
}

fn store(caller: &mut Caller<'_, Guest>, to: i32, bytes: &[u8]) -> Result<(), u16> {
    let memory = caller.data().memory.ok_or(EFAULT)?;
    memory
        .write(caller.as_context_mut(), to.cast_unsigned() as usize, bytes)
        .map_err(|_| EFAULT)
}
