//! Folders on disk for what is too big for memory. Each suite has one, below the folder for
//! temporary files and closed to others, made when it is first needed.
//!
//! **How nothing is left behind.** The suite removes it; where the suite is killed, the sandbox
//! init does, which was told of it first. Where both were killed, the next suite does: a folder
//! whose lock is free belongs to no suite.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, IFlags, Mode, OFlags, StatVfsMountFlags,
};
use rustix::io::Errno;

use super::init::SandboxInit;
use crate::shortage;
use pause_image::disk::{self, Need, Space};

/// How their names begin; sixteen hexadecimal digits follow.
const PREFIX: &str = "pause-conformance.root-";
/// How many names are tried.
const NAMES: usize = 8;
/// To open a directory and nothing else.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What is made beside the files of an image: this suite's folder, and the one in it.
pub(super) const FILES: u64 = 2;

/// Where they may be, the best first.
fn places() -> Vec<PathBuf> {
    let mut places = vec![std::env::temp_dir(), PathBuf::from("/var/tmp")];
    places.dedup();
    places
}

/// Calls `take` with the first place that has room for the files, and lets programs be executed.
///
/// # Errors
/// What is wrong with each place; a full disk where that is all that is wrong with one.
fn in_place<T>(need: Need, mut take: impl FnMut(&Path) -> io::Result<T>) -> io::Result<T> {
    let (mut refused, mut kind) = (Vec::new(), io::ErrorKind::Other);
    for (number, place) in places().into_iter().enumerate() {
        match usable(&place, need).and_then(|()| take(&place)) {
            Ok(made) => return Ok(made),
            // No other place would have more.
            Err(error) if shortage::is_of_all(&error) => return Err(error),
            Err(error) => {
                if disk::is_full(&error) {
                    kind = io::ErrorKind::StorageFull;
                }
                let name = if number == 0 { " (TMPDIR)" } else { "" };
                let words = pause_image::io_words(&error);
                refused.push(format!("{}{name}: {words}", place.display()));
            }
        }
    }
    let refused = refused.join("; ");
    let words = format!("no folder for its files ({need}): {refused}");
    Err(io::Error::new(kind, words))
}

/// Whether there is a place for the files of an image, as far as that can be seen before
/// anything is made.
///
/// # Errors
/// As [`Folders::make`].
pub(super) fn has_place(mut need: Need) -> io::Result<()> {
    need.files += FILES;
    in_place(need, |place| {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        Ok(rustix::fs::accessat(CWD, place, access, AtFlags::EACCESS)?)
    })
}

/// The folders of this suite, once there are some: one in each place that is used.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<Vec<Own>>);

#[derive(Debug)]
struct Own {
    place: PathBuf,
    path: PathBuf,
    #[expect(dead_code, reason = "held, not used")]
    lock: OwnedFd,
}

/// A folder in it; dropping this removes it with all that is in it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The error where files that need this much did not fit in.
    pub(super) fn is_full(&self, error: &io::Error, need: Need) -> io::Error {
        // Without the random names.
        let place = self.0.ancestors().nth(2).unwrap_or(&self.0);
        let left = disk::left(place);
        disk::full(format!(
            "{error} in {}{left}, its files need {need}",
            place.display()
        ))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

impl Folders {
    /// Makes a new one, for files that need this much.
    ///
    /// # Errors
    /// Where no place has room, or every place is mounted noexec.
    pub(super) fn make(&self, init: &SandboxInit, need: Need) -> io::Result<Folder> {
        // A panic while this was held left nothing broken.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        in_place(need, |place| {
            let known = all.iter().position(|own| own.place == place);
            let at = if let Some(at) = known {
                at
            } else {
                all.push(new_in(place, init)?);
                all.len() - 1
            };
            let folder = all[at].path.join(name()?);
            rustix::fs::mkdir(&folder, Mode::from_raw_mode(0o700))?;
            Ok(Folder(folder))
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Whether files could be written there, and programs executed.
fn usable(place: &Path, need: Need) -> io::Result<()> {
    let flags = rustix::fs::statvfs(place)?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err(io::Error::other("it is mounted read-only"));
    }
    if flags.bits() & nix::libc::ST_NOEXEC != 0 {
        return Err(io::Error::other("it is mounted noexec"));
    }
    Space::of(place)?.takes(need)
}

/// A new folder there, locked.
fn new_in(place: &Path, init: &SandboxInit) -> io::Result<Own> {
    for _ in 0..NAMES {
        let path = std::path::absolute(place)?.join(format!("{PREFIX}{}", name()?));
        // Before it exists: a suite that is killed in between leaves nothing.
        init.take_over(&path)?;
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => continue,
            made => made?,
        }
        let lock = rustix::fs::open(&path, DIRECTORY, Mode::empty())?;
        let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        // Another suite may have swept it before it was locked.
        if locked && is_at(&lock, &path) {
            // ext4 places a folder in this one anywhere, and not where others were just removed:
            // there it passes over a freed inode for minutes.
            let _ = rustix::fs::ioctl_setflags(&lock, IFlags::TOPDIR);
            return Ok(Own {
                place: place.to_owned(),
                path,
                lock,
            });
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn is_at(folder: &OwnedFd, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (rustix::fs::fstat(folder), rustix::fs::lstat(path)) else {
        return false;
    };
    (open.st_dev, open.st_ino) == (there.st_dev, there.st_ino)
}

/// Unguessable.
fn name() -> io::Result<String> {
    let mut random = [0_u8; 8];
    let mut file = std::fs::File::open("/dev/urandom")?;
    io::Read::read_exact(&mut file, &mut random)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

/// Removes what suites left that were killed together with their sandbox inits.
pub(super) fn sweep() {
    for place in places() {
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_name(entry.file_name().as_bytes())) {
            sweep_one(&entry.path());
        }
    }
}

fn is_name(name: &[u8]) -> bool {
    let digits = name.strip_prefix(PREFIX.as_bytes()).unwrap_or_default();
    digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit)
}

fn sweep_one(path: &Path) {
    let Ok(folder) = rustix::fs::open(path, DIRECTORY, Mode::empty()) else {
        return;
    };
    let own = rustix::fs::fstat(&folder)
        .is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
    if own && rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
        remove(path);
    }
}

/// Removes a directory and what is in it, as far as that can be done: nothing is followed, no
/// other file system is entered, and a few descriptors do, however deep it goes. A file that
/// another process removes meanwhile is no error.
fn remove(path: &Path) {
    let Ok(top) = rustix::fs::open(path, DIRECTORY, Mode::empty()) else {
        return;
    };
    empty_beside(&top);
    if empty_whole(top).is_ok() {
        let _ = rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR);
    }
}

/// Empties every other directory in it in a thread of its own, where one is to be had: many files
/// take long. What this leaves is for [`empty_whole`].
fn empty_beside(top: &OwnedFd) {
    let Ok((some, others)) = halves(top) else {
        return;
    };
    if others.is_empty() {
        return;
    }
    let empty = |names: &[CString]| {
        for name in names {
            let _ = enter(top, name).and_then(empty_whole);
        }
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("remove".to_owned());
        if thread.spawn_scoped(scope, || empty(&others)).is_ok() {
            empty(&some);
        }
    });
}

/// The directories in it, by turns.
fn halves(top: &OwnedFd) -> io::Result<(Vec<CString>, Vec<CString>)> {
    let (mut some, mut others) = (Vec::new(), Vec::new());
    for entry in Dir::read_from(top)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type().is_dir() && !matches!(name.to_bytes(), b"." | b"..") {
            some.push(name.to_owned());
            std::mem::swap(&mut some, &mut others);
        }
    }
    Ok((some, others))
}

/// Opens a directory in this one, on the same file system.
fn enter(at: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    // Its owner, the suite, may have no access to it by the image's mode.
    let mode = Mode::from_raw_mode(0o700);
    let _ = rustix::fs::chmodat(at, name, mode, AtFlags::empty());
    let below = rustix::fs::openat(at, name, DIRECTORY, Mode::empty())?;
    if rustix::fs::fstat(&below)?.st_dev != rustix::fs::fstat(at)?.st_dev {
        return Err(Errno::XDEV.into());
    }
    Ok(below)
}

fn empty_whole(top: OwnedFd) -> io::Result<()> {
    let (mut at, mut depth) = (top, 0_usize);
    loop {
        if let Some(name) = first_not_empty(&at)? {
            at = enter(&at, &name)?;
            depth += 1;
        } else if depth > 0 {
            at = rustix::fs::openat(&at, c"..", DIRECTORY, Mode::empty())?;
            depth -= 1;
        } else {
            return Ok(());
        }
    }
}

/// Empties a directory up to the first in it that is not empty itself.
fn first_not_empty(directory: &OwnedFd) -> io::Result<Option<CString>> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode).is_dir()
            }
            kind => kind.is_dir(),
        };
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(directory.as_fd(), name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) if is_directory => {
                return Ok(Some(name.to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_however_deep_and_closed_it_is_and_nothing_beside_it() {
        let place = tempfile::tempdir().expect("a folder");
        let outside = place.path().join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::fs::write(outside.join("file"), "stays").expect("written");
        let top = place.path().join("top");
        std::fs::create_dir(&top).expect("made");
        std::os::unix::fs::symlink(&outside, top.join("link")).expect("made");
        // Deeper than the descriptor limit, and than the longest path.
        let mut at = rustix::fs::open(&top, DIRECTORY, Mode::empty()).expect("a folder");
        for depth in 0..2500 {
            let mode = Mode::from_raw_mode(0o700);
            for name in [c"b", c"a"] {
                rustix::fs::mkdirat(&at, name, mode).expect("made");
            }
            let below = rustix::fs::openat(&at, c"a", DIRECTORY, mode).expect("a folder");
            if depth % 7 == 0 {
                rustix::fs::fchmod(&at, Mode::empty()).expect("its mode is set");
            }
            at = below;
        }
        remove(&top);
        assert!(!top.exists());
        assert!(outside.join("file").exists());
    }

    #[test]
    fn the_sweep_takes_what_nobody_holds() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = |digit: &str| {
            let path = place.path().join(format!("{PREFIX}{}", digit.repeat(16)));
            std::fs::create_dir(&path).expect("made");
            std::fs::write(path.join("file"), "left").expect("written");
            path
        };
        let (left, held) = (folder("a"), folder("b"));
        let lock = rustix::fs::open(&held, DIRECTORY, Mode::empty()).expect("a folder");
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).expect("locked");
        sweep_one(&left);
        sweep_one(&held);
        assert!(!left.exists() && held.join("file").exists());
        assert!(is_name(left.file_name().expect("it has one").as_bytes()));
        assert!(!is_name(b"pause-conformance.root-mine"));
    }
}
