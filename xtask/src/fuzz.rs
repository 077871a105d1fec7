//! `cargo xtask fuzz`: runs the fuzz targets of the suite under libFuzzer, one after another.
//!
//! The fuzzer writes new inputs to `target/fuzz-corpus`; it does not change the committed corpora.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// The folder of the fuzz targets, from the root of the project.
const CRATE: &str = "conformance/fuzz";

/// Arguments of `fuzz`.
#[derive(Debug, clap::Args)]
pub struct Fuzz {
    /// Targets to run [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Also ends each target after this many executions
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
}

impl Fuzz {
    /// Builds the targets, and runs them until one fails.
    pub fn run(self) -> Result<()> {
        let root = crate::workspace();
        let known = known(&root.join(CRATE).join("fuzz_targets"))?;
        let wanted = chosen(&self.targets, &known)?;
        ensure_fuzzer()?;
        for target in wanted {
            let learnt = root.join("target/fuzz-corpus").join(target);
            std::fs::create_dir_all(&learnt)
                .with_context(|| format!("make {}", learnt.display()))?;
            let seeds = root.join(CRATE).join("corpus").join(target);
            let mut fuzzer = fuzzer();
            fuzzer.args(["run", "--fuzz-dir", CRATE, "--target-dir", "target/fuzz"]);
            // The suite's parsers are safe code: a sanitizer would only slow them down.
            fuzzer.args(["--sanitizer", "none", target]);
            fuzzer.args([&learnt, &seeds]).arg("--").args([
                "-timeout=20",
                "-rss_limit_mb=1024",
                "-print_final_stats=1",
            ]);
            fuzzer.arg(format!("-max_len={}", longest(target)));
            fuzzer.arg(format!("-max_total_time={}", self.seconds));
            fuzzer.args(self.runs.map(|runs| format!("-runs={runs}")));
            let status = fuzzer.status().context("run cargo fuzz")?;
            ensure!(status.success(), "target {target}: {status}");
        }
        Ok(())
    }
}

/// Longest input of a target, in bytes. A byte costs more time in some than in others.
fn longest(target: &str) -> u32 {
    match target {
        "expect" | "reference" => 256,
        "fold" | "report" => 512,
        _ => 8192,
    }
}

/// The names of the source files in a folder, without their extension.
fn known(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("list {}", folder.display()))?;
    let mut names = BTreeSet::new();
    for entry in entries {
        let path = entry.context("list a folder")?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    Ok(names)
}

/// The targets that the user named, or all.
fn chosen<'a>(asked: &'a [String], known: &'a BTreeSet<String>) -> Result<Vec<&'a str>> {
    if let Some(wrong) = asked.iter().find(|name| !known.contains(*name)) {
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        bail!("no fuzz target {wrong}\n  targets: {}", names.join(", "));
    }
    let all = if asked.is_empty() {
        known.iter().collect()
    } else {
        asked.iter().collect::<Vec<_>>()
    };
    Ok(all.into_iter().map(String::as_str).collect())
}

/// `cargo fuzz` of the nightly toolchain, which alone can count branches.
fn fuzzer() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]);
    command.current_dir(crate::workspace());
    command
}

fn ensure_fuzzer() -> Result<()> {
    let mut probe = fuzzer();
    let probe = probe
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    ensure!(
        probe.status().is_ok_and(|status| status.success()),
        "no cargo fuzz of a nightly toolchain\n  try: rustup toolchain install nightly; cargo install --locked cargo-fuzz"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_there_is_named_beside_those_that_are() {
        let known = BTreeSet::from(["elf".to_owned(), "wasm".to_owned()]);
        let error = chosen(&["elfs".to_owned()], &known).expect_err("no such target");
        let error = error.to_string();
        assert!(
            error.contains("elfs") && error.contains("elf, wasm"),
            "{error}"
        );
        assert_eq!(chosen(&[], &known).expect("all"), ["elf", "wasm"]);
    }
}
