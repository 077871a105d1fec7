//! `cargo xtask conformance`: builds the suite and the image to judge, and executes the suite.

mod component;

use crate::cargo::{self, Metadata};
use crate::platform::{self, Platform};
use crate::{build, image, link};
use anyhow::{Context as _, Result, anyhow};
use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "pause-conformance";
const PROGRAM: &str = "pause-conformance";
/// What the task that builds the suite holds locked, in the target directory.
const TURN: &str = ".suite-lock";

/// Arguments of `conformance`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Conformance {
    /// Arguments of `pause-conformance`; without an image, the reference is
    /// built and judged
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

/// Arguments of `self-test`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct SelfTest {
    /// Arguments of `pause-conformance self-test`, such as --check ID and --fixture NAME
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

impl SelfTest {
    /// Becomes the suite; comes back only when that fails.
    pub fn run(self) -> Result<std::convert::Infallible> {
        Conformance::of("self-test", self.args).run()
    }
}

impl Conformance {
    /// With a task of the suite's before its arguments.
    pub(crate) fn of(task: &str, args: Vec<String>) -> Self {
        let task = [task.to_owned()];
        Self {
            args: task.into_iter().chain(args).collect(),
        }
    }

    /// Becomes the suite; comes back only when that fails.
    pub fn run(self) -> Result<std::convert::Infallible> {
        let Self { mut args } = self;
        let metadata = Metadata::read()?;
        if wants_reference(&args) {
            let out = metadata.target_directory()?.join("reference");
            let written = image::write(&platforms(&args)?, &out)?;
            // A relative path where possible: the report repeats it.
            let here = std::env::current_dir().unwrap_or_default();
            let layout = written.layout.strip_prefix(here).unwrap_or(&written.layout);
            let reference = format!("oci:{}", layout.display());
            args.splice(0..0, ["--image".to_owned(), reference]);
        }

        let features: Vec<&str> = features(&args)
            .into_iter()
            .filter(|feature| metadata.has_feature(PACKAGE, feature))
            .collect();
        let features = features.join(",");
        let target = metadata.target_directory()?;
        let programs = target.join("programs");
        build_foreign(&args, &programs);
        // Until it is executed: another task builds it in the same place, with other features. Where
        // the file system has no locks it goes on without, as cargo does.
        let _turn = take_turn(&target).ok();
        cargo::run(&[
            "build",
            "--package",
            PACKAGE,
            "--bin",
            PROGRAM,
            "--no-default-features",
            "--features",
            &features,
        ])?;
        let program = target.join("debug").join(PROGRAM);
        let error = Command::new(&program)
            .args(args)
            .env("PAUSE_CONFORMANCE_PROGRAMS", &programs)
            .env("PAUSE_CONFORMANCE_COMMAND", "cargo xtask conformance")
            .exec();
        Err(error).with_context(|| format!("run {}", program.display()))
    }
}

/// Waits until no other task builds the suite in this target directory, and keeps others from it until
/// the file is closed, at the latest by exec.
fn take_turn(target: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(target)?;
    let file = File::create(target.join(TURN))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("another task builds the suite: waiting for it");
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Builds the suite as `cargo xtask conformance` does for the reference. Returns its file.
pub fn suite() -> Result<PathBuf> {
    cargo::run(&["build", "--quiet", "--package", PACKAGE, "--bin", PROGRAM])?;
    let target = Metadata::read()?.target_directory()?;
    Ok(target.join("debug").join(PROGRAM))
}

/// Builds the programs with which the suite tries an emulator, for each platform that is judged
/// under one. Without them the suite reports which checks it cannot judge.
fn build_foreign(args: &[String], out: &Path) {
    let foreign = || -> Result<()> {
        let host = platform::host()?;
        let targets: Vec<Platform> = platforms(args)?
            .into_iter()
            .filter(|it| *it != host)
            .collect();
        if !targets.is_empty() {
            build::programs(&targets, &[link::PAUSE, link::FIXTURES], out)?;
        }
        Ok(())
    };
    if let Err(error) = foreign() {
        eprintln!("cannot build the programs that try an emulator: {error:#}");
    }
}

/// Whether the arguments are those of a run that names no image.
fn wants_reference(args: &[String]) -> bool {
    let is_run = args.first().is_none_or(|first| first.starts_with('-'));
    let asks = ["--help", "-h", "--version", "-V"];
    is_run && values(args, "--image").next().is_none() && !args.iter().any(|a| asks.contains(&&**a))
}

/// The platforms for which the reference must be built.
fn platforms(args: &[String]) -> Result<Vec<Platform>> {
    let mut platforms = Vec::new();
    for name in values(args, "--platform") {
        if name == "all" {
            return Ok(platform::ALL.to_vec());
        }
        let platform = platform::parse(name);
        platforms.push(platform.map_err(|error| anyhow!("--platform {name}: {error}"))?);
    }
    if platforms.is_empty() {
        platforms.push(platform::host()?);
    }
    platforms.dedup();
    Ok(platforms)
}

/// The features of the suite that these arguments need. A first build leaves out all others.
fn features(args: &[String]) -> Vec<&'static str> {
    let mut features = Vec::new();
    for image in values(args, "--image").chain(values(args, "--baseline")) {
        // Docker's socket speaks HTTP too.
        let asked = ["docker://", "docker-daemon:"];
        if asked.iter().any(|transport| image.starts_with(transport)) || is_bare_reference(image) {
            features.push("registry");
        } else if component::is_in(image) {
            features.push("wasmtime");
        }
    }
    for task in ["schema", "self-test"] {
        if args.first().is_some_and(|first| first == task) {
            features.push(task);
        }
    }
    // It asks all that know pods.
    if args.first().is_some_and(|first| first == "audit") {
        features.extend(["cri", "engines"]);
    }
    let engines = ["docker", "podman"];
    let name = |runtime: &str| runtime.split('=').next().unwrap_or_default().to_owned();
    if values(args, "--runtime").any(|runtime| engines.contains(&&*name(runtime))) {
        features.push("engines");
    }
    if values(args, "--runtime").any(|runtime| name(runtime) == "cri") {
        features.push("cri");
    }
    if values(args, "--report").any(|report| report.starts_with("junit")) {
        features.push("junit");
    }
    // The user names it where the image is in a registry, which this task does not ask.
    if values(args, "--platform").any(|platform| platform.starts_with("wasip2")) {
        features.push("wasmtime");
    }
    features
}

/// Whether this is neither an existing path nor has a transport (containers-transports(5)).
fn is_bare_reference(image: &str) -> bool {
    let transports = [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "containers-storage:",
        "containerd:",
        "cri:",
        "binary:",
        "wasm:",
    ];
    !transports
        .iter()
        .any(|transport| image.starts_with(transport))
        && !Path::new(image).exists()
}

/// The values of `option`, as `OPTION VALUE` and as `OPTION=VALUE`.
fn values<'a>(args: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    args.iter()
        .enumerate()
        .filter_map(move |(i, arg)| match arg.strip_prefix(option)? {
            "" => args.get(i + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::collections::BTreeSet;

    fn split(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[rstest]
    #[case("", true)]
    #[case("--report json", true)]
    #[case("--image oci:x", false)]
    #[case("--strict --image=oci:x", false)]
    #[case("list", false)]
    #[case("--help", false)]
    fn the_reference_is_judged_when_no_image_is_named(#[case] line: &str, #[case] expected: bool) {
        assert_eq!(wants_reference(&split(line)), expected);
    }

    #[rstest]
    #[case("--image oci:x --image binary:y", &[])]
    #[case("--image .", &[])]
    #[case("self-test", &["self-test"])]
    #[case("schema", &["schema"])]
    #[case("audit --report junit=x.xml", &["cri", "engines", "junit"])]
    #[case("--report json --report junit=x.xml", &["junit"])]
    #[case("--image docker://localhost/pause", &["registry"])]
    #[case("--image=registry.example/pause:3.10", &["registry"])]
    #[case("--image docker-daemon:pause", &["registry"])]
    #[case("--image oci:x --runtime docker=/run/docker.sock", &["engines"])]
    #[case("--image oci:x --runtime runc --runtime=podman", &["engines"])]
    #[case("--image oci:x --runtime cri --runtime=cri=/run/crio.sock", &["cri"])]
    #[case("--image containers-storage:pause --image cri:pause:3.9", &[])]
    #[case("--image oci:x --baseline registry.example/pause:3.10", &["registry"])]
    #[case("--image docker://localhost/pause --platform wasip2/wasm", &["registry", "wasmtime"])]
    fn a_build_has_the_features_that_are_needed(#[case] line: &str, #[case] expected: &[&str]) {
        assert_eq!(features(&split(line)), expected);
    }

    /// The crates of others, with their features, that cargo compiles for these arguments.
    fn compiled(args: &str) -> BTreeSet<String> {
        let mut command = cargo::command();
        command.args(["tree", "--locked", "--prefix=none", "--format={p} {f}"]);
        let output = command.args(args.split(' ')).output().expect("cargo runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let tree = String::from_utf8(output.stdout).expect("text");
        let lines = tree.lines().map(|line| line.trim_end_matches(" (*)"));
        // Our own have their path.
        let others = lines.filter(|line| !line.contains("(/"));
        others.map(str::to_owned).collect()
    }

    /// Else it, and all that stands on it, is compiled twice.
    #[rstest]
    #[case("--package xtask")]
    #[case("--package pause-conformance")]
    #[case("--package pause-conformance --no-default-features")]
    #[case("--package pause-conformance --no-default-features --features self-test")]
    #[case("--package pause-conformance --no-default-features --features cri")]
    fn a_crate_of_others_has_the_features_that_it_has_in_tests(#[case] build: &str) {
        let small = compiled(&format!("{build} --edges=normal,build"));
        let tests = compiled("--workspace --edges=normal,build,dev");
        assert!(small.len() > 50, "{small:?}");
        let apart: Vec<_> = small.difference(&tests).collect();
        assert!(apart.is_empty(), "{apart:?}: see the root's Cargo.toml");
    }

    /// Else one would execute what the other has built.
    #[test]
    fn two_tasks_build_the_suite_in_turn_each_until_it_is_executed() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        let first = take_turn(&target).expect("it is free");
        let flags = rustix::io::fcntl_getfd(&first).expect("it is open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let second = File::open(target.join(TURN)).expect("it was made");
        let refused = second.try_lock();
        assert!(matches!(refused, Err(TryLockError::WouldBlock)));
        let waits = std::thread::spawn(move || take_turn(&target).map(drop));
        drop(first);
        let waited = waits.join().expect("it does not panic");
        waited.expect("it was its turn");
        second.try_lock().expect("it is free again");
    }

    #[test]
    fn the_reference_is_built_for_the_platforms_that_are_judged() {
        let of =
            |line| platforms(&split(line)).map(|p| p.iter().map(|p| p.name).collect::<Vec<_>>());
        let two = of("--platform linux/arm64 --platform=linux/arm/v7").expect("they are known");
        assert_eq!(two, ["arm64", "arm/v7"]);
        assert_eq!(
            of("--platform all").expect("they are known").len(),
            platform::ALL.len()
        );
        assert!(of("--platform linux/vax").is_err());
    }
}
