//! What is read of a pod's own files: its program, as it runs and as it lies in the pod's root.
//!
//! The filesystem is the pod's. So a path is resolved below its root and on that mount only, a file
//! is opened for reading once it is known to be a regular one, and what serves it has a time limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::node::patience::{Key, Patience};
use crate::node::proc::Handle;

/// The largest program that is read.
const MOST: u64 = 256 << 20;

/// What could be seen, or why it could not, in a few words.
pub type Seen<T> = Result<T, String>;

/// The program of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// SHA-256 of what it executes, in hexadecimal digits.
    pub digest: String,
    /// Where the image has its program, by the process' first argument.
    pub path: String,
    /// SHA-256 of the file at that path.
    pub file: Result<String, NoFile>,
    /// The emulator that it runs in, by its name.
    pub emulator: Option<String>,
}

/// Why the program of the image could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoFile {
    /// No path can be resolved below a root here: the kernel is older than 5.6, or a seccomp
    /// profile refuses openat2(2).
    Host(String),
    /// Another mount is at the path, as where an engine puts its own program over the image.
    Mounted,
    /// The path leads to no regular file that can be read.
    Missing(String),
}

impl From<&io::Error> for NoFile {
    fn from(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::NOSYS | Errno::PERM) => Self::Host(words(error)),
            Some(Errno::XDEV) => Self::Mounted,
            _ => Self::Missing(words(error)),
        }
    }
}

/// What only the pod's own filesystem knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its program.
    pub program: Seen<Program>,
    /// Whether its working directory is its root.
    pub at_root: Seen<bool>,
}

/// Looks at the program and working directory of each process.
pub fn look(patience: &Patience, at: Vec<(Key, Arc<Handle>)>) -> Vec<Inside> {
    let answers = patience.each(at, |handle| Inside {
        program: program(handle).map_err(|error| words(&error)),
        at_root: at_root(handle).map_err(|error| words(&error)),
    });
    let all = answers.into_iter();
    all.map(|answer| answer.unwrap_or_else(Inside::silent))
        .collect()
}

impl Inside {
    /// Of a process that has not been looked at, or that does not let itself be.
    pub fn silent() -> Self {
        let why = "its memory or its filesystem does not answer".to_owned();
        Self {
            program: Err(why.clone()),
            at_root: Err(why),
        }
    }
}

/// An error in the words of the other reports.
pub(super) fn words(error: &io::Error) -> String {
    pause_image::io_words(error)
}

/// Opens the program that a process executes, for reading.
///
/// # Errors
/// As open(2), and where it is no regular file.
pub fn executable(handle: &Handle) -> io::Result<File> {
    let path = handle.open("exe", OFlags::PATH)?;
    regular(&path)
}

fn program(handle: &Handle) -> io::Result<Program> {
    let digest = digest(executable(handle)?)?;
    let exe = handle.link("exe")?.to_string_lossy().into_owned();
    let name = exe.trim_end_matches(" (deleted)").rsplit('/').next();
    let emulator = name.filter(|name| name.starts_with("qemu-"));
    let path = handle.arguments()?.into_iter().next().unwrap_or_default();
    let root = handle.open("root", OFlags::PATH | OFlags::DIRECTORY)?;
    let file = below(&root, &path).and_then(|file| digest_of(&file));
    Ok(Program {
        digest,
        file: file.map_err(|error| NoFile::from(&error)),
        path,
        emulator: emulator.map(str::to_owned),
    })
}

fn digest_of(path: &OwnedFd) -> io::Result<String> {
    digest(regular(path)?)
}

/// A path below a root, on the root's own mount; nothing is opened yet.
fn below(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    opened.map_err(io::Error::from)
}

/// Opens what a path descriptor names, where that is a regular file: to open a device may be to use
/// it.
fn regular(path: &OwnedFd) -> io::Result<File> {
    let stat = rustix::fs::fstat(path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(format!("/proc/self/fd/{}", path.as_raw_fd()))
}

fn digest(file: File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut rest = file.take(MOST + 1);
    let mut buffer = vec![0; 128 << 10];
    let mut length = 0;
    loop {
        let count = rest.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        length += count as u64;
        if length > MOST {
            return Err(io::Error::other("it is larger than any pause"));
        }
        hash.update(&buffer[..count]);
    }
    Ok(hex(&hash.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn at_root(handle: &Handle) -> io::Result<bool> {
    let place = |name| {
        let dir = handle.open(name, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(dir.as_fd())?;
        Ok::<_, io::Error>((stat.st_dev, stat.st_ino))
    };
    Ok(place("cwd")? == place("root")?)
}
