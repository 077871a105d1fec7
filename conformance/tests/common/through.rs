//! The suite's report of a program that runs by something else than the suite.
#![allow(dead_code, reason = "each test uses a part")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

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

/// Whether a program is in a folder of PATH, or where root's programs are.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let mut programs = folders.map(|folder| folder.join(program));
    programs.any(|program| program.is_file())
}
