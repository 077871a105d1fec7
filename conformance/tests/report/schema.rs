//! The JSON report against its published schema.

use std::path::Path;

use conformance::event::{Report, SCHEMA_VERSION};
use conformance::report::json;

use crate::sample;

fn published() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/report-v{SCHEMA_VERSION}.json"))
}

/// `UPDATE_SCHEMA=1 cargo test --test report` rewrites it.
#[test]
fn the_published_schema_is_current() {
    let current = json::schema().unwrap();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(published(), &current).unwrap();
    }
    let published = std::fs::read_to_string(published()).unwrap();
    assert!(
        published == current,
        "the schema has changed: raise its version, or update the file"
    );
}

#[test]
fn every_report_validates_and_comes_back_the_same() {
    let schema = serde_json::from_str(&std::fs::read_to_string(published()).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let empty = sample::report(true, Vec::new());
    for report in [
        sample::good(),
        sample::full(),
        sample::interrupted(),
        sample::beside_a_baseline(),
        sample::part(),
        sample::not_judged(),
        empty,
    ] {
        let text = json::render(&report).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(text.starts_with("{\n  \"schema_version\": 1,\n"), "{text}");
    }
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let schema = serde_json::from_str(&std::fs::read_to_string(published()).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good: serde_json::Value =
        serde_json::from_str(&json::render(&sample::good()).unwrap()).unwrap();
    for path in [
        "/schema_version",
        "/conclusion",
        "/runs/0/checks/0/verdict",
        "/runs/0/tally/pass",
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = "no such word".into();
        assert!(!validator.is_valid(&bad), "{path}");
    }
    let mut bad = good;
    bad.as_object_mut().unwrap().remove("conclusion");
    assert!(!validator.is_valid(&bad));
}
