//! Python packages that a task needs and the distribution does not have.

use anyhow::{Context as _, Result, ensure};
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A virtual environment; dropping it removes it.
pub struct Environment(TempDir);

impl Environment {
    /// Makes one with the distribution's interpreter, and has pip install `packages` in it.
    ///
    /// # Errors
    /// If the interpreter or pip fails.
    pub fn with(packages: &[&str]) -> Result<Self> {
        // Not below the project: the users as which some tests run may have no access there.
        let folder = TempDir::with_prefix("python-").context("make a temporary folder")?;
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
            .context("open a temporary folder to all")?;
        let this = Self(folder);
        eprintln!("installing {}", packages.join(" "));
        // Not the interpreter of PATH, which other users may not be able to execute.
        let mut make = Command::new("/usr/bin/python3");
        run(make.args(["-m", "venv"]).arg(this.0.path()))?;
        let mut install = Command::new(this.programs().join("pip"));
        run(install
            .args(["--quiet", "--disable-pip-version-check", "install"])
            .args(packages))?;
        Ok(this)
    }

    /// The folder of its programs.
    fn programs(&self) -> PathBuf {
        self.0.path().join("bin")
    }

    /// PATH, with its programs first.
    ///
    /// # Errors
    /// If a folder has a name that PATH cannot hold.
    pub fn path(&self) -> Result<OsString> {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.programs()).chain(std::env::split_paths(&before));
        std::env::join_paths(folders).context("join PATH")
    }
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let command = command.stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("run {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
