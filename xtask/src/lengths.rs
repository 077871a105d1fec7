//! The limit on a function's length.
//!
//! Clippy's `too_many_lines` counts neither comments nor the signature. This counts every line,
//! since a reader scrolls through all of them.

/// A function has fewer lines than this, from its signature to its last brace.
const MOST: usize = 60;

/// The keywords that may precede a function's name after `pub`, in this order.
const QUALIFIERS: [&str; 4] = ["const ", "async ", "unsafe ", "extern \"C\" "];

/// The functions of a formatted file that are too long, a message each.
pub(crate) fn judge(name: &str, text: &str) -> Vec<String> {
    if name
        .rsplit_once('.')
        .is_none_or(|(_, extension)| extension != "rs")
    {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| {
            let function = name_of_function(line)?;
            let length = length(&lines[at..]);
            let long = length >= MOST;
            long.then(|| format!("{function} has {length} lines; a function has fewer than {MOST}"))
        })
        .collect()
}

/// The name of the function that begins in this line.
fn name_of_function(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        rest = public.strip_prefix(' ').or_else(|| {
            let (_, after) = public.strip_prefix('(')?.split_once(") ")?;
            Some(after)
        })?;
    }
    for qualifier in QUALIFIERS {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()
}

/// Counts lines up to the first closing brace with the indentation of the first line, where rustfmt
/// puts it.
fn length(lines: &[&str]) -> usize {
    let first = lines.first().copied().unwrap_or_default();
    // A function of one line, or one of a trait without a body.
    if first.ends_with('}') || first.ends_with(';') {
        return 1;
    }
    let indentation = &first[..first.len() - first.trim_start().len()];
    let ends = |line: &&str| {
        line.strip_prefix(indentation).is_some_and(|rest| {
            rest.starts_with('}') || rest.starts_with(')') && rest.ends_with(';')
        })
    };
    let end = lines.iter().position(ends);
    end.map_or(lines.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn function(head: &str, lines: usize) -> String {
        format!("{head} {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[rstest]
    #[case("fn work()")]
    #[case("pub fn work<'a>(of: &'a str)")]
    #[case("pub(super) unsafe extern \"C\" fn work()")]
    #[case("pub(crate) const fn work()")]
    fn a_long_function_is_named(#[case] head: &str) {
        let short = function(head, MOST - 1);
        assert_eq!(judge("a.rs", &short), [] as [String; 0]);
        let complaints = judge("a.rs", &function(head, MOST));
        assert_eq!(
            complaints,
            ["work has 60 lines; a function has fewer than 60"]
        );
    }

    #[test]
    fn a_method_ends_with_itself() {
        let method = function("    fn one(&self)", 4).replace("\n}", "\n    }");
        let text = format!("impl It {{\n{}}}\n", method.repeat(30));
        assert_eq!(judge("a.rs", &text), [] as [String; 0]);
    }

    #[test]
    fn a_function_without_a_body_is_no_fault() {
        let text = format!(
            "trait It {{\n    fn one(&self);\n    fn two(\n        self,\n    );\n{}}}\n",
            "    // more\n".repeat(80)
        );
        assert_eq!(judge("a.rs", &text), [] as [String; 0]);
        let markdown = function("fn work()", 80);
        assert_eq!(judge("a.md", &markdown), [] as [String; 0]);
    }
}
