//! In which kind of system call a thread waits, by its number in /proc; the same number means
//! another call in a program of another architecture.

use std::os::unix::fs::FileExt as _;

use nix::libc;

use super::{Context, proc};
use crate::need::Needs;
use crate::seccomp::Abi;
use crate::subject::Platform;

/// The system call in which a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It takes signals.
    Takes,
    /// It sleeps for a given time.
    Timed,
    /// It awaits another thread.
    Futex,
    /// It makes a process, and may wait for that to execute or to end (vfork(2)).
    Forks,
    Other,
    /// It does not wait, whatever its state says.
    None,
    /// The kernel does not tell.
    Unknown,
}

/// Which calls the numbers of system calls stand for.
#[derive(Clone, Copy)]
pub(super) enum Calls {
    /// The calls that matter to the suite.
    Own,
    Of(&'static Abi),
}

impl Calls {
    /// Of what the kernel runs: the program, or the host's emulator that runs it.
    pub(super) fn of_program(context: &Context<'_>) -> Self {
        if context.offers(Needs::NATIVE) {
            Self::of_platform(&context.subject().platform)
        } else {
            Self::Own
        }
    }

    fn of_platform(platform: &Platform) -> Self {
        let architecture = platform.normal().architecture;
        if architecture == Platform::host().architecture {
            return Self::Own;
        }
        Abi::of_programs(&architecture).map_or(Self::Own, Self::Of)
    }

    /// In which one this thread waits.
    pub(super) fn of(self, pid: i32, tid: i32) -> Call {
        let line = proc::read_of(pid, tid, "syscall");
        match line
            .as_deref()
            .map(|line| line.split_ascii_whitespace().next())
        {
            Ok(Some("running")) => Call::None,
            Ok(Some(number)) => number
                .parse()
                .map_or(Call::Unknown, |number| self.kind(number)),
            Ok(None) | Err(_) => Call::Unknown,
        }
    }

    /// The signals that a thread awaits in its call, which its mask does not show; `None` where they
    /// cannot be read.
    pub(super) fn awaited(self, pid: i32, tid: i32) -> Option<u64> {
        let path = format!("/proc/{pid}/mem");
        let line = proc::read_of(pid, tid, "syscall").ok()?;
        let mut words = line.split_ascii_whitespace();
        match self.kind(words.next()?.parse().ok()?) {
            Call::Takes => {}
            Call::None | Call::Unknown => return None,
            Call::Timed | Call::Futex | Call::Forks | Call::Other => return Some(0),
        }
        // rt_sigtimedwait(2): the first argument is where the set is.
        let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        let mut set = [0; size_of::<u64>()];
        let memory = std::fs::File::open(path).ok()?;
        memory.read_exact_at(&mut set, address).ok()?;
        let is_same = proc::read_of(pid, tid, "syscall").is_ok_and(|now| now == line);
        is_same.then(|| u64::from_ne_bytes(set))
    }

    fn kind(self, number: libc::c_long) -> Call {
        match self {
            Self::Own => match number {
                libc::SYS_rt_sigtimedwait => Call::Takes,
                libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Call::Timed,
                libc::SYS_futex => Call::Futex,
                libc::SYS_clone | libc::SYS_clone3 => Call::Forks,
                #[cfg(target_arch = "x86_64")]
                libc::SYS_vfork => Call::Forks,
                _ => Call::Other,
            },
            Self::Of(abi) => match u64::try_from(number).ok().and_then(|it| abi.name(it)) {
                Some("rt_sigtimedwait" | "rt_sigtimedwait_time64") => Call::Takes,
                Some("nanosleep" | "clock_nanosleep" | "clock_nanosleep_time64") => Call::Timed,
                Some("futex" | "futex_time64") => Call::Futex,
                Some("clone" | "clone3" | "vfork") => Call::Forks,
                _ => Call::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{SigSet, Signal};
    use rstest::rstest;

    use super::*;
    use crate::signal;

    fn calls(name: &str) -> Calls {
        Calls::of_platform(&name.parse().expect("a platform"))
    }

    /// As linux/arch/x86/entry/syscalls and linux/arch/arm/tools have them.
    #[rstest]
    #[case(177, Call::Takes)]
    #[case(421, Call::Takes)]
    #[case(162, Call::Timed)]
    #[case(407, Call::Timed)]
    #[case(240, Call::Futex)]
    #[case(422, Call::Futex)]
    #[case(120, Call::Forks)]
    #[case(190, Call::Forks)]
    #[case(435, Call::Forks)]
    #[case(128, Call::Other)]
    #[case(-1, Call::Other)]
    fn the_numbers_of_32_bits_mean_what_they_mean_there(
        #[case] number: libc::c_long,
        #[case] call: Call,
    ) {
        for name in ["linux/386", "linux/arm/v7"] {
            if Platform::host()
                .accepts(&name.parse().expect("a platform"))
                .is_none()
            {
                assert_eq!(calls(name).kind(number), call, "{name}");
            }
        }
    }

    #[test]
    fn what_a_thread_awaits_is_read_from_its_call() {
        let (tell, told) = std::sync::mpsc::channel();
        // It waits until the tests end.
        std::thread::spawn(move || {
            let mut set = SigSet::empty();
            set.add(Signal::SIGUSR2);
            set.add(Signal::SIGCHLD);
            set.thread_block().expect("a mask");
            tell.send(nix::unistd::gettid()).expect("it is received");
            while set.wait().is_ok() {}
        });
        let (own, tid) = (std::process::id() as i32, told.recv().expect("it starts"));
        let awaited = loop {
            let awaited = Calls::Own.awaited(own, tid.as_raw());
            if awaited.is_some_and(|set| set != 0) {
                break awaited;
            }
            std::thread::yield_now();
        };
        let wanted = signal::bit(libc::SIGUSR2) | signal::bit(libc::SIGCHLD);
        assert_eq!(awaited, Some(wanted));
    }

    #[test]
    fn a_program_of_the_host_has_the_numbers_of_the_suite() {
        let own = Calls::of_platform(&Platform::host());
        assert!(matches!(own, Calls::Own));
        assert_eq!(own.kind(libc::SYS_rt_sigtimedwait), Call::Takes);
        assert_eq!(own.kind(libc::SYS_clock_nanosleep), Call::Timed);
        assert_eq!(own.kind(libc::SYS_futex), Call::Futex);
        assert_eq!(own.kind(libc::SYS_clone), Call::Forks);
        assert_eq!(own.kind(libc::SYS_ppoll), Call::Other);
    }
}
