//! What an ELF file says of itself: machine, linkage, segments, symbols (elf(5)).
//!
//! Reads any bytes without panic; what cannot be read is an error in words.

use std::borrow::Cow;
use std::fmt;

use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, elf};

use super::{Architecture, ElfArchitecture};

/// An ELF file, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Machine, class and byte order.
    pub architecture: ElfArchitecture,
    /// What kind of file it is.
    pub kind: Kind,
    /// Address that execution starts at.
    pub entry: u64,
    /// `PT_INTERP`, without its NUL.
    pub interpreter: Option<Vec<u8>>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<Vec<u8>>,
    /// `DT_RUNPATH`, or `DT_RPATH` where there is none, split at colons.
    pub library_paths: Vec<Vec<u8>>,
    /// `PT_LOAD` segments in order.
    pub loads: Vec<Segment>,
    /// `PT_GNU_STACK`, where there is one.
    pub stack: Option<Permissions>,
    /// Number of entries of the symbol table (`SHT_SYMTAB`; dynamic symbols are not in it).
    pub symbols: usize,
    /// Names of sections that hold debug information.
    pub debug_sections: Vec<String>,
}

/// `e_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ET_EXEC`: runs at fixed addresses.
    Executable,
    /// `ET_DYN`: position-independent; static-pie too.
    PositionIndependent,
    /// Relocatable, core or unknown: does not run.
    Other(u16),
}

/// A `PT_LOAD` segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_offset`, in bytes.
    pub offset: u64,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_align`, in bytes.
    pub alignment: u64,
    /// `p_flags`.
    pub permissions: Permissions,
}

/// Permissions of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// `PF_R`.
    pub read: bool,
    /// `PF_W`.
    pub write: bool,
    /// `PF_X`.
    pub execute: bool,
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = |set, letter| if set { letter } else { '-' };
        write!(
            f,
            "{}{}{}",
            bit(self.read, 'r'),
            bit(self.write, 'w'),
            bit(self.execute, 'x')
        )
    }
}

/// Systems other than Linux whose programs are ELF files, as images name them.
const OF_OTHERS: &[&str] = &[
    "aix",
    "android",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "netbsd",
    "openbsd",
    "solaris",
];

/// Whether an ELF program can be one of that system; on Windows, Darwin and what has no
/// such name it cannot.
pub fn is_of(os: &str) -> bool {
    let os = os.to_lowercase();
    os == "linux" || OF_OTHERS.contains(&&*os)
}

impl Elf {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// In words, where the bytes are no ELF file or a header leads outside of them.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, file) = as_the_kernel_reads(bytes);
        match header {
            [0x7f, b'E', b'L', b'F', 1, ..] => {
                parse::<elf::FileHeader32<Endianness>>(&header, &file)
            }
            [0x7f, b'E', b'L', b'F', 2, ..] => {
                parse::<elf::FileHeader64<Endianness>>(&header, &file)
            }
            [0x7f, b'E', b'L', b'F', ..] => {
                Err("neither a 32-bit nor a 64-bit ELF file".to_owned())
            }
            _ => Err("not an ELF file".to_owned()),
        }
        .and_then(|elf| match bytes.len() {
            ..HEADER if elf.loads.is_empty() => Err("ends within its header".to_owned()),
            _ => Ok(elf),
        })
        .map_err(|error| super::escape(error.as_bytes()))
    }

    /// Whether nothing but the kernel is needed to start it.
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

/// Bytes of a 64-bit header, the longer one.
const HEADER: usize = 64;

/// Linux reads zeros where a file ends within its header, and of `e_ident` it looks at the
/// magic alone: class and byte order are the machine's (`load_elf_binary`, fs/binfmt_elf.c).
/// So there are programs of 45 bytes. The header as it means it, and the file.
fn as_the_kernel_reads(bytes: &[u8]) -> ([u8; HEADER], Cow<'_, [u8]>) {
    let mut file = Cow::Borrowed(bytes);
    if file.len() < HEADER && file.starts_with(b"\x7fELF") {
        file.to_mut().resize(HEADER, 0);
    }
    let mut header = [0; HEADER];
    for (to, from) in header.iter_mut().zip(&*file) {
        *to = *from;
    }
    let machine = elf::Machine(u16::from_le_bytes([header[18], header[19]]));
    let class = match machine {
        elf::EM_386 | elf::EM_ARM => 1,
        elf::EM_X86_64 | elf::EM_AARCH64 | elf::EM_RISCV | elf::EM_LOONGARCH => 2,
        _ => return (header, file),
    };
    let known = |byte: u8| [1, 2].contains(&byte);
    if !known(header[4]) || !known(header[5]) || header[6] != 1 {
        header[4..7].copy_from_slice(&[class, 1, 1]);
    }
    (header, file)
}

fn parse<H: FileHeader<Endian = Endianness>>(header: &[u8], bytes: &[u8]) -> Result<Elf, String> {
    let words = |error: object::read::Error| error.to_string().to_lowercase();
    let header = H::parse(header).map_err(words)?;
    let endian = header.endian().map_err(words)?;
    let mut found = Elf {
        architecture: architecture::<H>(header, endian),
        kind: match header.e_type(endian) {
            elf::ET_EXEC => Kind::Executable,
            elf::ET_DYN => Kind::PositionIndependent,
            other => Kind::Other(other.0),
        },
        entry: header.e_entry(endian).into(),
        interpreter: None,
        needed: Vec::new(),
        library_paths: Vec::new(),
        loads: Vec::new(),
        stack: None,
        symbols: 0,
        debug_sections: Vec::new(),
    };
    let programs = header.program_headers(endian, bytes).map_err(words)?;
    for program in programs {
        let flags = program.p_flags(endian);
        let permissions = Permissions {
            read: flags.contains(elf::PF_R),
            write: flags.contains(elf::PF_W),
            execute: flags.contains(elf::PF_X),
        };
        match program.p_type(endian) {
            elf::PT_LOAD => found.loads.push(Segment {
                offset: program.p_offset(endian).into(),
                address: program.p_vaddr(endian).into(),
                alignment: program.p_align(endian).into(),
                permissions,
            }),
            elf::PT_GNU_STACK => found.stack = Some(permissions),
            elf::PT_INTERP => {
                let interpreter = program.interpreter(endian, bytes).map_err(words)?;
                found.interpreter = interpreter.map(<[u8]>::to_vec);
            }
            _ => {}
        }
    }
    let dynamic = programs
        .iter()
        .find_map(|program| program.dynamic(endian, bytes).transpose());
    if let Some(dynamic) = dynamic {
        read_dynamic::<H>(dynamic.map_err(words)?, programs, endian, bytes, &mut found);
    }
    read_sections(header, endian, bytes, &mut found);
    Ok(found)
}

/// Strings are found by address through the segments, as a loader does, since sections may be stripped.
fn read_dynamic<H: FileHeader<Endian = Endianness>>(
    dynamic: &[H::Dyn],
    programs: &[H::ProgramHeader],
    endian: Endianness,
    bytes: &[u8],
    found: &mut Elf,
) {
    let value = |tag| {
        let mut entries = dynamic
            .iter()
            .take_while(|entry| entry.tag(endian) != elf::DT_NULL);
        entries
            .find(|entry| entry.tag(endian) == tag)
            .map(|entry| entry.val(endian))
    };
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return;
    };
    let strings = programs.iter().find_map(|program| {
        program
            .data_range(endian, bytes, address, size)
            .ok()
            .flatten()
    });
    let string = |offset: u64| -> Option<Vec<u8>> {
        let rest = strings?.get(usize::try_from(offset).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        (end <= 4096).then(|| rest[..end].to_vec())
    };
    let needed = dynamic
        .iter()
        .take_while(|entry| entry.tag(endian) != elf::DT_NULL);
    found.needed = needed
        .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        .take(256)
        .filter_map(|entry| string(entry.val(endian)))
        .collect();
    let paths = value(elf::DT_RUNPATH)
        .or_else(|| value(elf::DT_RPATH))
        .and_then(string);
    if let Some(paths) = paths {
        found.library_paths = paths
            .split(|byte| *byte == b':')
            .map(<[u8]>::to_vec)
            .collect();
    }
}

/// Sections are no part of what runs: where they cannot be read there are none.
fn read_sections<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
    bytes: &[u8],
    found: &mut Elf,
) {
    let Ok(sections) = header.sections(endian, bytes) else {
        return;
    };
    for section in sections.iter() {
        if section.sh_type(endian) == elf::SHT_SYMTAB {
            let size: u64 = section.sh_size(endian).into();
            let each: u64 = section.sh_entsize(endian).into();
            // Entry 0 is the null symbol.
            let count = size.checked_div(each).unwrap_or(0).saturating_sub(1);
            found.symbols += usize::try_from(count).unwrap_or(usize::MAX);
        }
        let name = sections.section_name(endian, section).unwrap_or_default();
        let debug = [&b".debug"[..], b".zdebug", b".stab", b".gdb_index"];
        if debug.iter().any(|prefix| name.starts_with(prefix)) && found.debug_sections.len() < 64 {
            found.debug_sections.push(super::escape(name));
        }
    }
}

/// Machine as OCI architectures (the specification takes Go's GOARCH).
fn architecture<H: FileHeader<Endian = Endianness>>(
    header: &H,
    endian: Endianness,
) -> ElfArchitecture {
    let (machine, wide, little) = (
        header.e_machine(endian),
        header.is_class_64(),
        header.is_little_endian(),
    );
    let row = Architecture::of_elf(machine.0, wide, little);
    let name = Architecture::machine_name(machine.0);
    let bits = if wide { 64 } else { 32 };
    let order = if little { "little" } else { "big" };
    let name = name.map_or_else(|| format!("e_machine {}", machine.0), str::to_owned);
    ElfArchitecture {
        architectures: row.into_iter().map(|row| row.name).collect(),
        words: format!("{name}, {bits}-bit {order}-endian"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn this_program() -> Vec<u8> {
        std::fs::read("/proc/self/exe").expect("this program can be read")
    }

    #[test]
    fn a_dynamic_program_names_its_interpreter_and_libraries() {
        let elf = Elf::parse(&this_program()).expect("this program is an ELF file");
        assert!(!elf.is_static());
        assert!(elf.interpreter.is_some());
        assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.so")));
        assert!(elf.symbols > 0);
        assert!(elf.loads.iter().any(|load| load.permissions.execute));
    }

    #[test]
    fn what_is_no_elf_file_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x7fELF",
            b"\x7fELF\x03",
            b"#!/bin/sh",
            b"\x7fELF\x02\x01\x01",
            &[0x7f; 64],
        ] {
            assert!(Elf::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    /// Header and segment lie over each other, and the file ends within the header.
    const SMALLEST: [u8; 45] = [
        0x7f, b'E', b'L', b'F', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0x20, 0, 1,
        0, //
        0x20, 0, 1, 0, 4, 0, 0, 0, 0xb3, 42, 0x31, 0xc0, 0x40, 0xcd, 0x80, 0, 0x34, 0, 0x20, 0, 1,
    ];

    #[test]
    fn a_program_of_45_bytes_that_the_kernel_runs_is_read() {
        let elf = Elf::parse(&SMALLEST).expect("the kernel runs it");
        assert_eq!(elf.architecture.architectures, ["386"]);
        assert_eq!((elf.kind, elf.entry), (Kind::Executable, 0x1_0020));
        assert_eq!(elf.loads.len(), 1);
        assert_eq!(elf.loads[0].address, 0x1_0000);
        assert!(elf.is_static());
        assert!(Elf::parse(&SMALLEST[..40]).is_err(), "it names no segments");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0_usize..4096, value: u8, len in 0_usize..8192) {
            let mut bytes = this_program();
            bytes[at] = value;
            let _ = Elf::parse(&bytes);
            bytes.truncate(len);
            let _ = Elf::parse(&bytes);
        }
    }
}
