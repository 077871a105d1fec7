//! The suite's tests through youki, which distributions do not package: it is built from its crate.

use crate::cargo;
use anyhow::{Context as _, Result};

/// The version whose quirks the suite knows.
const INSTALL: [&str; 9] = [
    "install",
    "youki",
    "--version=0.7.0",
    "--locked",
    "--quiet",
    // By default it knows no cgroups at all.
    "--features=v1,v2",
    "--root",
    "target/youki",
    "--target-dir=target/youki/build",
];

/// Those tests alone: they are ignored where it is not in PATH.
const TESTS: [&str; 6] = [
    "test",
    "--package=pause-conformance",
    "--test=runtimes",
    "--",
    "--include-ignored",
    "youki_",
];

/// Builds it, and runs them.
pub(super) fn run() -> Result<()> {
    cargo::run(&INSTALL)?;
    let own = crate::workspace().join("target/youki/bin");
    let before = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(own).chain(std::env::split_paths(&before));
    let path = std::env::join_paths(folders).context("join PATH")?;
    let mut command = cargo::command();
    cargo::succeeds(command.args(TESTS).env("PATH", path))
}
