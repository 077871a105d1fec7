//! System-call ABIs: their call numbers, and what a filter sees of a call.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pause_sandbox::trace::Call;

/// One way into the kernel.
#[derive(Debug)]
pub struct Abi {
    /// `AUDIT_ARCH_…` (linux/audit.h).
    pub audit: u32,
    numbers: BTreeMap<&'static str, u32>,
    names: BTreeMap<u32, &'static str>,
}

/// Calls that Arm adds above all others (asm/unistd.h, `__ARM_NR_BASE`).
const ARM_PRIVATE: [(&str, u32); 5] = [
    ("breakpoint", 0x000f_0001),
    ("cacheflush", 0x000f_0002),
    ("usr26", 0x000f_0003),
    ("usr32", 0x000f_0004),
    ("set_tls", 0x000f_0005),
];

macro_rules! abi {
    ($name:ident, $module:ident, $audit:literal, $more:expr) => {
        static $name: LazyLock<Abi> = LazyLock::new(|| {
            let calls = syscalls::$module::Sysno::iter();
            Abi::new(
                $audit,
                calls.map(|call| (call.name(), call.id() as u32)),
                $more,
            )
        });
    };
}

abi!(X86_64, x86_64, 0xc000_003e, &[]);
abi!(I386, x86, 0x4000_0003, &[]);
abi!(AARCH64, aarch64, 0xc000_00b7, &[]);
abi!(ARM, arm, 0x4000_0028, &ARM_PRIVATE);
abi!(RISCV64, riscv64, 0xc000_00f3, &[]);

impl Abi {
    fn new(
        audit: u32,
        calls: impl Iterator<Item = (&'static str, u32)>,
        more: &[(&'static str, u32)],
    ) -> Self {
        let numbers: BTreeMap<_, _> = calls.chain(more.iter().copied()).collect();
        Self {
            audit,
            names: numbers
                .iter()
                .map(|(name, number)| (*number, *name))
                .collect(),
            numbers,
        }
    }

    /// Those that a program has on this host, its own first.
    pub fn of_host() -> Vec<&'static Abi> {
        match std::env::consts::ARCH {
            "x86_64" => vec![&X86_64, &I386],
            "x86" => vec![&I386],
            "aarch64" => vec![&AARCH64, &ARM],
            "arm" => vec![&ARM],
            "riscv64" => vec![&RISCV64],
            _ => Vec::new(),
        }
    }

    /// All that are known here.
    pub(super) fn all() -> [&'static Abi; 5] {
        [&X86_64, &I386, &AARCH64, &ARM, &RISCV64]
    }

    /// That of programs for this architecture, in the words of the OCI image specification.
    pub fn of_programs(architecture: &str) -> Option<&'static Abi> {
        match architecture {
            "amd64" => Some(&X86_64),
            "386" => Some(&I386),
            "arm64" => Some(&AARCH64),
            "arm" => Some(&ARM),
            "riscv64" => Some(&RISCV64),
            _ => None,
        }
    }

    /// That by which a call was made.
    pub fn of_call(call: &Call) -> Option<&'static Abi> {
        Self::all().into_iter().find(|abi| abi.audit == call.abi)
    }

    /// The number of a system call that it has.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a system call that it has.
    pub fn name(&self, number: u64) -> Option<&'static str> {
        self.names.get(&u32::try_from(number).ok()?).copied()
    }

    /// The number of a system call that it has, but for those that stand apart.
    pub(super) fn ordinary(&self, name: &str) -> Option<u32> {
        let apart = |number: &u32| ARM_PRIVATE.iter().any(|(_, private)| private == number);
        self.number(name).filter(|number| !apart(number))
    }
}

/// The name of the system call, or its number.
pub fn name_of(call: &Call) -> String {
    let known = Abi::of_call(call).and_then(|abi| abi.name(call.number));
    known.map_or_else(|| format!("system call {}", call.number), str::to_owned)
}
