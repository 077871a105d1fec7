//! Builds the programs without a C runtime that sandboxes and the suite need, with the compiler
//! that builds this, for the same machine: the probe, the reference pause, and the program that
//! fixtures are made from. `DEP_PAUSE_SANDBOX_PROGRAMS` says where they are.
//!
//! Their sources are links in `programs`, of which `cargo package` makes files: a package of this
//! crate is built as the crate is in its workspace. No manifest is called Cargo.toml there, for
//! cargo packages no folder that has one.

use std::ffi::OsStr;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

#[path = "programs/pause/link.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a build script is a crate of one file"
)]
mod link;

/// Folder and package of each crate that has programs.
const CRATES: [(&str, &str); 2] = [("fixtures", link::FIXTURES), ("pause", link::PAUSE)];

fn main() {
    let variable = |name: &str| env::var_os(name).expect("cargo sets it for build scripts");
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("programs");
    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::metadata=PROGRAMS={}", out.display());

    let workspace = out.join("workspace");
    lay_out(&sources, &workspace).expect("OUT_DIR can be written");
    let cargo = variable("CARGO");
    if !has_locked_crates(&cargo, &workspace) {
        // Whoever builds a package may have newer crates than it was made with.
        fs::remove_file(workspace.join("Cargo.lock")).expect("OUT_DIR can be written");
    }

    let linker = link::linker(&variable("RUSTC")).expect("rust-lld comes with the toolchain");
    let target_dir = out.join("programs");
    let packages = CRATES.map(|(_, package)| package);
    let status = link::build(
        &cargo,
        &workspace,
        &linker,
        &target_dir,
        &[&target],
        &packages,
    )
    // Every crate that they need is one that this needs, and there already.
    .arg("--offline")
    .status()
    .expect("cargo can be run: it runs this");
    assert!(
        status.success(),
        "cannot build the probe and the reference pause: {status}"
    );

    let built = target_dir.join(&target).join(link::PROFILE);
    for name in ["probe", "pause", "fixture"] {
        let mut program = fs::read(built.join(name)).expect("cargo has just built it");
        program.truncate(link::segments_end(&program).expect("the linker writes ELF"));
        fs::write(out.join(name), program).expect("OUT_DIR can be written");
    }
}

/// A workspace of these crates alone, with what the whole one says of packages, dependencies,
/// lints and profiles. Sources are links, so that they keep their times.
fn lay_out(sources: &Path, workspace: &Path) -> Result<()> {
    if workspace.exists() {
        fs::remove_dir_all(workspace)?;
    }
    fs::create_dir(workspace)?;
    let whole = fs::read_to_string(sources.join("workspace.toml"))?;
    let inherited = whole
        .find("[workspace.package]")
        .and_then(|start| whole.get(start..))
        .expect("the workspace has what its packages inherit");
    let members = CRATES.map(|(folder, _)| folder);
    let root = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n{inherited}");
    fs::write(workspace.join("Cargo.toml"), root)?;
    fs::copy(sources.join("Cargo.lock"), workspace.join("Cargo.lock"))?;
    for folder in members {
        let (from, to) = (sources.join(folder), workspace.join(folder));
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let name = entry?.file_name();
            let as_cargo_has_it = if name == "package.toml" {
                OsStr::new("Cargo.toml")
            } else {
                &name
            };
            std::os::unix::fs::symlink(from.join(&name), to.join(as_cargo_has_it))?;
        }
    }
    Ok(())
}

/// Are the crates here that the programs are locked to?
fn has_locked_crates(cargo: &OsStr, workspace: &Path) -> bool {
    Command::new(cargo)
        .args(["fetch", "--quiet", "--offline"])
        .current_dir(workspace)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
