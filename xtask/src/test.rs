//! `cargo xtask test`: everything the project promises about itself.

use crate::sizes::Sizes;
use crate::soak::Soak;
use crate::{build, cargo, link, packages, platform, python, tidy, toolchain};
use anyhow::{Context as _, Result, ensure};

/// What the tests run besides cargo, as Debian calls it.
const PACKAGES: [&str; 27] = [
    "busybox-static",
    "catatonit",
    "containerd",
    "containernetworking-plugins",
    "crun",
    "curl",
    "debian-archive-keyring",
    "docker-registry",
    "docker.io",
    "dumb-init",
    "gcc",
    "golang-github-containers-common",
    "golang-go",
    "libc6-dev",
    "mmdebstrap",
    "musl-tools",
    "nodejs",
    "openssl",
    "perl",
    "podman",
    "python3-venv",
    "qemu-user-static",
    "runc",
    "s6",
    "skopeo",
    "strace",
    "tini",
];

/// What they run that Debian does not have: an engine that runs a WASI pause, a compiler of Zig.
const PYTHON_PACKAGES: [&str; 2] = ["wasmtime==50.0.1", "ziglang==0.13.0"];

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Test {
    /// Also what takes hours: 100 kills of the suite, 200 idle and 100 loaded runs
    #[arg(long)]
    long: bool,
    /// Only the table of hosts, whole: containers by docker, podman and runc, each with what the
    /// suite is to say there
    #[arg(long)]
    hosts: bool,
    /// Have rustup add the targets that no toolchain here builds for
    #[arg(long)]
    add_targets: bool,
    /// Handed to `cargo test`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

impl Test {
    /// Runs every step; the first that fails is the last, but for the tests, which all run.
    pub fn run(self) -> Result<()> {
        let mut python = None;
        if std::env::var_os("CI").is_some() {
            let needed = [&PACKAGES[..], &["umoci"], &toolchain::DEBIAN].concat();
            packages::ensure(&needed)?;
            python = Some(python::Environment::with(&PYTHON_PACKAGES)?);
            packages::know("arm64")?;
        }
        if self.hosts {
            packages::ensure(&PACKAGES)?;
            return cargo::run(&HOSTS);
        }
        if self.add_targets {
            build::add_targets(&platform::ALL)?;
            toolchain::add_targets(&[link::WASI_TRIPLE])?;
        }
        // The emulator's tests cannot do without; other targets are tried where they can be.
        if self.args.is_empty() {
            toolchain::find("aarch64-unknown-linux-gnu")?;
        }
        tidy::run()?;
        cargo::run(&["fmt", "--all", "--check"])?;
        lint()?;
        let mut tests = cargo::command();
        tests.args(["test", "--workspace", "--no-fail-fast"]);
        tests.args(&self.args);
        if let Some(python) = &python {
            tests.env("PATH", python.path()?);
        }
        if self.long {
            tests.env("PAUSE_CONFORMANCE_KILLS", "100");
            tests.env("PAUSE_CONFORMANCE_FAULTS", "all");
            tests.env("PAUSE_CONFORMANCE_FOREIGN", "all");
            tests.env("PAUSE_CONFORMANCE_LIMITS", "all");
        }
        // Cargo names at its end each program of tests that failed.
        let status = tests.status().context("run cargo test")?;
        let mut failed = Vec::new();
        if !status.success() {
            failed.push(format!("cargo test: {status}"));
        }
        if self.args.is_empty()
            && let Err(error) = cargo::run(&COMPONENTS)
        {
            failed.push(format!("{error:#}"));
        }
        ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
        // Not in the short form: where one verdict of thousands is inconclusive, which an idle
        // soak counts, a change that is right would not land.
        if self.long {
            cargo::run(&HOSTS)?;
            let (idle, loaded) = (200, 100);
            return Soak { idle, loaded }.run();
        }
        Ok(())
    }
}

/// The rows that need a daemon are ignored in the short form.
const HOSTS: [&str; 7] = [
    "test",
    "--package",
    "conformance",
    "--test",
    "hosts",
    "--",
    "--include-ignored",
];

/// WASI components, for which the suite takes on a compiler that is minutes to build.
const COMPONENTS: [&str; 9] = [
    "test",
    "--package",
    "conformance",
    "--features",
    "wasmtime",
    "--lib",
    "--",
    "component",
    "each_guest",
];

/// `cargo xtask ci`.
pub fn ci() -> Result<()> {
    Test {
        long: false,
        hosts: false,
        add_targets: false,
        args: Vec::new(),
    }
    .run()?;
    Sizes { check: true }.run()
}

/// Clippy, on everything; then on the programs that only link as such.
fn lint() -> Result<()> {
    let strict = ["--", "--deny", "warnings"];
    let workspace = ["clippy", "--workspace", "--all-targets"];
    cargo::run(&[&workspace[..], &strict].concat())?;
    // As a first `cargo xtask conformance` builds it.
    let small = [
        "clippy",
        "--package",
        "conformance",
        "--bins",
        "--no-default-features",
    ];
    cargo::run(&[&small[..], &strict].concat())?;
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
