//! Independent readers: for JUnit an XML parser and the schema of Jenkins' xUnit plugin, for TAP and
//! for workflow commands a small consumer each, for Markdown a parser of CommonMark with tables, for
//! SARIF the types made from its schema.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use roxmltree::{Document, Node};

/// A JUnit report, as a CI server reads it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Junit {
    pub(crate) suites: usize,
    pub(crate) cases: usize,
    pub(crate) failures: usize,
    pub(crate) errors: usize,
    pub(crate) skipped: usize,
}

impl Junit {
    pub(crate) fn is_red(&self) -> bool {
        self.failures + self.errors > 0
    }
}

type Shape = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

/// The schema of the plugin (junit-10.xsd): an element, its required and optional attributes, and
/// the elements in it.
const SHAPE: [Shape; 9] = [
    (
        "testsuites",
        &[],
        &["name", "time", "tests", "failures", "errors"],
        &["testsuite"],
    ),
    (
        "testsuite",
        &["name", "tests", "failures", "errors"],
        &["time", "skipped", "timestamp", "hostname", "id", "package"],
        &["properties", "testcase", "system-out", "system-err"],
    ),
    ("properties", &[], &[], &["property"]),
    ("property", &["name", "value"], &[], &[]),
    (
        "testcase",
        &["name"],
        &["time", "classname", "group"],
        &["skipped", "error", "failure", "system-out", "system-err"],
    ),
    ("failure", &[], &["type", "message"], &[]),
    ("error", &[], &["type", "message"], &[]),
    ("skipped", &[], &["type", "message"], &[]),
    ("system-out", &[], &[], &[]),
];

fn shape(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let known = SHAPE.iter().find(|(element, ..)| *element == name);
    let (_, must, may, inner) = known.unwrap_or_else(|| panic!("an element {name}"));
    for attribute in node.attributes() {
        let attribute = attribute.name();
        assert!(
            must.contains(&attribute) || may.contains(&attribute),
            "{name} {attribute}"
        );
    }
    assert!(must.iter().all(|it| node.has_attribute(*it)), "{name}");
    if let Some(time) = node.attribute("time") {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (whole, part) = time.split_once('.').unwrap_or((time, ""));
        assert!(digits(whole) && digits(part), "{time}");
    }
    for child in node.children() {
        if child.is_element() {
            assert!(
                inner.contains(&child.tag_name().name()),
                "{child:?} in {name}"
            );
            shape(child);
        } else if !inner.is_empty() {
            assert!(
                child.text().is_none_or(|text| text.trim().is_empty()),
                "text in {name}"
            );
        }
    }
}

/// Reads a report, and asserts that its counts are those of its cases, and that no two of these have
/// one name.
pub(crate) fn junit(text: &str) -> Junit {
    let document = Document::parse(text).unwrap();
    let root = document.root_element();
    shape(root);
    assert!(root.has_tag_name("testsuites"));
    let mut total = Junit::default();
    let mut names = BTreeSet::new();
    for suite in root.children().filter(Node::is_element) {
        assert!(suite.has_tag_name("testsuite"));
        let cases: Vec<_> = suite
            .children()
            .filter(|node| node.has_tag_name("testcase"))
            .collect();
        let with = |tag| {
            let has = |case: &&Node<'_, '_>| case.children().any(|node| node.has_tag_name(tag));
            cases.iter().filter(has).count()
        };
        let counts = [
            ("tests", cases.len()),
            ("failures", with("failure")),
            ("errors", with("error")),
        ];
        for (name, count) in counts {
            assert_eq!(
                suite.attribute(name),
                Some(count.to_string().as_str()),
                "{name}"
            );
        }
        for case in &cases {
            let name = ["classname", "name"].map(|attribute| case.attribute(attribute));
            assert!(names.insert(name), "two are {name:?}");
            let outcomes = ["failure", "error", "skipped"];
            let ended = case
                .children()
                .filter(|node| outcomes.contains(&node.tag_name().name()));
            assert!(ended.count() <= 1);
        }
        total.suites += 1;
        total.cases += cases.len();
        total.failures += with("failure");
        total.errors += with("error");
        total.skipped += with("skipped");
    }
    for (name, count) in [
        ("tests", total.cases),
        ("failures", total.failures),
        ("errors", total.errors),
    ] {
        assert_eq!(
            root.attribute(name),
            Some(count.to_string().as_str()),
            "{name}"
        );
    }
    total
}

/// A TAP stream, as a harness reads it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) points: usize,
    pub(crate) failed: usize,
    pub(crate) todo: usize,
    pub(crate) skipped: usize,
    pub(crate) bailed: bool,
    pub(crate) subtests: Vec<Tap>,
}

impl Tap {
    pub(crate) fn is_red(&self) -> bool {
        self.failed > 0 || self.bailed
    }
}

/// Reads a TAP 14 stream. Panics if it breaks the specification.
pub(crate) fn tap(text: &str) -> Tap {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    block(&lines.collect::<Vec<_>>())
}

fn block(lines: &[&str]) -> Tap {
    let mut tap = Tap::default();
    let (mut plan, mut nested, mut yaml) = (None, Vec::new(), false);
    for line in lines {
        if yaml {
            assert!(line.starts_with("  "), "{line}");
            yaml = *line != "  ...";
        } else if let Some(inner) = line.strip_prefix("    ") {
            nested.push(inner);
        } else if *line == "  ---" {
            yaml = true;
        } else if let Some(count) = line.strip_prefix("1..") {
            assert!(plan.is_none(), "a second plan");
            plan = count.split(' ').next().unwrap().parse::<usize>().ok();
        } else if line.starts_with("Bail out!") {
            tap.bailed = true;
        } else if !line.starts_with('#') {
            point(line, &mut tap);
            if !nested.is_empty() {
                tap.subtests.push(block(&std::mem::take(&mut nested)));
            }
        } else {
            assert!(!tap.bailed, "more after a bail out: {line}");
        }
    }
    assert!(!yaml && nested.is_empty(), "ends in the middle");
    assert_eq!(plan, Some(tap.points), "the plan is not kept");
    tap
}

fn point(line: &str, tap: &mut Tap) {
    let (ok, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (
            true,
            line.strip_prefix("ok ")
                .unwrap_or_else(|| panic!("no test line: {line}")),
        ),
    };
    let (number, description) = rest.split_once(" - ").unwrap();
    tap.points += 1;
    assert_eq!(number.parse(), Ok(tap.points));
    // An unescaped `#` begins the directive.
    let mut directive = None;
    let mut escaped = false;
    for (place, c) in description.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '#' => {
                assert!(directive.is_none(), "two directives: {line}");
                directive = Some(&description[place + 1..]);
            }
            _ => {}
        }
    }
    match directive.map(|text| text.trim_start().split(' ').next().unwrap()) {
        Some("SKIP") => tap.skipped += 1,
        Some("TODO") => tap.todo += 1,
        Some(other) => panic!("no such directive: {other}"),
        None => tap.failed += usize::from(!ok),
    }
}

/// A Markdown report, as a page shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Markdown {
    /// Text of each heading.
    pub(crate) headings: Vec<String>,
    /// Text of each cell, by row, heads included.
    pub(crate) rows: Vec<Vec<String>>,
    /// The target of each link and picture.
    pub(crate) links: Vec<String>,
    /// The names of the HTML elements in order, without those around an @.
    pub(crate) elements: Vec<String>,
    /// All other structure: lists, paragraphs, emphasis, code.
    pub(crate) others: Vec<String>,
}

/// Reads a Markdown report.
pub(crate) fn markdown(text: &str) -> Markdown {
    let mut read = Markdown::default();
    let (mut words, mut html) = (String::new(), String::new());
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    for event in Parser::new_ext(text, options) {
        match event {
            Event::Text(text) => words.push_str(&text),
            Event::Html(text) | Event::InlineHtml(text) => html.push_str(&text),
            Event::Start(Tag::TableHead | Tag::TableRow) => read.rows.push(Vec::new()),
            Event::Start(Tag::TableCell | Tag::Heading { .. }) => words.clear(),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                read.links.push(dest_url.into_string());
            }
            Event::End(TagEnd::TableCell) => {
                let row = read.rows.last_mut().expect("a cell is in a row");
                row.push(std::mem::take(&mut words));
            }
            Event::End(TagEnd::Heading(_)) => read.headings.push(std::mem::take(&mut words)),
            Event::End(_) | Event::SoftBreak => {}
            other => read.others.push(match other {
                Event::Start(tag) => format!("{:?}", tag.to_end()),
                other => format!("{other:?}"),
            }),
        }
    }
    let html = html.replace("<span></span>", "");
    let name = |rest: &str| rest.split(['>', ' ']).next().unwrap_or_default().to_owned();
    read.elements = html.split('<').skip(1).map(name).collect();
    read
}

/// One workflow command of GitHub Actions.
#[derive(Debug)]
pub(crate) struct Annotation {
    pub(crate) command: String,
    pub(crate) message: String,
}

/// As the runner reads them: a line each, `::name key=value,key=value::message`, with escapes.
pub(crate) fn github(text: &str) -> Vec<Annotation> {
    let command = |line: &str| {
        let (head, message) = line
            .strip_prefix("::")
            .and_then(|rest| rest.split_once("::"))
            .unwrap_or_else(|| panic!("no command: {line:?}"));
        let (command, properties) = head.split_once(' ').expect("a command has a title");
        assert!(["error", "warning", "notice"].contains(&command), "{line}");
        let (key, title) = properties.split_once('=').expect("a property");
        assert_eq!(key, "title", "{line}");
        assert!(!title.contains([',', ':']), "{line}");
        Annotation {
            command: command.to_owned(),
            message: message
                .replace("%0D", "\r")
                .replace("%0A", "\n")
                .replace("%25", "%"),
        }
    };
    text.lines().map(command).collect()
}

/// As GitLab reads its issues: what must be there is, and no two have one fingerprint, of which
/// it would show the first alone. The severities, by fingerprint.
pub(crate) fn gitlab(text: &str) -> BTreeMap<String, String> {
    let issues: Vec<serde_json::Value> = serde_json::from_str(text).expect("an array");
    let mut severities = BTreeMap::new();
    for issue in &issues {
        let text = |key: &str| issue[key].as_str().expect("text").to_owned();
        assert!(!text("description").is_empty() && !text("check_name").is_empty());
        assert!(
            !issue["location"]["path"]
                .as_str()
                .expect("a path")
                .is_empty()
        );
        assert!(issue["location"]["lines"]["begin"].is_u64());
        let severity = text("severity");
        assert!(["info", "minor", "major", "critical", "blocker"].contains(&&*severity));
        let before = severities.insert(text("fingerprint"), severity);
        assert!(before.is_none(), "two issues are one: {issue:#}");
    }
    severities
}

/// What code scanning makes of a SARIF file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sarif {
    /// Every invocation did what it was to do.
    pub(crate) succeeded: bool,
    /// Results of level `error` that are not suppressed.
    pub(crate) errors: usize,
    /// Open questions.
    pub(crate) open: usize,
    /// All results.
    pub(crate) results: usize,
}

/// By the types that are made from the standard's schema, and the rules it has in words.
pub(crate) fn sarif(text: &str) -> Sarif {
    use serde_sarif::sarif::{ResultKind, ResultLevel};

    let log: serde_sarif::sarif::Sarif = serde_json::from_str(text).expect("it is SARIF");
    let results: Vec<_> = log
        .runs
        .iter()
        .flat_map(|run| {
            let rules = run.tool.driver.rules.as_deref().unwrap_or_default();
            let results = run.results.as_deref().unwrap_or_default();
            results.iter().inspect(|result| {
                let rule = result.rule_index.and_then(|at| rules.get(at as usize));
                let rule = rule.expect("its rule is there");
                assert_eq!(Some(&rule.id), result.rule_id.as_ref());
                let is_fail = result.kind == Some(ResultKind::Fail);
                assert_eq!(is_fail, result.level != Some(ResultLevel::None));
            })
        })
        .collect();
    let invocations = log
        .runs
        .iter()
        .flat_map(|run| run.invocations.iter().flatten());
    let is_error = |result: &&&serde_sarif::sarif::Result| {
        result.level == Some(ResultLevel::Error) && result.suppressions.is_none()
    };
    Sarif {
        succeeded: invocations.into_iter().all(|it| it.execution_successful),
        errors: results.iter().filter(is_error).count(),
        open: results
            .iter()
            .filter(|it| it.kind == Some(ResultKind::Open))
            .count(),
        results: results.len(),
    }
}
