//! Children of the pause process, as the suite sees them from outside.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use procfs::ProcError;
use rustix::process::{Pid, PidfdFlags};

use super::Pod;
use crate::outcome::Stop;
use crate::process;

/// One child; the handle stays valid when its number is used again.
#[derive(Debug)]
pub struct PauseChild {
    pid: i32,
    pidfd: OwnedFd,
}

impl Pod<'_> {
    /// Its children now, of all its threads.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the pause process has ended, [`Stop::Error`] where /proc does not say.
    pub fn children(&mut self) -> Result<Vec<PauseChild>, Stop> {
        let list = || -> io::Result<Vec<u32>> {
            let mut pids = Vec::new();
            let process = procfs::process::Process::new(self.pid()).map_err(io::Error::other)?;
            for task in process.tasks().map_err(io::Error::other)?.flatten() {
                match task.children() {
                    Ok(children) => pids.extend(children),
                    // The children of a thread that ended since it was listed have another parent
                    // thread.
                    Err(ProcError::NotFound(_)) if task.tid != self.pid() => {}
                    Err(error) => return Err(io::Error::other(error)),
                }
            }
            Ok(pids)
        };
        let pids = list().map_err(|error| self.harness_failed("list its children", &error))?;
        // One that has just been reaped is none.
        Ok(pids
            .into_iter()
            .filter_map(|pid| PauseChild::open(pid as i32))
            .collect())
    }
}

impl PauseChild {
    fn open(pid: i32) -> Option<Self> {
        let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, pidfd })
    }

    /// Its process id as the suite sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has ended and been reaped.
    pub fn is_gone(&self) -> bool {
        process::send_signal(self.pidfd.as_fd(), 0)
            .is_err_and(|error| error.raw_os_error() == Some(nix::libc::ESRCH))
    }
}
