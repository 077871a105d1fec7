//! What a policy answers, and what its program does in the kernel.

use nix::libc;
use rstest::rstest;
use seccompiler::sock_filter;

use super::engines::PROFILES;
use super::{Abi, Answer, Case, Policy, Test, bpf, name_of};
use pause_sandbox::trace::Call;

/// What the kernel would make of it: the instructions that a filter may hold.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    let mut data = Vec::new();
    data.extend((call.number as u32).to_le_bytes());
    data.extend(call.abi.to_le_bytes());
    data.extend([0; 8]);
    data.extend(call.arguments.iter().flat_map(|it| it.to_le_bytes()));
    let (mut next, mut loaded) = (0, 0_u32);
    loop {
        let it = &program[next];
        let (jump, k) = (
            |holds: bool| usize::from(if holds { it.jt } else { it.jf }),
            it.k,
        );
        next += 1 + match u32::from(it.code) {
            0x20 => {
                let at = k as usize;
                loaded = u32::from_le_bytes(data[at..at + 4].try_into().expect("4 bytes"));
                0
            }
            0x05 => k as usize,
            0x15 => jump(loaded == k),
            0x25 => jump(loaded > k),
            0x35 => jump(loaded >= k),
            0x45 => jump(loaded & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        };
    }
}

fn returned(answer: Answer) -> u32 {
    match answer {
        Answer::Allow => libc::SECCOMP_RET_ALLOW,
        Answer::Errno(error) => libc::SECCOMP_RET_ERRNO | error.unsigned_abs(),
        Answer::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

fn policies() -> Vec<Policy> {
    let halves = [Case::when(
        &[
            (1, Test::LowIs(7)),
            (5, Test::Above(1)),
            (2, Test::Below(3)),
        ],
        Answer::Kill,
    )];
    let first = Policy::new(Answer::Allow).with(["prctl", "read"], &halves);
    let none = Policy::new(Answer::Errno(libc::EPERM));
    PROFILES
        .iter()
        .map(super::engines::Profile::policy)
        .chain([first, none])
        .collect()
}

/// Calls whose arguments a policy here looks at.
const CONDITIONAL: [&str; 5] = ["clone", "personality", "prctl", "read", "socket"];

#[test]
fn the_kernel_answers_what_the_policy_says() {
    let words = [
        0,
        1,
        2,
        3,
        7,
        8,
        16,
        38,
        39,
        40,
        41,
        0x2_0008,
        0x4_0000,
        0xffff_ffff,
    ];
    let above = 1 << 40;
    for policy in policies() {
        let program = bpf::compile(&policy, &Abi::all());
        assert!(program.len() < 4096, "{} instructions", program.len());
        for abi in Abi::all() {
            let numbers = (0..1024).chain([0xf_0001, 0xf_0005, 0x4000_0000, 0xffff_ffff]);
            for number in numbers {
                let conditional = abi
                    .name(number)
                    .is_some_and(|name| CONDITIONAL.contains(&name));
                let words = if conditional { words.as_slice() } else { &[0] };
                for word in words.iter().flat_map(|word| [*word, word | above]) {
                    for arguments in [
                        [word, 0, 0, 0, 0, 0],
                        [0, 7, word, 0, 0, word],
                        [16, word, 9, 0, 0, 2],
                    ] {
                        let call = Call {
                            abi: abi.audit,
                            number,
                            arguments,
                        };
                        let answer = policy.answer(&call);
                        assert_eq!(
                            run(&program, &call),
                            returned(answer),
                            "{} {call:x?}: {answer:?}",
                            name_of(&call)
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_comes_another_way_is_unknown() {
    let program = bpf::compile(&Policy::new(Answer::Allow), &Abi::of_host());
    let call = Call {
        abi: 0,
        number: 0,
        arguments: [0; 6],
    };
    assert_eq!(
        run(&program, &call),
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()
    );
}

#[rstest]
#[case("amd64", "exit_group", 231)]
#[case("386", "exit_group", 252)]
#[case("arm64", "exit_group", 94)]
#[case("arm", "exit_group", 248)]
#[case("arm", "set_tls", 0xf_0005)]
#[case("riscv64", "exit_group", 94)]
fn calls_have_numbers_and_names(
    #[case] architecture: &str,
    #[case] name: &str,
    #[case] number: u32,
) {
    let abi = Abi::of_programs(architecture).expect("it is known");
    assert_eq!(abi.number(name), Some(number));
    assert_eq!(abi.name(u64::from(number)), Some(name));
}

#[test]
fn a_call_without_a_name_is_told_by_its_number() {
    let abi = Abi::all()[0].audit;
    let call = Call {
        abi,
        number: 99_999,
        arguments: [0; 6],
    };
    assert_eq!(name_of(&call), "system call 99999");
}
