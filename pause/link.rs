//! How the programs without a C runtime are built: the one place for it.
//!
//! Plain Rust without dependencies, so that build scripts can take it in with
//! `#[path]` as well.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cargo profile of these programs, and the folder cargo puts them in.
pub const PROFILE: &str = "tiny";

/// The packages that have them.
pub const PAUSE: &str = "reference-pause";
/// Probe and fixtures.
pub const FIXTURES: &str = "pause-fixtures";

/// The feature without which cargo leaves these programs out of a build.
pub const FEATURE: &str = "freestanding";

/// The program for WASI, and the target it is built for.
pub const WASI_PROGRAM: &str = "pause-wasi";
/// Preview 1; the component is made by hand.
pub const WASI_TRIPLE: &str = "wasm32-wasip1";

/// The flags for every object and the link, for any of the targets.
///
/// `workspace` is the root of the project, `linker` a `rust-lld`. What is not
/// set here is that linker's default and wanted: segments aligned to the
/// largest page of the architecture (64 KiB on arm64 and ppc64le), and a
/// `PT_GNU_STACK` that is not executable.
pub fn rustflags(workspace: &Path, linker: &Path) -> Vec<String> {
    let script = workspace.join("pause/link.ld");
    vec![
        // The toolchain's own linker knows every target: no cross gcc.
        format!("-Clinker={}", linker.display()),
        "-Clinker-flavor=ld.lld".into(),
        // Fixed addresses: nothing would apply relocations, and a pause has no secrets for address
        // randomisation to keep.
        "-Crelocation-model=static".into(),
        "-Ctarget-feature=+crt-static".into(),
        // No tables for an unwinder: a panic traps.
        "-Cforce-unwind-tables=no".into(),
        // Nor an index of them: where core comes compiled, the linker makes one that is empty.
        "-Clink-arg=--no-eh-frame-hdr".into(),
        // Nothing is written once, at start, and then protected.
        "-Crelro-level=off".into(),
        // Constants live beside the code: one segment, read and executed.
        "-Clink-arg=--no-rosegment".into(),
        // No hash of the contents inside the contents.
        "-Clink-arg=--build-id=none".into(),
        // The kernel reads segments; the table of sections is for debuggers.
        "-Clink-arg=-znosectionheader".into(),
        format!("-Clink-arg=-T{}", script.display()),
    ]
}

/// The same for the WASI program: one page of memory, which cannot grow, and
/// nothing of a C library.
pub fn wasm_rustflags(linker: &Path) -> Vec<String> {
    const PAGE: usize = 65536;
    vec![
        format!("-Clinker={}", linker.display()),
        "-Clinker-flavor=wasm-ld".into(),
        "-Clink-self-contained=no".into(),
        // The program has one frame; its constants come right after.
        "-Clink-arg=-zstack-size=1024".into(),
        format!("-Clink-arg=--initial-memory={PAGE}"),
        format!("-Clink-arg=--max-memory={PAGE}"),
        // Names of functions and of the compiler, too.
        "-Clink-arg=--strip-all".into(),
    ]
}

/// The linker in the toolchain whose `rustc` this is.
pub fn linker(rustc: &OsStr) -> Option<PathBuf> {
    let host = host(rustc)?;
    let sysroot = said(Command::new(rustc).args(["--print", "sysroot"]))?;
    let lld = Path::new(&sysroot)
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    lld.exists().then_some(lld)
}

/// The triple that `rustc` itself runs on.
pub fn host(rustc: &OsStr) -> Option<String> {
    let version = said(Command::new(rustc).arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))?;
    Some(host.to_owned())
}

/// What `command` prints, without the end of the line; `None` if it fails.
fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end().to_owned())
}

/// `cargo build` of `packages`' programs for `triples`, ready to be run.
///
/// They end up as `TARGET_DIR/TRIPLE/tiny/NAME`, with zeros at the end for
/// [`segments_end`] to find.
pub fn build(
    cargo: &OsStr,
    workspace: &Path,
    linker: &Path,
    target_dir: &Path,
    triples: &[&str],
    packages: &[&str],
) -> Command {
    let mut command = cargo_build(cargo, workspace, target_dir);
    command.arg("--bins");
    for package in packages {
        command.args(["--package", package, "--features"]);
        command.arg(format!("{package}/{FEATURE}"));
    }
    let flags = rustflags(workspace, linker);
    for triple in triples {
        add_target(&mut command, triple, &flags);
    }
    command
}

/// `cargo build` of the WASI pause, which ends up as
/// `TARGET_DIR/wasm32-wasip1/tiny/pause-wasi.wasm`.
pub fn build_wasi(cargo: &OsStr, workspace: &Path, linker: &Path, target_dir: &Path) -> Command {
    let mut command = cargo_build(cargo, workspace, target_dir);
    command.args(["--package", PAUSE, "--features", "wasi"]);
    command.args(["--bin", WASI_PROGRAM]);
    add_target(&mut command, WASI_TRIPLE, &wasm_rustflags(linker));
    command
}

fn add_target(command: &mut Command, triple: &str, flags: &[String]) {
    let variable = triple.to_uppercase().replace(['-', '.'], "_");
    let mut flags = flags.join(" ");
    if triple.starts_with("aarch64-") {
        // Atomics in place, not by a call of what asks a C library which to use.
        flags += " -Ctarget-feature=-outline-atomics";
    }
    command
        .args(["--target", triple])
        .env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), flags);
}

/// `cargo build` without what an outer cargo has set.
fn cargo_build(cargo: &OsStr, workspace: &Path, target_dir: &Path) -> Command {
    let mut command = Command::new(cargo);
    // What an outer cargo, or clippy, has set for itself is not meant for
    // these programs; flags go by target, so that they spare build scripts.
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "CARGO_MAKEFLAGS",
            "MAKEFLAGS",
            "RUSTC_WRAPPER",
        ]
        .contains(&text)
            || text.starts_with("RUSTC_WORKSPACE_WRAPPER")
            || text.starts_with("CARGO_TARGET_")
            || text.starts_with("CARGO_BUILD_")
            || text.starts_with("CARGO_PROFILE_")
            || text.starts_with("CARGO_FEATURE_")
            || text.starts_with("CARGO_CFG_")
        {
            command.env_remove(name);
        }
    }
    command
        .current_dir(workspace)
        .args(["build", "--quiet", "--profile", PROFILE])
        .arg("--target-dir")
        .arg(target_dir);
    command
}

/// Where the last segment of an ELF program ends, in bytes from its start.
///
/// The linker keeps room at the end of the file for the table of sections
/// that it was told to leave out; what follows the segments is that.
/// `None`: not an ELF program, or one that is cut short.
pub fn segments_end(elf: &[u8]) -> Option<usize> {
    let wide = match elf.get(..5)? {
        b"\x7fELF\x01" => false,
        b"\x7fELF\x02" => true,
        _ => return None,
    };
    let little = *elf.get(5)? == 1;
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        let push = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add(usize::from(*byte));
        let mut bytes = bytes.iter();
        if little {
            bytes.try_rfold(0, push)
        } else {
            bytes.try_fold(0, push)
        }
    };
    // System V ABI, "ELF Header" and "Program Header", in both classes.
    let (word, e_phoff, e_phentsize, p_offset, p_filesz) = if wide {
        (8, 32, 54, 8, 32)
    } else {
        (4, 28, 42, 4, 16)
    };
    let table = number(e_phoff, word)?;
    let size = number(e_phentsize, 2)?;
    let count = number(e_phentsize + 2, 2)?;
    let mut end = table.checked_add(size.checked_mul(count)?)?;
    for row in (0..count).map(|i| table + i * size) {
        let start = number(row.checked_add(p_offset)?, word)?;
        let length = number(row.checked_add(p_filesz)?, word)?;
        end = end.max(start.checked_add(length)?);
    }
    (end <= elf.len()).then_some(end)
}
