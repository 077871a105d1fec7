//! Finds the toolchain that can build for a target.

use anyhow::{Context as _, Result, ensure};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest compiler that builds these programs: they need naked functions, and assembly for
/// every architecture of the table.
const OLDEST: (u32, u32) = (1, 95);

/// The packages of Debian with a toolchain.
pub const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A cargo, its rustc, and whether `core` must be compiled from source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Its name in messages.
    pub name: String,
    /// The program cargo.
    pub cargo: OsString,
    /// The program rustc, which cargo gets as `RUSTC`.
    pub rustc: OsString,
    /// Whether `core` is compiled first.
    pub build_core: bool,
    /// The compiler's release. One release builds the same bytes with `core` compiled or installed.
    pub release: String,
}

/// The first toolchain of [`all`]. No target is added to any toolchain.
pub fn find(triple: &str) -> Result<Toolchain> {
    let distribution = Candidate::distribution();
    let mut routes = routes(triple, &Candidate::active(), distribution.as_ref());
    ensure!(!routes.is_empty(), none(triple));
    Ok(routes.swap_remove(0))
}

fn none(triple: &str) -> String {
    format!(
        "no toolchain for {triple}\n  try: --add-targets, which has rustup add it: cargo xtask build --add-targets\n  or, on Debian: {}",
        crate::packages::command(&DEBIAN),
    )
}

/// All toolchains that can build for `triple`, the preferred one first: the active one and the
/// distribution's with `core` installed, then both in reverse with `core` as source.
pub fn all(triple: &str) -> Vec<Toolchain> {
    let distribution = Candidate::distribution();
    routes(triple, &Candidate::active(), distribution.as_ref())
}

fn routes(triple: &str, active: &Candidate, distribution: Option<&Candidate>) -> Vec<Toolchain> {
    let compiled = [Some(active), distribution]
        .into_iter()
        .flatten()
        .filter(|candidate| candidate.has_core(triple))
        .map(|candidate| candidate.toolchain(false));
    let source = [distribution, Some(active)]
        .into_iter()
        .flatten()
        .filter(|candidate| candidate.has_source())
        .map(|candidate| candidate.toolchain(true));
    compiled.chain(source).collect()
}

/// Has rustup add to the active toolchain those of these targets that no toolchain builds for. It
/// downloads them, so this is done only if the user asks for it.
pub fn add_targets(triples: &[&str]) -> Result<()> {
    add("rustup".as_ref(), triples, |triple| all(triple).is_empty())
}

fn add(rustup: &OsStr, triples: &[&str], lacks: impl Fn(&str) -> bool) -> Result<()> {
    for triple in triples.iter().copied().filter(|triple| lacks(triple)) {
        eprintln!("rustup target add {triple}");
        let mut command = Command::new(rustup);
        let status = command.args(["target", "add", triple]).status();
        let status = status.with_context(|| format!("run {}", rustup.display()))?;
        // Some releases lack some targets: the build reports those that it needs.
        if !status.success() {
            eprintln!("not added: {triple}: rustup: {status}");
        }
    }
    Ok(())
}

/// An installed toolchain.
struct Candidate {
    name: &'static str,
    cargo: OsString,
    rustc: OsString,
    sysroot: PathBuf,
    release: String,
}

impl Candidate {
    /// The toolchain that runs this task.
    fn active() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = OsString::from("rustc");
        let sysroot = printed(&rustc, &["--print", "sysroot"]).unwrap_or_default();
        Self {
            name: "the active toolchain",
            cargo,
            release: release(&rustc),
            rustc,
            sysroot: sysroot.into(),
        }
    }

    /// The toolchain of the distribution's packages, if it is new enough.
    fn distribution() -> Option<Self> {
        let rustc = OsString::from("/usr/bin/rustc");
        let cargo = OsString::from("/usr/bin/cargo");
        if !Path::new(&cargo).exists() || version(&printed(&rustc, &["-V"]).ok()?)? < OLDEST {
            return None;
        }
        let sysroot = printed(&rustc, &["--print", "sysroot"]).ok()?.into();
        Some(Self {
            name: "the distribution's toolchain",
            cargo,
            release: release(&rustc),
            rustc,
            sysroot,
        })
    }

    fn has_core(&self, triple: &str) -> bool {
        let libraries = self.sysroot.join("lib/rustlib").join(triple).join("lib");
        std::fs::read_dir(libraries).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    entry
                        .file_name()
                        .as_encoded_bytes()
                        .starts_with(b"libcore-")
                })
            })
        })
    }

    fn has_source(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/core/Cargo.toml")
            .exists()
    }

    fn toolchain(&self, build_core: bool) -> Toolchain {
        let building = if build_core { ", building core" } else { "" };
        let name = format!("{}, rustc {}{building}", self.name, self.release);
        Toolchain {
            name,
            cargo: self.cargo.clone(),
            rustc: self.rustc.clone(),
            build_core,
            release: self.release.clone(),
        }
    }
}

/// The number in `rustc 1.95.0 (…)`.
fn release(rustc: &OsString) -> String {
    let text = printed(rustc, &["-V"]).unwrap_or_default();
    text.split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

/// The version in `rustc 1.95.0 (…)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn printed(program: &OsString, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("run {}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const TRIPLE: &str = "s390x-unknown-linux-gnu";

    /// A toolchain in which these files are.
    fn candidate(name: &'static str, sysroot: &Path, files: &[&str]) -> Candidate {
        for file in files {
            let path = sysroot.join("lib/rustlib").join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
            std::fs::write(path, "").expect("writing");
        }
        Candidate {
            name,
            cargo: "cargo".into(),
            rustc: "rustc".into(),
            sysroot: sysroot.to_owned(),
            release: "1.95.0".to_owned(),
        }
    }

    const CORE: &str = "s390x-unknown-linux-gnu/lib/libcore-0.rlib";
    const SOURCE: &str = "src/rust/library/core/Cargo.toml";

    #[rstest]
    #[case::compiled(&[CORE, SOURCE], &[CORE, SOURCE], &[("active", false), ("distribution", false), ("distribution", true), ("active", true)])]
    #[case::compiled_elsewhere(&[SOURCE], &[CORE], &[("distribution", false), ("active", true)])]
    #[case::source(&[SOURCE], &[SOURCE], &[("distribution", true), ("active", true)])]
    #[case::own_source(&[SOURCE], &[], &[("active", true)])]
    #[case::for_another(&["armv7-unknown-linux-gnueabihf/lib/libcore-0.rlib"], &[], &[])]
    fn each_route_that_is_there_is_known_compiled_ones_first(
        #[case] active: &[&str],
        #[case] distribution: &[&str],
        #[case] expected: &[(&str, bool)],
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let active = candidate("active", &folder.path().join("1"), active);
        let distribution = candidate("distribution", &folder.path().join("2"), distribution);
        let found = routes(TRIPLE, &active, Some(&distribution));
        let found: Vec<_> = found
            .iter()
            .map(|route| {
                (
                    route.name.split(',').next().unwrap_or_default(),
                    route.build_core,
                )
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_nothing_builds_for_is_said_with_both_ways_out() {
        let error = none(TRIPLE);
        for words in [TRIPLE, "--add-targets", "apt-get"] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn targets_that_are_there_are_not_added() {
        let nothing = add("no-such-rustup".as_ref(), &[TRIPLE], |_| false);
        assert!(nothing.is_ok());
        let failed = add("no-such-rustup".as_ref(), &[TRIPLE], |_| true);
        assert!(
            failed
                .expect_err("no rustup")
                .to_string()
                .contains("no-such-rustup")
        );
    }

    #[rstest]
    #[case("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95)))]
    #[case("rustc 2.0.0-nightly", Some((2, 0)))]
    #[case("rustc", None)]
    #[case("", None)]
    fn a_compiler_says_its_version(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(version(text), expected);
    }
}
