//! `--report FORMAT[=FILE]` on the command line.

use conformance::report::spec::{Format, ReportSpec, plan};
use rstest::rstest;

fn parse(texts: &[&str]) -> Vec<ReportSpec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[rstest]
#[case("json", Format::Json, None)]
#[case("json=-", Format::Json, None)]
#[case("junit=out/a=b.xml", Format::Junit, Some("out/a=b.xml"))]
#[case("human", Format::Human, None)]
#[case("tap=x", Format::Tap, Some("x"))]
#[case("markdown=/dev/stderr", Format::Markdown, Some("/dev/stderr"))]
fn a_format_and_its_file(#[case] text: &str, #[case] format: Format, #[case] file: Option<&str>) {
    let expected = ReportSpec {
        format,
        file: file.map(Into::into),
    };
    assert_eq!(text.parse(), Ok(expected));
}

#[rstest]
#[case(
    "jsn",
    "unknown report format `jsn`; known are human, json, junit, tap, markdown, html, github, gitlab, sarif",
    "did you mean `json`?"
)]
#[case(
    "",
    "unknown report format ``; known are human, json, junit, tap, markdown, html, github, gitlab, sarif",
    "write `--report FORMAT` or `--report FORMAT=FILE`"
)]
#[case(
    "JSON",
    "unknown report format `JSON`; known are human, json, junit, tap, markdown, html, github, gitlab, sarif",
    "write `--report FORMAT` or `--report FORMAT=FILE`"
)]
#[case(
    "tap=",
    "no file after `tap=`",
    "leave out the `=` for stdout, or write `tap=FILE`"
)]
fn a_wrong_one_is_explained(#[case] text: &str, #[case] message: &str, #[case] hint: &str) {
    let error = text.parse::<ReportSpec>().unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.hint().as_str()),
        (message, hint)
    );
}

#[rstest]
#[case::none(&[], &["human"])]
#[case::only_files(&["json=a", "tap=b"], &["human", "json=a", "tap=b"])]
#[case::one_on_stdout(&["json=a", "tap"], &["json=a", "tap"])]
#[case::human_in_a_file(&["human=a"], &["human", "human=a"])]
fn people_get_a_report_where_stdout_is_free(#[case] asked: &[&str], #[case] planned: &[&str]) {
    assert_eq!(plan(&parse(asked)), Ok(parse(planned)));
}

#[rstest]
#[case(&["json", "junit=x", "tap=-"], "reports json and tap both go to stdout")]
#[case(&["json=x", "tap=./x"], "reports json and tap both go to `./x`")]
#[case(&["json=x", "json=x"], "reports json and json both go to `x`")]
fn two_reports_do_not_share_an_output(#[case] asked: &[&str], #[case] message: &str) {
    assert_eq!(plan(&parse(asked)).unwrap_err().to_string(), message);
}
