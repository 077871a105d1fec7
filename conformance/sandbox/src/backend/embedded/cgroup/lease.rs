//! A suite's directory in a cgroup hierarchy: its name, its lock, its removal.
//!
//! **No suite removes what another uses.** The suite and its sandbox init hold a lock on the
//! directory (flock(2)) for as long as one of them lives, in whatever pid or mount namespace;
//! the kernel gives it up when both are gone. A suite that gets that lock may remove the directory.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// How the names begin.
const PREFIX: &str = "pause-conformance-";
/// How often another suite's sweep may win the race for the lock.
const TRIES: usize = 8;

/// The directory, locked.
#[derive(Debug)]
pub(super) struct Lease {
    directory: PathBuf,
    lock: File,
}

impl Lease {
    /// Makes a directory in a place, if one can be made there, once what suites that were
    /// killed have left there is removed.
    pub(super) fn take(place: &Path) -> Option<Self> {
        sweep(place);
        (0..TRIES).find_map(|_| Self::make(place).transpose())?.ok()
    }

    /// `None` where a sweep took it before it was locked.
    fn make(place: &Path) -> io::Result<Option<Self>> {
        let directory = place.join(name());
        fs::create_dir(&directory)?;
        let locked = Self::locked(&directory);
        if locked.is_err() {
            let _ = fs::remove_dir(&directory);
        }
        Ok(locked?.map(|lock| Self { directory, lock }))
    }

    fn locked(directory: &Path) -> io::Result<Option<File>> {
        let Some(lock) = unless_gone(File::open(directory))? else {
            return Ok(None);
        };
        // A sweep that has the lock removes the directory, and gives the lock up. Where a
        // filesystem has no locks no sweep gets one either.
        let _ = flock(&lock, FlockOperation::LockExclusive);
        let locked = lock.metadata()?.ino();
        let there = unless_gone(fs::metadata(directory))?;
        Ok(there.filter(|data| data.ino() == locked).map(|_| lock))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The lock that keeps it, for as long as a process has it open.
    pub(super) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The process id is for people to read; it may be the same in another pid namespace.
fn name() -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{PREFIX}{}-{random:016x}", std::process::id())
}

/// Removes what was left by suites that were killed together with their sandbox init.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if !entry.file_name().to_str().is_some_and(is_leased) {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path());
        }
    }
}

/// Whether a name is one of ours: those of others are not locked.
fn is_leased(name: &str) -> bool {
    let parts = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(pid, random)| {
        pid.parse::<u32>().is_ok()
            && random.len() == 16
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Removes a cgroup and those directly below it, unless a process is in one of them.
pub(super) fn remove(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(below.path());
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_what_nobody_holds_and_nothing_else() {
        let place = tempfile::tempdir().expect("a folder");
        let held = Lease::take(place.path()).expect("a folder can be made");
        let left = place.path().join(name());
        fs::create_dir_all(left.join("below")).expect("a folder");
        let others = place.path().join("pause-conformance-1");
        fs::create_dir(&others).expect("a folder");
        sweep(place.path());
        assert!(held.directory().is_dir(), "it is in use");
        assert!(!left.exists(), "nobody uses it");
        assert!(others.is_dir(), "it is not known to have a lock");
        let directory = held.directory().to_owned();
        drop(held);
        sweep(place.path());
        assert!(!directory.exists(), "nobody uses it any more");
    }

    #[test]
    fn a_copy_of_the_lock_keeps_the_directory() {
        let place = tempfile::tempdir().expect("a folder");
        let lease = Lease::take(place.path()).expect("a folder can be made");
        let inits = lease.lock().try_clone_to_owned().expect("a copy");
        let directory = lease.directory().to_owned();
        drop(lease);
        sweep(place.path());
        assert!(directory.is_dir(), "the sandbox init has yet to end");
        drop(inits);
        sweep(place.path());
        assert!(!directory.exists());
    }

    #[test]
    fn suites_that_begin_at_once_do_not_remove_each_other() {
        let place = tempfile::tempdir().expect("a folder");
        let take = || Lease::take(place.path()).expect("a folder can be made");
        for _ in 0..20 {
            let leases: Vec<Lease> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
                let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
                joined.map(|lease| lease.expect("no panic")).collect()
            });
            for lease in &leases {
                assert!(lease.directory().is_dir(), "{lease:?}");
            }
        }
    }
}
