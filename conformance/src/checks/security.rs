//! The family `security`: a pause keeps nothing open, pins no mount, makes few system calls, and
//! does not spin where one is denied.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Pod, Traced, Watched, trace};
use crate::process::ExitStatus;
use crate::seccomp::{self, Abi};
use crate::signal;
use crate::subject;

/// What a pause keeps and asks for.
pub static FAMILY: Family = Family {
    name: "security",
    title: "what it keeps open, and which system calls it makes",
    checks: &[
        &NO_FDS,
        &CWD_ROOT,
        &SYSCALL_SURFACE,
        &DENIED_WAIT_NO_SPIN,
        &DENIED_EXIT,
    ],
};

/// A running program whose /proc the suite reads.
const SEEN: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::HOST_PID);

/// How long a program may take to react to a denied call: how much processor time that needs
/// depends on the processor.
const GRACE: Duration = Duration::from_millis(200);

/// How long it is watched after that.
const WINDOW: Duration = Duration::from_millis(700);

/// Processor time in that window that does not count as spinning: 5 %.
const BUDGET: Duration = Duration::from_millis(35);

/// How often a program that faults where a call is denied is started, to see what else it does.
const FAULTS: u32 = 16;

/// No check here needs a network.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

static NO_FDS: Check = Check {
    id: "security/no-fds",
    title: "it keeps no descriptor open beyond the standard streams",
    level: Level::Should,
    requirement: "The pause process SHOULD keep no descriptor of its own open beyond 0 to 2.",
    source: Source {
        title: "catatonit#12",
        url: "https://github.com/openSUSE/catatonit/issues/12",
    },
    advice: Advice::new(
        "A descriptor of pause is open in every pod for its whole life, and leads out of it where it was inherited.",
        "Close what you open, and what was inherited beyond 2.",
    )
    .as_in(&advice::FDS),
    needs: SEEN.union(Needs::NATIVE).union(Needs::WAITS),
    after: &[],
    run: no_fds,
};

fn no_fds(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_to_reap(spec())?;
    let kept = kept_open(&mut pod)?;
    ensure(kept.is_empty(), "none", kept.join(", "))?;
    if cx.offers(Needs::PROBE) && pod.reap_first_orphans()? {
        let kept = kept_open(&mut pod)?;
        let observed = || format!("{}, once it has reaped", kept.join(", "));
        ensure(kept.is_empty(), "none", observed())?;
    }
    if let Some(rested) = cx.rested()? {
        let kept = rested.after.descriptors;
        ensure(kept == 0, "none", format!("{kept}, after its work"))?;
    }
    Ok(Pass::new("none"))
}

/// Its descriptors beyond the standard streams.
fn kept_open(pod: &mut Pod<'_>) -> Result<Vec<String>, Stop> {
    let open = match pod.process()?.fd() {
        Ok(open) => open,
        Err(error) => {
            let error = std::io::Error::other(error);
            return Err(pod.harness_failed("list its descriptors", &error));
        }
    };
    Ok(open
        .flatten()
        .filter(|descriptor| descriptor.fd > 2)
        .map(|descriptor| {
            let target = format!("{:?}", descriptor.target);
            format!("{}: {}", descriptor.fd, subject::escape(target.as_bytes()))
        })
        .collect())
}

static CWD_ROOT: Check = Check {
    id: "security/cwd-root",
    title: "its working directory is the root",
    level: Level::Should,
    requirement: "The working directory of the pause process SHOULD be /, since any other pins the mount that it is on.",
    source: Source {
        title: "catatonit#28",
        url: "https://github.com/openSUSE/catatonit/issues/28",
    },
    advice: Advice::new(
        "A mount below the working directory cannot be unmounted while the pod lives.",
        "Leave the working directory as the runtime sets it, or change to /.",
    ),
    needs: SEEN.union(Needs::SANDBOX_PROC),
    after: &[],
    run: cwd_root,
};

fn cwd_root(cx: &Context<'_>) -> Outcome {
    use std::os::unix::fs::MetadataExt as _;

    let mut pod = cx.start(spec())?;
    let proc = PathBuf::from(format!("/proc/{}", pod.pid()));
    let identity = |name: &str| std::fs::metadata(proc.join(name)).map(|it| (it.dev(), it.ino()));
    match (identity("root"), identity("cwd")) {
        (Ok(root), Ok(cwd)) => ensure(root == cwd, "/", "another directory")?,
        (Err(error), _) | (_, Err(error)) => {
            return Err(pod.harness_failed("see its working directory", &error));
        }
    }
    Ok(Pass::new("/"))
}

/// What sound pauses call from exec to exit, C libraries and run-times included. A call that is not
/// listed opens, makes or changes something that a pause has no use for.
const ALLOWED: &[&str] = &[
    "arch_prctl",
    "brk",
    "chdir",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "clone",
    "clone3",
    "close",
    "close_range",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "execve",
    "exit",
    "exit_group",
    "fcntl",
    "fcntl64",
    "fstat",
    "fstat64",
    "futex",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "madvise",
    "mmap",
    "mmap2",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "pause",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "set_tls",
    "setsid",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "tgkill",
    "uname",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// What the loaders of dynamic programs (glibc's, musl's) call in addition, to find the libraries.
const LOADERS: &[&str] = &[
    "_llseek",
    "access",
    "faccessat",
    "faccessat2",
    "fstatat64",
    "getcwd",
    "getrlimit",
    "lseek",
    "lstat",
    "lstat64",
    "riscv_flush_icache",
    "riscv_hwprobe",
    "stat",
    "stat64",
    "statx",
    "ugetrlimit",
];

/// The same calls where numbers have 32 bits, in the old and the new spelling.
const OF_32_BITS: &[&str] = &[
    "cacheflush",
    "futex_time64",
    "getegid32",
    "geteuid32",
    "getgid32",
    "getuid32",
    "ppoll_time64",
    "rt_sigtimedwait_time64",
    "sigaction",
    "sigprocmask",
    "sigreturn",
    "sigsuspend",
    "waitpid",
];

/// Everything that passes.
fn allowed() -> impl Iterator<Item = &'static str> {
    [ALLOWED, LOADERS, OF_32_BITS]
        .into_iter()
        .flatten()
        .copied()
}

static SYSCALL_SURFACE: Check = Check {
    id: "security/syscall-surface",
    title: "it makes no system call that a pause has no use for",
    level: Level::Should,
    requirement: "From its start to its end by SIGTERM, the pause process SHOULD make only system calls that sound pauses make.",
    source: Source {
        title: "containerd#3820",
        url: "https://github.com/containerd/containerd/issues/3820",
    },
    advice: Advice::new(
        "The fewer calls a program makes, the tighter a seccomp profile can be, and the fewer faults of the kernel it reaches.",
        "Wait for signals, reap, exit; `strace -f` shows what else the program calls.",
    )
    .as_in(&advice::SMALL),
    needs: SEEN
        .union(Needs::NATIVE)
        .union(Needs::TRACE)
        .union(Needs::HELD),
    after: &["signals/term-exits-zero"],
    run: syscall_surface,
};

fn syscall_surface(cx: &Context<'_>) -> Outcome {
    // A crash does not end process 1 while it is traced (kernel/signal.c, SIGNAL_UNKILLABLE).
    drop(cx.start(spec())?);
    let mut pod = cx.start_unready(Spec {
        held: true,
        ..spec()
    })?;
    let mut called = BTreeSet::new();
    let term = |pod: &mut Pod<'_>| pod.signal(signal::TERM);
    let ended = trace(cx, &mut pod, term, |call| {
        called.insert(seccomp::name_of(call));
    })?;
    match ended {
        Traced::Ended { ready: true, .. } => {}
        Traced::Ended { status, .. } => {
            return Err(Stop::NotRunning(Finding::new(
                "the program runs until SIGTERM",
                format!("{status} while it was traced"),
            )));
        }
        Traced::Stays => {
            return Err(Stop::Inconclusive(
                "the traced program neither became ready nor ended".to_owned(),
            ));
        }
    }
    cx.measure_names("system_calls", called.iter().cloned().collect());
    let strange: Vec<&str> = called
        .iter()
        .map(String::as_str)
        .filter(|name| allowed().all(|allowed| allowed != *name))
        .collect();
    let all = called
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if strange.is_empty() {
        return Ok(Pass::new(all));
    }
    Err(pod
        .finding(
            "only system calls that sound pauses make".to_owned(),
            strange.join(", "),
        )
        .with(format!("all that were seen: {all}"))
        .with(format!(
            "the list: {}",
            allowed().collect::<Vec<_>>().join(", ")
        ))
        .into())
}

static DENIED_WAIT_NO_SPIN: Check = Check {
    id: "security/denied-wait-no-spin",
    title: "it does not spin where its wait is denied",
    level: Level::Should,
    requirement: "The pause process SHOULD use at most 5 % of a processor where the system call that it waits in is denied.",
    source: Source {
        title: "kubernetes#84623",
        url: "https://github.com/kubernetes/kubernetes/issues/84623",
    },
    advice: Advice::new(
        "Under a seccomp profile that denies the call, every pod takes a whole processor.",
        "Look at the error of the wait: where it is not EINTR, exit.",
    )
    .as_in(&advice::WAIT),
    needs: SEEN
        .union(Needs::NATIVE)
        .union(Needs::SECCOMP)
        .union(Needs::WAITS),
    after: &[],
    run: denied_wait,
};

fn denied_wait(cx: &Context<'_>) -> Outcome {
    let pod = cx.start(spec())?;
    let number = match waits_in(&pod) {
        Some(Waits::In(number)) => number,
        Some(Waits::Nowhere) if cx.is_never_ready() => {
            let reason = "the program never sleeps, so there is no wait to deny";
            return Err(Stop::Skip(reason.to_owned()));
        }
        Some(Waits::Nowhere) | None => {
            return Err(Stop::Inconclusive(
                "the kernel does not tell in which system call it waits".to_owned(),
            ));
        }
    };
    drop(pod);
    let abi = Abi::of_programs(&cx.subject().platform.normal().architecture);
    let Some(name) = abi.and_then(|abi| abi.name(number)) else {
        return Err(Stop::Inconclusive(format!(
            "it waits in system call {number}, whose name is not known"
        )));
    };
    let (mut pod, watched) = watch_denied(cx, name)?;
    match watched {
        Watched::Busy(used) => {
            let state = pod.describe();
            Err(pod
                .finding(
                    format!(
                        "at most {BUDGET:?} of processor time in {WINDOW:?} with {name} denied"
                    ),
                    format!("{used:.1?} and more"),
                )
                .with(state)
                .into())
        }
        Watched::Idle(used) => {
            if waits_in(&pod) == Some(Waits::In(number)) {
                return Err(Stop::Error(format!("{name} was not denied")));
            }
            Ok(Pass::new(format!(
                "with {name} denied it slept; {used:.1?} of processor time"
            )))
        }
        Watched::Ended(status) => Ok(Pass::new(format!("with {name} denied: {status}"))),
    }
}

/// Watches the program with this system call denied. Where it faults it is started again: one that
/// takes no notice of the error goes on with a value that nothing wrote, and spins or faults as its
/// memory lies (dumb-init faults in one start of five).
fn watch_denied<'a>(cx: &'a Context<'_>, name: &'static str) -> Result<(Pod<'a>, Watched), Stop> {
    let mut left = FAULTS;
    loop {
        let mut pod = cx.start_unready(Spec {
            seccomp: Some(seccomp::deny([name])?),
            ..spec()
        })?;
        let watched = watch(&mut pod)?;
        left -= 1;
        let faulted = matches!(
            watched,
            Watched::Ended(ExitStatus::Signaled(signal::SEGV | signal::BUS))
        );
        if left == 0 || !faulted {
            return Ok((pod, watched));
        }
    }
}

/// Watches a program to which a system call is denied.
fn watch(pod: &mut Pod<'_>) -> Result<Watched, Stop> {
    if let ended @ Watched::Ended(_) = pod.watch_use(GRACE, Duration::MAX, Duration::ZERO)? {
        return Ok(ended);
    }
    let since = match pod.processor_time() {
        // It is ending: watching it sees how.
        Err(Stop::NotRunning(_)) => Duration::ZERO,
        since => since?,
    };
    pod.watch_use(WINDOW, BUDGET, since)
}

/// Where a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// In this system call.
    In(u64),
    /// It has a processor, or awaits one.
    Nowhere,
}

/// Where its first thread waits, as far as the kernel tells (proc_pid_syscall(5)).
fn waits_in(pod: &Pod<'_>) -> Option<Waits> {
    let line = std::fs::read_to_string(format!("/proc/{}/syscall", pod.pid())).ok()?;
    match line.split_ascii_whitespace().next()? {
        "running" => Some(Waits::Nowhere),
        number => number.parse().ok().map(Waits::In),
    }
}

static DENIED_EXIT: Check = Check {
    id: "security/denied-exit",
    title: "it does not spin where its exit is denied",
    level: Level::Should,
    requirement: "The pause process SHOULD end or sleep, and use at most 5 % of a processor, where exit and exit_group are denied.",
    source: Source {
        title: "kubernetes#85191",
        url: "https://github.com/kubernetes/kubernetes/issues/85191",
    },
    advice: Advice::new(
        "Under a seccomp profile that denies the call, a pod that ends takes a whole processor.",
        "Do not call exit in a loop without an end; let a trap instruction follow.",
    ),
    needs: SEEN
        .union(Needs::NATIVE)
        .union(Needs::SECCOMP)
        .union(Needs::WAITS),
    after: &["signals/term-exits-zero"],
    run: denied_exit,
};

fn denied_exit(cx: &Context<'_>) -> Outcome {
    let filter = seccomp::deny(["exit", "exit_group"])?;
    // A program that always ends by itself does not end here, which shows nothing.
    drop(cx.start(spec())?);
    let mut pod = cx.start(Spec {
        seccomp: Some(filter),
        ..spec()
    })?;
    pod.signal(signal::TERM)?;
    match watch(&mut pod)? {
        Watched::Busy(used) => {
            let state = pod.describe();
            Err(pod
                .finding(
                    format!("at most {BUDGET:?} of processor time in {WINDOW:?} after SIGTERM"),
                    format!("{used:.1?} and more"),
                )
                .with(state)
                .into())
        }
        Watched::Idle(used) => Ok(Pass::new(format!(
            "it sleeps; {used:.1?} of processor time"
        ))),
        Watched::Ended(ExitStatus::Exited(status)) => {
            Err(Stop::Error(format!("it exited {status}, which was denied")))
        }
        Watched::Ended(status) => Ok(Pass::new(status.to_string())),
    }
}
