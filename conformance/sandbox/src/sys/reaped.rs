//! How a process ended that another has waited for.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{ExitStatus, check};

/// How a process ended that another has waited for (PIDFD_GET_INFO, Linux 6.15); `None` where it
/// was not waited for yet.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where the kernel keeps no such word.
pub(crate) fn exit_of_another(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    // SAFETY: it is of integers alone, for which zero is a value.
    let mut info: libc::pidfd_info = unsafe { mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request's number holds the size of the structure, which the kernel fills.
    let result = unsafe {
        libc::ioctl(
            pidfd.as_raw_fd(),
            libc::PIDFD_GET_INFO,
            ptr::from_mut(&mut info),
        )
    };
    match check(result.into()) {
        Err(error) => match error.raw_os_error() {
            // Not known to the kernel, or only of processes that are there.
            Some(libc::ENOTTY | libc::EINVAL | libc::ESRCH) => {
                Err(io::ErrorKind::Unsupported.into())
            }
            _ => Err(error),
        },
        Ok(_) if info.mask & u64::from(libc::PIDFD_INFO_EXIT) == 0 => Ok(None),
        // As wait(2) has it.
        Ok(_) => Ok(Some(match info.exit_code & 0x7f {
            0 => ExitStatus::Exited(info.exit_code >> 8 & 0xff),
            signal => ExitStatus::Signaled(signal),
        })),
    }
}

/// Waits until a process has been waited for, which its pidfd reports (Linux 6.9); `false` when the
/// time is up.
pub(crate) fn await_reaping(pidfd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        // Without events only the hang-up is reported.
        let mut polled = [PollFd::new(&pidfd, PollFlags::empty())];
        match rustix::event::poll(&mut polled, left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn the_kernel_tells_how_a_process_ended_that_was_waited_for() {
        for (script, wanted) in [
            ("exit 137", ExitStatus::Exited(137)),
            ("kill -9 $$", ExitStatus::Signaled(libc::SIGKILL)),
        ] {
            let mut child = Command::new("sh")
                .args(["-c", script])
                .spawn()
                .expect("a shell");
            let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
            let pidfd = pidfd.expect("it was not waited for");
            child.wait().expect("it is ours");
            match exit_of_another(pidfd.as_fd()) {
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
                Ok(status) => {
                    assert_eq!(status, Some(wanted), "{script}");
                    let reaped = await_reaping(pidfd.as_fd(), Duration::from_secs(10));
                    assert!(reaped.expect("it can be polled"));
                }
            }
        }
    }
}
