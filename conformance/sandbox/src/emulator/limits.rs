//! What an emulator cannot show, as data: which checks are skipped under it, and why.
//!
//! Measured with QEMU 7.2 unless a row says otherwise. Other limits show when known programs are
//! run (`calibration`): the check is inconclusive then, not skipped.

use crate::Features;

/// One difference between an emulator and the processor.
#[derive(Debug)]
pub struct Limit {
    /// It concerns the checks that need one of these.
    pub needs: Features,
    /// What happens to these checks.
    pub effect: Effect,
    /// The first release without it; none is known where there is no number.
    pub fixed: Option<(u32, u32)>,
    /// The words behind "the program runs under EMULATOR"; nothing more to say where empty.
    pub why: &'static str,
}

/// What happens to the checks that a limit concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They are skipped: neither right nor wrong shows.
    Hides,
    /// They are run; a failure may be the emulator's, and is inconclusive.
    Doubts,
}

/// The table. Beside it, and met by the way in which programs are run and not by a row: the
/// emulator is slow to start (a signal before it has is lost), it makes up some files of
/// /proc for the program, and ends a program by its own signals.
pub static LIMITS: &[Limit] = &[
    Limit {
        needs: Features::NATIVE,
        effect: Effect::Hides,
        fixed: None,
        // Memory, threads, signal masks, executable, descriptors, clock: proc(5) tells of
        // the process that the kernel knows.
        why: "",
    },
    Limit {
        needs: Features::TRACE,
        effect: Effect::Hides,
        fixed: None,
        // Its system calls are the emulator's, and more than the program's.
        why: "",
    },
    Limit {
        needs: Features::DEFAULT_ACTIONS,
        effect: Effect::Hides,
        fixed: None,
        // It takes every signal first, and ends itself by those that the program does not
        // handle. The kernel spares it as process 1, but it has stopped by then: it waits in
        // sigsuspend(2) for an end that does not come.
        why: "",
    },
    Limit {
        needs: Features::CAN_UNSHARE,
        effect: Effect::Hides,
        fixed: None,
        // unshare(2) fails, since it has threads of its own.
        why: "which lets no program leave its namespaces, so it does not show whether one would",
    },
    Limit {
        needs: Features::HOST_PID_NAMESPACE,
        effect: Effect::Doubts,
        fixed: None,
        // prctl(PR_SET_CHILD_SUBREAPER) fails with EINVAL, by which catatonit ends.
        why: "which lets no program become a subreaper, as one that is not process 1 may have to",
    },
    Limit {
        needs: Features::NOCLDSTOP,
        effect: Effect::Doubts,
        fixed: None,
        // It installs its own handler, without that flag, and calls the program's each time.
        why: "which calls a handler with SA_NOCLDSTOP for stopped children all the same",
    },
];

/// The rows that hold for a release; all of them where it is not known.
pub fn of(release: Option<(u32, u32)>) -> impl Iterator<Item = &'static Limit> {
    LIMITS.iter().filter(move |limit| limit.holds(release))
}

impl Limit {
    fn holds(&self, release: Option<(u32, u32)>) -> bool {
        match (self.fixed, release) {
            (Some(fixed), Some(release)) => release < fixed,
            (None, _) | (_, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, Some((10, 0)), true)]
    #[case(Some((8, 1)), Some((7, 2)), true)]
    #[case(Some((8, 1)), Some((8, 1)), false)]
    #[case(Some((8, 1)), Some((10, 0)), false)]
    #[case(Some((8, 1)), None, true)]
    fn a_limit_holds_until_it_is_fixed(
        #[case] fixed: Option<(u32, u32)>,
        #[case] release: Option<(u32, u32)>,
        #[case] holds: bool,
    ) {
        let limit = Limit {
            needs: Features::NATIVE,
            effect: Effect::Hides,
            fixed,
            why: "",
        };
        assert_eq!(limit.holds(release), holds);
    }

    #[test]
    fn each_need_has_one_row() {
        let mut seen = Features::empty();
        for limit in LIMITS {
            assert!(!seen.intersects(limit.needs), "{:?}", limit.needs);
            seen |= limit.needs;
        }
    }
}
