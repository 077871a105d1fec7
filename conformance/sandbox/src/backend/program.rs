//! The program of a container runtime: where it is, and which version.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::process;

/// The program of this name, in the folders of PATH and where programs of root are.
pub(in crate::backend) fn find(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_root = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(OsString::from);
    let folders = std::env::split_paths(&path).chain(of_root.into_iter().map(PathBuf::from));
    let is_program = |path: &PathBuf| {
        use std::os::unix::fs::PermissionsExt as _;

        let file = std::fs::metadata(path);
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_absolute() && is_program(path))
        .ok_or_else(|| io::Error::other(format!("no program {name} in PATH")))
}

/// What `--version` says.
pub(in crate::backend) fn version(program: &Path) -> io::Result<String> {
    let output = process::ask(program, &["--version"]).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => io::Error::other("it does not answer --version"),
        _ => io::Error::other(pause_image::io_words(&error)),
    })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let number = said.split_whitespace().find(is_number);
    let number = number.filter(|_| output.status.success());
    number
        .map(|number| pause_image::escape_text(number).to_string())
        .ok_or_else(|| io::Error::other("it does not say its version"))
}
