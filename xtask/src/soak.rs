//! `cargo xtask soak`: runs the full suite many times, on an idle host and on an overloaded one.
//! **No verdict may change.**
//!
//! Under load a verdict may become `inconclusive` if it has a reason. Any other difference is
//! printed, and fails the task.

use crate::conformance::suite;
use crate::{build, image, link, platform};
use anyhow::{Context as _, Result, bail, ensure};
use load::Load;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use verdicts::Verdicts;

mod load;
mod verdicts;

/// Arguments of `soak`.
#[derive(Debug, clap::Args)]
pub struct Soak {
    /// Runs on the host as it is
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub idle: u32,
    /// Runs with every processor oversubscribed fourfold, and memory under pressure
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub loaded: u32,
}

/// Every second run judges one of these, in turn; the others judge the reference. One fixture is
/// sound and of another design, one broken and quick, one broken and slow.
const FIXTURES: [&str; 3] = ["thread-pool", "never-reaps", "prints-a-heartbeat"];

impl Soak {
    /// Runs the suite and compares the reports; an error if a verdict changed.
    pub fn run(self) -> Result<()> {
        ensure!(
            self.idle + self.loaded >= 2,
            "one run has no other to be compared with\n  try: --idle and --loaded with a sum of 2 or more"
        );
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        let subjects = subjects(folder.path())?;
        let suite = suite()?;
        let mut verdicts = Verdicts::default();
        for number in 1..=self.idle {
            once(&suite, &subjects, &mut verdicts, false, number)?;
        }
        if self.loaded > 0 {
            let load = Load::start()?;
            println!("load: {load}");
            for number in 1..=self.loaded {
                once(&suite, &subjects, &mut verdicts, true, number)?;
            }
        }
        print!("{verdicts}");
        let changed = verdicts.changed();
        println!(
            "soak: {} idle and {} loaded runs over {} subjects in turn, {} verdicts in all: {changed} changed",
            self.idle,
            self.loaded,
            subjects.count(),
            verdicts.count(),
        );
        if changed > 0 {
            bail!("a verdict depends on chance or on the host's load");
        }
        Ok(())
    }
}

/// One run of the full suite, on the subject whose turn it is.
fn once(
    suite: &Path,
    subjects: &Subjects,
    verdicts: &mut Verdicts,
    loaded: bool,
    number: u32,
) -> Result<()> {
    let how = if loaded { "loaded" } else { "idle" };
    let began = Instant::now();
    let output = Command::new(suite)
        .args(["--image", subjects.of(number), "--report", "json"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("run {}", suite.display()))?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "read the report of {how} run {number}, which ended with {}",
            output.status
        )
    })?;
    let new = verdicts.add(&report, loaded, &format!("{how} run {number}"))?;
    println!(
        "{how} run {number}: {:.1} s, {}",
        began.elapsed().as_secs_f64(),
        output.status
    );
    for new in new {
        println!("  differs from earlier runs: {new}");
    }
    Ok(())
}

/// The images to judge, as arguments of the suite.
struct Subjects {
    reference: String,
    fixtures: Vec<String>,
}

impl Subjects {
    /// The subject of a run; they are numbered from 1.
    fn of(&self, number: u32) -> &str {
        let number = number as usize;
        if number % 2 == 1 {
            &self.reference
        } else {
            &self.fixtures[(number / 2 - 1) % self.fixtures.len()]
        }
    }

    fn count(&self) -> usize {
        1 + self.fixtures.len()
    }
}

/// Builds the subjects.
fn subjects(folder: &Path) -> Result<Subjects> {
    let host = platform::host()?;
    let written = image::write(&[host], &folder.join("reference"))?;
    let reference = format!("oci:{}", written.layout.display());
    let mut fixtures = Vec::new();
    let programs = build::programs(&[host], &[link::FIXTURES], &folder.join("programs"))?;
    let all = programs
        .iter()
        .find(|program| {
            program
                .path
                .file_name()
                .is_some_and(|name| name == "fixture")
        })
        .context("the build made no program of fixtures")?;
    let all = std::fs::read(&all.path).with_context(|| format!("read {}", all.path.display()))?;
    for name in FIXTURES {
        let fixture = ::fixtures::all().find(|fixture| fixture.name == name);
        let fixture = fixture.with_context(|| format!("there is no fixture {name}"))?;
        let program = fixture
            .build(&all)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let path = folder.join(name);
        std::fs::write(&path, program).with_context(|| format!("write {}", path.display()))?;
        fixtures.push(format!("binary:{}", path.display()));
    }
    Ok(Subjects {
        reference,
        fixtures,
    })
}
