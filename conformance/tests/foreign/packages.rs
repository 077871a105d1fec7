//! Programs of the distribution for arm64, whose faults are known.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use conformance::event::Verdict;
use conformance::subject::Subject;
use libtest_mimic::{Failed, Trial};

use super::{Room, arm64, faults, line, none, of};

const PACKAGES: [&str; 2] = ["catatonit:arm64", "busybox-static:arm64"];

/// The command that lets apt fetch them.
const COMMAND: &str = "dpkg --add-architecture arm64 && apt-get update";

pub(super) fn trials(room: &Arc<Room>, folder: Option<&Path>) -> Vec<Trial> {
    let missing = folder.is_none();
    if missing {
        eprintln!(
            "{} cannot be fetched, and are left out\n  try: {COMMAND}",
            PACKAGES.join(" and ")
        );
    }
    let trial = |name: &str, run: fn(&Room, &Path) -> Result<(), Failed>| {
        let (room, folder) = (Arc::clone(room), folder.map(Path::to_owned));
        Trial::test(name, move || match &folder {
            Some(folder) => run(&room, folder),
            None => Err(format!("not fetched; try: {COMMAND}").into()),
        })
        // In CI nothing is left out.
        .with_ignored_flag(missing && std::env::var_os("CI").is_none())
    };
    vec![
        trial("catatonit", catatonit),
        trial("busybox sleep", busybox),
    ]
}

/// The folder with the unpacked packages, if apt can fetch them.
pub(super) fn fetched() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arm64-packages");
    let unpacked = folder.join("root");
    if unpacked.join("bin/busybox").exists() && unpacked.join("usr/bin/catatonit").exists() {
        return Some(unpacked);
    }
    std::fs::create_dir_all(&folder).ok()?;
    let ran = |command: &mut Command| {
        let status = command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(())
    };
    ran(Command::new("apt-get")
        .args(["download", "--quiet"])
        .args(PACKAGES))?;
    for entry in std::fs::read_dir(&folder).ok()?.flatten() {
        if entry.path().extension().is_some_and(|it| it == "deb") {
            ran(Command::new("dpkg-deb")
                .arg("-x")
                .arg(entry.path())
                .arg(&unpacked))?;
        }
    }
    Some(unpacked)
}

fn subject(path: &Path, arguments: &[&str]) -> Result<Subject, Failed> {
    let mut subject = Subject::of_program("package", std::fs::read(path)?.into(), arm64());
    let program = subject.program.as_mut().map_err(|why| why.to_string())?;
    program.argv = arguments.iter().map(|&word| word.to_owned()).collect();
    Ok(subject)
}

/// When it is not process 1, it makes a call that the emulator refuses, which is no fault.
fn catatonit(room: &Room, folder: &Path) -> Result<(), Failed> {
    let subject = subject(&folder.join("usr/bin/catatonit"), &["catatonit", "-P"])?;
    let (doubted, faults): (Vec<_>, Vec<_>) = faults(&room.judge(subject))
        .into_iter()
        .partition(|line| line.contains("which lets no program become a subreaper"));
    none(&faults)?;
    let (known, unknown): (Vec<_>, Vec<_>) = doubted.into_iter().partition(|line| {
        ["startup/not-first: ", "namespaces/pid-host: "]
            .iter()
            .any(|id| line.starts_with(id))
    });
    none(&unknown)?;
    if known.is_empty() {
        return Err("it is not asked to run as another process than 1".into());
    }
    Ok(())
}

/// It does not answer TERM and never reaps.
fn busybox(room: &Room, folder: &Path) -> Result<(), Failed> {
    let subject = subject(
        &folder.join("bin/busybox"),
        &["busybox", "sleep", "infinity"],
    )?;
    let records = room.judge(subject);
    for id in ["signals/term-exits-zero", "reaping/one-orphan"] {
        let record = of(&records, id)?;
        if record.verdict != Verdict::Fail {
            return Err(line(record).into());
        }
    }
    if of(&records, "startup/stays")?.verdict != Verdict::Pass {
        return Err(line(of(&records, "startup/stays")?).into());
    }
    Ok(())
}
