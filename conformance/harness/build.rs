//! Takes over the program that fixtures are made from, and those for other architectures where a
//! folder of them is named; says which version of the WASI engine is built in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let directory = |name: &str| PathBuf::from(env::var_os(name).expect("cargo sets it"));
    let built = directory("DEP_PAUSE_SANDBOX_PROGRAMS").join("fixture");
    fs::copy(&built, directory("OUT_DIR").join("fixture")).expect("it was built before");
    println!("cargo::rerun-if-changed={}", built.display());

    println!("cargo::rerun-if-env-changed={FOREIGN}");
    let foreign = foreign(env::var_os(FOREIGN).map(PathBuf::from).as_deref());
    fs::write(directory("OUT_DIR").join("foreign.rs"), foreign).expect("OUT_DIR can be written");

    let lock = lock();
    println!("cargo::rerun-if-changed={}", lock.display());
    let version = locked_version(&lock, "wasmi").unwrap_or_default();
    println!("cargo::rustc-env=WASMI_VERSION={version}");

    println!("cargo::rerun-if-env-changed={COMMIT}");
    let commit = env::var(COMMIT).ok().or_else(packaged_commit);
    println!("cargo::rustc-env={COMMIT}={}", commit.unwrap_or_default());
}

/// The commit of a release. A build of a checkout names none: each commit would build it again.
const COMMIT: &str = "PAUSE_CONFORMANCE_COMMIT";

/// The commit from which `cargo package` made this package.
fn packaged_commit() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo_vcs_info.json");
    let info = fs::read_to_string(path).ok()?;
    let (_, rest) = info.split_once("\"sha1\": \"")?;
    let commit: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    Some(commit).filter(|commit| commit.len() == 40)
}

/// Names a folder as `cargo xtask build --fixtures` writes it. What it holds is built in, so that a
/// program that is passed on alone can try emulators.
const FOREIGN: &str = "PAUSE_CONFORMANCE_BUILD_IN";

/// The table of the programs in `folder`: `linux-ARCH/NAME`, and the bytes.
fn foreign(folder: Option<&Path>) -> String {
    let mut table = "&[\n".to_owned();
    if let Some(folder) = folder {
        // With all that is below it.
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    for path in folder.map(programs_in).unwrap_or_default() {
        let file = path.file_name().and_then(|name| name.to_str());
        let platform = path.parent().and_then(Path::file_name);
        let (Some(file), Some(platform)) = (file, platform.and_then(|name| name.to_str())) else {
            continue;
        };
        let name = format!("{platform}/{file}");
        let bytes = path.display().to_string();
        writeln!(table, "    ({name:?}, include_bytes!({bytes:?})),").expect("text can be written");
    }
    table + "]\n"
}

/// The programs that emulators are tried with, in an order that does not vary.
fn programs_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of programs can be listed");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .flat_map(|platform| ["fixture", "pause"].map(|name| platform.join(name)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// The package's own, or in the workspace that of the workspace.
fn lock() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    if own.exists() {
        return own;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock")
}

/// The version of a package that is locked: reports name it, and no crate says its own.
fn locked_version(lock: &Path, package: &str) -> Option<String> {
    let lock = fs::read_to_string(lock).ok()?;
    let (_, entry) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    Some(entry.split_once('"')?.0.to_owned())
}
