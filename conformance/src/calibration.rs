//! Whether a check can tell right from wrong where programs run under an emulator: the
//! reference must pass it there, and a program that breaks it must fail it.
//!
//! **No verdict without that**: what is not shown to tell them apart is inconclusive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fixtures::Fixture;

use crate::backend::Backend;
use crate::check::{Check, Level, Needs};
use crate::context::{CheckOptions, Shared};
use crate::event::{Record, Verdict};
use crate::runner::{self, Settings};
use crate::subject::{Platform, Subject};

/// Broken programs at a time: most of their checks wait for what does not come.
const AT_A_TIME: usize = 12;

/// Checks that say nothing of programs of this platform here, and why.
pub type Unfit = BTreeMap<&'static str, String>;

/// The programs of known worth of one platform.
#[derive(Debug, Default)]
pub struct Programs {
    /// The reference pause.
    reference: Option<Vec<u8>>,
    /// The program that every fixture is made from.
    fixture: Option<Vec<u8>>,
}

impl Programs {
    /// Those that `folder` holds as `linux-ARCH/pause` and `linux-ARCH/fixture`.
    pub fn read(folder: Option<&Path>, platform: &Platform) -> Self {
        let platform = platform.normal();
        let names = [
            format!("linux-{}", platform.architecture),
            format!(
                "linux-{}-{}",
                platform.architecture,
                platform.variant.as_deref().unwrap_or_default()
            ),
        ];
        let read = |name: &str| {
            names
                .iter()
                .find_map(|platform| std::fs::read(folder?.join(platform).join(name)).ok())
        };
        Self {
            reference: read("pause"),
            fixture: read("fixture"),
        }
    }
}

/// Runs the reference, and a broken program for each check, on this backend.
pub fn calibrate(
    checks: &[&'static Check],
    backend: &Arc<dyn Backend + Send + Sync>,
    programs: &Programs,
    platform: &Platform,
    time_scale: f64,
    settings: &Settings,
) -> Unfit {
    let offered = backend.offers() | Needs::PROGRAM | Needs::ELF | Needs::HINTS;
    let checks: Vec<_> = checks
        .iter()
        .copied()
        .filter(|check| check.level != Level::Info && check.needs.contains(Needs::SANDBOX))
        .filter(|check| offered.contains(check.needs))
        .collect();
    let Some(reference) = &programs.reference else {
        let reason = format!(
            "not shown to tell right from wrong under the emulator: there is no reference pause for \
             {platform}; `cargo xtask build --fixtures` builds it, `--programs DIR` names its folder"
        );
        return checks
            .iter()
            .map(|check| (check.id, reason.clone()))
            .collect();
    };
    let run = |name: &str, bytes: Vec<u8>, checks: &[&'static Check]| {
        let subject = Subject::of_program(name, bytes.into(), platform.clone());
        let shared = Shared::new(
            subject,
            CheckOptions::default(),
            Some(Arc::clone(backend)),
            time_scale,
        );
        runner::run(checks, &Arc::new(shared), settings, &mut |_| {}).records
    };
    let unfit = Mutex::new(Unfit::new());
    let note = |check: &'static Check, reason: String| {
        let mut unfit = unfit.lock().unwrap_or_else(PoisonError::into_inner);
        unfit.entry(check.id).or_insert(reason);
    };
    let broken: Vec<(&'static Check, Vec<&'static Fixture>)> = checks
        .iter()
        .map(|check| (*check, breakers(check.id)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for record in run("the reference", reference.clone(), &checks) {
                let check = checks.iter().find(|check| check.id == record.id);
                if let (Some(check), Some(seen)) = (check, not(Verdict::Pass, &record)) {
                    note(
                        check,
                        format!("under the emulator the reference pause {seen}"),
                    );
                }
            }
        });
        let Some(fixture) = &programs.fixture else {
            return;
        };
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((check, breakers)) = broken.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let mut passes = None;
                    for breaker in breakers {
                        passes = match breaker.build(fixture) {
                            Err(error) => Some(error.to_string()),
                            Ok(bytes) => run(breaker.name, bytes, &[*check])
                                .first()
                                .and_then(|record| not(Verdict::Fail, record))
                                .map(|seen| format!("`{}`, which breaks it, {seen}", breaker.name)),
                        };
                        if passes.is_none() {
                            break;
                        }
                    }
                    if let Some(seen) = passes {
                        note(check, format!("under the emulator {seen}"));
                    }
                }
            });
        }
    });
    unfit.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What it came to instead, in words.
fn not(wanted: Verdict, record: &Record) -> Option<String> {
    let why = record.observed.as_ref().or(record.reason.as_ref());
    let why = why.map_or("", String::as_str);
    let words = match record.verdict {
        verdict if verdict == wanted => return None,
        Verdict::Pass => "passes",
        Verdict::Fail => "fails",
        Verdict::Skipped => "is skipped",
        Verdict::Inconclusive => "is inconclusive",
        Verdict::Error => "ends in an error",
    };
    Some(format!("{words} too: {why}"))
}

/// How many broken programs are tried for a check, before it is given up: what breaks one
/// may be a thing that the emulator does not let happen.
const TRIED: usize = 3;

/// Programs that break this check, and little else, best first.
fn breakers(id: &str) -> Vec<&'static Fixture> {
    let mut found: Vec<_> = fixtures::all()
        .filter(|fixture| fixture.breaks.contains(&id))
        .collect();
    found.sort_by_key(|fixture| (fixture.is_sound(), fixture.breaks.len()));
    found.truncate(TRIED);
    found
}
