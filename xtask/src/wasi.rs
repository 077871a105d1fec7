//! The WASI pause: the program of `pause/src/wasi.rs`, and its preview-2
//! sibling, which is assembled from text.

use crate::{cargo, link, packages, toolchain};
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A preview of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preview {
    /// A core module.
    P1,
    /// A component.
    P2,
}

impl Preview {
    /// Both previews.
    pub const ALL: [Self; 2] = [Self::P1, Self::P2];

    /// Its name in tags and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::P1 => "p1",
            Self::P2 => "p2",
        }
    }

    /// `os` of the CNCF artifact.
    pub fn os(self) -> &'static str {
        match self {
            Self::P1 => "wasip1",
            Self::P2 => "wasip2",
        }
    }

    /// How many bytes the program may have at most.
    pub fn budget(self) -> usize {
        match self {
            Self::P1 => 400,
            Self::P2 => 700,
        }
    }
}

/// A program that was built.
#[derive(Debug)]
pub struct Program {
    /// Its preview.
    pub preview: Preview,
    /// Its file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Builds both and writes them to `out`, as `wasi/pause-p1.wasm` and
/// `wasi/pause-p2.wasm`.
pub fn programs(out: &Path) -> Result<Vec<Program>> {
    let folder = out.join("wasi");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let mut programs = Vec::new();
    for preview in Preview::ALL {
        let bytes = match preview {
            Preview::P1 => module()?,
            Preview::P2 => component()?,
        };
        let path = folder.join(format!("pause-{}.wasm", preview.name()));
        std::fs::write(&path, &bytes).with_context(|| format!("write {}", path.display()))?;
        programs.push(Program {
            preview,
            path,
            bytes,
        });
    }
    Ok(programs)
}

fn module() -> Result<Vec<u8>> {
    if std::env::var_os("CI").is_some() {
        packages::ensure(&toolchain::DEBIAN)?;
    }
    let toolchain = toolchain::find(link::WASI_TRIPLE)?;
    eprintln!("building for WASI with {}", toolchain.name);
    let workspace = crate::workspace();
    let linker = link::linker("rustc".as_ref()).context("no rust-lld in the active toolchain")?;
    let target_dir = crate::build::target_dir(&workspace, &toolchain);
    let mut command = link::build_wasi(&toolchain.cargo, &workspace, &linker, &target_dir);
    command.env("RUSTC", &toolchain.rustc);
    if toolchain.build_core {
        command.arg("-Zbuild-std=core").env("RUSTC_BOOTSTRAP", "1");
    }
    let status = command.status();
    let status = status.with_context(|| format!("run {}", toolchain.cargo.display()))?;
    ensure!(status.success(), "build for WASI failed: cargo: {status}");
    let built = target_dir
        .join(link::WASI_TRIPLE)
        .join(link::PROFILE)
        .join(link::WASI_PROGRAM)
        .with_extension("wasm");
    std::fs::read(&built).with_context(|| format!("read {}", built.display()))
}

fn component() -> Result<Vec<u8>> {
    let text = crate::workspace().join("pause/src/wasi-p2.wat");
    let assembler = ["run", "--quiet", "--package", "xtask", "--bin", "assemble"];
    let output = cargo::command()
        .args(assembler)
        .args(["--features", "assemble", "--"])
        .arg(&text)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "assemble {}: {}",
        text.display(),
        output.status
    );
    Ok(output.stdout)
}
