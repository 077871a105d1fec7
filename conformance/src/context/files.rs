//! The files that a sandbox's process sees, from outside: for what a program leaves behind.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::Pod;
use crate::check::Stop;

/// More files than this are not looked at: a pause writes none.
const MOST: usize = 20_000;

/// The super-block number of procfs (statfs(2)), whose files are no files.
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

impl Pod<'_> {
    /// Every file below its root, mounts included and procfs left out. Nothing is followed.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the process has ended.
    pub fn files(&mut self) -> Result<Files, Stop> {
        let list = |pid: i32| -> io::Result<Files> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
            let device = rustix::fs::fstat(&root)?.st_dev;
            let mut files = Files::new();
            walk(&root, &[], device, &mut files)?;
            Ok(files)
        };
        list(self.pid()).map_err(|error| self.harness_failed("list its files", &error))
    }
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

fn walk(directory: &OwnedFd, path: &[u8], device: u64, files: &mut Files) -> io::Result<()> {
    if rustix::fs::fstatfs(directory)?.f_type as i64 == PROC_SUPER_MAGIC {
        return Ok(());
    }
    let stat = rustix::fs::fstat(directory)?;
    files.insert(path.to_vec(), stamp(&stat, device));
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if files.len() >= MOST {
            return Err(io::Error::other("it has too many files"));
        }
        let path = if path.is_empty() {
            name.to_bytes().to_vec()
        } else {
            [path, b"/", name.to_bytes()].concat()
        };
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => walk(
                &open_directory(directory.as_fd(), name)?,
                &path,
                device,
                files,
            )?,
            _ => {
                files.insert(path, stamp(&stat, device));
            }
        }
    }
    Ok(())
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn stamp(stat: &rustix::fs::Stat, device: u64) -> Stamp {
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
        mounted: stat.st_dev != device,
    }
}
