//! Emulators that crash under a program, or give it up: neither the program nor the suite is
//! blamed.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use conformance::emulator::Emulator;
use conformance::event::Verdict;
use conformance::programs;
use conformance::subject::Subject;
use libtest_mimic::{Failed, Trial};

use super::{Room, arm64, line, of};

const TERM: &str = "signals/term-exits-zero";

pub(super) fn trials(room: &Arc<Room>) -> Vec<Trial> {
    // Programs of this host take the place of an emulator, so what they do on TERM, it does.
    let own = [
        ("crashes-on-term", Verdict::Inconclusive, "killed by "),
        (
            "gives-up-on-term",
            Verdict::Inconclusive,
            "unhandled CPU exception",
        ),
        // It ends as if the program had exited.
        ("exits-1", Verdict::Fail, "exited 1"),
    ];
    let own = own.into_iter().map(|(name, verdict, words)| {
        let room = Arc::clone(room);
        Trial::test(format!("an emulator that {name}"), move || {
            stands_in(&room, name, verdict, words)
        })
    });
    let room = Arc::clone(room);
    own.chain([Trial::test("a crash under the emulator", move || {
        crash(&room)
    })])
    .collect()
}

fn stands_in(room: &Room, name: &str, verdict: Verdict, words: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("qemu-aarch64-static");
    std::fs::write(&path, fixture(name, programs::FIXTURE)?)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    let emulator = Emulator::find_in(&arm64(), &[folder.path().to_owned()])?;
    let reference = Subject::of_program("reference", room.program("pause")?.into(), arm64());
    judged(
        &room.run_under(&emulator, reference, &checks(room)?)?,
        verdict,
        words,
    )
}

fn crash(room: &Room) -> Result<(), Failed> {
    let program = fixture("crashes-on-term", &room.program("fixture")?)?;
    let subject = Subject::of_program("crashes-on-term", program.into(), arm64());
    let records = room.run(subject, &checks(room)?, false);
    judged(
        &records,
        Verdict::Inconclusive,
        "qemu: uncaught target signal ",
    )
}

fn judged(
    records: &[conformance::event::Record],
    verdict: Verdict,
    words: &str,
) -> Result<(), Failed> {
    let record = of(records, TERM)?;
    let seen = line(record);
    let names = verdict != Verdict::Inconclusive || seen.contains("under qemu-aarch64-static");
    if record.verdict == verdict && seen.contains(words) && names {
        return Ok(());
    }
    Err(seen.into())
}

fn checks(room: &Room) -> Result<Vec<&'static conformance::check::Check>, String> {
    let check = room.checks.iter().find(|check| check.id == TERM);
    Ok(vec![*check.ok_or("the check is gone")?])
}

fn fixture(name: &str, program: &[u8]) -> Result<Vec<u8>, String> {
    let fixture = fixtures::all().find(|fixture| fixture.name == name);
    let fixture = fixture.ok_or_else(|| format!("no fixture {name}"))?;
    fixture.build(program).map_err(|error| error.to_string())
}
