//! Signals that have no effect. The kernel discards, when it is sent, a signal that process 1 of a
//! pid namespace neither handles nor blocks (pid_namespaces(7); `sig_ignored` in kernel/signal.c):
//! there is no answer to wait for.

use std::time::Duration;

use procfs::process::{Process, Status};

use super::waits::{Call, Calls};
use super::{Pod, Stopwatch};
use crate::need::Needs;
use crate::outcome::Stop;
use crate::process::ExitStatus;
use crate::signal;

/// Most programs answer within this time.
const AT_ONCE: Duration = Duration::from_millis(2);

/// How long, in time in which it can run, a program must be seen to leave a signal to the kernel:
/// one that blocks and awaits it by turns does not look so each time.
const SURE: Duration = Duration::from_millis(30);

/// The effect of a signal that is to end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its end.
    Ended(ExitStatus),
    /// None, ever: the kernel has discarded it.
    Discarded,
    /// None in the time that it had.
    None,
}

impl Answer {
    /// Its end, if it has ended.
    pub fn end(self) -> Option<ExitStatus> {
        match self {
            Self::Ended(status) => Some(status),
            Self::Discarded | Self::None => None,
        }
    }
}

impl Pod<'_> {
    /// As [`Pod::await_end`], but only for as long as a signal that it was sent may still end it.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn await_answer(&mut self, limit: Duration) -> Result<Answer, Stop> {
        let limit = self.context.scaled(limit);
        let sure = self.context.scaled(SURE);
        let watch = self.stopwatch();
        let mut first: Option<(Left, Stopwatch)> = None;
        loop {
            let left = watch.left(limit);
            if let Some(status) = self.await_end_unscaled(left.min(AT_ONCE))? {
                return Ok(Answer::Ended(status));
            }
            if left.is_zero() {
                return Ok(Answer::None);
            }
            let Some(now) = self.leaves_to_the_kernel() else {
                let ended = self.await_end_unscaled(watch.left(limit))?;
                return Ok(ended.map_or(Answer::None, Answer::Ended));
            };
            let (before, since) = first.get_or_insert_with(|| (now, self.stopwatch()));
            if since.elapsed() >= sure && now.is_sure(*before) {
                return Ok(Answer::Discarded);
            }
        }
    }

    /// Those of these signals that the kernel discards just now; none where it does not say.
    pub fn discarded(&self, numbers: &[i32]) -> Vec<i32> {
        let seen = self.context.offers(Needs::NATIVE).then(|| {
            let awaited = Calls::of_program(&self.context).awaited(self.pid(), self.pid())?;
            let status = Process::new(self.pid()).ok()?.status().ok()?;
            Some((awaited, status))
        });
        let Some((awaited, status)) = seen.flatten() else {
            return Vec::new();
        };
        let is_discarded = |number: &i32| {
            let bit = signal::bit(*number);
            awaited & bit == 0 && discards(&status, bit)
        };
        numbers.iter().copied().filter(is_discarded).collect()
    }

    /// Whether the kernel discards, just now, all that was sent to end the process.
    fn leaves_to_the_kernel(&self) -> Option<Left> {
        // The masks of an emulated program are the emulator's.
        if self.told == 0 || self.killed || !self.context.offers(Needs::NATIVE) {
            return None;
        }
        let calls = Calls::of_program(&self.context);
        // The signals that a thread awaits do not show in its mask.
        let call = calls.of(self.pid(), self.pid());
        let process = Process::new(self.pid()).ok()?;
        let status = process.status().ok()?;
        let ran = process.schedstat().ok()?.sum_exec_runtime;
        let is_known = !matches!(call, Call::Takes | Call::Unknown)
            && call == calls.of(self.pid(), self.pid());
        (is_known && discards(&status, self.told)).then(|| Left {
            is_asleep: status.state.starts_with('S') && call != Call::None,
            ran,
        })
    }
}

/// A program that leaves signals to the kernel, as it was seen once.
#[derive(Clone, Copy)]
struct Left {
    is_asleep: bool,
    /// Processor time of its first thread, in nanoseconds.
    ran: u64,
}

impl Left {
    /// One that wakes has, until it runs, the mask of the call in which it awaited signals.
    fn is_sure(self, before: Self) -> bool {
        self.is_asleep || self.ran > before.ran
    }
}

/// Whether the kernel discards each of these signals to a process, by its first thread.
fn discards(status: &Status, signals: u64) -> bool {
    let is_first = matches!(status.nspid.as_deref(), Some([_, .., 1]));
    let runs = status.state.starts_with(['R', 'S']);
    // A tracer would see them.
    let is_traced = status.tracerpid != 0;
    let taken = status.sigcgt | status.sigblk | status.sigpnd | status.shdpnd;
    is_first && runs && !is_traced && taken & signals == 0
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;
    use rstest::rstest;

    use super::*;
    use crate::signal::{CHLD, INT, TERM, bit};

    fn status(changes: &[(&str, &str)]) -> Status {
        let own = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
        let of_first = [
            ("State", "R (running)"),
            ("TracerPid", "0"),
            ("NSpid", "4242\t1"),
            ("SigPnd", "0000000000000000"),
            ("ShdPnd", "0000000000000000"),
            ("SigBlk", "0000000000000000"),
            ("SigIgn", "0000000000000000"),
            ("SigCgt", "0000000000000000"),
        ];
        let mut text = String::new();
        for line in own.lines() {
            let Some((name, value)) = line.split_once(":\t") else {
                continue;
            };
            let all = changes.iter().chain(&of_first);
            let value = all
                .into_iter()
                .find(|(it, _)| *it == name)
                .map_or(value, |(_, value)| value);
            text.extend([name, ":\t", value, "\n"]);
        }
        Status::from_read(text.as_bytes()).expect("a status")
    }

    #[rstest]
    #[case::asleep(true, 5, true)]
    #[case::has_run_since(false, 6, true)]
    #[case::awaits_a_processor(false, 5, false)]
    fn a_mask_is_its_own_where_it_sleeps_or_has_run(
        #[case] is_asleep: bool,
        #[case] ran: u64,
        #[case] wanted: bool,
    ) {
        let before = Left {
            is_asleep: false,
            ran: 5,
        };
        assert_eq!(Left { is_asleep, ran }.is_sure(before), wanted);
    }

    #[rstest]
    #[case::no_handler(&[], true)]
    #[case::asleep(&[("State", "S (sleeping)")], true)]
    #[case::ignored(&[("SigIgn", "0000000000004000")], true)]
    #[case::handler(&[("SigCgt", "0000000000004000")], false)]
    #[case::handler_of_another(&[("SigCgt", "0000000000010000")], true)]
    #[case::blocked(&[("SigBlk", "0000000000004000")], false)]
    #[case::pending(&[("ShdPnd", "0000000000004000")], false)]
    #[case::pending_for_the_thread(&[("SigPnd", "0000000000004000")], false)]
    #[case::traced(&[("TracerPid", "17")], false)]
    #[case::stopped(&[("State", "T (stopped)")], false)]
    #[case::dead(&[("State", "Z (zombie)")], false)]
    #[case::not_the_first(&[("NSpid", "4242\t7")], false)]
    #[case::the_first_of_the_host(&[("NSpid", "1")], false)]
    fn term_is_discarded_where_process_1_leaves_it_to_the_kernel(
        #[case] changes: &[(&str, &str)],
        #[case] is_discarded: bool,
    ) {
        assert_eq!(discards(&status(changes), bit(TERM)), is_discarded);
    }

    #[test]
    fn of_several_all_are_to_be_discarded() {
        let of_int = status(&[("SigCgt", "0000000000000002")]);
        assert!(discards(&of_int, bit(TERM) | bit(CHLD)));
        assert!(!discards(&of_int, bit(TERM) | bit(INT)));
    }
}
