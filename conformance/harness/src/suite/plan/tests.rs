//! What would run a subject, and what its run says of that, before anything is run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rstest::rstest;

use pause_sandbox::Features;

use super::{Planned, Processor, absent, emulators, name_wasi_engines, plan, processors, run_any};
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::check::{Check, Needs, Pass};
use crate::emulator::{Emulator, NoEmulator};
use crate::event::{Record, Verdict};
use crate::programs::REFERENCE;
use crate::subject::{Config, Image, NoProgram, Platform, Subject};
use crate::wasi_host;
use crate::wasi_sim::RUNS_COMPONENTS;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// A platform that the host is not.
fn other() -> Platform {
    let name = match Platform::host().architecture.as_str() {
        "riscv64" => "linux/s390x",
        _ => "linux/riscv64",
    };
    name.parse().expect("a platform")
}

fn native(platform: Platform) -> Subject {
    Subject::of_program("program", REFERENCE.into(), platform)
}

fn configured(subject: Subject, config: &Platform) -> Subject {
    let image = Image {
        digest: "sha256:ab".to_owned(),
        media_type: String::new(),
        config_type: String::new(),
        config: Config {
            os: Some(config.os.clone()),
            architecture: Some(config.architecture.clone()),
            variant: config.variant.clone(),
            ..Config::default()
        },
        layers: Vec::new(),
        annotations: BTreeMap::new(),
        tag: None,
    };
    Subject {
        image: Some(image),
        ..subject
    }
}

fn wasm(program: &[u8]) -> Subject {
    Subject::of_wasm("program", program.into())
}

/// In words, to be compared.
fn processor(subject: &Subject) -> String {
    match Processor::of(subject, &Platform::host()) {
        Processor::None => "none".to_owned(),
        Processor::Mislabelled(why) => why,
        Processor::Own => "own".to_owned(),
        Processor::Emulated(_) => "emulated".to_owned(),
    }
}

#[test]
fn what_is_for_the_host_runs_on_its_processor() {
    assert_eq!(processor(&native(Platform::host())), "own");
    let agrees = configured(native(Platform::host()), &Platform::host());
    assert_eq!(processor(&agrees), "own");
    assert_eq!(processor(&wasm(MODULE)), "own", "the engine is the host's");
}

#[test]
fn what_is_for_another_processor_is_emulated() {
    let script = Subject::of_program("script", b"#!/bin/sh\n".as_slice().into(), other());
    assert_eq!(processor(&script), "emulated");
}

#[test]
fn what_disagrees_with_its_platform_is_not_run() {
    let why = processor(&native(other()));
    assert!(why.starts_with("the program is for EM_"), "{why}");
    let why = processor(&configured(native(other()), &other()));
    assert!(why.starts_with("the program is for EM_"), "{why}");
    assert_eq!(
        processor(&configured(native(Platform::host()), &other())),
        format!("the configuration says {}", other())
    );
}

#[test]
fn where_there_is_no_native_program_nothing_runs() {
    let unset = Subject {
        program: Err(NoProgram::Unset),
        ..configured(native(Platform::host()), &other())
    };
    assert_eq!(processor(&unset), "none");
    assert_eq!(processor(&wasm(COMPONENT)), "none");
}

#[test]
fn where_no_check_runs_anything_no_processor_is_looked_for() {
    let subjects = || vec![native(Platform::host()), native(other())];
    let of = |needs_engine| {
        let all = processors(subjects(), &Platform::host(), needs_engine);
        let all = all.into_iter().map(|(subject, processor)| {
            let processor = match processor {
                Processor::None => "none",
                Processor::Own => "own",
                Processor::Mislabelled(_) => "mislabelled",
                Processor::Emulated(_) => "emulated",
            };
            (subject.platform, processor)
        });
        all.collect::<Vec<_>>()
    };
    let (host, other) = (Platform::host(), other());
    assert_eq!(
        of(true),
        [(host.clone(), "own"), (other.clone(), "mislabelled")]
    );
    assert_eq!(of(false), [(host, "none"), (other, "none")]);
}

/// An emulator in name only.
fn emulator(folder: &tempfile::TempDir, qemu: &str, platform: &str) -> Emulator {
    let name = format!("qemu-{qemu}-static");
    std::fs::write(folder.path().join(name), REFERENCE).expect("written");
    let folders: [PathBuf; 1] = [folder.path().to_owned()];
    let platform = platform.parse().expect("a platform");
    Emulator::find_in(&platform, &folders).expect("it is there")
}

#[test]
fn each_emulator_is_prepared_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let emulated = |qemu, platform| Processor::Emulated(Ok(emulator(&folder, qemu, platform)));
    let missing = Processor::Emulated(Err(NoEmulator::Unknown("linux/z80".to_owned())));
    let subjects: Vec<_> = [
        emulated("aarch64", "linux/arm64"),
        Processor::Own,
        emulated("s390x", "linux/s390x"),
        missing,
        emulated("aarch64", "linux/arm64"),
        Processor::None,
    ]
    .into_iter()
    .map(|processor| (native(other()), processor))
    .collect();
    let names: Vec<_> = emulators(&subjects).into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["qemu-aarch64-static", "qemu-s390x-static"]);
}

#[test]
fn an_engine_is_prepared_only_where_something_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let any = |processor| {
        run_any(&[
            (native(other()), Processor::None),
            (native(other()), processor),
        ])
    };
    assert!(any(Processor::Own));
    assert!(any(Processor::Emulated(Ok(emulator(
        &folder,
        "aarch64",
        "linux/arm64"
    )))));
    assert!(!any(Processor::None));
    assert!(!any(Processor::Mislabelled("it is not".to_owned())));
    let missing = NoEmulator::Unknown("linux/z80".to_owned());
    assert!(!any(Processor::Emulated(Err(missing))));
    assert!(!run_any(&[]));
}

#[test]
fn a_run_says_what_is_judged_and_that_nothing_is_run() {
    let subject = configured(native(Platform::host()), &Platform::host());
    let planned = plan(subject, Processor::None, None, None, None);
    let head = &planned.head;
    assert_eq!(head.image, "program");
    assert_eq!(head.digest.as_deref(), Some("sha256:ab"));
    assert_eq!(head.platform, Platform::host().to_string());
    assert_eq!(head.runtime, "none (static checks)");
    assert_eq!((&head.emulator, &head.wasi_engine), (&None, &None));
    assert!(planned.subject.is_ok() && planned.backend.is_none());
    assert_eq!(planned.not_run, None);
    let virtual_clock = plan(wasm(MODULE), Processor::None, None, None, None);
    assert_eq!(virtual_clock.head.runtime, "wasmi, on a virtual clock");
}

#[test]
fn what_is_not_run_for_its_own_fault_is_read_and_says_so() {
    let disagrees = Processor::Mislabelled("the configuration says linux/\x1b".to_owned());
    let planned = plan(native(other()), disagrees, None, None, None);
    assert!(planned.subject.is_ok() && planned.backend.is_none());
    let why = format!(
        "nothing is run for {}: the configuration says linux/\\x1b",
        other()
    );
    assert_eq!(planned.not_run, Some(why));
}

#[test]
fn without_an_emulator_nothing_is_judged() {
    let missing = Processor::Emulated(Err(NoEmulator::Unknown("linux/z80".to_owned())));
    let planned = plan(native(other()), missing, None, None, None);
    assert_eq!(
        planned.subject.err().as_deref(),
        Some("no emulator runs programs for linux/z80")
    );
    assert!(planned.backend.is_none());
}

/// A backend in name only.
struct Engine(Features);

impl Backend for Engine {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        self.0
    }

    fn lacks(&self, _: Features) -> Option<&str> {
        None
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        unreachable!("nothing is started here")
    }

    fn counters(&self) -> crate::shortage::Counters {
        crate::shortage::Counters::default()
    }
}

static OF_HOST: Check = Check {
    needs: Needs::SANDBOX.union(Needs::WASI_HOST),
    ..Check::made_up("a/of-host", |_| Ok(Pass::new("seen")))
};
static OF_NONE: Check = Check {
    needs: Needs::SANDBOX,
    ..OF_HOST
};

#[rstest]
#[case::beside(
    native(Platform::host()),
    Features::SELF_EXEC,
    Some(wasi_host::describe())
)]
#[case::module(wasm(MODULE), Features::SELF_EXEC, Some("node 22".to_owned()))]
#[case::component(wasm(COMPONENT), Features::SELF_EXEC, None)]
#[case::not_offered(native(Platform::host()), Features::SANDBOX, None)]
fn a_run_names_what_runs_wasi_programs_in_it(
    #[case] subject: Subject,
    #[case] offers: Features,
    #[case] named: Option<String>,
) {
    let with = |checks: &[&Check], engine: Option<Features>| {
        let planned = plan(subject.clone(), Processor::None, None, None, None);
        let mut planned = [Planned {
            backend: engine.map(|offers| Arc::new(Engine(offers)) as _),
            ..planned
        }];
        name_wasi_engines(&mut planned, checks, Some("node 22"));
        let [planned] = planned;
        planned.head.wasi_engine
    };
    assert_eq!(with(&[&OF_NONE, &OF_HOST], Some(offers)), named);
    assert_eq!(with(&[&OF_NONE], Some(offers)), None, "no check runs one");
    assert_eq!(with(&[&OF_HOST], None), None, "nothing is run");
}

#[test]
fn a_component_is_run_where_its_engine_is_built_in() {
    let planned = plan(wasm(COMPONENT), Processor::None, None, None, None);
    let runtime = if RUNS_COMPONENTS {
        "wasmtime, on a virtual clock"
    } else {
        "none (static checks)"
    };
    assert_eq!(planned.head.runtime, runtime);
}

static OF_FILES: Check = Check {
    needs: Needs::IMAGE,
    ..Check::made_up("a/of-files", |_| Ok(Pass::new("seen")))
};
static OF_AN_INDEX: Check = Check {
    needs: Needs::IMAGE.union(Needs::REQUIRED_PLATFORMS),
    ..OF_FILES
};
static THAT_RUNS: Check = Check {
    needs: Needs::SANDBOX.union(Needs::PROGRAM),
    ..Check::made_up("a/that-runs", |_| Ok(Pass::new("seen")))
};
static OF_WASI: Check = Check {
    needs: Needs::SANDBOX.union(Needs::WASM),
    ..Check::made_up("a/of-wasi", |_| Ok(Pass::new("seen")))
};

fn companion() -> Subject {
    Subject {
        companion: true,
        ..configured(native(other()), &other())
    }
}

#[test]
fn of_a_companion_only_the_files_are_judged() {
    let processors = processors(vec![companion()], &Platform::host(), true);
    assert!(matches!(processors[0].1, Processor::None));
    let planned = plan(companion(), Processor::None, None, None, None);
    assert!(planned.head.companion);
    let all: [&Check; 4] = [&OF_FILES, &OF_AN_INDEX, &THAT_RUNS, &OF_WASI];
    let ids = |planned: &Planned| {
        let checks = planned.checks(&all);
        checks.iter().map(|check| check.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&planned), ["a/of-files"]);
    assert!(planned.is_wanted(&all));
    assert!(!planned.is_wanted(&[&THAT_RUNS]));
    assert!(!planned.is_wanted(&[&OF_AN_INDEX]));
    let main = plan(native(Platform::host()), Processor::None, None, None, None);
    assert_eq!(ids(&main).len(), 4);
    assert!(main.is_wanted(&[&THAT_RUNS]));
}

#[test]
fn a_companion_that_cannot_be_read_says_why() {
    let unread = Subject {
        image: None,
        program: Err(NoProgram::Unread("it is cut".to_owned())),
        ..companion()
    };
    let planned = plan(unread, Processor::None, None, None, None);
    assert_eq!(
        planned.subject.as_ref().err().map(String::as_str),
        Some("it is cut")
    );
    assert!(planned.is_wanted(&[&OF_FILES]));
    assert!(!planned.is_wanted(&[&THAT_RUNS]));
}

#[test]
fn an_index_with_nothing_for_the_host_says_what_it_has() {
    let missing = absent(&[companion()], &Platform::host()).expect("only companions");
    assert_eq!(missing.head.platform, Platform::host().to_string());
    let why = missing.subject.expect_err("it cannot be judged");
    assert!(why.contains(&format!("it has {}", other())), "{why}");
    assert!(why.contains("--platform"), "{why}");
    assert!(absent(&[native(Platform::host())], &Platform::host()).is_none());
    assert!(absent(&[], &Platform::host()).is_none());
}

#[rstest]
#[case::all_skipped(&[&THAT_RUNS], Verdict::Skipped, Some("the image has no program"))]
#[case::one_decided(&[&THAT_RUNS], Verdict::Fail, None)]
#[case::one_undecided(&[&THAT_RUNS], Verdict::Inconclusive, None)]
#[case::none_asked_for(&[&OF_FILES], Verdict::Pass, None)]
#[case::none_for_it(&[&OF_WASI], Verdict::Skipped, None)]
fn a_program_is_idle_where_no_check_that_runs_it_decided_anything(
    #[case] checks: &[&'static Check],
    #[case] verdict: Verdict,
    #[case] why: Option<&str>,
) {
    let planned = plan(native(Platform::host()), Processor::None, None, None, None);
    let records = checks.iter().map(|check| Record {
        reason: Some("the image has no program".to_owned()),
        ..crate::runner::record(check, verdict)
    });
    let idle = planned.idle(checks, &records.collect::<Vec<_>>());
    assert_eq!(idle.as_deref(), why);
}
