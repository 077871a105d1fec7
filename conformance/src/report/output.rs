//! Where a report goes: stdout, or a file that is replaced whole.
//!
//! That a file can be written is found out before anything runs; its old content stays
//! until the new one is complete, and nothing lies beside it in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::interrupt;
use crate::report::patient::Patient;

/// How often is looked whether a pipe has a reader.
const READER: Duration = Duration::from_millis(20);

/// Where a report goes.
#[derive(Debug)]
pub struct Output {
    way: Method,
}

#[derive(Debug)]
enum Method {
    Stdout,
    /// Written beside the file and renamed over it.
    Replace(PathBuf),
    /// A file that cannot be renamed over: its directory is not writable.
    Overwrite(PathBuf),
    /// A device or pipe: written to as it is, opened late since opening a pipe waits.
    Stream(PathBuf),
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self {
            way: Method::Stdout,
        }
    }

    /// A file, which need not exist; nothing is changed yet.
    ///
    /// # Errors
    /// When it could not be written later, as far as can be told.
    pub fn file(path: &Path) -> io::Result<Self> {
        let way = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() || is_descriptor(path) => {
                // Only a pipe waits to be opened; all else shows now whether it can be.
                if !metadata.file_type().is_fifo() {
                    open_existing(path)?;
                }
                Method::Stream(path.to_owned())
            }
            Ok(_) => {
                open_existing(path)?;
                // A symbolic link stays, and what it leads to is replaced.
                let target = path.canonicalize()?;
                match tempfile::tempfile_in(directory(&target)) {
                    Ok(_) => Method::Replace(target),
                    Err(_) => Method::Overwrite(target),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A file without a name proves the directory, and is gone when closed.
                let directory = directory(path);
                fs::metadata(directory)?;
                tempfile::tempfile_in(directory).map_err(|error| without_path(&error))?;
                Method::Replace(path.to_owned())
            }
            Err(error) => return Err(error),
        };
        Ok(Self { way })
    }

    /// Writes the whole report. A file keeps its mode; a new one has the usual one.
    ///
    /// # Errors
    /// When it cannot be written; a regular file then has its old content, unless its
    /// directory is not writable.
    pub fn commit(&self, content: &[u8]) -> io::Result<()> {
        match &self.way {
            Method::Stdout => Patient::stdout().write_all(content),
            Method::Replace(path) => replace(path, content),
            Method::Overwrite(path) => fs::write(path, content),
            Method::Stream(path) => open_stream(path)?.write_all(content),
        }
    }
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = tempfile::Builder::new()
        .prefix(".report-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(directory(path))
        .map_err(|error| without_path(&error))?;
    if let Ok(old) = fs::metadata(path) {
        new.as_file().set_permissions(old.permissions())?;
    }
    new.write_all(content)?;
    match new.persist(path) {
        Ok(_) => Ok(()),
        // A file that is a mount point of its own (a container's bind mount) cannot be
        // renamed over.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => fs::write(path, content),
        Err(error) => Err(error.error),
    }
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Opens a device or pipe; a pipe once it has a reader, for which the kernel has no event.
fn open_stream(path: &Path) -> io::Result<Patient> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NXIO) if fs::metadata(path)?.file_type().is_fifo() => {
                interrupt::pause(READER)?;
            }
            opened => return Ok(Patient::from(opened?)),
        }
    }
}

/// `/dev/stdout`, `/dev/fd/3` and the like lead to a file that another process holds open:
/// replacing it would bypass that process.
fn is_descriptor(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The library's error names its own temporary path; the caller names the file.
fn without_path(error: &io::Error) -> io::Error {
    error.kind().into()
}
