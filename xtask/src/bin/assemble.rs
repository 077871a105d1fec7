//! Assembles WebAssembly from its text format: `assemble FILE`, to standard output.

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: assemble FILE");
        return ExitCode::from(64);
    };
    let written = wat::parse_file(&file)
        .map_err(|error| error.to_string())
        .and_then(|bytes| {
            std::io::stdout()
                .write_all(&bytes)
                .map_err(|error| error.to_string())
        });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
