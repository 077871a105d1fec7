//! Cargo: running it, and its metadata of the project.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A cargo command in the root of the project.
pub fn command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::workspace());
    prepare(&mut command);
    command
}

/// Prepares a command below which cargo runs.
pub fn prepare(command: &mut Command) {
    forget_package(command);
    build_once(command);
}

/// Hides the package for which cargo runs this program: build scripts of others ask for these
/// variables, and run again, with all that stands on them, where cargo was started from a shell before.
fn forget_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_MANIFEST_", "CARGO_PKG_"];
        let bytes = name.as_encoded_bytes();
        if of_package.iter().any(|it| bytes.starts_with(it.as_bytes())) {
            command.env_remove(name);
        }
    }
}

/// Under `CI`, keeps cargo from noting what would make its next build quicker: there is none, and the
/// notes cost a quarter of the build.
fn build_once(command: &mut Command) {
    const INCREMENTAL: &str = "CARGO_INCREMENTAL";
    if std::env::var_os("CI").is_some() && std::env::var_os(INCREMENTAL).is_none() {
        command.env(INCREMENTAL, "0");
    }
}

/// Runs cargo with these arguments.
pub fn run(args: &[&str]) -> Result<()> {
    succeeds(command().args(args))
}

/// Runs this command of cargo.
pub fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().context("run cargo")?;
    let words = command.get_args().map(|word| word.to_string_lossy());
    let words: Vec<_> = words.collect();
    ensure!(status.success(), "cargo {}: {status}", words.join(" "));
    Ok(())
}

/// `cargo metadata`, of the project's own packages.
pub struct Metadata(Value);

impl Metadata {
    /// Runs `cargo metadata`.
    pub fn read() -> Result<Self> {
        let output = command()
            .args(["metadata", "--no-deps", "--format-version=1"])
            .output()
            .context("run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", output.status);
        Ok(Self(
            serde_json::from_slice(&output.stdout).context("read cargo metadata")?,
        ))
    }

    /// The names of the programs of `package` that are built with `feature`.
    pub fn programs(&self, package: &str, feature: &str) -> Vec<String> {
        let targets = self
            .package(package)
            .and_then(|package| package["targets"].as_array());
        targets
            .into_iter()
            .flatten()
            .filter(|target| {
                target["kind"]
                    .as_array()
                    .is_some_and(|k| k.contains(&"bin".into()))
            })
            .filter(|target| {
                target["required-features"]
                    .as_array()
                    .is_some_and(|features| features.contains(&feature.into()))
            })
            .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
            .collect()
    }

    /// Whether `package` has this feature.
    pub fn has_feature(&self, package: &str, feature: &str) -> bool {
        self.package(package)
            .is_some_and(|package| package["features"].get(feature).is_some())
    }

    /// The target directory.
    pub fn target_directory(&self) -> Result<PathBuf> {
        let folder = self.0["target_directory"].as_str();
        Ok(folder
            .context("cargo metadata names no target directory")?
            .into())
    }

    fn package(&self, name: &str) -> Option<&Value> {
        self.0["packages"]
            .as_array()?
            .iter()
            .find(|package| package["name"] == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else each task has ring, which is written in C, compiled again, and each crate of ours.
    #[test]
    fn cargo_is_run_as_from_a_shell() {
        let hidden = |name: &str| {
            let command = command();
            let mut all = command.get_envs();
            all.any(|(other, value)| other == name && value.is_none())
        };
        let own = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let of_package = own.filter(|name| name.starts_with("CARGO_PKG_"));
        for name in of_package.chain(["CARGO_MANIFEST_DIR".to_owned()]) {
            assert!(hidden(&name), "{name}");
        }
        assert!(!hidden("PATH") && !hidden("CARGO"));
    }
}
