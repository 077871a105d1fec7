//! Which cause is named for which host, and what is to be changed.

use std::io;

use nix::libc::{EACCES, EINVAL, EMFILE, ENOSPC, EPERM};
use rstest::rstest;

use super::{Host, Obstacle, Refusal, USER_NAMESPACE, is_filtered, is_masked};

const PIVOT: &str = "pivot into the root filesystem";
const MAP: &str = "map the caller's ids";

fn refusal(what: &'static str, errno: i32) -> Refusal {
    Refusal::at(what)(io::Error::from_raw_os_error(errno))
}

/// What Docker makes of a container by default.
fn docker() -> Host {
    Host {
        seccomp: true,
        masked: true,
        ..Host::default()
    }
}

/// A process of this AppArmor profile or SELinux context.
fn labelled(label: &str) -> Host {
    Host {
        label: label.to_owned(),
        ..Host::default()
    }
}

#[rstest]
#[case::docker(docker(), USER_NAMESPACE, EPERM, &[Obstacle::Seccomp, Obstacle::MaskedProc])]
#[case::docker_with_sys_admin(docker(), PIVOT, EPERM, &[Obstacle::Seccomp, Obstacle::MaskedProc])]
#[case::user_0_that_may_map_nothing(
    Host { cannot_map: true, ..docker() },
    MAP,
    EPERM,
    &[Obstacle::Setfcap, Obstacle::Seccomp, Obstacle::MaskedProc]
)]
#[case::docker_and_apparmor(
    Host { label: "docker-default (enforce)".into(), ..docker() },
    USER_NAMESPACE,
    EPERM,
    &[Obstacle::Seccomp, Obstacle::Profile("docker-default".into()), Obstacle::MaskedProc]
)]
#[case::ubuntu(
    Host { restricted: true, ..labelled("unprivileged_userns (enforce)") },
    "make namespaces in a user namespace",
    EPERM,
    &[Obstacle::Restriction]
)]
#[case::ubuntu_without_that_profile(
    Host { restricted: true, ..labelled("unconfined") },
    USER_NAMESPACE,
    EACCES,
    &[Obstacle::Restriction]
)]
#[case::a_container_on_ubuntu(
    Host { restricted: true, ..labelled("docker-default (enforce)") },
    PIVOT,
    EACCES,
    &[Obstacle::Profile("docker-default".into()), Obstacle::Restriction]
)]
#[case::selinux(
    labelled("system_u:system_r:container_t:s0:c1,c2"),
    PIVOT,
    EACCES,
    &[Obstacle::Label("container_t".into())]
)]
#[case::no_user_namespaces_for_users(
    Host { forbidden: true, ..Host::default() },
    USER_NAMESPACE,
    EPERM,
    &[Obstacle::Forbidden]
)]
#[case::no_user_namespaces_at_all(
    Host { most: Some(0), ..Host::default() },
    USER_NAMESPACE,
    ENOSPC,
    &[Obstacle::Most(0)]
)]
#[case::no_more_namespaces(
    Host { most: Some(7), ..docker() },
    "make namespaces in a user namespace",
    ENOSPC,
    &[Obstacle::Most(7)]
)]
#[case::chroot(Host { chroot: true, ..Host::default() }, USER_NAMESPACE, EPERM, &[Obstacle::Chroot])]
#[case::an_old_kernel(Host { old: true, ..docker() }, "start the sandbox init", EINVAL, &[Obstacle::Old])]
#[case::an_old_kernel_that_a_container_hides(Host { old: true, ..docker() }, USER_NAMESPACE, EPERM, &[Obstacle::Seccomp, Obstacle::MaskedProc])]
#[case::chroot_of_root(Host { chroot: true, ..Host::default() }, PIVOT, EINVAL, &[Obstacle::Chroot])]
#[case::a_kernel_without(Host::default(), USER_NAMESPACE, EINVAL, &[Obstacle::Kernel])]
#[case::a_shortage(docker(), "open /dev/null", EMFILE, &[])]
#[case::what_is_not_known(Host::default(), PIVOT, EPERM, &[])]
fn the_cause_is_named_first_and_all_that_comes_after_it(
    #[case] host: Host,
    #[case] what: &'static str,
    #[case] errno: i32,
    #[case] obstacles: &[Obstacle],
) {
    assert_eq!(host.obstacles(&refusal(what, errno)), obstacles);
}

#[test]
fn one_hint_holds_the_options_of_every_engine() {
    let (line, hint) = docker().explain(&refusal(USER_NAMESPACE, EPERM));
    assert_eq!(
        line,
        "cannot make sandboxes: make a user namespace: operation not permitted: \
         a seccomp filter refuses it"
    );
    assert_eq!(
        hint.as_deref(),
        Some(
            "docker run: --security-opt seccomp=unconfined --security-opt systempaths=unconfined; \
             podman run: --security-opt seccomp=unconfined --security-opt unmask=ALL; \
             Kubernetes securityContext: seccompProfile: {type: Unconfined}, \
             procMount: Unmasked (with hostUsers: false)"
        )
    );
    let (line, hint) = docker().explain(&refusal("open /dev/null", EMFILE));
    assert_eq!(
        line,
        "cannot make sandboxes: open /dev/null: too many open files"
    );
    assert_eq!(hint, None);
}

#[rstest]
#[case("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n", true)]
#[case("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n", false)]
#[case("", false)]
fn a_filter_is_told_by_the_status(#[case] status: &str, #[case] filtered: bool) {
    assert_eq!(is_filtered(status), filtered);
}

#[rstest]
#[case("36 35 0:30 / /proc rw - proc proc rw\n", false)]
#[case("37 36 0:31 / /proc/sys/fs/binfmt_misc rw - binfmt_misc x rw\n", false)]
#[case("38 36 0:30 /sys /proc/sys ro - proc proc rw\n", true)]
#[case("39 36 0:32 / /proc/acpi ro - tmpfs tmpfs ro\n", true)]
fn masks_of_proc_are_told_by_the_mounts(#[case] mounts: &str, #[case] masked: bool) {
    assert_eq!(is_masked(mounts), masked);
}
