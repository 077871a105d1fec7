//! Conclusions that wait for the gate, the check that says whether the program stays.

use std::time::Duration;

use super::Runner;
use super::conclude::Concluded;
use crate::check::{Check, Finding, Level};
use crate::context::{Lack, in_words};
use crate::event::Verdict;

impl<'a> Runner<'a> {
    /// Whether the program stays, as far as that is known.
    fn stays(&self) -> Option<Verdict> {
        Some(self.records.get(self.gate?)?.verdict)
    }

    /// Whether the gate is still to say whether the program stays.
    fn awaits_gate(&self) -> bool {
        self.gate.is_some() && self.stays().is_none()
    }

    /// Keeps a pass, once it is known that the program does not need what the check is about: a
    /// program that needs it may end only after that check.
    pub(super) fn settle_held(&mut self, at_last: bool) {
        let awaited = self.awaits_gate() && !at_last;
        let lacks = if self.stays() == Some(Verdict::Pass) {
            &[]
        } else {
            self.lacks()
        };
        let names = |lacks: &[Lack], id| lacks.iter().any(|lack| lack.check() == id);
        for (check, pass, took) in std::mem::take(&mut self.held) {
            if awaited && names(&Lack::ALL, check.id) {
                self.held.push((check, pass, took));
            } else if names(lacks, check.id) {
                let expected = format!("it stays without {}", in_words(lacks));
                let observed = match self.gate {
                    Some(gate) => format!("it ends without, as `--filter {gate}` shows"),
                    None => "it ends without".to_owned(),
                };
                let finding = Finding::new(expected, observed);
                self.finish(check, Concluded::Fail(finding), took);
            } else {
                self.finish(check, Concluded::Pass(pass), took);
            }
        }
    }

    /// What the program ends without, as far as a check has asked.
    fn lacks(&self) -> &'a [Lack] {
        self.run.shared.lacks.get().map_or(&[], Vec::as_slice)
    }

    /// Concludes the checks whose programs ended, once it is known whether they stay by themselves.
    pub(super) fn settle_ended(&mut self) {
        if self.awaits_gate() {
            return;
        }
        for (check, finding, took) in std::mem::take(&mut self.ended) {
            self.conclude_or_block(check, Concluded::Fail(finding), took);
        }
    }

    /// A program that does not stay fails one check, not all of them; one that runs
    /// elsewhere and not here fails this one.
    pub(super) fn settle(&mut self) {
        self.settle_held(true);
        let ended = std::mem::take(&mut self.ended).into_iter();
        let ended = ended.map(|(check, finding, took)| (check, Concluded::Fail(finding), took));
        let waiting = ended.chain(std::mem::take(&mut self.not_running));
        for (check, concluded, took) in waiting.collect::<Vec<_>>() {
            self.conclude_or_block(check, concluded, took);
        }
    }

    fn conclude_or_block(&mut self, check: &'static Check, if_it_stays: Concluded, took: Duration) {
        let concluded = if self.stays() == Some(Verdict::Fail) {
            let (by, why) = (self.to_blame().to_owned(), None);
            Concluded::Blocked { by, why }
        } else {
            match if_it_stays {
                // What is only measured is never failed.
                Concluded::Fail(finding) if check.level == Level::Info => {
                    Concluded::Inconclusive(finding.observed)
                }
                other => other,
            }
        };
        self.finish(check, concluded, took);
    }

    /// The check that says what a program needs that does not stay.
    fn to_blame(&self) -> &'static str {
        let failed = |id: &&str| {
            let record = self.records.get(id);
            record.is_some_and(|record| record.verdict == Verdict::Fail)
        };
        let checks = self.lacks().iter().map(|lack| lack.check());
        let gate = self.gate.unwrap_or_default();
        checks.into_iter().find(failed).unwrap_or(gate)
    }
}
