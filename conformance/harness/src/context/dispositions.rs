//! Which signals an emulated program does not leave to their default actions.
//!
//! The kernel spares process 1 a signal that it leaves to its default action. An emulator
//! handles them all: it ends itself by the default action, is spared, and waits for ever for
//! an end that does not come. A program that handles the signal and then ends itself by it
//! looks the same, and would have ended. The emulator's own trace of the program's system
//! calls tells them apart.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::libc;

use super::{Context, Pod};
use crate::backend::Spec;
use crate::outcome::Stop;
use crate::signal;

/// Has QEMU print the program's system calls to standard error.
const TRACE: &str = "QEMU_STRACE=1";

/// A program that prints nothing for this long is done with its start.
const STILL: Duration = Duration::from_millis(50);
/// The longest that a program takes for its start.
const STARTS: Duration = Duration::from_secs(2);
/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of the trace is read.
const ROOM: usize = 4 << 20;

/// Signals that QEMU prints by name; it prints the others as the program's own numbers,
/// which are not everywhere the host's.
const NAMED: [i32; 18] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGFPE,
    libc::SIGKILL,
    libc::SIGSEGV,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// What an emulated program has done about signals by the time that it waits.
#[derive(Clone, Debug)]
pub(super) struct Dispositions {
    /// As the emulator prints them; nothing where its trace does not tell.
    changed: Option<BTreeSet<String>>,
    /// How many of its threads wait in sigsuspend(2).
    pub(super) suspended: usize,
}

impl Dispositions {
    /// Whether it certainly leaves this signal to its default action.
    pub(super) fn leaves(&self, number: i32) -> bool {
        let Some(changed) = &self.changed else {
            return false;
        };
        if NAMED.contains(&number) {
            return !changed.contains(&signal::name(number));
        }
        // Any that is printed as a number may be this one.
        !changed.iter().any(|name| name.parse::<i32>().is_ok())
    }
}

impl Context<'_> {
    /// Of the program, found out once.
    pub(super) fn dispositions(&self) -> &Dispositions {
        self.shared.dispositions.get_or_init(|| {
            self.trace().unwrap_or(Dispositions {
                changed: None,
                suspended: 0,
            })
        })
    }

    fn trace(&self) -> Result<Dispositions, Stop> {
        let program = self.subject().program.as_ref();
        let mut env = program.map_or_else(|_| Vec::new(), |program| program.env.clone());
        env.push(TRACE.to_owned());
        let mut pod = self.start_unready(Spec {
            env: Some(env),
            own_network: false,
            ..Spec::default()
        })?;
        pod.keep_stderr(ROOM);
        let watch = pod.stopwatch();
        let mut length = 0;
        let is_whole = loop {
            let ended = pod.await_end(STILL)?.is_some();
            let now = pod.stderr().len();
            if ended || now >= ROOM || watch.wall() > self.scaled(PATIENCE) {
                break false;
            }
            // Some never stop, such as a program that wakes now and then.
            if now > 0 && (now == length || watch.elapsed() > self.scaled(STARTS)) {
                break true;
            }
            length = now;
        };
        Ok(Dispositions {
            changed: changed(&pod.stderr()).filter(|_| is_whole),
            suspended: pod.suspended(),
        })
    }
}

/// The signals whose actions are set in a trace, if it is whole as far as it tells.
fn changed(trace: &str) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    // Not line by line: threads print between each other's calls.
    for (at, _) in trace.match_indices('(') {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let before = trace[..at].trim_end_matches(is_name).len();
        let rest = &trace[at + 1..];
        let mut arguments = rest[..rest.find([')', '\n'])?].split(',');
        let (first, second) = (arguments.next(), arguments.next());
        match &trace[before..at] {
            "rt_sigaction" | "sigaction" if second != Some("NULL") => {
                found.insert(first?.to_owned());
            }
            // After the program closes standard error, nothing more is printed.
            "close" if first == Some("2") => return None,
            "dup2" | "dup3" if second == Some("2") => return None,
            "close_range" => return None,
            _ => {}
        }
    }
    Some(found)
}

impl Pod<'_> {
    /// How many of its threads wait in sigsuspend(2), as a process does that an emulator
    /// could not end.
    pub(super) fn suspended(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let number = libc::SYS_rt_sigsuspend.to_string();
        let waits = |task: &std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("syscall"))
                .is_ok_and(|call| call.split(' ').next() == Some(&number))
        };
        tasks.into_iter().flatten().flatten().filter(waits).count()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GO: &str = "\
1 rt_sigaction(SIGHUP,NULL,0x0000004000009778) = 0 ({sa_handler=SIG_DFL})
1 rt_sigaction(SIGHUP,0x0000004000009778,NULL) = 0
1 write(2,0xaa75,3)rt_sigaction(SIGTERM,0x1,NULL) = 3
1 rt_sigaction(SIGQUIT,NULL,0x1) = 0
1 futex(0x0000000000133da0,FUTEX_PRIVATE_FLAG|FUTEX_WAIT,0,NULL,NULL,0)1 rt_sigaction(SIGALRM,0x1,NULL) = 0
1 futex(0x0000000000133da0,FUTEX_PRIVATE_FLAG|FUTEX_WAIT,0,NULL,NULL,0)";

    #[rstest]
    #[case::handled(GO, libc::SIGHUP, false)]
    #[case::behind_the_call_of_another_thread(GO, libc::SIGALRM, false)]
    #[case::asked_for_alone(GO, libc::SIGQUIT, true)]
    #[case::never_named(GO, libc::SIGUSR1, true)]
    #[case::none_is_a_number(GO, libc::SIGSTKFLT, true)]
    #[case::one_is_a_number("1 rt_sigaction(29,0x1,NULL) = 0", libc::SIGSTKFLT, false)]
    #[case::no_trace_of_it("1 close(2) = 0", libc::SIGHUP, false)]
    #[case::another_instead("7 dup3(5,2,0) = 2", libc::SIGHUP, false)]
    #[case::another_descriptor("1 close(25) = 0", libc::SIGHUP, true)]
    fn a_trace_tells_what_is_left_to_the_kernel(
        #[case] trace: &str,
        #[case] number: i32,
        #[case] leaves: bool,
    ) {
        let dispositions = Dispositions {
            changed: changed(trace),
            suspended: 0,
        };
        assert_eq!(dispositions.leaves(number), leaves);
    }
}
