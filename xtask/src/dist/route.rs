//! Finds what builds a static program of the suite for a platform: a compiled standard library and
//! a C library.
//!
//! The distribution's glibc first, with which the suite is tested: its archive has all that the suite
//! calls, name resolution by files and DNS among it. Else musl, whose target brings its own C library.

use crate::platform::{self, Platform};
use crate::toolchain::{self, Toolchain};
use crate::{link, packages};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// The C compiler of this machine, which links its programs too.
pub const NATIVE: &str = "cc";

/// The target, and the tools that build for it.
#[derive(Debug)]
pub struct Route {
    /// The platform of the program.
    pub platform: Platform,
    /// The target's triple.
    pub triple: String,
    /// The C library that becomes part of the program, for people.
    pub library: String,
    /// Cargo and rustc.
    pub toolchain: Toolchain,
    /// The program that links, and its flavor where it is no C compiler.
    pub linker: (OsString, Option<&'static str>),
    /// The C compiler: one dependency, which computes for TLS, has C in it.
    pub compiler: &'static str,
}

impl Route {
    /// How the program is built, for people.
    pub fn name(&self) -> String {
        format!("with {} by {}", self.library, self.toolchain.name)
    }
}

/// The musl target of a platform.
pub fn musl(platform: &Platform) -> String {
    platform.triple.replace("-gnu", "-musl")
}

/// The first way that is there.
///
/// # Errors
/// There is none; the hint names what to install. As root under `CI`, it is installed.
pub fn find(platform: Platform) -> Result<Route> {
    let tools = Tools::of(platform)?;
    if std::env::var_os("CI").is_some() {
        packages::ensure(&tools.packages)?;
    }
    let has_library = has_static_library(tools.compiler);
    if let Some(toolchain) = compiled(platform.triple)
        && has_library
    {
        return Ok(Route {
            platform,
            triple: platform.triple.to_owned(),
            library: "glibc".to_owned(),
            toolchain,
            linker: (tools.compiler.into(), None),
            compiler: tools.compiler,
        });
    }
    let triple = musl(&platform);
    if let Some(toolchain) = compiled(&triple)
        && runs(tools.compiler)
    {
        let lld = link::linker("rustc".as_ref()).context("no rust-lld in the active toolchain")?;
        return Ok(Route {
            platform,
            triple,
            library: "musl".to_owned(),
            toolchain,
            linker: (lld.into(), Some("ld.lld")),
            compiler: tools.compiler,
        });
    }
    if has_library {
        bail!(
            "no toolchain has the standard library for {} or {triple}\n  try: --add-targets, which has rustup add it: cargo xtask dist --add-targets",
            platform.triple
        );
    }
    bail!(
        "no static C library\n  try: {}",
        packages::command(&tools.packages)
    )
}

/// The C compiler for a platform, and Debian's packages of it and of its C library.
struct Tools {
    compiler: &'static str,
    packages: [&'static str; 2],
}

impl Tools {
    fn of(platform: Platform) -> Result<Self> {
        let native = platform::host()? == platform;
        let (compiler, packages) = match platform.name {
            _ if native => (NATIVE, ["gcc", "libc6-dev"]),
            "amd64" => (
                "x86_64-linux-gnu-gcc",
                ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            ),
            "arm64" => (
                "aarch64-linux-gnu-gcc",
                ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            ),
            other => bail!("the suite is not packed for {other}"),
        };
        Ok(Self { compiler, packages })
    }
}

/// The toolchain that has the whole standard library of a target.
fn compiled(triple: &str) -> Option<Toolchain> {
    let mut all = toolchain::all(triple).into_iter();
    all.find(|toolchain| !toolchain.build_core)
}

fn runs(compiler: &str) -> bool {
    let output = Command::new(compiler).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether this compiler finds `libc.a`: it prints the whole path, or else the bare name.
fn has_static_library(compiler: &str) -> bool {
    let output = Command::new(compiler)
        .arg("-print-file-name=libc.a")
        .output();
    output.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout);
        let path = Path::new(path.trim_end());
        path.is_absolute() && path.exists()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_musl_target_is_named_as_rustc_names_it() {
        let triples: Vec<String> = crate::dist::packed().iter().map(musl).collect();
        let expected = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
        assert_eq!(triples, expected);
    }

    #[test]
    fn every_packed_platform_has_tools_and_no_other_has() {
        for platform in crate::dist::packed() {
            let tools = Tools::of(platform).expect("it is packed");
            assert!(packages::command(&tools.packages).contains("libc6-dev"));
        }
        let other = platform::parse("s390x").expect("a platform");
        if platform::host().expect("a platform") != other {
            assert!(Tools::of(other).is_err());
        }
    }

    /// gcc prints the bare name of a file that it does not find.
    #[test]
    fn a_library_is_there_only_where_the_compiler_says_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("libc.a");
        let compiler = |name: &str, prints: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho {prints}\n")).expect("writing");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("it is ours");
            path.display().to_string()
        };
        let lacks = compiler("lacks", "libc.a");
        let says = compiler("says", &library.display().to_string());
        assert!(!has_static_library(&lacks));
        assert!(!has_static_library(&says), "the file is not there");
        std::fs::write(&library, "").expect("writing");
        assert!(has_static_library(&says));
        assert!(!has_static_library("no-such-compiler"));
        assert!(!runs("no-such-compiler"));
        assert!(runs(&says));
    }
}
