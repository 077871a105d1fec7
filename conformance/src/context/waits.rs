//! In which kind of system call a thread waits, by its number in /proc; the same number means
//! another call in a program of another architecture.

use nix::libc;

use super::Context;
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
        let line = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"));
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

    fn kind(self, number: libc::c_long) -> Call {
        match self {
            Self::Own => match number {
                libc::SYS_rt_sigtimedwait => Call::Takes,
                libc::SYS_nanosleep | libc::SYS_clock_nanosleep => Call::Timed,
                libc::SYS_futex => Call::Futex,
                _ => Call::Other,
            },
            Self::Of(abi) => match u64::try_from(number).ok().and_then(|it| abi.name(it)) {
                Some("rt_sigtimedwait" | "rt_sigtimedwait_time64") => Call::Takes,
                Some("nanosleep" | "clock_nanosleep" | "clock_nanosleep_time64") => Call::Timed,
                Some("futex" | "futex_time64") => Call::Futex,
                _ => Call::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

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
    fn a_program_of_the_host_has_the_numbers_of_the_suite() {
        let own = Calls::of_platform(&Platform::host());
        assert!(matches!(own, Calls::Own));
        assert_eq!(own.kind(libc::SYS_rt_sigtimedwait), Call::Takes);
        assert_eq!(own.kind(libc::SYS_clock_nanosleep), Call::Timed);
        assert_eq!(own.kind(libc::SYS_futex), Call::Futex);
        assert_eq!(own.kind(libc::SYS_ppoll), Call::Other);
    }
}
