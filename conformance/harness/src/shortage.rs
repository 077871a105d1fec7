//! **A shortage is never the image's fault**: the suite looks for one around each check, and a
//! check that a shortage may explain is inconclusive, with the figure.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use pause_sandbox::shortage::{Counters, Shortage, beside, groups, needs, of};

use crate::outcome::{Outcome, Stop};

/// Looks for a shortage around one check.
#[derive(Debug)]
pub struct Watch {
    before: Counters,
    killed_on_host: Option<u64>,
    met: Mutex<Option<Shortage>>,
    lost: AtomicBool,
    doubted: AtomicBool,
}

impl Watch {
    /// From now on.
    pub fn begin(counters: Counters) -> Self {
        Self {
            before: counters,
            killed_on_host: killed_on_host(),
            met: Mutex::default(),
            lost: AtomicBool::new(false),
            doubted: AtomicBool::new(false),
        }
    }

    /// Notes what one of the check's programs met.
    pub fn note(&self, shortage: Shortage) {
        // The first is what began it.
        self.met().get_or_insert(shortage);
    }

    /// Notes that a process of the suite's own ended, and that the suite did not kill it.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Notes that one may have been refused something, of which nothing tells.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether one may have been.
    pub fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// What was met, for a check whose verdict it is: it is no shortage any more.
    pub fn take(&self) -> Option<Shortage> {
        self.met().take()
    }

    fn met(&self) -> MutexGuard<'_, Option<Shortage>> {
        // A note has no invariant that a panic could have broken.
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The check's outcome; inconclusive, where a shortage may be why.
    ///
    /// # Errors
    /// As `outcome`, or [`Stop::Inconclusive`].
    pub fn judge(self, outcome: Outcome, counters: Counters) -> Outcome {
        let Some(words) = self.words(&outcome, counters) else {
            return outcome;
        };
        match outcome {
            // Time that was too short may have been too short for that.
            Err(Stop::Inconclusive(why)) if !why.contains(&words) => {
                Err(Stop::Inconclusive(format!("{why}; {words}")))
            }
            Err(Stop::Skip(_) | Stop::Blocked { .. } | Stop::Inconclusive(_)) => outcome,
            _ => Err(Stop::Inconclusive(words)),
        }
    }

    fn words(&self, outcome: &Outcome, after: Counters) -> Option<String> {
        let met = self.take();
        let killed = if let (Some(before), Some(after)) = (self.before.killed, after.killed) {
            after > before
        } else {
            // A kill by the OOM killer elsewhere on this host does not matter, unless a process of
            // the check's own is gone.
            let is_missed = met.is_some() || self.lost.load(Ordering::Relaxed);
            is_missed && killed_on_host() > self.killed_on_host
        };
        match met {
            // It hit a helper or another process; or the program worked all the same.
            None | Some(Shortage::Processes(_)) if outcome.is_ok() => None,
            Some(Shortage::Memory(Some(limit))) => Some(format!(
                "the program used more than {} of memory, the suite's limit for a sandbox",
                needs::mebibytes(limit)
            )),
            Some(Shortage::Memory(None)) => Some(needs::out_of_memory()),
            Some(Shortage::Processes(Some(limit))) => Some(format!(
                "the kernel refused the program a process or thread: the suite's limit for a \
                 sandbox is {limit}"
            )),
            Some(Shortage::Processes(None)) => Some(needs::out_of_processes()),
            Some(Shortage::Killed) | None if killed => Some(needs::out_of_memory()),
            Some(Shortage::Killed) => Some(
                "something outside the suite ended the program with SIGKILL, which says nothing \
                 about the program"
                    .to_owned(),
            ),
            None if after.refused > self.before.refused => Some(needs::out_of_processes()),
            None => None,
        }
    }
}

/// Whether a shortage may explain this outcome.
pub fn may_explain(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Err(Stop::Fail(_) | Stop::NotRunning(_) | Stop::Ended(_) | Stop::Contradicted(_))
    )
}

/// Compares a check's outcome under limits that may have refused its programs something with its
/// outcome without them. The first stands where both are alike and the host, whose own limits
/// report as little, has enough.
///
/// # Errors
/// As the first, or [`Stop::Inconclusive`].
pub fn weigh(limited: Outcome, spared: Outcome, short: Option<String>) -> Outcome {
    let under_limits = match &limited {
        Err(stop) if may_explain(&limited) => stop.to_string(),
        _ => return limited,
    };
    let without = match spared {
        spared if may_explain(&spared) => match short {
            Some(short) => return Err(Stop::Inconclusive(short)),
            None => return limited,
        },
        Ok(_) => "it passed".to_owned(),
        Err(stop) => stop.to_string(),
    };
    Err(Stop::Inconclusive(format!(
        "limits on memory and processes may be why it did not pass ({under_limits}): here no \
         cgroup tells which process they refuse, and with higher limits {without}"
    )))
}

/// Processes that the OOM killer killed on this host, proc_vmstat(5), Linux 4.13.
fn killed_on_host() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Finding, Pass};

    const NONE: Counters = Counters {
        killed: Some(1),
        refused: 2,
    };

    fn failed() -> Outcome {
        Err(Stop::Fail(Finding::new("it stays", "signaled 9")))
    }

    fn inconclusive(outcome: Outcome) -> String {
        match outcome {
            Err(Stop::Inconclusive(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_shortage_an_outcome_stands() {
        assert_eq!(Watch::begin(NONE).judge(failed(), NONE), failed());
        let pass: Outcome = Ok(Pass::new("it stays"));
        assert_eq!(Watch::begin(NONE).judge(pass.clone(), NONE), pass);
    }

    #[test]
    fn what_a_program_met_makes_every_outcome_inconclusive() {
        for outcome in [failed(), Ok(Pass::new("it ended"))] {
            let watch = Watch::begin(NONE);
            watch.note(Shortage::Memory(Some(512 << 20)));
            let why = inconclusive(watch.judge(outcome, NONE));
            assert!(why.contains("512 MiB"), "{why}");
        }
        let watch = Watch::begin(NONE);
        watch.note(Shortage::Processes(Some(72)));
        let pass: Outcome = Ok(Pass::new("it stays"));
        assert_eq!(watch.judge(pass.clone(), NONE), pass, "it did without");
        let watch = Watch::begin(NONE);
        watch.note(Shortage::Memory(Some(1)));
        assert_eq!(watch.take(), Some(Shortage::Memory(Some(1))));
        assert_eq!(watch.judge(failed(), NONE), failed(), "it is the verdict");
        let watch = Watch::begin(NONE);
        watch.note(Shortage::Processes(Some(72)));
        let why = inconclusive(watch.judge(failed(), NONE));
        assert!(why.contains("limit for a sandbox is 72"), "{why}");
        let watch = Watch::begin(NONE);
        watch.note(Shortage::Killed);
        let why = inconclusive(watch.judge(failed(), NONE));
        assert!(why.contains("outside the suite"), "{why}");
    }

    #[test]
    fn what_others_met_makes_what_did_not_pass_inconclusive() {
        let killed = Counters {
            killed: Some(2),
            ..NONE
        };
        let refused = Counters { refused: 3, ..NONE };
        for (after, word) in [(killed, "memory"), (refused, "processes")] {
            let why = inconclusive(Watch::begin(NONE).judge(failed(), after));
            assert!(why.contains(word), "{why}");
            let pass: Outcome = Ok(Pass::new("it stays"));
            assert_eq!(Watch::begin(NONE).judge(pass.clone(), after), pass);
        }
    }

    /// One that finds a process more killed on this host than there was.
    fn watch_on_busy_host() -> Watch {
        Watch {
            // Which is less than any number.
            killed_on_host: None,
            ..Watch::begin(Counters::default())
        }
    }

    #[test]
    fn whom_the_oom_killer_killed_elsewhere_is_no_concern_of_the_check() {
        let nothing = Counters::default();
        assert_eq!(watch_on_busy_host().judge(failed(), nothing), failed());
        let (lost, killed) = (watch_on_busy_host(), watch_on_busy_host());
        lost.lose();
        killed.note(Shortage::Killed);
        for watch in [lost, killed] {
            let why = inconclusive(watch.judge(failed(), nothing));
            assert!(why.contains("memory"), "{why}");
        }
        let lost = Watch::begin(nothing);
        lost.lose();
        assert_eq!(lost.judge(failed(), nothing), failed(), "nobody was killed");
    }

    #[test]
    fn what_is_inconclusive_anyway_says_of_a_shortage_once() {
        let judge = |why: &str| {
            let watch = Watch::begin(NONE);
            watch.note(Shortage::Killed);
            inconclusive(watch.judge(Err(Stop::Inconclusive(why.to_owned())), NONE))
        };
        let both = judge("too slow");
        assert!(both.starts_with("too slow; something outside"), "{both}");
        assert_eq!(judge(&both), both);
        let watch = Watch::begin(NONE);
        watch.note(Shortage::Killed);
        let skipped: Outcome = Err(Stop::Skip("not here".to_owned()));
        assert_eq!(watch.judge(skipped.clone(), NONE), skipped);
    }

    #[test]
    fn what_passes_with_more_is_left_open_and_nothing_else() {
        let pass: Outcome = Ok(Pass::new("it stays"));
        let why = inconclusive(weigh(failed(), pass.clone(), None));
        assert!(why.contains("no cgroup tells"), "{why}");
        assert!(why.contains("observed signaled 9"), "{why}");
        let why = inconclusive(weigh(
            failed(),
            Err(Stop::Error("the host broke".to_owned())),
            None,
        ));
        assert!(why.contains("the host broke"), "{why}");
        let differs: Outcome = Err(Stop::Contradicted("it rests, and ended".to_owned()));
        let why = inconclusive(weigh(differs.clone(), pass.clone(), None));
        assert!(why.contains("no cgroup tells"), "{why}");
        assert_eq!(weigh(differs.clone(), differs.clone(), None), differs);
        assert_eq!(weigh(failed(), failed(), None), failed());
        assert_eq!(weigh(pass.clone(), failed(), None), pass);
        let short = Some("too few processes".to_owned());
        let why = inconclusive(weigh(failed(), failed(), short.clone()));
        assert!(why.contains("too few processes"), "{why}");
        assert_eq!(weigh(pass.clone(), failed(), short), pass);
    }
}
