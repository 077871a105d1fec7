//! Builds the programs without a C runtime that sandboxes and the suite need, with the compiler
//! that builds this, for the same machine: the probe, the reference pause, and the program that
//! fixtures are made from. `DEP_PAUSE_SANDBOX_PROGRAMS` says where they are.

use std::env;
use std::path::{Path, PathBuf};

#[path = "../../pause/link.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a build script is a crate of one file"
)]
mod link;

fn main() {
    let variable = |name: &str| env::var_os(name).expect("cargo sets it for build scripts");
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("a crate of a workspace")
        .to_owned();
    for watched in [
        "fixtures/src",
        "fixtures/Cargo.toml",
        "pause",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    println!("cargo::metadata=PROGRAMS={}", out.display());

    let linker = link::linker(&variable("RUSTC")).expect("rust-lld comes with the toolchain");
    let target_dir = out.join("programs");
    let status = link::build(
        &variable("CARGO"),
        &root,
        &linker,
        &target_dir,
        &[&target],
        &["fixtures", "pause"],
    )
    .status()
    .expect("cargo can be run: it runs this");
    assert!(
        status.success(),
        "cannot build the probe and the reference pause: {status}"
    );

    let built = target_dir.join(&target).join(link::PROFILE);
    for name in ["probe", "pause", "fixture"] {
        let mut program = std::fs::read(built.join(name)).expect("cargo has just built it");
        program.truncate(link::segments_end(&program).expect("the linker writes ELF"));
        std::fs::write(out.join(name), program).expect("OUT_DIR can be written");
    }
}
