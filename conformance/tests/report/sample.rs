//! Hand-made reports.

use std::collections::BTreeMap;

use conformance::check::Level;
use conformance::event::{
    Baseline, Conclusion, Host, Measurement, Part, Record, Report, Run, RunHead, SCHEMA_VERSION,
    Tool, Verdict, Want,
};
use conformance::report::compare;

/// A name that might fool a reader or a program.
pub(crate) const HOSTILE: &str = "\x1b[2J\x1b]0;own\x07\u{202e}|`<b>&\"]]>\u{9b}31m\r\n# SKIP \\ \u{fffe}@you [x](http://evil.example) \0";

pub(crate) fn record(id: &str, level: Level, verdict: Verdict) -> Record {
    let word = match level {
        Level::Must => "MUST hold",
        Level::Should => "SHOULD hold",
        Level::Info => "is measured",
    };
    let failed = verdict == Verdict::Fail;
    let undecided = matches!(
        verdict,
        Verdict::Skipped | Verdict::Inconclusive | Verdict::Error
    );
    Record {
        id: id.to_owned(),
        title: format!("title of {id}"),
        level,
        declared_level: None,
        verdict,
        requirement: format!("the requirement of {id} {word}"),
        source: "pause.c".to_owned(),
        source_url: "https://example.org/v1/pause.c".to_owned(),
        expected: failed.then(|| "exit status 0 within 1 s".to_owned()),
        observed: (!undecided).then(|| format!("what was seen of {id}")),
        evidence: Vec::new(),
        reason: undecided.then(|| format!("{} for a reason", verdict.as_str())),
        blocked_by: None,
        skipped_for: None,
        required: false,
        expected_failure: None,
        baseline: None,
        reproduce: (verdict != Verdict::Pass)
            .then(|| format!("pause-conformance --image registry.example/pause:1 --filter {id}")),
        explain: (verdict == Verdict::Fail).then(|| format!("pause-conformance explain {id}")),
        duration_us: 1_340,
    }
}

pub(crate) fn head(platform: &str) -> RunHead {
    RunHead {
        image: "registry.example/pause:1".to_owned(),
        digest: Some(format!("sha256:{}", "ab".repeat(32))),
        platform: platform.to_owned(),
        runtime: "embedded (rootless)".to_owned(),
        emulator: None,
        wasi_engine: None,
        engine_facts: Vec::new(),
        static_only: false,
        part: None,
        companion: false,
    }
}

/// A concluded report of these runs.
pub(crate) fn report(strict: bool, runs: Vec<Run>) -> Report {
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: "pause-conformance".to_owned(),
            version: "0.1.0".to_owned(),
        },
        spec_version: "1".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        host: Host {
            name: "builder".to_owned(),
            kernel: "6.18.0".to_owned(),
            machine: "x86_64".to_owned(),
            cpus: 2,
            root: false,
            cgroups: "v2".to_owned(),
            time_scale: 1.25,
        },
        strict,
        static_only: false,
        part: None,
        error: None,
        conclusion: Conclusion::NotJudged,
        interrupted: false,
        runs,
        comparison: None,
    };
    report.conclude();
    report
}

/// One run with these records.
pub(crate) fn run(platform: &str, checks: Vec<Record>) -> Run {
    Run {
        duration_us: 1_380_000,
        ..Run::new(&head(platform), checks)
    }
}

fn last_release(checks: Vec<Record>) -> Run {
    Run {
        image: "registry.example/pause:0".to_owned(),
        ..run("linux/amd64", checks)
    }
}

/// A run with a baseline that has the same verdicts, except in the last record.
pub(crate) fn compared(checks: Vec<Record>, there: Verdict) -> Run {
    let mut baseline = last_release(checks.clone());
    baseline.checks.last_mut().expect("a record").verdict = there;
    let mut run = run("linux/amd64", checks);
    run.compare(&baseline);
    run
}

/// A run with a baseline that is better in one check and worse in another, larger and slower; and
/// one with a baseline that lacks the platform.
pub(crate) fn beside_a_baseline() -> Report {
    let measured = |run: &mut Run, size: f64, ready: f64, calls: &[&str]| {
        let figures = [
            ("program_size", "bytes", Some(size), None),
            ("time_to_ready", "us", None, Some(ready)),
            ("idle_wakeups", "count", Some(0.0), None),
        ];
        for (name, unit, value, p50) in figures {
            let figure = Measurement {
                value,
                p50,
                ..blank(unit)
            };
            run.measurements.insert(name.to_owned(), figure);
        }
        let names = Measurement {
            names: calls.iter().map(|call| (*call).to_owned()).collect(),
            ..blank("names")
        };
        run.measurements.insert("system_calls".to_owned(), names);
    };
    let of = |burst, before, wait| {
        vec![
            record("startup/stays", Level::Must, Verdict::Pass),
            record("signals/burst", Level::Should, burst),
            record("reaping/before-handler", Level::Should, before),
            record("security/denied-exit", Level::Should, wait),
        ]
    };
    let mut baseline = last_release(of(Verdict::Pass, Verdict::Fail, Verdict::Fail));
    measured(&mut baseline, 743_952.0, 900.0, &["pause", "wait4"]);
    let mut amd64 = run(
        "linux/amd64",
        of(Verdict::Fail, Verdict::Pass, Verdict::Fail),
    );
    measured(&mut amd64, 572.0, 990.0, &["ppoll", "wait4"]);
    amd64.compare(&baseline);
    let mut riscv64 = run(
        "linux/riscv64",
        of(Verdict::Fail, Verdict::Pass, Verdict::Pass),
    );
    riscv64.baseline = Some(Baseline {
        image: baseline.image,
        digest: None,
        error: Some("it has no image for linux/riscv64".to_owned()),
        measurements: BTreeMap::new(),
    });
    report(false, vec![amd64, riscv64])
}

/// A run in which every check passes.
pub(crate) fn good() -> Report {
    let checks = vec![
        record("startup/stays", Level::Must, Verdict::Pass),
        record("signals/term-exits-zero", Level::Must, Verdict::Pass),
    ];
    report(false, vec![run("linux/amd64", checks)])
}

fn blank(unit: &str) -> Measurement {
    Measurement::new(unit)
}

/// Latencies around this one, in rounds, each with samples enough for a p99 of all.
fn latency(around: u64) -> Measurement {
    let round = |round: u64| (0..25).map(|n| around + round + n * n).collect();
    let rounds: Vec<Vec<u64>> = (0..10).map(round).collect();
    let mut latency = Measurement::distribution("us", &rounds).expect("samples");
    // Reports have no samples.
    latency.all.clear();
    latency.good = Some(1e6);
    latency
}

/// Three images, the second with a hostile name: one that fails a MUST, one that is larger than the
/// third and slower to end.
pub(crate) fn compared_images() -> Report {
    let of = |image: &str, term: Verdict, size: f64, ends: u64| {
        let mut run = run(
            "linux/amd64",
            vec![
                record("startup/stays", Level::Must, Verdict::Pass),
                record("signals/term-exits-zero", Level::Must, term),
            ],
        );
        image.clone_into(&mut run.image);
        let figures = [
            ("image_size", Measurement::one("bytes", size)),
            ("rss", Measurement::one("bytes", 16_384.0 + size)),
            ("reap_latency", latency(60)),
            ("term_latency", latency(ends)),
        ];
        let figures = figures.map(|(name, figure)| (name.to_owned(), figure));
        run.measurements.extend(figures);
        run
    };
    let mut report = report(
        false,
        vec![
            of("registry.example/broken:1", Verdict::Fail, 560.0, 250),
            of(HOSTILE, Verdict::Pass, 743_952.0, 9_000),
            of("registry.example/small:1", Verdict::Pass, 13_000.0, 250),
        ],
    );
    report.comparison = compare::of(&report, &BTreeMap::new());
    report
}

/// One of each verdict at the levels where it differs.
pub(crate) fn first_run() -> Run {
    let mut term = record("signals/term-exits-zero", Level::Must, Verdict::Fail);
    term.evidence = vec![
        "sent SIGTERM 0.1 s after it was ready".to_owned(),
        format!("stderr: {HOSTILE}"),
    ];
    let mut known = record("reaping/before-handler", Level::Should, Verdict::Fail);
    known.expected_failure = Some("upstream has no initial wait".to_owned());
    let mut stale = record("image/user-nonroot", Level::Should, Verdict::Pass);
    stale.expected_failure = Some("fixed in the next release".to_owned());
    let mut skipped_known = record("security/denied-exit", Level::Should, Verdict::Skipped);
    skipped_known.reason = Some("needs a seccomp filter".to_owned());
    skipped_known.expected_failure = Some("spins".to_owned());
    let mut skipped = record("startup/tiny-memory", Level::Must, Verdict::Skipped);
    skipped.reason = Some("needs a memory cgroup".to_owned());
    let mut seccomp = record("startup/default-seccomp", Level::Must, Verdict::Skipped);
    seccomp.reason = Some("needs a seccomp filter".to_owned());
    let mut run = run(
        "linux/amd64",
        vec![
            record("startup/stays", Level::Must, Verdict::Pass),
            skipped,
            seccomp,
            record("signals/burst", Level::Should, Verdict::Fail),
            term,
            known,
            stale,
            record("reaping/burst", Level::Must, Verdict::Inconclusive),
            record(
                "reaping/stopped-child",
                Level::Should,
                Verdict::Inconclusive,
            ),
            record("resources/idle-cpu", Level::Must, Verdict::Error),
            skipped_known,
            record("reaping/latency", Level::Info, Verdict::Pass),
        ],
    );
    let measurements = measurements().map(|(name, measurement)| (name.to_owned(), measurement));
    run.measurements.extend(measurements);
    run
}

fn measurements() -> [(&'static str, Measurement); 3] {
    let size = Measurement {
        value: Some(743_952.0),
        good: Some(1_000_000.0),
        ..blank("bytes")
    };
    let latency = Measurement {
        samples: Some(200),
        p50: Some(120.0),
        p99: Some(1_500.0),
        max: Some(2_000.0),
        good: None,
        ..blank("us")
    };
    let calls = Measurement {
        value: Some(2.0),
        names: vec!["pause".to_owned(), HOSTILE.to_owned()],
        ..blank("names")
    };
    [
        ("program_size", size),
        ("reap_latency", latency),
        ("system_calls", calls),
    ]
}

/// Two platforms, one emulated, with hostile text and one of each verdict, and an
/// image that could not be read.
pub(crate) fn full() -> Report {
    let mut second = run(
        "linux/arm64",
        vec![
            record("startup/stays", Level::Must, Verdict::Pass),
            record("signals/term-exits-zero", Level::Must, Verdict::Pass),
        ],
    );
    second.emulator = Some("qemu-aarch64 7.2.22 (private binfmt_misc)".to_owned());
    second.wasi_engine = Some("wasmi 2.0.0, the suite's own host".to_owned());
    second.engine_facts = [
        "a container of a pod has a UTS namespace of its own, not the pause's",
        "crictl pods: 1b107740574ca SANDBOX_READY default/blog attempt 0",
        "crictl inspectp: image localhost/pause:1, pid 5909, address 198.18.0.79",
        "crictl ps: 21d1b8630fd0c image localhost/blog:1 CONTAINER_RUNNING blog attempt 1 of pod 1b107740574ca",
    ]
    .map(str::to_owned)
    .to_vec();
    second.root_lacks = vec![
        "its root is the image's, except for 2 files without owners, whose ids are not mapped"
            .to_owned(),
    ];
    let mut third = run("linux/amd64", Vec::new());
    HOSTILE.clone_into(&mut third.image);
    third.digest = None;
    third.runtime = String::new();
    third.duration_us = 0;
    third.error = Some(format!("no manifest for linux/amd64 in `{HOSTILE}`"));
    report(false, vec![first_run(), second, third])
}

/// A part of the checks, of which this host could not judge two, with `--require-all` in the second
/// run.
pub(crate) fn part() -> Report {
    let part = Part {
        checks: 4,
        of: 152,
        options: vec!["--filter startup".to_owned(), format!("--filter {HOSTILE}")],
    };
    let records = || {
        let mut here = record("startup/tiny-memory", Level::Must, Verdict::Skipped);
        here.skipped_for = Some(Want::Host);
        let mut kind = record("startup/entrypoint", Level::Must, Verdict::Skipped);
        kind.skipped_for = Some(Want::Subject);
        let mut should = record("startup/output", Level::Should, Verdict::Skipped);
        should.skipped_for = Some(Want::Host);
        let passed = record("startup/stays", Level::Must, Verdict::Pass);
        vec![passed, here, kind, should]
    };
    let mut required = records();
    required.iter_mut().for_each(Record::require);
    let mut runs = vec![run("linux/amd64", records()), run("linux/arm64", required)];
    for run in &mut runs {
        run.part = Some(part.clone());
    }
    let mut report = report(false, runs);
    report.part = Some(part);
    report
}

/// Nothing was judged, for a reason of the whole.
pub(crate) fn not_judged() -> Report {
    let mut report = report(false, Vec::new());
    report.error = Some(format!("no image in `{HOSTILE}`; check the path"));
    report
}

/// One run that was interrupted.
pub(crate) fn interrupted() -> Report {
    let mut run = run(
        "linux/amd64",
        vec![record("startup/stays", Level::Must, Verdict::Pass)],
    );
    run.interrupted = true;
    report(false, vec![run])
}
