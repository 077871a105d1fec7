//! Node's module `node:wasi`: <https://nodejs.org/docs/latest-v20.x/api/wasi.html>.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Command, Executable, NoEngine, first_line, on_path};

/// Debian's name, and an older one of its.
const NAMES: [&str; 2] = ["node", "nodejs"];

/// Runs the module on the descriptor that its argument names.
const SCRIPT: &str = "\
const { WASI } = require('node:wasi');
const wasi = new WASI({ version: 'preview1', returnOnExit: false });
const module = new WebAssembly.Module(require('node:fs').readFileSync(Number(process.argv[1])));
wasi.start(new WebAssembly.Instance(module, wasi.getImportObject()));
";

/// Its version and where it was found.
pub(super) fn find() -> Result<String, NoEngine> {
    let found = on_path(&NAMES)
        .and_then(|file| Some((first_line(&file, &["--version"])?, file)))
        .filter(|(version, _)| major(version) >= Some(18));
    found
        .map(|(version, file)| format!("node {version}, {}", file.display()))
        .ok_or_else(|| NoEngine {
            engine: "node",
            why: "no node of version 18 or above on PATH".to_owned(),
            hint: "install it (Debian: nodejs), or leave --wasi-engine out",
        })
}

/// The first number of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// The command that runs a module.
pub(super) fn command(module: OwnedFd) -> io::Result<Command> {
    let file = on_path(&NAMES).ok_or(io::ErrorKind::NotFound)?;
    let number = module.as_raw_fd().to_string();
    let argv = ["node", "--no-warnings", "-e", SCRIPT, &number];
    Ok(Command {
        executable: Executable::File(file),
        argv: argv.map(str::to_owned).to_vec(),
        env: Vec::new(),
        module,
    })
}
