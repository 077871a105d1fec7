//! Finds the toolchain that can build for a target.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest compiler that these programs build with: naked functions and
/// assembly for every architecture of the table.
const OLDEST: (u32, u32) = (1, 95);

/// What the packages of Debian are called.
pub const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A cargo, its rustc, and whether the standard library comes as source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// What to tell the user.
    pub name: String,
    /// The programs.
    pub cargo: OsString,
    /// Handed to cargo as `RUSTC`.
    pub rustc: OsString,
    /// `core` is built first.
    pub build_core: bool,
}

/// The first toolchain, in this order, that can build for `triple`: the
/// active one, the distribution's; either with `core` compiled or as source.
pub fn find(triple: &str) -> Result<Toolchain> {
    let active = Candidate::active();
    let distribution = Candidate::distribution();
    let candidates = [Some(&active), distribution.as_ref()];
    for candidate in candidates.into_iter().flatten() {
        if candidate.has_core(triple) {
            return Ok(candidate.toolchain(false));
        }
    }
    for candidate in [distribution.as_ref(), Some(&active)].into_iter().flatten() {
        if candidate.has_source() {
            return Ok(candidate.toolchain(true));
        }
    }
    bail!(
        "no toolchain for {triple}\n  try: rustup target add {triple}\n  or, on Debian: {}",
        crate::packages::command(&DEBIAN),
    )
}

/// A toolchain that is there.
struct Candidate {
    name: &'static str,
    cargo: OsString,
    rustc: OsString,
    sysroot: PathBuf,
}

impl Candidate {
    /// The one that runs this task.
    fn active() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = OsString::from("rustc");
        let sysroot = printed(&rustc, &["--print", "sysroot"]).unwrap_or_default();
        Self {
            name: "the active toolchain",
            cargo,
            rustc,
            sysroot: sysroot.into(),
        }
    }

    /// The one from the distribution's packages, if it is new enough.
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
        let name = if build_core {
            format!("{}, building core", self.name)
        } else {
            self.name.to_owned()
        };
        Toolchain {
            name,
            cargo: self.cargo.clone(),
            rustc: self.rustc.clone(),
            build_core,
        }
    }
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

    #[rstest]
    #[case("rustc 1.95.0 (59807616e 2026-04-14)", Some((1, 95)))]
    #[case("rustc 2.0.0-nightly", Some((2, 0)))]
    #[case("rustc", None)]
    #[case("", None)]
    fn a_compiler_says_its_version(#[case] text: &str, #[case] expected: Option<(u32, u32)>) {
        assert_eq!(version(text), expected);
    }
}
