//! A program of ours that stands where a sandbox's program will be, and waits to execute it: what
//! waits as a copy of the suite has copied all of its memory. It is `fixtures::probe::hold`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::FdFlags;

use super::child::{Pipes, Step};
use super::plan::Plan;
use crate::sys::{self, StringVector};

/// The program, and how it is told what to do.
#[derive(Debug)]
pub(super) struct Holder {
    file: OwnedFd,
    argv: StringVector,
}

impl Holder {
    /// In place of a plan's program, in a sandbox with these pipes.
    pub(super) fn new(file: &OwnedFd, plan: &Plan, pipes: &Pipes<'_>) -> io::Result<Self> {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().to_string();
        let kept: Vec<_> = plan.keep.iter().map(|fd| number(fd.as_fd())).collect();
        let path = match plan.executed() {
            Some(_) => Vec::new(),
            None => plan.path.as_bytes().to_vec(),
        };
        let words = [
            "sandbox-hold".to_owned(),
            (Step::Held as u32).to_string(),
            (Step::Exec as u32).to_string(),
            number(pipes.gate),
            number(pipes.suite),
            number(pipes.status),
            plan.executed().map_or_else(|| "-1".to_owned(), number),
            kept.join(","),
        ];
        let words = words.into_iter().map(String::into_bytes).chain([path]);
        Ok(Self {
            file: file.try_clone()?,
            argv: plan.argv.preceded_by(words)?,
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
