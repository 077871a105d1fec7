//! The table of engines against the profile that the distribution ships.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::seccomp::Abi;
use pause_sandbox::trace::Call;

const MOBY: usize = 0;
const CONTAINERD: usize = 1;
const CONTAINERS: usize = 2;

const REFUSED: Answer = Answer::Errno(EPERM);
const UNKNOWN: Answer = Answer::Errno(ENOSYS);

fn call(architecture: &str, name: &str, arguments: [u64; 6]) -> Option<Call> {
    let abi = Abi::of_programs(architecture).expect("it is known");
    Some(Call {
        abi: abi.audit,
        number: u64::from(abi.number(name)?),
        arguments,
    })
}

#[rstest]
#[case("personality", [0; 6], [ALLOW, ALLOW, ALLOW])]
#[case("personality", [0xffff_ffff, 0, 0, 0, 0, 0], [ALLOW, ALLOW, ALLOW])]
#[case("personality", [0x4_0000, 0, 0, 0, 0, 0], [REFUSED, REFUSED, UNKNOWN])]
#[case("socket", [1, 1, 0, 0, 0, 0], [ALLOW, ALLOW, ALLOW])]
#[case("socket", [u64::from(AF_ALG), 5, 0, 0, 0, 0], [REFUSED, REFUSED, ALLOW])]
#[case("socket", [u64::from(AF_VSOCK), 1, 0, 0, 0, 0], [REFUSED, REFUSED, ALLOW])]
#[case("socket", [16, 3, 9, 0, 0, 0], [ALLOW, ALLOW, Answer::Errno(EINVAL)])]
#[case("clone", [0x11, 0, 0, 0, 0, 0], [ALLOW, ALLOW, ALLOW])]
#[case("clone", [0x2000_0011, 0, 0, 0, 0, 0], [REFUSED, REFUSED, ALLOW])]
#[case("clone3", [0; 6], [UNKNOWN, UNKNOWN, ALLOW])]
#[case("keyctl", [0; 6], [REFUSED, REFUSED, ALLOW])]
#[case("io_uring_setup", [0; 6], [REFUSED, REFUSED, UNKNOWN])]
#[case("lsm_list_modules", [0; 6], [REFUSED, ALLOW, UNKNOWN])]
#[case("chroot", [0; 6], [REFUSED, REFUSED, REFUSED])]
fn each_engine_answers_as_its_profile_does(
    #[case] name: &str,
    #[case] arguments: [u64; 6],
    #[case] answers: [Answer; 3],
) {
    for index in [MOBY, CONTAINERD, CONTAINERS] {
        let call = call("amd64", name, arguments).expect("it is there");
        let answer = PROFILES[index].policy().answer(&call);
        assert_eq!(
            answer, answers[index],
            "{} for {name}",
            PROFILES[index].engine
        );
    }
}

#[test]
fn a_call_that_no_profile_knows_yet_is_said_not_to_be_there() {
    for profile in &PROFILES {
        let probe = Call {
            number: 1000,
            ..call("amd64", "read", [0; 6]).expect("it is there")
        };
        assert_eq!(
            profile.policy().answer(&probe),
            UNKNOWN,
            "{}",
            profile.engine
        );
    }
}

/// A name that is spelled wrong would be left out in silence.
#[test]
fn every_name_is_that_of_a_system_call_somewhere() {
    // Of architectures and times that are not here.
    let elsewhere = BTreeSet::from([
        "bdflush",
        "fstatat64",
        "nice",
        "oldfstat",
        "oldlstat",
        "oldolduname",
        "oldstat",
        "olduname",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "query_module",
        "recv",
        "send",
        "sync_file_range2",
        "sgetmask",
        "ssetmask",
        "syscall",
        "timerfd",
    ]);
    for list in [
        ALL,
        ARCHITECTURES,
        NEWER,
        LSM,
        CONTAINERS_COMMON,
        CONTAINERS_COMMON_DENY,
    ] {
        for name in words(list).filter(|name| !elsewhere.contains(name)) {
            assert!(
                Abi::all().iter().any(|abi| abi.number(name).is_some()),
                "{name}"
            );
        }
    }
}

/// Answers in which versions of containers-common from 0.50 to 0.64 differ.
const CHANGED: &str = "
    cachestat fanotify_init fchmodat2 futex_requeue futex_wait futex_waitv futex_wake
    io_pgetevents_time64 map_shadow_stack quotactl_fd readdir riscv_flush_icache sigaction
    sigpending sigsuspend swapcontext syscall timerfd
";

#[test]
fn the_table_is_what_the_distribution_ships() {
    let path = "/usr/share/containers/seccomp.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not there (package golang-github-containers-common)");
        return;
    };
    let shipped: Value = serde_json::from_str(&text).expect("it is JSON");
    let policy = PROFILES[CONTAINERS].policy();
    let changed: BTreeSet<_> = words(CHANGED).collect();
    let mut compared = 0;
    for (architecture, name) in [("amd64", "amd64"), ("386", "amd64"), ("arm64", "arm64")] {
        let abi = Abi::of_programs(architecture).expect("it is known");
        for number in 0..1024 {
            let Some(known) = abi.name(number).filter(|name| !changed.contains(name)) else {
                continue;
            };
            for (first, third) in [
                (0, 0),
                (8, 0),
                (0x2_0000, 0),
                (0x2_0008, 0),
                (0xffff_ffff, 0),
                (0x4_0000, 0),
                (16, 9),
                (16, 0),
                (2, 9),
                (38, 0),
                (40, 0),
                (0x1000_0000, 0),
            ] {
                let arguments = [first, 0, third, 0, 0, 0];
                let call = Call {
                    abi: abi.audit,
                    number,
                    arguments,
                };
                assert_eq!(
                    policy.answer(&call),
                    answer_of(&shipped, name, known, &arguments),
                    "{known} {arguments:x?} on {architecture}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 10_000, "{compared}");
}

/// What a profile as it is shipped answers, for a container without capabilities.
fn answer_of(profile: &Value, architecture: &str, name: &str, arguments: &[u64; 6]) -> Answer {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let errno = |value: &Value| value.as_i64().map_or(EPERM, |number| number as i32);
    let holds = |test: &Value| {
        let index = test["index"].as_u64().expect("a number") as usize;
        let equal = arguments[index] == test["value"].as_u64().expect("a number");
        match test["op"].as_str() {
            Some("SCMP_CMP_EQ") => equal,
            Some("SCMP_CMP_NE") => !equal,
            other => panic!("{other:?}"),
        }
    };
    let applies = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let arches = list(&includes["arches"]);
        list(&rule["names"]).iter().any(|it| it == name)
            && list(&includes["caps"]).is_empty()
            && (arches.is_empty() || arches.iter().any(|it| it == architecture))
            && list(&excludes["arches"])
                .iter()
                .all(|it| it != architecture)
            && list(&rule["args"]).iter().all(holds)
    };
    let rules = list(&profile["syscalls"]);
    match rules.iter().find(applies) {
        Some(rule) if rule["action"] == "SCMP_ACT_ALLOW" => ALLOW,
        Some(rule) => Answer::Errno(errno(&rule["errnoRet"])),
        None => Answer::Errno(errno(&profile["defaultErrnoRet"])),
    }
}
