//! What the tables must hold, before anything is run.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use pause_sandbox::Features;
use rstest::rstest;

use super::*;
use crate::backend::{Launch, Sandbox, Spec, StartError};
use crate::check::{Advice, Finding, Outcome, Pass, Source};
use crate::checks::FAMILIES;
use crate::context::Context;
use crate::shortage::Counters;
use crate::wasi_engine::Engine;

fn every_id() -> BTreeSet<&'static str> {
    FAMILIES
        .iter()
        .flat_map(|family| family.checks)
        .map(|check| check.id)
        .collect()
}

/// How many trials must fail each check.
fn broken() -> BTreeMap<&'static str, usize> {
    let mut broken = BTreeMap::new();
    for id in trials().flat_map(Trial::breaks) {
        *broken.entry(*id).or_default() += 1;
    }
    broken
}

#[test]
fn names_are_unique() {
    let mut names = BTreeSet::new();
    for trial in trials() {
        assert!(
            names.insert(trial.name()),
            "{} is there twice",
            trial.name()
        );
        assert!(!trial.about().is_empty(), "of {}", trial.name());
    }
}

#[test]
fn each_check_that_is_named_exists() {
    let known = every_id();
    for trial in trials() {
        for id in trial.breaks().iter().chain(trial.also()) {
            assert!(known.contains(id), "{id}, which {} names", trial.name());
        }
    }
}

#[test]
fn each_check_is_broken_by_something() {
    let broken = broken();
    let unbroken: Vec<_> = checks()
        .iter()
        .map(|check| check.id)
        .filter(|id| !broken.contains_key(id))
        .collect();
    assert!(unbroken.is_empty(), "nothing breaks {unbroken:?}");
}

#[test]
fn what_a_check_must_fail_on_is_named_whatever_it_is() {
    for (id, name) in [
        ("signals/term-exits-zero", "ignores-term"),
        ("image/user-numeric", "user-by-name"),
        ("pid1/is-one", "no-pid-namespace"),
        ("wasi/stays", "broken_exits"),
        ("wasi/host-ends-on-int", "host-ignores-int"),
    ] {
        assert!(breakers(id).contains(&name), "{id}: {:?}", breakers(id));
    }
    for check in checks() {
        let trials = trials().filter(|trial| trial.breaks().contains(&check.id));
        assert!(
            trials.map(Trial::name).eq(breakers(check.id)),
            "{}",
            check.id
        );
    }
    assert!(breakers("no/such").is_empty());
}

#[test]
fn each_check_that_guards_against_a_known_bug_is_broken_in_two_ways() {
    let broken = broken();
    let once: Vec<_> = checks()
        .iter()
        // Issues of the projects where such a bug was seen.
        .filter(|check| check.source.title.contains('#'))
        .map(|check| check.id)
        .filter(|id| broken.get(id).copied().unwrap_or_default() < 2)
        .collect();
    assert!(once.is_empty(), "less than two things break {once:?}");
}

#[test]
fn there_are_enough_of_each_kind() {
    let broken = trials().filter(|trial| !trial.is_sound()).count();
    let sound = fixtures::all().filter(|fixture| fixture.is_sound()).count();
    assert!(broken >= 70, "{broken} broken");
    assert!(sound >= 12, "{sound} sound");
}

#[rstest]
#[case::modules(false)]
#[case::components(true)]
fn each_guest_fails_exactly_what_it_breaks(#[case] components: bool) {
    let settings = settings(Arc::default());
    let checks = checks();
    for guest in wasi::programs().filter(|guest| guest.is_component() == components) {
        let options = CheckOptions::default();
        let shared = Arc::new(Shared::new(guest.subject(), options, None, 1.0));
        let ran = runner::run(&checks, &shared, &settings, &mut |_| {});
        let judged = Trial::Guest(guest).compare(&ran.records, &|_| true);
        assert!(judged.is_right(), "{}: {judged:?}", guest.name);
        let engine = RUNS_COMPONENTS || !guest.is_component();
        let caught = judged.caught.len() == guest.breaks.len();
        let broken = ran.records.iter();
        let broken = broken.filter(|record| guest.breaks.contains(&record.id.as_str()));
        let broken: Vec<_> = broken.map(|it| (&it.id, it.verdict, &it.reason)).collect();
        assert!(caught || !engine, "{}: {broken:?}", guest.name);
    }
}

#[test]
fn each_image_fails_exactly_what_it_breaks() {
    let settings = settings(Arc::default());
    let checks = checks();
    for image in images::all() {
        let options = (image.options)();
        let subject = image.subject().expect("the suite reads its own images");
        let shared = Arc::new(Shared::new(subject, options, None, 1.0));
        let ran = runner::run(&checks, &shared, &settings, &mut |_| {});
        let judged = Trial::Image(image).compare(&ran.records, &|_| true);
        assert!(judged.is_right(), "{}: {judged:?}", image.name);
        let is_static = |id: &&&str| {
            let check = checks.iter().find(|check| check.id == **id);
            check.is_some_and(|check| !check.needs.contains(Needs::SANDBOX))
        };
        let wanted = image.breaks.iter().filter(is_static).count();
        assert_eq!(judged.caught.len(), wanted, "{}", image.name);
    }
}

fn trial(name: &str) -> Trial {
    trials()
        .find(|trial| trial.name() == name)
        .expect("it is in a table")
}

/// Breaks `namespaces/stable`; may fail `security/syscall-surface`.
const PROGRAM: &str = "leaves-on-usr1";
/// Breaks `pid1/is-one`; may fail `startup/stays`.
const ENGINE: &str = "no-pid-namespace";

/// A check of no family, which needs nothing.
pub(super) const fn check(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Check {
    Check {
        id,
        title: "title",
        level: Level::Must,
        requirement: "It MUST hold.",
        source: Source {
            title: "pause.c",
            url: "https://example.org/",
        },
        advice: Advice::new("It matters.", "Mend it."),
        needs: Needs::empty(),
        after: &[],
        run,
    }
}

/// A backend that starts nothing.
pub(super) struct Idle;

impl Backend for Idle {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, _: Features) -> Option<&str> {
        None
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let cause = io::Error::other("not here");
        Err(StartError::Host {
            step: "mount",
            cause,
        })
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// How a trial counts where a check has this verdict, for this reason.
fn judged(name: &str, id: &str, verdict: Verdict, reason: &str) -> Judged {
    static ANY: Check = check("a/any", |_| unreachable!("it is not run"));
    let by = reason.strip_prefix("depends on ").map(str::to_owned);
    let record = Record {
        id: id.to_owned(),
        reason: Some(reason.to_owned()),
        blocked_by: by,
        ..runner::record(&ANY, verdict)
    };
    trial(name).compare(&[record], &|_| true)
}

#[rstest]
#[case::must(PROGRAM, "namespaces/stable")]
#[case::may(PROGRAM, "security/syscall-surface")]
#[case::engine_must(ENGINE, "pid1/is-one")]
#[case::engine_may(ENGINE, "startup/stays")]
fn a_failure_that_has_to_be_or_may_be_is_caught(#[case] name: &str, #[case] id: &str) {
    let judged = judged(name, id, Verdict::Fail, "why");
    assert_eq!(judged.caught, [id]);
    assert!(judged.is_right());
}

#[rstest]
#[case::fails_elsewhere(PROGRAM, "startup/stays", Verdict::Fail, "fail")]
#[case::sound_fails("sigwaitinfo", "startup/stays", Verdict::Fail, "fail")]
#[case::error(PROGRAM, "namespaces/stable", Verdict::Error, "error")]
#[case::error_that_may_fail(PROGRAM, "security/syscall-surface", Verdict::Error, "error")]
#[case::error_of_an_engine(ENGINE, "image/user-nonroot", Verdict::Error, "error")]
fn what_fails_on_what_is_right_there_is_wrong(
    #[case] name: &str,
    #[case] id: &str,
    #[case] verdict: Verdict,
    #[case] word: &str,
) {
    let judged = judged(name, id, verdict, "why");
    assert_eq!(judged.wrong, [format!("{id}: {word}: why")]);
    assert!(judged.caught.is_empty() && judged.missed.is_empty() && !judged.is_right());
}

/// On an image, nothing that breaks it depends on the host.
#[rstest]
#[case::passes(PROGRAM, Verdict::Pass, "")]
#[case::for_another(PROGRAM, Verdict::Skipped, "depends on a/b")]
#[case::image("user-alone", Verdict::Skipped, "needs a user")]
#[case::guest("broken_exits", Verdict::Skipped, "needs a clock")]
fn what_is_broken_and_does_not_fail_is_missed(
    #[case] name: &str,
    #[case] verdict: Verdict,
    #[case] reason: &str,
) {
    let id = trial(name).breaks()[0];
    let judged = judged(name, id, verdict, reason);
    let line = format!("{id}: {}: {reason}", verdict.as_str());
    assert_eq!(judged.missed, [line]);
    assert!(judged.caught.is_empty() && judged.wrong.is_empty() && !judged.is_right());
}

#[rstest]
#[case::not_provoked(PROGRAM, "namespaces/stable", Verdict::Skipped)]
#[case::not_provoked_by_an_engine(ENGINE, "pid1/is-one", Verdict::Skipped)]
#[case::not_told_apart(PROGRAM, "namespaces/stable", Verdict::Inconclusive)]
#[case::passes(PROGRAM, "startup/stays", Verdict::Pass)]
#[case::skipped(PROGRAM, "startup/stays", Verdict::Skipped)]
#[case::error_of_an_engine_that_may(ENGINE, "startup/stays", Verdict::Error)]
fn what_the_host_cannot_tell_and_what_passes_is_neither(
    #[case] name: &str,
    #[case] id: &str,
    #[case] verdict: Verdict,
) {
    let judged = judged(name, id, verdict, "needs a host");
    assert_eq!(judged, Judged::default());
}

#[test]
fn a_component_waits_for_an_engine_that_this_build_may_lack() {
    let name = "broken_component_exits";
    let id = trial(name).breaks()[0];
    let judged = judged(name, id, Verdict::Skipped, "needs an engine");
    assert_eq!(judged.missed.is_empty(), !RUNS_COMPONENTS);
}

#[test]
fn what_is_skipped_since_another_check_caught_it_is_not_missed() {
    static ANY: Check = check("a/any", |_| unreachable!("it is not run"));
    let record = |id: &str, verdict, blocked_by: Option<&str>| Record {
        id: id.to_owned(),
        blocked_by: blocked_by.map(str::to_owned),
        ..runner::record(&ANY, verdict)
    };
    let failed = record("startup/stays", Verdict::Fail, None);
    let judged = |by| {
        let skipped = record("pid1/is-one", Verdict::Skipped, Some(by));
        trial(ENGINE).compare(&[failed.clone(), skipped], &|_| true)
    };
    assert!(judged("startup/stays").is_right());
    assert_eq!(judged("startup/other").missed.len(), 1);
    assert_eq!(judged("startup/stays-on").missed.len(), 1);
}

#[test]
fn only_what_is_broken_in_the_long_run_waits_for_it() {
    static LONG: Check = Check {
        needs: Needs::LONG,
        ..check("pid1/is-one", |_| Err(Finding::new("it", "not").into()))
    };
    static SHORT: Check = check("pid1/is-one", |_| Err(Finding::new("it", "not").into()));
    static OTHER: Check = Check {
        needs: Needs::LONG,
        ..check("a/other", |_| Err(Finding::new("it", "not").into()))
    };
    assert_eq!(judge(ENGINE, &[&LONG]).caught, ["pid1/is-one"]);
    assert_eq!(
        judge(ENGINE, &[&SHORT, &OTHER]).wrong,
        <[&str; 0]>::default()
    );
}

#[test]
fn a_guest_is_run_by_the_host_of_its_pair() {
    static HOST: Check = check("wasi/host-ends-on-int", |context| {
        match context.options().wasi_engine {
            Engine::Builtin => Ok(Pass::new("it ends")),
            _ => Err(Finding::new("it ends", "it stays").into()),
        }
    });
    assert_eq!(judge("host-ignores-int", &[&HOST]).caught.len(), 1);
    assert!(judge("host-of-hourly", &[&HOST]).is_right());
}

/// Runs these checks over a trial, with a backend that starts nothing.
fn judge(name: &str, checks: &[&'static Check]) -> Judged {
    let engine: Arc<dyn Backend> = Arc::new(Idle);
    trial(name)
        .judge(checks, &engine, 1.0, &settings(Arc::default()))
        .expect("it can be made")
}

#[test]
fn the_checks_are_those_that_bind_and_that_this_build_can_break() {
    let checks = checks();
    assert!(checks.iter().all(|check| check.level != Level::Info));
    let bind = FAMILIES
        .iter()
        .flat_map(|family| family.checks.iter())
        .filter(|check| check.level != Level::Info);
    let left_out: Vec<_> = bind
        .filter(|check| !checks.iter().any(|kept| kept.id == check.id))
        .collect();
    let of_components = |check: &&&Check| check.needs.contains(OF_COMPONENTS);
    assert!(left_out.iter().all(of_components), "{left_out:?}");
    assert_eq!(left_out.is_empty(), RUNS_COMPONENTS);
}

#[test]
fn three_trials_a_processor_are_judged_at_a_time() {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert_eq!(at_a_time(), 3 * processors);
}

#[test]
fn a_trial_is_shown_by_its_kind_and_name() {
    assert_eq!(format!("{:?}", trial(ENGINE)), "engine no-pid-namespace");
}
