//! What else lies in the image.

use std::collections::BTreeSet;

use crate::advice::Advice;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source};
use crate::context::Context;
use crate::subject::program::{closure, is_executable};
use crate::subject::{Content, Entry, EntryKind, Rootfs, Subject, show_path};

/// Lines of evidence that are worth reading.
const LINES: usize = 20;
const SHELLS: &[&str] = &[
    "ash", "bash", "busybox", "dash", "ksh", "sh", "toybox", "zsh",
];
const PACKAGE_MANAGERS: &[&str] = &[
    "apk", "apt", "apt-get", "dnf", "dpkg", "microdnf", "opkg", "pacman", "rpm", "yum", "zypper",
];

pub(super) static NO_PRIVILEGE_BITS: Check = Check {
    id: "image/no-privilege-bits",
    title: "no setuid, setgid, file capabilities or devices",
    level: Level::Should,
    requirement: "The image SHOULD hold no setuid or setgid file, no file with capabilities, and no device node.",
    source: Source {
        title: "kubernetes#90948",
        url: "https://github.com/kubernetes/kubernetes/issues/90948",
    },
    advice: Advice::new(
        "What gets into the pod's sandbox finds a way to more privileges.",
        "Copy the program without such bits: `chmod 0555`, and no `setcap`.",
    ),
    needs: Needs::IMAGE.union(Needs::FILES),
    after: &[],
    run: no_privilege_bits,
};

fn no_privilege_bits(cx: &Context<'_>) -> Outcome {
    let mut found = Vec::new();
    for (path, entry) in &cx.subject().rootfs.entries {
        let file = matches!(entry.kind, EntryKind::File { .. });
        if file && entry.mode & 0o6000 != 0 {
            found.push(format!("{} has mode {:04o}", show_path(path), entry.mode));
        }
        if entry.xattrs.contains_key("security.capability") {
            found.push(format!("{} has file capabilities", show_path(path)));
        }
        if let EntryKind::Device {
            block,
            major,
            minor,
        } = entry.kind
        {
            let kind = if block { "block" } else { "character" };
            found.push(format!(
                "{} is {kind} device {major}:{minor}",
                show_path(path)
            ));
        }
    }
    if found.is_empty() {
        return Ok(Pass::new(format!(
            "none among {} entries",
            cx.subject().rootfs.entries.len()
        )));
    }
    Err(listed(
        "no setuid, setgid, capabilities, devices",
        format!("{} of them", found.len()),
        found,
    )
    .into())
}

pub(super) static MINIMAL: Check = Check {
    id: "image/minimal",
    title: "nothing else to execute",
    level: Level::Should,
    requirement: "The image SHOULD hold no shell, no package manager, and no executable but the pause program and what it needs to start.",
    source: Source {
        title: "kubernetes build/pause/Dockerfile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Dockerfile",
    },
    advice: Advice::new(
        "Each further program is one more to patch in every node of a cluster, and one more tool for an intruder.",
        "Build from scratch, with the program alone.",
    ),
    needs: Needs::NATIVE_IMAGE.union(Needs::FILES),
    after: &[],
    run: minimal,
};

fn minimal(cx: &Context<'_>) -> Outcome {
    let subject = cx.subject();
    let needed = needed(subject);
    let name = |path: &[u8]| {
        let start = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        String::from_utf8_lossy(&path[start..]).into_owned()
    };
    let (mut telling, mut other) = (Vec::new(), Vec::new());
    // Hard links are one file by several names.
    let content = |entry: &Entry| match &entry.kind {
        EntryKind::File { content, .. } => content.clone(),
        _ => None,
    };
    let needed_contents: Vec<Content> = needed
        .iter()
        .filter_map(|path| content(subject.rootfs.get(path)?))
        .collect();
    let is_needed = |path: &Vec<u8>, entry: &Entry| {
        let same = |own: Content| needed_contents.iter().any(|other| own.is(other));
        needed.contains(path) || content(entry).is_some_and(same)
    };
    for (path, entry) in &subject.rootfs.entries {
        if !is_executable(entry) || is_needed(path, entry) {
            continue;
        }
        match name(path).as_str() {
            shell if SHELLS.contains(&shell) => {
                telling.push(format!("{} is a shell", show_path(path)));
            }
            manager if PACKAGE_MANAGERS.contains(&manager) => {
                telling.push(format!("{} is a package manager", show_path(path)));
            }
            _ => other.push(show_path(path)),
        }
    }
    let count = telling.len() + other.len();
    if count > 0 {
        telling.append(&mut other);
        let observed = format!("{count} other executables");
        return Err(listed(
            "the pause program and what it needs, nothing else",
            observed,
            telling,
        )
        .into());
    }
    let files = files(&subject.rootfs);
    let pass = Pass::new(format!("{} files, one program", files.len()));
    Ok(files.into_iter().take(LINES).fold(pass, Pass::with))
}

/// The program, `/pause`, and what they need to start.
fn needed(subject: &Subject) -> BTreeSet<Vec<u8>> {
    let mut needed = BTreeSet::new();
    if let Ok(program) = &subject.program {
        needed.insert(program.path.clone());
        let found = closure(&subject.rootfs, program).into_iter();
        needed.extend(found.filter_map(|dependency| dependency.found.ok()));
    } else if let Ok((path, _)) = subject.rootfs.resolve("/pause") {
        needed.insert(path);
    }
    needed
}

fn files(rootfs: &Rootfs) -> Vec<String> {
    let files = rootfs
        .entries
        .iter()
        .filter_map(|(path, entry)| match entry.kind {
            EntryKind::File { size, .. } => Some(format!(
                "{} {size} bytes, mode {:04o}",
                show_path(path),
                entry.mode
            )),
            _ => None,
        });
    files.collect()
}

fn listed(expected: &str, observed: String, lines: Vec<String>) -> Finding {
    let more = lines.len().saturating_sub(LINES);
    let finding = lines
        .into_iter()
        .take(LINES)
        .fold(Finding::new(expected, observed), Finding::with);
    if more > 0 {
        finding.with(format!("and {more} more"))
    } else {
        finding
    }
}
