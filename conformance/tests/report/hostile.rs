//! Text that an attacker chose cannot act in any report.

use proptest::prelude::*;

use conformance::event::{Baseline, Report};
use conformance::report::{github, gitlab, html, junit, markdown, sarif, tap, text};

use crate::{readers, sample, snapshots};

/// A report with this text in every field that an image can fill.
fn filled(text: &str) -> Report {
    let mut report = sample::full();
    for run in &mut report.runs {
        for place in [&mut run.image, &mut run.platform, &mut run.runtime] {
            text.clone_into(place);
        }
        run.digest = Some(text.to_owned());
        run.emulator = Some(text.to_owned());
        run.wasi_engine = Some(text.to_owned());
        run.root_lacks = vec![text.to_owned(), text.to_owned()];
        run.engine_facts = vec![text.to_owned(), text.to_owned()];
        run.error = run.error.as_ref().map(|_| text.to_owned());
        run.baseline = Some(Baseline {
            image: text.to_owned(),
            digest: Some(text.to_owned()),
            error: run.error.clone(),
            measurements: run.measurements.clone(),
        });
        for measurement in run.measurements.values_mut() {
            measurement.names = vec![text.to_owned()];
        }
        for check in &mut run.checks {
            check.observed = Some(text.to_owned());
            check.reason = Some(text.to_owned());
            check.evidence = vec![text.to_owned(), text.to_owned()];
            check.reproduce = Some(text.to_owned());
            check.expected_failure = check.expected_failure.as_ref().map(|_| text.to_owned());
        }
    }
    report
}

fn acts(c: char) -> bool {
    (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{fffe}'
}

fn check(hostile: &str) {
    let report = filled(hostile);
    for (format, out) in snapshots::all(&report) {
        assert!(!out.chars().any(acts), "{format}: {out:?}");
    }
    // The report has the same structure as with a harmless text.
    let harmless = filled("harmless");
    assert_eq!(
        readers::junit(&junit::render(&report).unwrap()),
        readers::junit(&junit::render(&harmless).unwrap()),
    );
    assert_eq!(
        readers::tap(&tap::render(&report).unwrap()),
        readers::tap(&tap::render(&harmless).unwrap()),
    );
    let commands = |report: &Report| -> Vec<String> {
        let read = readers::github(&github::render(report).unwrap());
        read.into_iter().map(|it| it.command).collect()
    };
    assert_eq!(commands(&report), commands(&harmless));
    let severities = |report: &Report| -> Vec<String> {
        let mut all: Vec<_> = readers::gitlab(&gitlab::render(report).unwrap())
            .into_values()
            .collect();
        all.sort();
        all
    };
    assert_eq!(severities(&report), severities(&harmless));
    let in_sarif = |report: &Report| readers::sarif(&sarif::render(report).unwrap());
    assert_eq!(in_sarif(&report), in_sarif(&harmless));
    let lines = |report: &Report| snapshots::human(report).lines().count();
    assert_eq!(lines(&report), lines(&harmless));
    let (one, other) = (in_markdown(&report), in_markdown(&harmless));
    let shape =
        |read: &readers::Markdown| -> Vec<usize> { read.rows.iter().map(Vec::len).collect() };
    assert_eq!(shape(&one), shape(&other));
    assert_eq!(one.headings.len(), other.headings.len());
    assert_eq!(one.links, other.links);
    assert_eq!(one.elements, other.elements);
    assert_eq!(one.others, other.others);
    // The page shows the text of the report.
    let shown = text::legible(&report);
    let observed = |row: &&Vec<String>| row[0] == "observed";
    let records = shown.runs.iter().flat_map(|run| &run.checks);
    let held: Vec<&str> = records
        .filter_map(|it| Some(it.observed.as_deref()?.trim()))
        .collect();
    for row in one.rows.iter().filter(observed) {
        assert!(held.contains(&row[1].trim()), "{row:?} of {held:?}");
    }
}

fn in_markdown(report: &Report) -> readers::Markdown {
    readers::markdown(&markdown::render(report).unwrap())
}

#[test]
fn the_sample_text_acts_nowhere() {
    check(sample::HOSTILE);
}

/// Unescaped, a line that begins with such a text is a rule, a list or a block of code.
#[test]
fn no_text_is_more_than_text_where_a_line_begins() {
    for text in [
        "---", "- x", "+ x", "=", "1) x", "1. x", "    x", "> x", "# x", "~~~",
    ] {
        check(text);
    }
}

#[test]
fn markdown_shows_text_and_makes_nothing_of_it() {
    let report = filled("|`<b>*x* [y](http://z) @you #1 </pre><script>");
    let mut out = markdown::render(&report).unwrap();
    // Inside of this element only tags have a meaning.
    while let (Some(start), Some(end)) = (out.find("<pre>"), out.find("</pre>")) {
        assert!(!out[start..end].contains("<script>"));
        out.replace_range(start..end + "</pre>".len(), "");
    }
    assert!(!out.contains("<script>") && !out.contains("http://z") && !out.contains(" @you"));
}

/// The names of the elements and of their attributes, as a browser would read them.
fn elements(html: &str) -> Vec<&str> {
    let tags = html.split('<').skip(1);
    tags.map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag))
        .collect()
}

#[test]
fn html_shows_text_and_makes_nothing_of_it() {
    let hostile =
        "</title></style><script>alert(1)</script><img src=x onerror='a' \" & --><!-- ]]>";
    let out = html::render(&filled(hostile)).unwrap();
    assert_eq!(
        elements(&out),
        elements(&html::render(&filled("harmless")).unwrap())
    );
    assert!(out.contains("&lt;script&gt;") && !out.contains("<script"));
    assert!(out.contains("default-src 'none'"));
}

#[test]
fn a_source_that_is_no_web_address_is_no_link() {
    let mut report = sample::full();
    for check in &mut report.runs[0].checks {
        "javascript:alert(1)".clone_into(&mut check.source_url);
    }
    let out = html::render(&report).unwrap();
    assert!(out.contains("javascript:alert(1)") && !out.contains("href"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_text_acts_or_changes_the_shape(text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f#\\\\<>&'\"|`]|ok 1|\\.\\.\\.|---){1,30}") {
        check(&text);
    }
}
