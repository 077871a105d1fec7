//! `cargo xtask scoreboard`: judges pauses that people use, and writes one page of what came, and what
//! the suite says of known pauses beside each figure.
//!
//! The subjects are those of the tests' corpus; those whose tools this machine lacks are left out,
//! and named.

mod page;

use crate::cargo::{self, Metadata};
use crate::conformance::suite;
use crate::{image, platform};
use anyhow::{Context as _, Result, bail, ensure};
use page::Subject;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// The variable by which the corpus keeps its reports.
const REPORTS: &str = "PAUSE_CONFORMANCE_REPORTS";

/// After this many days the page says too little of what people use.
const OLD: u64 = 400;

/// The pauses that the suite names beside a figure, and how.
const KNOWN: [(&str, &str); 3] = [
    (REFERENCE, "the reference"),
    ("catatonit", "catatonit"),
    ("go", "one in Go"),
];

const REFERENCE: &str = "reference";

/// Arguments of `scoreboard`.
#[derive(Debug, clap::Args)]
pub struct Scoreboard {
    /// Judge nothing; fail if the page is not of this form, or too old
    #[arg(long)]
    check: bool,
}

fn page_path() -> PathBuf {
    crate::workspace().join("conformance/docs/SCOREBOARD.md")
}

fn known_path() -> PathBuf {
    crate::workspace().join("conformance/harness/src/figures/known.txt")
}

impl Scoreboard {
    /// Judges all subjects, one after the other, and writes the page.
    pub fn run(&self) -> Result<()> {
        if self.check {
            let text = std::fs::read_to_string(page_path()).context("read SCOREBOARD.md")?;
            return check(&text, now());
        }
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        judge_reference(folder.path())?;
        judge_corpus(folder.path())?;
        let subjects = read(folder.path())?;
        let load = std::fs::read_to_string("/proc/loadavg").context("read the load")?;
        let load = load.split('.').next().unwrap_or_default();
        let text = page::write(&subjects, load)?;
        std::fs::write(page_path(), &text).context("write SCOREBOARD.md")?;
        std::fs::write(known_path(), known(&subjects)).context("write known.txt")?;
        println!("{} subjects: {}", subjects.len(), page_path().display());
        check(&text, now())
    }
}

#[expect(clippy::disallowed_methods, reason = "the page has a day, for people")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The reference, built and judged.
fn judge_reference(folder: &Path) -> Result<()> {
    let out = Metadata::read()?.target_directory()?.join("reference");
    let written = image::write(&[platform::host()?], &out)?;
    let output = Command::new(suite()?)
        .args(["--quiet", "--report", "json", "--image"])
        .arg(format!("oci:{}", written.layout.display()))
        .stderr(Stdio::inherit())
        .output()
        .context("run the suite")?;
    let report: Value = serde_json::from_slice(&output.stdout).context("read the report")?;
    let about = json!({ "made": "this project", "base": "scratch", "command": ["/pause"] });
    let kept = json!({ "about": about, "report": report });
    let file = folder.join(format!("{REFERENCE}.json"));
    std::fs::write(file, kept.to_string()).context("keep the report")
}

/// The corpus, one subject at a time: others would take its processor. Of an emulated program times
/// say nothing.
fn judge_corpus(folder: &Path) -> Result<()> {
    let args = ["test", "--package", "pause-conformance", "--test", "corpus"];
    let status = cargo::command()
        .args(args)
        .args(["--", "--test-threads", "1", "--skip", "arm64"])
        .env(REPORTS, folder)
        .status()
        .context("run the corpus")?;
    if !status.success() {
        eprintln!("warning: a subject was judged otherwise than its row says: look at it first");
    }
    Ok(())
}

/// The subjects that were judged, the best first.
fn read(folder: &Path) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for entry in std::fs::read_dir(folder).context("list the reports")? {
        let path = entry.context("list the reports")?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = std::fs::read(&path).with_context(|| format!("read {name}"))?;
        let kept: Value = serde_json::from_slice(&text).with_context(|| format!("read {name}"))?;
        // Of an emulated one a part is judged.
        if kept["report"]["part"].is_null() {
            subjects.push(Subject::of(&name, &kept));
        }
    }
    ensure!(subjects.len() > 1, "nothing was judged but the reference");
    subjects.sort_by(|a, b| a.standing().cmp(&b.standing()).then(a.name.cmp(&b.name)));
    Ok(subjects)
}

/// What known pauses have of each figure, a line each.
fn known(subjects: &[Subject]) -> String {
    let mut lines = Vec::new();
    for (name, words) in KNOWN {
        let Some(subject) = subjects.iter().find(|it| it.name == name) else {
            eprintln!("warning: {name} was not judged, so known.txt has no figures of it");
            continue;
        };
        let figures = subject.figures();
        lines.extend(figures.map(|(figure, number)| format!("{figure}\t{words}\t{number}\n")));
    }
    lines.sort();
    format!("# Written by `cargo xtask scoreboard`.\n{}", lines.concat())
}

/// The page is of the form that is written, and its day is not long past. Values are those of the
/// machine that wrote it.
fn check(page: &str, now: SystemTime) -> Result<()> {
    let hint = "\n  try: cargo xtask scoreboard";
    let day = page.split_once("Judged on ").map(|(_, rest)| rest);
    let day = day.and_then(|rest| rest.get(..10)).unwrap_or_default();
    let day = humantime::parse_rfc3339(&format!("{day}T00:00:00Z"))
        .with_context(|| format!("SCOREBOARD.md has no day{hint}"))?;
    let age = now.duration_since(day).unwrap_or(Duration::ZERO);
    let days = age.as_secs() / 86_400;
    ensure!(days <= OLD, "SCOREBOARD.md is {days} days old{hint}");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    // A cell's own bar is escaped.
    let columns = |row: &&str| row.matches(" | ").count();
    let Some((head, rows)) = rows.split_first() else {
        bail!("SCOREBOARD.md has no table{hint}");
    };
    ensure!(*head == page::HEAD, "SCOREBOARD.md has another head{hint}");
    ensure!(rows.len() > 1, "SCOREBOARD.md has too few rows{hint}");
    for row in rows {
        ensure!(columns(row) == columns(head), "SCOREBOARD.md: {row}{hint}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> SystemTime {
        humantime::parse_rfc3339(&format!("{day}T12:00:00Z")).expect("a day")
    }

    fn kept(must: &[&str], rss: u64) -> Value {
        let failed = must
            .iter()
            .map(|id| json!({ "id": id, "level": "must", "verdict": "fail" }));
        let checks: Vec<Value> = failed.collect();
        let latency = json!({ "unit": "us", "p50": 250.0, "p25": 200.0, "p75": 300.0 });
        let measurements = json!({
            "rss": { "unit": "bytes", "value": rss }, "term_latency": latency,
        });
        let run = json!({
            "conclusion": if must.is_empty() { "conformant" } else { "not-conformant" },
            "checks": checks, "measurements": measurements,
        });
        json!({
            "about": { "made": "gcc 12.2", "base": "scratch", "command": ["/pause", "-P"] },
            "report": {
                "started": "2026-01-02T03:04:05Z", "spec_version": "1",
                "tool": { "name": "pause-conformance", "version": "0.1.0" },
                "host": { "kernel": "6.18", "machine": "x86_64", "cpus": 2 },
                "runs": [run],
            },
        })
    }

    #[test]
    fn what_is_written_passes_the_check_until_it_is_old() {
        let subjects = [
            Subject::of("reference", &kept(&[], 4096)),
            Subject::of("naive|<b>", &kept(&["signals/term-exits-zero"], 8192)),
        ];
        let text = page::write(&subjects, "3").expect("a page");
        assert!(text.contains("signals/term-exits-zero"), "{text}");
        assert!(text.contains("250 µs (200 to 300)"), "{text}");
        check(&text, at("2026-01-02")).expect("it is new");
        check(&text, at("2026-12-31")).expect("it is not old");
        let error = check(&text, at("2027-12-31")).expect_err("it is old");
        assert!(error.to_string().contains("days old"), "{error}");
        for (from, to) in [("Judged on 2", "Judged on x"), ("| pause |", "| paws |")] {
            let other = text.replace(from, to);
            assert!(check(&other, at("2026-01-02")).is_err(), "{from}");
        }
        let known = known(&subjects);
        assert!(known.contains("rss\tthe reference\t4096\n"), "{known}");
        assert!(!known.contains("term_latency"), "{known}");
        assert!(!known.contains("naive"), "{known}");
    }

    #[test]
    fn fewer_failed_musts_come_first_and_then_less_memory() {
        let standing = |must: &[&str], rss| Subject::of("x", &kept(must, rss)).standing();
        assert!(standing(&[], 9_000_000) < standing(&["a/b"], 4096));
        assert!(standing(&[], 4096) < standing(&[], 9_000_000));
    }

    #[test]
    fn the_page_of_the_documents_is_of_this_form() {
        let text = std::fs::read_to_string(page_path()).expect("it is there");
        let (_, rest) = text.split_once("Judged on ").expect("a day");
        // Its age is for people to mind.
        check(&text, at(&rest[..10])).expect("it is of this form");
    }
}
