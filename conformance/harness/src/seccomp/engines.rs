//! What the default profiles of container engines do to a container without capabilities: a table
//! of facts, read in the pinned sources and compared with what the distribution ships.

use std::sync::{Arc, OnceLock};

use nix::libc::{EINVAL, ENOSYS, EPERM};

use seccompiler::BpfProgram;

use super::{Answer, Case, Policy, Test};
use crate::outcome::Stop;
use crate::requirement::Source;

/// The default profile of a container engine.
pub struct Profile {
    /// Whose it is.
    pub engine: &'static str,
    /// Where it stands.
    pub source: Source,
    policy: fn() -> Policy,
    filter: OnceLock<Result<Arc<BpfProgram>, Stop>>,
}

impl Profile {
    /// What becomes of the system calls of a container without capabilities.
    pub fn policy(&self) -> Policy {
        (self.policy)()
    }

    /// The program of that policy, which is the same for every image.
    ///
    /// # Errors
    /// As [`Policy::compile`].
    pub fn filter(&self) -> Result<Arc<BpfProgram>, Stop> {
        let compiled = || self.policy().compile();
        self.filter.get_or_init(compiled).clone()
    }
}

/// The profiles that pods run under.
pub static PROFILES: [Profile; 3] = [
    Profile {
        engine: "moby",
        source: Source {
            title: "moby/profiles seccomp/default.json",
            url: "https://github.com/moby/profiles/blob/seccomp/v0.2.3/seccomp/default.json",
        },
        policy: moby,
        filter: OnceLock::new(),
    },
    Profile {
        engine: "containerd",
        source: Source {
            title: "containerd contrib/seccomp/seccomp_default.go",
            url: "https://github.com/containerd/containerd/blob/v2.3.4/contrib/seccomp/seccomp_default.go",
        },
        policy: containerd,
        filter: OnceLock::new(),
    },
    Profile {
        engine: "containers-common",
        source: Source {
            title: "containers/common pkg/seccomp/seccomp.json",
            url: "https://github.com/containers/common/blob/v0.64.1/pkg/seccomp/seccomp.json",
        },
        policy: containers_common,
        filter: OnceLock::new(),
    },
];

/// What all of them allow.
const ALL: &str = "
    _llseek _newselect accept accept4 access adjtimex alarm bind brk capget capset chdir chmod
    chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futex futex_time64 futimesat get_robust_list get_thread_area getcpu getcwd
    getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
    getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid
    gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_setup io_submit ioctl ioprio_get
    ioprio_set ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
    lchown32 lgetxattr link linkat listen listxattr llistxattr lremovexattr lseek lsetxattr lstat
    lstat64 madvise membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv
    msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
    ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6
    pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv
    recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat
    renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32
    setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr
    shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
    socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync
    sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit
    umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork wait4 waitid waitpid
    write writev
";

/// What all of them allow on one architecture alone: its names are unknown elsewhere.
const ARCHITECTURES: &str = "
    arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush modify_ldt
    riscv_flush_icache set_tls sync_file_range2
";

/// What moby and containerd allow, and containers-common does not.
const NEWER: &str = "
    cachestat futex_requeue futex_wait futex_waitv futex_wake getxattrat io_pgetevents
    io_pgetevents_time64 listmount listxattrat map_shadow_stack mseal process_vm_readv
    process_vm_writev ptrace removexattrat riscv_hwprobe setxattrat statmount uretprobe vmsplice
";

/// What containerd allows without capabilities, and moby does not.
const LSM: &str = "lsm_get_self_attr lsm_list_modules lsm_set_self_attr";

/// What containers-common allows, and the others do not, or not without a condition.
const CONTAINERS_COMMON: &str = "
    clone clone3 fanotify_init fsconfig fsmount fsopen fspick get_mempolicy keyctl mbind mount
    mount_setattr move_mount open_tree pidfd_getfd pivot_root process_vm_readv process_vm_writev
    ptrace reboot set_mempolicy setns signal syslog umount umount2 unshare
";

/// What containers-common refuses with EPERM; all else that it does not know is ENOSYS.
const CONTAINERS_COMMON_DENY: &str = "
    acct bdflush bpf cachestat chroot clock_settime clock_settime64 delete_module finit_module
    futex_requeue futex_wait futex_waitv futex_wake init_module io_pgetevents io_pgetevents_time64
    ioperm iopl kcmp kexec_file_load kexec_load lookup_dcookie map_shadow_stack migrate_pages
    move_pages nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at
    pciconfig_iobase pciconfig_read pciconfig_write perf_event_open process_madvise query_module
    quotactl quotactl_fd setdomainname sethostname settimeofday sgetmask ssetmask stime swapoff
    swapon syscall sysfs uselib userfaultfd ustat vhangup vm86 vm86old vmsplice
";

const ALLOW: Answer = Answer::Allow;

/// Flags of clone(2) that make a namespace, but for a time namespace, which it cannot make.
const NAMESPACES: u32 = 0x7e02_0000;

const AF_NETLINK: u32 = 16;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const NETLINK_AUDIT: u32 = 9;

fn words(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split_ascii_whitespace()
}

/// What all of them do.
fn any(otherwise: Answer) -> Policy {
    // PER_LINUX, PER_LINUX32, UNAME26 with each, and the question which one it is.
    let personality = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]
        .map(|persona| Case::when(&[(0, Test::Is(persona))], ALLOW));
    Policy::new(otherwise)
        .with(
            words(ALL).chain(words(ARCHITECTURES)),
            &[Case::always(ALLOW)],
        )
        .with(["personality"], &personality)
}

fn moby() -> Policy {
    let socket = [
        Test::Below(AF_ALG),
        Test::Is(AF_ALG + 1),
        Test::Above(AF_VSOCK),
    ]
    .map(|family| Case::when(&[(0, family)], ALLOW));
    any(Answer::Errno(EPERM))
        // The OCI runtime's doing: it answers so what the profile is too old to know.
        .newer(Answer::Errno(ENOSYS))
        .with(words(NEWER), &[Case::always(ALLOW)])
        .with(["socket"], &socket)
        .with(
            ["clone"],
            &[Case::when(&[(0, Test::NoneOf(NAMESPACES))], ALLOW)],
        )
        // No filter can see its flags.
        .with(["clone3"], &[Case::always(Answer::Errno(ENOSYS))])
}

fn containerd() -> Policy {
    moby().with(words(LSM), &[Case::always(ALLOW)])
}

fn containers_common() -> Policy {
    let audit = [(0, Test::Is(AF_NETLINK)), (2, Test::Is(NETLINK_AUDIT))];
    let socket = [
        Case::when(&audit, Answer::Errno(EINVAL)),
        Case::always(ALLOW),
    ];
    any(Answer::Errno(ENOSYS))
        .with(words(CONTAINERS_COMMON), &[Case::always(ALLOW)])
        .with(["socket"], &socket)
        .with(
            words(CONTAINERS_COMMON_DENY),
            &[Case::always(Answer::Errno(EPERM))],
        )
}

#[cfg(test)]
mod tests;
