//! Programs for another architecture: built once, by the project's own command.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder of the programs for `arm64`: `pause`, `fixture`, `probe`.
pub(crate) fn arm64() -> PathBuf {
    programs().join("linux-arm64")
}

/// The folder that holds a folder a platform; `cargo xtask test` has built it and says
/// where, else it is built here.
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
