//! Text that an attacker chose cannot act in any report.

use proptest::prelude::*;

use conformance::event::Report;
use conformance::report::{html, junit, markdown, tap};

use crate::{readers, sample, snapshots};

/// Puts a text into every place that an image can fill.
fn filled(text: &str) -> Report {
    let mut report = sample::full();
    for run in &mut report.runs {
        for place in [&mut run.image, &mut run.platform, &mut run.runtime] {
            text.clone_into(place);
        }
        run.digest = Some(text.to_owned());
        run.emulator = Some(text.to_owned());
        run.wasi_engine = Some(text.to_owned());
        run.error = run.error.as_ref().map(|_| text.to_owned());
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

fn check(text: &str) {
    let report = filled(text);
    for (format, out) in snapshots::all(&report) {
        assert!(!out.chars().any(acts), "{format}: {out:?}");
    }
    // The shape is that of the same report with a harmless text.
    let harmless = filled("harmless");
    assert_eq!(
        readers::junit(&junit::render(&report).unwrap()),
        readers::junit(&junit::render(&harmless).unwrap()),
    );
    assert_eq!(
        readers::tap(&tap::render(&report).unwrap()),
        readers::tap(&tap::render(&harmless).unwrap()),
    );
    let lines = |report: &Report| snapshots::human(report).lines().count();
    assert_eq!(lines(&report), lines(&harmless));
}

#[test]
fn the_sample_text_acts_nowhere() {
    check(sample::HOSTILE);
}

#[test]
fn markdown_shows_text_and_makes_nothing_of_it() {
    let report = filled("|`<b>*x* [y](http://z) @you #1 </pre><script>");
    let mut out = markdown::render(&report).unwrap();
    // Inside of this element nothing but tags has a meaning.
    while let (Some(start), Some(end)) = (out.find("<pre>"), out.find("</pre>")) {
        assert!(!out[start..end].contains("<script>"));
        out.replace_range(start..end + "</pre>".len(), "");
    }
    assert!(!out.contains("<script>") && !out.contains("http://z") && !out.contains(" @you"));
}

/// Names of the elements, with their attributes: what the browser would make of it.
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
