//! The report for people: each run when it ends, then the tally of all runs.
//!
//! The text has styles; the owner of the stream strips them where they are not wanted.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::event::{Comparison, Conclusion, Event, Record, Report, Run, Tally, Verdict};
use crate::report::Reporter;
use crate::report::compare::{self, Ranked};
use crate::report::matrix::{self, Matrix};
use crate::report::outline;
use crate::report::text::{self, plural};
use crate::report::wrap::wrap;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

/// Width of a record's label column.
const LABEL: usize = 11;

/// How much the report for people says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What needs attention, and the conclusion.
    Quiet,
    /// Also what was skipped and measured.
    #[default]
    Usual,
    /// Also what passed, and each check that is not for a subject of this kind.
    Verbose,
}

/// Writes the report for people.
#[derive(Debug)]
pub struct Human<W> {
    out: W,
    detail: Detail,
    width: Option<usize>,
}

impl<W: Write> Human<W> {
    /// A report with styles, to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            detail: Detail::default(),
            width: None,
        }
    }

    /// The same that says this much.
    #[must_use]
    pub fn saying(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The same for a terminal that has this many columns.
    #[must_use]
    pub fn wrapped(self, width: usize) -> Self {
        let width = Some(width);
        Self { width, ..self }
    }

    /// Writes text that was put together.
    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        match (self.width, std::str::from_utf8(text)) {
            (Some(width), Ok(text)) => self.out.write_all(wrap(text, width).as_bytes())?,
            _ => self.out.write_all(text)?,
        }
        self.out.flush()
    }

    /// Writes the whole report at once, as its events would have written it.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn whole(&mut self, report: &Report) -> io::Result<()> {
        for run in &report.runs {
            let strict = report.strict;
            self.event(&Event::RunFinished { run, strict })?;
        }
        self.event(&Event::SuiteFinished { report })
    }

    /// The output.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Reporter for Human<W> {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match event {
            Event::RunFinished { run, strict } => {
                let mut text = Vec::new();
                write_run(&mut text, &text::legible_run(run), *strict, self.detail)?;
                self.put(&text)
            }
            Event::SuiteFinished { report } => {
                let mut text = Vec::new();
                write_closing(&mut text, &text::legible(report), self.detail)?;
                self.put(&text)
            }
            Event::SuiteStarted { .. }
            | Event::RunStarted { .. }
            | Event::CheckStarted { .. }
            | Event::Waiting
            | Event::CheckFinished { .. } => Ok(()),
        }
    }
}

fn write_run(out: &mut impl Write, run: &Run, strict: bool, detail: Detail) -> io::Result<()> {
    if run.companion {
        return write_companion(out, run, strict);
    }
    writeln!(out, "{BOLD}{}{BOLD:#}", run.image)?;
    for (label, value) in outline::head(run) {
        writeln!(out, "  {label:<9} {value}")?;
    }
    if let Some(profile) = &run.profile {
        writeln!(out, "  {:<9} {profile}", "profile")?;
    }
    for line in &run.engine_facts {
        writeln!(out, "  {:<9} {line}", "engine")?;
    }
    for line in &run.root_lacks {
        writeln!(out, "  {:<9} {line}", "root")?;
    }
    writeln!(out)?;
    if let Some(error) = &run.error {
        writeln!(out, "{RED}could not be judged{RED:#}: {error}\n")?;
    }
    if let Some(why) = &run.not_run {
        writeln!(out, "{RED}its program was not run{RED:#}: {why}\n")?;
    }
    write_records(out, run, strict)?;
    write_known(out, run)?;
    if detail == Detail::Verbose {
        write_passed(out, run)?;
    }
    if detail != Detail::Quiet {
        write_skipped(out, run, detail)?;
    }
    write_comparison(out, run)?;
    if detail != Detail::Quiet {
        write_measurements(out, run)?;
    }
    write_tally(out, run, strict)
}

/// A platform of which only files were judged, beside one that was run: a line, and each record
/// that needs attention.
fn write_companion(out: &mut impl Write, run: &Run, strict: bool) -> io::Result<()> {
    write!(
        out,
        "{BOLD}{} {}{BOLD:#}, files alone: ",
        run.image, run.platform
    )?;
    if let Some(error) = &run.error {
        return writeln!(out, "{RED}could not be judged{RED:#}: {error}\n");
    }
    write!(out, "{}: ", tally_in_words(&run.tally))?;
    let words = run.conclusion.as_str();
    write_conclusion(out, run.conclusion, words, outline::why(run, strict))?;
    for (reason, ids) in outline::skipped(run) {
        writeln!(out, "  {reason}: {DIM}{}{DIM:#}", ids.join(", "))?;
    }
    writeln!(out)?;
    write_records(out, run, strict)?;
    write_known(out, run)?;
    write_comparison(out, run)
}

/// The records that need attention, the gravest first.
fn write_records(out: &mut impl Write, run: &Run, strict: bool) -> io::Result<()> {
    let mut records: Vec<_> = run
        .checks
        .iter()
        .filter(|record| !outline::is_one_of_many(run, record))
        .filter_map(|record| Some((heading(record, strict)?, record)))
        .collect();
    records.sort_by_key(|((place, ..), record)| (*place, record.level));
    for ((_, style, word), record) in records {
        write_record(out, style, word, record)?;
    }
    for (reason, ids) in outline::many_inconclusive(run) {
        writeln!(out, "{YELLOW}INCONCLUSIVE{YELLOW:#} {reason}")?;
        writeln!(out, "  {DIM}{}{DIM:#}\n", ids.join(", "))?;
    }
    Ok(())
}

/// Place in the report, style and word; `None` for a record that the report only counts or lists.
fn heading(record: &Record, strict: bool) -> Option<(u8, Style, &'static str)> {
    let word = outline::word(record, strict);
    let (place, style) = match word {
        "FAIL" => (0, RED),
        "WARN" => (1, YELLOW),
        "STALE" => (2, RED),
        "ERROR" => (3, RED),
        "INCONCLUSIVE" | "UNJUDGED" => (4, YELLOW),
        _ => return None,
    };
    Some((place, style, word))
}

fn write_record(out: &mut impl Write, style: Style, word: &str, record: &Record) -> io::Result<()> {
    writeln!(
        out,
        "{style}{word}{style:#} {BOLD}{}{BOLD:#} [{}]",
        record.title, record.id
    )?;
    for (label, value) in outline::details(record) {
        writeln!(out, "  {label:<LABEL$} {value}")?;
    }
    writeln!(out)
}

fn write_known(out: &mut impl Write, run: &Run) -> io::Result<()> {
    let known: Vec<_> = run
        .checks
        .iter()
        .filter(|record| record.verdict == Verdict::Fail)
        .filter_map(|record| Some((record, record.expected_failure.as_ref()?)))
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}fails as expected{BOLD:#}")?;
    for (record, reason) in known {
        writeln!(out, "  {} {DIM}({reason}){DIM:#}", record.id)?;
    }
    writeln!(out)
}

fn write_passed(out: &mut impl Write, run: &Run) -> io::Result<()> {
    let passed =
        |record: &&Record| record.verdict == Verdict::Pass && record.expected_failure.is_none();
    let mut passed = run.checks.iter().filter(passed).peekable();
    if passed.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{BOLD}passed{BOLD:#}")?;
    for record in passed {
        let observed = record.observed.as_deref().unwrap_or(&record.title);
        writeln!(out, "  {}: {DIM}{observed}{DIM:#}", record.id)?;
    }
    writeln!(out)
}

/// What is not for a subject of this kind is one line, unless each is asked for.
fn write_skipped(out: &mut impl Write, run: &Run, detail: Detail) -> io::Result<()> {
    let all = detail == Detail::Verbose;
    let (kind, reasons) = outline::skipped_here(run, all);
    if kind == 0 && reasons.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}skipped{BOLD:#}")?;
    if kind > 0 {
        let checks = plural(kind, "check", "checks");
        writeln!(
            out,
            "  not for a subject of this kind: {DIM}{checks} (-v names them){DIM:#}"
        )?;
    }
    for (reason, ids) in reasons {
        writeln!(out, "  {reason}: {DIM}{}{DIM:#}", ids.join(", "))?;
    }
    writeln!(out)
}

fn write_comparison(out: &mut impl Write, run: &Run) -> io::Result<()> {
    let lines = outline::comparison(run);
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "{BOLD}compared{BOLD:#}")?;
    for (label, value) in lines {
        let style = match label {
            "worse" => RED,
            "better" => GREEN,
            _ => Style::new(),
        };
        writeln!(out, "  {style}{label:<9}{style:#} {value}")?;
    }
    writeln!(out)
}

fn write_measurements(out: &mut impl Write, run: &Run) -> io::Result<()> {
    let Some(width) = run
        .measurements
        .keys()
        .map(|name| name.chars().count())
        .max()
    else {
        return Ok(());
    };
    writeln!(out, "{BOLD}measured{BOLD:#}")?;
    for (name, measurement) in &run.measurements {
        let figures = outline::measured(run, name, measurement);
        writeln!(out, "  {name:<width$}  {figures}")?;
    }
    writeln!(out)
}

fn write_tally(out: &mut impl Write, run: &Run, strict: bool) -> io::Result<()> {
    let checks = plural(run.tally.total(), "check", "checks");
    let time = text::duration(run.duration_us);
    writeln!(out, "{checks} in {time}: {}", tally_in_words(&run.tally))?;
    if run.interrupted {
        writeln!(
            out,
            "{YELLOW}interrupted: this is a part of the run{YELLOW:#}"
        )?;
    }
    if let Some(musts) = outline::unjudged_musts(run) {
        let required = run.checks.iter().any(|record| record.required);
        let more = if required {
            ""
        } else {
            "; --require-all makes each of them count"
        };
        writeln!(
            out,
            "{YELLOW}not judged on this host{YELLOW:#}: {musts}{more}"
        )?;
    }
    let words = run.conclusion.words(run.part.as_ref());
    write_conclusion(out, run.conclusion, &words, outline::why(run, strict))?;
    writeln!(out)
}

/// `88 passed, 2 failed (1 MUST, 1 SHOULD; 1 of them known), 5 skipped`; zeros are left out.
fn tally_in_words(tally: &Tally) -> String {
    let stale = match tally.unexpected_passes {
        0 => String::new(),
        n => format!(" ({n} expected to fail)"),
    };
    let known = match tally.known_failures {
        0 => String::new(),
        n => format!("; {n} of them known"),
    };
    let levels = format!(
        " ({} MUST, {} SHOULD{known})",
        tally.fail_must, tally.fail_should
    );
    let counts = [
        (tally.pass, "passed", stale),
        (tally.fail, "failed", levels),
        (tally.inconclusive, "inconclusive", String::new()),
        (tally.error, "in error", String::new()),
        (tally.skipped, "skipped", String::new()),
    ];
    let parts: Vec<_> = counts
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, word, more)| format!("{count} {word}{more}"))
        .collect();
    if parts.is_empty() {
        "nothing ran".to_owned()
    } else {
        parts.join(", ")
    }
}

/// A conclusion in words, and why it is that.
fn write_conclusion(
    out: &mut impl Write,
    conclusion: Conclusion,
    words: &str,
    why: Option<String>,
) -> io::Result<()> {
    let style = match conclusion {
        Conclusion::Conformant => GREEN.bold(),
        Conclusion::NotConformant | Conclusion::NotJudged => RED,
        Conclusion::Inconclusive => YELLOW.bold(),
    };
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    writeln!(out, "{style}{words}{style:#}{why}")
}

/// The end of a report of several runs; a single run has stated its conclusion already.
fn write_closing(out: &mut impl Write, report: &Report, detail: Detail) -> io::Result<()> {
    let matrix = Matrix::of(report).filter(|_| detail != Detail::Quiet);
    if let Some(matrix) = &matrix {
        write_matrix(out, matrix, report, detail)?;
        write_choice(out, matrix, &compare::shown(report))?;
    }
    if report.runs.len() > 1 {
        let good = report
            .runs
            .iter()
            .filter(|run| run.conclusion == Conclusion::Conformant)
            .count();
        write!(out, "{good} of {} runs conformant: ", report.runs.len())?;
        let words = report.conclusion.words(report.part.as_ref());
        let why = outline::report_why(report, &matrix::names(&report.runs));
        write_conclusion(out, report.conclusion, &words, why)?;
    } else if report.runs.is_empty() {
        let words = report.conclusion.words(report.part.as_ref());
        write_conclusion(
            out,
            report.conclusion,
            &words,
            outline::report_unjudged(report),
        )?;
    }
    // A single run has stated its own interruption.
    let said = match report.runs.as_slice() {
        [] => true,
        [run] => run.interrupted,
        _ => false,
    };
    if report.interrupted && !said {
        writeln!(out, "{YELLOW}interrupted: this report is partial{YELLOW:#}")?;
    }
    Ok(())
}

fn write_matrix(
    out: &mut impl Write,
    matrix: &Matrix<'_>,
    report: &Report,
    detail: Detail,
) -> io::Result<()> {
    let numbers = matrix.columns.len();
    for (number, (label, run)) in matrix.columns.iter().zip(&matrix.runs).enumerate() {
        writeln!(
            out,
            "  [{}] {label}: {}",
            number + 1,
            run.conclusion.as_str()
        )?;
    }
    writeln!(out)?;
    let rows = match detail {
        Detail::Verbose => matrix.rows.iter().collect(),
        Detail::Usual | Detail::Quiet => compare::differing(matrix, report.strict),
    };
    let alike = matrix.rows.len() - rows.len();
    if alike > 0 {
        let checks = if alike == 1 { "check" } else { "checks" };
        writeln!(out, "  {alike} {checks} alike in all (-v shows them)")?;
    }
    if rows.is_empty() {
        return writeln!(out);
    }
    let width = rows
        .iter()
        .map(|row| row.id.chars().count())
        .max()
        .unwrap_or(0);
    write!(out, "  {:<width$}", "")?;
    for number in 1..=numbers {
        write!(out, "  {BOLD}{:<5}{BOLD:#}", format!("[{number}]"))?;
    }
    writeln!(out)?;
    for row in rows {
        write!(out, "  {:<width$}", row.id)?;
        for cell in &row.cells {
            let word = matrix::word(*cell, report.strict);
            let style = match word {
                "FAIL" | "ERROR" | "stale" => RED,
                "WARN" | "?" => YELLOW,
                "pass" => GREEN,
                _ => DIM,
            };
            write!(out, "  {style}{word:<5}{style:#}")?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

/// The figures side by side, and which image comes first.
fn write_choice(
    out: &mut impl Write,
    matrix: &Matrix<'_>,
    comparison: &Comparison,
) -> io::Result<()> {
    let figures = compare::figures(comparison, matrix);
    let width = |texts: &mut dyn Iterator<Item = &str>| {
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let name = width(&mut figures.iter().map(|row| row.name.as_str()));
    for (number, row) in figures.iter().enumerate() {
        if number == 0 {
            writeln!(
                out,
                "{BOLD}side by side{BOLD:#} (of times the median, and between what half of all lie)"
            )?;
        }
        write!(out, "  {:<name$}", row.name)?;
        for (column, cell) in row.cells.iter().enumerate() {
            let cells = figures.iter().map(|row| row.cells[column].as_str());
            let wide = width(&mut cells.chain([""]));
            write!(out, "  {DIM}[{}]{DIM:#} {cell:<wide$}", column + 1)?;
        }
        writeln!(out, "  {DIM}{}{DIM:#}", row.remark)?;
    }
    if !figures.is_empty() {
        writeln!(out)?;
    }
    let ranking = compare::ranking(comparison, matrix);
    for (number, Ranked { place, column, why }) in ranking.iter().enumerate() {
        if number == 0 {
            writeln!(out, "{BOLD}the best first{BOLD:#}")?;
        }
        let label = &matrix.columns[*column];
        writeln!(out, "  {place}. [{}] {label}: {why}", column + 1)?;
    }
    if !ranking.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}
