//! Lines of the expectation file, and what they do to a record and its run.

use proptest::prelude::*;
use rstest::rstest;

use super::{ExpectError, Expectations, LineError};
use crate::check::{Advice, Check, Family, Level, Needs, Pass, Source};
use crate::event::{Conclusion, Run, RunHead, Verdict};

const fn check(id: &'static str) -> Check {
    Check {
        id,
        title: "title",
        level: Level::Must,
        requirement: "It MUST",
        source: Source {
            title: "source",
            url: "https://example.org",
        },
        advice: Advice::new("It matters.", "Mend it."),
        needs: Needs::empty(),
        after: &[],
        run: |_| Ok(Pass::new("seen")),
    }
}

static ONE: Check = check("reaping/one-orphan");
static TWO: Check = check("reaping/burst");
static FAMILIES: [&Family; 1] = [&Family {
    name: "reaping",
    title: "reaping",
    checks: &[&ONE, &TWO],
}];

fn parse(text: &str) -> Result<Expectations, (usize, LineError)> {
    Expectations::parse(text, &FAMILIES)
}

fn reason(text: &str, image: &str, check: &Check) -> Option<String> {
    let mut record = crate::runner::record(check, Verdict::Fail);
    parse(text).unwrap().apply(image, "2026-06-01", &mut record);
    record.expected_failure
}

#[rstest]
#[case::every_image("reaping/burst # why", "any", Some("why"))]
#[case::tabs_and_spaces("  reaping/burst\t#  why so  ", "any", Some("why so"))]
#[case::no_space_before("reaping/burst# why", "any", Some("why"))]
#[case::hash_in_reason("reaping/burst # see #12", "any", Some("see #12"))]
#[case::other_check("reaping/one-orphan # why", "any", None)]
#[case::glob_matches("reaping/burst reg/*:3.? # why", "reg/a/b:3.9", Some("why"))]
#[case::glob_does_not_match("reaping/burst reg/*:3.? # why", "reg/a/b:3.10", None)]
#[case::glob_is_anchored("reaping/burst pause # why", "a/pause", None)]
#[case::first_line_wins("reaping/burst a* # one\nreaping/burst * # two", "abc", Some("one"))]
#[case::second_line("reaping/burst a* # one\nreaping/burst * # two", "xyz", Some("two"))]
#[case::comments(
    "# comment\n\n   # another\nreaping/burst # why\r\n",
    "any",
    Some("why")
)]
#[case::still("reaping/burst until:2026-06-01 # why", "any", Some("why"))]
#[case::over("reaping/burst until:2026-05-31 # why", "any", None)]
#[case::over_and_another(
    "reaping/burst a* until:2026-05-31 # one\nreaping/burst # two",
    "abc",
    Some("two")
)]
#[case::nothing("", "any", None)]
fn a_line_marks_its_check_on_its_images(
    #[case] text: &str,
    #[case] image: &str,
    #[case] expected: Option<&str>,
) {
    assert_eq!(reason(text, image, &TWO).as_deref(), expected);
}

#[rstest]
#[case(
    "reaping/burst",
    1,
    "no reason for `reaping/burst`",
    "a line is `ID [IMAGE-GLOB] [until:YYYY-MM-DD] # why`"
)]
#[case(
    "\nreaping/burst #  ",
    2,
    "no reason for `reaping/burst`",
    "a line is `ID [IMAGE-GLOB] [until:YYYY-MM-DD] # why`"
)]
#[case(
    "reaping/burst a b # c",
    1,
    "unexpected `b`",
    "a line is `ID [IMAGE-GLOB] [until:YYYY-MM-DD] # why`"
)]
#[case(
    "#\n#\nreaping/brst # c",
    3,
    "unknown check `reaping/brst`",
    "did you mean `reaping/burst`?"
)]
#[case(
    "reaping/burst until:soon # c",
    1,
    "`soon` is no day",
    "write it as 2026-12-31"
)]
#[case(
    "reaping/burst until:2026-02-30 # c",
    1,
    "`2026-02-30` is no day",
    "write it as 2026-12-31"
)]
#[case("\x1b[m # c", 1, "unknown check `\\x1b[m`", "`list` shows all checks")]
#[case(
    "reaping/burst # a\nreaping/burst # b",
    2,
    "`reaping/burst` is given twice for the same images",
    "remove one of the lines"
)]
#[case(
    "reaping/burst x # a\nreaping/burst x # b",
    2,
    "`reaping/burst` is given twice for the same images",
    "remove one of the lines"
)]
fn a_wrong_line_is_named(
    #[case] text: &str,
    #[case] line: usize,
    #[case] message: &str,
    #[case] hint: &str,
) {
    let (number, error) = parse(text).unwrap_err();
    assert_eq!(
        (number, error.to_string().as_str(), error.hint().as_str()),
        (line, message, hint)
    );
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_cause() {
    let error = Expectations::read("/nonexistent/known".as_ref(), &FAMILIES).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the expectations `/nonexistent/known`"
    );
    assert!(matches!(&error, ExpectError::Read { source, .. }
        if source.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(
        error.hint().as_deref(),
        Some("check the path after --expect")
    );
}

#[test]
fn a_wrong_line_of_a_file_is_named_with_file_and_number() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "# fine\nreaping/bust # x\n").unwrap();
    let error = Expectations::read(file.path(), &FAMILIES).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("expectations `{}`, line 2", file.path().display())
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("did you mean `reaping/burst`?")
    );
}

#[rstest]
#[case(Verdict::Fail, Conclusion::Conformant)]
#[case(Verdict::Pass, Conclusion::NotConformant)]
#[case(Verdict::Skipped, Conclusion::NotJudged)]
#[case(Verdict::Inconclusive, Conclusion::Inconclusive)]
#[case(Verdict::Error, Conclusion::NotJudged)]
fn an_expectation_decides_as_documented(#[case] verdict: Verdict, #[case] expected: Conclusion) {
    let head = RunHead {
        image: "image".to_owned(),
        platform: "linux/amd64".to_owned(),
        runtime: "embedded".to_owned(),
        ..RunHead::default()
    };
    let mut record = crate::runner::record(&TWO, verdict);
    parse("reaping/burst image # why")
        .unwrap()
        .apply(&head.image, "2026-06-01", &mut record);
    let mut run = Run::new(&head, vec![record]);
    run.conclude(false);
    assert_eq!(run.conclusion, expected);
}

#[test]
fn a_failure_whose_expectation_is_over_says_so() {
    let mut record = crate::runner::record(&TWO, Verdict::Fail);
    let expectations = parse("reaping/burst until:2026-05-31 # upstream").unwrap();
    expectations.apply("image", "2026-06-01", &mut record);
    let words = "it was expected to fail until 2026-05-31 (upstream)";
    assert_eq!(record.evidence, [words]);
    let mut record = crate::runner::record(&TWO, Verdict::Pass);
    expectations.apply("image", "2026-06-01", &mut record);
    assert_eq!((record.expected_failure, record.evidence.len()), (None, 0));
}

#[test]
fn what_no_line_names_loses_an_older_mark() {
    let mut record = crate::runner::record(&TWO, Verdict::Fail);
    record.expected_failure = Some("old".to_owned());
    Expectations::default().apply("image", "2026-06-01", &mut record);
    assert_eq!(record.expected_failure, None);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(reaping/burst|[ -~\\n]|\\PC){0,40}", image in any::<String>()) {
        if let Ok(expectations) = parse(&text) {
            expectations.apply(&image, "2026-06-01", &mut crate::runner::record(&TWO, Verdict::Fail));
        }
    }
}
