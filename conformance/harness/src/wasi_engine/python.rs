//! Python's package `wasmtime`: <https://bytecodealliance.github.io/wasmtime-py/>.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::{Command, Executable, NoEngine, lines, on_path};

const NAMES: [&str; 2] = ["python3", "python"];

/// Runs the module on the descriptor that its first argument names, with the package in the
/// folder that its second names.
const SCRIPT: &str = "\
import os, sys
sys.path.insert(0, sys.argv[2])
import wasmtime
engine = wasmtime.Engine()
with os.fdopen(int(sys.argv[1]), 'rb') as file:
    module = wasmtime.Module(engine, file.read())
linker = wasmtime.Linker(engine)
linker.define_wasi()
store = wasmtime.Store(engine)
store.set_wasi(wasmtime.WasiConfig())
try:
    linker.instantiate(store, module).exports(store)['_start'](store)
except wasmtime.ExitTrap as end:
    sys.exit(end.code)
";

/// Says the package's version, the interpreter's file, and the package's folder. A virtual
/// environment and PYTHONPATH count, the folder of the call does not.
const SEARCH: &str = "\
import sys
sys.path = [path for path in sys.path if path]
import importlib.metadata, os, wasmtime
print(importlib.metadata.version('wasmtime'))
print(os.path.realpath(sys.executable))
print(os.path.dirname(os.path.dirname(os.path.realpath(wasmtime.__file__))))
";

/// What the search says.
struct Found {
    version: String,
    interpreter: PathBuf,
    folder: String,
}

fn search() -> Option<Found> {
    let file = on_path(&NAMES)?;
    let mut lines = lines(&file, &["-B", "-c", SEARCH])?.into_iter();
    Some(Found {
        version: lines.next()?,
        // Not what is on PATH, which may be a script that looks for it.
        interpreter: lines.next()?.into(),
        folder: lines.next()?,
    })
}

/// Its version and where it was found.
pub(super) fn find() -> Result<String, NoEngine> {
    search()
        .map(|found| format!("wasmtime-py {}, {}", found.version, found.folder))
        .ok_or_else(|| NoEngine {
            engine: "python",
            why: "no python3 on PATH has the package wasmtime".to_owned(),
            hint: "pip install wasmtime, in a virtual environment that is on PATH, or leave --wasi-engine out",
        })
}

/// The command that runs a module.
pub(super) fn command(module: OwnedFd) -> io::Result<Command> {
    let found = search().ok_or(io::ErrorKind::NotFound)?;
    let number = module.as_raw_fd().to_string();
    // Isolated: the sandbox has no environment, and its user no home.
    let argv = ["python3", "-I", "-B", "-c", SCRIPT, &number, &found.folder];
    Ok(Command {
        argv: argv.map(str::to_owned).to_vec(),
        executable: Executable::File(found.interpreter),
        env: Vec::new(),
        module,
    })
}
