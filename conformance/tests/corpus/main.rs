//! Real subjects, one per line of `table.txt`: programs of the distribution and of several
//! languages, on common bases. The suite judges each as a user would run it, and the line has the
//! verdicts.
//!
//! With `PAUSE_CONFORMANCE_CORPUS=N` each is judged N times, and no verdict may change. A row whose
//! tools this host lacks is shown as ignored; with `CI` set it fails.

#[path = "../common/filter.rs"]
mod filter;
#[path = "../common/foreign.rs"]
mod foreign;

mod base;
mod make;
mod mmdebstrap;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use filter::Named;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};

use table::{Expected, Row};

/// The variable with the number of runs of each subject; the long form sets it.
const TIMES: &str = "PAUSE_CONFORMANCE_CORPUS";
/// The variable with the folder where the report of each subject is kept, and what it is about;
/// `cargo xtask scoreboard` sets it.
const REPORTS: &str = "PAUSE_CONFORMANCE_REPORTS";
const TABLE: &str = include_str!("table.txt");

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A run waits for half of its time.
    arguments.test_threads.get_or_insert(3);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
    let rows = match table::read(TABLE) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("error: table.txt: {error}");
            return ExitCode::FAILURE;
        }
    };
    let is_in_ci = std::env::var_os("CI").is_some();
    let is_long = std::env::var_os(TIMES).is_some();
    let trials = rows.into_iter().map(|row| {
        let missing = missing(&row);
        let is_gated = is_in_ci && (is_long || !row.program.is_dear());
        let is_ignored = missing.is_some() && !is_gated;
        if let Some(missing) = &missing {
            eprintln!("{}: {missing} is not here", row.name);
        }
        let (name, kind) = (row.name.clone(), row.base.clone());
        let folder = folder.join(&row.name);
        let fails: Vec<String> = row.fails.keys().cloned().collect();
        let trial = Trial::test(name, move || match missing {
            Some(missing) => Err(format!("{missing} is not here").into()),
            None => judge(&row, &folder),
        })
        .with_kind(kind)
        .with_ignored_flag(is_ignored);
        Named::new(trial, fails.iter().map(String::as_str))
    });
    let trials = filter::chosen(&mut arguments, trials);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What a row needs and this host lacks.
fn missing(row: &Row) -> Option<String> {
    let program = row.program.missing();
    program.or_else(|| match row.base.as_str() {
        base::MMDEBSTRAP => mmdebstrap::tree().err(),
        _ => None,
    })
}

fn judge(row: &Row, folder: &Path) -> Result<(), Failed> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let image = folder.join("image");
    write_image(row, folder, &image)?;
    let times = std::env::var(TIMES).ok();
    let times = times.and_then(|times| times.parse().ok()).unwrap_or(1);
    let mut wrong: BTreeMap<String, u32> = BTreeMap::new();
    for number in 1..=times {
        let lines = run(row, &image).and_then(|report| {
            keep(row, &report)?;
            Ok(differences(row, &report))
        });
        for line in lines.unwrap_or_else(|error| vec![error.to_string()]) {
            // At once: hours may be left, and what is wrong can be looked at meanwhile.
            eprintln!("{}, run {number}: {line}", row.name);
            *wrong.entry(line).or_default() += 1;
        }
    }
    if wrong.is_empty() {
        // On failure it is kept, so that it can be judged by hand.
        fs::remove_dir_all(folder)?;
        return Ok(());
    }
    let lines = wrong
        .iter()
        .map(|(line, count)| format!("{count} of {times}: {line}"));
    Err(lines.collect::<Vec<_>>().join("\n").into())
}

fn write_image(row: &Row, folder: &Path, image: &Path) -> anyhow::Result<()> {
    let mut layer = Tar::default();
    let (program, path) = row.program.make(folder)?;
    base::add(&row.base, &mut layer, &program)?;
    let content = fs::read(&program)?;
    let has_program = match row.base.as_str() {
        "scratch" => false,
        base::MMDEBSTRAP => row.program.is_of_host(),
        _ => path == base::BUSYBOX,
    };
    if !has_program {
        layer.file(path.trim_start_matches('/'), 0o755, &content);
    }
    let mut builder = ImageBuilder::of_layer(&layer, row.program.architecture())
        .set("Entrypoint", json!(row.command));
    if row.is_without_user {
        builder = builder.set("User", Value::Null);
    }
    // Uncompressed, since compression takes longer than judging.
    builder.layers[0].1 = Packing::Plain;
    if row.base == base::MMDEBSTRAP {
        let tree = fs::read(mmdebstrap::tree().map_err(anyhow::Error::msg)?)?;
        builder.layers.insert(0, (tree, Packing::Plain));
    }
    LayoutBuilder::single(&builder, "3.10").write(image)?;
    Ok(())
}

fn run(row: &Row, image: &Path) -> anyhow::Result<Value> {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
    suite
        .args(["--report", "json", "--image"])
        .arg(format!("oci:{}", image.display()));
    if row.program.is_foreign() {
        let programs = foreign::arm64().join("..");
        suite
            .env("PAUSE_CONFORMANCE_PROGRAMS", programs)
            .args(["--platform", "linux/arm64"])
            .args(["--filter", "startup", "--filter", "signals"]);
    }
    let output = suite.output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let status = output.status.code();
    let must = failed_musts(&report);
    // An inconclusive MUST allows this status too.
    let errors: Vec<_> = records(&report)
        .filter(|record| record["verdict"] == "error")
        .map(|record| format!("{}: {}", record["id"], record["reason"]))
        .collect();
    let is_error = !errors.is_empty();
    let expected = match must.is_empty() {
        _ if is_error => [2, 2],
        true => [0, 3],
        false => [1, 1],
    };
    anyhow::ensure!(
        status.is_some_and(|status| expected.contains(&status)),
        "status {status:?} with {must:?}, in error {errors:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(report)
}

/// Keeps a report where the scoreboard asks for it.
fn keep(row: &Row, report: &Value) -> anyhow::Result<()> {
    let Some(folder) = std::env::var_os(REPORTS) else {
        return Ok(());
    };
    let (made, base, command) = (row.program.made_by(), &row.base, &row.command);
    let about = json!({ "made": made, "base": base, "command": command });
    let kept = json!({ "about": about, "report": report });
    let file = Path::new(&folder).join(format!("{}.json", row.name));
    Ok(fs::write(file, kept.to_string())?)
}

fn records(report: &Value) -> impl Iterator<Item = &Value> {
    let runs = report["runs"].as_array().into_iter().flatten();
    runs.filter_map(|run| run["checks"].as_array()).flatten()
}

fn failed_musts(report: &Value) -> Vec<&str> {
    records(report)
        .filter(|record| record["level"] == "must" && record["verdict"] == "fail")
        .filter_map(|record| record["id"].as_str())
        .collect()
}

/// The differences between the report and the row.
fn differences(row: &Row, report: &Value) -> Vec<String> {
    let mut unseen: BTreeSet<&str> = row.fails.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for record in records(report) {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let (id, verdict) = (text("id"), text("verdict"));
        unseen.remove(id);
        let is_must = record["level"] == "must";
        let is_right = match (row.fails.get(id), verdict) {
            (_, "error") | (None, "fail") => false,
            (Some(Expected::Fails), _) => verdict == "fail",
            (Some(Expected::NeverPasses), _) => verdict != "pass",
            (None, "inconclusive") => !is_must,
            (Some(Expected::MayFail) | None, _) => true,
        };
        if !is_right {
            let seen = [text("observed"), text("reason")].concat();
            wrong.push(format!("{id}: {verdict}: {seen}"));
        }
    }
    wrong.extend(unseen.into_iter().map(|id| format!("{id}: not made")));
    wrong
}
