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
    number(&said)
        .filter(|_| output.status.success())
        .map(|number| pause_image::escape_text(number).to_string())
        .ok_or_else(|| io::Error::other("it does not say its version"))
}

/// `1.1.5` of `runc version 1.1.5`, and `2.1.0` of `containerd github.com/containerd/containerd/v2
/// v2.1.0 abcdef`, as upstream's own builds of it say.
fn number(said: &str) -> Option<&str> {
    let mut words = said.split_whitespace();
    words.find_map(|word| {
        let number = word.strip_prefix('v').unwrap_or(word);
        let is_number = number.starts_with(|c: char| c.is_ascii_digit());
        is_number.then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[rstest::rstest]
    #[case("runc version 1.1.5+ds1\ncommit: 1.1.5\n", Some("1.1.5+ds1"))]
    #[case(
        "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1\n",
        Some("1.6.20~ds1")
    )]
    #[case(
        "containerd github.com/containerd/containerd/v2 v2.1.0 061792f0ecf3\n",
        Some("2.1.0")
    )]
    #[case("version unknown\n", None)]
    fn a_version_is_a_number_with_or_without_a_letter(
        #[case] said: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(number(said), expected);
    }
}
