//! Seccomp filters that checks start the program under.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use syscalls::Sysno;

use crate::check::Stop;

/// What Docker's default profile denies whatever the capabilities, as its documentation
/// lists it ("Significant syscalls blocked by the default profile"), and what the profile
/// has left out since: io_uring and the mount API. `clone` and `clone3` are apart, below.
const ENGINES_DENY: &[&str] = &[
    "_sysctl",
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "create_module",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vm86",
    "vm86old",
];

/// Namespaces that `clone` may not make without `CAP_SYS_ADMIN`.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// A system call and the argument conditions under which it is denied; none: always.
pub type Denied = (i64, Vec<SeccompRule>);

/// The numbers that these system calls have here; names of other architectures are left out.
pub fn numbers<'n>(names: impl IntoIterator<Item = &'n str>) -> impl Iterator<Item = i64> {
    names
        .into_iter()
        .filter_map(|name| Sysno::from_str(name).ok())
        .map(|call| i64::from(call.id()))
}

/// The name of a system call, or its number.
pub fn name(number: u64) -> String {
    let known = usize::try_from(number).ok().and_then(Sysno::new);
    known.map_or_else(
        || format!("system call {number}"),
        |call| call.name().to_owned(),
    )
}

/// Denies these system calls with `errno` and allows the rest.
///
/// # Errors
/// [`Stop::Skip`] where no filter can be compiled for this architecture.
pub fn deny(
    denied: impl IntoIterator<Item = Denied>,
    errno: libc::c_int,
) -> Result<Arc<BpfProgram>, Stop> {
    compile(denied.into_iter().collect(), errno).map(Arc::new)
}

/// A filter as engines install it by default: `EPERM`, and `ENOSYS` for `clone3`, whose
/// flags no filter can see.
///
/// # Errors
/// As [`deny`].
pub fn engines_default() -> Result<Arc<BpfProgram>, Stop> {
    let mut denied: BTreeMap<_, _> = numbers(ENGINES_DENY.iter().copied())
        .map(|n| (n, Vec::new()))
        .collect();
    let mut any_namespace = Vec::new();
    for bit in (0..libc::c_int::BITS).map(|shift| 1_u64 << shift) {
        if NAMESPACES as u64 & bit != 0 {
            any_namespace.push(argument(0, SeccompCmpOp::MaskedEq(bit), bit)?);
        }
    }
    denied.insert(libc::SYS_clone, any_namespace);
    let mut program = compile(denied, libc::EPERM)?;
    // The last instruction allows what nothing matched: the second filter goes on there.
    program.pop();
    program.extend(compile(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        libc::ENOSYS,
    )?);
    Ok(Arc::new(program))
}

/// The condition that an argument (32 bits of it) compares so with a value.
///
/// # Errors
/// [`Stop::Error`] for an argument number above 5.
pub fn argument(number: u8, comparison: SeccompCmpOp, value: u64) -> Result<SeccompRule, Stop> {
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, comparison, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|error| Stop::Error(format!("cannot describe a seccomp filter: {error}")))
}

fn compile(
    denied: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
) -> Result<BpfProgram, Stop> {
    let skip = |error: &dyn std::fmt::Display| {
        Stop::Skip(format!("no seccomp filter can be made here: {error}"))
    };
    let architecture =
        TargetArch::try_from(std::env::consts::ARCH).map_err(|error| skip(&error))?;
    SeccompFilter::new(
        denied,
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        architecture,
    )
    .and_then(BpfProgram::try_from)
    .map_err(|error| skip(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_filter_compiles_and_is_within_the_kernels_limit() {
        let program = engines_default().expect("this architecture has filters");
        assert!(program.len() < 4096, "{} instructions", program.len());
    }

    #[test]
    fn system_calls_have_names() {
        assert_eq!(name(libc::SYS_exit_group as u64), "exit_group");
        assert_eq!(name(99_999), "system call 99999");
    }
}
