//! `cargo xtask requirements`: the page of requirements, made from the registry of checks.

use crate::cargo::{self, Metadata};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of `requirements`.
#[derive(Debug, clap::Args)]
pub struct Requirements {
    /// Change nothing; fail if the page is not up to date
    #[arg(long)]
    check: bool,
}

/// The page.
pub fn page() -> PathBuf {
    crate::workspace().join("conformance/docs/REQUIREMENTS.md")
}

impl Requirements {
    /// Builds the suite, and writes the page from its list of checks.
    pub fn run(&self) -> Result<()> {
        cargo::run(&[
            "build",
            "--package",
            "pause-conformance",
            "--bin",
            "pause-conformance",
            "--no-default-features",
        ])?;
        let program = Metadata::read()?.target_directory()?;
        let program = program.join("debug/pause-conformance");
        let output = Command::new(&program)
            .args(["list", "--format", "markdown"])
            .output()
            .with_context(|| format!("run {}", program.display()))?;
        ensure!(output.status.success(), "list of checks: {}", output.status);
        let text = String::from_utf8(output.stdout).context("read the list")?;
        keep(&page(), &text, self.check)
    }
}

/// Writes the page, or only checks that it is up to date.
fn keep(page: &Path, text: &str, check: bool) -> Result<()> {
    if !check {
        return std::fs::write(page, text).with_context(|| format!("write {}", page.display()));
    }
    let old = std::fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
    if old != text {
        let changed = old
            .lines()
            .zip(text.lines())
            .position(|(old, new)| old != new);
        let line = 1 + changed.unwrap_or(old.lines().count().min(text.lines().count()));
        bail!(
            "{}:{line} is not up to date\n  try: cargo xtask requirements",
            page.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("one\ntwo\n", "one\n2\n", 2)]
    #[case("one\ntwo\n", "one\n", 2)]
    #[case("one\n", "one\ntwo\n", 2)]
    #[case("", "one\n", 1)]
    fn a_page_that_is_not_up_to_date_is_named_with_the_line(
        #[case] old: &str,
        #[case] new: &str,
        #[case] line: usize,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let page = folder.path().join("PAGE.md");
        std::fs::write(&page, old).expect("written");
        let error = keep(&page, new, true).expect_err("they differ").to_string();
        let place = format!("PAGE.md:{line} is not up to date");
        assert!(error.contains(&place), "{error}");
        assert_eq!(std::fs::read_to_string(&page).expect("it is there"), old);
        keep(&page, new, false).expect("it can be written");
        keep(&page, new, true).expect("it is up to date");
    }

    #[test]
    fn a_page_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = keep(&folder.path().join("PAGE.md"), "", true);
        assert!(
            error
                .expect_err("there is none")
                .to_string()
                .starts_with("read ")
        );
    }
}
