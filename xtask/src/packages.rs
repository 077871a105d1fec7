//! The distribution's packages that a task needs.

use anyhow::{Context as _, Result, bail, ensure};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The command that installs `packages`.
pub fn command(packages: &[&str]) -> String {
    format!("apt-get install {}", packages.join(" "))
}

/// Ensures that all of `packages` are installed.
///
/// As root under `CI` it installs those that are missing. Elsewhere the user decides: the error
/// names the command.
pub fn ensure(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|name| !installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if std::env::var_os("CI").is_none() || !rustix::process::geteuid().is_root() {
        bail!(
            "not installed: {}\n  try: {}",
            missing.join(", "),
            command(&missing)
        );
    }
    eprintln!("installing {}", missing.join(", "));
    let _no_daemons = NoDaemons::set()?;
    apt_get(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&install[..], &missing].concat())
}

/// While this value lives, installing a package starts no daemon: the tests start their own (Debian's
/// `invoke-rc.d(8)`, "policy-rc.d").
struct NoDaemons {
    /// `None` where the machine has a policy of its own.
    file: Option<PathBuf>,
}

impl NoDaemons {
    fn set() -> Result<Self> {
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        let new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path);
        match new {
            Ok(mut file) => {
                let this = Self { file: Some(path) };
                file.write_all(b"#!/bin/sh\nexit 101\n")
                    .context("write a policy for daemons")?;
                Ok(this)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { file: None }),
            Err(error) => Err(error).with_context(|| format!("create {}", path.display())),
        }
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if let Some(path) = &self.file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Lets apt fetch packages of another architecture, which some tests need.
///
/// Like [`ensure`], it acts as root under `CI` only; elsewhere the tests name what is missing.
pub fn know(architecture: &str) -> Result<()> {
    if std::env::var_os("CI").is_none() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let output = Command::new("dpkg")
        .arg("--print-foreign-architectures")
        .output()
        .context("run dpkg")?;
    if String::from_utf8_lossy(&output.stdout)
        .lines()
        .any(|line| line == architecture)
    {
        return Ok(());
    }
    let status = Command::new("dpkg")
        .args(["--add-architecture", architecture])
        .status()
        .context("run dpkg")?;
    ensure!(status.success(), "dpkg --add-architecture: {status}");
    apt_get(&["update"])
}

/// Whether this package of Debian is installed.
fn installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    let output = Command::new("dpkg-query").args(query).output();
    output.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn apt_get(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args([
            "--quiet",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "Acquire::Retries=3",
        ])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr())
        .status()
        .context("run apt-get")?;
    ensure!(status.success(), "apt-get {}: {status}", args.join(" "));
    Ok(())
}
