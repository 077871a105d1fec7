//! Finds what an image starts, and what that needs to start: interpreter, libraries, scripts' shells.

use std::sync::Arc;

use super::elf::Elf;
use super::error::Error;
use super::limits::Limits;
use super::{
    Architecture, Config, ElfArchitecture, Entry, EntryKind, Format, NoProgram, Program,
    ResolveError, Rootfs, escape, show_path,
};

/// Where engines look for a program without a slash when Env has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where loaders look for libraries (ld.so(8); musl takes the first three of the second row).
const LIBRARIES: &[&str] = &["/lib64", "/usr/lib64", "/lib", "/usr/local/lib", "/usr/lib"];
/// Programs, libraries and scripts that are followed.
const NEEDED: usize = 512;

impl Format {
    /// Tells by the first bytes.
    pub fn of(content: &[u8]) -> Self {
        match content {
            [0x7f, b'E', b'L', b'F', ..] => Self::Elf,
            [b'#', b'!', ..] => Self::Script,
            [0, b'a', b's', b'm', ..] => Self::Wasm,
            _ => Self::Unknown,
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Elf => "an ELF program",
            Self::Script => "a script",
            Self::Wasm => "a WebAssembly module",
            Self::Unknown => "a file of unknown format",
        }
    }
}

impl Program {
    /// Machine of the program; `None` where it is not an ELF file that can be read.
    pub fn elf_architecture(&self) -> Option<ElfArchitecture> {
        Elf::parse(&self.content).ok().map(|elf| elf.architecture)
    }
}

/// Something that a program needs to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// As written: an absolute path, or a library's name.
    pub name: Vec<u8>,
    /// Where it is in the image; `Err` says why it is not.
    pub found: Result<Vec<u8>, String>,
}

/// What a file needs beside itself to start: an ELF file its interpreter and
/// libraries, a script its interpreter.
pub fn dependencies(
    rootfs: &Rootfs,
    path: &[u8],
    content: &[u8],
    env: &[String],
) -> Vec<Dependency> {
    needed_by(rootfs, path, content, env, None)
}

/// The same of a library, which the loader of its program loads.
fn needed_by(
    rootfs: &Rootfs,
    path: &[u8],
    content: &[u8],
    env: &[String],
    loader: Option<&[u8]>,
) -> Vec<Dependency> {
    let direct = |name: &[u8]| Dependency {
        name: name.to_vec(),
        found: file_at(rootfs, name),
    };
    match Format::of(content) {
        Format::Script => script_interpreter(content)
            .map(direct)
            .into_iter()
            .collect(),
        Format::Elf => {
            let Ok(elf) = Elf::parse(content) else {
                return Vec::new();
            };
            let folders = library_folders(&elf, path, env);
            let loader = elf.interpreter.as_deref().or(loader);
            let libraries = elf.needed.iter().map(|name| match loader {
                Some(loader) if is_loader_itself(name, loader) => Dependency {
                    name: name.clone(),
                    found: file_at(rootfs, loader),
                },
                _ => library(rootfs, name, &folders),
            });
            elf.interpreter
                .iter()
                .map(|name| direct(name))
                .chain(libraries)
                .collect()
        }
        Format::Wasm | Format::Unknown => Vec::new(),
    }
}

/// Everything that a program needs, and what that needs in turn, each once.
pub fn closure(rootfs: &Rootfs, program: &Program) -> Vec<Dependency> {
    let mut all = dependencies(rootfs, &program.path, &program.content, &program.env);
    let loader = Elf::parse(&program.content)
        .ok()
        .and_then(|elf| elf.interpreter);
    let mut at = 0;
    while at < all.len() && all.len() < NEEDED {
        if let Ok(path) = &all[at].found
            && let Some(content) = rootfs.content(path)
        {
            for next in needed_by(rootfs, path, &content, &program.env, loader.as_deref()) {
                if !all.iter().any(|known| known.name == next.name) {
                    all.push(next);
                }
            }
        }
        at += 1;
    }
    all
}

/// Resolves the program in the folded layers, and reads it.
pub(super) fn find(
    config: &Config,
    rootfs: &Rootfs,
    limits: &Limits,
) -> Result<Result<Program, NoProgram>, Error> {
    let path = match locate(config, rootfs) {
        Ok(path) => path,
        Err(why) => return Ok(Err(why)),
    };
    let Some(EntryKind::File { size, content }) = rootfs.get(&path).map(|entry| &entry.kind) else {
        let what = format!("{} is not a regular file", show_path(&path));
        return Ok(Err(NoProgram::NotExecutable(what)));
    };
    let read = content.as_ref().map_or(Ok(None), |content| {
        content.read(limits.program.min(limits.kept))
    });
    let read = read.map_err(|error| Error::io(show_path(&path), &error))?;
    Ok(match read {
        Some(content) => Ok(program(config, path, content)),
        None => Err(NoProgram::TooLarge(*size)),
    })
}

/// What would be started, with everything that the configuration says of it.
pub(super) fn program(config: &Config, path: Vec<u8>, content: Arc<[u8]>) -> Program {
    let user = config.user.as_deref().unwrap_or_default();
    let (uid, gid) = user
        .split_once(':')
        .map_or((user, None), |(uid, gid)| (uid, Some(gid)));
    Program {
        argv: config
            .entrypoint
            .iter()
            .chain(&config.cmd)
            .cloned()
            .collect(),
        path,
        format: Format::of(&content),
        content,
        env: config.env.clone(),
        working_dir: config.working_dir.clone().unwrap_or_else(|| "/".to_owned()),
        uid: uid.parse().ok(),
        gid: gid.and_then(|gid| gid.parse().ok()),
    }
}

/// The path of the program that the configuration starts.
fn locate(config: &Config, rootfs: &Rootfs) -> Result<Vec<u8>, NoProgram> {
    holds_no_nul(config)?;
    match config.entrypoint.iter().chain(&config.cmd).next() {
        Some(name) => look_up(config, rootfs, name),
        None => Err(NoProgram::Unset),
    }
}

/// A NUL byte ends what the kernel takes as a string (execve(2)): a runtime refuses it.
fn holds_no_nul(config: &Config) -> Result<(), NoProgram> {
    let argv = config.entrypoint.iter().chain(&config.cmd);
    let words = argv
        .map(|word| ("Entrypoint or Cmd", word))
        .chain(config.env.iter().map(|variable| ("Env", variable)))
        .chain(config.working_dir.iter().map(|it| ("WorkingDir", it)));
    for (field, word) in words {
        if word.contains('\0') {
            let word = escape(word.as_bytes());
            return Err(NoProgram::NotExecutable(format!(
                "{field} holds a NUL byte, with which nothing can be executed: {word}"
            )));
        }
    }
    Ok(())
}

/// The executable that a word names, as execvp(3) in the image's root would find it.
pub fn look_up(config: &Config, rootfs: &Rootfs, name: &str) -> Result<Vec<u8>, NoProgram> {
    if name.is_empty() {
        return Err(NoProgram::Missing(
            "the name of the program is empty".to_owned(),
        ));
    }
    let path = search_path(&config.env);
    let candidates: Vec<String> = if name.starts_with('/') {
        vec![name.to_owned()]
    } else if name.contains('/') {
        vec![format!(
            "{}/{name}",
            config.working_dir.as_deref().unwrap_or("/")
        )]
    } else {
        path.split(':')
            .map(|folder| format!("{folder}/{name}"))
            .collect()
    };
    let mut reason = None;
    for candidate in &candidates {
        match rootfs.resolve(candidate) {
            Ok((path, entry)) if is_executable(entry) => return Ok(path),
            Ok((path, entry)) => {
                let what = match entry.kind {
                    EntryKind::File { .. } => format!("a file of mode {:04o}", entry.mode),
                    EntryKind::Directory => "a directory".to_owned(),
                    _ => "not a regular file".to_owned(),
                };
                let what = format!("{} is {what}", show_path(&path));
                reason.get_or_insert(NoProgram::NotExecutable(what));
            }
            Err(ResolveError::Missing(_)) if candidates.len() > 1 => {}
            Err(error) => {
                reason.get_or_insert(NoProgram::Missing(error.to_string()));
            }
        }
    }
    Err(reason.unwrap_or_else(|| {
        let (name, path) = (escape(name.as_bytes()), escape(path.as_bytes()));
        NoProgram::Missing(format!("{name} is in no folder of PATH ({path})"))
    }))
}

/// PATH of the image's environment, the last one that is set.
fn search_path(env: &[String]) -> &str {
    env.iter()
        .rev()
        .find_map(|variable| variable.strip_prefix("PATH="))
        .unwrap_or(PATH)
}

/// Whether a kernel would start it for someone: a regular file with an x bit.
pub fn is_executable(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File { .. }) && entry.mode & 0o111 != 0
}

fn file_at(rootfs: &Rootfs, path: &[u8]) -> Result<Vec<u8>, String> {
    match rootfs.resolve(path) {
        Ok((path, entry)) if matches!(entry.kind, EntryKind::File { .. }) => Ok(path),
        Ok((path, _)) => Err(format!("{} is not a regular file", show_path(&path))),
        Err(error) => Err(error.to_string()),
    }
}

fn script_interpreter(content: &[u8]) -> Option<&[u8]> {
    let line = content.get(2..)?.split(|byte| *byte == b'\n').next()?;
    line.trim_ascii()
        .split(u8::is_ascii_whitespace)
        .next()
        .filter(|name| !name.is_empty())
}

fn library_folders(elf: &Elf, path: &[u8], env: &[String]) -> Vec<Vec<u8>> {
    let origin = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(&b""[..], |at| &path[..at]);
    let origin = [b"/", origin].concat();
    let own = elf.library_paths.iter().map(|folder| {
        let rest = folder
            .strip_prefix(b"$ORIGIN")
            .or_else(|| folder.strip_prefix(b"${ORIGIN}"));
        rest.map_or_else(|| folder.clone(), |rest| [&origin, rest].concat())
    });
    let set = env
        .iter()
        .find_map(|variable| variable.strip_prefix("LD_LIBRARY_PATH="));
    let set = set
        .into_iter()
        .flat_map(|folders| folders.split(':'))
        .map(|folder| folder.as_bytes().to_vec());
    let triplet = elf
        .architecture
        .architectures
        .first()
        .and_then(|name| Architecture::named(name)?.multiarch);
    let multiarch = triplet.into_iter().flat_map(|triplet| {
        [
            format!("/lib/{triplet}").into_bytes(),
            format!("/usr/lib/{triplet}").into_bytes(),
        ]
    });
    let fixed = LIBRARIES.iter().map(|folder| folder.as_bytes().to_vec());
    own.chain(set).chain(multiarch).chain(fixed).collect()
}

/// Names after `lib` that musl's loader takes for itself, wherever it is (`load_library`,
/// ldso/dynlink.c): its C library is the loader.
const MUSL: &[&str] = &["c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."];

fn is_loader_itself(library: &[u8], loader: &[u8]) -> bool {
    let file = loader.rsplit(|byte| *byte == b'/').next();
    let musl = file.is_some_and(|file| file.starts_with(b"ld-musl-") || file == b"libc.so");
    let known = |rest: &[u8]| MUSL.iter().any(|name| rest.starts_with(name.as_bytes()));
    musl && library.strip_prefix(b"lib").is_some_and(known)
}

fn library(rootfs: &Rootfs, name: &[u8], folders: &[Vec<u8>]) -> Dependency {
    let found = if name.contains(&b'/') {
        file_at(rootfs, name)
    } else {
        folders
            .iter()
            .find_map(|folder| file_at(rootfs, &[folder, &b"/"[..], name].concat()).ok())
            .ok_or_else(|| format!("{} is in no library folder", escape(name)))
    };
    Dependency {
        name: name.to_vec(),
        found,
    }
}
