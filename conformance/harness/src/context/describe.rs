//! What /proc says of a pause process, in words: evidence of a failure.

use procfs::process::Process;
use syscalls::Sysno;

use super::Pod;
use crate::signal;
use crate::subject::Platform;

impl Pod<'_> {
    /// One line of what /proc says of it.
    pub fn describe(&mut self) -> String {
        let pid = self.pid();
        let syscall = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let syscall = syscall
            .split_ascii_whitespace()
            .next()
            .unwrap_or("unknown")
            .to_owned();
        let syscall = match self.call_name(&syscall) {
            Some(name) => format!("{syscall} ({name})"),
            None => syscall,
        };
        match Process::new(pid).and_then(|process| process.status()) {
            Ok(status) => format!(
                "/proc/{pid}: state {}, in system call {syscall}, SigBlk {}, SigIgn {}, SigCgt {}, SigPnd {}",
                status.state,
                signals(status.sigblk),
                signals(status.sigign),
                signals(status.sigcgt),
                signals(status.shdpnd)
            ),
            Err(error) => format!("/proc/{pid}: {error}"),
        }
    }

    /// The name of a system call, where its number is one of this architecture's own.
    fn call_name(&self, number: &str) -> Option<&'static str> {
        let subject = self.context.subject().platform.normal().architecture;
        let is_own =
            subject == Platform::host().normal().architecture || self.context.emulation().is_some();
        let number: usize = number.parse().ok().filter(|_| is_own)?;
        Some(Sysno::new(number)?.name())
    }
}

/// A mask of signals as /proc shows it (proc_pid_status(5)), and their names.
fn signals(mask: u64) -> String {
    let is_in = |signal: &i32| mask & signal::bit(*signal) != 0;
    let mut names: Vec<_> = (1..signal::RT_FIRST)
        .filter(is_in)
        .map(signal::name)
        .collect();
    match (signal::RT_FIRST..=signal::RT_LAST).filter(is_in).count() {
        0 => {}
        1 => names.push("a real-time signal".to_owned()),
        more => names.push(format!("{more} real-time signals")),
    }
    match names[..] {
        [] => format!("{mask:016x}"),
        _ => format!("{mask:016x} ({})", names.join(" ")),
    }
}
