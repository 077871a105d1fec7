//! The system calls that are left to the host from when it reads a module on: code that escapes
//! from the WASI runtime can open no file and no socket, start or signal no process, and map no
//! memory to execute.

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use syscalls::Sysno;

/// To sleep, to take signals and children, to read and write what is open, to have memory,
/// and to end. Some are there on some architectures only.
const ALLOWED: &[&str] = &[
    "accept4",
    "brk",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "exit",
    "exit_group",
    "futex",
    "getrandom",
    "madvise",
    "mremap",
    "munmap",
    "poll",
    "ppoll",
    "ppoll_time64",
    "read",
    "restart_syscall",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "sigreturn",
    "wait4",
    "write",
    "writev",
];

/// Allowed but for memory that can be executed, which their third argument says.
const DATA_ONLY: &[&str] = &["mmap", "mmap2", "mprotect"];

/// Confines this thread, for good. An architecture that the filter's compiler does not know,
/// and a kernel without filters, run the guest all the same: the sandbox around it stands.
pub(super) fn confine() -> Result<(), String> {
    let Some(filter) = filter()? else {
        return Ok(());
    };
    let failed = |error: io::Error| format!("seccomp: {error}");
    match seccompiler::apply_filter(&filter) {
        Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error))
            if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
        {
            Err(failed(error))
        }
        _ => Ok(()),
    }
}

fn filter() -> Result<Option<BpfProgram>, String> {
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(None);
    };
    let failed = |error: seccompiler::BackendError| format!("seccomp: {error}");
    let (executable, length) = (libc::PROT_EXEC as u64, SeccompCmpArgLen::Dword);
    let data = SeccompCondition::new(2, length, SeccompCmpOp::MaskedEq(executable), 0)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(failed)?;
    let number = |name: &&str| Some(i64::from(Sysno::from_str(name).ok()?.id()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(ALLOWED.iter().filter_map(number).map(|it| (it, Vec::new())));
    let data_only = DATA_ONLY.iter().filter_map(number);
    rules.extend(data_only.map(|it| (it, vec![data.clone()])));
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)
        .and_then(BpfProgram::try_from)
        .map(Some)
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::net::TcpListener;
    use std::process::Command;

    use nix::libc::{self, PROT_EXEC as EXECUTE, PROT_READ as READ};

    use super::confine;

    /// Whether the kernel gives a page with this protection, and lets it have `later`.
    #[expect(unsafe_code, reason = "no safe crate maps what can be executed")]
    fn try_page(protection: libc::c_int, later: libc::c_int) -> io::Result<()> {
        const LENGTH: usize = 4096;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping, wherever the kernel puts it.
        let page = unsafe { libc::mmap(nowhere, LENGTH, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is ours, and nothing is in it.
        let changed = unsafe { libc::mprotect(page, LENGTH, later) };
        let error = io::Error::last_os_error();
        // SAFETY: likewise; nothing has its address.
        unsafe { libc::munmap(page, LENGTH) };
        if changed == 0 { Ok(()) } else { Err(error) }
    }

    #[test]
    fn a_confined_thread_reaches_nothing_that_it_does_not_hold() {
        let own = rustix::process::getpid();
        let held = File::open("/proc/self/cmdline").expect("it can be read");
        // A filter is a thread's.
        let confined = std::thread::spawn(move || {
            confine().map(|()| {
                [
                    ("open", File::open("/proc/self/exe").map(drop)),
                    ("listen", TcpListener::bind("127.0.0.1:0").map(drop)),
                    ("start", Command::new("/bin/true").spawn().map(drop)),
                    (
                        "signal",
                        rustix::process::test_kill_process(own).map_err(io::Error::from),
                    ),
                    ("map", try_page(READ | EXECUTE, READ)),
                    ("make executable", try_page(READ, READ | EXECUTE)),
                    ("map data", try_page(READ, READ | libc::PROT_WRITE)),
                    ("read", io::read_to_string(held).map(drop)),
                ]
            })
        });
        let answers = confined
            .join()
            .expect("it does not panic")
            .expect("a filter");
        for (what, answer) in answers {
            let refused =
                answer.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            let allowed = ["read", "map data"].contains(&what);
            assert_eq!(refused, !allowed, "{what}");
        }
    }
}
