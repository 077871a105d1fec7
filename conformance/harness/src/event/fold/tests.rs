//! The tables of what verdicts weigh and how conclusions fold.

use rstest::rstest;

use crate::check::Level::{self, Info, Must, Should};
use crate::event::Conclusion::{self, Conformant, NotConformant, NotJudged};
use crate::event::Verdict::{self, Error, Fail, Inconclusive, Pass, Skipped};
use crate::event::{Host, Record, Report, Run, RunHead, SCHEMA_VERSION, Tally, Tool, Want};

const UNDECIDED: Conclusion = Conclusion::Inconclusive;

fn record(level: Level, verdict: Verdict, known: bool) -> Record {
    Record {
        id: "a/b".to_owned(),
        title: String::new(),
        level,
        declared_level: None,
        verdict,
        requirement: String::new(),
        source: String::new(),
        source_url: String::new(),
        expected: None,
        observed: None,
        evidence: Vec::new(),
        reason: None,
        blocked_by: None,
        skipped_for: None,
        required: false,
        expected_failure: known.then(|| "known".to_owned()),
        baseline: None,
        reproduce: None,
        explain: None,
        duration_us: 0,
    }
}

fn run(records: impl IntoIterator<Item = Record>) -> Run {
    let head = RunHead {
        image: "image".to_owned(),
        platform: "linux/amd64".to_owned(),
        runtime: "embedded".to_owned(),
        ..RunHead::default()
    };
    Run::new(&head, records.into_iter().collect())
}

fn report(strict: bool, runs: Vec<Run>) -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool {
            name: "t".to_owned(),
            version: "0".to_owned(),
        },
        spec_version: "0".to_owned(),
        started: String::new(),
        host: Host::default(),
        strict,
        static_only: false,
        part: None,
        error: None,
        conclusion: Conformant,
        interrupted: false,
        runs,
        comparison: None,
    }
}

/// Verdict, level, known → effect when lenient, effect when strict.
type Row = (Verdict, Level, bool, Option<Conclusion>, Option<Conclusion>);

/// Every combination.
#[rustfmt::skip]
const EFFECTS: [Row; 30] = [
    (Pass, Must, false, Some(Conformant), Some(Conformant)),
    (Pass, Should, false, Some(Conformant), Some(Conformant)),
    (Pass, Info, false, Some(Conformant), Some(Conformant)),
    (Pass, Must, true, Some(NotConformant), Some(NotConformant)),
    (Pass, Should, true, Some(NotConformant), Some(NotConformant)),
    (Pass, Info, true, Some(NotConformant), Some(NotConformant)),
    (Fail, Must, false, Some(NotConformant), Some(NotConformant)),
    (Fail, Should, false, Some(Conformant), Some(NotConformant)),
    (Fail, Info, false, Some(Conformant), Some(Conformant)),
    (Fail, Must, true, Some(Conformant), Some(Conformant)),
    (Fail, Should, true, Some(Conformant), Some(Conformant)),
    (Fail, Info, true, Some(Conformant), Some(Conformant)),
    (Skipped, Must, false, None, None),
    (Skipped, Should, false, None, None),
    (Skipped, Info, false, None, None),
    (Skipped, Must, true, None, None),
    (Skipped, Should, true, None, None),
    (Skipped, Info, true, None, None),
    (Inconclusive, Must, false, Some(UNDECIDED), Some(UNDECIDED)),
    (Inconclusive, Should, false, None, Some(UNDECIDED)),
    (Inconclusive, Info, false, None, None),
    (Inconclusive, Must, true, Some(UNDECIDED), Some(UNDECIDED)),
    (Inconclusive, Should, true, None, Some(UNDECIDED)),
    (Inconclusive, Info, true, None, None),
    (Error, Must, false, Some(NotJudged), Some(NotJudged)),
    (Error, Should, false, Some(NotJudged), Some(NotJudged)),
    (Error, Info, false, Some(NotJudged), Some(NotJudged)),
    (Error, Must, true, Some(NotJudged), Some(NotJudged)),
    (Error, Should, true, Some(NotJudged), Some(NotJudged)),
    (Error, Info, true, Some(NotJudged), Some(NotJudged)),
];

#[test]
fn each_verdict_weighs_what_the_table_says() {
    for (verdict, level, known, lenient, strict) in EFFECTS {
        let record = record(level, verdict, known);
        assert_eq!(
            record.effect(false),
            lenient,
            "{level} {verdict:?} known: {known}"
        );
        assert_eq!(
            record.effect(true),
            strict,
            "{level} {verdict:?} known: {known}, strict"
        );
    }
}

/// A failure that the baseline does not have counts, unless it is known or no requirement.
#[rstest]
#[case::a_regression(Should, Fail, false, Some(Pass), NotConformant)]
#[case::known(Should, Fail, true, Some(Pass), Conformant)]
#[case::no_requirement(Info, Fail, false, Some(Pass), Conformant)]
#[case::fails_there_too(Should, Fail, false, Some(Fail), Conformant)]
#[case::a_must_fails_there_too(Must, Fail, false, Some(Fail), NotConformant)]
#[case::not_decided_there(Should, Fail, false, Some(Inconclusive), Conformant)]
#[case::skipped_there(Should, Fail, false, Some(Skipped), Conformant)]
#[case::no_baseline(Should, Fail, false, None, Conformant)]
#[case::better(Should, Pass, false, Some(Fail), Conformant)]
fn what_the_baseline_passes_binds(
    #[case] level: Level,
    #[case] verdict: Verdict,
    #[case] known: bool,
    #[case] there: Option<Verdict>,
    #[case] effect: Conclusion,
) {
    let mut record = record(level, verdict, known);
    record.baseline = there;
    assert_eq!(record.effect(false), Some(effect));
}

#[test]
fn a_run_is_compared_check_by_check() {
    let named = |id: &str, verdict| Record {
        id: id.to_owned(),
        ..record(Should, verdict, false)
    };
    let mut there = run([named("a/one", Pass), named("a/two", Fail)]);
    there.image = "baseline".to_owned();
    there.error = Some("a reason".to_owned());
    let mut here = run([
        named("a/new", Fail),
        named("a/two", Pass),
        named("a/one", Fail),
    ]);
    here.compare(&there);
    let verdicts: Vec<_> = here.checks.iter().map(|record| record.baseline).collect();
    assert_eq!(verdicts, [None, Some(Fail), Some(Pass)]);
    let worse: Vec<_> = here.checks.iter().map(Record::is_worse).collect();
    assert_eq!(worse, [false, false, true]);
    let better: Vec<_> = here.checks.iter().map(Record::is_better).collect();
    assert_eq!(better, [false, true, false]);
    let baseline = here.baseline.expect("a baseline");
    assert_eq!(baseline.image, "baseline");
    assert_eq!(baseline.error.as_deref(), Some("a reason"));
}

#[test]
fn a_record_is_red_exactly_where_its_effect_is_not_conformant() {
    for (verdict, level, known, lenient, strict) in EFFECTS {
        let record = record(level, verdict, known);
        assert_eq!(
            record.is_red(false),
            !matches!(lenient, None | Some(Conformant))
        );
        assert_eq!(
            record.is_red(true),
            !matches!(strict, None | Some(Conformant))
        );
    }
}

#[test]
fn a_run_of_one_check_comes_to_that_checks_effect() {
    for (verdict, level, known, lenient, strict) in EFFECTS {
        for (flag, effect) in [(false, lenient), (true, strict)] {
            let mut run = run([record(level, verdict, known)]);
            run.conclude(flag);
            assert_eq!(
                run.conclusion,
                effect.unwrap_or(NotJudged),
                "{level} {verdict:?}"
            );
        }
    }
}

#[rstest]
#[case::none(&[], NotJudged)]
#[case::all_skipped(&[Skipped, Skipped], NotJudged)]
#[case::pass(&[Pass, Pass], Conformant)]
#[case::pass_and_skipped(&[Skipped, Pass], Conformant)]
#[case::inconclusive_beats_pass(&[Pass, Inconclusive, Pass], UNDECIDED)]
#[case::error_beats_inconclusive(&[Error, Inconclusive, Pass], NotJudged)]
#[case::inconclusive_first(&[Inconclusive, Error, Pass], NotJudged)]
#[case::fail_beats_error(&[Fail, Error], NotConformant)]
#[case::error_first(&[Error, Fail], NotConformant)]
#[case::fail_beats_inconclusive(&[Inconclusive, Fail, Inconclusive], NotConformant)]
#[case::fail_beats_all(&[Pass, Skipped, Inconclusive, Error, Fail], NotConformant)]
fn the_worst_must_decides_a_run(#[case] verdicts: &[Verdict], #[case] expected: Conclusion) {
    let mut run = run(verdicts.iter().map(|verdict| record(Must, *verdict, false)));
    run.conclude(false);
    assert_eq!(run.conclusion, expected);
}

#[test]
fn an_interrupted_run_is_not_judged_even_if_all_passed_or_failed() {
    for verdict in [Pass, Fail, Inconclusive] {
        let mut run = run([record(Must, verdict, false)]);
        run.interrupted = true;
        run.conclude(false);
        assert_eq!(run.conclusion, NotJudged);
        assert_eq!(run.tally.total(), 1);
    }
}

#[test]
fn a_run_with_an_error_of_its_own_is_not_judged() {
    let mut run = run([record(Must, Pass, false)]);
    run.error = Some("no such image".to_owned());
    run.conclude(false);
    assert_eq!(run.conclusion, NotJudged);
}

#[test]
fn conclusions_are_ordered_and_worse_is_symmetric() {
    let ascending = [Conformant, UNDECIDED, NotJudged, NotConformant];
    for (i, a) in ascending.into_iter().enumerate() {
        for (j, b) in ascending.into_iter().enumerate() {
            assert_eq!(a.worse(b), ascending[i.max(j)], "{a:?} and {b:?}");
        }
    }
}

#[rstest]
#[case(Conformant, 0, "conformant")]
#[case(NotConformant, 1, "not conformant")]
#[case(NotJudged, 2, "not judged")]
#[case(UNDECIDED, 3, "inconclusive")]
fn each_conclusion_has_its_exit_status_and_word(
    #[case] conclusion: Conclusion,
    #[case] status: u8,
    #[case] word: &str,
) {
    assert_eq!(conclusion.exit_status(), status);
    assert_eq!(conclusion.as_str(), word);
}

#[rstest]
#[case::no_run(&[], NotJudged)]
#[case::one(&[Pass], Conformant)]
#[case::two(&[Pass, Pass], Conformant)]
#[case::one_run_that_ran_nothing(&[Pass, Skipped], NotJudged)]
#[case::one_inconclusive(&[Inconclusive, Pass], UNDECIDED)]
#[case::one_fails(&[Pass, Fail, Error], NotConformant)]
fn the_worst_run_decides_a_report(#[case] verdicts: &[Verdict], #[case] expected: Conclusion) {
    let runs = verdicts
        .iter()
        .map(|verdict| run([record(Must, *verdict, false)]))
        .collect();
    let mut report = report(false, runs);
    report.conclude();
    assert_eq!(report.conclusion, expected);
    assert!(!report.interrupted);
}

#[test]
fn an_interruption_leaves_the_report_unjudged() {
    let mut whole = report(false, vec![run([record(Must, Fail, false)])]);
    whole.interrupted = true;
    whole.conclude();
    assert_eq!(whole.conclusion, NotJudged);
    assert_eq!(whole.runs[0].conclusion, NotConformant);

    let mut last = run([record(Must, Pass, false)]);
    last.interrupted = true;
    let mut part = report(false, vec![run([record(Must, Pass, false)]), last]);
    part.conclude();
    assert!(part.interrupted);
    assert_eq!(part.conclusion, NotJudged);
}

#[test]
fn strict_reaches_the_runs_of_a_report() {
    for (strict, expected) in [(false, Conformant), (true, NotConformant)] {
        let mut report = report(strict, vec![run([record(Should, Fail, false)])]);
        report.conclude();
        assert_eq!(report.runs[0].conclusion, expected);
        assert_eq!(report.conclusion, expected);
    }
}

#[test]
fn concluding_twice_counts_once() {
    let mut run = run([record(Must, Pass, false), record(Must, Fail, false)]);
    run.conclude(false);
    run.conclude(false);
    assert_eq!(run.tally.total(), 2);
}

#[test]
fn a_tally_counts_each_verdict_level_and_expectation() {
    let records = [
        record(Must, Pass, false),
        record(Must, Pass, true),
        record(Must, Fail, false),
        record(Must, Fail, true),
        record(Should, Fail, false),
        record(Should, Fail, false),
        record(Should, Fail, true),
        record(Info, Fail, false),
        record(Must, Skipped, true),
        record(Must, Skipped, false),
        record(Must, Skipped, false),
        record(Must, Inconclusive, true),
        record(Should, Inconclusive, false),
        record(Info, Inconclusive, false),
        record(Info, Inconclusive, false),
        record(Info, Error, true),
    ];
    let tally = Tally::of(&records);
    let expected = Tally {
        pass: 2,
        fail: 6,
        fail_must: 2,
        fail_should: 3,
        known_failures: 2,
        unexpected_passes: 1,
        skipped: 3,
        inconclusive: 4,
        error: 1,
        unjudged_must: 1,
    };
    assert_eq!(tally, expected);
    assert_eq!(tally.total(), 16);
}

/// A MUST that was skipped for want of what another host has counts where all are required.
#[rstest]
#[case::host(Must, Skipped, Some(Want::Host), true)]
#[case::subject(Must, Skipped, Some(Want::Subject), false)]
#[case::option(Must, Skipped, Some(Want::Option), false)]
#[case::check(Must, Skipped, Some(Want::Check), false)]
#[case::no_must(Should, Skipped, Some(Want::Host), false)]
#[case::judged(Must, Pass, None, false)]
fn what_another_host_could_judge_is_counted_and_can_be_required(
    #[case] level: Level,
    #[case] verdict: Verdict,
    #[case] want: Option<Want>,
    #[case] required: bool,
) {
    let mut record = record(level, verdict, false);
    record.skipped_for = want;
    assert_eq!(Tally::of([&record]).unjudged_must, u32::from(required));
    let before = record.effect(false);
    record.require();
    assert_eq!(record.required, required);
    let expected = if required { Some(UNDECIDED) } else { before };
    assert_eq!(record.effect(false), expected);
    let mut run = run([self::record(Must, Pass, false), record]);
    run.conclude(false);
    assert_eq!(run.conclusion == UNDECIDED, required);
}

#[test]
fn a_run_in_which_no_program_ran_is_never_conformant() {
    let idle = |records: Vec<Record>| {
        let mut run = run(records);
        run.not_run = Some("there is none".to_owned());
        run.conclude(false);
        run.conclusion
    };
    assert_eq!(idle(vec![record(Must, Pass, false)]), NotJudged);
    assert_eq!(idle(Vec::new()), NotJudged);
    assert_eq!(idle(vec![record(Must, Fail, false)]), NotConformant);
}

#[test]
fn a_companion_counts_where_something_of_it_was_judged() {
    let whole = |records: Vec<Record>, error: Option<&str>| {
        let mut companion = run(records);
        companion.companion = true;
        companion.error = error.map(str::to_owned);
        let mut report = report(false, vec![run(vec![record(Must, Pass, false)]), companion]);
        report.conclude();
        report.conclusion
    };
    assert_eq!(whole(vec![record(Must, Pass, false)], None), Conformant);
    assert_eq!(whole(vec![record(Must, Fail, false)], None), NotConformant);
    assert_eq!(whole(vec![record(Must, Skipped, false)], None), Conformant);
    assert_eq!(whole(Vec::new(), Some("it is cut")), NotJudged);
}
