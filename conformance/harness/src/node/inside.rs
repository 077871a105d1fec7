//! What is read of a pod's own files: its program, as it runs and as it lies in the pod's root.
//!
//! The filesystem is the pod's. So a path is resolved below its root and on that mount only, a file
//! is opened for reading once it is known to be a regular one, and what serves it has a time limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use pause_image::Architecture;
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
    /// Where the image has its program: the process' first argument, or one of an emulator's.
    pub path: String,
    /// SHA-256 of the file at that path.
    pub file: Result<String, NoFile>,
    /// The emulator that it runs in, by its name.
    pub emulator: Option<String>,
    /// The architecture of the image's program, as the OCI image specification names it; `None` of
    /// one that is no ELF file, or of an architecture that is not known.
    pub architecture: Option<&'static str>,
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

/// How the names of programs begin that run those of other architectures.
const EMULATORS: [&str; 4] = ["qemu-", "box64", "box86", "FEX"];
/// The arguments of an emulator of which one is the program's path.
const MOST_ARGUMENTS: usize = 16;

fn program(handle: &Handle) -> io::Result<Program> {
    let file = executable(handle)?;
    let own = architecture(&file);
    let digest = digest(file)?;
    let exe = handle.link("exe")?.to_string_lossy().into_owned();
    let name = exe.trim_end_matches(" (deleted)").rsplit('/').next();
    let emulator = name.filter(|name| EMULATORS.iter().any(|it| name.starts_with(it)));
    let root = handle.open("root", OFlags::PATH | OFlags::DIRECTORY)?;
    let (path, file) = of_image(&root, &handle.arguments()?, emulator.is_some());
    let read = file.and_then(|file| {
        let architecture = architecture(&file);
        Ok((self::digest(file)?, architecture))
    });
    let architecture = match (emulator, &read) {
        (None, _) => own,
        (Some(_), Ok((_, architecture))) => *architecture,
        (Some(_), Err(_)) => None,
    };
    Ok(Program {
        digest,
        file: read.map(|it| it.0).map_err(|error| NoFile::from(&error)),
        path,
        emulator: emulator.map(str::to_owned),
        architecture,
    })
}

/// The program in an image's root, and the argument that names it. An emulator is given it after its
/// own name, and after options of its own; the kernel gives it none.
fn of_image(root: &OwnedFd, arguments: &[String], emulated: bool) -> (String, io::Result<File>) {
    let open = |path: &str| below(root, path).and_then(|found| regular(&found));
    if emulated {
        let rest = arguments.iter().skip(1).take(MOST_ARGUMENTS);
        let mut found = rest.filter_map(|path| Some((path.clone(), open(path).ok()?)));
        if let Some((path, file)) = found.next() {
            return (path, Ok(file));
        }
    }
    let first = arguments.first().cloned().unwrap_or_default();
    let file = open(&first);
    (first, file)
}

/// What the head of an ELF file says (elf(5)).
fn architecture(file: &File) -> Option<&'static str> {
    let mut head = [0; 20];
    file.read_exact_at(&mut head, 0).ok()?;
    let (magic, rest) = head.split_at(4);
    let (wide, little) = (rest[0] == 2, rest[1] == 1);
    let machine = [head[18], head[19]];
    let machine = if little {
        u16::from_le_bytes(machine)
    } else {
        u16::from_be_bytes(machine)
    };
    let found = Architecture::of_elf(machine, wide, little);
    found.filter(|_| magic == b"\x7fELF").map(|it| it.name)
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
