//! WASI runtimes that run a program as PID 1 of a sandbox: the suite's own host, and others that
//! are found on this machine. One file each says how it is found and what its command line is;
//! nothing else distinguishes them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

pub use pause_sandbox::workload::{Command, Executable};

use crate::process;
use crate::wasi_host::{self, Fault, Order};

mod node;
mod python;
mod wasmtime;

/// A WASI runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The suite's own host.
    #[default]
    Builtin,
    /// The suite's own host with one fault, which stands in for runtimes that have it.
    Faulty(Fault),
    /// The `wasmtime` command.
    Wasmtime,
    /// The `node` command with its module `node:wasi`.
    Node,
    /// Python's package `wasmtime`.
    Python,
}

/// Why a WASI runtime cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{engine}: {why}")]
pub struct NoEngine {
    /// Its name.
    pub engine: &'static str,
    /// What is missing.
    pub why: String,
    /// What the user can do.
    pub hint: &'static str,
}

impl Engine {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Faulty(fault) => fault.word(),
            Self::Wasmtime => "wasmtime",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// Its version and where it was found.
    ///
    /// # Errors
    /// Where it is not to be had here.
    pub fn find(self) -> Result<String, NoEngine> {
        match self {
            Self::Builtin | Self::Faulty(_) => Ok(wasi_host::describe()),
            Self::Wasmtime => wasmtime::find(),
            Self::Node => node::find(),
            Self::Python => python::find(),
        }
    }

    /// The command that runs this module.
    ///
    /// # Errors
    /// Where the runtime is gone, or the module cannot be stored.
    pub fn command(self, module: &[u8]) -> io::Result<Command> {
        let module = module_file(module)?;
        match self {
            Self::Builtin => Ok(itself(module, None, false, None)),
            Self::Faulty(fault) => Ok(itself(module, None, false, Some(fault))),
            Self::Wasmtime => wasmtime::command(module),
            Self::Node => node::command(module),
            Self::Python => python::command(module),
        }
    }
}

/// The command that runs the guest of mixed pods, which serves this port.
///
/// # Errors
/// Where the module cannot be stored.
pub fn serve(port: u16, helper: bool) -> io::Result<Command> {
    let module = module_file(wasi_host::SERVER)?;
    Ok(itself(module, Some(port), helper, None))
}

fn itself(module: OwnedFd, listen: Option<u16>, helper: bool, fault: Option<Fault>) -> Command {
    let order = Order {
        module: module.as_raw_fd(),
        listen,
        helper,
        fault,
    };
    Command {
        executable: Executable::Itself,
        argv: std::iter::once(wasi_host::NAME.to_owned())
            .chain(order.words())
            .collect(),
        env: Vec::new(),
        module,
    }
}

/// A module as an anonymous file that every user may read.
fn module_file(module: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"module.wasm", MemfdFlags::CLOEXEC)?;
    let mut rest = module;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    // The process that gets it reads from here.
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444))?;
    Ok(file)
}

/// The first of `names` on PATH.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    })
}

/// The first line that a program prints; `None` where it fails.
fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    lines(program, arguments)?.into_iter().next()
}

/// What a program prints, without what is blank; `None` where it fails.
fn lines(program: &Path, arguments: &[&str]) -> Option<Vec<String>> {
    let output = process::ask(program, arguments).ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    output
        .status
        .success()
        .then(|| lines.map(str::to_owned).collect())
}
