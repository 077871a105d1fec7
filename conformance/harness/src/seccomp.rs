//! Seccomp filters: a policy says what each system call gets, by name; it is compiled to the
//! program that the kernel runs, and tells the answer to a call that was seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use nix::libc;
use seccompiler::BpfProgram;

use crate::outcome::Stop;
use pause_sandbox::trace::Call;

pub use abi::{Abi, name_of};

mod abi;
mod bpf;
pub mod engines;

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel does it.
    Allow,
    /// It fails with this error number.
    Errno(i32),
    /// The process dies of SIGSYS.
    Kill,
}

/// How an argument is compared; values and bits are below 2³².
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// All 64 bits of it are this.
    Is(u32),
    /// The low half is this: for an `int`.
    LowIs(u32),
    /// It is below this.
    Below(u32),
    /// It is above this.
    Above(u32),
    /// None of these bits is set.
    NoneOf(u32),
}

impl Test {
    fn holds(self, argument: u64) -> bool {
        match self {
            Test::Is(value) => argument == u64::from(value),
            Test::LowIs(value) => argument as u32 == value,
            Test::Below(value) => argument < u64::from(value),
            Test::Above(value) => argument > u64::from(value),
            Test::NoneOf(bits) => argument & u64::from(bits) == 0,
        }
    }
}

/// An answer to a call whose arguments, each by its number, hold all these tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    when: Vec<(u8, Test)>,
    answer: Answer,
}

impl Case {
    /// Whatever the arguments are.
    pub fn always(answer: Answer) -> Self {
        Self::when(&[], answer)
    }

    /// Where these tests hold.
    pub fn when(tests: &[(u8, Test)], answer: Answer) -> Self {
        Self {
            when: tests.to_vec(),
            answer,
        }
    }
}

/// What becomes of each system call.
#[derive(Clone, Debug)]
pub struct Policy {
    /// By name, the first case that holds.
    calls: BTreeMap<&'static str, Vec<Case>>,
    /// What becomes of all others.
    otherwise: Answer,
    /// What becomes of those whose number is above all that are named.
    newer: Answer,
    /// The greatest number that is named, by [`Abi::audit`].
    last: BTreeMap<u32, u32>,
}

impl Policy {
    /// Everything becomes this.
    pub fn new(otherwise: Answer) -> Self {
        Self {
            calls: BTreeMap::new(),
            otherwise,
            newer: otherwise,
            last: BTreeMap::new(),
        }
    }

    /// What becomes of calls that are newer than all that are named.
    #[must_use]
    pub fn newer(self, newer: Answer) -> Self {
        Self { newer, ..self }
    }

    /// What becomes of these calls; the first word stands.
    #[must_use]
    pub fn with(mut self, names: impl IntoIterator<Item = &'static str>, cases: &[Case]) -> Self {
        for name in names {
            for abi in Abi::all() {
                let last = self.last.entry(abi.audit).or_default();
                *last = abi.ordinary(name).unwrap_or_default().max(*last);
            }
            self.calls.entry(name).or_insert_with(|| cases.to_vec());
        }
        self
    }

    /// How many arguments, from the first, the answer to this call depends on.
    pub fn looks_at(&self, call: &Call) -> usize {
        let name = Abi::of_call(call).and_then(|abi| abi.name(call.number));
        let cases = name.and_then(|name| self.calls.get(name));
        cases
            .into_iter()
            .flatten()
            .flat_map(|case| &case.when)
            .map(|(number, _)| usize::from(*number) + 1)
            .max()
            .unwrap_or_default()
    }

    /// What becomes of a call that was seen.
    pub fn answer(&self, call: &Call) -> Answer {
        let Some(abi) = Abi::of_call(call) else {
            return bpf::FOREIGN;
        };
        let Some(cases) = abi.name(call.number).and_then(|name| self.calls.get(name)) else {
            return self.unnamed(abi, call.number);
        };
        let holds = |case: &&Case| {
            let argument = |number: u8| call.arguments[usize::from(number)];
            case.when
                .iter()
                .all(|(number, test)| test.holds(argument(*number)))
        };
        cases
            .iter()
            .find(holds)
            .map_or(self.otherwise, |case| case.answer)
    }

    fn unnamed(&self, abi: &Abi, number: u64) -> Answer {
        let last = self.last.get(&abi.audit).copied().unwrap_or_default();
        if number > u64::from(last) {
            self.newer
        } else {
            self.otherwise
        }
    }

    /// The program that the kernel runs, for each way into it that a program here has.
    ///
    /// # Errors
    /// [`Stop::Skip`] where the numbers of this architecture's system calls are not known.
    pub fn compile(&self) -> Result<Arc<BpfProgram>, Stop> {
        let abis = Abi::of_host();
        if abis.is_empty() {
            return Err(Stop::Skip(format!(
                "no seccomp filter can be made for {}",
                std::env::consts::ARCH
            )));
        }
        Ok(Arc::new(bpf::compile(self, &abis)))
    }
}

/// Denies these system calls with `EPERM` and allows the rest.
///
/// # Errors
/// As [`Policy::compile`].
pub fn deny(names: impl IntoIterator<Item = &'static str>) -> Result<Arc<BpfProgram>, Stop> {
    let denied = Case::always(Answer::Errno(libc::EPERM));
    Policy::new(Answer::Allow).with(names, &[denied]).compile()
}

/// Gives this answer to `name` with `value` as its first argument, an `int`, and allows the rest.
///
/// # Errors
/// As [`Policy::compile`].
pub fn first_argument(
    name: &'static str,
    value: u32,
    answer: Answer,
) -> Result<Arc<BpfProgram>, Stop> {
    let case = Case::when(&[(0, Test::LowIs(value))], answer);
    Policy::new(Answer::Allow).with([name], &[case]).compile()
}

#[cfg(test)]
mod tests;
