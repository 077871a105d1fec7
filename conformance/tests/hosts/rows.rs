//! The rows: a variant and what is expected of it.

/// The container engine of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Docker,
    Podman,
    /// Podman of an ordinary user.
    Rootless,
    /// A pod of Kubernetes, as its CRI runtime makes one.
    Kubernetes,
}

/// The options that differ from the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Unconfined,
    /// No part of /proc is masked.
    Unmasked,
    Add(&'static str),
    Drop(&'static str),
    User(u32),
    ReadOnly,
    NoNewPrivileges,
    HostPid,
    Privileged,
    /// The limit of memory in MiB.
    Memory(u32),
    Processes(u32),
    /// `hostUsers: false`.
    OwnUsers,
}

/// One variant.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) of: Of,
    pub(crate) sets: &'static [Set],
    pub(crate) arguments: &'static [&'static str],
    pub(crate) status: i32,
    /// All of these words are in the output.
    pub(crate) words: &'static [&'static str],
}

const JUDGED: i32 = 0;
const REFUSED: i32 = 2;

/// The one hint that covers all of Docker's defaults.
const DEFAULTS: &[&str] = &[
    "a seccomp filter refuses it",
    "docker run: --security-opt seccomp=unconfined --security-opt systempaths=unconfined;",
    "podman run: --security-opt seccomp=unconfined --security-opt unmask=ALL;",
    "seccompProfile: {type: Unconfined}, procMount: Unmasked (with hostUsers: false)",
    "--static-only judges what needs no sandbox",
];
const ROOTLESS: &[&str] = &["embedded (rootless)", "conformant"];
const NO_PROC: &[&str] = &[
    "embedded (rootless, no /proc)",
    "this host lets no sandbox mount /proc: reaping/stopped-child",
    "conformant",
];
const ROOT: &[&str] = &["embedded (root, user namespace)", "conformant"];
const SETFCAP: &[&str] = &[
    "map the caller's ids: operation not permitted: user 0 has no CAP_SETFCAP",
    "--cap-add SETFCAP (or --user 65534)",
];

const OPEN: [Set; 2] = [Set::Unconfined, Set::Unmasked];
const SYS_ADMIN: Set = Set::Add("SYS_ADMIN");
const SYS_PTRACE: Set = Set::Add("SYS_PTRACE");

/// A row of docker without restrictions but these.
macro_rules! open {
    ($name:literal, $words:expr, [$($set:expr),*]) => {
        row($name, Of::Docker, &[OPEN[0], OPEN[1], $($set),*], JUDGED, $words)
    };
}

const fn row(
    name: &'static str,
    of: Of,
    sets: &'static [Set],
    status: i32,
    words: &'static [&'static str],
) -> Row {
    Row {
        name,
        of,
        sets,
        arguments: &[],
        status,
        words,
    }
}

/// The output if nothing can be run, so that only files are judged.
const STATIC: Row = Row {
    arguments: &["--static-only"],
    ..row(
        "docker, --static-only",
        Of::Docker,
        &[],
        JUDGED,
        &["no sandbox (--static-only)", " --static-only)"],
    )
};

pub(crate) const ROWS: &[Row] = &[
    row("docker", Of::Docker, &[], REFUSED, DEFAULTS),
    row(
        "docker, user",
        Of::Docker,
        &[Set::User(1000)],
        REFUSED,
        DEFAULTS,
    ),
    STATIC,
    row(
        "docker, privileged",
        Of::Docker,
        &[Set::Privileged],
        JUDGED,
        ROOT,
    ),
    row(
        "docker, CAP_NET_ADMIN",
        Of::Docker,
        &[Set::Add("NET_ADMIN")],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "docker, CAP_SYS_PTRACE",
        Of::Docker,
        &[SYS_PTRACE],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "docker, CAP_SYS_ADMIN",
        Of::Docker,
        &[SYS_ADMIN],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "docker, unmasked",
        Of::Docker,
        &[Set::Unmasked],
        REFUSED,
        &["seccomp=unconfined"],
    ),
    row(
        "unconfined",
        Of::Docker,
        &[Set::Unconfined],
        JUDGED,
        NO_PROC,
    ),
    row(
        "unconfined, user",
        Of::Docker,
        &[Set::Unconfined, Set::User(1000)],
        JUDGED,
        NO_PROC,
    ),
    row(
        "unconfined, CAP_SYS_ADMIN",
        Of::Docker,
        &[Set::Unconfined, SYS_ADMIN],
        JUDGED,
        &["embedded (rootless, no /proc; as root: look into sandboxes without CAP_SYS_PTRACE"],
    ),
    row(
        "unconfined, root",
        Of::Docker,
        &[Set::Unconfined, SYS_ADMIN, SYS_PTRACE],
        JUDGED,
        ROOT,
    ),
    open!("open", ROOTLESS, []),
    open!("open, user", ROOTLESS, [Set::User(1000)]),
    open!(
        "open, user without capabilities",
        ROOTLESS,
        [Set::User(1000), Set::Drop("ALL")]
    ),
    open!("open, read-only", ROOTLESS, [Set::ReadOnly]),
    open!("open, no new privileges", ROOTLESS, [Set::NoNewPrivileges]),
    open!("open, pids of the host", ROOTLESS, [Set::HostPid]),
    open!("open, 512 MiB", ROOTLESS, [Set::Memory(512)]),
    open!("open, 512 processes", ROOTLESS, [Set::Processes(512)]),
    row(
        "open, 64 MiB",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Memory(64)],
        JUDGED,
        ROOTLESS,
    ),
    row(
        "open, 32 MiB",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Memory(32)],
        REFUSED,
        &[
            "too little memory: ",
            " may be used here, a run needs about 100 MiB",
        ],
    ),
    row(
        "open, 100 processes",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Processes(100)],
        REFUSED,
        &[
            "too few processes: ",
            "a run needs about 2200 and at least 128",
        ],
    ),
    row(
        "open, 16 processes",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Processes(16)],
        REFUSED,
        &[
            "too few processes: ",
            "a run needs about 2200 and at least 128",
        ],
    ),
    open!("open, no CAP_CHOWN", ROOTLESS, [Set::Drop("CHOWN")]),
    open!(
        "open, no CAP_DAC_OVERRIDE",
        ROOTLESS,
        [Set::Drop("DAC_OVERRIDE")]
    ),
    open!("open, no CAP_FOWNER", ROOTLESS, [Set::Drop("FOWNER")]),
    open!("open, no CAP_FSETID", ROOTLESS, [Set::Drop("FSETID")]),
    open!("open, no CAP_KILL", ROOTLESS, [Set::Drop("KILL")]),
    open!("open, no CAP_MKNOD", ROOTLESS, [Set::Drop("MKNOD")]),
    open!(
        "open, no CAP_NET_BIND_SERVICE",
        ROOTLESS,
        [Set::Drop("NET_BIND_SERVICE")]
    ),
    open!("open, no CAP_NET_RAW", ROOTLESS, [Set::Drop("NET_RAW")]),
    open!("open, no CAP_SETGID", ROOTLESS, [Set::Drop("SETGID")]),
    open!("open, no CAP_SETPCAP", ROOTLESS, [Set::Drop("SETPCAP")]),
    open!("open, no CAP_SETUID", ROOTLESS, [Set::Drop("SETUID")]),
    open!(
        "open, no CAP_SYS_CHROOT",
        ROOTLESS,
        [Set::Drop("SYS_CHROOT")]
    ),
    open!(
        "open, CAP_DAC_READ_SEARCH",
        ROOTLESS,
        [Set::Add("DAC_READ_SEARCH")]
    ),
    open!("open, CAP_NET_ADMIN", ROOTLESS, [Set::Add("NET_ADMIN")]),
    open!("open, CAP_SYS_PTRACE", ROOTLESS, [SYS_PTRACE]),
    row(
        "open, no CAP_SETFCAP",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Drop("SETFCAP")],
        REFUSED,
        SETFCAP,
    ),
    row(
        "open, no capabilities",
        Of::Docker,
        &[OPEN[0], OPEN[1], Set::Drop("ALL")],
        REFUSED,
        SETFCAP,
    ),
    open!(
        "open, CAP_SYS_ADMIN",
        &["embedded (rootless; as root: look into sandboxes without CAP_SYS_PTRACE"],
        [SYS_ADMIN]
    ),
    open!("open, root", ROOT, [SYS_ADMIN, SYS_PTRACE]),
    open!(
        "open, root without CAP_SETUID",
        &["embedded (rootless; as root: map its ids: operation not permitted)"],
        [SYS_ADMIN, SYS_PTRACE, Set::Drop("SETUID")]
    ),
    open!(
        "open, root without CAP_SYS_CHROOT",
        &["embedded (rootless; as root: "],
        [SYS_ADMIN, SYS_PTRACE, Set::Drop("SYS_CHROOT")]
    ),
    open!(
        "open, root without CAP_DAC_OVERRIDE",
        &["embedded (rootless; as root: "],
        [SYS_ADMIN, SYS_PTRACE, Set::Drop("DAC_OVERRIDE")]
    ),
    // Its profile refuses only sethostname(2) and setns(2).
    row("podman", Of::Podman, &[], REFUSED, DEFAULTS),
    row(
        "podman, user",
        Of::Podman,
        &[Set::User(1000)],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "podman, CAP_SYS_ADMIN",
        Of::Podman,
        &[SYS_ADMIN],
        JUDGED,
        &["embedded (rootless, no /proc; as root: look into sandboxes without CAP_SYS_PTRACE"],
    ),
    row(
        "podman, root",
        Of::Podman,
        &[SYS_ADMIN, SYS_PTRACE],
        JUDGED,
        ROOT,
    ),
    row(
        "podman, unconfined",
        Of::Podman,
        &[Set::Unconfined],
        JUDGED,
        NO_PROC,
    ),
    row("podman, open", Of::Podman, &OPEN, JUDGED, ROOTLESS),
    row(
        "podman, open, user",
        Of::Podman,
        &[OPEN[0], OPEN[1], Set::User(1000)],
        JUDGED,
        ROOTLESS,
    ),
    row(
        "podman, privileged",
        Of::Podman,
        &[Set::Privileged],
        JUDGED,
        ROOT,
    ),
    row("rootless", Of::Rootless, &[], REFUSED, DEFAULTS),
    row(
        "rootless, user",
        Of::Rootless,
        &[Set::User(1000)],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "rootless, CAP_SYS_ADMIN",
        Of::Rootless,
        &[SYS_ADMIN],
        JUDGED,
        NO_PROC,
    ),
    row(
        "rootless, unconfined",
        Of::Rootless,
        &[Set::Unconfined],
        JUDGED,
        NO_PROC,
    ),
    row("rootless, open", Of::Rootless, &OPEN, JUDGED, ROOTLESS),
    row(
        "rootless, open, user",
        Of::Rootless,
        &[OPEN[0], OPEN[1], Set::User(1000)],
        JUDGED,
        ROOTLESS,
    ),
    row(
        "rootless, open, read-only",
        Of::Rootless,
        &[OPEN[0], OPEN[1], Set::ReadOnly],
        JUDGED,
        ROOTLESS,
    ),
    row(
        "rootless, open, no capabilities",
        Of::Rootless,
        &[OPEN[0], OPEN[1], Set::Drop("ALL")],
        REFUSED,
        SETFCAP,
    ),
    // Root of a user namespace is an ordinary user of the host.
    row(
        "rootless, privileged",
        Of::Rootless,
        &[Set::Privileged],
        JUDGED,
        ROOTLESS,
    ),
    row(
        "a pod, RuntimeDefault",
        Of::Kubernetes,
        &[],
        REFUSED,
        DEFAULTS,
    ),
    // As without a named profile, if the kubelet has no default.
    row("a pod", Of::Kubernetes, &[Set::Unconfined], JUDGED, NO_PROC),
    row(
        "a pod, privileged",
        Of::Kubernetes,
        &[Set::Privileged],
        JUDGED,
        ROOT,
    ),
    row(
        "a pod, Unconfined, SYS_ADMIN and SYS_PTRACE",
        Of::Kubernetes,
        &[Set::Unconfined, SYS_ADMIN, SYS_PTRACE],
        JUDGED,
        ROOT,
    ),
    row(
        "a restricted pod",
        Of::Kubernetes,
        &[
            Set::User(65534),
            Set::Drop("ALL"),
            Set::NoNewPrivileges,
            Set::ReadOnly,
        ],
        REFUSED,
        DEFAULTS,
    ),
    row(
        "a pod, Unconfined",
        Of::Kubernetes,
        &[Set::Unconfined, Set::User(65534), Set::Drop("ALL")],
        JUDGED,
        NO_PROC,
    ),
    row(
        "a pod, Unconfined and Unmasked, users of the host",
        Of::Kubernetes,
        &OPEN,
        JUDGED,
        ROOTLESS,
    ),
    row(
        "a pod, Unconfined and Unmasked",
        Of::Kubernetes,
        &[OPEN[0], OPEN[1], Set::OwnUsers],
        JUDGED,
        ROOTLESS,
    ),
];
