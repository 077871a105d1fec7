//! Builds what is packed: the static program, the programs of all architectures that become part
//! of it, and its pages.

use super::NAME;
use super::route::{NATIVE, Route};
use crate::cargo::{self, Metadata};
use crate::{build, link};
use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Separates the arguments in `CARGO_ENCODED_RUSTFLAGS`.
const UNIT_SEPARATOR: &str = "\u{1f}";

/// A program of the suite.
#[derive(Debug)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Builds the reference pause and the fixtures for every platform that a toolchain here builds for.
/// Returns their folder, which holds no others.
pub fn built_in() -> Result<PathBuf> {
    let folder = folder()?.join("programs");
    let platforms = build::buildable();
    let lacks: Vec<&str> = crate::platform::ALL
        .iter()
        .filter(|platform| !platforms.contains(platform))
        .map(|platform| platform.name)
        .collect();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        eprintln!(
            "no toolchain for {lacks}: the packed program tries no emulator of these\n  try: {}",
            crate::packages::command(&crate::toolchain::DEBIAN)
        );
    }
    build::programs(&platforms, &[link::PAUSE, link::FIXTURES], &folder)?;
    let entries = std::fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let name = entry.file_name();
        if !platforms.iter().any(|it| name == *it.folder()) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(folder)
}

/// Writes manual pages and completions to a folder of their own.
pub fn pages() -> Result<TempDir> {
    let options = ["--quiet", "--package", NAME, "--features", "pages"];
    cargo::run(&[&["build"], &options[..], &["--bin", "pages"]].concat())?;
    let folder = TempDir::new().context("create a temporary folder")?;
    let program = Metadata::read()?.target_directory()?.join("debug/pages");
    let status = Command::new(&program).arg(folder.path()).status();
    let status = status.with_context(|| format!("run {}", program.display()))?;
    ensure!(status.success(), "{}: {status}", program.display());
    Ok(folder)
}

/// Builds the static program, with the programs of `built_in` in it.
pub fn build(route: &Route, built_in: &Path) -> Result<Program> {
    let folder = folder()?;
    eprintln!("building for {} {}", route.triple, route.name());
    let status = command(route, &folder, built_in)?.status();
    let status = status.context("run cargo")?;
    ensure!(
        status.success(),
        "the build for {} failed: cargo: {status}",
        route.triple
    );
    let path = folder.join(&route.triple).join("dist").join(NAME);
    let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let elf = pause_image::elf::Elf::parse(&bytes);
    let elf = elf.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    ensure!(
        elf.interpreter.is_none() && elf.needed.is_empty(),
        "{} is not static",
        path.display()
    );
    Ok(Program { path, bytes })
}

/// A folder of its own, that a build of the workspace does not wait for this one.
fn folder() -> Result<PathBuf> {
    Ok(Metadata::read()?.target_directory()?.join("static"))
}

fn command(route: &Route, folder: &Path, built_in: &Path) -> Result<Command> {
    let mut command = Command::new(&route.toolchain.cargo);
    let variable = route.triple.to_uppercase().replace('-', "_");
    let (linker, flavor) = &route.linker;
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(flavor.map(|flavor| format!("-Clinker-flavor={flavor}")));
    flags.extend(remapped()?);
    command
        .current_dir(crate::workspace())
        .args(["build", "--locked", "--package", NAME, "--bin", NAME])
        .args(["--profile", "dist", "--target", &route.triple])
        .arg("--target-dir")
        .arg(folder)
        .env("RUSTC", &route.toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(UNIT_SEPARATOR))
        .env("PAUSE_CONFORMANCE_BUILD_IN", built_in)
        .env("PAUSE_CONFORMANCE_COMMIT", commit());
    // What cargo takes by itself is left to it.
    if linker != NATIVE {
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    }
    if route.compiler != NATIVE {
        command.env(format!("CC_{}", variable.to_lowercase()), route.compiler);
    }
    Ok(command)
}

/// The commit that is checked out, and whether the tree differs from it. Empty where there is no
/// git, as in an archive of the sources.
fn commit() -> String {
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        let output = git.current_dir(crate::workspace()).args(args).output();
        let output = output.ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let Some(head) = git(&["rev-parse", "HEAD"]) else {
        return String::new();
    };
    let same = git(&["status", "--porcelain", "--untracked-files=no"]);
    let same = same.is_some_and(|changes| changes.is_empty());
    format!("{}{}", head.trim(), if same { "" } else { ", changed" })
}

/// Messages of a panic name source files: by names that are the same on every machine.
fn remapped() -> Result<[String; 2]> {
    let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let cargo = match (home("CARGO_HOME"), home("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(".cargo"),
        (None, None) => PathBuf::from("/nowhere/.cargo"),
    };
    let map = |from: &Path, to: &str| -> Result<String> {
        let argument: OsString = from.into();
        let from = argument.into_string().ok();
        let from = from.context("the name of a folder of cargo's is not Unicode")?;
        Ok(format!("--remap-path-prefix={from}={to}"))
    };
    Ok([
        map(&cargo, "/cargo")?,
        map(&crate::workspace(), &format!("/{NAME}"))?,
    ])
}
