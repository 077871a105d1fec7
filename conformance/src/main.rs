//! `pause-conformance`: parses, judges, and ends with the exit status of the verdict.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use conformance::catalogue;
use conformance::checks::FAMILIES;
use conformance::cli::{Cli, Command, UsageError};
use conformance::suite::{self, Failure};
use conformance::{inherited, interrupt, self_test};

fn main() -> ExitCode {
    #[cfg(feature = "engines")]
    conformance::backend::engine::keeper::run_if_asked();
    conformance::wasi_host::run_if_asked();
    if let Err(error) = inherited::settle().and_then(|()| interrupt::watch()) {
        let message = format!("cannot set its signals: {error}");
        return said(&Failure::not_judged(message, None));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let wrong = UsageError::of(&error);
            return said(&Failure::usage(wrong.to_string(), wrong.hint));
        }
        // Help and version are no errors.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = match &cli.command {
        None => suite::judge(&cli.judge),
        Some(command) => perform(command),
    };
    result.unwrap_or_else(|failure| said(&failure))
}

/// Says what is wrong; the status to end with.
fn said(failure: &Failure) -> ExitCode {
    anstream::eprintln!("error: {}", failure.message);
    if let Some(hint) = &failure.hint {
        anstream::eprintln!(" hint: {hint}");
    }
    ExitCode::from(failure.status)
}

fn perform(command: &Command) -> Result<ExitCode, Failure> {
    let text = match command {
        Command::List { format } => catalogue::list(FAMILIES, *format, &self_test::breakers)
            .map_err(|error| {
                Failure::not_judged(format!("cannot write the list: {error}"), None)
            })?,
        Command::Explain { id } => catalogue::explain(FAMILIES, id)
            .map_err(|error| Failure::usage(error.to_string(), Some(error.hint())))?,
        #[cfg(feature = "schema")]
        Command::Schema => conformance::report::json::schema().map_err(|error| {
            Failure::not_judged(format!("cannot write the schema: {error}"), None)
        })?,
        #[cfg(not(feature = "schema"))]
        Command::Schema => {
            return Err(Failure::not_judged(
                "this build has no schema".to_owned(),
                Some("build with --features schema".to_owned()),
            ));
        }
        Command::SelfTest(options) => return suite::self_test(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "pause-conformance",
                &mut script,
            );
            String::from_utf8_lossy(&script).into_owned()
        }
    };
    // A reader that has gone is no error.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
