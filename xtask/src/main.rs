//! `cargo xtask TASK`.

use clap::Parser;
use std::process::ExitCode;
use xtask::audit::Audit;
use xtask::bench::Bench;
use xtask::build::Build;
use xtask::conformance::{Conformance, SelfTest};
use xtask::dist::Dist;
use xtask::excerpts::Excerpts;
use xtask::fuzz::Fuzz;
use xtask::image::Image;
use xtask::manifests::Manifests;
use xtask::miri::Miri;
use xtask::requirements::Requirements;
use xtask::scoreboard::Scoreboard;
use xtask::sizes::Sizes;
use xtask::soak::Soak;
use xtask::test::Test;
use xtask::walkthrough::{Unavailable, Walkthrough};

/// The project's tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build the reference pause
    Build(Build),
    /// Build the reference image as an OCI layout and archives, or push it
    Image(Image),
    /// Pack the suite as a static program: archives, Debian packages, checksums
    Dist(Dist),
    /// Build the suite and judge an image, by default the reference
    Conformance(Conformance),
    /// Build the suite and have it judge programs, images and backends with known faults
    SelfTest(SelfTest),
    /// Build the suite and look at the pauses that run on this machine
    Audit(Audit),
    /// Run the suite many times, idle and under load: no verdict may change
    Soak(Soak),
    /// Test everything the project promises about itself
    Test(Test),
    /// Run the fuzz targets of the suite (needs a nightly toolchain and cargo-fuzz)
    Fuzz(Fuzz),
    /// Run unit tests under Miri, which finds undefined behaviour (needs a nightly toolchain with
    /// it)
    Miri(Miri),
    /// Run what continuous integration runs: `test` and `sizes --check`
    Ci,
    /// Measure how fast the project is, and compare that with its promises
    Bench(Bench),
    /// Check the project's rules that no compiler checks
    Tidy,
    /// Write the README's table of sizes
    Sizes(Sizes),
    /// Write the page of requirements, REQUIREMENTS.md
    Requirements(Requirements),
    /// Write the manifests that have a cluster run the suite
    Manifests(Manifests),
    /// Judge pauses that people use, and write the page of what came, SCOREBOARD.md
    Scoreboard(Scoreboard),
    /// Update the excerpts of code in documents
    Excerpts(Excerpts),
    /// Make a pod by hand on a real engine, step by step: pause, nginx, a blog
    Walkthrough(Walkthrough),
}

fn main() -> ExitCode {
    let mut failure = ExitCode::FAILURE;
    let result = match Task::parse() {
        Task::Build(task) => task.run(),
        Task::Image(task) => task.run(),
        Task::Dist(task) => task.run(),
        Task::Conformance(task) => {
            // 2: "could not judge". 1 would say that the image failed.
            failure = ExitCode::from(2);
            task.run().map(|never| match never {})
        }
        Task::SelfTest(task) => {
            // 2, as `pause-conformance self-test` documents.
            failure = ExitCode::from(2);
            task.run().map(|never| match never {})
        }
        Task::Audit(task) => {
            // 2, as `pause-conformance audit` documents.
            failure = ExitCode::from(2);
            task.run().map(|never| match never {})
        }
        Task::Soak(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Fuzz(task) => task.run(),
        Task::Miri(task) => task.run(),
        Task::Ci => xtask::test::ci(),
        Task::Bench(task) => task.run(),
        Task::Tidy => xtask::tidy::run(),
        Task::Sizes(task) => task.run(),
        Task::Requirements(task) => task.run(),
        Task::Manifests(task) => task.run(),
        Task::Scoreboard(task) => task.run(),
        Task::Excerpts(task) => task.run(),
        Task::Walkthrough(task) => task.run().inspect_err(|error| {
            if error.is::<Unavailable>() {
                failure = ExitCode::from(2);
            }
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn read(name: &str) -> String {
        let path = xtask::workspace().join(name);
        std::fs::read_to_string(path).expect("the project has it")
    }

    /// The commands after each `cargo xtask` in a text, up to the end of the line or quotation.
    fn commands(text: &str) -> impl Iterator<Item = &str> {
        let after = text.split("cargo xtask ").skip(1);
        after.filter_map(|rest| rest.split(['`', '\n', '#', '"', ':', ',', '<']).next())
    }

    /// The fault of a command that a document names.
    fn fault(command: &str) -> Option<String> {
        let mut words = command.split_whitespace();
        let name = words.next()?;
        let tasks = Task::command();
        let Some(task) = tasks.find_subcommand(name) else {
            // TASK is a placeholder.
            return (name != "TASK").then(|| format!("there is no task {name}"));
        };
        // Its options are the suite's.
        if task.get_arguments().any(clap::Arg::is_trailing_var_arg_set) {
            return None;
        }
        let long = words.filter_map(|word| word.trim_matches(['[', ']']).strip_prefix("--"));
        let known = |option: &str| task.get_arguments().any(|it| it.get_long() == Some(option));
        // `-->`, the end of a comment, is no option.
        let mut options = long.filter(|option| option.starts_with(char::is_alphabetic));
        let unknown = options.find(|option| !known(option));
        unknown.map(|option| format!("{name} has no --{option}"))
    }

    #[test]
    fn every_task_that_a_document_names_is_there() {
        let mut seen = 0;
        for name in [
            "README.md",
            "conformance/docs/ARCHITECTURE.md",
            "conformance/docs/CHANGELOG.md",
            "conformance/docs/CI.md",
            "conformance/docs/CONTRIBUTING.md",
            "conformance/docs/INSTALL.md",
            "conformance/docs/SCOREBOARD.md",
            "conformance/docs/SECURITY.md",
            "conformance/docs/USE.md",
            "conformance/docs/WALKTHROUGH.md",
            ".github/workflows/test.yml",
            ".ci/run",
        ] {
            let text = read(name);
            for command in commands(&text) {
                assert_eq!(fault(command), None, "cargo xtask {command} in {name}");
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen} commands");
    }

    #[test]
    fn a_task_or_an_option_that_is_not_there_is_found() {
        assert_eq!(fault("tets"), Some("there is no task tets".to_owned()));
        assert_eq!(
            fault("soak --idel 3"),
            Some("soak has no --idel".to_owned())
        );
        assert_eq!(fault("soak --idle 3"), None);
        assert_eq!(fault("conformance --image x"), None);
    }

    /// The number stands in three places.
    #[test]
    fn the_oldest_compiler_is_the_same_wherever_it_is_named() {
        let manifest = read("Cargo.toml");
        let (_, rest) = manifest
            .split_once("rust-version = \"")
            .expect("it is there");
        let (version, _) = rest.split_once('"').expect("it ends");
        let workflow = read(".github/workflows/test.yml");
        assert!(workflow.contains(&format!("image: rust:{version}-")));
        let page = read("conformance/docs/CONTRIBUTING.md");
        assert!(page.contains(&format!("**Rust {version} is the oldest compiler")));
    }
}
