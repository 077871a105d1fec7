//! What a backend and its host offer, a bit each.

bitflags::bitflags! {
    /// What can be done to a pause process, and seen of it, on this host.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u64 {
        /// A sandbox can be run.
        const SANDBOX = 1;
        /// The probe can enter a sandbox.
        const PROBE = 1 << 1;
        /// The program runs on the processor itself, not under an emulator.
        const NATIVE = 1 << 2;
        /// `/proc` of the pause process can be read from outside.
        const HOST_PID = 1 << 3;
        /// The sandbox has a network namespace of its own.
        const NETWORK = 1 << 4;
        /// A memory limit can be set (memory cgroup).
        const MEMORY_LIMIT = 1 << 5;
        /// A limit on processes can be set (pids cgroup).
        const PIDS_LIMIT = 1 << 6;
        /// A seccomp filter can be installed.
        const SECCOMP = 1 << 7;
        /// The process can be traced.
        const TRACE = 1 << 8;
        /// A user namespace with 65536 mapped ids can be made.
        const ID_RANGE = 1 << 9;
        /// A user namespace can be made.
        const USER_NAMESPACE = 1 << 10;
        /// A time namespace can be made.
        const TIME_NAMESPACE = 1 << 11;
        /// A cgroup namespace can be made.
        const CGROUP_NAMESPACE = 1 << 12;
        /// The process can be started without a pid namespace of its own.
        const HOST_PID_NAMESPACE = 1 << 13;
        /// A sandbox can be held before its program is executed, and entered meanwhile.
        const HELD = 1 << 14;
        /// POSIX message queues can be mounted.
        const MQUEUE = 1 << 15;
        /// The kernel reports reaping on a pidfd (Linux 6.9).
        const PIDFD_HUP = 1 << 16;
        /// A signal that the program leaves to its default action does nothing to it as process 1,
        /// as in the kernel.
        const DEFAULT_ACTIONS = 1 << 17;
        /// The program can leave the namespaces that it was started in.
        const CAN_UNSHARE = 1 << 18;
        /// A sandbox has a /proc of its own.
        const SANDBOX_PROC = 1 << 19;
        /// Programs can be run on the oldest processor of their architecture, in software.
        const BASELINE = 1 << 20;
        /// SA_NOCLDSTOP works: the program gets no SIGCHLD for stopped children where it asks for
        /// none.
        const NOCLDSTOP = 1 << 21;
        /// This program itself can be executed in a sandbox and beside one.
        const SELF_EXEC = 1 << 22;
        /// The program can be followed from system call to system call, and set back right
        /// before one.
        const STEP = 1 << 23;
        /// A sandbox that is held executes its program as soon as it is told to.
        const EXEC_ON_ORDER = 1 << 24;
        /// What the program writes to its standard streams reaches the suite.
        const OUTPUT = 1 << 25;
        /// The program can be given arguments.
        const ARGUMENTS = 1 << 26;
        /// The program can be run as any user and group.
        const USER = 1 << 27;
        /// The root can be writable.
        const WRITABLE_ROOT = 1 << 28;
        /// The root can be the image's files alone: no /proc, no /dev.
        const BARE_ROOT = 1 << 29;
        /// A standard stream can be a broken pipe, or a full one.
        const STREAMS = 1 << 30;
        /// A standard stream can be closed.
        const CLOSED_STREAMS = 1 << 31;
        /// Signals can be blocked, or ignored, when the program is executed.
        const DISPOSITIONS = 1 << 32;
        /// The program can be started with empty capability sets and no_new_privs.
        const NO_PRIVILEGES = 1 << 33;
        /// No other process on the host holds the mounts of a sandbox.
        const OWN_MOUNTS = 1 << 34;
        /// An end right after the start is seen.
        const QUICK_END = 1 << 35;
        /// What makes a sandbox also makes the containers of its pod, and stops it.
        const ENGINE = 1 << 36;
        /// The standard input can be an open pipe.
        const INPUT = 1 << 37;
    }
}

impl Features {
    /// What every backend gives that makes sandboxes at all and runs the host's own programs.
    pub const OF_ALL: Self = Self::SANDBOX
        .union(Self::PROBE)
        .union(Self::NATIVE)
        .union(Self::DEFAULT_ACTIONS)
        .union(Self::CAN_UNSHARE)
        .union(Self::NOCLDSTOP)
        .union(Self::HOST_PID)
        .union(Self::NETWORK)
        .union(Self::HOST_PID_NAMESPACE)
        .union(Self::INPUT)
        .union(Self::OUTPUT)
        .union(Self::ARGUMENTS)
        .union(Self::USER)
        .union(Self::WRITABLE_ROOT)
        .union(Self::NO_PRIVILEGES)
        .union(Self::OWN_MOUNTS)
        .union(Self::QUICK_END);

    /// How a program can be started, beyond what is usual. Where a backend cannot, a check that
    /// needs it says nothing of the program, and others do not wait for it.
    pub const OF_STARTS: Self = Self::HELD
        .union(Self::EXEC_ON_ORDER)
        .union(Self::INPUT)
        .union(Self::OUTPUT)
        .union(Self::ARGUMENTS)
        .union(Self::USER)
        .union(Self::WRITABLE_ROOT)
        .union(Self::BARE_ROOT)
        .union(Self::STREAMS)
        .union(Self::CLOSED_STREAMS)
        .union(Self::DISPOSITIONS)
        .union(Self::NO_PRIVILEGES)
        .union(Self::QUICK_END);
}
