//! The name of a run, by which what others make for the suite is found again.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use crate::process::proc;

/// The name of this process's run: its pid namespace, its pid there, and when it was started
/// (`starttime` in proc_pid_stat(5)).
///
/// # Errors
/// Where /proc does not tell.
pub(super) fn name_of_run() -> io::Result<String> {
    name_of(std::process::id())
}

/// The same of another process, in this pid namespace.
///
/// # Errors
/// Where there is none, and where /proc does not tell.
pub(super) fn name_of(pid: u32) -> io::Result<String> {
    let namespace = fs::metadata("/proc/self/ns/pid")?.ino();
    let started = start_of(pid)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(format!("{namespace}-{pid}-{started}"))
}

/// When a process was started, in clock ticks since boot; `None` where there is none.
fn start_of(pid: u32) -> io::Result<Option<u64>> {
    let _ = proc()?;
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    // The name, in brackets, may hold anything.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    let started = fields.and_then(|fields| fields.split(' ').nth(19)?.parse().ok());
    started.map(Some).ok_or(io::ErrorKind::InvalidData.into())
}

/// Whether a run of this name was in this pid namespace, and its process is gone.
pub(super) fn is_dead(run: &str) -> bool {
    let mut numbers = run.split('-').map(str::parse::<u64>);
    let (Some(Ok(namespace)), Some(Ok(pid)), Some(Ok(started))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    let own = fs::metadata("/proc/self/ns/pid").map(|file| file.ino());
    let there = u32::try_from(pid).map(start_of);
    let gone = matches!(there, Ok(Ok(now)) if now != Some(started));
    own.is_ok_and(|own| own == namespace) && gone
}
