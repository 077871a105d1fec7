//! Programs of the 32-bit architecture beside the host's, which many kernels run as well: seen
//! by running one, for neither the processor nor the kernel's version tells.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::subject::Platform;

/// An architecture that this host may run beside its own.
struct Beside {
    host: &'static str,
    architecture: &'static str,
    /// `e_machine` (elf(5)).
    machine: u16,
    /// `e_flags`.
    flags: u32,
    /// read(0, stack, 1); exit(42).
    code: &'static [u8],
}

const ALL: [Beside; 2] = [
    Beside {
        host: "amd64",
        architecture: "386",
        machine: 3,
        flags: 0,
        code: &[
            0xb8, 3, 0, 0, 0, // mov eax, 3
            0x31, 0xdb, // xor ebx, ebx
            0x89, 0xe1, // mov ecx, esp
            0xba, 1, 0, 0, 0, // mov edx, 1
            0xcd, 0x80, // int 0x80
            0xb8, 1, 0, 0, 0, // mov eax, 1
            0xbb, 42, 0, 0, 0, // mov ebx, 42
            0xcd, 0x80, // int 0x80
        ],
    },
    Beside {
        host: "arm64",
        architecture: "arm",
        machine: 40,
        // EABI 5.
        flags: 0x0500_0000,
        code: &[
            0x03, 0x70, 0xa0, 0xe3, // mov r7, #3
            0x00, 0x00, 0xa0, 0xe3, // mov r0, #0
            0x0d, 0x10, 0xa0, 0xe1, // mov r1, sp
            0x01, 0x20, 0xa0, 0xe3, // mov r2, #1
            0x00, 0x00, 0x00, 0xef, // svc #0
            0x01, 0x70, 0xa0, 0xe3, // mov r7, #1
            0x2a, 0x00, 0xa0, 0xe3, // mov r0, #42
            0x00, 0x00, 0x00, 0xef, // svc #0
        ],
    },
];

/// What the program ends with.
const STATUS: i32 = 42;

/// How long it may take over its few instructions.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether this kernel runs programs for this platform itself.
pub(super) fn runs(platform: &Platform, host: &Platform) -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    let (platform, host) = (platform.normal(), host.normal());
    let Some(beside) = ALL.iter().find(|it| it.host == host.architecture) else {
        return false;
    };
    platform.os == host.os
        && platform.architecture == beside.architecture
        && *RUNS.get_or_init(|| is_run_by_kernel(&elf(beside)).unwrap_or(false))
}

/// Whether the kernel executes this program itself, and it ends as it is to: with an interpreter of
/// the host (binfmt_misc) the process would have another executable, and under a filter that
/// refuses the calls of this architecture it would end otherwise.
fn is_run_by_kernel(program: &[u8]) -> io::Result<bool> {
    let file = executable(program)?;
    let mut child = start(&file)?;
    let seen = is_executed(&child, &file);
    // It waits for the end of its input.
    drop(child.stdin.take());
    let pid = Pid::from_child(&child);
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .map_err(io::Error::from)
        .and_then(|pidfd| crate::wait::readable(pidfd.as_fd(), LIMIT));
    if !matches!(ended, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(seen? && status.code() == Some(STATUS))
}

/// An anonymous file that is not open for writing, or exec would fail (ETXTBSY).
fn executable(program: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create(c"beside", flags | MemfdFlags::EXEC)
        // MFD_EXEC is known from Linux 6.3 on.
        .or_else(|_| rustix::fs::memfd_create(c"beside", flags))?;
    let mut file = File::from(file);
    file.write_all(program)?;
    File::open(path(&file))
}

fn path(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn start(file: &File) -> io::Result<Child> {
    let began = Instant::now();
    loop {
        let child = Command::new(path(file))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            // A process that another thread forked meanwhile has it open until it executes.
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && began.elapsed() < LIMIT =>
            {
                std::thread::yield_now();
            }
            child => return child,
        }
    }
}

fn is_executed(child: &Child, file: &File) -> io::Result<bool> {
    let (one, other) = (
        fs::metadata(format!("/proc/{}/exe", child.id()))?,
        file.metadata()?,
    );
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// The smallest program of 32 bits that holds this code: a header and one segment (elf(5)).
fn elf(beside: &Beside) -> Vec<u8> {
    const HEADERS: u32 = 52 + 32;
    // Above what vm.mmap_min_addr keeps free, and at the start of any page.
    const ADDRESS: u32 = 0x0800_0000;
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves =
        |elf: &mut Vec<u8>, all: &[u16]| elf.extend(all.iter().flat_map(|it| it.to_le_bytes()));
    let words =
        |elf: &mut Vec<u8>, all: &[u32]| elf.extend(all.iter().flat_map(|it| it.to_le_bytes()));
    let size = HEADERS + u32::try_from(beside.code.len()).unwrap_or(0);
    halves(&mut elf, &[2, beside.machine]);
    words(&mut elf, &[1, ADDRESS + HEADERS, 52, 0, beside.flags]);
    halves(&mut elf, &[52, 32, 1, 0, 0, 0]);
    words(&mut elf, &[1, 0, ADDRESS, ADDRESS, size, size, 5, 0x1_0000]);
    elf.extend(beside.code);
    elf
}

#[cfg(test)]
mod tests;
