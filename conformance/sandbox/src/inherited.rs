//! What the suite does not take over from its parent, since a parent may hand down anything
//! (execve(2), "Effect on process attributes"): a signal that is ignored or blocked, a umask.
//! That 0-2 are open the standard library sees to.

use std::io;

use nix::sys::signal::SigSet;
use rustix::fs::Mode;

use crate::signal;
use crate::sys;

/// Inherited settings that would break the suite.
const OWNERS: Mode = Mode::RWXU;

/// Resets them. Call it before there is a second thread.
///
/// # Errors
/// When the kernel refuses.
pub fn settle() -> io::Result<()> {
    // With SIGCHLD ignored, the kernel would reap children before the suite has their status
    // (wait(2)).
    sys::set_ignored(signal::CHLD, false)?;
    // Beyond RLIMIT_FSIZE a write is to fail; SIGXFSZ would end the suite (setrlimit(2)).
    sys::set_ignored(signal::XFSZ, true)?;
    SigSet::empty().thread_set_mask()?;
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask - OWNERS);
    Ok(())
}
