//! The fixtures for arm64: a sound one fails no MUST, and a broken one passes no check that it
//! breaks.

use std::collections::BTreeSet;
use std::sync::Arc;

use conformance::calibration::breakers;
use conformance::check::{Check, Needs};
use conformance::event::Verdict;
use conformance::subject::Subject;
use fixtures::Fixture;
use libtest_mimic::{Failed, Trial};

use super::{Room, arm64, faults, line, none};

/// Words in the reason of a check that is inconclusive because of the emulator.
const LIMIT: &str = "under ";

/// Words in the reason if the program's fault cannot occur under the emulator.
const HARMLESS: &str = "leave its namespaces";

/// Words in the reason if it is unknown whether the program or the emulator ended.
const HELD: &str = "under which the kernel's default action of";

pub(super) fn trials(room: &Arc<Room>) -> Vec<Trial> {
    let whole = std::env::var_os("PAUSE_CONFORMANCE_FOREIGN").is_some_and(|it| it == "all");
    let trial =
        |name: &str, kind: &str, run: fn(&Room, Option<&'static Fixture>, bool) -> _, of| {
            let room = Arc::clone(room);
            Trial::test(name, move || run(&room, of, whole)).with_kind(kind)
        };
    let mut all = vec![trial("reference", "sound", sound, None)];
    for fixture in fixtures::all().filter(|fixture| fixture.is_sound()) {
        all.push(trial(fixture.name, "sound", sound, Some(fixture)));
    }
    let chosen = chosen(room);
    for fixture in fixtures::all().filter(|fixture| !fixture.is_sound()) {
        if whole || chosen.contains(fixture.name) {
            all.push(trial(fixture.name, "broken", broken, Some(fixture)));
        }
    }
    all
}

/// One broken program for each check that runs something.
fn chosen(room: &Room) -> BTreeSet<&'static str> {
    room.checks
        .iter()
        .filter(|check| runs(check))
        .filter_map(|check| breakers(check.id).first().map(|fixture| fixture.name))
        .collect()
}

fn runs(check: &Check) -> bool {
    check.needs.contains(Needs::SANDBOX)
}

fn subject(room: &Room, fixture: Option<&Fixture>) -> Result<Subject, Failed> {
    let program = match fixture {
        None => room.program("pause")?,
        Some(fixture) => fixture.build(&room.program("fixture")?)?,
    };
    let name = fixture.map_or("reference", |fixture| fixture.name);
    Ok(Subject::of_program(name, program.into(), arm64()))
}

fn sound(room: &Room, fixture: Option<&'static Fixture>, _: bool) -> Result<(), Failed> {
    let mut faults = faults(&room.run(subject(room, fixture)?, &room.checks, false));
    // A fixture may be inconclusive, but not the reference, which the calibration trusts.
    faults.retain(|fault| fixture.is_none() || !fault.contains(HELD));
    none(&faults)
}

fn broken(room: &Room, fixture: Option<&'static Fixture>, whole: bool) -> Result<(), Failed> {
    let fixture = fixture.ok_or("a fixture")?;
    let breaks: Vec<_> = room
        .checks
        .iter()
        .copied()
        .filter(|check| fixture.breaks.contains(&check.id))
        .collect();
    let long = breaks.iter().any(|check| check.needs.contains(Needs::LONG));
    let checks = if whole { &room.checks } else { &breaks };
    let records = room.run(subject(room, Some(fixture))?, checks, long);
    let harmless = records.iter().any(|record| {
        let reason = record.reason.as_deref().unwrap_or_default();
        fixture.breaks.contains(&record.id.as_str()) && reason.contains(HARMLESS)
    });
    let doubted: BTreeSet<_> = room
        .checks
        .iter()
        .filter(|check| room.backend.doubts(check.needs.host).is_some())
        .map(|check| check.id)
        .collect();
    let wrong = records.iter().filter(|record| {
        let id = &record.id.as_str();
        let reason = record.reason.as_deref().unwrap_or_default();
        match record.verdict {
            Verdict::Error => true,
            // With the calibration, which these runs do without, it is inconclusive.
            Verdict::Fail if doubted.contains(id) => false,
            Verdict::Fail => !fixture.breaks.contains(id) && !fixture.also.contains(id),
            Verdict::Pass => fixture.breaks.contains(id) && !harmless,
            // A check may be skipped or inconclusive only because of the emulator, with that
            // reason.
            Verdict::Skipped | Verdict::Inconclusive => {
                fixture.breaks.contains(id) && !whole && !reason.contains(LIMIT)
            }
        }
    });
    none(&wrong.map(line).collect::<Vec<_>>())
}
