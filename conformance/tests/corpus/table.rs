//! The parser of the table of subjects.

use std::collections::BTreeMap;

use super::make::Program;

/// The expected verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It fails in each run.
    Fails,
    /// It fails or is inconclusive.
    NeverPasses,
    /// Its verdict depends on the host.
    MayFail,
}

/// One subject.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) base: String,
    /// Its configuration names no user.
    pub(crate) is_without_user: bool,
    pub(crate) command: Vec<String>,
    /// Expected verdicts by check id.
    pub(crate) fails: BTreeMap<String, Expected>,
}

/// The rows, or the line that is invalid.
pub(crate) fn read(table: &str) -> Result<Vec<Row>, String> {
    table
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(at, line)| row(line).map_err(|error| format!("line {}: {error}", at + 1)))
        .collect()
}

/// The words of a command, which is JSON if one has spaces.
fn words(command: &str) -> Result<Vec<String>, String> {
    if command.starts_with('[') {
        return serde_json::from_str(command).map_err(|error| error.to_string());
    }
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

fn row(line: &str) -> Result<Row, String> {
    let columns: Vec<_> = line.split('|').map(str::trim).collect();
    let [name, program, base, command, fails] = columns[..] else {
        return Err(format!("{} columns instead of 5", columns.len()));
    };
    let fails = fails.split_whitespace().map(|word| {
        let (expected, id) = match word.split_at_checked(1) {
            Some(("~", id)) => (Expected::NeverPasses, id),
            Some(("?", id)) => (Expected::MayFail, id),
            _ => (Expected::Fails, word),
        };
        // Refuse a mistyped id, or its check would not be tested.
        match conformance::catalogue::find(conformance::checks::FAMILIES, id) {
            Ok(check) => Ok((check.id.to_owned(), expected)),
            Err(error) => Err(error.to_string()),
        }
    });
    let (base, is_without_user) = match base.strip_suffix(" without User") {
        Some(base) => (base, true),
        None => (base, false),
    };
    Ok(Row {
        name: name.to_owned(),
        program: Program::read(program)?,
        base: base.to_owned(),
        is_without_user,
        command: words(command)?,
        fails: fails.collect::<Result<_, _>>()?,
    })
}
