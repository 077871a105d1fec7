//! `cargo xtask bench`: measures how fast the project is, and compares that with its promises.
//!
//! Machines differ and drift, so a promise is a ratio where it can be one: two things are measured
//! in turn in one run. The others are medians on this machine, which must be idle.

use crate::cargo;
use crate::conformance::suite;
use crate::platform::{self, Platform};
use crate::{build, image, link};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// Runs of the suite, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Also run the suite on the arm64 reference under its emulator
    #[arg(long)]
    emulated: bool,
    /// Also measure clean builds: the programs of all platforms, and the first
    /// `cargo xtask conformance` in a clean clone
    #[arg(long)]
    cold: bool,
    /// Measure what the suite adds to this runtime or engine, and nothing else; repeatable, as the
    /// suite has it: runc, crun, docker, podman, cri
    #[arg(long = "runtime", value_name = "NAME[=PATH]")]
    runtimes: Vec<String>,
}

impl Bench {
    /// Measures and prints; an error if a promise is not kept.
    pub fn run(self) -> Result<()> {
        if !self.runtimes.is_empty() {
            return report(&engines(&self.runtimes)?);
        }
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let suite = suite()?;
        let mut rows = vec![start()?];
        rows.extend(follow()?);

        let native = reference(platform::host()?, &folder.path().join("native"))?;
        let (native, emulated) = if self.emulated {
            let arm64 = platform::parse("arm64").map_err(anyhow::Error::msg)?;
            let image = reference(arm64, &folder.path().join("arm64"))?;
            // The suite tries the emulator with it.
            let programs = folder.path().join("programs");
            build::programs(&[arm64], &[link::PAUSE, link::FIXTURES], &programs)?;
            let programs = format!("--programs={}", programs.display());
            let (native, emulated) = self.in_turn(
                &suite,
                (&native, &[]),
                (&image, &["--platform", "linux/arm64", &programs]),
            )?;
            (native, Some(emulated))
        } else {
            (self.full(&suite, &native, &[])?, None)
        };
        rows.push(Row::seconds("full run over the reference", native, 2.0));
        if let Some(emulated) = emulated {
            rows.push(Row {
                what: "full emulated arm64 run, in native runs".to_owned(),
                measured: Figure::Ratio(emulated.as_secs_f64() / native.as_secs_f64()),
                promised: Figure::Ratio(4.0),
            });
        }
        rows.push(memory(&suite, folder.path())?);
        if self.cold {
            rows.extend(builds(folder.path())?);
            rows.push(first(folder.path())?);
        }
        report(&rows)
    }

    /// The median of full runs.
    fn full(&self, suite: &Path, image: &Path, more: &[&str]) -> Result<Duration> {
        let runs = (0..self.runs).map(|_| Ok(judged(suite, image, more)?.took));
        Ok(median(runs.collect::<Result<_>>()?))
    }

    /// The medians of two kinds of run, made in turn.
    fn in_turn(
        &self,
        suite: &Path,
        (one, with_one): (&Path, &[&str]),
        (other, with_other): (&Path, &[&str]),
    ) -> Result<(Duration, Duration)> {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            ones.push(judged(suite, one, with_one)?.took);
            others.push(judged(suite, other, with_other)?.took);
        }
        Ok((median(ones), median(others)))
    }
}

/// One promise and what was measured.
struct Row {
    what: String,
    measured: Figure,
    /// The limit that was promised.
    promised: Figure,
}

impl Row {
    fn seconds(what: &str, measured: Duration, promised: f64) -> Self {
        Self {
            what: what.to_owned(),
            measured: Figure::Seconds(measured.as_secs_f64()),
            promised: Figure::Seconds(promised),
        }
    }

    fn is_kept(&self) -> bool {
        self.measured.number() <= self.promised.number()
    }
}

/// A number and its unit.
#[derive(Clone, Copy)]
enum Figure {
    Ratio(f64),
    Seconds(f64),
    Milliseconds(f64),
    Mebibytes(f64),
}

impl Figure {
    fn number(self) -> f64 {
        let (Figure::Ratio(n)
        | Figure::Seconds(n)
        | Figure::Milliseconds(n)
        | Figure::Mebibytes(n)) = self;
        n
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Figure::Ratio(ratio) => format!("{ratio:.2} ×"),
            Figure::Seconds(seconds) => format!("{seconds:.2} s"),
            Figure::Milliseconds(milliseconds) => format!("{milliseconds:.1} ms"),
            Figure::Mebibytes(mebibytes) => format!("{mebibytes:.1} MiB"),
        };
        f.pad(&text)
    }
}

fn report(rows: &[Row]) -> Result<()> {
    let width = rows.iter().map(|row| row.what.len()).max().unwrap_or(0);
    println!("{:width$}  {:>10}  {:>10}", "", "measured", "at most");
    for row in rows {
        let sign = if row.is_kept() { "" } else { "  exceeded" };
        println!(
            "{:width$}  {:>10}  {:>10}{sign}",
            row.what, row.measured, row.promised
        );
    }
    let exceeded = rows.iter().filter(|row| !row.is_kept()).count();
    ensure!(exceeded == 0, "{exceeded} of {} exceeded", rows.len());
    Ok(())
}

fn median<T: Ord + Copy + Default>(mut all: Vec<T>) -> T {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The layout of the reference image for one platform.
fn reference(platform: Platform, out: &Path) -> Result<PathBuf> {
    Ok(image::write(&[platform], out)?.layout)
}

/// Time and memory of one run of the suite.
struct Judged {
    took: Duration,
    /// Peak resident memory, in bytes.
    peak: u64,
}

/// Runs the suite on a conformant image.
fn judged(suite: &Path, image: &Path, more: &[&str]) -> Result<Judged> {
    let began = Instant::now();
    let mut child = Command::new(suite)
        .arg("--image")
        .arg(format!("oci:{}", image.display()))
        .args(more)
        .args(["--report", "json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("run {}", suite.display()))?;
    let ended = child.wait4().context("wait for the suite")?;
    let took = began.elapsed();
    // A run that judges nothing is fast, and would keep every promise.
    ensure!(
        ended.status.success(),
        "run of the suite on {}: {}",
        image.display(),
        ended.status
    );
    Ok(Judged {
        took,
        peak: ended.rusage.maxrss,
    })
}

/// The output of `conformance/benches/start.rs`, in nanoseconds.
#[derive(Deserialize)]
struct Starts {
    bare: Vec<u64>,
    sandbox: Vec<u64>,
}

/// The output of `conformance/benches/follow.rs`, in nanoseconds.
#[derive(Deserialize)]
struct Follows {
    moment: Vec<u64>,
    still: Vec<u64>,
    waking: Vec<u64>,
}

/// The output of `conformance/benches/engines.rs` for one of them, in nanoseconds.
#[derive(Deserialize)]
struct Through {
    runtime: String,
    run: u64,
    starts: u64,
    start: u64,
    embedded: u64,
}

/// What a whole run through these takes, beside their own cost: that of as many starts, one after
/// the other, and what the suite takes without them.
fn engines(runtimes: &[String]) -> Result<Vec<Row>> {
    let all: Vec<Through> = benchmark("engines", runtimes)?;
    ensure!(all.len() == runtimes.len(), "not all of them were measured");
    let mut rows = Vec::new();
    for it in all {
        let own = it.starts * it.start + it.embedded;
        ensure!(it.starts > 0 && own > 0, "nothing was started");
        println!(
            "{}: {} starts of {:.0} ms each, embedded {:.2} s",
            it.runtime,
            it.starts,
            it.start as f64 / 1e6,
            it.embedded as f64 / 1e9
        );
        rows.push(Row {
            what: format!("a run through {}, in its own cost", it.runtime),
            measured: Figure::Ratio(it.run as f64 / own as f64),
            promised: Figure::Ratio(1.3),
        });
        let name = it.runtime.split('=').next().unwrap_or_default();
        let most = MOST.iter().find(|(known, _)| *known == name);
        if let Some((_, most)) = most {
            let what = format!("a run through {}", it.runtime);
            rows.push(Row::seconds(&what, Duration::from_nanos(it.run), *most));
        }
    }
    Ok(rows)
}

/// Seconds that a run takes at most, on two processors.
const MOST: [(&str, f64); 3] = [("crun", 20.0), ("docker", 45.0), ("cri", 45.0)];

/// Runs a benchmark of the suite, in the build of `cargo xtask conformance`. Returns its output.
fn benchmark<T: for<'a> Deserialize<'a>>(name: &str, more: &[String]) -> Result<T> {
    let arguments = ["bench", "--quiet", "--package", "pause-conformance"];
    let output = cargo::command()
        .args(arguments)
        .args(["--bench", name, "--profile", "dev", "--"])
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo bench")?;
    ensure!(output.status.success(), "cargo bench: {}", output.status);
    serde_json::from_slice(&output.stdout).context("read the output of cargo bench")
}

/// The cost of following a program.
fn follow() -> Result<[Row; 3]> {
    let Follows {
        moment,
        still,
        waking,
    } = benchmark("follow", &[])?;
    let row = |what: &str, all, promised| Row {
        what: what.to_owned(),
        measured: Figure::Milliseconds(median(all) as f64 / 1e6),
        promised: Figure::Milliseconds(promised),
    };
    Ok([
        row("a moment of a signal that is tried", moment, 15.0),
        row(
            "30 days of the reference, with its answers then",
            still,
            10.0,
        ),
        row(
            "30 days of a program that wakes, as far as it is looked at",
            waking,
            300.0,
        ),
    ])
}

fn start() -> Result<Row> {
    let starts: Starts = benchmark("start", &[])?;
    let (bare, sandbox) = (median(starts.bare), median(starts.sandbox));
    if bare == 0 || sandbox == 0 {
        bail!("the benchmark of starts measured nothing");
    }
    Ok(Row {
        what: "sandbox, start to ready, in bare clone3 and exec".to_owned(),
        measured: Figure::Ratio(sandbox as f64 / bare as f64),
        promised: Figure::Ratio(1.5),
    })
}

/// The suite's memory on an image whose program has 1 MB of incompressible data.
fn memory(suite: &Path, folder: &Path) -> Result<Row> {
    const MEGABYTE: usize = 1_000_000;
    let host = platform::host()?;
    let built = build::programs(&[host], &[link::PAUSE], &folder.join("programs"))?;
    let path = &built.first().context("no program was built")?.path;
    let mut program = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    // Marsaglia's xorshift: any incompressible bytes will do.
    let mut state = 0x2545_f491_u32;
    while program.len() < MEGABYTE {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        program.extend(state.to_le_bytes());
    }
    let image = image::write_programs(&[(host, program)], &folder.join("large"))?;
    let peak = judged(suite, &image.layout, &[])?.peak;
    Ok(Row {
        what: "peak memory on an image of 1 MB".to_owned(),
        measured: Figure::Mebibytes(peak as f64 / f64::from(1 << 20)),
        promised: Figure::Mebibytes(64.0),
    })
}

/// The programs of all platforms: a clean build, then a rebuild.
fn builds(folder: &Path) -> Result<[Row; 2]> {
    let clone = clone(&folder.join("builds"))?;
    let cargo_xtask = |arguments: &[&str]| run_in(&clone, arguments);
    // Building this task is not part of the measurement.
    cargo_xtask(&["build", "--help"])?;
    let cold = cargo_xtask(&["build"])?;
    let warm = cargo_xtask(&["build"])?;
    Ok([
        Row::seconds("the pause for all platforms, clean build", cold, 90.0),
        Row::seconds("the same, rebuild", warm, 5.0),
    ])
}

/// The first `cargo xtask conformance` in a clean clone.
fn first(folder: &Path) -> Result<Row> {
    let took = run_in(&clone(&folder.join("first"))?, &["conformance"])?;
    Ok(Row::seconds("the first run in a clean clone", took, 120.0))
}

/// A clone of the last commit, in a temporary folder.
fn clone(folder: &Path) -> Result<PathBuf> {
    let status = Command::new("git")
        .args(["clone", "--quiet", "--no-hardlinks"])
        .args([&crate::workspace(), folder])
        .status()
        .context("run git")?;
    ensure!(status.success(), "git clone: {status}");
    Ok(folder.to_owned())
}

fn run_in(clone: &Path, arguments: &[&str]) -> Result<Duration> {
    let began = Instant::now();
    let status = cargo::command()
        .current_dir(clone)
        .env("CARGO_TARGET_DIR", clone.join("target"))
        .arg("xtask")
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .context("run cargo")?;
    ensure!(
        status.success(),
        "cargo xtask {}: {status}",
        arguments.join(" ")
    );
    Ok(began.elapsed())
}
