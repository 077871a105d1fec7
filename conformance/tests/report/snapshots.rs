//! Snapshots of every format.

use anstream::StripStream;
use conformance::event::Report;
use conformance::report::human::Human;
use conformance::report::{github, gitlab, html, json, junit, markdown, sarif, tap};

use crate::sample;

pub(crate) fn human(report: &Report) -> String {
    let mut human = Human::new(StripStream::new(Vec::new()));
    human.whole(report).unwrap();
    String::from_utf8(human.into_inner().into_inner()).unwrap()
}

/// Each sample in each format.
pub(crate) fn all(report: &Report) -> [(&'static str, String); 9] {
    [
        ("human", human(report)),
        ("json", json::render(report).unwrap()),
        ("junit", junit::render(report).unwrap()),
        ("tap", tap::render(report).unwrap()),
        ("markdown", markdown::render(report).unwrap()),
        ("html", html::render(report).unwrap()),
        ("github", github::render(report).unwrap()),
        ("gitlab", gitlab::render(report).unwrap()),
        ("sarif", sarif::render(report).unwrap()),
    ]
}

#[test]
fn a_report_with_everything_in_it() {
    for (format, text) in all(&sample::full()) {
        insta::assert_snapshot!(format!("full_{format}"), text);
    }
}

#[test]
fn a_report_of_one_good_run() {
    for (format, text) in all(&sample::good()) {
        insta::assert_snapshot!(format!("good_{format}"), text);
    }
}

#[test]
fn a_report_beside_a_baseline() {
    for (format, text) in all(&sample::beside_a_baseline()) {
        insta::assert_snapshot!(format!("baseline_{format}"), text);
    }
}

#[test]
fn a_report_of_several_images() {
    for (format, text) in all(&sample::compared_images()) {
        insta::assert_snapshot!(format!("compared_{format}"), text);
    }
}

#[test]
fn a_report_that_was_interrupted() {
    for (format, text) in all(&sample::interrupted()) {
        insta::assert_snapshot!(format!("interrupted_{format}"), text);
    }
}

#[test]
fn a_report_of_a_part_of_the_checks() {
    for (format, text) in all(&sample::part()) {
        insta::assert_snapshot!(format!("part_{format}"), text);
    }
}

#[test]
fn a_report_of_nothing_that_could_be_judged() {
    for (format, text) in all(&sample::not_judged()) {
        insta::assert_snapshot!(format!("not_judged_{format}"), text);
    }
}

#[test]
fn a_report_without_any_run() {
    for (format, text) in all(&sample::report(false, Vec::new())) {
        insta::assert_snapshot!(format!("empty_{format}"), text);
    }
}

#[test]
fn styles_are_written_for_a_terminal() {
    let mut styled = Human::new(Vec::new());
    styled.whole(&sample::good()).unwrap();
    let styled = String::from_utf8(styled.into_inner()).unwrap();
    assert!(styled.contains("\x1b[1m"), "{styled:?}");
    assert_eq!(
        anstream::adapter::strip_str(&styled).to_string(),
        human(&sample::good())
    );
}

#[test]
fn colours_say_what_weighs() {
    for (name, report) in [
        ("full", sample::full()),
        ("baseline", sample::beside_a_baseline()),
    ] {
        let mut human = Human::new(Vec::new());
        human.whole(&report).unwrap();
        let text = String::from_utf8(human.into_inner()).unwrap();
        let name = format!("{name}_human_in_colour");
        insta::assert_snapshot!(name, text.replace('\x1b', "^["));
    }
}
