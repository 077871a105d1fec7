//! Finds the toolchain that can build for a target.

use anyhow::{Context as _, Result, bail};
use std::ffi::{OsStr, OsString};
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
/// active one, the distribution's; either with `core` compiled or as source;
/// the active one with what rustup adds to it.
pub fn find(triple: &str) -> Result<Toolchain> {
    let distribution = Candidate::distribution();
    choose(triple, &Candidate::active(), distribution.as_ref(), || {
        add("rustup".as_ref(), triple)
    })
}

fn choose(
    triple: &str,
    active: &Candidate,
    distribution: Option<&Candidate>,
    add: impl FnOnce() -> bool,
) -> Result<Toolchain> {
    for candidate in [Some(active), distribution].into_iter().flatten() {
        if candidate.has_core(triple) {
            return Ok(candidate.toolchain(false));
        }
    }
    for candidate in [distribution, Some(active)].into_iter().flatten() {
        if candidate.has_source() {
            return Ok(candidate.toolchain(true));
        }
    }
    if add() && active.has_core(triple) {
        return Ok(active.toolchain(false));
    }
    bail!(
        "no toolchain for {triple}\n  try: rustup target add {triple}\n  or, on Debian: {}",
        crate::packages::command(&DEBIAN),
    )
}

/// Has rustup add the target to the active toolchain, and says so: it is the user's, and is
/// brought over the network. `false` where that is not to be had.
fn add(rustup: &OsStr, triple: &str) -> bool {
    let mut command = Command::new(rustup);
    command.args(["target", "add", triple]);
    if !Command::new(rustup)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return false;
    }
    eprintln!("no toolchain for {triple}: rustup target add {triple}");
    command.status().is_ok_and(|status| status.success())
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
        }
    }

    const CORE: &str = "s390x-unknown-linux-gnu/lib/libcore-0.rlib";
    const SOURCE: &str = "src/rust/library/core/Cargo.toml";

    #[rstest]
    #[case::compiled(&[CORE, SOURCE], &[CORE, SOURCE], Some(("active", false)))]
    #[case::compiled_elsewhere(&[SOURCE], &[CORE], Some(("distribution", false)))]
    #[case::source(&[SOURCE], &[SOURCE], Some(("distribution", true)))]
    #[case::own_source(&[SOURCE], &[], Some(("active", true)))]
    #[case::for_another(&["armv7-unknown-linux-gnueabihf/lib/libcore-0.rlib"], &[], None)]
    fn what_is_there_is_taken_before_what_must_be_fetched(
        #[case] active: &[&str],
        #[case] distribution: &[&str],
        #[case] expected: Option<(&str, bool)>,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let active = candidate("active", &folder.path().join("1"), active);
        let distribution = candidate("distribution", &folder.path().join("2"), distribution);
        let mut asked = false;
        let chosen = choose(TRIPLE, &active, Some(&distribution), || {
            asked = true;
            false
        });
        assert_eq!(asked, expected.is_none());
        match (chosen, expected) {
            (Ok(chosen), Some((name, build_core))) => {
                assert!(chosen.name.starts_with(name), "{}", chosen.name);
                assert_eq!(chosen.build_core, build_core);
            }
            (Err(error), None) => {
                let error = error.to_string();
                assert!(error.contains("rustup target add s390x"), "{error}");
                assert!(error.contains("apt-get"), "{error}");
            }
            (chosen, expected) => panic!("{chosen:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_rustup_adds_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let active = candidate("active", folder.path(), &[]);
        let chosen = choose(TRIPLE, &active, None, || {
            candidate("the same", folder.path(), &[CORE]);
            true
        });
        assert_eq!(chosen.expect("a toolchain").name, "active");
        let nothing_added = choose(
            TRIPLE.replace("s390x", "vax").as_str(),
            &active,
            None,
            || true,
        );
        assert!(nothing_added.is_err());
        assert!(!add("no-such-rustup".as_ref(), TRIPLE));
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
