//! The audit for people: a row a pod, then what is wrong and how it is mended.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::event::{Record, Verdict};
use crate::node::model::{Audit, Pod, Shared};
use crate::report::audit::{COLUMNS, Columns, pods_of, row, sources, sum};
use crate::report::text::{line, plural};

/// How many lines of evidence are shown for one check.
const EVIDENCE: usize = 10;

/// How many pods are named in which the same failed.
const NAMES: usize = 10;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All pods, a row each.
    Pods,
    /// One pod, with all of its checks.
    Pod,
    /// The zombies, with their ancestry.
    Zombies,
}

/// The audit as text.
///
/// # Errors
/// None: text is formatted into memory.
pub fn render(audit: &Audit, view: View) -> Result<String, fmt::Error> {
    let mut out = String::new();
    match view {
        View::Pods => pods(&mut out, audit)?,
        View::Pod => {
            let mut pods = audit.pods.iter();
            pods.try_for_each(|pod| explain(&mut out, audit, pod))?;
            node_failures(&mut out, audit)?;
            mending(&mut out, audit)?;
        }
        View::Zombies => return zombies(audit),
    }
    for note in &audit.notes {
        writeln!(out, "note: {}", line(note))?;
    }
    writeln!(out, "{}", sum(audit))?;
    Ok(out)
}

fn pods(out: &mut String, audit: &Audit) -> fmt::Result {
    for source in sources(audit) {
        writeln!(out, "{source}")?;
    }
    writeln!(out)?;
    let head = COLUMNS.map(str::to_owned);
    let rows = audit.pods.iter().map(row);
    write!(out, "{}", Columns([head].into_iter().chain(rows).collect()))?;
    writeln!(out)?;
    node_failures(out, audit)?;
    for alike in alike(audit) {
        match &alike[..] {
            [] => {}
            [(pod, record)] => failed(out, audit, &pod.title(), record)?,
            several => failed_in(out, audit, several)?,
        }
    }
    mending(out, audit)
}

/// A failure, and whose it is.
type Failure<'a> = (&'a Pod, &'a Record);

/// The failures of pods, those that say the same together, in the order of their first.
fn alike(audit: &Audit) -> Vec<Vec<Failure<'_>>> {
    let same = |record: &Record| {
        (
            record.id.clone(),
            record.expected.clone(),
            record.observed.clone(),
        )
    };
    let mut places = BTreeMap::new();
    let mut groups: Vec<Vec<Failure<'_>>> = Vec::new();
    for pod in &audit.pods {
        for record in pod.failed() {
            let place = *places.entry(same(record)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push((pod, record)),
                None => groups.push(vec![(pod, record)]),
            }
        }
    }
    groups
}

/// What failed alike in several pods, with their names, and the evidence of the first.
fn failed_in(out: &mut String, audit: &Audit, alike: &[Failure<'_>]) -> fmt::Result {
    let Some((first, record)) = alike.first() else {
        return Ok(());
    };
    headline(out, audit, &format!("{} pods", alike.len()), record)?;
    let names: Vec<_> = alike.iter().map(|(pod, _)| line(&pod.title())).collect();
    let shown = &names[..names.len().min(NAMES)];
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    writeln!(out, "       {}{more}", shown.join(", "))?;
    if record.evidence.is_empty() {
        return Ok(());
    }
    writeln!(out, "       in {}:", line(&first.title()))?;
    evidence(out, record)
}

/// What is wrong with the node as a whole.
fn node_failures(out: &mut String, audit: &Audit) -> fmt::Result {
    let checks = audit.node.checks.iter();
    let mut failures = checks.filter(|it| it.verdict == Verdict::Fail);
    failures.try_for_each(|record| failed(out, audit, "node", record))
}

/// What failed, in a line, with its evidence.
fn failed(out: &mut String, audit: &Audit, whose: &str, record: &Record) -> fmt::Result {
    headline(out, audit, whose, record)?;
    evidence(out, record)
}

fn headline(out: &mut String, audit: &Audit, whose: &str, record: &Record) -> fmt::Result {
    let mark = if record.is_red(audit.strict) {
        "FAIL"
    } else {
        "fail"
    };
    let expected = line(record.expected.as_deref().unwrap_or_default());
    let observed = line(record.observed.as_deref().unwrap_or_default());
    let (id, level, whose) = (&record.id, record.level, line(whose));
    writeln!(
        out,
        "{mark} {whose} [{id}, {level}] expected {expected}, observed {observed}"
    )
}

fn evidence(out: &mut String, record: &Record) -> fmt::Result {
    for evidence in record.evidence.iter().take(EVIDENCE) {
        writeln!(out, "       {}", line(evidence))?;
    }
    let more = record.evidence.len().saturating_sub(EVIDENCE);
    if more > 0 {
        writeln!(out, "       and {more} more")?;
    }
    Ok(())
}

fn mending(out: &mut String, audit: &Audit) -> fmt::Result {
    if audit.advice.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for (id, advice) in &audit.advice {
        writeln!(out, "{id}\n  why   {}\n  mend  {}", advice.why, advice.mend)?;
    }
    writeln!(out)
}

/// One pod with all of its checks.
fn explain(out: &mut String, audit: &Audit, pod: &Pod) -> fmt::Result {
    writeln!(out, "{}", line(&pod.title()))?;
    for (name, cell) in COLUMNS.iter().zip(row(pod)).skip(1) {
        writeln!(out, "  {:<10} {cell}", name.to_lowercase())?;
    }
    let known = [
        ("id", Some(&pod.id)),
        ("uid", pod.uid.as_ref()),
        ("image", pod.image.as_ref()),
        (
            "program",
            pod.pause.as_ref().and_then(|it| it.sha256.as_ref()),
        ),
        ("told by", Some(&pod.source)),
        ("no pause", pod.without_pause.as_ref()),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            writeln!(out, "  {name:<10} {}", line(value))?;
        }
    }
    let shared = pod.namespaces.iter().map(|it| {
        let Shared {
            kind, members, of, ..
        } = it;
        let own = if it.of_the_node { " (the node's)" } else { "" };
        format!("{} {members} of {of}{own}", kind.as_str())
    });
    let shared: Vec<_> = shared.collect();
    if !shared.is_empty() {
        writeln!(out, "  {:<10} {}", "shared by", shared.join(", "))?;
    }
    writeln!(out)?;
    for record in &pod.checks {
        if record.verdict == Verdict::Fail {
            failed(out, audit, &pod.title(), record)?;
            continue;
        }
        let said = record.observed.as_ref().or(record.reason.as_ref());
        let said = line(said.map(String::as_str).unwrap_or_default());
        writeln!(
            out,
            "{:<12} [{}, {}] {}: {said}",
            record.verdict.as_str(),
            record.id,
            record.level,
            record.title
        )?;
    }
    writeln!(out)
}

/// Each zombie with its ancestors.
fn zombies(audit: &Audit) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let mut count = 0_u64;
    for pod in &audit.pods {
        for zombie in &pod.zombies {
            count += 1;
            let owner = match (&zombie.owner, &zombie.owner_name) {
                (crate::node::model::Blamed::Pause, _) => "the pause's".to_owned(),
                (crate::node::model::Blamed::Container, name) => {
                    format!("of container {}", line(name.as_deref().unwrap_or("?")))
                }
                (crate::node::model::Blamed::Outside, name) => {
                    format!(
                        "of {}, outside of the pod",
                        line(name.as_deref().unwrap_or("?"))
                    )
                }
            };
            let age = super::age(zombie.age_seconds);
            let (title, name) = (line(&pod.title()), line(&zombie.name));
            writeln!(
                out,
                "{title}: pid {} ({name}), started {age} ago, {owner}",
                zombie.pid
            )?;
            let above = zombie.ancestors.iter();
            let above: Vec<_> = above
                .map(|it| format!("{} ({})", it.pid, line(&it.name)))
                .collect();
            writeln!(out, "  child of {}", above.join(" < "))?;
        }
    }
    let zombies = plural(count, "zombie", "zombies");
    writeln!(out, "{zombies} in {}", pods_of(audit))?;
    Ok(out)
}
