//! `--expect FILE`: known failures, a line each, and what they do to records.
//!
//! ```text
//! # ID [IMAGE-GLOB] [until:YYYY-MM-DD] # why
//! reaping/before-handler                         # upstream has no initial wait
//! image/user-nonroot     registry.example/old*   # fixed in the next release
//! ```
//!
//! Without a glob a line holds for every image; `*` stands for any text and `?` for
//! one character. After the day that it names a line holds no more, and says so. A known failure that fails does not fail the run; one that passes
//! does, so that the file cannot go stale. One that is skipped is let be.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use wildmatch::WildMatch;

use crate::catalogue;
use crate::check::Family;
use crate::event::{Record, Verdict};
use crate::subject::regular;
use pause_image::escape_text as escape;

/// The known failures of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations {
    lines: Vec<Expectation>,
}

#[derive(Clone, Debug, PartialEq)]
struct Expectation {
    id: String,
    image: Option<WildMatch>,
    /// The last day on which it holds, `YYYY-MM-DD`.
    until: Option<String>,
    reason: String,
}

/// What is wrong with an expectation file.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// It cannot be read.
    #[error("cannot read the expectations `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of it is wrong.
    #[error("expectations `{}`, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
}

impl ExpectError {
    /// Whether the path leads to a FIFO, a device or the like: no file that could be read.
    pub fn is_special(&self) -> bool {
        match self {
            ExpectError::Read { source, .. } => {
                source.kind() == io::ErrorKind::Other && source.raw_os_error().is_none()
            }
            ExpectError::Line { .. } => false,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            ExpectError::Read { .. } => Some("check the path after --expect".to_owned()),
            ExpectError::Line { source, .. } => Some(source.hint()),
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The registry has no such check.
    #[error(transparent)]
    UnknownCheck(#[from] catalogue::UnknownCheck),
    /// Nothing says why it fails.
    #[error("no reason for `{}`", escape(id))]
    NoReason {
        /// The check.
        id: String,
    },
    /// More than an id and a glob.
    #[error("unexpected `{}`", escape(word))]
    Unexpected {
        /// The first word too many.
        word: String,
    },
    /// No day.
    #[error("`{}` is no day", escape(word))]
    Day {
        /// What stands for it.
        word: String,
    },
    /// The same again.
    #[error("`{}` is given twice for the same images", escape(id))]
    Twice {
        /// The check.
        id: String,
    },
}

impl LineError {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            LineError::UnknownCheck(unknown) => unknown.hint(),
            LineError::NoReason { .. } | LineError::Unexpected { .. } => {
                "a line is `ID [IMAGE-GLOB] [until:YYYY-MM-DD] # why`".to_owned()
            }
            LineError::Day { .. } => "write it as 2026-12-31".to_owned(),
            LineError::Twice { .. } => "remove one of the lines".to_owned(),
        }
    }
}

impl Expectations {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or with its first wrong line.
    pub fn read(path: &Path, families: &[&'static Family]) -> Result<Self, ExpectError> {
        let text = regular::open(path)
            .and_then(io::read_to_string)
            .map_err(|source| ExpectError::Read {
                path: path.to_owned(),
                source,
            })?;
        Self::parse(&text, families).map_err(|(line, source)| ExpectError::Line {
            path: path.to_owned(),
            line,
            source,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// With the number of the first wrong line, counted from 1, and what is wrong.
    pub fn parse(text: &str, families: &[&'static Family]) -> Result<Self, (usize, LineError)> {
        let mut lines = Vec::new();
        let mut seen = BTreeSet::new();
        for (number, text) in (1_usize..).zip(text.lines()) {
            let Some(line) = parse_line(text, families).map_err(|error| (number, error))? else {
                continue;
            };
            let pattern = line.image.as_ref().map(WildMatch::pattern);
            if !seen.insert((line.id.clone(), pattern)) {
                return Err((number, LineError::Twice { id: line.id }));
            }
            lines.push(line);
        }
        Ok(Self { lines })
    }

    /// Adds one that is not from a file of lines. The first that holds counts.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn add(
        &mut self,
        (id, image): (&str, Option<&str>),
        until: Option<&str>,
        reason: &str,
        families: &[&'static Family],
    ) -> Result<(), LineError> {
        catalogue::find(families, id)?;
        let id = id.to_owned();
        if reason.trim().is_empty() {
            return Err(LineError::NoReason { id });
        }
        self.lines.push(Expectation {
            id,
            image: image.map(WildMatch::new),
            until: until.map(day).transpose()?,
            reason: reason.trim().to_owned(),
        });
        Ok(())
    }

    /// Adds all of these, behind its own.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// Marks the record if the file names it for this image, on this day (`YYYY-MM-DD`); the first
    /// line that does gives the reason. Where it held no longer, a failure says so. The run is to be
    /// concluded after this.
    pub fn apply(&self, image: &str, today: &str, record: &mut Record) {
        let named = |line: &&Expectation| line.id == record.id && line.holds_for(image);
        let (over, holds): (Vec<_>, Vec<_>) = self
            .lines
            .iter()
            .filter(named)
            .partition(|line| line.until.as_deref().is_some_and(|until| until < today));
        record.expected_failure = holds.first().map(|line| line.reason.clone());
        if let (None, Verdict::Fail, Some(line)) = (holds.first(), record.verdict, over.first()) {
            let until = line.until.as_deref().unwrap_or_default();
            let reason = &line.reason;
            let words = format!("it was expected to fail until {until} ({reason})");
            record.evidence.push(words);
        }
    }
}

impl Expectation {
    fn holds_for(&self, image: &str) -> bool {
        self.image.as_ref().is_none_or(|glob| glob.matches(image))
    }
}

/// Goes before the last day on which a line holds.
const UNTIL: &str = "until:";

/// A day as `YYYY-MM-DD`, which sorts as text.
fn day(word: &str) -> Result<String, LineError> {
    match humantime::parse_rfc3339(&format!("{word}T00:00:00Z")) {
        Ok(_) => Ok(word.to_owned()),
        Err(_) => Err(LineError::Day {
            word: word.to_owned(),
        }),
    }
}

/// `None` for a line without an id: empty, or a comment.
fn parse_line(text: &str, families: &[&'static Family]) -> Result<Option<Expectation>, LineError> {
    let (entry, reason) = text.split_once('#').unwrap_or((text, ""));
    let mut words = entry.split_whitespace();
    let Some(id) = words.next() else {
        return Ok(None);
    };
    let mut words = words.peekable();
    let image = words.next_if(|word| !word.starts_with(UNTIL));
    let image = image.map(WildMatch::new);
    let until = words.next_if(|word| word.starts_with(UNTIL));
    let until = until.and_then(|word| word.strip_prefix(UNTIL));
    if let Some(word) = words.next() {
        return Err(LineError::Unexpected {
            word: word.to_owned(),
        });
    }
    catalogue::find(families, id)?;
    match reason.trim() {
        "" => Err(LineError::NoReason { id: id.to_owned() }),
        reason => Ok(Some(Expectation {
            id: id.to_owned(),
            image,
            until: until.map(day).transpose()?,
            reason: reason.to_owned(),
        })),
    }
}

#[cfg(test)]
mod tests;
