//! Why a host lets no sandbox be made, and what its user can change: the cause by name, and the
//! options of docker, podman and Kubernetes for all that will be needed, not the first alone.

use std::fs;
use std::io;

use nix::libc;
use rustix::thread::CapabilitySet;

use super::{capabilities, limits};
use pause_image as subject;

/// The step at which a host without user namespaces refuses.
pub(super) const USER_NAMESPACE: &str = "make a user namespace";

/// A step towards sandboxes that the host refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) what: &'static str,
    pub(super) cause: io::Error,
}

impl Refusal {
    /// At this step.
    pub(super) fn at(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { what, cause }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.what)?;
        match self.cause.raw_os_error() {
            // ENOSPC here means namespaces, not disks (unshare(2)).
            Some(libc::ENOSPC) => f.write_str("this host allows no more of them"),
            _ => f.write_str(&subject::io_words(&self.cause)),
        }
    }
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Of a container, or of the process that started the suite.
    Seccomp,
    /// An AppArmor profile, by name.
    Profile(String),
    /// An SELinux type.
    Label(String),
    /// `kernel.apparmor_restrict_unprivileged_userns`.
    Restriction,
    /// `kernel.unprivileged_userns_clone`.
    Forbidden,
    /// `user.max_user_namespaces`.
    Most(u64),
    /// The root of the process is not that of its mount namespace.
    Chroot,
    /// User 0 without `CAP_SETFCAP` maps no ids (user_namespaces(7)).
    Setfcap,
    /// A part of /proc is covered: then no other can be mounted.
    MaskedProc,
    /// The kernel was built without them.
    Kernel,
    /// The kernel is older than all that this needs: mount_setattr(2), and the flag of
    /// close_range(2) that has exec close descriptors.
    Old,
}

/// How each is removed: by docker, by podman, in Kubernetes, on the host itself.
#[derive(Default)]
struct Remedy {
    docker: String,
    podman: String,
    kubernetes: String,
    host: String,
}

impl Obstacle {
    /// What it does, after the step that it refused.
    fn words(&self) -> String {
        match self {
            Self::Seccomp => "a seccomp filter refuses it".to_owned(),
            Self::Profile(name) => format!("the AppArmor profile {name} refuses it"),
            Self::Label(name) => format!("SELinux refuses it to {name}"),
            Self::Restriction => "AppArmor restricts user namespaces \
                 (kernel.apparmor_restrict_unprivileged_userns)"
                .to_owned(),
            Self::Forbidden => "kernel.unprivileged_userns_clone is 0".to_owned(),
            Self::Most(most) => format!("user.max_user_namespaces is {most}"),
            Self::Chroot => "the kernel makes none in a chroot".to_owned(),
            Self::Setfcap => "user 0 has no CAP_SETFCAP".to_owned(),
            Self::MaskedProc => "parts of /proc are masked".to_owned(),
            Self::Kernel => "the kernel has no user namespaces".to_owned(),
            Self::Old => "the kernel is older than Linux 5.12".to_owned(),
        }
    }

    fn remedy(&self) -> Remedy {
        let engines = |both: &str, kubernetes: &str| Remedy {
            docker: both.to_owned(),
            podman: both.to_owned(),
            kubernetes: kubernetes.to_owned(),
            ..Remedy::default()
        };
        let host = |host: &str| Remedy {
            host: host.to_owned(),
            ..Remedy::default()
        };
        match self {
            Self::Seccomp => engines(
                "--security-opt seccomp=unconfined",
                "seccompProfile: {type: Unconfined}",
            ),
            Self::Profile(_) => engines(
                "--security-opt apparmor=unconfined",
                "appArmorProfile: {type: Unconfined}",
            ),
            Self::Label(_) => engines(
                "--security-opt label=disable",
                "seLinuxOptions: {type: spc_t}",
            ),
            Self::MaskedProc => Remedy {
                podman: "--security-opt unmask=ALL".to_owned(),
                ..engines(
                    "--security-opt systempaths=unconfined",
                    "procMount: Unmasked (with hostUsers: false)",
                )
            },
            Self::Setfcap => engines(
                "--cap-add SETFCAP (or --user 65534)",
                "capabilities: {add: [SETFCAP]} (or runAsUser: 65534)",
            ),
            Self::Restriction => host("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
            Self::Forbidden => host("sysctl -w kernel.unprivileged_userns_clone=1"),
            Self::Most(_) => host("sysctl -w user.max_user_namespaces=15000"),
            Self::Chroot => host("bwrap --dev-bind FOLDER / instead of chroot FOLDER"),
            Self::Kernel => host("a kernel with CONFIG_USER_NS=y, or root"),
            Self::Old => host("Linux 5.12 or later"),
        }
    }
}

/// What matters on this host for making sandboxes.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// User 0 without `CAP_SETFCAP`.
    cannot_map: bool,
    /// A seccomp filter is there.
    seccomp: bool,
    /// What Linux security modules call the process.
    label: String,
    restricted: bool,
    forbidden: bool,
    most: Option<u64>,
    chroot: bool,
    masked: bool,
    old: bool,
}

impl Host {
    /// What the caller may do before it enters a namespace of its own, where it may all.
    pub(super) fn before() -> Self {
        Self {
            cannot_map: rustix::process::geteuid().is_root()
                && !capabilities::has(CapabilitySet::SETFCAP),
            ..Self::default()
        }
    }

    /// The rest, where something was refused.
    pub(super) fn looked_at(self) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let sysctl = |name: &str| {
            let value = fs::read_to_string(format!("/proc/sys/{name}"));
            value.ok().and_then(|value| value.trim().parse().ok())
        };
        let label = fs::read_to_string("/proc/self/attr/apparmor/current")
            .unwrap_or_else(|_| read("/proc/self/attr/current"));
        let mounts = read("/proc/self/mountinfo");
        Self {
            seccomp: is_filtered(&read("/proc/self/status")),
            label: label.trim_matches(['\0', '\n', ' ']).to_owned(),
            restricted: sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1),
            forbidden: sysctl("kernel/unprivileged_userns_clone") == Some(0),
            most: sysctl("user/max_user_namespaces"),
            chroot: !mounts.is_empty() && !mount_points(&mounts).any(|point| point == "/"),
            masked: is_masked(&mounts),
            old: !limits::kernel_at_least(5, 12),
            ..self
        }
    }

    /// What refused it, and with it all else that would refuse a later step; the first is the
    /// cause, where one is found.
    fn obstacles(&self, refusal: &Refusal) -> Vec<Obstacle> {
        let Some(cause) = self.cause(refusal) else {
            return Vec::new();
        };
        let engine = cause.remedy().host.is_empty();
        let mut all = vec![cause];
        // The obstacles that options of a container remove are named together.
        if engine {
            let others = [
                self.seccomp.then_some(Obstacle::Seccomp),
                self.profile(),
                self.masked.then_some(Obstacle::MaskedProc),
                self.restricted.then_some(Obstacle::Restriction),
            ];
            for other in others.into_iter().flatten() {
                if !all.contains(&other) {
                    all.push(other);
                }
            }
        }
        all
    }

    fn cause(&self, refusal: &Refusal) -> Option<Obstacle> {
        let errno = refusal.cause.raw_os_error()?;
        let refused = matches!(errno, libc::EPERM | libc::EACCES | libc::ENOSYS);
        let profile = self.profile();
        let seccomp = self.seccomp.then_some(Obstacle::Seccomp);
        let restriction = self.restricted.then_some(Obstacle::Restriction);
        if self.old && matches!(errno, libc::EINVAL | libc::ENOSYS) {
            return Some(Obstacle::Old);
        }
        if matches!(errno, libc::ENOSPC | libc::EUSERS) {
            return self.most.map(Obstacle::Most);
        }
        if refusal.what == USER_NAMESPACE {
            return match errno {
                libc::EINVAL => Some(Obstacle::Kernel),
                libc::EPERM if self.forbidden => Some(Obstacle::Forbidden),
                libc::EPERM if self.chroot => Some(Obstacle::Chroot),
                _ if refused => seccomp.or(profile).or(restriction),
                _ => None,
            };
        }
        if !refused {
            return self.chroot.then_some(Obstacle::Chroot);
        }
        let setfcap = self.cannot_map && refusal.what.starts_with("map ");
        setfcap
            .then_some(Obstacle::Setfcap)
            .or(profile)
            .or(restriction)
            .or(seccomp)
    }

    /// The profile of the Linux security module that confines the suite.
    fn profile(&self) -> Option<Obstacle> {
        if let Some(kind) = self.label.split(':').nth(2) {
            let free = ["unconfined_t", "spc_t", "unconfined_service_t"];
            return (!free.contains(&kind)).then(|| Obstacle::Label(kind.to_owned()));
        }
        let name = self.label.split(" (").next().unwrap_or_default();
        // AppArmor's restriction itself puts the last one on a process.
        let free = ["", "unconfined", "unprivileged_userns"];
        (!free.contains(&name)).then(|| Obstacle::Profile(name.to_owned()))
    }

    /// One line and a hint.
    pub(super) fn explain(&self, refusal: &Refusal) -> (String, Option<String>) {
        let obstacles = self.obstacles(refusal);
        let Some(cause) = obstacles.first() else {
            return (format!("cannot make sandboxes: {refusal}"), None);
        };
        let line = format!("cannot make sandboxes: {refusal}: {}", cause.words());
        let remedies: Vec<Remedy> = obstacles.iter().map(Obstacle::remedy).collect();
        let all = |of: fn(&Remedy) -> &str, between: &str| {
            let options = remedies.iter().map(of).filter(|option| !option.is_empty());
            options.collect::<Vec<_>>().join(between)
        };
        let hint: Vec<String> = [
            ("docker run", all(|it| &it.docker, " ")),
            ("podman run", all(|it| &it.podman, " ")),
            ("Kubernetes securityContext", all(|it| &it.kubernetes, ", ")),
            ("on the host", all(|it| &it.host, ", ")),
        ]
        .into_iter()
        .filter(|(_, options)| !options.is_empty())
        .map(|(place, options)| format!("{place}: {options}"))
        .collect();
        (line, Some(hint.join("; ")))
    }
}

/// Whether a process is under a seccomp filter, by its status file (proc_pid_status(5)).
fn is_filtered(status: &str) -> bool {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("Seccomp:"))
        .any(|mode| mode.trim() == "2")
}

fn mount_points(mounts: &str) -> impl Iterator<Item = &str> {
    mounts.lines().filter_map(|line| line.split(' ').nth(4))
}

/// Whether a mount covers a part of /proc, as container engines do to hide the host, by a table as
/// in proc_pid_mountinfo(5).
fn is_masked(mounts: &str) -> bool {
    mount_points(mounts).any(|point| {
        let below = point.strip_prefix("/proc/");
        // Where hosts mount what belongs there.
        below.is_some_and(|below| below != "sys/fs/binfmt_misc")
    })
}

#[cfg(test)]
mod tests;
