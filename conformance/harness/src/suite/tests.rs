//! What precedes and follows a run, without a backend.

use clap::Parser as _;
use rstest::rstest;

use super::*;
use crate::calibration::tests as calibration;
use crate::check::{Family, Finding, Level, Outcome, Pass};
use crate::cli::Cli;
use crate::event::{ROUNDS, Verdict};
use crate::kubernetes::Minor;
use crate::need::Needs;
use crate::report::human::Detail;
use crate::report::spec::{Format, ReportSpec};

fn judge(arguments: &[&str]) -> Judge {
    let words = ["pause-conformance", "--image", "x"];
    Cli::parse_from(words.iter().chain(arguments)).judge
}

fn suite<'a>(
    options: &'a Judge,
    checks: &'a [&'static Check],
    expectations: &'a Expectations,
) -> Suite<'a> {
    Suite {
        options,
        checks,
        jobs: 1,
        time_scale: 1.5,
        interrupted: Arc::default(),
        expectations,
        profile: None,
    }
}

fn subject() -> Subject {
    Subject::of_program("x", crate::programs::REFERENCE.into(), Platform::host())
}

/// A run in which nothing is started.
fn planned(subject: Subject) -> Planned {
    let subject = plan::processors(vec![subject], &Platform::host(), false).remove(0);
    plan::plan(subject.0, subject.1, None, None, None)
}

#[rstest]
#[case(1, None, 2)]
#[case(3, None, 6)]
#[case(3, Some(1), 1)]
fn two_checks_a_processor_run_at_a_time_where_nobody_says_how_many(
    #[case] processors: usize,
    #[case] asked: Option<u16>,
    #[case] jobs: usize,
) {
    assert_eq!(jobs_on(processors, asked), jobs);
}

#[test]
fn as_many_checks_run_at_a_time_as_are_asked_for() {
    assert_eq!(jobs(&judge(&["--jobs", "7"]), &Room::default()), 7);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    assert_eq!(
        jobs(&judge(&[]), &Room::default()),
        jobs_on(processors, None)
    );
}

#[rstest]
#[case(1, 1.0)]
#[case(10, 1.0)]
#[case(25, 2.5)]
#[case(1000, 20.0)]
fn deadlines_are_longer_on_a_slow_host_within_reason(#[case] start: u64, #[case] times: f64) {
    let slowness = slowness(Duration::from_millis(start));
    assert!((slowness - times).abs() < 1e-9, "{slowness}");
}

#[rstest]
#[case(
    "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nproc /proc proc rw 0 0\n",
    "v2"
)]
#[case("memory /sys/fs/cgroup/memory cgroup rw,memory 0 0\n", "v1")]
#[case(
    "m /sys/fs/cgroup/memory cgroup rw 0 0\nu /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
    "hybrid"
)]
#[case("cgroup /cgroup tmpfs rw 0 0\ncgroup2 /cgroup2 tmpfs rw 0 0\n", "none")]
#[case("", "none")]
fn cgroups_are_told_by_what_is_mounted(#[case] mounts: &str, #[case] kind: &str) {
    assert_eq!(cgroups(mounts), kind);
}

#[test]
fn what_cannot_be_written_says_why_and_what_to_do() {
    let spec = ReportSpec {
        format: Format::Json,
        file: Some("/proc/no/such".into()),
    };
    let error = Reporters::open(&[spec], Detail::Usual)
        .err()
        .expect("nobody can");
    let failure = unwritten(&error);
    assert_eq!(
        failure.message,
        "cannot write the json report to `/proc/no/such`: no such file or directory"
    );
    assert!(failure.hint.expect("a hint").contains("--report FORMAT"));
    assert_eq!(failure.status, 2);
}

#[derive(Debug, thiserror::Error)]
#[error("it failed")]
struct Caused(#[source] std::fmt::Error);

#[test]
fn an_error_names_its_cause_once() {
    let cause = std::fmt::Error;
    assert_eq!(with_cause(&cause), cause.to_string());
    assert_eq!(with_cause(&Caused(cause)), format!("it failed: {cause}"));
}

#[test]
fn an_image_that_cannot_be_loaded_says_what_to_do() {
    let error = "linux".parse::<Platform>().expect_err("it is none");
    let failure = load_failure(&error);
    assert_eq!(failure.message, error.to_string());
    assert!(failure.hint.expect("a hint").contains("linux/amd64"));
    assert_eq!(failure.status, 2);
}

#[test]
fn the_engine_of_wasi_pauses_is_the_suites_own_where_none_is_asked_for() {
    let found = find_wasi_engine(&judge(&[])).expect("it is held");
    assert_eq!(found, crate::wasi_host::describe());
}

#[test]
fn a_check_has_the_time_that_was_asked_for_at_this_hosts_speed() {
    let (options, expectations) = (judge(&["--timeout", "10"]), Expectations::default());
    let settings = suite(&options, &[], &expectations).settings("y", &Runtime::Embedded);
    assert_eq!(settings.timeout, Duration::from_secs(15));
    assert!(settings.reproduce.ends_with(" --image y --timeout 10"));
}

fn run(options: &Judge, checks: &[&'static Check], planned: &Planned, expect: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("expected");
    std::fs::write(&path, expect).expect("written");
    let expectations = Expectations::read(&path, FAMILIES).expect("it is sound");
    let suite = suite(options, checks, &expectations);
    suite.run(planned, None, &mut |_| {}).run
}

static STAYS: Check = check("startup/stays", |_| Ok(Pass::new("it stays")));

/// The checks that expectations name.
static FAMILIES: &[&Family] = &[&Family {
    name: "startup",
    title: "how it starts",
    checks: &[&STAYS],
}];

const fn check(id: &'static str, run: fn(&Context<'_>) -> Outcome) -> Check {
    Check {
        needs: Needs::empty(),
        ..calibration::check(id, run)
    }
}

#[test]
fn a_subject_that_cannot_be_run_is_a_run_that_says_why() {
    let planned = Planned {
        subject: Err("there is no emulator".to_owned()),
        ..planned(subject())
    };
    let run = run(&judge(&[]), &[], &planned, "");
    assert_eq!(run.error.as_deref(), Some("there is no emulator"));
    assert_eq!(run.conclusion, Conclusion::NotJudged);
    assert_eq!((run.checks.len(), &*run.image), (0, "x"));
}

/// A known failure stays known, whatever the baseline passes.
#[test]
fn a_run_is_compared_with_the_baselines_of_its_platform() {
    static FAILS: Check = Check {
        level: Level::Should,
        ..check("startup/stays", |_| Err(Finding::new("it", "not").into()))
    };
    static PASSES: Check = check("startup/stays", |_| Ok(Pass::new("it stays")));
    let options = judge(&[]);
    let there = run(&options, &[&PASSES], &planned(subject()), "");
    let concludes = |platform: &str, expect: &str| {
        let there = Run {
            platform: platform.to_owned(),
            ..there.clone()
        };
        let baselines = Baselines {
            image: "y",
            runs: vec![Ran {
                run: there,
                timed: None,
            }],
        };
        let expectations = Expectations::parse(expect, FAMILIES).expect("it is sound");
        let checks: [&'static Check; 1] = [&FAILS];
        let suite = suite(&options, &checks, &expectations);
        let run = suite.run(&planned(subject()), Some(&baselines), &mut |_| {});
        let run = run.run;
        let error = run.baseline.expect("a baseline").error;
        (run.conclusion, run.checks[0].baseline, error)
    };
    let here = there.platform.clone();
    assert_eq!(
        concludes(&here, ""),
        (Conclusion::NotConformant, Some(Verdict::Pass), None)
    );
    assert_eq!(
        concludes(&here, "startup/stays # upstream"),
        (Conclusion::Conformant, Some(Verdict::Pass), None)
    );
    let lacking = format!("it has no image for {here}");
    assert_eq!(
        concludes("linux/none", ""),
        (Conclusion::Conformant, None, Some(lacking))
    );
}

#[test]
fn a_known_failure_does_not_count_and_one_that_passes_does() {
    static FAILS: Check = check("startup/stays", |_| Err(Finding::new("it", "not").into()));
    static PASSES: Check = check("startup/stays", |_| Ok(Pass::new("it stays")));
    let options = judge(&[]);
    let concludes = |check, expect: &str| {
        let run = run(&options, &[check], &planned(subject()), expect);
        (run.conclusion, run.checks[0].expected_failure.clone())
    };
    let (known, words) = ("startup/stays # upstream", Some("upstream".to_owned()));
    assert_eq!(concludes(&FAILS, ""), (Conclusion::NotConformant, None));
    assert_eq!(
        concludes(&FAILS, known),
        (Conclusion::Conformant, words.clone())
    );
    assert_eq!(concludes(&PASSES, ""), (Conclusion::Conformant, None));
    assert_eq!(
        concludes(&PASSES, known),
        (Conclusion::NotConformant, words)
    );
}

#[test]
fn a_failed_should_counts_where_that_is_asked_for() {
    static SHOULD: Check = Check {
        level: Level::Should,
        ..check("a/should", |_| Err(Finding::new("it", "not").into()))
    };
    let concludes = |options: &Judge| run(options, &[&SHOULD], &planned(subject()), "").conclusion;
    assert_eq!(concludes(&judge(&["--strict"])), Conclusion::NotConformant);
    assert_eq!(concludes(&judge(&[])), Conclusion::Conformant);
}

#[test]
fn a_run_holds_what_was_asked_and_measured() {
    static MEASURES: Check = check("a/measures", |context| {
        context.measure("size", "bytes", 3.0);
        let options = context.options();
        assert_eq!(options.kubernetes, Minor::parse("33").ok());
        assert!(options.long);
        assert_eq!(options.required_platforms, [Platform::host()]);
        Ok(Pass::new("seen"))
    });
    let platform = Platform::host().to_string();
    let asked = [
        "--long",
        "--kubernetes",
        "33",
        "--require-platform",
        &platform,
    ];
    let run = run(&judge(&asked), &[&MEASURES], &planned(subject()), "");
    assert_eq!(run.conclusion, Conclusion::Conformant, "{:?}", run.checks);
    assert_eq!(run.measurements["size"].value, Some(3.0));
    assert!(run.duration_us > 0 && !run.interrupted);
}

#[test]
fn each_emulator_is_tried_once_and_the_host_not_at_all() {
    let emulated = |name: &str, platform: &str| {
        let platform: Platform = platform.parse().expect("a platform");
        let program = crate::programs::REFERENCE.into();
        let mut planned = planned(Subject::of_program("x", program, platform));
        planned.head.emulator = Some(name.to_owned());
        planned.backend = Some(Arc::new(calibration::Engine::default()));
        planned
    };
    let mut all = [
        emulated("qemu-aarch64", "linux/arm64"),
        emulated("qemu-aarch64", "linux/arm64/v8"),
        emulated("qemu-arm", "linux/arm/v6"),
        emulated("qemu-arm", "linux/arm/v7"),
        planned(subject()),
    ];
    let (options, expectations) = (judge(&[]), Expectations::default());
    suite(&options, &[], &expectations).calibrate(&mut all);
    let [first, same, old, other, own] = all.map(|planned| planned.calibration);
    let is_same = |a: &Option<Arc<Calibration>>, b: &Option<Arc<Calibration>>| {
        let both = a.as_ref().zip(b.as_ref());
        both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    };
    assert!(is_same(&first, &same));
    assert!(old.is_some() && other.is_some() && !is_same(&old, &other));
    assert!(own.is_none());
}

/// Measures 30 times in each round.
static TIMED: Check = check("signals/term-latency", |cx| {
    let samples: Vec<u64> = (100..130).collect();
    cx.measure_all("term_latency", "us", &samples);
    cx.measure("reap_throughput", "1/s", 7.0);
    cx.measure("rss", "bytes", 4096.0);
    Ok(Pass::new("measured"))
});

fn term_latency(run: &Run) -> &crate::event::Measurement {
    run.measurements.get("term_latency").expect("measured")
}

#[test]
fn times_are_measured_once_unless_they_are_compared_or_a_p99_is_asked_for() {
    let once = run(&judge(&[]), &[&TIMED], &planned(subject()), "");
    let latency = term_latency(&once);
    assert_eq!((latency.samples, latency.p99), (Some(30), None));
    assert!(latency.rounds.is_empty());
    let options = judge(&["--budget", "term_latency_p99=1ms"]);
    let again = run(&options, &[&TIMED], &planned(subject()), "");
    let latency = term_latency(&again);
    assert_eq!((latency.samples, latency.p99), (Some(120), Some(129.0)));
    assert_eq!(again.conclusion, Conclusion::Conformant);
}

#[test]
fn the_times_of_a_baseline_are_measured_in_turn_with_the_images() {
    let (options, expectations) = (judge(&[]), Expectations::default());
    let checks: [&'static Check; 1] = [&TIMED];
    let suite = suite(&options, &checks, &expectations);
    let baselines = Baselines {
        image: "y",
        runs: vec![suite.run(&planned(subject()), None, &mut |_| {})],
    };
    let here = suite.run(&planned(subject()), Some(&baselines), &mut |_| {});
    let there = here.run.baseline.as_ref().expect("a baseline");
    let there = there.measurements.get("term_latency").expect("measured");
    for latency in [term_latency(&here.run), there] {
        assert_eq!(latency.rounds.len(), ROUNDS);
        assert_eq!(latency.samples, Some(30 * ROUNDS as u64));
        assert_eq!(latency.good, Some(1e6));
    }
    // What is no time stays as it was measured.
    assert!(here.run.measurements.contains_key("rss"));
    let runs = [here.run.clone(), here.run.clone()];
    let again = [here.timed, None];
    assert!(suite.side_by_side(&runs, &again, &mut |_| {}).is_empty());
}

#[test]
fn several_images_are_measured_in_turn() {
    let options = judge(&["--image", "y"]);
    let expectations = Expectations::default();
    let checks: [&'static Check; 1] = [&TIMED];
    let suite = suite(&options, &checks, &expectations);
    let both = [(); 2].map(|()| suite.run(&planned(subject()), None, &mut |_| {}));
    let runs: Vec<_> = both.iter().map(|ran| ran.run.clone()).collect();
    let again = both.map(|ran| ran.timed);
    let measured = suite.side_by_side(&runs, &again, &mut |_| {});
    assert_eq!(measured.keys().copied().collect::<Vec<_>>(), [0, 1]);
    for of in measured.values() {
        assert_eq!(of["term_latency"].rounds.len(), ROUNDS);
        assert_eq!(of["reap_throughput"].rounds.len(), ROUNDS);
        assert!(!of.contains_key("rss"));
    }
}
