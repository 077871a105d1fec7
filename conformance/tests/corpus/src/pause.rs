//! A pause with Rust's standard library, and a thread that waits while the first takes signals.

use std::ffi::c_int;

type SigSet = [u64; 16];

unsafe extern "C" {
    fn pthread_sigmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn sigwait(set: *const SigSet, number: *mut c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
}

fn main() {
    let (int, term, chld) = (2, 15, 17);
    let mut set = [0; 16];
    for number in [int, term, chld] {
        set[0] |= 1_u64 << (number - 1);
    }
    unsafe { pthread_sigmask(0, &set, std::ptr::null_mut()) };
    std::thread::spawn(|| std::thread::park());
    loop {
        while unsafe { waitpid(-1, std::ptr::null_mut(), 1) } > 0 {}
        let mut number = 0;
        if unsafe { sigwait(&set, &mut number) } == 0 && number != chld {
            return;
        }
    }
}
