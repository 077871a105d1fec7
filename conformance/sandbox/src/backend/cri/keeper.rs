//! What the host's runtime holds for the suite must go when the suite does, also when that is
//! killed: its sandboxes are in no cgroup and no namespace of the suite's.
//!
//! Every sandbox has a label with the name of the run. The keeper, which is the suite's own program
//! once more, learns of the suite's end by the end of its input, and has all of that name removed;
//! where it was killed as well, the next suite does.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::Path;
use std::time::{Duration, Instant};

use pause_cri::{Client, Options};

use super::pod::LABEL;
use crate::backend::kept::{Line, REMOVAL};
use crate::backend::run::is_dead;

/// The first argument of the suite, its name, where it is to be the keeper.
pub const NAME: &str = "pause-conformance-cri-keeper";
/// How long a runtime may take to make what a suite has asked for last.
const LATE: Duration = Duration::from_secs(30);
/// How often the runtime is asked meanwhile: it tells of no event.
const AGAIN: Duration = Duration::from_millis(50);

/// The suite's end of it.
#[derive(Debug)]
pub(super) struct Keeper {
    line: Line,
}

impl Keeper {
    /// Removes what runs have left that were killed, and starts the keeper.
    ///
    /// # Errors
    /// Where the runtime does not answer, or no process can be made.
    pub(super) fn start(client: &Client, run: &str) -> io::Result<Self> {
        sweep(client, &is_dead)?;
        let words = vec![client.socket().into(), run.into()];
        let line = Line::start(NAME, words)?;
        Ok(Self { line })
    }

    /// Says that a sandbox is being made, before that is asked for.
    ///
    /// # Errors
    /// Where the keeper has gone: what it would not remove is not made.
    pub(super) fn makes(&self) -> io::Result<()> {
        self.line.tell("+")
    }

    /// Says that the runtime has answered.
    pub(super) fn made(&self) {
        // It has gone: then what is made next fails.
        let _ = self.line.tell("-");
    }
}

/// Becomes the keeper, and ends as it, where this program was executed for that.
pub fn run_if_asked() {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == NAME) {
        std::process::exit(i32::from(keep(words).is_err()));
    }
}

fn keep(mut words: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut word = || words.next().ok_or(io::ErrorKind::InvalidInput);
    let (socket, run) = (word()?, word()?);
    let run = run.to_string_lossy().into_owned();
    let pending = pending(io::stdin().lock());
    let began = Instant::now();
    let client = Client::connect(Path::new(&socket), Options::default());
    let client = client.map_err(io::Error::other)?;
    loop {
        let swept = sweep(&client, &|other| other == run);
        let left = match &swept {
            // A runtime may still make what it was asked for when the suite ended.
            Ok(0) => pending > 0 && began.elapsed() < LATE,
            _ => began.elapsed() < REMOVAL,
        };
        if !left {
            return swept.map(drop);
        }
        let _ = crate::wait::any_readable(&[], AGAIN)?;
    }
}

/// Reads to the end, which is the suite's: how many were being made then.
fn pending(input: impl BufRead) -> usize {
    let lines = input.lines().map_while(Result::ok);
    lines.fold(0_usize, |pending, line| match line.as_str() {
        "+" => pending + 1,
        "-" => pending.saturating_sub(1),
        _ => pending,
    })
}

/// Has the sandboxes removed whose run is one of `these`; how many there were.
fn sweep(client: &Client, these: &dyn Fn(&str) -> bool) -> io::Result<usize> {
    let all = client.pod_sandboxes(None).map_err(io::Error::other)?;
    let runs = all
        .iter()
        .filter_map(|pod| Some((pod, pod.labels.get(LABEL)?)));
    let mut found = 0;
    for (pod, _) in runs.filter(|(_, run)| these(run)) {
        found += 1;
        // Another suite may be removing it, too.
        let _ = client.stop_pod_sandbox(&pod.id);
        let _ = client.remove_pod_sandbox(&pod.id);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::pending;

    #[test]
    fn what_is_being_made_at_the_end_is_counted() {
        assert_eq!(pending(&b"+\n+\n-\nother\n+\n"[..]), 2);
        assert_eq!(pending(&b"-\n"[..]), 0);
    }
}
