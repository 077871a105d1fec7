//! The summary of a run: how long each step took, how many of its tests passed, and which failed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// One step that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its name; for a test program, package and target.
    pub(super) name: String,
    /// Wall-clock time.
    pub(super) took: Duration,
    /// Processor time, with that of its children.
    pub(super) used: Duration,
    /// The results of its tests; empty if it has none.
    pub(super) tests: Tests,
    /// Why it failed, if it did.
    pub(super) fault: Option<String>,
}

/// How many lines of what a failed test printed the summary repeats, and how many characters of
/// each: a log that is cut keeps its end.
const LINES: usize = 5;
const WIDTH: usize = 160;

/// The results of a program's tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tests {
    /// How many passed.
    pub(super) passed: u32,
    /// How many failed.
    pub(super) failed: u32,
    /// How many were skipped.
    pub(super) ignored: u32,
    /// The names of those that failed, and the first lines of what each printed.
    pub(super) names: BTreeMap<String, Vec<String>>,
    /// The failed test whose output is being read.
    reading: Option<String>,
}

impl Tests {
    /// Reads one line of a program's output. It knows `test NAME ... FAILED`, `test result: …`, and
    /// what follows `---- NAME ----`, as libtest and libtest-mimic write them.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            for count in counts.split([';', '.']) {
                let mut words = count.split_whitespace();
                let number = words.next().and_then(|word| word.parse::<u32>().ok());
                match (number, words.next()) {
                    (Some(number), Some("passed")) => self.passed += number,
                    (Some(number), Some("failed")) => self.failed += number,
                    (Some(number), Some("ignored")) => self.ignored += number,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.names.entry(name.trim_end().to_owned()).or_default();
        } else if let Some(name) = line
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" ----"))
        {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            let is_it = |key: &&String| {
                let key = key.strip_suffix(" - should panic").unwrap_or(key);
                let kind = key.strip_suffix(name);
                kind.is_some_and(|kind| kind.is_empty() || kind.ends_with("] "))
            };
            self.reading = self.names.keys().find(is_it).cloned();
        } else if line == "failures:" {
            self.reading = None;
        } else if !line.trim().is_empty()
            && let Some(name) = &self.reading
            && let Some(lines) = self.names.get_mut(name)
            && lines.len() < LINES
        {
            lines.push(line.chars().take(WIDTH).collect());
        }
    }

    /// Whether there were none.
    pub(super) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.ignored == 0
    }

    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// The text of the summary. First the steps that passed, then those that failed, the slowest first,
/// each with its time and the processor time that it used; then the tests, as `N passed, N failed,
/// N skipped`.
pub(super) fn write(steps: &[Step], took: Duration) -> String {
    let mut sorted: Vec<&Step> = steps.iter().collect();
    sorted.sort_by_key(|step| (step.fault.is_some(), std::cmp::Reverse(step.took)));
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    let mut all = Tests::default();
    for step in sorted {
        all.add(&step.tests);
        let word = if step.fault.is_some() {
            "FAILED"
        } else {
            "passed"
        };
        let tests = tests(&step.tests);
        let line = format!(
            "{word} {:>7} {:>7}  {:<width$}  {tests}",
            time(step.took),
            time(step.used),
            step.name
        );
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", line.trim_end());
        for (name, lines) in &step.tests.names {
            let _ = writeln!(out, "{:24}{name}", "");
            for line in lines {
                let _ = writeln!(out, "{:26}{line}", "");
            }
        }
        if let Some(fault) = &step.fault {
            let _ = writeln!(
                out,
                "{:24}{}",
                "",
                fault.replace('\n', &format!("\n{:24}", ""))
            );
        }
    }
    let failed = steps.iter().filter(|step| step.fault.is_some()).count();
    let passed = steps.len() - failed;
    let _ = writeln!(
        out,
        "\n{} of {} steps passed, in {} and {} of processor time",
        passed,
        steps.len(),
        time(took),
        time(steps.iter().map(|step| step.used).sum())
    );
    let _ = write!(
        out,
        "{} passed, {} failed, {} skipped",
        all.passed, all.failed, all.ignored
    );
    out
}

fn tests(tests: &Tests) -> String {
    if tests.is_empty() {
        return String::new();
    }
    let mut text = format!("{} passed", tests.passed);
    for (number, word) in [(tests.failed, "failed"), (tests.ignored, "ignored")] {
        if number > 0 {
            let _ = write!(text, ", {number} {word}");
        }
    }
    text
}

/// `4m 05s`, `12.3s`.
fn time(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1}s", took.as_secs_f64())
    } else {
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Tests {
        let mut tests = Tests::default();
        lines.lines().for_each(|line| tests.read(line));
        tests
    }

    #[test]
    fn the_counts_are_those_that_a_program_states() {
        let counts =
            "31 passed; 8 failed; 2 ignored; 0 measured; 5 filtered out; finished in 7.32s";
        let tests = read(&format!("test result: FAILED. {counts}"));
        assert_eq!((tests.passed, tests.failed, tests.ignored), (31, 8, 2));
    }

    #[test]
    fn several_results_are_added_up_and_failed_tests_named() {
        let tests = read(
            "running 2 tests\n\
             test a::b ... ok\n\
             test a::c - should panic ... FAILED\n\
             test [program] spins      ... FAILED\n\
             failures:\n\
             \n\
             ---- a::c stdout ----\n\
             \n\
             thread 'a::c' panicked at a.rs:1:\n\
             \n\
             ---- spins ----\n\
             one\n\
             two\n\
             failures:\n\
                 spins\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!((tests.passed, tests.failed, tests.ignored), (4, 2, 0));
        let said = |name: &str| tests.names[name].join("; ");
        assert_eq!(tests.names.len(), 2);
        assert_eq!(said("[program] spins"), "one; two");
        assert_eq!(
            said("a::c - should panic"),
            "thread 'a::c' panicked at a.rs:1:"
        );
        assert!(read("test result of mine: 3 passed\n").is_empty());
    }

    fn step(name: &str, seconds: u64, passed: u32, fault: Option<&str>) -> Step {
        Step {
            name: name.to_owned(),
            took: Duration::from_secs(seconds),
            used: Duration::from_secs(seconds / 2),
            tests: Tests {
                passed,
                ..Tests::default()
            },
            fault: fault.map(str::to_owned),
        }
    }

    #[test]
    fn the_sum_names_every_step_what_failed_last_and_the_slowest_first() {
        let mut wrong = step("x: b", 5, 1, Some("exit status: 101"));
        wrong.tests.failed = 1;
        wrong.tests.ignored = 2;
        let said = vec!["left: 1".to_owned(), "right: 2".to_owned()];
        wrong.tests.names.insert("it_holds".to_owned(), said);
        let steps = [
            wrong,
            step("rustfmt", 1, 0, None),
            step("x: matrix", 245, 7, None),
            step("clippy", 9, 0, Some("exit status: 1\n  try: cargo clippy")),
        ];
        let expected = "\
passed  4m 05s  2m 02s  x: matrix  7 passed
passed    1.0s    0.0s  rustfmt
FAILED    9.0s    4.0s  clippy
                        exit status: 1
                          try: cargo clippy
FAILED    5.0s    2.0s  x: b       1 passed, 1 failed, 2 ignored
                        it_holds
                          left: 1
                          right: 2
                        exit status: 101

2 of 4 steps passed, in 4m 20s and 2m 08s of processor time
8 passed, 1 failed, 2 skipped";
        assert_eq!(write(&steps, Duration::from_secs(260)), expected);
    }
}
