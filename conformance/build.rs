//! Takes over the program that fixtures are made from, and says which version of the WASI engine
//! is built in.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let directory = |name: &str| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let built = directory("DEP_PAUSE_SANDBOX_PROGRAMS").join("fixture");
    fs::copy(&built, directory("OUT_DIR").join("fixture")).expect("it was built before");
    println!("cargo::rerun-if-changed={}", built.display());

    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a crate of a workspace");
    println!(
        "cargo::rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );
    let version = locked_version(root, "wasmi").unwrap_or_default();
    println!("cargo::rustc-env=WASMI_VERSION={version}");
}

/// The version of a package that the workspace is locked to: reports name it, and no crate
/// says its own.
fn locked_version(root: &Path, package: &str) -> Option<String> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).ok()?;
    let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(entry.split_once('"')?.0.to_owned())
}
