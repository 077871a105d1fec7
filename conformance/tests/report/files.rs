//! Destinations of reports: files that are replaced as a whole, and outputs that fail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use conformance::event::{Event, Report};
use conformance::report::human::Detail;
use conformance::report::output::Output;
use conformance::report::reporters::Reporters;
use conformance::report::spec::{Format, ReportSpec};
use tempfile::TempDir;

use crate::sample;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn spec(format: Format, folder: &TempDir, name: &str) -> ReportSpec {
    ReportSpec {
        format,
        file: Some(folder.path().join(name)),
    }
}

#[test]
fn a_file_that_is_not_committed_does_not_come_to_be() {
    let folder = folder();
    let output = Output::file(&folder.path().join("new")).unwrap();
    assert_eq!(names(&folder), Vec::<String>::new());
    drop(output);
    assert_eq!(names(&folder), Vec::<String>::new());
}

#[test]
fn an_old_report_stays_until_the_new_one_is_complete_and_its_mode_stays() {
    let folder = folder();
    let path = folder.path().join("report");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let output = Output::file(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    output.commit(b"new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(names(&folder), ["report"]);
}

#[test]
fn a_symbolic_link_stays_one() {
    let folder = folder();
    fs::write(folder.path().join("target"), "old").unwrap();
    symlink("target", folder.path().join("link")).unwrap();
    Output::file(&folder.path().join("link"))
        .unwrap()
        .commit(b"new")
        .unwrap();
    assert!(folder.path().join("link").is_symlink());
    assert_eq!(
        fs::read_to_string(folder.path().join("target")).unwrap(),
        "new"
    );
}

#[test]
fn what_cannot_be_written_is_found_out_at_once() {
    let folder = folder();
    fs::write(folder.path().join("file"), "").unwrap();
    for (path, kind) in [
        (".", std::io::ErrorKind::IsADirectory),
        ("missing/report", std::io::ErrorKind::NotFound),
        ("file/report", std::io::ErrorKind::NotADirectory),
    ] {
        let error = Output::file(&folder.path().join(path)).unwrap_err();
        assert_eq!(error.kind(), kind, "{path}");
    }
    let error = Reporters::open(
        &[spec(Format::Json, &folder, "missing/report")],
        Detail::Usual,
    )
    .err()
    .unwrap();
    let path = folder.path().join("missing/report");
    assert_eq!(
        error.to_string(),
        format!("cannot write the json report to `{}`", path.display())
    );
    assert_eq!(
        error.source.to_string(),
        "No such file or directory (os error 2)"
    );
}

#[test]
fn a_device_is_written_to_as_it_is() {
    Output::file("/dev/null".as_ref())
        .unwrap()
        .commit(b"gone")
        .unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

fn finish(specs: &[ReportSpec], report: &Report) -> Vec<String> {
    let mut reporters = Reporters::open(specs, Detail::Usual).unwrap();
    reporters.event(&Event::SuiteFinished { report });
    reporters.finish().iter().map(ToString::to_string).collect()
}

#[test]
fn all_formats_are_written_at_once() {
    let folder = folder();
    let formats = [
        Format::Human,
        Format::Json,
        Format::Junit,
        Format::Tap,
        Format::Markdown,
        Format::Html,
        Format::Github,
        Format::Gitlab,
        Format::Sarif,
    ];
    let specs = formats.map(|format| spec(format, &folder, format.as_str()));
    let report = sample::full();
    assert_eq!(finish(&specs, &report), Vec::<String>::new());
    for (format, text) in crate::snapshots::all(&report) {
        assert_eq!(
            fs::read_to_string(folder.path().join(format)).unwrap(),
            text,
            "{format}"
        );
    }
}

#[test]
fn one_report_that_fails_does_not_keep_the_others() {
    let folder = folder();
    let full = ReportSpec {
        format: Format::Tap,
        file: Some("/dev/full".into()),
    };
    let specs = [full, spec(Format::Json, &folder, "json")];
    let errors = finish(&specs, &sample::good());
    assert_eq!(errors, ["cannot write the tap report to `/dev/full`"]);
    assert!(folder.path().join("json").exists());
}
