//! `cargo xtask build`: builds the programs without a C runtime, for any platform.

use crate::cargo::Metadata;
use crate::platform::Platform;
use crate::toolchain::{self, Toolchain};
use crate::{link, packages, platform, wasi};
use anyhow::{Context as _, Result, ensure};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
pub struct Build {
    /// Build for these only: amd64, arm64, arm/v7, ppc64le, s390x, riscv64,
    /// loong64, 386, or a Rust triple
    #[arg(long = "target", value_name = "TARGET", value_parser = platform::parse, value_delimiter = ',')]
    pub targets: Vec<Platform>,
    /// Write the programs to DIR, one folder per platform
    #[arg(long, value_name = "DIR", default_value = "target/programs")]
    pub out: PathBuf,
    /// Also build the fixtures
    #[arg(long)]
    pub fixtures: bool,
    /// Have rustup add targets that no toolchain here builds for
    #[arg(long)]
    pub add_targets: bool,
    /// Build the WASI pause instead: a module of preview 1, a component of
    /// preview 2
    #[arg(long, conflicts_with_all = ["targets", "fixtures"])]
    pub wasi: bool,
}

impl Build {
    /// Builds, and prints the size of each program.
    pub fn run(self) -> Result<()> {
        if self.wasi {
            if self.add_targets {
                toolchain::add_targets(&[link::WASI_TRIPLE])?;
            }
            for program in wasi::programs(&self.out)? {
                println!("{:>6} B  {}", program.bytes.len(), program.path.display());
            }
            return Ok(());
        }
        let targets = or_all(self.targets);
        if self.add_targets {
            add_targets(&targets)?;
        }
        let packages: &[&str] = if self.fixtures {
            &[link::PAUSE, link::FIXTURES]
        } else {
            &[link::PAUSE]
        };
        for program in programs(&targets, packages, &self.out)? {
            let path = program.path.display();
            println!("{:>6} B  {path}  by {}", program.size, program.route);
        }
        Ok(())
    }
}

/// Has rustup add the targets that are missing for these platforms.
pub fn add_targets(targets: &[Platform]) -> Result<()> {
    let triples: Vec<&str> = targets.iter().map(|target| target.triple).collect();
    toolchain::add_targets(&triples)
}

/// The platforms that a toolchain of this machine builds for.
pub fn buildable() -> Vec<Platform> {
    let there = |platform: &Platform| !toolchain::all(platform.triple).is_empty();
    platform::ALL.into_iter().filter(there).collect()
}

/// These platforms, or all if the list is empty.
pub fn or_all(targets: Vec<Platform>) -> Vec<Platform> {
    if targets.is_empty() {
        platform::ALL.to_vec()
    } else {
        targets
    }
}

/// A program that was built.
#[derive(Debug)]
pub struct Program {
    /// Its platform.
    pub platform: Platform,
    /// Its file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: usize,
    /// The toolchain that built it.
    pub route: String,
}

/// Builds every program of `packages` for every one of `targets`, and writes each to
/// `out/linux-ARCH/NAME`.
pub fn programs(targets: &[Platform], packages: &[&str], out: &Path) -> Result<Vec<Program>> {
    // Before the search for toolchains, which then finds it. Only CI may install.
    let host = link::host("rustc".as_ref()).unwrap_or_default();
    if std::env::var_os("CI").is_some() && targets.iter().any(|target| target.triple != host) {
        packages::ensure(&toolchain::DEBIAN)?;
    }

    let mut groups: Vec<(Toolchain, Vec<Platform>)> = Vec::new();
    for &target in targets {
        let toolchain = toolchain::find(target.triple)?;
        match groups.iter_mut().find(|(known, _)| *known == toolchain) {
            Some((_, targets)) => targets.push(target),
            None => groups.push((toolchain, vec![target])),
        }
    }
    let mut built = Vec::new();
    for (toolchain, targets) in &groups {
        built.extend(programs_by(toolchain, targets, packages, out)?);
    }
    // In the order of the request.
    let place = |program: &Program| targets.iter().position(|it| *it == program.platform);
    built.sort_by_key(place);
    Ok(built)
}

/// The same, with this toolchain.
pub fn programs_by(
    toolchain: &Toolchain,
    targets: &[Platform],
    packages: &[&str],
    out: &Path,
) -> Result<Vec<Program>> {
    let workspace = crate::workspace();
    let linker = link::linker("rustc".as_ref()).context("no rust-lld in the active toolchain")?;
    let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
    eprintln!("building for {} with {}", names.join(", "), toolchain.name);
    let triples: Vec<&str> = targets.iter().map(|target| target.triple).collect();
    let target_dir = target_dir(&workspace, toolchain);
    let mut command = link::build(
        &toolchain.cargo,
        &workspace,
        &linker,
        &target_dir,
        &triples,
        packages,
    );
    command.env("RUSTC", &toolchain.rustc);
    if toolchain.build_core {
        command.arg("-Zbuild-std=core").env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command.status();
    let status = status.with_context(|| format!("run {}", toolchain.cargo.display()))?;
    ensure!(
        status.success(),
        "build for {} failed: cargo: {status}",
        names.join(", ")
    );

    let metadata = Metadata::read()?;
    let names: Vec<String> = packages
        .iter()
        .flat_map(|name| metadata.programs(name, link::FEATURE))
        .collect();
    let mut programs = Vec::new();
    for &platform in targets {
        let built = target_dir.join(platform.triple).join(link::PROFILE);
        for name in &names {
            let folder = out.join(platform.folder());
            let built = built.join(name);
            programs.push(finish(&built, &folder, name, platform, &toolchain.name)?);
        }
    }
    Ok(programs)
}

/// The folder in which cargo builds these programs. Each toolchain has its own, so that none takes
/// another's output.
pub(crate) fn target_dir(workspace: &Path, toolchain: &Toolchain) -> PathBuf {
    let core = if toolchain.build_core { "-core" } else { "" };
    let route = format!("{}{core}", toolchain.release);
    workspace.join("target/freestanding").join(route)
}

/// Copies a program, without the bytes that the linker left behind its segments.
fn finish(
    built: &Path,
    folder: &Path,
    name: &str,
    platform: Platform,
    route: &str,
) -> Result<Program> {
    let mut bytes = std::fs::read(built).with_context(|| format!("read {}", built.display()))?;
    let size = link::segments_end(&bytes)
        .with_context(|| format!("{} is no whole ELF program", built.display()))?;
    bytes.truncate(size);
    let path = folder.join(name);
    // A file that is open for writing cannot be executed (ETXTBSY): leave it if it is up to date.
    if std::fs::read(&path).ok().as_deref() != Some(&bytes) {
        replace(&path, &bytes)?;
    }
    Ok(Program {
        platform,
        path,
        size,
        route: route.to_owned(),
    })
}

/// Writes a program beside `path` and renames it: the old one may be running, and another process
/// may be writing it too.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = path.with_extension(format!("{}-{number}", std::process::id()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    std::fs::write(&new, bytes).with_context(|| format!("write {}", new.display()))?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("write {}", path.display()))
}
