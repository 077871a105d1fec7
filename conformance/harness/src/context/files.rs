//! The files that a sandbox's process sees, from outside: for what a program leaves behind.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Pod;
use crate::backend::{Join, Namespaces};
use crate::outcome::Stop;
use crate::probe::Probe;

/// More files than this are not looked at: an image that is read has fewer.
const MOST: usize = 120_000;

/// The super-block number of procfs (statfs(2)), whose files are not stored.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What changes when a file is written, made or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    mode: u32,
    inode: u64,
    /// Size and times; none for devices, which others write to as well.
    written: Option<(i64, i64, u64)>,
    /// On another filesystem than the root.
    pub mounted: bool,
}

/// Every file, by path without the leading slash.
pub type Files = BTreeMap<Vec<u8>, Stamp>;

/// A process that sees the files that a pod's process sees, and outlives it.
#[derive(Debug)]
pub struct FilesView(Probe);

/// With every mount of the pod's, and none of its processes.
const BESIDE: Join = Join {
    namespaces: Namespaces::MOUNT,
    privileged: false,
    user: None,
};

impl Pod<'_> {
    /// Every file below its root, mounts included and procfs left out. Nothing is followed.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the process has ended.
    pub fn files(&mut self) -> Result<Files, Stop> {
        files_of(self.pid()).map_err(|error| self.harness_failed("list its files", &error))
    }

    /// A handle by which its files can be read, also when it has ended.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the process has ended.
    pub fn files_view(&mut self) -> Result<FilesView, Stop> {
        self.enter(&BESIDE).map(FilesView)
    }
}

impl FilesView {
    /// As [`Pod::files`].
    ///
    /// # Errors
    /// [`Stop::Error`] where they cannot be listed.
    pub fn files(&self) -> Result<Files, Stop> {
        files_of(self.0.host_pid())
            .map_err(|error| Stop::Error(format!("cannot list its files: {error}")))
    }
}

/// What a process has as its root.
fn files_of(pid: i32) -> io::Result<Files> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    list(&root)
}

/// The paths that are in one and not the same in the other.
pub fn differences(before: &Files, after: &Files) -> Vec<String> {
    let word = |path: &[u8]| match (before.get(path), after.get(path)) {
        (None, _) => "made",
        (_, None) => "removed",
        _ => "changed",
    };
    let mut paths: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    paths.sort();
    paths.dedup();
    paths
        .iter()
        .map(|path| format!("{} /{}", word(path), path.escape_ascii()))
        .collect()
}

/// To any depth, with two descriptors.
fn list(root: &OwnedFd) -> io::Result<Files> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let mut files = Files::new();
    let mut ahead = vec![(Vec::new(), false)];
    while let Some((path, mounted)) = ahead.pop() {
        let directory = match open_directory(root, &path) {
            Ok(directory) => directory,
            // Replaced meanwhile, which the time stamp of its directory shows; or deeper than paths
            // can be.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => continue,
            Err(error) => return Err(error.into()),
        };
        if rustix::fs::fstatfs(&directory)?.f_type as i64 == PROC_SUPER_MAGIC {
            continue;
        }
        let stat = rustix::fs::fstat(&directory)?;
        // In an overlay, only directories have the overlay's own device number.
        let mounted = mounted || stat.st_dev != device;
        files.insert(path.clone(), stamp(&stat, mounted));
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if files.len() + ahead.len() >= MOST {
                return Err(io::Error::other(format!("it has more than {MOST} files")));
            }
            let path = if path.is_empty() {
                name.to_bytes().to_vec()
            } else {
                [&path, &b"/"[..], name.to_bytes()].concat()
            };
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                ahead.push((path, mounted));
            } else {
                files.insert(path, stamp(&stat, mounted));
            }
        }
    }
    Ok(files)
}

/// Without following a link anywhere on the way: it could lead to the host's files.
fn open_directory(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

fn stamp(stat: &rustix::fs::Stat, mounted: bool) -> Stamp {
    let is_device = matches!(
        FileType::from_raw_mode(stat.st_mode),
        FileType::CharacterDevice | FileType::BlockDevice
    );
    // The change time moves with every write and cannot be set back.
    let written = (!is_device).then_some((stat.st_size, stat.st_ctime, stat.st_ctime_nsec));
    Stamp {
        mode: stat.st_mode,
        inode: stat.st_ino,
        written,
        mounted,
    }
}
