//! `cargo xtask tidy`: checks the project's rules that no compiler checks.

use crate::excerpts::Excerpts;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

/// Hosts of package registries. Each machine is configured with its own sources of packages, so the
/// project names none.
const HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("rust-lang", ".org"),
    concat!("debian", ".org"),
    concat!("ubuntu", ".com"),
    concat!("pypi", ".org"),
    concat!("npmjs", ".org"),
];

/// The allowed entries of the root folder, besides names that begin with a dot.
const TOP: [&str; 8] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "conformance",
    "fixtures",
    "pause",
    "xtask",
];

/// Checks every file that git tracks; an error lists the faults.
pub fn run() -> Result<()> {
    let root = crate::workspace();
    let mut complaints = Vec::new();
    let license = read(&root.join("LICENSE"))?;
    if !license.contains("Apache License") || !license.contains("Version 2.0") {
        complaints.push("LICENSE: not the Apache License 2.0".to_owned());
    }
    for name in files(&root)? {
        let Ok(text) = std::fs::read_to_string(root.join(&name)) else {
            continue;
        };
        complaints.extend(
            judge(&name, &text, &root)
                .into_iter()
                .chain(crate::arrows::judge(&name, &text))
                .chain(crate::lengths::judge(&name, &text))
                .map(|what| format!("{name}: {what}")),
        );
    }
    if let Err(error) = (Excerpts { check: true }).run() {
        complaints.push(format!("{error:#}"));
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        bail!("untidy\n  {}", complaints.join("\n  "))
    }
}

/// The files that git tracks, or would: a fault is found before the file is added, as after it.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    let output = git
        .current_dir(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .context("run git")?;
    ensure!(output.status.success(), "git ls-files: {}", output.status);
    let names = String::from_utf8(output.stdout).context("a file's name is not Unicode")?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// The faults of the file `name`.
fn judge(name: &str, text: &str, root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    let top = name.split('/').next().unwrap_or_default();
    if !top.starts_with('.') && !TOP.contains(&top) {
        complaints.push(format!("{top} has no place in the root folder"));
    }
    if Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "rs")
        && !text.starts_with("//!")
    {
        complaints.push("does not begin with a module comment (//!)".to_owned());
    }
    if name.ends_with("/Cargo.toml") && !text.contains("license.workspace = true") {
        complaints.push("has no licence".to_owned());
    }
    if name != "Cargo.lock" {
        let named = HOSTS.iter().filter(|host| names_host(text, host));
        complaints.extend(named.map(|host| format!("names the package host {host}")));
    }
    if Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "md")
    {
        let folder = root.join(name);
        let folder = folder.parent().unwrap_or(root);
        let dead = links(text).filter(|link| !folder.join(link).exists());
        complaints.extend(dead.map(|link| format!("links to {link}, which does not exist")));
    }
    // Every path contains a root folder as short as `/`.
    let home = std::env::var("HOME").unwrap_or_default();
    for folder in [root.to_string_lossy().into_owned(), home] {
        if folder.len() > 1 && text.contains(&format!("{folder}/")) {
            complaints.push(format!("names a folder of this machine, {folder}"));
        }
    }
    complaints
}

/// The files that a Markdown text links to, without their `#fragments`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"))
}

/// Whether a text names `host` in a URL; the word alone is allowed.
fn names_host(text: &str, host: &str) -> bool {
    text.match_indices(host).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let start = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-');
        start.is_some_and(|start| before.get(..=start).unwrap_or_default().ends_with("://"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("xtask/a.rs", "fn a() {}", "begin")]
    #[case("xtask/Cargo.toml", "[package]", "licence")]
    #[case("notes.md", "one", "root folder")]
    #[case("README.md", concat!("see https", "://static.", "crates", ".io/x"), "package host")]
    #[case("README.md", "run /srv/project/x", "folder")]
    #[case(
        "a/B.md",
        "see [it](../C.md#place) and [that](https://example.org)",
        "../C.md"
    )]
    fn what_is_untidy_is_named(#[case] name: &str, #[case] text: &str, #[case] expected: &str) {
        let complaints = judge(name, text, Path::new("/srv/project"));
        assert!(
            complaints.iter().any(|what| what.contains(expected)),
            "{complaints:?}"
        );
    }

    #[rstest]
    #[case("xtask/a.rs", "//! Owns a.\n")]
    #[case(".github/x.md", "one")]
    #[case("README.md", "pull registry.k8s.io/pause")]
    #[case("README.md", "see [it](https://example.org/x) and [below](#below)")]
    fn a_tidy_file_has_no_fault(#[case] name: &str, #[case] text: &str) {
        assert_eq!(
            judge(name, text, Path::new("/srv/project")),
            [] as [String; 0]
        );
    }
}
