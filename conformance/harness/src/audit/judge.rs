//! `--judge`: the whole suite over each different pause that runs on the node.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;

use crate::check::Families;
use crate::cli::{AuditFormat, Cli};
use crate::event::Conclusion;
use crate::node::gather::Gathered;
use crate::node::inside;
use crate::node::patience::Patience;
use crate::report::spec::ReportSpec;
use crate::subject::io_words;
use crate::suite::{self, Failure};

/// Statuses of the suite by how much they weigh, the heaviest last.
const BY_WEIGHT: [u8; 4] = [0, 3, 2, 1];

/// Judges them, read from the processes that execute them; the exit status of the suite, that of
/// what was not judged where none can be read, and `None` where no pause runs.
///
/// # Errors
/// As the suite's.
pub(super) fn each(
    seen: &Gathered,
    reports: &[ReportSpec<AuditFormat>],
    families: Families,
) -> Result<Option<u8>, Failure> {
    let folder = tempfile::tempdir().map_err(|error| unread(&error))?;
    let patience = Patience::default();
    let mut known = BTreeSet::new();
    let mut images = Vec::new();
    for pause in seen.pods.iter().filter_map(|pod| pod.pause.as_ref()) {
        let Some(program) = pause.program() else {
            continue;
        };
        if program.emulator.is_some() || !known.insert(&program.digest) {
            continue;
        }
        let name: String = program.digest.chars().take(12).collect();
        let path = folder.path().join(format!("pause-{name}"));
        // It may have ended meanwhile, or not answer; another pod may run the same.
        let about = (Arc::clone(&pause.handle), path.clone());
        let copied = patience.each(vec![(pause.process.key(), about)], |(handle, path)| {
            copy(inside::executable(handle)?, path)
        });
        if !matches!(copied[..], [Some(Ok(()))]) {
            known.remove(&program.digest);
            continue;
        }
        images.push(format!("binary:{}", path.display()));
    }
    if images.is_empty() {
        if seen.pods.iter().all(|pod| pod.pause.is_none()) {
            anstream::eprintln!("--judge: no pause is seen");
            return Ok(None);
        }
        anstream::eprintln!("--judge: no pause's program can be read, or an emulator runs each");
        return Ok(Some(Conclusion::NotJudged.exit_status()));
    }
    let mut words = vec!["pause-conformance".to_owned()];
    for image in images {
        words.extend(["--image".to_owned(), image]);
    }
    // Stdout is another document's where one was asked for there.
    let is_taken = reports
        .iter()
        .any(|it| it.file.is_none() && it.format != AuditFormat::Human);
    if is_taken {
        words.extend(["--report".to_owned(), "human=/dev/stderr".to_owned()]);
        words.extend(["--report".to_owned(), "json=/dev/null".to_owned()]);
    }
    let cli = Cli::try_parse_from(&words)
        .map_err(|error| Failure::not_judged(error.to_string(), None))?;
    suite::judge(&cli.judge, families).map(|status| number(status).into())
}

fn copy(mut from: File, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    io::copy(&mut from, &mut file)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
}

fn unread(error: &io::Error) -> Failure {
    let why = io_words(error);
    Failure::not_judged(
        format!("cannot keep the pauses that are judged: {why}"),
        None,
    )
}

/// The number of a status of the suite.
fn number(status: ExitCode) -> u8 {
    let is = |number: &&u8| ExitCode::from(**number) == status;
    BY_WEIGHT.iter().find(is).copied().unwrap_or(2)
}

/// The heavier of two statuses.
pub(super) fn worse(one: u8, other: u8) -> u8 {
    let weight = |status: u8| BY_WEIGHT.iter().position(|it| *it == status);
    if weight(one) >= weight(other) {
        one
    } else {
        other
    }
}

#[cfg(test)]
mod tests {
    use std::process::ExitCode;

    use super::{number, worse};

    #[test]
    fn a_failure_weighs_most() {
        assert_eq!(
            [worse(0, 3), worse(3, 2), worse(2, 1), worse(1, 0)],
            [3, 2, 1, 1]
        );
        assert_eq!(number(ExitCode::from(3)), 3);
    }
}
