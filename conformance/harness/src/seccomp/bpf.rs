//! The program of a policy: by architecture, then a binary search for the number, then the
//! arguments (seccomp(2), `struct seccomp_data`).

use std::collections::BTreeMap;

use nix::libc;
use nix::libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS,
};
use seccompiler::{BpfProgram, sock_filter};

use super::{Abi, Answer, Case, Policy, Test};

/// What becomes of calls by a way into the kernel that is not known here.
pub(super) const FOREIGN: Answer = Answer::Errno(libc::ENOSYS);

/// Where `struct seccomp_data` holds the number, the architecture and the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What becomes of the numbers from one on.
#[derive(Clone, Copy, PartialEq)]
enum Leaf<'p> {
    Always(Answer),
    Cases(&'p [Case]),
}

pub(super) fn compile(policy: &Policy, abis: &[&Abi]) -> BpfProgram {
    let mut program = vec![load(ARCHITECTURE)];
    for abi in abis {
        let mut block = vec![load(NUMBER)];
        block.extend(search(policy, &leaves(policy, abi)));
        program.push(jump(BPF_JEQ, abi.audit, 1, 0));
        program.push(skip(block.len()));
        program.extend(block);
    }
    program.push(ret(FOREIGN));
    program
}

/// Which numbers, from each of these on, become what.
fn leaves<'p>(policy: &'p Policy, abi: &Abi) -> Vec<(u32, Leaf<'p>)> {
    let named: BTreeMap<u32, &[Case]> = policy
        .calls
        .iter()
        .filter_map(|(name, cases)| Some((abi.number(name)?, cases.as_slice())))
        .collect();
    let others = |number: u32| Leaf::Always(policy.unnamed(abi, u64::from(number)));
    let last = policy.last.get(&abi.audit).copied().unwrap_or_default();
    let mut leaves = BTreeMap::from([(0, others(0)), (last + 1, others(last + 1))]);
    for number in named.keys() {
        leaves.insert(number + 1, others(number + 1));
    }
    for (number, cases) in named {
        let leaf = match cases {
            [only] if only.when.is_empty() => Leaf::Always(only.answer),
            cases => Leaf::Cases(cases),
        };
        leaves.insert(number, leaf);
    }
    let mut merged: Vec<(u32, Leaf<'p>)> = Vec::new();
    for (number, leaf) in leaves {
        if merged.last().is_none_or(|(_, before)| *before != leaf) {
            merged.push((number, leaf));
        }
    }
    merged
}

/// Finds the leaf of the number that is loaded.
fn search(policy: &Policy, leaves: &[(u32, Leaf<'_>)]) -> BpfProgram {
    match leaves {
        [] => vec![ret(policy.otherwise)],
        [(_, Leaf::Always(answer))] => vec![ret(*answer)],
        [(_, Leaf::Cases(cases))] => decide(policy, cases),
        _ => {
            let (below, above) = leaves.split_at(leaves.len() / 2);
            let left = search(policy, below);
            // A conditional jump goes 255 instructions at most.
            let mut program = vec![jump(BPF_JGE, above[0].0, 0, 1), skip(left.len())];
            program.extend(left);
            program.extend(search(policy, above));
            program
        }
    }
}

/// The first case whose tests hold.
fn decide(policy: &Policy, cases: &[Case]) -> BpfProgram {
    let mut program = Vec::new();
    for case in cases {
        let mut tests = Vec::new();
        // From the last: where one fails, all that comes after it is skipped.
        let mut after = 1;
        for (number, test) in case.when.iter().rev() {
            let code = compare(*number, *test, after);
            after += code.len();
            tests.push(code);
        }
        program.extend(tests.into_iter().rev().flatten());
        program.push(ret(case.answer));
    }
    program.push(ret(policy.otherwise));
    program
}

/// Goes on where the test holds, and over `after` more instructions where it does not.
fn compare(number: u8, test: Test, after: usize) -> BpfProgram {
    // Little-endian, as every architecture here is.
    let low = load(ARGUMENTS + 8 * u32::from(number));
    let high = load(ARGUMENTS + 8 * u32::from(number) + 4);
    let fails = after as u8;
    match test {
        Test::Is(value) => vec![
            high,
            jump(BPF_JEQ, 0, 0, fails + 2),
            low,
            jump(BPF_JEQ, value, 0, fails),
        ],
        Test::LowIs(value) => vec![low, jump(BPF_JEQ, value, 0, fails)],
        Test::Below(value) => vec![
            high,
            jump(BPF_JEQ, 0, 0, fails + 2),
            low,
            jump(BPF_JGE, value, fails, 0),
        ],
        Test::Above(value) => vec![
            high,
            jump(BPF_JEQ, 0, 0, 2),
            low,
            jump(BPF_JGT, value, 0, fails),
        ],
        Test::NoneOf(bits) => vec![low, jump(BPF_JSET, bits, fails, 0)],
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
}

fn jump(comparison: u32, value: u32, holds: u8, fails: u8) -> sock_filter {
    instruction(BPF_JMP | comparison | BPF_K, holds, fails, value)
}

fn skip(instructions: usize) -> sock_filter {
    instruction(BPF_JMP | BPF_JA, 0, 0, instructions as u32)
}

fn ret(answer: Answer) -> sock_filter {
    let value = match answer {
        Answer::Allow => SECCOMP_RET_ALLOW,
        Answer::Errno(number) => SECCOMP_RET_ERRNO | number.unsigned_abs(),
        Answer::Kill => SECCOMP_RET_KILL_PROCESS,
    };
    instruction(BPF_RET | BPF_K, 0, 0, value)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}
