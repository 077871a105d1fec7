//! The file of known failures.

use conformance::check::Level;
use conformance::checks::FAMILIES;
use conformance::event::Verdict;
use conformance::expect::Expectations;

use super::held;

/// Blank lines, comments and other line ends change nothing; a wrong line is named; and a
/// record is marked only where the file has its id.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let read = Expectations::parse(text, FAMILIES);
    match &read {
        Ok(expectations) => {
            let lines: Vec<&str> = text.lines().collect();
            let spaced = lines.join("\r\n\n# a comment\n \t");
            assert_eq!(
                Expectations::parse(&spaced, FAMILIES).as_ref(),
                Ok(expectations)
            );
            marked(text, expectations);
        }
        Err((line, error)) => {
            assert!((1..=text.lines().count()).contains(line));
            held::legible(&error.to_string());
            held::legible(&error.hint());
            // What stands before the wrong line is right.
            let before: Vec<&str> = text.lines().take(line - 1).collect();
            assert!(Expectations::parse(&before.join("\n"), FAMILIES).is_ok());
        }
    }
}

fn marked(text: &str, expectations: &Expectations) {
    let image = text.split_whitespace().nth(1).unwrap_or("image");
    for check in FAMILIES.iter().flat_map(|family| family.checks) {
        let mut record = conformance::runner::record(check, Verdict::Fail);
        expectations.apply(image, "2026-06-01", &mut record);
        if let Some(reason) = &record.expected_failure {
            assert!(text.contains(check.id) && text.contains(reason.as_str()));
            assert!(!reason.is_empty() && !record.is_red(true));
        } else {
            assert_eq!(record.is_red(false), check.level == Level::Must);
        }
    }
}
