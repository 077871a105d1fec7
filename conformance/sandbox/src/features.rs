//! What a backend and its host offer, a bit each.

bitflags::bitflags! {
    /// What can be done to a pause process, and seen of it, on this host.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Features: u32 {
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
        /// The suite controls how the process starts: signal mask, dispositions, descriptors, root.
        const START_CONTROL = 1 << 14;
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
    }
}
