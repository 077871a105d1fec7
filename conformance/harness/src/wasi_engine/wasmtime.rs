//! The `wasmtime` command: <https://docs.wasmtime.dev/cli-options.html>.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Command, Executable, NoEngine, first_line, on_path};

/// Its version and where it was found.
pub(super) fn find() -> Result<String, NoEngine> {
    let found = on_path(&["wasmtime"]).and_then(|file| {
        Some(format!(
            "{}, {}",
            first_line(&file, &["--version"])?,
            file.display()
        ))
    });
    found.ok_or_else(|| NoEngine {
        engine: "wasmtime",
        why: "no program of that name on PATH answers --version".to_owned(),
        hint: "install the wasmtime command, or leave --wasi-engine out",
    })
}

/// The command that runs a module.
pub(super) fn command(module: OwnedFd) -> io::Result<Command> {
    let file = on_path(&["wasmtime"]).ok_or(io::ErrorKind::NotFound)?;
    let path = format!("/proc/self/fd/{}", module.as_raw_fd());
    // A sandbox has no home, where it would look for the settings of its cache.
    let argv = ["wasmtime", "run", "-C", "cache=n", &path];
    Ok(Command {
        executable: Executable::File(file),
        argv: argv.map(str::to_owned).to_vec(),
        env: Vec::new(),
        module,
    })
}
