//! The destination of a report: stdout, or a file that is replaced as a whole.
//!
//! Whether a file can be written is tested before anything runs. It keeps its old content until the
//! new one is complete, and no temporary file lies beside it during the run.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::interrupt;
use crate::report::patient::Patient;

/// The interval at which a pipe is tried until it has a reader.
const READER: Duration = Duration::from_millis(20);

/// The destination of a report.
#[derive(Debug)]
pub struct Output {
    way: Method,
}

#[derive(Debug)]
enum Method {
    Stdout,
    /// A temporary file beside it is renamed over it.
    Replace(PathBuf),
    /// A file that cannot be replaced, since its directory is not writable.
    Overwrite(PathBuf),
    /// A file that others add to as well.
    Append(PathBuf),
    /// A device or pipe; opened only to write the report, since opening a pipe waits for a reader.
    Stream(PathBuf),
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self {
            way: Method::Stdout,
        }
    }

    /// A file, which need not exist. This changes nothing.
    ///
    /// # Errors
    /// When it is clear already that it cannot be written.
    pub fn file(path: &Path) -> io::Result<Self> {
        let way = match fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() || is_descriptor(path) => {
                // Opening a pipe would wait; all others are opened now, to see whether they can be.
                if !metadata.file_type().is_fifo() {
                    open_existing(path)?;
                }
                Method::Stream(path.to_owned())
            }
            Ok(_) => {
                open_existing(path)?;
                // A symbolic link is kept, and its target replaced.
                let target = path.canonicalize()?;
                match tempfile::tempfile_in(directory(&target)) {
                    Ok(_) => Method::Replace(target),
                    Err(_) => Method::Overwrite(target),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // An unnamed file proves that the directory is writable, and leaves nothing behind.
                let directory = directory(path);
                fs::metadata(directory)?;
                tempfile::tempfile_in(directory).map_err(|error| without_path(&error))?;
                Method::Replace(path.to_owned())
            }
            Err(error) => return Err(error),
        };
        Ok(Self { way })
    }

    /// A file to which the report is added: what it holds is of others.
    ///
    /// # Errors
    /// When it is clear already that it cannot be written.
    pub fn added_to(path: &Path) -> io::Result<Self> {
        append(path).map(|_| Self {
            way: Method::Append(path.to_owned()),
        })
    }

    /// Writes the whole report. A file keeps its mode; a new one has the usual one.
    ///
    /// # Errors
    /// When it cannot be written. A regular file then keeps its old content, unless its directory is
    /// not writable.
    pub fn commit(&self, content: &[u8]) -> io::Result<()> {
        match &self.way {
            Method::Stdout => Patient::stdout().write_all(content),
            Method::Replace(path) => replace(path, content),
            Method::Overwrite(path) => fs::write(path, content),
            Method::Append(path) => append(path)?.write_all(content),
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
        // A mount point, such as a container's bind mount, cannot be the target of a rename.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => fs::write(path, content),
        Err(error) => Err(error.error),
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Opens a device, or a pipe once it has a reader; the kernel has no event for that.
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

/// An error without the temporary path that the library names; the caller names the file.
fn without_path(error: &io::Error) -> io::Error {
    error.kind().into()
}
