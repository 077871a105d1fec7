//! The suite's report of a program that runs by something else than the suite.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use conformance::programs::FIXTURE;
use fixtures::catalogue;
use libtest_mimic::Failed;
use serde_json::Value;

/// A program in a folder.
pub(crate) struct Program {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Program {
    pub(crate) fn of(content: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // For any user as whom the suite runs.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("it is ours");
        let path = folder.path().join("pause");
        fs::write(&path, content).expect("written");
        Self {
            path,
            _folder: folder,
        }
    }

    /// The fixture of this name.
    pub(crate) fn fixture(name: &str) -> Result<Self, Failed> {
        let mut all = catalogue::all();
        let fixture = all.find(|it| it.name == name).ok_or("no such fixture")?;
        let content = fixture.build(FIXTURE).map_err(|error| error.to_string())?;
        Ok(Self::of(&content))
    }

    pub(crate) fn image(&self) -> String {
        format!("binary:{}", self.path.display())
    }
}

/// Broken programs, each with the check that is to fail on it.
pub(crate) type Faults = &'static [(&'static str, &'static str)];

/// Those that engines are judged by, three or more a family. A family is judged in one run: all its
/// programs by all its checks, so that a check that fails on everything shows too.
pub(crate) const FAULTS: [(&str, Faults); 7] = [
    (
        "signals",
        &[
            ("exits-143", "signals/term-exits-zero"),
            ("ignores-int", "signals/int-exits-zero"),
            ("obeys-the-outside-alone", "signals/term-from-inside"),
        ],
    ),
    // Apart: it makes a sandbox for each signal.
    (
        "real_time",
        &[("exits-on-last-real-time", "signals/survives-realtime")],
    ),
    (
        "reaping",
        &[
            ("never-reaps", "reaping/one-orphan"),
            ("waits-once", "reaping/burst"),
            ("kills-orphans", "reaping/spares-the-living"),
        ],
    ),
    (
        "namespaces",
        &[
            ("sweeps-ipc-when-it-reaps", "namespaces/held-alone"),
            ("leaves-after-an-orphan", "namespaces/stable"),
            ("leaves-on-usr1", "namespaces/stable"),
            ("waits-for-its-members", "namespaces/teardown"),
        ],
    ),
    (
        "startup",
        &[
            ("exits-at-once", "startup/stays"),
            ("exits-at-stdin-eof", "startup/stays"),
            ("refuses-strange-uid", "startup/any-uid"),
        ],
    ),
    ("output", &[("greets", "output/quiet")]),
    (
        "engine",
        &[
            ("exits-143", "engine/stop-is-clean"),
            ("ignores-term", "engine/stop-is-clean"),
            ("exits-on-a-killed-child", "engine/member-restarts"),
            ("leaves-after-an-orphan", "engine/members-share"),
            ("calls-itself-otherwise", "engine/ps"),
        ],
    ),
];

/// Has `judge` run the suite with these arguments, and sees that each program is failed by its
/// check, and by none that its fixture does not name. A check of `unprovoked` must be skipped
/// instead, and the report must say why.
pub(crate) fn finds(
    faults: Faults,
    unprovoked: &[&str],
    judge: impl FnOnce(&[&str]) -> Result<(Value, Output), Failed>,
) -> Result<(), Failed> {
    let programs = faults.iter().map(|(name, _)| Program::fixture(name));
    let programs = programs.collect::<Result<Vec<_>, _>>()?;
    let images: Vec<_> = programs.iter().map(Program::image).collect();
    let checks: BTreeSet<_> = faults.iter().map(|(_, check)| *check).collect();
    let images = images.iter().flat_map(|image| ["--image", image.as_str()]);
    let filters = checks.iter().flat_map(|check| ["--filter", *check]);
    let arguments: Vec<_> = images.chain(filters).collect();
    let began = Instant::now();
    let (report, output) = judge(&arguments)?;
    let took = began.elapsed();
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), faults.len(), "{report:#}");
    let judged = faults.iter().zip(runs);
    let wrong = judged.filter_map(|((name, check), run)| {
        let cause = is_found(name, check, unprovoked, run).err()?;
        Some(format!("{name}, {check}: {cause}\n{run:#}"))
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    let all_are_skipped = checks.iter().all(|check| unprovoked.contains(check));
    let status = if all_are_skipped { 2 } else { 1 };
    assert_eq!(output.status.code(), Some(status), "{}", said(&output));
    eprintln!(
        "{} programs by {} checks: {took:.1?}",
        runs.len(),
        checks.len()
    );
    Ok(())
}

/// Whether this run of a fixture has the verdicts that it must have.
fn is_found(name: &str, check: &str, unprovoked: &[&str], run: &Value) -> Result<(), String> {
    let failed = with_verdict(run, &["fail"]);
    if unprovoked.contains(&check) {
        let records = run["checks"].as_array().expect("checks");
        let record = records.iter().find(|record| record["id"] == check);
        let record = record.ok_or("no record")?;
        let why = record["reason"].as_str().unwrap_or_default();
        if record["verdict"] != "skipped" || why.is_empty() {
            return Err("it is not skipped with a reason".to_owned());
        }
        eprintln!("{name}: {check} is skipped: {why}");
    } else if !failed.iter().any(|id| id == check) {
        return Err("it passed".to_owned());
    }
    let mut all = catalogue::all();
    let fixture = all.find(|it| it.name == name).ok_or("no such fixture")?;
    let is_named = |id: &String| fixture.breaks.iter().chain(fixture.also).any(|it| it == id);
    let mut others = failed.iter().filter(|id| *id != check && !is_named(id));
    if let Some(id) = others.next() {
        return Err(format!("{id} failed too"));
    }
    let odd = with_verdict(run, &["error", "inconclusive"]);
    if odd.is_empty() {
        Ok(())
    } else {
        Err(format!("not judged: {}", odd.join(", ")))
    }
}

/// Moments of a run at which the suite is killed: three, or as many as `PAUSE_CONFORMANCE_KILLS`
/// says, fifty at most, scattered over its first part.
pub(crate) fn moments(part: Duration) -> Vec<Duration> {
    /// The fraction of the golden section: no two of its multiples are near each other.
    const GOLDEN: f64 = 0.618_034;
    let kills = std::env::var("PAUSE_CONFORMANCE_KILLS").ok();
    let kills = kills.and_then(|number| number.parse::<u32>().ok());
    let kills = kills.map_or(3, |kills| kills.min(50));
    (0..kills)
        .map(|number| part.mul_f64((0.1 + f64::from(number) * GOLDEN).fract()))
        .collect()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON report that the suite has written.
pub(crate) fn report(output: &Output) -> Result<Value, Failed> {
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", said(output)).into())
}

/// The ids of the checks that ended so.
pub(crate) fn with_verdict(run: &Value, verdicts: &[&str]) -> Vec<String> {
    let checks = run["checks"].as_array().expect("checks");
    let some = checks
        .iter()
        .filter(|check| verdicts.contains(&check["verdict"].as_str().unwrap_or_default()));
    some.map(|check| check["id"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// What did not pass, with the reason or what was seen, one a line.
pub(crate) fn complaints(run: &Value) -> String {
    let checks = run["checks"].as_array().expect("checks").iter();
    let wrong = checks.filter(|check| {
        let verdict = check["verdict"].as_str().unwrap_or_default();
        !["pass", "skipped"].contains(&verdict)
    });
    let lines = wrong.map(|check| {
        let words = ["id", "verdict", "reason", "observed"];
        let words = words.iter().filter_map(|key| check[*key].as_str());
        words.collect::<Vec<_>>().join(": ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether a program is in a folder of PATH, or where root's programs are.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join(program));
    programs.any(|program| program.is_file())
}
