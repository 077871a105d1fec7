//! A program of ours that stands where a sandbox's program will be, and waits to execute it: what
//! waits as a copy of the suite has copied all of its memory. It is `fixtures::probe::hold`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::FdFlags;

use crate::sys::{self, StringVector};

/// What it is told.
pub(super) struct Told<'a> {
    /// What it says when it holds, and when the program cannot be executed.
    pub(super) says: [u32; 2],
    pub(super) gate: BorrowedFd<'a>,
    pub(super) suite: BorrowedFd<'a>,
    pub(super) status: BorrowedFd<'a>,
    /// The program, where it is executed by descriptor.
    pub(super) executed: Option<BorrowedFd<'a>>,
    pub(super) path: &'a CStr,
    pub(super) argv: &'a StringVector,
    /// Descriptors that the program has.
    pub(super) keep: &'a [OwnedFd],
}

/// The program, and how it is told what to do.
#[derive(Debug)]
pub(super) struct Holder {
    file: OwnedFd,
    argv: StringVector,
}

impl Holder {
    pub(super) fn new(file: &OwnedFd, told: &Told<'_>) -> io::Result<Self> {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().to_string();
        let kept: Vec<_> = told.keep.iter().map(|fd| number(fd.as_fd())).collect();
        let [holds, cannot_execute] = told.says.map(|step| step.to_string());
        let words = [
            "sandbox-hold".to_owned(),
            holds,
            cannot_execute,
            number(told.gate),
            number(told.suite),
            number(told.status),
            told.executed.map_or_else(|| "-1".to_owned(), number),
            kept.join(","),
        ];
        let path = told.path.to_bytes().to_vec();
        let words = words.into_iter().map(String::into_bytes).chain([path]);
        Ok(Self {
            file: file.try_clone()?,
            argv: told.argv.preceded_by(words)?,
        })
    }

    /// Leaves open for it what it needs. Allocates nothing.
    pub(super) fn pass_on<'a>(fds: impl IntoIterator<Item = BorrowedFd<'a>>) -> io::Result<()> {
        for fd in fds {
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    }

    /// Executes it. Returns only on error.
    pub(super) fn exec(&self, envp: &StringVector) -> io::Error {
        sys::exec(Some(self.file.as_fd()), c"", &self.argv, envp)
    }
}
