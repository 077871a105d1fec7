//! The family `binary`: the program as a file. Nothing is run, except for the check of its
//! instructions.

use crate::advice::{self, Advice};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject::elf::{Elf, Kind};
use crate::subject::program::closure;
use crate::subject::{Program, escape, show_path};

mod baseline;

/// The largest page that distributions build kernels with, in bytes.
const LARGE_PAGE: u64 = 0x1_0000;

/// The program as a file.
pub static FAMILY: Family = Family {
    name: "binary",
    title: "the program as a file",
    checks: &[
        &STATIC,
        &PAGE_SIZE_64K,
        &NO_EXEC_STACK,
        &STRIPPED,
        &baseline::BASELINE_CPU,
    ],
};

static STATIC: Check = Check {
    id: "binary/static",
    title: "everything the program needs to start is there",
    level: Level::Must,
    requirement: "The program MUST be an ELF executable without interpreter and libraries, or they MUST be in the image.",
    source: Source {
        title: "kubernetes build/pause/Makefile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Makefile",
    },
    advice: Advice::new(
        "The image holds no loader: exec fails with \"no such file or directory\", and no pod starts.",
        "Link statically.",
    )
    .as_in(&advice::STATIC),
    needs: Needs::PROGRAM.union(Needs::ELF),
    after: &[],
    run: is_static,
};

fn is_static(cx: &Context<'_>) -> Outcome {
    let program = program_of(cx)?;
    let elf = Elf::parse(&program.content).map_err(|cause| {
        Finding::new(
            "an ELF executable",
            format!("{}: {cause}", show_path(&program.path)),
        )
    })?;
    if let Kind::Other(kind) = elf.kind {
        return Err(Finding::new(
            "an ELF executable",
            format!("e_type {kind}, which does not run"),
        )
        .into());
    }
    if elf.is_static() {
        return Ok(Pass::new(format!(
            "no PT_INTERP, no DT_NEEDED; {}",
            elf.architecture.words
        )));
    }
    let needs = closure(&cx.subject().rootfs, program);
    let missing: Vec<&String> = needs
        .iter()
        .filter_map(|need| need.found.as_ref().err())
        .collect();
    let lines = needs.iter().map(|need| match &need.found {
        Ok(path) => format!("needs {}: {}", escape(&need.name), show_path(path)),
        Err(why) => format!("needs {}: {why}", escape(&need.name)),
    });
    match missing.first() {
        None => {
            let pass = Pass::new(format!(
                "dynamic, and all {} files that it needs are in the image",
                needs.len()
            ));
            Ok(lines.fold(pass, Pass::with))
        }
        Some(first) => {
            let finding = Finding::new(
                "a static program, or its interpreter and libraries in the image",
                first.as_str(),
            );
            Err(lines.fold(finding, Finding::with).into())
        }
    }
}

static PAGE_SIZE_64K: Check = Check {
    id: "binary/page-size-64k",
    title: "segments fit 64 KiB pages",
    level: Level::Must,
    requirement: "On arm64 and ppc64le every PT_LOAD segment MUST be aligned to 64 KiB, its address and offset congruent, since kernels there have such pages.",
    source: Source {
        title: "nixpkgs#112086",
        url: "https://github.com/NixOS/nixpkgs/issues/112086",
    },
    advice: Advice::new(
        "A kernel with pages of 64 KiB refuses to load the program, so no pod starts on such nodes.",
        "Have the linker align segments to 64 KiB.",
    )
    .as_in(&advice::ALIGN),
    needs: Needs::PROGRAM.union(Needs::ELF).union(Needs::LARGE_PAGES),
    after: &[],
    run: page_size_64k,
};

fn page_size_64k(cx: &Context<'_>) -> Outcome {
    let elf = elf_of(cx)?;
    ensure(!elf.loads.is_empty(), "a PT_LOAD segment", "none")?;
    let lines: Vec<String> = elf
        .loads
        .iter()
        .map(|load| {
            format!(
                "PT_LOAD at {:#x}, offset {:#x}, alignment {:#x}",
                load.address, load.offset, load.alignment
            )
        })
        .collect();
    for (load, line) in elf.loads.iter().zip(&lines) {
        // As elf(5) asks; then it holds for every smaller page as well.
        let congruent =
            load.address.checked_rem(load.alignment) == load.offset.checked_rem(load.alignment);
        let expected = "alignment of at least 0x10000, address and offset congruent to it";
        ensure(
            load.alignment >= LARGE_PAGE && load.alignment.is_power_of_two() && congruent,
            expected,
            line.as_str(),
        )?;
    }
    let pass = Pass::new(format!("{} segments fit", lines.len()));
    Ok(lines.into_iter().fold(pass, Pass::with))
}

static NO_EXEC_STACK: Check = Check {
    id: "binary/no-exec-stack",
    title: "no executable stack, nothing both writable and executable",
    level: Level::Should,
    requirement: "The program SHOULD have a PT_GNU_STACK that is not executable, and no segment both writable and executable.",
    source: Source {
        title: "elf(5), PT_GNU_STACK",
        url: "https://man7.org/linux/man-pages/man5/elf.5.html",
    },
    advice: Advice::new(
        "Memory that is both written and executed turns a fault in the program into code of an intruder.",
        "Mark the stack as not executable, and give code and data segments of their own.",
    )
    .as_in(&advice::NOEXEC),
    needs: Needs::PROGRAM.union(Needs::ELF),
    after: &["binary/static"],
    run: no_exec_stack,
};

fn no_exec_stack(cx: &Context<'_>) -> Outcome {
    let elf = elf_of(cx)?;
    let Some(stack) = elf.stack else {
        return Err(Finding::new(
            "PT_GNU_STACK",
            "none: the kernel makes the stack executable on some architectures",
        )
        .into());
    };
    ensure(
        !stack.execute,
        "PT_GNU_STACK that is not executable",
        format!("PT_GNU_STACK {stack}"),
    )?;
    for load in &elf.loads {
        let both = load.permissions.write && load.permissions.execute;
        let observed = format!("PT_LOAD at {:#x} is {}", load.address, load.permissions);
        ensure(!both, "no segment both writable and executable", observed)?;
    }
    Ok(Pass::new(format!(
        "PT_GNU_STACK {stack}, {} segments, none writable and executable",
        elf.loads.len()
    )))
}

static STRIPPED: Check = Check {
    id: "binary/stripped",
    title: "no symbols, no debug information",
    level: Level::Should,
    requirement: "The program SHOULD have no symbol table and no debug sections.",
    source: Source {
        title: "kubernetes build/pause/Makefile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Makefile",
    },
    advice: Advice::new(
        "Symbols and debug information are pulled by every node and read by none.",
        "Strip the program.",
    )
    .as_in(&advice::STRIP),
    needs: Needs::PROGRAM.union(Needs::ELF),
    after: &["binary/static"],
    run: stripped,
};

fn stripped(cx: &Context<'_>) -> Outcome {
    let elf = elf_of(cx)?;
    let size = program_of(cx)?.content.len();
    let observed = format!(
        "{} symbols, {} debug sections, {size} bytes",
        elf.symbols,
        elf.debug_sections.len()
    );
    if elf.symbols == 0 && elf.debug_sections.is_empty() {
        return Ok(Pass::new(observed));
    }
    let finding = Finding::new("no symbols, no debug sections", observed);
    Err(elf
        .debug_sections
        .iter()
        .take(20)
        .cloned()
        .fold(finding, Finding::with)
        .into())
}

fn program_of<'a>(cx: &'a Context<'_>) -> Result<&'a Program, Stop> {
    cx.subject()
        .program
        .as_ref()
        .map_err(|_| Stop::Skip("there is no program".to_owned()))
}

fn elf_of(cx: &Context<'_>) -> Result<Elf, Stop> {
    let program = program_of(cx)?;
    Elf::parse(&program.content).map_err(|cause| {
        Finding::new(
            "an ELF file that can be read",
            format!("{}: {cause}", show_path(&program.path)),
        )
        .into()
    })
}
