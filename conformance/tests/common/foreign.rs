//! Programs for another architecture, which `cargo xtask build` builds once.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder of the programs for `arm64`: `pause`, `fixture`, `probe`.
pub(crate) fn arm64() -> PathBuf {
    programs().join("linux-arm64")
}

/// The folder with one folder per platform. `cargo xtask test` names the one that it has built;
/// without it, this builds one.
pub(crate) fn programs() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    if let Some(folder) = std::env::var_os("PAUSE_CONFORMANCE_PROGRAMS") {
        return folder.into();
    }
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = workspace.join("target/programs");
    let arguments = ["xtask", "build", "--fixtures", "--target", "arm64", "--out"];
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .arg(&folder)
        .current_dir(workspace)
        .stdout(Stdio::null())
        .status()
        .expect("cargo starts: it runs this");
    assert!(status.success(), "cargo xtask build: {status}");
    folder
}
