//! Scripts that stand in for programs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes an executable file.
///
/// Another process does: a file that this one wrote would be open for writing in whatever another
/// test starts meanwhile, until that executes, and the kernel executes no such file (ETXTBSY).
pub(crate) fn write(path: &Path, text: &str) {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install starts");
    let mut input = install.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let status = install.wait().expect("it ends");
    assert!(status.success(), "{}", path.display());
}
