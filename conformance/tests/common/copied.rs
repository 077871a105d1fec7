//! The suite's program, copied to where another user may execute it.

use std::path::Path;
use std::process::Command;

/// Copies it to a path that does not exist.
///
/// Another process does: a file that this one wrote would be open for writing in whatever another
/// test starts meanwhile, until that executes, and the kernel executes no such file (ETXTBSY).
pub(crate) fn suite(to: &Path) {
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_pause-conformance"))
        .arg(to)
        .status();
    assert!(copied.expect("cp starts").success(), "{}", to.display());
}
