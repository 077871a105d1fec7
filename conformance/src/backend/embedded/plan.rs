//! Everything a sandbox's first process will need, made before the clone: after it
//! nothing may be allocated.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use seccompiler::BpfProgram;

use crate::backend::{Launch, Root, Spec};
use crate::subject::{EntryKind, Rootfs};
use crate::sys::StringVector;
use crate::wasi_engine::{Command, Executable};

use super::binfmt::{self, Rule};
use super::emulated::Emulation;

/// One file to be made in the sandbox's root, relative to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Make {
    Directory {
        path: CString,
        mode: u32,
    },
    File {
        path: CString,
        mode: u32,
        content: Arc<[u8]>,
    },
    Symlink {
        path: CString,
        target: CString,
    },
}

impl Make {
    pub(super) fn path(&self) -> &CStr {
        let (Self::Directory { path, .. } | Self::File { path, .. } | Self::Symlink { path, .. }) =
            self;
        path
    }
}

/// Ids that the process takes before exec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Ids inside the namespace under which the sandbox is set up, where more than one is mapped.
    pub(super) setup: Option<(u32, u32)>,
}

/// Of what its mount namespace is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// The suite's own.
    Host,
    /// The stage.
    Stage,
    /// The scene of its image.
    Scene,
}

/// What the child does between clone and exec.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) files: Arc<[Make]>,
    pub(super) root: Root,
    pub(super) size: CString,
    /// Content of all its files.
    pub(super) bytes: u64,
    pub(super) own_pid_namespace: bool,
    pub(super) ground: Ground,
    pub(super) hostname: &'static [u8],
    pub(super) working_dir: CString,
    /// What is executed where it is no file of the sandbox's; then `path` is empty.
    pub(super) executable: Option<OwnedFd>,
    pub(super) path: CString,
    pub(super) argv: StringVector,
    pub(super) envp: StringVector,
    pub(super) ids: Ids,
    pub(super) privileged: bool,
    pub(super) bounding_set: bool,
    pub(super) blocked: u64,
    pub(super) ignored: u64,
    pub(super) keep: Vec<OwnedFd>,
    pub(super) seccomp: Option<Arc<BpfProgram>>,
    pub(super) processes: u64,
    pub(super) held: bool,
    /// To be told to a binfmt_misc of the sandbox's own.
    pub(super) rule: Option<Arc<Rule>>,
    /// To be executed instead of the program, which its arguments name.
    pub(super) emulator: Option<Arc<File>>,
}

/// The directories on which a CRI runtime mounts something.
const MOUNT_POINTS: [&CStr; 3] = [c"proc", c"dev", c"sys"];

/// Processes that a pause program may bring the sandbox to: room for the threads of a
/// run-time, of which some have a few for each processor, and few enough that one which forks
/// without end leaves time to judge and end it.
fn process_limit() -> u64 {
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    16 + 4 * processors
}

impl Plan {
    pub(super) fn new(
        launch: &Launch<'_>,
        spec: &Spec,
        ids: Ids,
        emulation: Option<&Emulation>,
    ) -> io::Result<Self> {
        let program = launch.program;
        let mut argv = program.argv.clone();
        if let Some(arguments) = &spec.arguments {
            argv.truncate(1);
            argv.extend(arguments.iter().cloned());
        }
        let files = files(launch.rootfs, &program.working_dir, spec.root)?;
        let bytes: u64 = files
            .iter()
            .map(|make| match make {
                Make::File { content, .. } => content.len() as u64,
                _ => 0,
            })
            .sum();
        let mut path = b"/".to_vec();
        path.extend_from_slice(&program.path);
        let path = c_string(path)?;
        let argv = match emulation {
            Some(Emulation {
                emulator,
                program: Some(_),
                ..
            }) => binfmt::arguments(emulator, &path, &argv),
            _ => argv.into_iter().map(String::into_bytes).collect(),
        };
        let keep = (0..spec.extra_descriptors)
            .map(|_| rustix::pipe::pipe().map(|(read, _write)| read))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            files: files.into(),
            root: spec.root,
            size: c_string(format!("mode=755,size={}", bytes + (1 << 20)).into_bytes())?,
            bytes,
            own_pid_namespace: spec.own_pid_namespace,
            ground: Ground::Host,
            hostname: b"pause-conformance",
            working_dir: c_string(program.working_dir.clone().into_bytes())?,
            executable: None,
            path,
            argv: StringVector::new(argv)?,
            envp: StringVector::new(spec.env.clone().unwrap_or_else(|| program.env.clone()))?,
            ids,
            privileged: spec.privileged,
            bounding_set: spec.bounding_set,
            blocked: spec.blocked,
            ignored: spec.ignored,
            keep,
            seccomp: spec.seccomp.clone(),
            processes: process_limit(),
            held: spec.held,
            rule: emulation.and_then(|emulation| emulation.rule.clone()),
            emulator: emulation.and_then(|emulation| emulation.program.clone()),
        })
    }
}

impl Plan {
    /// For a program of the host's.
    pub(super) fn of_engine(command: Command, spec: &Spec, ids: Ids) -> io::Result<Self> {
        let (executable, path) = open_executable(&command.executable)?;
        Ok(Self {
            files: Arc::new([]),
            root: Root::Host,
            size: CString::default(),
            bytes: 0,
            own_pid_namespace: spec.own_pid_namespace,
            ground: Ground::Host,
            hostname: b"pause-conformance",
            working_dir: c"/".to_owned(),
            executable,
            path,
            argv: StringVector::new(command.argv)?,
            envp: StringVector::new(command.env)?,
            ids,
            privileged: false,
            bounding_set: spec.bounding_set,
            blocked: spec.blocked,
            ignored: spec.ignored,
            keep: vec![command.module],
            seccomp: spec.seccomp.clone(),
            processes: process_limit(),
            held: spec.held,
            rule: None,
            emulator: None,
        })
    }
}

/// A descriptor of the suite's own program, or the path of another.
pub(super) fn open_executable(executable: &Executable) -> io::Result<(Option<OwnedFd>, CString)> {
    match executable {
        // By descriptor: whoever executes it may not be let into the folder where it is.
        Executable::Itself => {
            let file = File::open("/proc/self/exe")?;
            Ok((Some(file.into()), CString::default()))
        }
        Executable::File(path) => Ok((None, c_string(path.as_os_str().as_bytes().to_vec())?)),
    }
}

/// What runs, and no more: files whose content was kept, the directories above
/// them, symbolic links, and the working directory.
fn files(rootfs: &Rootfs, working_dir: &str, root: Root) -> io::Result<Vec<Make>> {
    let mut wanted: BTreeSet<&[u8]> = BTreeSet::new();
    for (path, entry) in &rootfs.entries {
        match &entry.kind {
            EntryKind::File {
                content: Some(_), ..
            }
            | EntryKind::Symlink(_) => want(rootfs, path, &mut wanted),
            _ => {}
        }
    }
    want(
        rootfs,
        working_dir.trim_matches('/').as_bytes(),
        &mut wanted,
    );

    let mut files = Vec::with_capacity(wanted.len() + MOUNT_POINTS.len());
    for path in wanted {
        let entry = &rootfs.entries[path];
        let at = c_string(path.to_vec())?;
        match &entry.kind {
            EntryKind::Directory => files.push(Make::Directory {
                path: at,
                mode: entry.mode,
            }),
            EntryKind::File {
                content: Some(content),
                ..
            } => {
                files.push(Make::File {
                    path: at,
                    mode: entry.mode,
                    content: Arc::clone(content),
                });
            }
            EntryKind::Symlink(target) => {
                files.push(Make::Symlink {
                    path: at,
                    target: c_string(target.clone())?,
                });
            }
            _ => {}
        }
    }
    if root != Root::Bare {
        for point in MOUNT_POINTS {
            if !rootfs.entries.contains_key(point.to_bytes()) {
                files.push(Make::Directory {
                    path: point.to_owned(),
                    mode: 0o755,
                });
            }
        }
    }
    Ok(files)
}

/// A path and the directories above it, as far as the image has them.
fn want<'a>(rootfs: &'a Rootfs, path: &[u8], wanted: &mut BTreeSet<&'a [u8]>) {
    let mut path = Some(path);
    while let Some(here) = path {
        if let Some((key, _)) = rootfs.entries.get_key_value(here) {
            wanted.insert(key);
        }
        path = here
            .iter()
            .rposition(|b| *b == b'/')
            .and_then(|slash| here.get(..slash));
    }
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}
