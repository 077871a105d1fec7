//! Lines that fit a terminal.

/// The narrowest terminal for which lines are wrapped: what is narrower gets lines of this width.
const NARROWEST: usize = 40;

/// Labels of lines that a user pastes into a shell, which stay whole.
const WHOLE: [&str; 2] = ["rerun ", "explain "];

/// How many columns the terminal has that stdout is; `None` where it is none.
pub fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// The text in lines of at most so many columns, broken at spaces. What goes on is indented by two
/// more than its line. A word that is longer stays whole, and so does a command.
pub fn wrap(text: &str, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        let is_command = WHOLE
            .iter()
            .any(|label| line.trim_start().starts_with(label));
        if is_command || columns(line.trim_end()) <= width {
            out.push_str(line);
        } else {
            wrap_line(&mut out, line, width);
        }
    }
    out
}

fn wrap_line(out: &mut String, line: &str, width: usize) {
    let body = line.trim_start_matches(' ');
    let indent = line.len() - body.len();
    let more = " ".repeat((indent + 2).min(width / 2));
    out.push_str(&line[..indent]);
    let mut at = indent;
    let mut is_first = true;
    // An empty word is one of several spaces, which align columns.
    for word in body.trim_end_matches('\n').split(' ') {
        let length = columns(word);
        if !is_first && at + 1 + length > width {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&more);
            at = more.len();
        } else if !is_first {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length;
        is_first = false;
    }
    if line.ends_with('\n') {
        out.push('\n');
    }
}

/// How many columns text takes: its escape sequences of style take none.
fn columns(text: &str) -> usize {
    let mut count = 0;
    let mut in_style = false;
    for c in text.chars() {
        match c {
            '\x1b' => in_style = true,
            'm' if in_style => in_style = false,
            _ if in_style => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::{columns, wrap};

    #[test]
    fn lines_fit_and_say_the_same() {
        let text = "FAIL the program stays, its standard input open or at its end [startup/stays]\n  \
                    requirement MUST: The pause process MUST keep running until it is told to end.\n\n  \
                    \x1b[1mevidence\x1b[0m    a b c\n";
        for width in [40, 41, 57, 80, 200] {
            let wrapped = wrap(text, width);
            assert!(
                wrapped.lines().all(|line| columns(line) <= width),
                "{wrapped}"
            );
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&wrapped), words(text));
            // Nothing is narrower than 40 columns.
            assert_eq!(wrap(text, 10), wrap(text, 40));
        }
        assert_eq!(wrap(text, 200), text);
    }

    #[test]
    fn what_is_pasted_stays_whole() {
        let command = "  rerun       pause-conformance --image x --filter y --timeout 5 --strict\n";
        assert_eq!(wrap(command, 40), command);
        let long = format!("  source      https://example.org/{}\n", "x".repeat(80));
        let wrapped = wrap(&long, 40);
        assert_eq!(wrapped.lines().count(), 2, "{wrapped}");
        assert!(wrapped.contains(&"x".repeat(80)));
    }
}
