//! The crates as packages: each must compile from its package alone.

use flate2::read::GzDecoder;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The packages that can be published, each after those that it depends on.
const CRATES: [&str; 7] = [
    "reference-pause",
    "pause-fixtures",
    "pause-cri",
    "pause-image",
    "pause-sandbox",
    "pause-harness",
    "pause-conformance",
];

fn cargo(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    xtask::cargo::prepare(&mut command);
    let status = command
        .args(arguments)
        .args(["--offline", "--quiet"])
        .current_dir(folder)
        .status()
        .expect("cargo starts: it runs this");
    assert!(status.success(), "cargo {}: {status}", arguments.join(" "));
}

/// Checks a workspace of the unpacked packages, in which each uses the others, as it would from a
/// registry. Their other dependencies are those of the workspace.
#[test]
fn each_crate_compiles_from_its_package() {
    // The same folder each time, or each run would leave a build of everything behind.
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    if own.exists() {
        fs::remove_dir_all(&own).expect("its last run's is removed");
    }
    let target = own.to_str().expect("a path in Unicode");
    let mut package = vec![
        "package",
        "--no-verify",
        "--allow-dirty",
        "--target-dir",
        target,
    ];
    package.extend(CRATES.iter().flat_map(|name| ["--package", name]));
    cargo(&xtask::workspace(), &package);

    let unpacked = own.join("unpacked");
    let mut patches = Vec::new();
    for name in CRATES {
        let package = format!("{name}-{}", env!("CARGO_PKG_VERSION"));
        let file = own.join("package").join(format!("{package}.crate"));
        let file = fs::File::open(file).expect("cargo made it");
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        // Cargo packs all files with one time, by which it would take last run's build for this one's.
        archive.set_preserve_mtime(false);
        archive.unpack(&unpacked).expect("it is a packed tar file");
        patches.push(format!("{name} = {{ path = \"{package}\" }}"));
    }
    let workspace = xtask::workspace();
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).expect("it is there");
    let profiles = manifest.find("[profile.dev]").expect("it has profiles");
    let manifest = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"*-{}\"]\n\n[patch.crates-io]\n{}\n\n{}",
        env!("CARGO_PKG_VERSION"),
        patches.join("\n"),
        &manifest[profiles..],
    );
    fs::write(unpacked.join("Cargo.toml"), manifest).expect("it is written");
    fs::copy(workspace.join("Cargo.lock"), unpacked.join("Cargo.lock")).expect("it is copied");

    // What a package lacks shows before code is generated. Libraries only: a program would replace the
    // workspace's own.
    let target = workspace.join("target");
    let target = target.to_str().expect("a path in Unicode");
    let mut check = vec!["check", "--lib", "--target-dir", target];
    check.extend([
        "--package",
        "pause-sandbox",
        "--package",
        "pause-conformance",
    ]);
    cargo(&unpacked, &check);
}
