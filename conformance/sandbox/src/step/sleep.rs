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
    let call = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/syscall"));
    let is_off = |call: String| !call.starts_with("running");
    // The kernel answers the first once it has seen the thread off its processor.
    call.is_ok_and(is_off) && is_in_state(pid, id, 'S')
}

/// Whether the first thread of a process has ended, and others have not.
pub(super) fn has_ended(pid: i32) -> bool {
    is_in_state(pid, pid, 'Z')
}

/// Whether a process has children that live; one of which the kernel does not tell may have some.
pub(super) fn has_living_children(pid: i32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().any(|thread| {
        let Ok(children) = std::fs::read_to_string(thread.path().join("children")) else {
            return thread.path().exists();
        };
        let mut ids = children.split_whitespace().filter_map(|id| id.parse().ok());
        ids.any(|id: i32| std::path::Path::new(&format!("/proc/{id}")).exists() && !has_ended(id))
    })
}

fn is_in_state(pid: i32, id: i32, state: char) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/stat"));
    // Behind the name, which may hold anything: proc_pid_stat(5).
    let is_in = |stat: String| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|it| it.starts_with(state))
    };
    stat.is_ok_and(is_in)
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
    let set = sets_of(pid, id);
    (set("SigPnd:") | set("ShdPnd:")) & !set("SigBlk:") & set("SigCgt:") != 0
}

/// Whether the first thread of a process blocks a signal.
pub(super) fn is_blocked(pid: i32, signal: i32) -> bool {
    sets_of(pid, pid)("SigBlk:") >> (signal - 1) & 1 != 0
}

/// The sets of signals of a thread, by their names in proc_pid_status(5).
fn sets_of(pid: i32, id: i32) -> impl Fn(&str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status"));
    let status = status.unwrap_or_default();
    move |name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let set = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
        set.unwrap_or_default()
    }
}
