//! Every program of `fixtures/wasi` through every check of the family: a sound one
//! fails nothing, a broken one exactly what it names, and every check of a program is
//! broken by at least one. Components run only where their engine is built in
//! (`--features wasmtime`, as `cargo xtask test` does too).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use conformance::check::{Check, Needs};
use conformance::checks::wasi::FAMILY;
use conformance::context::{CheckOptions, Shared};
use conformance::event::{Record, Verdict};
use conformance::runner;
use conformance::self_test;
use conformance::subject::Subject;
use conformance::wasi_world::RUNS_COMPONENTS;
use libtest_mimic::{Arguments, Failed, Trial};

/// A program in text. The comments at its head say what it is: `;; sound`, or
/// `;; breaks` and the checks; `;; padded N` adds a section of N bytes.
struct Fixture {
    name: String,
    program: Vec<u8>,
    breaks: BTreeSet<String>,
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a file has a name");
        let name = name.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a fixture can be read");
        let head: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix(";; "))
            .collect();
        let word = |key: &str| head.iter().find_map(|line| line.strip_prefix(key));
        let breaks: BTreeSet<String> = word("breaks ")
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect();
        assert_ne!(breaks.is_empty(), !head.contains(&"sound"), "{name}");
        let mut program = wat::parse_str(&text).expect("a fixture is a program in text");
        if let Some(size) = word("padded ") {
            let size: usize = size.parse().expect("a number of bytes");
            program.extend(custom_section(size));
        }
        Self {
            name,
            program,
            breaks,
        }
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wasi");
        let entries = std::fs::read_dir(folder).expect("the fixtures are there");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("a folder can be listed").path())
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }
}

/// A custom section called `x` of `size` zeros (WebAssembly 2.0, "Custom Section").
fn custom_section(size: usize) -> Vec<u8> {
    let mut section = vec![0];
    let mut left = size + 2;
    while left >= 128 {
        section.push(0x80 | (left & 127) as u8);
        left >>= 7;
    }
    section.extend([left as u8, 1, b'x']);
    section.resize(section.len() + size, 0);
    section
}

/// The checks of a program alone.
fn checks() -> Vec<&'static Check> {
    let of_program = |check: &&&Check| {
        !check
            .needs
            .intersects(Needs::IMAGE | Needs::NATIVE_IMAGE | Needs::INDEX | Needs::SANDBOX)
    };
    FAMILY.checks.iter().filter(of_program).copied().collect()
}

fn judge(fixture: &Fixture) -> Result<(), Failed> {
    let subject = Subject::of_wasm(&fixture.name, fixture.program.clone().into());
    let shared = Arc::new(Shared::new(subject, CheckOptions::default(), None, 1.0));
    let settings = self_test::settings(Arc::default());
    let ran = runner::run(&checks(), &shared, &settings, &mut |_| {});
    let mut failed = BTreeSet::new();
    let mut unrun = BTreeSet::new();
    for record in &ran.records {
        let line = format!(
            "{}: {}: {:?} {:?}",
            record.id,
            record.verdict.as_str(),
            record.observed,
            record.reason
        );
        match record.verdict {
            Verdict::Fail => {
                failed.insert(record.id.clone());
                if !fixture.breaks.contains(&record.id) {
                    return Err(line.into());
                }
            }
            Verdict::Skipped if needs_engine(record) => {
                unrun.insert(record.id.clone());
            }
            Verdict::Pass | Verdict::Skipped => {}
            Verdict::Error | Verdict::Inconclusive => return Err(line.into()),
        }
    }
    let missed: Vec<_> = fixture
        .breaks
        .difference(&failed)
        .filter(|id| !unrun.contains(*id))
        .collect();
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("missed {missed:?}").into())
    }
}

/// Skipped for want of an engine for components, which this build may lack.
fn needs_engine(record: &Record) -> bool {
    let words = |reason: &String| reason.contains("--features wasmtime");
    !RUNS_COMPONENTS && record.reason.as_ref().is_some_and(words)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let fixtures = Fixture::all();
    let broken: BTreeSet<String> = fixtures.iter().flat_map(|f| f.breaks.clone()).collect();
    let sound = fixtures.iter().filter(|f| f.breaks.is_empty()).count();
    let mut trials: Vec<Trial> = fixtures
        .into_iter()
        .map(|fixture| Trial::test(fixture.name.clone(), move || judge(&fixture)))
        .collect();
    trials.push(Trial::test(
        "every check of a program is broken by one",
        move || {
            // A program that is not valid cannot be written as text.
            let unbroken: Vec<_> = checks()
                .iter()
                .map(|check| check.id)
                .filter(|id| *id != "wasi/program-valid" && !broken.contains(*id))
                .collect();
            assert!(unbroken.is_empty(), "{unbroken:?}");
            assert!(sound >= 4, "{sound}");
            Ok(())
        },
    ));
    trials.push(Trial::test("what is not valid fails one check", || {
        judge(&Fixture {
            name: "cut".to_owned(),
            program: b"\0asm\x01\0\0\0\x01\x7f".to_vec(),
            breaks: ["wasi/program-valid".to_owned()].into(),
        })
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}
