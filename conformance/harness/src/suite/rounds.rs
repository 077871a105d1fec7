//! Measures times again, in rounds: in turn with what they are compared with, so that what else the
//! host does meets all alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Suite;
use crate::budget::Budget;
use crate::check::Check;
use crate::context::Shared;
use crate::event::{Baseline, Event, FOR_P99, Measurement, ROUNDS, Record, Run, Verdict};
use crate::figures;
use crate::report::compare::InTurn;
use crate::runner::{self, Settings};

/// The most rounds: on a busy host each has a sample or two.
const MOST: usize = 200;

/// The runs of the image of `--baseline`, by platform.
pub(super) struct Baselines<'a> {
    pub(super) image: &'a str,
    pub(super) runs: Vec<Ran>,
}

/// A run, and what can be measured of its subject again.
pub(super) struct Ran {
    pub(super) run: Run,
    pub(super) timed: Option<Timed>,
}

impl Baselines<'_> {
    /// Compares a run with its own; what can be measured of that again.
    pub(super) fn compare(&self, run: &mut Run) -> Option<&Timed> {
        let same = |it: &&Ran| it.run.platform == run.platform && it.run.runtime == run.runtime;
        if let Some(there) = self.runs.iter().find(same) {
            run.compare(&there.run);
            return there.timed.as_ref();
        }
        run.baseline = Some(Baseline {
            image: self.image.to_owned(),
            digest: None,
            error: Some(format!("it has no image for {}", run.platform)),
            measurements: BTreeMap::new(),
        });
        None
    }
}

/// A subject that was judged, and the checks that measured times of it.
pub(super) struct Timed {
    shared: Arc<Shared>,
    settings: Settings,
    checks: Vec<&'static Check>,
}

/// What the rounds of one subject have measured, by name.
#[derive(Default)]
struct Rounds {
    distributions: BTreeMap<String, Vec<Vec<u64>>>,
    figures: BTreeMap<String, (String, Vec<f64>)>,
    /// How many times each check did not pass, so that nothing was measured, by its id.
    lost: BTreeMap<&'static str, usize>,
}

impl Timed {
    /// `None` where no check that passed measures a time.
    pub(super) fn of(
        shared: &Arc<Shared>,
        settings: &Settings,
        checks: &[&'static Check],
        records: &[Record],
    ) -> Option<Self> {
        let passed = |check: &&Check| {
            let passed = |record: &Record| record.id == check.id && record.verdict == Verdict::Pass;
            records.iter().any(passed)
        };
        let timed = |check: &&&'static Check| figures::is_timed_by(check.id) && passed(check);
        let checks: Vec<_> = checks.iter().filter(timed).copied().collect();
        (!checks.is_empty()).then(|| Self {
            shared: Arc::clone(shared),
            settings: settings.clone(),
            checks,
        })
    }

    fn is_interrupted(&self) -> bool {
        self.settings.interrupted.load(Ordering::Relaxed)
    }

    /// Runs a check once more, and takes what it has measured.
    fn measure(
        &self,
        check: &'static Check,
        rounds: &mut Rounds,
        emit: &mut dyn FnMut(&Event<'_>),
    ) {
        let measurements = || match self.shared.measurements.lock() {
            Ok(measurements) => measurements,
            Err(poisoned) => poisoned.into_inner(),
        };
        measurements().clear();
        self.shared.forget_timing();
        let waiting = &mut |event: &Event<'_>| {
            if matches!(event, Event::Waiting) {
                emit(event);
            }
        };
        let ran = runner::run(&[check], &self.shared, &self.settings, waiting);
        if !ran.records.iter().all(|it| it.verdict == Verdict::Pass) {
            *rounds.lost.entry(check.id).or_default() += 1;
            return;
        }
        for (name, measurement) in std::mem::take(&mut *measurements()) {
            rounds.add(name, measurement);
        }
    }
}

impl Rounds {
    /// The distributions that were measured before are the first round.
    fn after(first: &BTreeMap<String, Measurement>) -> Self {
        let mut rounds = Self::default();
        for (name, measurement) in first {
            if measurement.value.is_none() {
                rounds.add(name.clone(), measurement.clone());
            }
        }
        rounds
    }

    fn add(&mut self, name: String, measurement: Measurement) {
        if !measurement.is_timed() {
            return;
        }
        if let Some(value) = measurement.value {
            let (_, values) = self
                .figures
                .entry(name)
                .or_insert((measurement.unit, Vec::new()));
            values.push(value);
        } else {
            self.distributions
                .entry(name)
                .or_default()
                .push(measurement.all);
        }
    }

    /// A check has too few samples for a 99th percentile, and mostly passes.
    fn may_have_more(&self, check: &str) -> bool {
        let lost = self.lost.get(check).copied().unwrap_or_default();
        lost < ROUNDS && !self.has_enough(check)
    }

    /// Whether each distribution that a check measures has the samples for a 99th percentile.
    fn has_enough(&self, check: &str) -> bool {
        let samples = |name: &str| {
            let rounds = self.distributions.get(name);
            rounds.map_or(0, |rounds| rounds.iter().map(Vec::len).sum())
        };
        let mut of = figures::FIGURES.iter().filter(|it| it.check == check);
        of.all(|it| !it.is_distribution || samples(it.name) >= FOR_P99)
    }

    fn summary(self) -> BTreeMap<String, Measurement> {
        let many = self.distributions.into_iter().filter_map(|(name, rounds)| {
            let mut measurement = Measurement::distribution("us", &rounds)?;
            // What took too long to pass would be among the samples.
            let check = figures::find(&name).map(|figure| figure.check);
            if check.is_some_and(|check| self.lost.contains_key(check)) {
                measurement.p99 = None;
            }
            Some((name, measurement))
        });
        let one = self.figures.into_iter().filter_map(|(name, it)| {
            let (unit, values) = it;
            Some((name, Measurement::repeated(&unit, values)?))
        });
        let mut all: BTreeMap<_, _> = many.chain(one).collect();
        judge(&mut all);
        all
    }
}

/// Takes what was measured again for what was measured first, of which the largest stays: more
/// measuring makes no figure better.
fn replace(first: &mut BTreeMap<String, Measurement>, again: BTreeMap<String, Measurement>) {
    for (name, mut measurement) in again {
        let most = first.get(&name).and_then(|it| it.max);
        measurement.max = measurement.max.map(|max| max.max(most.unwrap_or(max)));
        first.insert(name, measurement);
    }
}

/// Says of each what is good, and what known pauses have.
pub(super) fn judge(measurements: &mut BTreeMap<String, Measurement>) {
    for (name, measurement) in measurements {
        measurement.good = figures::find(name).map(|figure| figure.good);
        measurement.known = figures::known(name);
    }
}

/// Measures the times of these subjects in turn, forward and back again: as often as they can be
/// told apart, where there are several, and until there is a 99th percentile of what the checks of
/// `p99` measure, or a check has not passed in ten rounds. What was measured `first` is kept.
fn in_turn(
    subjects: &[&Timed],
    first: &BTreeMap<String, Measurement>,
    p99: &[&str],
    emit: &mut dyn FnMut(&Event<'_>),
) -> Vec<BTreeMap<String, Measurement>> {
    let mut all: Vec<Rounds> = subjects.iter().map(|_| Rounds::after(first)).collect();
    let least = if subjects.len() > 1 { ROUNDS } else { 0 };
    let has = |subject: &Timed, check: &Check| subject.checks.iter().any(|it| it.id == check.id);
    let mut checks: Vec<&'static Check> = Vec::new();
    for check in subjects.iter().flat_map(|it| &it.checks) {
        let owners = subjects.iter().filter(|it| has(it, check)).count();
        let is_wanted = owners > 1 || p99.contains(&check.id);
        if is_wanted && checks.iter().all(|it| it.id != check.id) {
            checks.push(check);
        }
    }
    for round in 0..MOST {
        checks.retain(|check| {
            let lacks = |(subject, rounds): (&&Timed, &Rounds)| {
                has(subject, check) && rounds.may_have_more(check.id)
            };
            let lacks = p99.contains(&check.id) && subjects.iter().zip(&all).any(lacks);
            round < least || lacks
        });
        for check in &checks {
            let mut turn: Vec<_> = subjects.iter().zip(&mut all).collect();
            if round % 2 == 1 {
                turn.reverse();
            }
            for (subject, rounds) in turn {
                if subject.is_interrupted() {
                    return all.into_iter().map(Rounds::summary).collect();
                }
                if has(subject, check) {
                    subject.measure(check, rounds, emit);
                }
            }
        }
    }
    all.into_iter().map(Rounds::summary).collect()
}

impl Suite<'_> {
    /// Measures times again: in turn with the baseline's, and where a budget is of a 99th
    /// percentile.
    pub(super) fn measure_again(
        &self,
        run: &mut Run,
        timed: Option<&Timed>,
        there: Option<&Timed>,
        emit: &mut dyn FnMut(&Event<'_>),
    ) {
        let budgets = self.options.budgets.iter();
        let p99 = budgets.filter(|budget| budget.is_of_p99());
        let p99: Vec<_> = p99.map(Budget::check).collect();
        let Some(timed) = timed.filter(|_| there.is_some() || !p99.is_empty()) else {
            return;
        };
        let subjects: Vec<_> = std::iter::once(timed).chain(there).collect();
        // What is compared is measured in turn alone.
        let nothing: BTreeMap<String, Measurement> = BTreeMap::new();
        let first = if there.is_some() {
            &nothing
        } else {
            &run.measurements
        };
        let mut measured = in_turn(&subjects, first, &p99, emit).into_iter();
        replace(&mut run.measurements, measured.next().unwrap_or_default());
        if let (Some(baseline), Some(there)) = (&mut run.baseline, measured.next()) {
            replace(&mut baseline.measurements, there);
        }
    }

    /// Whether the times of several images are measured in turn: where each is judged once.
    pub(super) fn is_side_by_side(&self) -> bool {
        self.options.images.len() > 1 && self.options.repeat <= 1
    }

    /// Measures the times of several images in turn: those of one platform, on one backend. By the
    /// number of the run.
    pub(super) fn side_by_side(
        &self,
        runs: &[Run],
        again: &[Option<Timed>],
        emit: &mut dyn FnMut(&Event<'_>),
    ) -> InTurn {
        let mut measured = InTurn::new();
        if !self.is_side_by_side() {
            return measured;
        }
        let mut groups: BTreeMap<(&str, &str), Vec<(usize, &Timed)>> = BTreeMap::new();
        for (number, (run, timed)) in runs.iter().zip(again).enumerate() {
            if let Some(timed) = timed {
                let group = groups.entry((&run.platform, &run.runtime)).or_default();
                group.push((number, timed));
            }
        }
        for group in groups.values().filter(|group| group.len() > 1) {
            let subjects: Vec<_> = group.iter().map(|(_, timed)| *timed).collect();
            let all = in_turn(&subjects, &BTreeMap::new(), &[], emit);
            measured.extend(group.iter().map(|(number, _)| *number).zip(all));
        }
        measured
    }
}
