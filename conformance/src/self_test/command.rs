//! `self-test`, from what was typed to an exit status.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Selection;
use crate::cli::SelfTest;
use crate::event::Conclusion;
use crate::interrupt;
use crate::suite::{Failure, OwnHost};

/// Judges the suite by its fixtures, and prints the matrix.
///
/// # Errors
/// [`Failure`] where a filter selects nothing or no sandbox can be made.
pub fn command(options: &SelfTest) -> Result<ExitCode, Failure> {
    let selection = Selection::of(&options.checks, &options.fixtures)
        .map_err(|error| Failure::usage(error.to_string(), Some(error.hint())))?;
    let host = OwnHost::prepare()?;
    let of = selection.fixtures();
    let number = AtomicUsize::new(1);
    let matrix = super::run(
        &selection,
        &host.backend,
        host.time_scale,
        &super::settings(interrupt::flag()),
        host.at_a_time(super::at_a_time()),
        &|trial, judged| {
            let n = number.fetch_add(1, Ordering::Relaxed);
            let word = if judged.is_right() { "right" } else { "WRONG" };
            anstream::eprintln!("{n:>3}/{of} {word} {} {}", trial.kind(), trial.name());
        },
    )
    .map_err(|error| Failure::not_judged(error.to_string(), None))?;
    drop(host);
    // A reader that has gone is no error.
    let _ = matrix.write(&mut anstream::stdout());
    Ok(ExitCode::from(if matrix.is_right() {
        0
    } else {
        Conclusion::NotJudged.exit_status()
    }))
}
