//! `cargo xtask miri`: runs unit tests under Miri, which interprets them and finds undefined
//! behaviour.
//!
//! Every unit test of [`PACKAGES`] runs, unless it is in [`EXCLUDED`]. So a new test is included
//! until Miri proves unable to run it.

use anyhow::{Context as _, Result, ensure};
use std::process::{Command, Stdio};

/// The libraries: the first parses files of strangers, the second has unsafe code. The suite itself
/// has almost none, and the programs without a C runtime are system calls and assembly, which Miri
/// cannot run.
const PACKAGES: [&str; 2] = ["pause-image", "pause-sandbox"];

/// Tests that are left out.
struct Excluded {
    because: &'static str,
    /// Each is the beginning of the names of some tests.
    tests: &'static [&'static str],
}

const EXCLUDED: [Excluded; 4] = [
    Excluded {
        // <https://github.com/trifectatechfoundation/zlib-rs/issues/491>
        because: "zlib-rs frees a stream while a reference into it is protected (its issue 491)",
        tests: &[
            "decompress::",
            "original::tests::an_image_is_written",
            "original::tests::a_program_alone",
            "tar::differential::both_read",
        ],
    },
    Excluded {
        because: "Miri lacks what the test asks the kernel for",
        tests: &[
            "backend::embedded::folder::",
            "backend::lease::tests::the_leash_ends",
            "backend::lease::tests::what_was_left_frozen",
            "backend::oci::config::",
            "disk::tests::space_is",
            "pace::",
            "process::tests::an_answer",
            "regular::",
            "shortage::tests::errors_of_a_shortage",
            "spool::tests::bytes_are_copied",
            "spool::tests::what_is_kept",
            "step::waits::",
            "sys::clone::",
            "sys::schedule::",
            "trace::tests::one_that_is_killed",
        ],
    },
    Excluded {
        because: "Miri words errors of the system in its own way",
        tests: &["backend::embedded::obstacles::tests::one_hint"],
    },
    Excluded {
        because: "it takes minutes",
        tests: &[
            "backend::embedded::cgroup::lease::tests::suites_that_begin",
            "elf::tests::a_damaged_file",
            "wasm::tests::a_flood",
            "wasm::tests::no_change_of_a_byte",
        ],
    },
];

/// Arguments of `miri`.
#[derive(Debug, Default, clap::Args)]
pub struct Miri {
    /// Run only tests with this in their name
    filter: Option<String>,
}

impl Miri {
    /// Runs the tests of one package after the other.
    pub fn run(&self) -> Result<()> {
        ensure!(
            is_there(),
            "no Miri in the nightly toolchain\n  try: rustup toolchain install nightly --component miri,rust-src"
        );
        for excluded in EXCLUDED {
            println!("not run, {}:", excluded.because);
            excluded.tests.iter().for_each(|test| println!("  {test}"));
        }
        let mut all = String::new();
        for package in PACKAGES {
            all += &listed(package)?;
        }
        let excluded = excluded();
        let unknown = excluded.iter().find(|test| !names(&all, test));
        ensure!(
            unknown.is_none(),
            "miri.rs excludes {}, and no test begins so",
            unknown.unwrap_or(&"")
        );
        for package in PACKAGES {
            let mut tests = tests(package);
            tests.args(&self.filter);
            for test in &excluded {
                tests.args(["--skip", test]);
            }
            let status = tests.status().context("run cargo miri")?;
            ensure!(
                status.success(),
                "cargo miri test of {package}: {status}\n  if Miri lacks what a test needs: add it to EXCLUDED in xtask/src/miri.rs"
            );
        }
        Ok(())
    }
}

/// Whether there is a nightly toolchain with Miri.
pub fn is_there() -> bool {
    let mut version = miri();
    let version = version.arg("--version");
    let status = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn excluded() -> Vec<&'static str> {
    let all = EXCLUDED.iter().flat_map(|excluded| excluded.tests);
    all.copied().collect()
}

/// Whether libtest's list of tests has one that begins so.
fn names(list: &str, test: &str) -> bool {
    list.lines().any(|line| line.starts_with(test))
}

fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri"]);
    command.current_dir(crate::workspace());
    command
}

/// `cargo miri test`, up to the arguments for libtest.
fn tests(package: &str) -> Command {
    let mut command = miri();
    // A separate folder, since Miri and other builds would replace each other's output.
    command.args(["test", "--package", package, "--lib"]);
    command.args(["--target-dir", "target/miri", "--"]);
    // Tests read and write files, and ask for the time.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    command
}

/// The tests of a package, a line each.
fn listed(package: &str) -> Result<String> {
    let output = tests(package)
        .arg("--list")
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo miri")?;
    ensure!(
        output.status.success(),
        "cargo miri test of {package}: {}",
        output.status
    );
    String::from_utf8(output.stdout).context("read the list of tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_names_the_beginning_of_a_test() {
        let list =
            "disk::tests::space_is_what: test\nelf::tests::a: test\n\n2 tests, 0 benchmarks\n";
        assert!(names(list, "disk::tests::space_is"));
        assert!(!names(list, "tests::a"));
        assert!(!names(list, "space_is"));
    }

    #[test]
    fn no_test_is_excluded_twice() {
        let all = excluded();
        for (at, test) in all.iter().enumerate() {
            let others = all.iter().skip(at + 1);
            assert!(others.clone().all(|other| !other.contains(test)), "{test}");
        }
    }
}
