//! The one table of architectures: what the OCI image specification, ELF, Debian and QEMU call
//! them, and what follows from each.

/// One architecture that Linux images are for.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    /// As the OCI image specification names it, which takes Go's GOARCH.
    pub name: &'static str,
    /// `e_machine` (elf(5), and the registry of the System V ABI).
    pub machine: u16,
    /// What elf.h calls that.
    pub machine_name: &'static str,
    /// `EI_CLASS`: 64 bit.
    pub wide: bool,
    /// `EI_DATA`: little-endian.
    pub little: bool,
    /// What QEMU calls it: `qemu-NAME`; `None` where the suite runs nothing under it.
    pub qemu: Option<&'static str>,
    /// Debian's folder of its libraries, where Debian has it.
    pub multiarch: Option<&'static str>,
    /// Distributions build kernels with 64 KiB pages for it.
    pub large_pages: bool,
}

/// All that are known.
pub static ALL: [Architecture; 13] = [
    row("amd64", (62, "EM_X86_64"), (true, true), "x86_64").with("x86_64-linux-gnu"),
    row("386", (3, "EM_386"), (false, true), "i386").with("i386-linux-gnu"),
    row("arm64", (183, "EM_AARCH64"), (true, true), "aarch64")
        .with("aarch64-linux-gnu")
        .with_large_pages(),
    row("arm", (40, "EM_ARM"), (false, true), "arm").with("arm-linux-gnueabihf"),
    row("ppc64le", (21, "EM_PPC64"), (true, true), "ppc64le")
        .with("powerpc64le-linux-gnu")
        .with_large_pages(),
    row("ppc64", (21, "EM_PPC64"), (true, false), "ppc64"),
    row("s390x", (22, "EM_S390"), (true, false), "s390x").with("s390x-linux-gnu"),
    row("riscv64", (243, "EM_RISCV"), (true, true), "riscv64").with("riscv64-linux-gnu"),
    row(
        "loong64",
        (258, "EM_LOONGARCH"),
        (true, true),
        "loongarch64",
    )
    .with("loongarch64-linux-gnu"),
    row("mips64le", (8, "EM_MIPS"), (true, true), "mips64el"),
    row("mips64", (8, "EM_MIPS"), (true, false), "mips64"),
    row("mipsle", (8, "EM_MIPS"), (false, true), "").without_qemu(),
    row("mips", (8, "EM_MIPS"), (false, false), "").without_qemu(),
];

const fn row(
    name: &'static str,
    (machine, machine_name): (u16, &'static str),
    (wide, little): (bool, bool),
    qemu: &'static str,
) -> Architecture {
    Architecture {
        name,
        machine,
        machine_name,
        wide,
        little,
        qemu: Some(qemu),
        multiarch: None,
        large_pages: false,
    }
}

impl Architecture {
    const fn with(mut self, multiarch: &'static str) -> Self {
        self.multiarch = Some(multiarch);
        self
    }

    const fn with_large_pages(mut self) -> Self {
        self.large_pages = true;
        self
    }

    const fn without_qemu(mut self) -> Self {
        self.qemu = None;
        self
    }

    /// That of a name of the OCI image specification.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|row| row.name == name)
    }

    /// That of programs whose ELF header says this: `e_machine`, 64 bit, little-endian.
    pub fn of_elf(machine: u16, wide: bool, little: bool) -> Option<&'static Self> {
        ALL.iter()
            .find(|row| (row.machine, row.wide, row.little) == (machine, wide, little))
    }

    /// What elf.h calls a machine, whatever class and byte order it is used with.
    pub fn machine_name(machine: u16) -> Option<&'static str> {
        let row = ALL.iter().find(|row| row.machine == machine);
        row.map(|row| row.machine_name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL, Architecture};

    #[test]
    fn no_two_rows_are_one_architecture() {
        let names: BTreeSet<_> = ALL.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALL.len());
        let headers = ALL.iter().map(|row| (row.machine, row.wide, row.little));
        assert_eq!(headers.collect::<BTreeSet<_>>().len(), ALL.len());
        let emulators: Vec<_> = ALL.iter().filter_map(|row| row.qemu).collect();
        let once: BTreeSet<_> = emulators.iter().collect();
        assert_eq!(once.len(), emulators.len());
    }

    #[test]
    fn a_header_and_a_name_lead_to_one_row() {
        for row in &ALL {
            assert_eq!(Architecture::named(row.name), Some(row));
            let found = Architecture::of_elf(row.machine, row.wide, row.little);
            assert_eq!(found, Some(row));
        }
        assert_eq!(Architecture::of_elf(62, false, true), None, "x32");
        assert_eq!(Architecture::machine_name(62), Some("EM_X86_64"));
        assert_eq!(Architecture::named("x86_64"), None);
    }
}
