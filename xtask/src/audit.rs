//! `cargo xtask audit`: builds the suite, and has it audit this machine's pauses.

use crate::conformance::Conformance;
use anyhow::Result;

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Audit {
    /// Arguments of `pause-conformance audit`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    args: Vec<String>,
}

impl Audit {
    /// Becomes the suite; comes back only when that fails.
    ///
    /// # Errors
    /// When it cannot be built or executed.
    pub fn run(self) -> Result<std::convert::Infallible> {
        Conformance::of("audit", self.args).run()
    }
}
