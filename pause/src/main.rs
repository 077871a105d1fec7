//! The reference pause: PID 1 of a Kubernetes pod sandbox.
//!
//! It holds the pod's namespaces by existing, reaps what the pod's containers
//! leave behind, ends on SIGTERM and SIGINT, and sleeps otherwise.
#![no_std]
#![no_main]

use linux_raw_sys::general::{SIGCHLD, SIGINT, SIGTERM};
use pause::sys::{Args, Signals, Wake, block, exit, ignore, print, reap, wait_for};

/// The signals it acts upon. Every other is left as it was: the kernel keeps
/// those from PID 1 of a pod, and elsewhere they do what they always do.
static SIGNALS: Signals = Signals::of(&[SIGTERM, SIGINT, SIGCHLD]);

pause::entry!(main);

extern "C" fn main(sp: *const usize) -> ! {
    #[expect(
        unsafe_code,
        reason = "only here is it known where the stack pointer is from"
    )]
    // SAFETY: `entry!` hands over the initial stack pointer.
    let mut args = unsafe { Args::new(sp) };
    if args.any(|arg| arg.is_flag(b'v')) {
        exit(print(concat!("pause ", env!("CARGO_PKG_VERSION"), "\n")));
    }

    // First of all: a signal that comes from now on waits until it is asked
    // for, also one that was ignored, blocked or without a handler.
    block(&SIGNALS);
    loop {
        // Before the first sleep too, for children that ended under the
        // program that this one replaced.
        reap();
        match wait_for(&SIGNALS) {
            Wake::Signal(SIGTERM | SIGINT) => exit(true),
            // There are children. From now on the kernel reaps them, and their ends, stops and
            // continues wake no process; those that ended before are reaped above.
            Wake::Signal(_) => ignore(SIGCHLD),
            Wake::Interrupted => {}
            // Trying again would burn a processor.
            Wake::Refused => exit(false),
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    pause::arch::trap()
}
