//! What the walkthrough prints, and the commands that it runs.

use super::keeper::Keeper;
use anyhow::{Context as _, Result, anyhow, bail};
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The most lines of output that a step prints: Ghost's front page has hundreds.
const LONGEST: usize = 40;

/// The engine cannot be used.
#[derive(Debug)]
pub struct Unavailable {
    cause: String,
    hint: &'static str,
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  try: {}", self.cause, self.hint)
    }
}

impl std::error::Error for Unavailable {}

impl Unavailable {
    pub(super) fn new(cause: String, hint: &'static str) -> Self {
        Self { cause, hint }
    }
}

/// The output of the walkthrough, and the temporary folder in which its commands run: their `$PWD`.
pub(super) struct Terminal {
    folder: TempDir,
    keeper: Option<Keeper>,
    /// The suffix of this run's names, which a document leaves out.
    own: String,
    steps: u32,
    /// Everything that was printed, if it is to go to a document.
    page: Option<String>,
}

impl Terminal {
    pub(super) fn open(own: u32, for_page: bool) -> Result<Self> {
        let folder = TempDir::with_prefix("walkthrough-").context("make a temporary folder")?;
        Ok(Self {
            folder,
            keeper: None,
            own: format!("-{own}"),
            steps: 0,
            page: for_page.then(String::new),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// From here on the script `sweep` removes what is left, whatever happens.
    pub(super) fn keep(&mut self, sweep: &str) -> Result<()> {
        self.keeper = Some(Keeper::start(sweep, self.folder.path())?);
        Ok(())
    }

    /// Removes what is left, now.
    pub(super) fn swept(&mut self) -> Result<()> {
        self.keeper.take().map_or(Ok(()), Keeper::finish)
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        let title = format!("\n# {}. {title}\n", self.steps);
        self.print(&title);
    }

    /// Prints a line or several.
    pub(super) fn print(&mut self, text: &str) {
        let mut text = text.trim_end_matches('\n').to_owned();
        text.push('\n');
        // Where nobody reads any more, the walkthrough still goes on and removes what it made.
        let _ = std::io::stdout().write_all(text.as_bytes());
        if let Some(page) = &mut self.page {
            page.push_str(&without_own(&text, &self.own));
        }
    }

    /// Prints a command, runs it, prints its output, and returns that.
    pub(super) fn run<Word: AsRef<str>>(&mut self, command: &[Word]) -> Result<String> {
        let words: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
        self.print(&format!("$ {}", typed(&words)));
        let output = self.quietly(&words)?;
        self.print_output(&output);
        Ok(output)
    }

    /// Prints a JSON file as `cat` would, with `$PWD` for the temporary folder.
    pub(super) fn show_json(&mut self, name: &str, value: &serde_json::Value) {
        let folder = self.folder.path().display().to_string();
        let text = format!("{value:#}").replace(&folder, "$PWD");
        self.print(&format!("$ cat {name}\n{text}"));
    }

    /// Prints the output of a command, if there is any; of a long one the beginning.
    pub(super) fn print_output(&mut self, output: &str) {
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let shown = lines.get(..LONGEST).unwrap_or(&lines);
        if !output.trim().is_empty() {
            self.print(&shown.join("\n"));
        }
        if shown.len() < lines.len() {
            self.print(&format!("[{} more lines]", lines.len() - shown.len()));
        }
    }

    /// Runs a command and returns its output.
    pub(super) fn quietly<Word: AsRef<str>>(&mut self, command: &[Word]) -> Result<String> {
        let words: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
        let child = self.start(&words, Stdio::piped())?;
        let output = child.wait_with_output().context("wait for a command")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().last().unwrap_or_default();
            bail!("{}: {}: {last}", typed(&words), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn start(&mut self, words: &[&str], errors: Stdio) -> Result<Child> {
        let (program, args) = words.split_first().context("a command")?;
        let folder = self.folder.path().display().to_string();
        let child = Command::new(program)
            .args(args.iter().map(|word| word.replace("$PWD", &folder)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("run {program}"))?;
        if let Some(keeper) = &mut self.keeper {
            keeper.runs(child.id())?;
        }
        Ok(child)
    }

    /// Runs a command that shows that an engine is there.
    pub(super) fn ask(&mut self, command: &[&str], hint: &'static str) -> Result<String> {
        let answer = self.quietly(command);
        answer.map_err(|error| {
            let cause = format!("{error:#}");
            anyhow!(Unavailable { cause, hint })
        })
    }

    /// Follows a log until a line holds `words` for the `count`th time.
    pub(super) fn await_line(
        &mut self,
        command: &[String],
        words: &str,
        count: usize,
        limit: Duration,
    ) -> Result<()> {
        let (write, lines) = mpsc::channel();
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut child = self.start(&command, Stdio::from(writer))?;
        let output = child.stdout.take().context("a pipe")?;
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(output), Box::new(reader)];
        for stream in streams {
            let write = write.clone();
            std::thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines
                    .map(|line| write.send(line))
                    .take_while(Result::is_ok)
                    .for_each(drop);
            });
        }
        drop(write);
        let deadline = Instant::now() + limit;
        let mut log = String::new();
        let mut seen = 0;
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    seen += usize::from(line.contains(words));
                    let _ = writeln!(log, "{line}");
                    if seen == count {
                        break Ok(());
                    }
                }
                Err(_) => break Err(anyhow!("{} shows: {}", typed(&command), log.trim())),
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        found
    }

    /// Writes everything that was printed to a document, between the comments that name `name`.
    pub(super) fn write(&mut self, page: &Path, name: &str) -> Result<()> {
        let document =
            std::fs::read_to_string(page).with_context(|| format!("read {}", page.display()))?;
        let text = self.page.take().unwrap_or_default();
        let new = placed(&document, name, text.trim())
            .with_context(|| format!("{} has no place for {name}", page.display()))?;
        std::fs::write(page, new).with_context(|| format!("write {}", page.display()))
    }
}

/// The output without this run's suffix.
fn without_own(text: &str, own: &str) -> String {
    let names = [")", "blog", "files", "members", "nginx", "pause", "pod"];
    names.iter().fold(text.to_owned(), |text, name| {
        text.replace(&format!("{name}{own}"), name)
    })
}

/// `document` with this text between its two comments; `None` if it has no such comments.
fn placed(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- walkthrough: {name} -->\n");
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    // In a `console` block, the title of a step is a comment.
    Some(format!(
        "{before}{begin}```console\n{text}\n```\n<!-- end -->{after}"
    ))
}

/// A command as it is typed in a shell.
pub(super) fn typed(words: &[&str]) -> String {
    let typed = words.iter().map(|word| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,%@+".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            (*word).to_owned()
        } else if word.contains("$PWD") && !word.contains('"') {
            format!("\"{word}\"")
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    typed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_printed_as_a_shell_would_read_it() {
        assert_eq!(typed(&["ps", "-o", "pid,ppid"]), "ps -o pid,ppid");
        assert_eq!(typed(&["sh", "-c", "echo $!", ""]), "sh -c 'echo $!' ''");
        assert_eq!(typed(&["it's"]), r"'it'\''s'");
        assert_eq!(typed(&["--volume", "$PWD/a:/a"]), "--volume \"$PWD/a:/a\"");
    }

    #[test]
    fn of_a_long_page_the_beginning_is_printed() {
        let mut terminal = terminal();
        let count = LONGEST + 2;
        let output = terminal
            .run(&["seq", &count.to_string()])
            .expect("it counts");
        assert_eq!(output.lines().count(), count);
        let page = terminal.page.expect("it is for a page");
        assert!(
            page.ends_with(&format!("\n{LONGEST}\n[2 more lines]\n")),
            "{page}"
        );
    }

    #[test]
    fn a_document_has_the_names_alone() {
        let text = "pause-7 localhost/members-7:1 '^(a|b)-7$' 2026-7-28 sha256:a-7";
        let expected = "pause localhost/members:1 '^(a|b)$' 2026-7-28 sha256:a-7";
        assert_eq!(without_own(text, "-7"), expected);
    }

    #[test]
    fn what_was_printed_takes_the_place_of_what_was_before() {
        let page = "one\n<!-- walkthrough: x -->\nold\n<!-- end -->\ntwo\n";
        let new = placed(page, "x", "$ ps").expect("it has a place");
        assert_eq!(
            new,
            "one\n<!-- walkthrough: x -->\n```console\n$ ps\n```\n<!-- end -->\ntwo\n"
        );
        assert_eq!(placed(page, "y", ""), None);
    }

    fn terminal() -> Terminal {
        Terminal::open(1, true).expect("a folder")
    }

    #[test]
    fn a_command_that_fails_is_named_with_its_last_words() {
        let error = terminal().run(&["sh", "-c", "echo one >&2; echo two >&2; exit 3"]);
        let error = format!("{:#}", error.expect_err("it fails"));
        assert!(error.ends_with("exit status: 3: two"), "{error}");
        let error = terminal().ask(&["no-such-program"], "install it");
        let error = error.expect_err("there is none");
        assert!(error.is::<Unavailable>());
        assert!(
            format!("{error:#}").ends_with("\n  try: install it"),
            "{error:#}"
        );
    }

    #[test]
    fn a_line_is_awaited_on_both_streams_and_no_longer_than_told() {
        let shell = |script: &str| ["sh", "-c", script].map(str::to_owned).to_vec();
        let short = Duration::from_millis(300);
        let shows = |script: &str, count, limit| {
            terminal().await_line(&shell(script), "ready", count, limit)
        };
        let long = Duration::from_secs(20);
        assert!(shows("echo not; echo ready >&2; exec sleep 60", 1, long).is_ok());
        assert!(shows("echo ready; echo ready", 2, long).is_ok());
        let error = shows("echo ready; echo other", 2, long).expect_err("only once");
        assert!(format!("{error}").contains("other"), "{error}");
        assert!(shows("exec sleep 60", 1, short).is_err());
    }
}
