//! The progress line, on stderr.
//!
//! On a terminal it is one line that is redrawn, and removed at the end: how far the run is, for how
//! long it has run, what failed, and which check it waits for. Elsewhere it is one line when a run
//! begins, and one each ten seconds, so that a log shows what the suite was doing.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::event::{Event, RunHead, Verdict};
use crate::report::Reporter;
use crate::report::patient::Patient;
use crate::report::text;

mod line;

use line::Line;

/// How often per second the line is drawn at most.
const FREQUENCY: u8 = 20;

/// How long a log hears nothing of a run at most.
const EACH: Duration = Duration::from_secs(10);

/// Shows progress on stderr.
#[derive(Debug)]
pub struct Progress<W> {
    /// Gets one line per run if stderr is no terminal.
    log: Option<W>,
    bar: ProgressBar,
    under_way: Vec<&'static str>,
    failed: u64,
    ended: usize,
    /// The run that is under way: its name, how many checks it has, when it began, and when the
    /// last line of it was written.
    run: (String, usize, Instant, Instant),
    /// Number of all runs, and of those that have begun.
    runs: (usize, usize),
}

impl<W: Write> Progress<W> {
    /// Progress on the terminal that stderr is: one line that is redrawn.
    pub fn on_terminal() -> Self {
        let line = Box::new(Line::on(Patient::stderr()));
        Self::new(None, ProgressDrawTarget::term_like_with_hz(line, FREQUENCY))
    }

    /// Progress as one line per run.
    pub fn to_log(log: W) -> Self {
        Self::new(Some(log), ProgressDrawTarget::hidden())
    }

    fn new(log: Option<W>, target: ProgressDrawTarget) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            log,
            bar,
            under_way: Vec::new(),
            failed: 0,
            ended: 0,
            run: (String::new(), 0, Instant::now(), Instant::now()),
            runs: (0, 0),
        }
    }

    fn begin(&mut self, head: &RunHead, checks: usize) -> io::Result<()> {
        self.runs.1 += 1;
        self.failed = 0;
        self.under_way.clear();
        let what = format!(
            "{}{} {} on {}",
            match self.runs {
                (0 | 1, _) => String::new(),
                (all, begun) => format!("[{begun}/{all}] "),
            },
            text::line(&head.image),
            text::line(&head.platform),
            text::line(&head.runtime),
        );
        if let Some(log) = &mut self.log {
            writeln!(log, "{what}: {checks} checks")?;
        }
        self.ended = 0;
        self.run = (what, checks, Instant::now(), Instant::now());
        self.bar.reset();
        self.bar
            .set_length(u64::try_from(checks).unwrap_or(u64::MAX));
        self.bar.set_message(self.message());
        Ok(())
    }

    /// What matters most comes first: a narrow terminal cuts the end off.
    fn message(&self) -> String {
        let failed = match self.failed {
            0 => String::new(),
            n => format!("{n} failed  "),
        };
        // Name the check that has run longest: the run waits for it.
        let check = self.under_way.first().unwrap_or(&"");
        format!("{failed}{check}  {}", self.run.0)
    }

    /// Writes how far the run is, where a log has heard nothing for so long.
    fn say_that_it_goes_on(&mut self) -> io::Result<()> {
        let (what, checks, began, said) = &self.run;
        let Some(log) = self.log.as_mut().filter(|_| said.elapsed() >= EACH) else {
            return Ok(());
        };
        let waits = match self.under_way.first() {
            Some(id) => format!(", at {id}"),
            None => String::new(),
        };
        writeln!(
            log,
            "{what}: {} of {checks} checks after {} s, {} failed{waits}",
            self.ended,
            began.elapsed().as_secs(),
            self.failed,
        )?;
        self.run.3 = Instant::now();
        Ok(())
    }
}

impl<W: Write> Reporter for Progress<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::SuiteStarted { runs, .. } => self.runs = (*runs, 0),
            Event::RunStarted { head, checks } => self.begin(head, *checks)?,
            Event::CheckStarted { id } => {
                self.under_way.push(id);
                self.bar.set_message(self.message());
            }
            Event::CheckFinished { record } => {
                self.under_way.retain(|id| *id != record.id);
                let failed = record.verdict == Verdict::Fail && record.expected_failure.is_none();
                self.failed += u64::from(failed);
                self.ended += 1;
                self.bar.set_message(self.message());
                self.bar.inc(1);
                self.say_that_it_goes_on()?;
            }
            Event::Waiting => {
                self.bar.tick();
                self.say_that_it_goes_on()?;
            }
            // Clear the line before another reporter prints the run.
            Event::RunFinished { .. } | Event::SuiteFinished { .. } => self.bar.finish_and_clear(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
