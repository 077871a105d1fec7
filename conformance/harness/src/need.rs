//! What a check needs: of the subject, of the host, and of the run; and how it is scheduled.

use std::ops::{BitOr, BitOrAssign, Sub};

use pause_image::Traits;
use pause_sandbox::Features;

bitflags::bitflags! {
    /// What the user asked for, and what this build of the suite can do.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Request: u8 {
        /// `--kubernetes` names a minor version.
        const KUBERNETES = 1;
        /// `--require-platform` names at least one platform.
        const REQUIRED_PLATFORMS = 1 << 1;
        /// `--long` is given.
        const LONG = 1 << 2;
        /// The subject can be run on a virtual clock, by a runtime that is built in.
        const VIRTUAL_CLOCK = 1 << 3;
    }
}

bitflags::bitflags! {
    /// How a check is scheduled. It never says whether the check applies.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Schedule: u8 {
        /// It takes long, if only to fail: start it early.
        const SLOW = 1;
        /// Run it alone, or its figures mean nothing.
        const EXCLUSIVE = 1 << 1;
        /// It mostly waits for a window to pass: start it early.
        const WAITS = 1 << 2;
        /// It says whether the program stays: where it fails, the ends that other checks saw say
        /// nothing.
        const GATE = 1 << 3;
    }
}

/// What a check needs, or what a subject, a backend and a run offer.
///
/// A check applies when everything it needs is offered. The runner computes that, so no
/// check asks which backend it is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs {
    /// Of the subject.
    pub subject: Traits,
    /// Of the backend and the host.
    pub host: Features,
    /// Of the user and this build.
    pub request: Request,
    /// A hint to the scheduler.
    pub schedule: Schedule,
}

/// Needs of one bit each.
impl Needs {
    /// See [`Traits::IMAGE`].
    pub const IMAGE: Self = Self::subject(Traits::IMAGE);
    /// See [`Traits::INDEX`].
    pub const INDEX: Self = Self::subject(Traits::INDEX);
    /// See [`Traits::WINDOWS`].
    pub const WINDOWS: Self = Self::subject(Traits::WINDOWS);
    /// See [`Traits::PROGRAM`].
    pub const PROGRAM: Self = Self::subject(Traits::PROGRAM);
    /// See [`Traits::ELF`].
    pub const ELF: Self = Self::subject(Traits::ELF);
    /// See [`Traits::LARGE_PAGES`].
    pub const LARGE_PAGES: Self = Self::subject(Traits::LARGE_PAGES);
    /// See [`Traits::VERSION`].
    pub const VERSION: Self = Self::subject(Traits::VERSION);
    /// See [`Traits::NATIVE_IMAGE`].
    pub const NATIVE_IMAGE: Self = Self::subject(Traits::NATIVE_IMAGE);
    /// See [`Traits::WASM`].
    pub const WASM: Self = Self::subject(Traits::WASM);
    /// See [`Traits::WASM_MODULE`].
    pub const WASM_MODULE: Self = Self::subject(Traits::WASM_MODULE);
    /// See [`Traits::WASM_COMPONENT`].
    pub const WASM_COMPONENT: Self = Self::subject(Traits::WASM_COMPONENT);
    /// See [`Traits::FILES`].
    pub const FILES: Self = Self::subject(Traits::FILES);
    /// See [`Features::SANDBOX`].
    pub const SANDBOX: Self = Self::host(Features::SANDBOX);
    /// See [`Features::PROBE`].
    pub const PROBE: Self = Self::host(Features::PROBE);
    /// See [`Features::NATIVE`].
    pub const NATIVE: Self = Self::host(Features::NATIVE);
    /// See [`Features::HOST_PID`].
    pub const HOST_PID: Self = Self::host(Features::HOST_PID);
    /// See [`Features::NETWORK`].
    pub const NETWORK: Self = Self::host(Features::NETWORK);
    /// See [`Features::MEMORY_LIMIT`].
    pub const MEMORY_LIMIT: Self = Self::host(Features::MEMORY_LIMIT);
    /// See [`Features::PIDS_LIMIT`].
    pub const PIDS_LIMIT: Self = Self::host(Features::PIDS_LIMIT);
    /// See [`Features::SECCOMP`].
    pub const SECCOMP: Self = Self::host(Features::SECCOMP);
    /// See [`Features::TRACE`].
    pub const TRACE: Self = Self::host(Features::TRACE);
    /// See [`Features::STEP`].
    pub const STEP: Self = Self::host(Features::STEP);
    /// See [`Features::ID_RANGE`].
    pub const ID_RANGE: Self = Self::host(Features::ID_RANGE);
    /// See [`Features::USER_NAMESPACE`].
    pub const USER_NAMESPACE: Self = Self::host(Features::USER_NAMESPACE);
    /// See [`Features::TIME_NAMESPACE`].
    pub const TIME_NAMESPACE: Self = Self::host(Features::TIME_NAMESPACE);
    /// See [`Features::CGROUP_NAMESPACE`].
    pub const CGROUP_NAMESPACE: Self = Self::host(Features::CGROUP_NAMESPACE);
    /// See [`Features::HOST_PID_NAMESPACE`].
    pub const HOST_PID_NAMESPACE: Self = Self::host(Features::HOST_PID_NAMESPACE);
    /// See [`Features::HELD`].
    pub const HELD: Self = Self::host(Features::HELD);
    /// See [`Features::EXEC_ON_ORDER`].
    pub const EXEC_ON_ORDER: Self = Self::host(Features::EXEC_ON_ORDER);
    /// See [`Features::OUTPUT`].
    pub const OUTPUT: Self = Self::host(Features::OUTPUT);
    /// See [`Features::ARGUMENTS`].
    pub const ARGUMENTS: Self = Self::host(Features::ARGUMENTS);
    /// See [`Features::USER`].
    pub const USER: Self = Self::host(Features::USER);
    /// See [`Features::WRITABLE_ROOT`].
    pub const WRITABLE_ROOT: Self = Self::host(Features::WRITABLE_ROOT);
    /// See [`Features::BARE_ROOT`].
    pub const BARE_ROOT: Self = Self::host(Features::BARE_ROOT);
    /// See [`Features::STREAMS`].
    pub const STREAMS: Self = Self::host(Features::STREAMS);
    /// See [`Features::CLOSED_STREAMS`].
    pub const CLOSED_STREAMS: Self = Self::host(Features::CLOSED_STREAMS);
    /// See [`Features::DISPOSITIONS`].
    pub const DISPOSITIONS: Self = Self::host(Features::DISPOSITIONS);
    /// See [`Features::NO_PRIVILEGES`].
    pub const NO_PRIVILEGES: Self = Self::host(Features::NO_PRIVILEGES);
    /// See [`Features::OWN_MOUNTS`].
    pub const OWN_MOUNTS: Self = Self::host(Features::OWN_MOUNTS);
    /// See [`Features::QUICK_END`].
    pub const QUICK_END: Self = Self::host(Features::QUICK_END);
    /// See [`Features::ENGINE`].
    pub const ENGINE: Self = Self::host(Features::ENGINE);
    /// See [`Features::INPUT`].
    pub const INPUT: Self = Self::host(Features::INPUT);
    /// See [`Features::MQUEUE`].
    pub const MQUEUE: Self = Self::host(Features::MQUEUE);
    /// See [`Features::PIDFD_HUP`].
    pub const PIDFD_HUP: Self = Self::host(Features::PIDFD_HUP);
    /// See [`Features::DEFAULT_ACTIONS`].
    pub const DEFAULT_ACTIONS: Self = Self::host(Features::DEFAULT_ACTIONS);
    /// See [`Features::CAN_UNSHARE`].
    pub const CAN_UNSHARE: Self = Self::host(Features::CAN_UNSHARE);
    /// See [`Features::SANDBOX_PROC`].
    pub const SANDBOX_PROC: Self = Self::host(Features::SANDBOX_PROC);
    /// See [`Features::BASELINE`].
    pub const BASELINE: Self = Self::host(Features::BASELINE);
    /// See [`Features::NOCLDSTOP`].
    pub const NOCLDSTOP: Self = Self::host(Features::NOCLDSTOP);
    /// The suite's own WASI host can be started in a sandbox and beside one.
    pub const WASI_HOST: Self = Self::host(Features::SELF_EXEC);
    /// See [`Request::KUBERNETES`].
    pub const KUBERNETES: Self = Self::request(Request::KUBERNETES);
    /// See [`Request::REQUIRED_PLATFORMS`].
    pub const REQUIRED_PLATFORMS: Self = Self::request(Request::REQUIRED_PLATFORMS);
    /// See [`Request::LONG`].
    pub const LONG: Self = Self::request(Request::LONG);
    /// See [`Request::VIRTUAL_CLOCK`].
    pub const VIRTUAL_CLOCK: Self = Self::request(Request::VIRTUAL_CLOCK);
    /// See [`Schedule::SLOW`].
    pub const SLOW: Self = Self::schedule(Schedule::SLOW);
    /// See [`Schedule::EXCLUSIVE`].
    pub const EXCLUSIVE: Self = Self::schedule(Schedule::EXCLUSIVE);
    /// See [`Schedule::WAITS`].
    pub const WAITS: Self = Self::schedule(Schedule::WAITS);
    /// See [`Schedule::GATE`].
    pub const GATE: Self = Self::schedule(Schedule::GATE);
}

impl Needs {
    /// What it takes to follow a program from system call to system call, from its exec on.
    pub const FOLLOWED: Self = Self::HOST_PID
        .union(Self::NATIVE)
        .union(Self::HELD)
        .union(Self::STEP);

    /// All hints to the scheduler.
    pub const HINTS: Self = Self::schedule(Schedule::all());

    const fn subject(subject: Traits) -> Self {
        let mut needs = Self::empty();
        needs.subject = subject;
        needs
    }

    const fn host(host: Features) -> Self {
        let mut needs = Self::empty();
        needs.host = host;
        needs
    }

    const fn request(request: Request) -> Self {
        let mut needs = Self::empty();
        needs.request = request;
        needs
    }

    const fn schedule(schedule: Schedule) -> Self {
        let mut needs = Self::empty();
        needs.schedule = schedule;
        needs
    }

    /// Nothing.
    pub const fn empty() -> Self {
        Self {
            subject: Traits::empty(),
            host: Features::empty(),
            request: Request::empty(),
            schedule: Schedule::empty(),
        }
    }

    /// Everything there is.
    pub const fn all() -> Self {
        Self {
            subject: Traits::all(),
            host: Features::all(),
            request: Request::all(),
            schedule: Schedule::all(),
        }
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            subject: self.subject.union(other.subject),
            host: self.host.union(other.host),
            request: self.request.union(other.request),
            schedule: self.schedule.union(other.schedule),
        }
    }

    /// Whether all of the other is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.subject.contains(other.subject)
            && self.host.contains(other.host)
            && self.request.contains(other.request)
            && self.schedule.contains(other.schedule)
    }

    /// Whether something is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.subject.intersects(other.subject)
            || self.host.intersects(other.host)
            || self.request.intersects(other.request)
            || self.schedule.intersects(other.schedule)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self == Self::empty()
    }

    /// Bit by bit.
    pub fn iter(self) -> impl Iterator<Item = Self> {
        let subject = self.subject.iter().map(Self::subject);
        let host = self.host.iter().map(Self::host);
        let request = self.request.iter().map(Self::request);
        let schedule = self.schedule.iter().map(Self::schedule);
        subject.chain(request).chain(host).chain(schedule)
    }
}

impl From<Traits> for Needs {
    fn from(traits: Traits) -> Self {
        Self::subject(traits)
    }
}

impl From<Features> for Needs {
    fn from(features: Features) -> Self {
        Self::host(features)
    }
}

impl BitOr for Needs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Needs {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl Sub for Needs {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            subject: self.subject - other.subject,
            host: self.host - other.host,
            request: self.request - other.request,
            schedule: self.schedule - other.schedule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Needs;

    #[test]
    fn a_set_is_the_sum_of_its_bits() {
        let all = Needs::all();
        assert_eq!(all.iter().fold(Needs::empty(), Needs::union), all);
        assert_eq!(all.iter().count(), 58);
        for bit in all.iter() {
            assert!(all.contains(bit) && !(all - bit).intersects(bit), "{bit:?}");
            assert!(!Needs::empty().contains(bit) && !bit.is_empty());
        }
    }
}
