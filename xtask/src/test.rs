//! `cargo xtask test`: everything the project promises about itself.

use crate::sizes::Sizes;
use crate::{cargo, link, packages, tidy, toolchain};
use anyhow::Result;

/// What the tests run besides cargo, as Debian calls it.
const PACKAGES: [&str; 11] = [
    "busybox-static",
    "catatonit",
    "crun",
    "curl",
    "docker-registry",
    "dumb-init",
    "qemu-user-static",
    "runc",
    "skopeo",
    "strace",
    "tini",
];

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Handed to `cargo test`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

impl Test {
    /// Runs every step, and stops at the first that fails.
    pub fn run(self) -> Result<()> {
        if std::env::var_os("CI").is_some() {
            let needed = [&PACKAGES[..], &["umoci"], &toolchain::DEBIAN].concat();
            packages::ensure(&needed)?;
        }
        tidy::run()?;
        cargo::run(&["fmt", "--all", "--check"])?;
        lint()?;
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        cargo::run(&[&["test", "--workspace"][..], &args].concat())
    }
}

/// `cargo xtask ci`.
pub fn ci() -> Result<()> {
    Test { args: Vec::new() }.run()?;
    Sizes { check: true }.run()
}

/// Clippy, on everything; then on the programs that only link as such.
fn lint() -> Result<()> {
    let strict = ["--", "--deny", "warnings"];
    let workspace = ["clippy", "--workspace", "--all-targets"];
    cargo::run(&[&workspace[..], &strict].concat())?;
    let features = format!("pause/{0},fixtures/{0}", link::FEATURE);
    let programs = [
        "clippy",
        "--package",
        "pause",
        "--package",
        "fixtures",
        "--bins",
    ];
    let how = ["--profile", link::PROFILE, "--features", &features];
    cargo::run(&[&programs[..], &how, &strict].concat())
}
