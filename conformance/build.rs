//! Takes over the program that fixtures are made from, and says which version of the WASI engine
//! is built in.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let directory = |name: &str| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let built = directory("DEP_PAUSE_SANDBOX_PROGRAMS").join("fixture");
    fs::copy(&built, directory("OUT_DIR").join("fixture")).expect("it was built before");
    println!("cargo::rerun-if-changed={}", built.display());

    let lock = lock();
    println!("cargo::rerun-if-changed={}", lock.display());
    let version = locked_version(&lock, "wasmi").unwrap_or_default();
    println!("cargo::rustc-env=WASMI_VERSION={version}");
}

/// The package's own, or in the workspace that of the workspace.
fn lock() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    if own.exists() {
        return own;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")
}

/// The version of a package that is locked: reports name it, and no crate says its own.
fn locked_version(lock: &Path, package: &str) -> Option<String> {
    let lock = fs::read_to_string(lock).ok()?;
    let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(entry.split_once('"')?.0.to_owned())
}
