//! Programs from the distribution that a task needs.

use anyhow::{Context as _, Result, bail, ensure};
use std::process::Command;

/// The one command that installs `packages`.
pub fn command(packages: &[&str]) -> String {
    format!("apt-get install {}", packages.join(" "))
}

/// Sees to it that every one of `packages` is installed.
///
/// As root under `CI` it installs what is missing. Elsewhere it is for the
/// user to decide, and the error names the command.
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
    apt_get(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&install[..], &missing].concat())
}

/// Is this package of Debian's installed?
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
