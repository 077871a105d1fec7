//! `cargo xtask excerpts`: copies excerpts of source files into documents.
//!
//! An excerpt in a Markdown file lies between two comments. The first names a source file and the
//! first words of the excerpt, with any whitespace between them:
//!
//! ```text
//! <!-- excerpt: fixtures/src/broken/signals.rs: Fixture::new( "ignores-term" -->
//! <!-- end -->
//! ```
//!
//! It ends with the line that closes the brackets of its first line, or is that line alone.

use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- excerpt: ";
const END: &str = "<!-- end -->";

/// Arguments of `excerpts`.
#[derive(Debug, clap::Args)]
pub struct Excerpts {
    /// Change nothing; fail if an excerpt is not up to date
    #[arg(long)]
    pub check: bool,
}

impl Excerpts {
    /// Updates every Markdown file that git tracks.
    pub fn run(&self) -> Result<()> {
        let root = crate::workspace();
        for name in crate::tidy::files(&root)? {
            let path = root.join(&name);
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let old = std::fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
            let new = renewed(&old, &root).with_context(|| format!("in {name}"))?;
            if new == old {
                continue;
            }
            if self.check {
                bail!("an excerpt in {name} is not up to date\n  try: cargo xtask excerpts");
            }
            std::fs::write(&path, new).with_context(|| format!("write {name}"))?;
        }
        Ok(())
    }
}

/// `document` with every excerpt as it is in the source below `root`.
fn renewed(document: &str, root: &Path) -> Result<String> {
    let mut new = String::new();
    let mut rest = document;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (head, after) = after
            .split_once(" -->\n")
            .context("an excerpt's head is open")?;
        let (_, after) = after.split_once(END).context("an excerpt has no end")?;
        let (file, anchor) = head
            .split_once(": ")
            .context("an excerpt names a file and a begin")?;
        let source =
            std::fs::read_to_string(root.join(file)).with_context(|| format!("read {file}"))?;
        let code =
            excerpt(&source, anchor).with_context(|| format!("{anchor} is not in {file}"))?;
        // Writing to a string does not fail.
        let _ = write!(new, "{before}{BEGIN}{head} -->\n```rust\n{code}```\n{END}");
        rest = after;
    }
    Ok(new + rest)
}

/// The lines from `anchor` to the one that closes its brackets, without their indentation.
fn excerpt(source: &str, anchor: &str) -> Option<String> {
    let lines: Vec<&str> = source.lines().collect();
    let begin = (0..lines.len()).find(|at| {
        let words = lines.get(*at..).into_iter().flatten();
        let mut text = String::new();
        for line in words.take(4) {
            text.push_str(line.trim());
            text.push(' ');
        }
        text.starts_with(anchor)
    })?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (head, tail) = lines.get(begin..)?.split_first()?;
    let opens = head.ends_with(['{', '(', '[']);
    let closes =
        |line: &&str| indent(line) == indent(head) && line.trim().starts_with(['}', ')', ']']);
    let length = if opens {
        1 + tail.iter().position(closes)?
    } else {
        0
    };
    let mut out = String::new();
    for line in lines.get(begin..=begin + length)? {
        out.push_str(line.get(indent(head)..).unwrap_or_default());
        out.push('\n');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SOURCE: &str = "\
static ONE: Check = Check {
    id: \"a/one\",

    run: one,
};

static ALL: &[Fixture] = &[
    Fixture::new(
        \"first\",
        |start| {
            run(start)
        },
    ),
    Fixture::new(
        \"second\",
        run,
    ),
    Form::Tap => render,
];
";

    #[rstest]
    #[case(
        "static ONE",
        "static ONE: Check = Check {\n    id: \"a/one\",\n\n    run: one,\n};\n"
    )]
    #[case(
        "Fixture::new( \"second\"",
        "Fixture::new(\n    \"second\",\n    run,\n),\n"
    )]
    #[case("Form::Tap =>", "Form::Tap => render,\n")]
    fn an_excerpt_ends_where_it_is_closed(#[case] anchor: &str, #[case] expected: &str) {
        assert_eq!(excerpt(SOURCE, anchor).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_not_there_or_never_closed_is_no_excerpt() {
        assert_eq!(excerpt(SOURCE, "static TWO"), None);
        assert_eq!(excerpt("fn open() {\n    body\n", "fn open"), None);
    }

    #[test]
    fn excerpts_are_renewed_and_the_text_around_them_is_kept() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("a.rs"), SOURCE).expect("written");
        let old = "one\n<!-- excerpt: a.rs: Form::Tap -->\nold\n<!-- end -->\ntwo\n\
                   <!-- excerpt: a.rs: static ONE -->\n<!-- end -->\n";
        let new = renewed(old, root.path()).expect("both are there");
        let first = "one\n<!-- excerpt: a.rs: Form::Tap -->\n```rust\nForm::Tap => render,\n```\n<!-- end -->\ntwo\n";
        assert!(new.starts_with(first), "{new}");
        assert!(
            new.ends_with("    run: one,\n};\n```\n<!-- end -->\n"),
            "{new}"
        );
        assert_eq!(renewed(&new, root.path()).expect("as before"), new);
    }

    #[rstest]
    #[case(
        "<!-- excerpt: a.rs: static TWO -->\n<!-- end -->",
        "static TWO is not in a.rs"
    )]
    #[case("<!-- excerpt: b.rs: static ONE -->\n<!-- end -->", "read b.rs")]
    #[case("<!-- excerpt: a.rs: static ONE -->\n", "has no end")]
    #[case("<!-- excerpt: a.rs -->\n<!-- end -->", "names a file")]
    fn what_is_wrong_with_an_excerpt_is_said(#[case] document: &str, #[case] words: &str) {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("a.rs"), SOURCE).expect("written");
        let error = renewed(document, root.path()).expect_err("it is wrong");
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
}
