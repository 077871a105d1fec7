//! `pause-conformance`: parses, judges, and ends with the exit status of the verdict.

use std::io::Write;
use std::process::ExitCode;

use conformance::audit;
use conformance::catalogue::{self, ListFormat};
use conformance::checks::FAMILIES;
#[cfg(feature = "schema")]
use conformance::cli::SchemaOf;
use conformance::cli::{Cli, Command, UsageError};
use conformance::completion;
use conformance::report::wrap;
use conformance::suite::{self, Failure};
use conformance::{inherited, interrupt, self_test, version};

fn main() -> ExitCode {
    #[cfg(feature = "engines")]
    conformance::backend::engine::keeper::run_if_asked();
    #[cfg(feature = "cri")]
    conformance::backend::cri::keeper::run_if_asked();
    conformance::wasi_host::run_if_asked();
    if let Err(error) = inherited::settle().and_then(|()| interrupt::watch()) {
        let message = format!("cannot set its signals: {error}");
        return said(&Failure::not_judged(message, None));
    }
    choose_colours();
    let cli = match Cli::read(version::long()) {
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
        None => suite::judge(&cli.judge, FAMILIES),
        Some(command) => perform(command),
    };
    result.unwrap_or_else(|failure| said(&failure))
}

/// Heeds FORCE_COLOR (<https://force-color.org>), which the library does not; NO_COLOR goes before.
fn choose_colours() {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("FORCE_COLOR") && !set("NO_COLOR") {
        let never = std::env::var_os("FORCE_COLOR").is_some_and(|value| value == "0");
        let choice = if never {
            anstream::ColorChoice::Never
        } else {
            anstream::ColorChoice::Always
        };
        choice.write_global();
    }
}

/// Says what is wrong; the status to end with.
fn said(failure: &Failure) -> ExitCode {
    anstream::eprintln!("error: {}", failure.message);
    if let Some(hint) = &failure.hint {
        anstream::eprintln!(" hint: {hint}");
    }
    ExitCode::from(failure.status)
}

/// Text for people fits the terminal, where it goes to one.
fn fitted(text: String, format: ListFormat) -> String {
    match wrap::terminal_columns().filter(|_| format == ListFormat::Human) {
        Some(columns) => wrap::wrap(&text, columns),
        None => text,
    }
}

fn unwritten(error: &serde_json::Error) -> Failure {
    Failure::not_judged(format!("cannot write the list: {error}"), None)
}

fn perform(command: &Command) -> Result<ExitCode, Failure> {
    let text = match command {
        Command::List { select, format } => {
            let (these, of_audit) = select
                .listed(FAMILIES)
                .map_err(|error| Failure::usage(error.to_string(), error.hint))?;
            let breakers = &self_test::breakers;
            let text = catalogue::list(FAMILIES, &these, &of_audit, *format, breakers)
                .map_err(|error| unwritten(&error))?;
            fitted(text, *format)
        }
        Command::Explain { ids, format } => {
            let text = catalogue::explain(FAMILIES, ids, *format)
                .map_err(|error| Failure::usage(error.to_string(), Some(error.hint())))?
                .map_err(|error| unwritten(&error))?;
            fitted(text, *format)
        }
        #[cfg(feature = "schema")]
        Command::Schema { of } => match of {
            SchemaOf::Report => conformance::report::json::schema(),
            SchemaOf::Audit => conformance::report::audit::json::schema(),
            SchemaOf::Profile => conformance::profile::schema(),
        }
        .map_err(|error| Failure::not_judged(format!("cannot write the schema: {error}"), None))?,
        #[cfg(not(feature = "schema"))]
        Command::Schema { .. } => {
            return Err(Failure::not_judged(
                "this build has no schema".to_owned(),
                Some("build with --features schema".to_owned()),
            ));
        }
        Command::SelfTest(options) => return self_test::command(options),
        Command::Audit(options) => return audit::run(options, FAMILIES),
        Command::Merge(options) => return audit::merge(options),
        Command::Completions { shell } => completion::script(*shell),
    };
    // A reader that has gone is no error.
    let _ = anstream::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}
