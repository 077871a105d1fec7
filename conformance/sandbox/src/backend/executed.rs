//! Whether a process that another started has executed its program yet, which the kernel tells only
//! its parent.

use std::io;
use std::time::Instant;

use procfs::process::Process;
use rustix::process::Pid;

use super::{StartError, at};

/// Of a process that was cloned and has executed nothing yet (`flags` in proc_pid_stat(5),
/// `PF_FORKNOEXEC`).
const NOT_EXECUTED: u32 = 0x40;

/// Waits until a process has executed its program; `false` where it has ended before.
///
/// # Errors
/// Where it has not by then.
pub(super) fn is_executed(pid: Pid, until: Instant) -> Result<bool, StartError> {
    let pid = pid.as_raw_nonzero().get();
    loop {
        let Ok(stat) = Process::new(pid).and_then(|process| process.stat()) else {
            return Ok(false);
        };
        if stat.flags & NOT_EXECUTED == 0 {
            return Ok(true);
        }
        if Instant::now() > until {
            return Err(at("await its exec")(io::ErrorKind::TimedOut.into()));
        }
        std::thread::yield_now();
    }
}
