//! Checks that do not apply, and the reasons that they are skipped for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rstest::rstest;

use pause_sandbox::Features;

use super::{check, ends, fails, needs, passes, ran_with, settings, shared, subject};
use crate::backend::{Backend, Launch, Sandbox, Spec, StartError};
use crate::check::{Check, Needs};
use crate::context::{CheckOptions, Shared};
use crate::event::Verdict;
use crate::kubernetes::Minor;
use crate::runner::Run;
use crate::runner::applies::NO_COMPONENTS;
use crate::shortage::Counters;
use crate::subject::{NoProgram, Platform, Subject};
use crate::wasi_sim::RUNS_COMPONENTS;

#[test]
fn what_is_needed_and_not_offered_is_named() {
    static SANDBOX: Check = needs(Needs::SANDBOX, check("a/sandbox", passes));
    static MINOR: Check = needs(Needs::KUBERNETES, check("a/minor", passes));
    static LONG: Check = needs(Needs::LONG, check("a/long", passes));
    static PLATFORM: Check = needs(Needs::REQUIRED_PLATFORMS, check("a/platform", passes));
    static HINTED: Check = needs(Needs::HINTS, check("a/hinted", passes));
    let checks: [&'static Check; 5] = [&SANDBOX, &MINOR, &LONG, &PLATFORM, &HINTED];
    let words = [
        "needs a sandbox",
        "needs a Kubernetes version (`--kubernetes MINOR`)",
        "needs the long form (`--long`)",
        "needs a platform that must be there (`--require-platform`)",
    ];
    let skipped = words.map(|it| (Verdict::Skipped, it.to_owned()));
    let passed = (Verdict::Pass, String::new());
    assert_eq!(
        ends(&checks),
        [&skipped[..], std::slice::from_ref(&passed)].concat()
    );

    let asked = CheckOptions {
        kubernetes: Minor::parse("1.34").ok(),
        required_platforms: vec![Platform::host()],
        long: true,
        ..CheckOptions::default()
    };
    let shared = Shared::new(subject(), asked, None, 1.0);
    let verdicts: Vec<_> = ran_with(&checks, shared, &settings()).records;
    let verdicts: Vec<_> = verdicts.iter().map(|record| record.verdict).collect();
    let pass = Verdict::Pass;
    assert_eq!(verdicts, [Verdict::Skipped, pass, pass, pass, pass]);
}

#[test]
fn where_there_is_no_program_the_reason_says_why() {
    static PROGRAM: Check = needs(Needs::PROGRAM, check("a/program", passes));
    let mut shared = shared();
    assert_eq!(ends(&[&PROGRAM])[0].0, Verdict::Pass);
    shared.subject.program = Err(NoProgram::Unset);
    let ran = ran_with(&[&PROGRAM], shared, &settings());
    assert_eq!(ran.records[0].verdict, Verdict::Skipped);
    assert_eq!(
        ran.records[0].reason.as_deref(),
        Some("the image has no program that can be started: neither Entrypoint nor Cmd is set")
    );
}

#[test]
fn where_the_subject_is_not_to_be_run_its_own_reason_is_given() {
    static SANDBOX: Check = needs(Needs::SANDBOX, check("a/sandbox", passes));
    static MINOR: Check = needs(Needs::KUBERNETES, check("a/minor", passes));
    let run = Run {
        shared: &Arc::new(shared()),
        settings: &settings(),
        confirm: None,
        not_run: Some("it is for another platform"),
    };
    let records = run.over(&[&SANDBOX, &MINOR], &mut |_| {}).records;
    let reasons = records.iter().map(|record| record.reason.as_deref());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            Some("it is for another platform"),
            Some("needs a Kubernetes version (`--kubernetes MINOR`)"),
        ]
    );
}

#[rstest]
#[case::module(b"\0asm\x01\0\0\0", None)]
#[case::component(b"\0asm\x0d\0\x01\0", (!RUNS_COMPONENTS).then_some(NO_COMPONENTS))]
#[case::neither(
    b"\0asm",
    Some("needs a valid WebAssembly program that the suite can run")
)]
fn what_webassembly_is_skipped_for_is_said(#[case] program: &[u8], #[case] why: Option<&str>) {
    static CLOCK: Check = needs(Needs::VIRTUAL_CLOCK, check("a/clock", passes));
    static NATIVE: Check = needs(Needs::PROGRAM, check("a/native", passes));
    static SANDBOX: Check = needs(Needs::SANDBOX, check("a/sandbox", passes));
    let subject = Subject::of_wasm("program", program.into());
    let shared = Shared::new(subject, CheckOptions::default(), None, 1.0);
    let records = ran_with(&[&CLOCK, &NATIVE, &SANDBOX], shared, &settings()).records;
    let reasons = records.iter().map(|record| record.reason.as_deref());
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            why,
            Some("needs a native program; this one is WebAssembly"),
            Some("needs a sandbox"),
        ]
    );
}

/// A backend that offers a sandbox, and lacks a memory limit for a reason.
#[derive(Default)]
struct Host {
    /// It cannot prepare threads.
    refuses_threads: bool,
    /// Its OOM killer never rests.
    kills: bool,
    killed: AtomicU64,
}

impl Backend for Host {
    fn describe(&self) -> String {
        "none".to_owned()
    }

    fn offers(&self) -> Features {
        Features::SANDBOX
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        (need == Features::MEMORY_LIMIT).then_some("no cgroup of its own")
    }

    fn start(&self, _: &Launch<'_>, _: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        unreachable!("nothing is started here")
    }

    fn adopt_thread(&self) -> io::Result<()> {
        if self.refuses_threads {
            Err(io::Error::other("no threads"))
        } else {
            Ok(())
        }
    }

    fn counters(&self) -> Counters {
        let killed = self.killed.fetch_add(self.kills.into(), Ordering::Relaxed);
        Counters {
            killed: Some(killed),
            refused: 0,
        }
    }
}

fn shared_on(host: Host) -> Shared {
    let host: Arc<dyn Backend> = Arc::new(host);
    Shared::new(subject(), CheckOptions::default(), Some(host), 1.0)
}

#[test]
fn a_shortage_excuses_what_ran_something_and_nothing_else() {
    static READS: Check = check("a/reads", fails);
    static RUNS: Check = needs(Needs::SANDBOX, check("a/runs", fails));
    let shared = shared_on(Host {
        kills: true,
        ..Host::default()
    });
    let records = ran_with(&[&READS, &RUNS], shared, &settings()).records;
    let verdicts = records.iter().map(|record| record.verdict);
    assert!(verdicts.eq([Verdict::Fail, Verdict::Inconclusive]));
}

#[test]
fn a_backend_says_what_it_lacks_and_prepares_each_thread() {
    static SANDBOX: Check = needs(Needs::SANDBOX, check("a/sandbox", passes));
    static MEMORY: Check = needs(
        Needs::SANDBOX.union(Needs::MEMORY_LIMIT),
        check("a/memory", passes),
    );
    let with = |refuses_threads| {
        let shared = shared_on(Host {
            refuses_threads,
            ..Host::default()
        });
        let records = ran_with(&[&SANDBOX, &MEMORY], shared, &settings()).records;
        let [sandbox, memory] = &records[..] else {
            panic!("two records")
        };
        assert_eq!(memory.verdict, Verdict::Skipped);
        assert_eq!(memory.reason.as_deref(), Some("no cgroup of its own"));
        (sandbox.verdict, sandbox.reason.clone())
    };
    assert_eq!(with(false), (Verdict::Pass, None));
    let why = "cannot prepare a thread for sandboxes: no threads".to_owned();
    assert_eq!(with(true), (Verdict::Error, Some(why)));
}
