//! The JSON report against its published schema.

use std::path::Path;

use conformance::checks::FAMILIES;
use conformance::event::{Report, SCHEMA_VERSION};
use conformance::profile::{self, Profile};
use conformance::report::json;

use crate::sample;

/// The page that shows a file of profiles.
const EXAMPLE: &str = "docs/USE.md";

fn published() -> std::path::PathBuf {
    at(&format!("report-v{SCHEMA_VERSION}.json"))
}

fn at(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schema")
        .join(name)
}

/// The published schema of the profiles, and a validator by it.
fn profiles() -> jsonschema::Validator {
    let published = at(&format!("profile-v{}.json", profile::SCHEMA_VERSION));
    let schema = serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// `UPDATE_SCHEMA=1 cargo test --test report` rewrites it.
#[test]
fn the_published_schema_is_current() {
    let profiles = at(&format!("profile-v{}.json", profile::SCHEMA_VERSION));
    for (published, current) in [
        (published(), json::schema().unwrap()),
        (profiles, profile::schema().unwrap()),
    ] {
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(&published, &current).unwrap();
        }
        let text = std::fs::read_to_string(&published).unwrap();
        assert!(
            text == current,
            "the schema has changed: raise its version, or update {}",
            published.display()
        );
    }
}

/// The first block of TOML in a page.
fn example(page: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```toml\n").expect("an example");
    rest.split("```").next().unwrap().to_owned()
}

#[test]
fn the_schema_of_profiles_takes_what_the_documents_show_and_the_suite_reads() {
    let validator = profiles();
    let text = example(EXAMPLE);
    let example: serde_json::Value = toml::from_str(&text).unwrap();
    let errors = validator.iter_errors(&example);
    let errors: Vec<_> = errors.map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, &text).unwrap();
    let profile = Profile::read(file.path(), "release", FAMILIES).unwrap();
    assert!(profile.strict && !profile.levels.is_empty());
}

#[test]
fn the_schema_of_profiles_refuses_what_the_suite_does() {
    let validator = profiles();
    for wrong in [
        "[profile.release]\nstrikt = true",
        "[profile.release]\nstrict = 1",
        "[profile.release]\nlevels = { \"image/small\" = \"may\" }",
        "[[profile.release.expect]]\nid = \"image/small\"",
        "profil = {}",
    ] {
        let value: serde_json::Value = toml::from_str(wrong).unwrap();
        assert!(!validator.is_valid(&value), "{wrong}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, wrong).unwrap();
        assert!(
            Profile::read(file.path(), "release", FAMILIES).is_err(),
            "{wrong}"
        );
    }
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
        sample::compared_images(),
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
