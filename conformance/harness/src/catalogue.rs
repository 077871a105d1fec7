//! What the suite requires: the list of checks, checks explained, and the
//! requirement document, all derived from the registry.
//!
//! Owns the words for [`Needs`] too, so that a reason for skipping reads like the
//! explanation of the check.

use std::fmt::{self, Write};

use serde::Serialize;
use wildmatch::WildMatch;

use crate::advice::{Advice, Recipe};
use crate::check::{Check, Family, Level, Needs};
use crate::node::checks::{self as passive, Entry as Passive};
use crate::requirement::Source;

mod of_audit;

pub use of_audit::{FAMILY as OF_AUDIT, select as select_of_audit};

/// Each need in words; "needs …" goes before them.
const WORDS: &[(Needs, &str)] = &[
    (Needs::IMAGE, "an image, not a program alone"),
    (Needs::INDEX, "an image index"),
    (Needs::WINDOWS, "an entry for Windows in the image index"),
    (Needs::PROGRAM, "a native program that the image starts"),
    (Needs::ELF, "a program in ELF format"),
    (
        Needs::LARGE_PAGES,
        "an architecture that runs with 64 KiB pages (arm64, ppc64le)",
    ),
    (
        Needs::KUBERNETES,
        "a Kubernetes version (`--kubernetes MINOR`)",
    ),
    (
        Needs::REQUIRED_PLATFORMS,
        "a platform that must be there (`--require-platform`)",
    ),
    (
        Needs::VERSION,
        "a version in the image's tag or annotations",
    ),
    (Needs::LONG, "the long form (`--long`)"),
    (Needs::FILES, "layers that can be read"),
    (Needs::NATIVE_IMAGE, "an image of a native program"),
    (Needs::WASM, "a WebAssembly program"),
    (
        Needs::WASM_MODULE,
        "a valid core module (WASI preview 1; the sleeps of preview 2 cannot fail)",
    ),
    (
        Needs::WASM_COMPONENT,
        "a valid component (WASI preview 2; preview 1 has no resources)",
    ),
    (
        Needs::VIRTUAL_CLOCK,
        "a valid WebAssembly program that the suite can run",
    ),
    (Needs::SANDBOX, "a sandbox"),
    (Needs::PROBE, "a probe that can enter the sandbox"),
    (Needs::NATIVE, "a program that runs without an emulator"),
    (
        Needs::HOST_PID,
        "a pause process whose /proc entry can be read from outside",
    ),
    (Needs::NETWORK, "a network namespace of the sandbox's own"),
    (Needs::MEMORY_LIMIT, "a memory cgroup"),
    (Needs::PIDS_LIMIT, "a pids cgroup"),
    (Needs::SECCOMP, "a seccomp filter"),
    (
        Needs::BASELINE,
        "an emulator of the architecture's oldest processor",
    ),
    (Needs::TRACE, "permission to trace the process"),
    (
        Needs::STEP,
        "a process that can be followed from system call to system call",
    ),
    (Needs::ID_RANGE, "a user namespace with 65536 ids"),
    (Needs::USER_NAMESPACE, "a user namespace"),
    (Needs::TIME_NAMESPACE, "a time namespace"),
    (Needs::CGROUP_NAMESPACE, "a cgroup namespace"),
    (
        Needs::HOST_PID_NAMESPACE,
        "a start without a pid namespace of its own",
    ),
    (
        Needs::HELD,
        "a sandbox that can be entered before its program is executed",
    ),
    (
        Needs::EXEC_ON_ORDER,
        "a sandbox that executes its program as soon as it is told to",
    ),
    (Needs::INPUT, "a standard input that can be an open pipe"),
    (Needs::OUTPUT, "a program whose output the suite reads"),
    (Needs::ARGUMENTS, "a program that can be given arguments"),
    (Needs::USER, "a program that can be run as any user"),
    (Needs::WRITABLE_ROOT, "a root that can be writable"),
    (Needs::BARE_ROOT, "a root without /proc and /dev"),
    (
        Needs::STREAMS,
        "standard streams that can be broken or full pipes",
    ),
    (Needs::CLOSED_STREAMS, "standard streams that can be closed"),
    (
        Needs::DISPOSITIONS,
        "signals that can be blocked or ignored at exec",
    ),
    (
        Needs::NO_PRIVILEGES,
        "a start without any capability and with no_new_privs",
    ),
    (
        Needs::OWN_MOUNTS,
        "a sandbox whose mounts nothing else on the host holds",
    ),
    (
        Needs::QUICK_END,
        "an end right after the start that can be seen",
    ),
    (
        Needs::ENGINE,
        "a container engine or OCI runtime, as `--runtime` names one",
    ),
    (Needs::MQUEUE, "POSIX message queues"),
    (Needs::WASI_HOST, "a sandbox that WASI workloads can join"),
    (
        Needs::PIDFD_HUP,
        "a kernel that reports reaping on a pidfd (Linux 6.9)",
    ),
    (
        Needs::DEFAULT_ACTIONS,
        "an environment in which default signal actions spare process 1",
    ),
    (Needs::SANDBOX_PROC, "a sandbox with a /proc of its own"),
    (
        Needs::CAN_UNSHARE,
        "an environment in which a program can leave its namespaces",
    ),
    (Needs::NOCLDSTOP, "an environment that honours SA_NOCLDSTOP"),
];

/// The needs in words, one each. [`Needs::HINTS`] are not among them: they say how a
/// check is run, not whether it applies.
pub fn needs_in_words(needs: Needs) -> Vec<&'static str> {
    WORDS
        .iter()
        .filter(|(need, _)| needs.contains(*need))
        .map(|(_, words)| *words)
        .collect()
}

/// Why a check is skipped that needs `missing`: `needs a memory cgroup, a pids cgroup`.
pub fn missing_in_words(missing: Needs) -> String {
    format!("needs {}", needs_in_words(missing).join(", "))
}

/// Whether this filter selects this check. A filter is an id, a family, or a pattern in which
/// `*` stands for anything and `?` for one character.
pub fn matches(filter: &str, id: &str) -> bool {
    let family = id.split('/').next().unwrap_or_default();
    filter == family || WildMatch::new(filter).matches(id)
}

/// An id that the registry does not hold; exit status 64.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown check `{}`", pause_image::escape_text(id))]
pub struct UnknownCheck {
    /// As given.
    pub id: String,
    /// The id most like it.
    pub nearest: Option<&'static str>,
}

impl UnknownCheck {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if of_audit::is_one(&self.id) => of_audit::HINT.to_owned(),
            None => "`list` shows all checks".to_owned(),
        }
    }
}

fn checks(families: &[&'static Family]) -> impl Iterator<Item = &'static Check> {
    families
        .iter()
        .flat_map(|family| family.checks.iter().copied())
}

/// The check with this id.
///
/// # Errors
/// When there is none; holds the id most like it.
pub fn find(families: &[&'static Family], id: &str) -> Result<&'static Check, UnknownCheck> {
    checks(families)
        .find(|check| check.id == id)
        .ok_or_else(|| UnknownCheck {
            id: id.to_owned(),
            nearest: crate::suggest::nearest(id, checks(families).map(|check| check.id))
                .filter(|_| !of_audit::is_one(id)),
        })
}

/// A format of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListFormat {
    /// A line a check: level, id, title.
    Human,
    /// An array with everything of each record.
    Json,
    /// The requirement document.
    Markdown,
}

/// These checks, in the order of the registry, and these of `audit`. `breakers` names the fixtures that a check must
/// fail on: the document says how each requirement is known to be checked.
///
/// # Errors
/// When a record cannot be put into JSON.
pub fn list(
    families: &[&'static Family],
    these: &[&'static Check],
    passive: &[Passive],
    format: ListFormat,
    breakers: &dyn Fn(&str) -> Vec<&'static str>,
) -> serde_json::Result<String> {
    match format {
        ListFormat::Human => Ok(lines(these, passive)),
        ListFormat::Json => json(families, these, passive),
        ListFormat::Markdown => Ok(document(families, these, passive, breakers)),
    }
}

fn json(
    families: &[&'static Family],
    these: &[&'static Check],
    passive: &[Passive],
) -> serde_json::Result<String> {
    let entries: Vec<_> = of_families(families, these)
        .map(|(family, check)| Entry::of(family, check))
        .chain(passive.iter().map(Entry::of_audit))
        .collect();
    serde_json::to_string_pretty(&entries).map(|text| text + "\n")
}

/// Those of the checks that are among these, each with its family.
fn of_families<'a>(
    families: &'a [&'static Family],
    these: &'a [&'static Check],
) -> impl Iterator<Item = (&'static Family, &'static Check)> + 'a {
    let all = families
        .iter()
        .flat_map(|family| family.checks.iter().map(|check| (*family, *check)));
    all.filter(|(_, check)| these.iter().any(|this| this.id == check.id))
}

fn lines(these: &[&'static Check], passive: &[Passive]) -> String {
    let these = these.iter().map(|it| (it.level, it.id, it.title, ""));
    let passive = passive.iter();
    let passive = passive.map(|it| (it.level, it.id, it.title, " (audit)"));
    let all: Vec<_> = these.chain(passive).collect();
    let width = all.iter().map(|(_, id, ..)| id.chars().count());
    let width = width.max().unwrap_or(0);
    let mut out = String::new();
    for (level, id, title, mark) in all {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{level:<6}  {id:<width$}  {title}{mark}");
    }
    out
}

/// A record of the registry as data.
#[derive(Debug, Serialize)]
struct Entry {
    id: &'static str,
    family: &'static str,
    level: Level,
    title: &'static str,
    requirement: &'static str,
    source: &'static str,
    source_url: &'static str,
    why: &'static str,
    mend: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static Recipe>,
    needs: Vec<&'static str>,
    after: &'static [&'static str],
    /// The command that judges by it, where that is not the one that judges images.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'static str>,
}

impl Entry {
    fn of(family: &Family, check: &Check) -> Self {
        let name = (check.id, check.level, check.title);
        Self {
            needs: needs_in_words(check.needs),
            after: check.after,
            ..Self::head(
                family.name,
                name,
                check.requirement,
                check.source,
                &check.advice,
            )
        }
    }

    fn of_audit(check: &Passive) -> Self {
        let name = (check.id, check.level, check.title);
        Self {
            command: Some("audit"),
            ..Self::head(
                OF_AUDIT.0,
                name,
                check.requirement,
                check.source,
                check.advice,
            )
        }
    }

    /// What checks of every kind have.
    fn head(
        family: &'static str,
        (id, level, title): (&'static str, Level, &'static str),
        requirement: &'static str,
        source: Source,
        advice: &Advice,
    ) -> Self {
        Self {
            id,
            family,
            level,
            title,
            requirement,
            source: source.title,
            source_url: source.url,
            why: advice.why,
            mend: advice.mend,
            code: advice.code,
            needs: Vec::new(),
            after: &[],
            command: None,
        }
    }
}

/// Everything of the checks that these filters select, each an id, a family or a pattern.
///
/// # Errors
/// A filter that selects nothing: holds the id most like it.
pub fn explain(
    families: &[&'static Family],
    filters: &[String],
    format: ListFormat,
) -> Result<serde_json::Result<String>, UnknownCheck> {
    for filter in filters {
        let is_known = checks(families).any(|check| matches(filter, check.id))
            || passive::all().any(|check| matches(filter, check.id));
        if !is_known {
            find(families, filter)?;
        }
    }
    let chosen = |id: &str| filters.iter().any(|it| matches(it, id));
    let these = checks(families).filter(|check| chosen(check.id));
    let these: Vec<_> = these.collect();
    let passive: Vec<_> = passive::all().filter(|check| chosen(check.id)).collect();
    if format == ListFormat::Json {
        return Ok(json(families, &these, &passive));
    }
    let of_images = these.iter().map(|check| {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = match format {
            ListFormat::Markdown => write_explanation_in_markdown(&mut text, check),
            ListFormat::Human | ListFormat::Json => write_explanation(&mut text, check),
        };
        text
    });
    let of_audit = passive.iter().map(|it| of_audit::explanation(it, format));
    let all: Vec<_> = of_images.chain(of_audit).collect();
    Ok(Ok(all.join("\n")))
}

fn write_explanation(out: &mut String, check: &Check) -> fmt::Result {
    let Check {
        id,
        title,
        level,
        requirement,
        source,
        advice,
        needs,
        after,
        run: _,
    } = check;
    writeln!(out, "{id}: {title}\n")?;
    writeln!(out, "  {level}: {requirement}\n")?;
    write_advice(out, advice, *source)?;
    for (number, need) in needs_in_words(*needs).into_iter().enumerate() {
        writeln!(
            out,
            "  {:<6}  {need}",
            if number == 0 { "needs" } else { "" }
        )?;
    }
    for (number, id) in after.iter().enumerate() {
        writeln!(out, "  {:<6}  {id}", if number == 0 { "after" } else { "" })?;
    }
    if needs.contains(Needs::EXCLUSIVE) {
        writeln!(out, "  runs alone, with no other check at the same time")?;
    }
    writeln!(out, "\n  {}", weight(*level))
}

fn write_advice(out: &mut String, advice: &Advice, source: Source) -> fmt::Result {
    writeln!(out, "  why     {}", advice.why)?;
    writeln!(out, "  mend    {}", advice.mend)?;
    for (language, lines) in advice.code.iter().flat_map(|recipe| recipe.languages()) {
        for (number, line) in lines.lines().enumerate() {
            let label = match number {
                0 => format!("in {language}"),
                _ => String::new(),
            };
            writeln!(out, "  {label:<7} {}", line.replace('\t', "    "))?;
        }
    }
    writeln!(out, "  source  {}\n          {}", source.title, source.url)
}

/// What a failure of this level does to the verdict.
fn weight(level: Level) -> &'static str {
    match level {
        Level::Must => "an image that fails it is not conformant",
        Level::Should => "a failure is reported; with `--strict` the image is not conformant",
        Level::Info => "measured and reported, never counted",
    }
}

fn write_explanation_in_markdown(out: &mut String, check: &Check) -> fmt::Result {
    write_requirement(out, check, &[])?;
    writeln!(out, "- Weight: {}.", weight(check.level))?;
    for (language, lines) in check.advice.code.iter().flat_map(|it| it.languages()) {
        let name = language.to_lowercase();
        writeln!(out, "\nIn {language}:\n\n```{name}\n{lines}\n```")?;
    }
    Ok(())
}

/// The requirement document, in Markdown.
fn document(
    families: &[&'static Family],
    these: &[&'static Check],
    passive: &[Passive],
    breakers: &dyn Fn(&str) -> Vec<&'static str>,
) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_document(&mut out, families, these, breakers);
    let _ = of_audit::write_section(&mut out, passive);
    out
}

fn write_document(
    out: &mut String,
    families: &[&'static Family],
    these: &[&'static Check],
    breakers: &dyn Fn(&str) -> Vec<&'static str>,
) -> fmt::Result {
    let all = |level| these.iter().filter(|check| check.level == level).count();
    writeln!(out, "# Requirements of a Kubernetes pause image\n")?;
    writeln!(
        out,
        "{} requirements: {} MUST, {} SHOULD and {} measurements (INFO). The words MUST and SHOULD are those of\n\
         [RFC 2119](https://www.rfc-editor.org/rfc/rfc2119). *Needs* says when a check applies, *after* what must pass\n\
         before it, *fails on* the fixtures that it is known to catch: `pause-conformance self-test --check ID`.\n\
         Made by `pause-conformance list --format markdown`.",
        these.len(),
        all(Level::Must),
        all(Level::Should),
        all(Level::Info),
    )?;
    let mut last = "";
    for (family, check) in of_families(families, these) {
        if family.name == last {
            out.push('\n');
        } else {
            writeln!(out, "\n## {}: {}\n", family.name, family.title)?;
            last = family.name;
        }
        write_requirement(out, check, &breakers(check.id))?;
    }
    Ok(())
}

fn write_requirement(out: &mut String, check: &Check, breakers: &[&str]) -> fmt::Result {
    writeln!(out, "### {}\n\n{}.\n", check.id, check.title)?;
    writeln!(out, "- **{}**: {}", check.level, check.requirement)?;
    writeln!(
        out,
        "- Source: [{}]({})",
        check.source.title, check.source.url
    )?;
    writeln!(out, "- Why: {}", check.advice.why)?;
    writeln!(out, "- Mend: {}", check.advice.mend)?;
    let needs = needs_in_words(check.needs);
    if !needs.is_empty() {
        writeln!(out, "- Needs: {}", needs.join("; "))?;
    }
    if !check.after.is_empty() {
        writeln!(out, "- After: {}", check.after.join(", "))?;
    }
    if !breakers.is_empty() {
        writeln!(out, "- Fails on: {}", breakers.join(", "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
