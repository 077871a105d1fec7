//! What the tables must hold, before anything is run.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::checks::FAMILIES;

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

#[test]
fn each_guest_fails_exactly_what_it_breaks() {
    let settings = settings(Arc::default());
    let checks = checks();
    for guest in wasi::programs() {
        let options = CheckOptions::default();
        let shared = Arc::new(Shared::new(guest.subject(), options, None, 1.0));
        let ran = runner::run(&checks, &shared, &settings, &mut |_| {});
        let judged = Trial::Guest(guest).compare(&ran.records);
        assert!(judged.is_right(), "{}: {judged:?}", guest.name);
        let engine = RUNS_COMPONENTS || !guest.is_component();
        let caught = judged.caught.len() == guest.breaks.len();
        assert!(caught || !engine, "{}: {judged:?}", guest.name);
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
        let judged = Trial::Image(image).compare(&ran.records);
        assert!(judged.is_right(), "{}: {judged:?}", image.name);
        assert_eq!(judged.caught.len(), image.breaks.len(), "{}", image.name);
    }
}
