//! Whether a thread sleeps, and over what, as /proc tells.

use std::io;

use nix::libc;

use crate::sys::Call;

/// Whether it is a call that does not come back: in one of these process 1 waits for the members
/// of its pid namespace to end.
pub(super) fn ends(call: &Call) -> bool {
    let number = call.number.cast_signed();
    matches!(number, libc::SYS_exit | libc::SYS_exit_group)
}

/// Whether a thread sleeps until something wakes it. By its state alone one seems to that looks
/// for children to wait for, or for something to read.
pub(super) fn sleeps(pid: i32, id: i32) -> bool {
    let file = |name| std::fs::read_to_string(format!("/proc/{pid}/task/{id}/{name}"));
    let is_off = |call: String| !call.starts_with("running");
    // Behind the name, which may hold anything: proc_pid_stat(5).
    let is_asleep = |stat: String| {
        let state = stat.rsplit(") ").next();
        state.is_some_and(|state| state.starts_with('S'))
    };
    // The kernel answers the first once it has seen the thread off its processor.
    file("syscall").is_ok_and(is_off) && file("stat").is_ok_and(is_asleep)
}

/// Whether this kernel tells that at all.
pub(super) fn is_told(pid: i32) -> io::Result<()> {
    match std::fs::read(format!("/proc/{pid}/syscall")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(io::ErrorKind::Unsupported.into())
        }
        other => other.map(drop),
    }
}

/// Whether a signal waits for a thread which it has a handler for.
pub(super) fn is_signaled(pid: i32, id: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status"));
    let status = status.unwrap_or_default();
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let set = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
        set.unwrap_or_default()
    };
    (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & set("SigCgt:") != 0
}
