//! The reference pause as a WASI program (preview 1): it holds nothing, reaps
//! nothing and hears no signal, since a guest can do none of that. The WASI runtime that runs it is
//! PID 1 and owes the pod all three; this only stays.
#![no_std]
#![no_main]

use core::mem::MaybeUninit;

/// `__WASI_ERRNO_AGAIN` and `__WASI_ERRNO_INTR` (WASI preview 1, `errno`).
const AGAIN: u16 = 6;
const INTR: u16 = 27;

/// `subscription` of WASI preview 1, with the one kind of it that is used here.
#[repr(C)]
struct Subscription {
    userdata: u64,
    /// 0: a clock.
    tag: u8,
    clock: Clock,
}

/// `subscription_clock`, which is aligned as the largest of its union.
#[repr(C)]
struct Clock {
    /// 1: the monotonic one, which is never set back.
    id: u32,
    /// Nanoseconds; relative, since `flags` is 0.
    timeout: u64,
    precision: u64,
    flags: u16,
}

/// `event` of WASI preview 1.
#[repr(C)]
struct Event {
    userdata: u64,
    error: u16,
    tag: u8,
    /// `event_fd_readwrite`, unused for clocks.
    bytes: u64,
    flags: u16,
}

/// One hour: rare enough to cost nothing, and a number of milliseconds that the timer of every WASI
/// runtime can hold.
static HOUR: Subscription = Subscription {
    userdata: 0,
    tag: 0,
    clock: Clock {
        id: 1,
        timeout: 3600 * 1_000_000_000,
        precision: 0,
        flags: 0,
    },
};

// The fields are where the ABI has them.
const _: () = {
    assert!(size_of::<Subscription>() == 48);
    assert!(core::mem::offset_of!(Subscription, clock) == 16);
    assert!(size_of::<Event>() == 32);
};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
#[expect(unsafe_code, reason = "imports are declared, not written in Rust")]
unsafe extern "C" {
    fn poll_oneoff(of: &Subscription, to: *mut Event, count: usize, stored: &mut usize) -> u16;
    safe fn proc_exit(status: u32) -> !;
}

/// What the WASI runtime calls (WASI application ABI, "command").
#[expect(unsafe_code, reason = "the engine knows the entry by its name")]
#[unsafe(no_mangle)]
extern "C" fn _start() {
    loop {
        match sleep() {
            0 | AGAIN | INTR => {}
            // Trying again would burn a processor.
            _ => proc_exit(1),
        }
    }
}

/// Sleeps for an hour, or less; the error that kept it from sleeping, or 0.
fn sleep() -> u16 {
    let mut event = MaybeUninit::<Event>::uninit();
    let mut stored = 0;
    #[expect(unsafe_code, reason = "the engine stores where it is told to")]
    // SAFETY: the WASI runtime reads one subscription and stores at most one event.
    let error = unsafe { poll_oneoff(&HOUR, event.as_mut_ptr(), 1, &mut stored) };
    if error != 0 || stored == 0 {
        return error;
    }
    #[expect(unsafe_code, reason = "only the engine's word says that it was stored")]
    // SAFETY: `stored` counts the events that the WASI runtime has stored.
    let event = unsafe { event.assume_init_ref() };
    event.error
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
