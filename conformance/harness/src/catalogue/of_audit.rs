//! The checks of `audit` in the catalogue: what is asked of pods that run, not of an image.

use std::fmt::{self, Write as _};

use super::{ListFormat, Passive, matches, passive, write_advice};
use crate::check::Level;

/// Name and title of the family.
pub const FAMILY: (&str, &str) = ("node", "pods that run on a node, as `audit` looks at them");

/// What a user can do who asks it of an image.
pub(super) const HINT: &str =
    "it is a check of pods that run: `pause-conformance audit` judges by it";

/// Whether an id, family or pattern selects checks of `audit`.
pub(super) fn is_one(filter: &str) -> bool {
    passive::all().any(|check| matches(filter, check.id))
}

/// Those that filters select, all where there is none, and that no skip leaves out; of this level
/// at least.
pub fn select(filters: &[String], skips: &[String], level: Level) -> Vec<Passive> {
    let any = |these: &[String], id: &str| these.iter().any(|it| matches(it, id));
    passive::all()
        .filter(|check| check.level <= level)
        .filter(|check| filters.is_empty() || any(filters, check.id))
        .filter(|check| !any(skips, check.id))
        .collect()
}

/// Everything of one.
pub(super) fn explanation(check: &Passive, format: ListFormat) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match format {
        ListFormat::Markdown => write_requirement(&mut text, check),
        ListFormat::Human | ListFormat::Json => write_explanation(&mut text, check),
    };
    text
}

fn write_explanation(out: &mut String, check: &Passive) -> fmt::Result {
    writeln!(out, "{}: {}\n", check.id, check.title)?;
    writeln!(out, "  {}: {}\n", check.level, check.requirement)?;
    write_advice(out, check.advice, check.source)?;
    writeln!(
        out,
        "  judged by `pause-conformance audit`, on pods that run"
    )
}

/// Its part of the requirement document.
pub(super) fn write_section(out: &mut String, these: &[Passive]) -> fmt::Result {
    if these.is_empty() {
        return Ok(());
    }
    let (name, title) = FAMILY;
    let all = |level| these.iter().filter(|check| check.level == level).count();
    writeln!(
        out,
        "\n## {name}: {title}\n\n{} more requirements, {} MUST and {} SHOULD, by which \
         `pause-conformance audit` judges; they are asked of no image.\n",
        these.len(),
        all(Level::Must),
        all(Level::Should)
    )?;
    for (number, check) in these.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        write_requirement(out, check)?;
    }
    Ok(())
}

fn write_requirement(out: &mut String, check: &Passive) -> fmt::Result {
    writeln!(out, "### {}\n\n{}.\n", check.id, check.title)?;
    writeln!(out, "- **{}**: {}", check.level, check.requirement)?;
    let source = check.source;
    writeln!(out, "- Source: [{}]({})", source.title, source.url)?;
    writeln!(out, "- Why: {}", check.advice.why)?;
    writeln!(out, "- Mend: {}", check.advice.mend)?;
    writeln!(out, "- Judged by: `pause-conformance audit`")
}
