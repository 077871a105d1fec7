//! Reports of what an image put into names, output and errors.
//!
//! The input is texts with a NUL between them; each place of a report takes the next. The
//! first byte is its shape as well, the second its format.

use conformance::check::Level;
use conformance::event::{
    Baseline, Conclusion, Host, Measurement, Record, Report, Run, RunHead, SCHEMA_VERSION, Tool,
    Verdict,
};
use conformance::report::human::Human;
use conformance::report::{github, gitlab, html, json, junit, markdown, sarif, tap};

/// No text acts on a terminal, breaks a line or makes an element; the shape of a report is
/// that of the same report about something harmless; and JSON comes back the same.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let texts: Vec<&str> = text.split('\0').collect();
    // What is equal stays equal: equal reasons share a line.
    let first = |text| {
        texts
            .iter()
            .position(|other| other == text)
            .unwrap_or_default()
    };
    let named: Vec<String> = texts
        .iter()
        .map(|it| format!("harmless-{}", first(it)))
        .collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let seed = bytes.get(..1).unwrap_or_default();
    let (hostile, harmless) = (report(seed, &texts), report(seed, &named));
    // One format at a time is nine times as many reports; some inputs go through all.
    let wanted = usize::from(bytes.get(1).unwrap_or(&0) & 15);
    let chosen = FORMATS.get(wanted..=wanted).unwrap_or(&FORMATS);
    for format in chosen {
        format(&hostile, &harmless);
    }
}

/// What holds of each format, for a report and the same one about something harmless.
const FORMATS: [fn(&Report, &Report); 9] = [
    in_json,
    in_human,
    in_tap,
    in_junit,
    in_markdown,
    in_html,
    in_github,
    in_gitlab,
    in_sarif,
];

fn in_json(hostile: &Report, _: &Report) {
    let text = json::render(hostile).expect("a report is JSON");
    let read: Report = serde_json::from_str(&text).expect("it is a report");
    assert_eq!(read, *hostile);
    legible("json", &text);
}

fn in_human(hostile: &Report, harmless: &Report) {
    let (one, other) = (human(hostile), human(harmless));
    legible("human", &one);
    assert_eq!(one.lines().count(), other.lines().count(), "{one}");
}

fn in_tap(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| tap::render(report).expect("text"));
    legible("tap", &one);
    let points = |text: &str| {
        let point = |line: &&str| {
            line.trim_start().starts_with("ok ") || line.trim_start().starts_with("not ok ")
        };
        text.lines()
            .filter(point)
            .map(|line| line.matches(" # ").count() > 0)
            .collect::<Vec<_>>()
    };
    assert_eq!(points(&one).len(), points(&other).len(), "{one}");
    assert_eq!(one.lines().count(), other.lines().count(), "{one}");
}

fn in_junit(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| junit::render(report).expect("XML"));
    legible("junit", &one);
    assert_eq!(elements(&one), elements(&other));
}

fn in_markdown(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| markdown::render(report).expect("text"));
    legible("markdown", &one);
    assert_eq!(
        tags(&one).len(),
        tags(&other).len() + mentions(&one) - mentions(&other),
        "{one}"
    );
    assert_eq!(one.lines().count(), other.lines().count(), "{one}");
}

fn in_html(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| html::render(report).expect("text"));
    legible("html", &one);
    assert_eq!(tags(&one), tags(&other), "{one}");
}

fn in_github(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| github::render(report).expect("text"));
    legible("github", &one);
    let commands = |text: &str| {
        let command = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        text.lines().map(command).collect::<Vec<_>>()
    };
    assert_eq!(commands(&one), commands(&other), "{one}");
}

fn in_gitlab(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| gitlab::render(report).expect("JSON"));
    legible("gitlab", &one);
    let issues = |text: &str| {
        let issues: Vec<serde_json::Value> = serde_json::from_str(text).expect("an array");
        issues.len()
    };
    assert_eq!(issues(&one), issues(&other), "{one}");
}

fn in_sarif(hostile: &Report, harmless: &Report) {
    let [one, other] = [hostile, harmless].map(|report| sarif::render(report).expect("JSON"));
    legible("sarif", &one);
    let results = |text: &str| -> Vec<usize> {
        let log: serde_json::Value = serde_json::from_str(text).expect("an object");
        let runs = log["runs"].as_array().expect("runs");
        let results = |run: &serde_json::Value| run["results"].as_array().map_or(0, Vec::len);
        runs.iter().map(results).collect()
    };
    assert_eq!(results(&one), results(&other), "{one}");
}

fn human(report: &Report) -> String {
    let mut human = Human::new(Vec::new());
    human.whole(report).expect("memory can be written");
    let styled = String::from_utf8(human.into_inner()).expect("text is UTF-8");
    // The styles are the suite's own; what is between them must hold no escape.
    let mut plain = String::new();
    let mut rest = styled.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let (style, after) = after.split_once('m').expect("a style ends");
        assert!(
            style.chars().all(|c| c.is_ascii_digit() || c == ';'),
            "{style:?}"
        );
        rest = after;
    }
    plain + rest
}

fn legible(format: &str, text: &str) {
    let acts = |c: char| {
        (c.is_control() && c != '\n')
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{2028}'..='\u{202e}').contains(&c)
    };
    assert!(!text.chars().any(acts), "{format}: {text:?}");
}

fn elements(xml: &str) -> Vec<(String, usize)> {
    let document = roxmltree::Document::parse(xml).expect("well-formed XML");
    let elements = document.descendants().filter(roxmltree::Node::is_element);
    elements
        .map(|node| (node.tag_name().name().to_owned(), node.attributes().len()))
        .collect()
}

fn tags(text: &str) -> Vec<&str> {
    text.split('<')
        .skip(1)
        .map(|rest| rest.split(['>', ' ']).next().unwrap_or_default())
        .collect()
}

/// A name with an @ is put in an element of its own, begin and end, so that it mentions no user.
fn mentions(markdown: &str) -> usize {
    2 * markdown.matches("<span>@</span>").count()
}

const VERDICTS: [Verdict; 5] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Skipped,
    Verdict::Inconclusive,
    Verdict::Error,
];

const LEVELS: [Level; 3] = [Level::Must, Level::Should, Level::Info];

fn record(place: usize, number: usize, seed: u8, text: &mut impl FnMut() -> String) -> Record {
    Record {
        id: format!("family/check-{place}"),
        title: text(),
        level: LEVELS[place % LEVELS.len()],
        declared_level: None,
        verdict: VERDICTS[(place + number) % VERDICTS.len()],
        requirement: text(),
        source: text(),
        source_url: "https://example.org/".to_owned(),
        expected: Some(text()),
        observed: Some(text()),
        evidence: vec![text(), text()],
        reason: Some(text()),
        blocked_by: None,
        skipped_for: None,
        required: false,
        expected_failure: place.is_multiple_of(3).then(&mut *text),
        baseline: (seed & 32 != 0).then(|| VERDICTS[place % VERDICTS.len()]),
        reproduce: Some(text()),
        explain: Some(text()),
        duration_us: 1,
    }
}

fn filled_run(number: usize, seed: u8, text: &mut impl FnMut() -> String) -> Run {
    let checks = (0..usize::from(seed >> 1 & 7)).map(|place| record(place, number, seed, text));
    let checks = checks.collect();
    let head = RunHead {
        image: format!("{number} {}", text()),
        digest: Some(format!("x{}", text())),
        platform: format!("x{}", text()),
        runtime: format!("x{}", text()),
        emulator: Some(format!("x{}", text())),
        wasi_engine: Some(format!("x{}", text())),
        engine_facts: vec![format!("x{}", text())],
        static_only: false,
        part: None,
        companion: false,
    };
    let mut run = Run::new(&head, checks);
    run.error = (seed & 16 != 0).then(&mut *text);
    let measurement = Measurement {
        value: Some(1.0),
        names: vec![text(), text()],
        ..Measurement::new("names")
    };
    run.baseline = (seed & 32 != 0).then(|| Baseline {
        image: text(),
        digest: Some(text()),
        error: (seed & 64 != 0).then(&mut *text),
        measurements: [("system_calls".to_owned(), measurement.clone())].into(),
    });
    run.measurements
        .insert("system_calls".to_owned(), measurement);
    run
}

/// A report in which every place that an image can fill takes the next of the texts.
fn report(seed: &[u8], texts: &[&str]) -> Report {
    let mut places = texts.iter().cycle();
    let mut text = || (*places.next().expect("there is one")).to_owned();
    let seed = seed.first().copied().unwrap_or_default();
    let runs = (0..=usize::from(seed & 1)).map(|number| filled_run(number, seed, &mut text));
    let runs = runs.collect();
    // What is empty is left out, which is another shape.
    let mut filled = || format!("x{}", text());
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: "tool".to_owned(),
            version: filled(),
        },
        spec_version: filled(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        host: Host {
            kernel: filled(),
            machine: filled(),
            cgroups: filled(),
            ..Host::default()
        },
        strict: seed & 32 != 0,
        static_only: false,
        part: None,
        error: None,
        conclusion: Conclusion::NotJudged,
        interrupted: seed & 64 != 0,
        runs,
        comparison: None,
    };
    report.conclude();
    report
}
