//! Python's package `wasmtime`: <https://bytecodealliance.github.io/wasmtime-py/>.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Command, Executable, NoEngine, first_line, on_path};

const NAMES: [&str; 1] = ["python3"];

/// Runs the module on the descriptor that its argument names.
const SCRIPT: &str = "\
import os, sys, wasmtime
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

/// Where it is found in: the user's PYTHONPATH counts, the folder of the call does not.
const VERSION: [&str; 3] = ["-P", "-c", "import wasmtime; print(wasmtime.__version__)"];

/// Its version and where it was found.
pub(super) fn find() -> Result<String, NoEngine> {
    let found = on_path(&NAMES).and_then(|file| Some((first_line(&file, &VERSION)?, file)));
    found
        .map(|(version, file)| format!("wasmtime-py {version}, {}", file.display()))
        .ok_or_else(|| NoEngine {
            engine: "python",
            why: "no python3 on PATH has the package wasmtime".to_owned(),
            hint: "pip install wasmtime, in a folder that PYTHONPATH names, or leave --wasi-engine out",
        })
}

/// The command that runs a module.
pub(super) fn command(module: OwnedFd) -> io::Result<Command> {
    let file = on_path(&NAMES).ok_or(io::ErrorKind::NotFound)?;
    let number = module.as_raw_fd().to_string();
    let argv = ["python3", "-P", "-B", "-c", SCRIPT, &number];
    let path = std::env::var("PYTHONPATH").ok();
    Ok(Command {
        executable: Executable::File(file),
        argv: argv.map(str::to_owned).to_vec(),
        env: path
            .map(|path| format!("PYTHONPATH={path}"))
            .into_iter()
            .collect(),
        module,
    })
}
