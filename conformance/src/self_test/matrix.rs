//! The kill matrix: what caught each broken thing, and what each check caught.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::{Judged, Trial};
use crate::check::Check;

/// Trials × checks.
#[derive(Debug)]
pub struct Matrix {
    pub(super) checks: Vec<&'static Check>,
    /// Those of them that this host does not allow, and why.
    pub(super) not_made: Vec<(&'static str, String)>,
    /// Only some of the checks were asked for: of them alone is told.
    pub(super) some_checks: bool,
    /// Only some of the trials: they need not break every check.
    pub(super) some_trials: bool,
    pub(super) results: Vec<(Trial, Judged)>,
    pub(super) interrupted: bool,
}

impl Matrix {
    /// Checks that nothing failed, although they can be made here and everything was run that
    /// could.
    pub fn unbroken(&self) -> Vec<&'static str> {
        if self.some_trials {
            return Vec::new();
        }
        let caught: BTreeSet<&str> = self
            .results
            .iter()
            .flat_map(|(_, judged)| &judged.caught)
            .map(String::as_str)
            .collect();
        self.checks
            .iter()
            .map(|check| check.id)
            .filter(|id| !caught.contains(id))
            .filter(|id| !self.not_made.iter().any(|(other, _)| other == id))
            .collect()
    }

    /// Everything was run and judged as it had to be, and each check broken by something.
    pub fn is_right(&self) -> bool {
        !self.interrupted
            && self.results.iter().all(|(_, judged)| judged.is_right())
            && self.unbroken().is_empty()
    }

    /// Writes it: what caught each trial, what each check caught, what is wrong, and
    /// the sum of it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_trials(out)?;
        self.write_checks(out)?;
        self.write_faults(out)?;
        self.write_sum(out)
    }

    fn write_trials(&self, out: &mut impl Write) -> io::Result<()> {
        let (sound, broken): (Vec<_>, Vec<_>) = self
            .results
            .iter()
            .filter(|(_, judged)| !self.some_checks || !judged.caught.is_empty())
            .partition(|(trial, _)| trial.is_sound());
        for (title, trials) in [
            ("Sound: no MUST fails", sound),
            ("Broken: caught by", broken),
        ] {
            // Of some checks alone, only what they caught is of interest.
            if trials.is_empty() {
                continue;
            }
            writeln!(out, "{title}")?;
            let width = width(trials.iter().map(|(trial, _)| trial.name()));
            for (trial, judged) in trials {
                let caught = listed(judged.caught.iter().map(String::as_str));
                let (kind, name) = (trial.kind(), trial.name());
                writeln!(out, "  {kind:<7}  {name:<width$}  {caught}")?;
                writeln!(out, "           {:<width$}  {}", "", trial.about())?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_checks(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "Checks: what each caught")?;
        let width = width(self.checks.iter().map(|check| check.id));
        for check in &self.checks {
            let caught: Vec<&str> = self
                .results
                .iter()
                .filter(|(_, judged)| judged.caught.iter().any(|id| id == check.id))
                .map(|(trial, _)| trial.name())
                .collect();
            let (level, id, count) = (check.level, check.id, caught.len());
            let caught = listed(caught.into_iter());
            writeln!(out, "  {level:<6}  {id:<width$}  {count:>3}  {caught}")?;
        }
        Ok(())
    }

    fn write_faults(&self, out: &mut impl Write) -> io::Result<()> {
        for (trial, judged) in &self.results {
            for (word, lines) in [("MISSED", &judged.missed), ("WRONG", &judged.wrong)] {
                for line in lines {
                    writeln!(
                        out,
                        "\n{word} on the {} {}: {line}",
                        trial.kind(),
                        trial.name()
                    )?;
                }
            }
        }
        for (id, why) in &self.not_made {
            writeln!(out, "\nNot made here: {id}: {why}")?;
        }
        let unbroken = self.unbroken();
        if !unbroken.is_empty() {
            writeln!(out, "\nNothing broke {}", unbroken.join(", "))?;
        }
        Ok(())
    }

    fn write_sum(&self, out: &mut impl Write) -> io::Result<()> {
        let count = |kind: &str, sound: bool| {
            self.results
                .iter()
                .filter(|(trial, _)| trial.kind() == kind && trial.is_sound() == sound)
                .count()
        };
        let wrong = self
            .results
            .iter()
            .filter(|(_, judged)| !judged.is_right())
            .count();
        writeln!(
            out,
            "\n{} broken programs, {} images, {} backends, {} WASI programs, {} WASI runtimes, \
             {} sound: {} judged as they must be, {wrong} not; {} checks, {} not made here, \
             {} broken by nothing{}",
            count("program", false),
            count("image", false),
            count("engine", false),
            count("guest", false),
            count("host", false),
            self.results
                .iter()
                .filter(|(trial, _)| trial.is_sound())
                .count(),
            self.results.len() - wrong,
            self.checks.len(),
            self.not_made.len(),
            self.unbroken().len(),
            if self.interrupted {
                "; interrupted"
            } else {
                ""
            },
        )
    }
}

fn width<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words.map(str::len).max().unwrap_or_default()
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests;
