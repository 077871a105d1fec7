//! seccomp_unotify(2): one process answers the system calls of another, so that a test can
//! have each of them fail.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::check;

/// A system call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Supervised {
    id: u64,
    /// The thread that makes it, as the reader's pid namespace numbers it.
    pub pid: i32,
    /// Its number.
    pub number: i32,
}

/// Has every system call of the calling thread, and of all that it clones, wait for an answer by
/// this descriptor; once it is closed they fail. Needs `no_new_privs`.
pub fn supervise() -> io::Result<OwnedFd> {
    let mut instruction = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: ptr::from_mut(&mut instruction),
    };
    // SAFETY: the kernel copies the one instruction, and returns a new descriptor or -1.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            ptr::from_ref(&program),
        )
    };
    let number = check(result)? as RawFd;
    // SAFETY: just made, ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The next call that waits; `None` where there is none in time, or no thread left to make one.
pub fn next_call(listener: &OwnedFd, timeout: Duration) -> io::Result<Option<Supervised>> {
    let timeout = Timespec::try_from(timeout).ok();
    loop {
        let fd = listener.as_fd();
        let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        let ready =
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, timeout.as_ref()))?;
        if ready == 0 || !polled[0].revents().contains(PollFlags::IN) {
            return Ok(None);
        }
        // SAFETY: its fields are numbers, and the kernel wants them all 0.
        let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the request stores one seccomp_notif.
        let result = unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                ptr::from_mut(&mut call),
            )
        };
        match check(result.into()) {
            Ok(_) => {
                return Ok(Some(Supervised {
                    id: call.id,
                    pid: call.pid as i32,
                    number: call.data.nr,
                }));
            }
            // The thread that made it was killed meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lets a call be made, or has it fail with this errno.
pub fn answer(listener: &OwnedFd, call: Supervised, errno: Option<i32>) -> io::Result<()> {
    let mut answer = libc::seccomp_notif_resp {
        id: call.id,
        val: 0,
        error: errno.map_or(0, |errno| -errno),
        flags: match errno {
            Some(_) => 0,
            None => libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        },
    };
    // SAFETY: the request reads one seccomp_notif_resp.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            ptr::from_mut(&mut answer),
        )
    };
    match check(result.into()) {
        // The thread that made it was killed meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map(drop),
    }
}
