//! Everything a sandbox's first process will need, made before the clone: after it
//! nothing may be allocated.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use seccompiler::BpfProgram;

use crate::backend::{Launch, Root, Spec};
use crate::sys::StringVector;
use crate::workload::{Command, Executable};

use super::binfmt::{self, Rule};
use super::emulated::Emulation;
use super::holder::Holder;
use super::ids::Ids;
use super::limits::ProgramLimits;

/// The mount namespace that a sandbox's is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MountsFrom {
    /// The suite's own.
    Host,
    /// A copy of the base mount namespace with the image's root in it.
    Base,
    /// The image mount namespace: its root is the image's.
    Image,
}

/// What the child does between clone and exec.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Root,
    /// The image's root, where that mount namespace does not have it.
    pub(super) tree: Option<OwnedFd>,
    /// Where in it /dev is.
    pub(super) dev: CString,
    /// Whether what it writes to its root is kept apart from it.
    pub(super) overlay: bool,
    pub(super) own_pid_namespace: bool,
    pub(super) mounts_from: MountsFrom,
    pub(super) hostname: &'static [u8],
    pub(super) working_dir: CString,
    /// What is executed where it is not a file of the sandbox; then `path` is empty.
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
    pub(super) limits: ProgramLimits,
    pub(super) held: bool,
    /// What holds it, where that is no copy of the suite.
    pub(super) holder: Option<Holder>,
    /// To be registered in a binfmt_misc of the sandbox's own.
    pub(super) rule: Option<Arc<Rule>>,
    /// To be executed instead of the program, which its arguments name.
    pub(super) emulator: Option<Arc<File>>,
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
        let mut path = b"/".to_vec();
        path.extend_from_slice(&program.path);
        let path = c_string(path)?;
        let argv = match emulation {
            Some(Emulation {
                emulator,
                program: Some(_),
                model,
                ..
            }) => binfmt::arguments(emulator, *model, &path, &argv),
            _ => argv.into_iter().map(String::into_bytes).collect(),
        };
        let keep = (0..spec.extra_descriptors)
            .map(|_| rustix::pipe::pipe().map(|(read, _write)| read))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            root: spec.root,
            tree: None,
            dev: CString::default(),
            overlay: false,
            own_pid_namespace: spec.own_pid_namespace,
            mounts_from: MountsFrom::Host,
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
            limits: ProgramLimits::default(),
            held: spec.held,
            holder: None,
            rule: emulation.and_then(|emulation| emulation.rule.clone()),
            emulator: emulation.and_then(|emulation| emulation.program.clone()),
        })
    }
}

impl Plan {
    /// What is executed, by descriptor or by path.
    pub(super) fn executed(&self) -> (Option<BorrowedFd<'_>>, &CStr) {
        let emulator = self.emulator.as_ref().map(AsFd::as_fd);
        match emulator.or_else(|| self.executable.as_ref().map(AsFd::as_fd)) {
            Some(executed) => (Some(executed), c""),
            None => (None, &self.path),
        }
    }

    /// For a program of the host's.
    pub(super) fn of_engine(command: Command, spec: &Spec, ids: Ids) -> io::Result<Self> {
        let (executable, path) = open_executable(&command.executable)?;
        Ok(Self {
            root: Root::Host,
            tree: None,
            dev: CString::default(),
            overlay: false,
            own_pid_namespace: spec.own_pid_namespace,
            mounts_from: MountsFrom::Host,
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
            limits: ProgramLimits::default(),
            held: spec.held,
            holder: None,
            rule: None,
            emulator: None,
        })
    }
}

/// A descriptor of the suite's own program, or the path of another.
pub(in crate::backend) fn open_executable(
    executable: &Executable,
) -> io::Result<(Option<OwnedFd>, CString)> {
    match executable {
        // By descriptor: the process that executes it may have no access to its folder.
        Executable::Itself => {
            let file = File::open("/proc/self/exe")?;
            Ok((Some(file.into()), CString::default()))
        }
        Executable::File(path) => Ok((None, c_string(path.as_os_str().as_bytes().to_vec())?)),
    }
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}
