//! What the suite does not take over from its parent, since a parent may hand down anything
//! (execve(2), "Effect on process attributes"): a signal that is ignored or blocked, a umask.
//! That 0-2 are open the standard library sees to.

use std::io;

use nix::sys::signal::SigSet;
use rustix::fs::Mode;

use crate::signal;
use crate::sys;

/// What keeps the suite from reading what it has itself written.
const OWNERS: Mode = Mode::RWXU;

/// Puts it right. Before there is a second thread.
///
/// # Errors
/// When the kernel refuses.
pub fn settle() -> io::Result<()> {
    // Ignored, it has the kernel reap children before the suite has their status (wait(2)).
    sys::set_ignored(signal::CHLD, false)?;
    // Beyond RLIMIT_FSIZE a write is to fail (setrlimit(2)), and not the suite.
    sys::set_ignored(signal::XFSZ, true)?;
    SigSet::empty().thread_set_mask()?;
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask - OWNERS);
    Ok(())
}
