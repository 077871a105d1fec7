//! The programs, as the kernel's loader reads them.

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, PF_W, PF_X, PT_GNU_STACK, PT_INTERP, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader as _};
use rstest::rstest;
use std::collections::BTreeMap;
use xtask::{build, link, platform, toolchain};

#[rstest]
fn every_program_is_static_and_aligned_and_without_an_executable_stack(
    #[values(
        "amd64", "arm64", "arm/v7", "ppc64le", "s390x", "riscv64", "loong64", "386"
    )]
    name: &str,
) {
    let platform = platform::parse(name).expect("a platform of the table");
    if !build::buildable().contains(&platform) {
        eprintln!("skipped: no toolchain here builds for {name}");
        return;
    }
    let out = xtask::workspace().join("target/programs");
    let programs =
        build::programs(&[platform], &[link::PAUSE], &out).expect("it can be built here");
    let bytes = std::fs::read(&programs[0].path).expect("the program");
    match object::FileKind::parse(bytes.as_slice()).expect("a program") {
        object::FileKind::Elf32 => judge::<FileHeader32<Endianness>>(name, &bytes),
        object::FileKind::Elf64 => judge::<FileHeader64<Endianness>>(name, &bytes),
        other => panic!("{other:?} on {name}"),
    }
}

/// A compiler builds the same bytes with `core` compiled or installed, within the budgets.
#[test]
fn every_route_keeps_the_budget_and_one_compiler_gives_one_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut built = 0;
    for platform in build::buildable() {
        let mut programs: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
        for (number, route) in toolchain::all(platform.triple).iter().enumerate() {
            let out = folder.path().join(number.to_string());
            let program = build::programs_by(route, &[platform], &[link::PAUSE], &out)
                .expect("it can be built here")
                .remove(0);
            let (name, size) = (&route.name, program.size);
            let on = format!("on {} by {name}", platform.name);
            assert!(size <= platform.budget(), "{size} B {on}");
            let bytes = std::fs::read(&program.path).expect("the program");
            let known = programs
                .entry(route.release.clone())
                .or_insert_with(|| (name.clone(), bytes.clone()));
            assert_eq!(known.1, bytes, "{on} it is not as by {}", known.0);
            built += 1;
        }
    }
    assert!(built > 0, "no toolchain builds anything here");
}

fn judge<Elf: FileHeader<Endian = Endianness>>(name: &str, bytes: &[u8]) {
    let header = Elf::parse(bytes).expect("an ELF header");
    let endian = header.endian().expect("a byte order");
    assert_eq!(header.e_shnum(endian), 0, "a table of sections on {name}");
    // arm64 and ppc64le kernels may have pages of 64 KiB.
    let page: u64 = if ["arm64", "ppc64le"].contains(&name) {
        0x10000
    } else {
        0x1000
    };
    let mut stack = false;
    for segment in header.program_headers(endian, bytes).expect("segments") {
        let flags = segment.p_flags(endian);
        assert_ne!(segment.p_type(endian), PT_INTERP, "on {name}");
        assert_ne!(
            flags & (PF_W | PF_X),
            PF_W | PF_X,
            "writable and executable on {name}"
        );
        if segment.p_type(endian) == PT_GNU_STACK {
            stack = true;
            assert_ne!(flags & PF_X, PF_X, "an executable stack on {name}");
        }
        if segment.p_type(endian) == PT_LOAD {
            let offset: u64 = segment.p_offset(endian).into();
            let address: u64 = segment.p_vaddr(endian).into();
            let align: u64 = segment.p_align(endian).into();
            assert!(align >= page, "aligned to {align:#x} on {name}");
            assert_eq!(offset % align, address % align, "not congruent on {name}");
        }
    }
    assert!(
        stack,
        "no PT_GNU_STACK on {name}: the kernel's default is executable"
    );
}
