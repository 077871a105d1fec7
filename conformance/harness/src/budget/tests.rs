//! Limits as they are typed, and what a run is against them.

use rstest::rstest;

use super::Budget;
use crate::event::{Measurement, Record, Run, RunHead, Verdict, Want};

fn run(name: &str, value: Option<f64>, p99: Option<f64>) -> Run {
    let head = RunHead {
        image: "image".to_owned(),
        platform: "linux/amd64".to_owned(),
        runtime: "embedded".to_owned(),
        ..RunHead::default()
    };
    let mut run = Run::new(&head, Vec::new());
    let measurement = Measurement {
        value,
        p99,
        ..Measurement::new("bytes")
    };
    run.measurements.insert(name.to_owned(), measurement);
    run
}

#[rstest]
#[case("rss=1MiB", 1_048_576.0)]
#[case("rss=500kB", 500_000.0)]
#[case("rss=0.5KiB", 512.0)]
#[case("image_size=12B", 12.0)]
#[case("term_latency_p99=50ms", 50_000.0)]
#[case("term_latency_max=1.5s", 1_500_000.0)]
#[case("time_to_ready_p50=90us", 90.0)]
#[case("idle_wakeups=3", 3.0)]
fn a_limit_has_the_unit_of_its_figure(#[case] words: &str, #[case] limit: f64) {
    let budget: Budget = words.parse().expect(words);
    assert!((budget.limit - limit).abs() < 1e-6, "{}", budget.limit);
    assert_eq!(budget.words(), words);
}

#[rstest]
#[case("rss", "expected NAME=LIMIT, for example rss=1MiB")]
#[case("rs=1MiB", "no figure `rs`; did you mean rss?")]
#[case(
    "rss=1",
    "`1` is no limit of rss: a number and B, kB, MB, GB, KiB, MiB or GiB"
)]
#[case(
    "rss=1ms",
    "`1ms` is no limit of rss: a number and B, kB, MB, GB, KiB, MiB or GiB"
)]
#[case(
    "rss=-1B",
    "`-1B` is no limit of rss: a number and B, kB, MB, GB, KiB, MiB or GiB"
)]
#[case("idle_wakeups=nan", "`nan` is no limit of idle_wakeups: a number")]
#[case("idle_wakeups=inf", "`inf` is no limit of idle_wakeups: a number")]
#[case(
    "term_latency=1s",
    "`term_latency` is measured many times: term_latency_p50, term_latency_p99 or term_latency_max"
)]
#[case("rss_p99=1MiB", "no figure `rss_p99`; did you mean rss?")]
fn what_is_no_budget_is_refused_in_a_line(#[case] words: &str, #[case] message: &str) {
    let error = words.parse::<Budget>().expect_err(words);
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_is_over_fails_and_what_was_not_measured_says_why() {
    let budget: Budget = "rss=1KiB".parse().expect("a budget");
    for (value, verdict) in [(1024.0, Verdict::Pass), (1025.0, Verdict::Fail)] {
        let record = budget.record(&run("rss", Some(value), None), "judge");
        assert_eq!(record.verdict, verdict);
        assert_eq!(record.reproduce.is_some(), verdict == Verdict::Fail);
    }
    let p99: Budget = "term_latency_p99=1ms".parse().expect("a budget");
    let over = p99.record(&run("term_latency", None, Some(1001.0)), "judge --image x");
    assert_eq!(over.verdict, Verdict::Fail);
    let again = "judge --image x --budget term_latency_p99=1ms --filter signals/term-latency";
    assert_eq!(over.reproduce.as_deref(), Some(again));

    let mut few = run("term_latency", None, None);
    few.checks = vec![Record {
        id: "signals/term-latency".to_owned(),
        ..Record::new(Verdict::Pass)
    }];
    if let Some(measurement) = few.measurements.get_mut("term_latency") {
        measurement.samples = Some(30);
    }
    let open = p99.record(&few, "judge");
    assert_eq!(open.verdict, Verdict::Inconclusive);
    let why = "too few samples: a p99 takes 100, and there are 30";
    assert_eq!(open.reason.as_deref(), Some(why));

    let mut unmeasured = run("program_size", Some(1.0), None);
    let record = budget.record(&unmeasured, "judge");
    assert_eq!(
        (record.verdict, record.skipped_for),
        (Verdict::Skipped, Some(Want::Option))
    );
    for (verdict, want, expected) in [
        (Verdict::Skipped, Some(Want::Subject), Verdict::Skipped),
        (Verdict::Pass, None, Verdict::Skipped),
        (Verdict::Skipped, Some(Want::Host), Verdict::Inconclusive),
        (Verdict::Error, None, Verdict::Inconclusive),
    ] {
        unmeasured.checks = vec![Record {
            id: "resources/memory".to_owned(),
            skipped_for: want,
            ..Record::new(verdict)
        }];
        assert_eq!(
            budget.record(&unmeasured, "judge").verdict,
            expected,
            "{verdict:?}"
        );
    }
}
