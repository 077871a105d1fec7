//! `cargo xtask TASK`.

use clap::Parser;
use std::process::ExitCode;
use xtask::bench::Bench;
use xtask::build::Build;
use xtask::conformance::{Conformance, SelfTest};
use xtask::excerpts::Excerpts;
use xtask::fuzz::Fuzz;
use xtask::image::Image;
use xtask::requirements::Requirements;
use xtask::sizes::Sizes;
use xtask::soak::Soak;
use xtask::test::Test;

/// The project's tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build the reference pause
    Build(Build),
    /// Write the reference image as an OCI layout and archives, or push it
    Image(Image),
    /// Build the suite and judge an image, or the reference
    Conformance(Conformance),
    /// Build the suite and have it judge programs, images and engines whose faults are known
    SelfTest(SelfTest),
    /// Run the suite time and again, idle and under load: no verdict may change
    Soak(Soak),
    /// Test everything the project promises about itself
    Test(Test),
    /// Run the fuzz targets of the suite (wants a nightly toolchain and cargo-fuzz)
    Fuzz(Fuzz),
    /// What continuous integration runs: `test`, and the README's table
    Ci,
    /// Measure how fast the project is, against what it promises
    Bench(Bench),
    /// Check the rules of the house that no compiler knows
    Tidy,
    /// Write the README's table of sizes
    Sizes(Sizes),
    /// Write the page of requirements
    Requirements(Requirements),
    /// Renew the code that stands in documents
    Excerpts(Excerpts),
}

fn main() -> ExitCode {
    let mut failure = ExitCode::FAILURE;
    let result = match Task::parse() {
        Task::Build(task) => task.run(),
        Task::Image(task) => task.run(),
        Task::Conformance(task) => {
            // "The suite could not judge": 1 would say that it did.
            failure = ExitCode::from(2);
            task.run().map(|never| match never {})
        }
        Task::SelfTest(task) => {
            // As `pause-conformance self-test` documents.
            failure = ExitCode::from(2);
            task.run().map(|never| match never {})
        }
        Task::Soak(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Fuzz(task) => task.run(),
        Task::Ci => xtask::test::ci(),
        Task::Bench(task) => task.run(),
        Task::Tidy => xtask::tidy::run(),
        Task::Sizes(task) => task.run(),
        Task::Requirements(task) => task.run(),
        Task::Excerpts(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            failure
        }
    }
}
