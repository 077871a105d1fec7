//! Folds records to a conclusion: record → run → report.
//!
//! Owns what a verdict weighs. Every format asks [`Record::effect`] whether a
//! record is red, so no report can disagree with the exit status.

use crate::event::{Baseline, Conclusion, Record, Report, Run, Tally, Verdict, Want};
use crate::requirement::Level;

impl Tally {
    /// Counts one record.
    pub fn add(&mut self, record: &Record) {
        let known = u32::from(record.expected_failure.is_some());
        match record.verdict {
            Verdict::Pass => {
                self.pass += 1;
                self.unexpected_passes += known;
            }
            Verdict::Fail => {
                self.fail += 1;
                self.known_failures += known;
                match record.level {
                    Level::Must => self.fail_must += 1,
                    Level::Should => self.fail_should += 1,
                    Level::Info => {}
                }
            }
            Verdict::Skipped => self.skipped += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Error => self.error += 1,
        }
        self.unjudged_must += u32::from(record.level == Level::Must && record.is_unjudged());
    }

    /// Counts them all.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut tally = Self::default();
        for record in records {
            tally.add(record);
        }
        tally
    }

    /// All together.
    pub fn total(&self) -> u32 {
        self.pass + self.fail + self.skipped + self.inconclusive + self.error
    }
}

impl Level {
    /// A failure at this level fails the run.
    pub fn is_binding(self, strict: bool) -> bool {
        match self {
            Level::Must => true,
            Level::Should => strict,
            Level::Info => false,
        }
    }
}

impl Record {
    /// The conclusion of the run if this were its only check; `None` where it decides nothing:
    /// skipped without `--require-all`, or inconclusive below MUST.
    ///
    /// An error weighs the same at every level: it is about the suite, not the image.
    pub fn effect(&self, strict: bool) -> Option<Conclusion> {
        let binding = self.level.is_binding(strict);
        let known = self.expected_failure.is_some();
        match self.verdict {
            Verdict::Pass if known => Some(Conclusion::NotConformant),
            Verdict::Fail if (binding || self.is_worse()) && !known => {
                Some(Conclusion::NotConformant)
            }
            Verdict::Pass | Verdict::Fail => Some(Conclusion::Conformant),
            Verdict::Inconclusive => binding.then_some(Conclusion::Inconclusive),
            Verdict::Skipped => self.required.then_some(Conclusion::Inconclusive),
            Verdict::Error => Some(Conclusion::NotJudged),
        }
    }

    /// It applies, and this host could not judge it: another might.
    pub fn is_unjudged(&self) -> bool {
        match self.verdict {
            Verdict::Inconclusive => true,
            Verdict::Skipped => self.skipped_for == Some(Want::Host),
            Verdict::Pass | Verdict::Fail | Verdict::Error => false,
        }
    }

    /// Has it count, as `--require-all` asks, where it is a MUST that this host could not judge.
    pub fn require(&mut self) {
        self.required =
            self.verdict == Verdict::Skipped && self.level == Level::Must && self.is_unjudged();
    }

    /// It fails here and passes on the baseline.
    pub fn is_worse(&self) -> bool {
        let worse = (self.verdict, self.baseline) == (Verdict::Fail, Some(Verdict::Pass));
        worse && self.level != Level::Info
    }

    /// It passes here and fails on the baseline.
    pub fn is_better(&self) -> bool {
        (self.verdict, self.baseline) == (Verdict::Pass, Some(Verdict::Fail))
    }

    /// It alone keeps the run from being conformant.
    pub fn is_red(&self, strict: bool) -> bool {
        self.effect(strict)
            .is_some_and(|effect| effect != Conclusion::Conformant)
    }
}

impl Conclusion {
    /// The worse of two. A failure is definite whatever else could not be judged;
    /// after it, that the suite could not judge is worse than one inconclusive check.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if self.rank() >= other.rank() {
            self
        } else {
            other
        }
    }

    fn rank(self) -> u8 {
        match self {
            Conclusion::Conformant => 0,
            Conclusion::Inconclusive => 1,
            Conclusion::NotJudged => 2,
            Conclusion::NotConformant => 3,
        }
    }

    /// The worst of them; not judged where there is none.
    fn worst(all: impl Iterator<Item = Self>) -> Self {
        all.reduce(Self::worse).unwrap_or(Conclusion::NotJudged)
    }
}

impl Run {
    /// Sets tally and conclusion from the records. A run that was interrupted,
    /// that has an error of its own or in which nothing was decided is not judged, nor is
    /// one whose program was to run and did not, unless its files alone fail it.
    pub fn conclude(&mut self, strict: bool) {
        self.tally = Tally::of(&self.checks);
        self.conclusion = if self.interrupted || self.error.is_some() {
            Conclusion::NotJudged
        } else {
            let files = Conclusion::worst(
                self.checks
                    .iter()
                    .filter_map(|record| record.effect(strict)),
            );
            match self.not_run {
                Some(_) => files.worse(Conclusion::NotJudged),
                None => files,
            }
        };
    }

    /// It adds nothing to the conclusion of the report: a companion of which no file was read.
    fn says_nothing(&self, strict: bool) -> bool {
        let decides = |record: &Record| record.effect(strict).is_some();
        self.companion
            && self.error.is_none()
            && !self.interrupted
            && !self.checks.iter().any(decides)
    }
}

impl Run {
    /// Compares it with the baseline's run on the same platform.
    pub fn compare(&mut self, baseline: &Self) {
        for record in &mut self.checks {
            let there = baseline.checks.iter().find(|other| other.id == record.id);
            record.baseline = there.map(|other| other.verdict);
        }
        self.baseline = Some(Baseline {
            image: baseline.image.clone(),
            digest: baseline.digest.clone(),
            error: baseline.error.clone(),
            measurements: baseline.measurements.clone(),
        });
    }
}

impl Report {
    /// Concludes every run and then the whole. The worst run wins; with no run,
    /// or where one was interrupted, it is not judged, whatever was found until then.
    pub fn conclude(&mut self) {
        for run in &mut self.runs {
            run.conclude(self.strict);
        }
        self.interrupted |= self.runs.iter().any(|run| run.interrupted);
        self.conclusion = if self.interrupted {
            Conclusion::NotJudged
        } else {
            let telling = |run: &&Run| !run.says_nothing(self.strict);
            Conclusion::worst(self.runs.iter().filter(telling).map(|run| run.conclusion))
        };
    }
}

#[cfg(test)]
mod tests;
