//! System calls of 32-bit x86: `int 0x80` with arguments in `ebx`, `ecx`,
//! `edx`, `esi`, `edi`, `ebp`.

use core::arch::asm;

/// A system call of one argument; a result in -4095..=-1 is a negated errno.
///
/// # Safety
/// What the kernel does on behalf of this call must be sound in the program.
#[inline(always)]
#[must_use]
pub unsafe fn syscall1(nr: usize, a: usize) -> isize {
    let result: isize;
    // SAFETY: the kernel changes eax and no other register, and leaves the
    // stack alone; the rest is the caller's.
    unsafe {
        asm!("int 0x80", inlateout("eax") nr => result, in("ebx") a, options(nostack));
    }
    result
}

/// A system call of three arguments; a result in -4095..=-1 is a negated errno.
///
/// # Safety
/// As for [`syscall1`], the arguments' pointers included.
#[inline(always)]
#[must_use]
pub unsafe fn syscall3(nr: usize, a: usize, b: usize, c: usize) -> isize {
    let result: isize;
    // SAFETY: as in `syscall1`.
    unsafe {
        asm!(
            "int 0x80",
            inlateout("eax") nr => result,
            in("ebx") a, in("ecx") b, in("edx") c,
            options(nostack),
        );
    }
    result
}

/// A system call of four arguments; a result in -4095..=-1 is a negated errno.
///
/// # Safety
/// As for [`syscall1`], the arguments' pointers included.
#[inline(always)]
#[must_use]
pub unsafe fn syscall4(nr: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let result: isize;
    // SAFETY: as in `syscall1`; esi is put back before the compiler sees it.
    unsafe {
        asm!(
            "xchg esi, edi",
            "int 0x80",
            "xchg esi, edi",
            inlateout("eax") nr => result,
            in("ebx") a, in("ecx") b, in("edx") c, in("edi") d,
            options(nostack),
        );
    }
    result
}

/// A system call of six arguments; a result in -4095..=-1 is a negated errno.
///
/// # Safety
/// As for [`syscall1`], the arguments' pointers included.
#[inline]
#[must_use]
pub unsafe fn syscall6(
    nr: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let args = [a, b, c, d, e, f];
    let result: isize;
    // SAFETY: as in `syscall1`; `args` outlives the call, esi and ebp are put
    // back before the compiler sees them, and the two pushes are undone.
    unsafe {
        asm!(
            "push ebp",
            "push esi",
            "mov ebx, [edi]",
            "mov ecx, [edi + 4]",
            "mov edx, [edi + 8]",
            "mov esi, [edi + 12]",
            "mov ebp, [edi + 20]",
            "mov edi, [edi + 16]",
            "int 0x80",
            "pop esi",
            "pop ebp",
            inlateout("eax") nr => result,
            inout("edi") args.as_ptr() => _,
            out("ebx") _, out("ecx") _, out("edx") _,
        );
    }
    result
}
