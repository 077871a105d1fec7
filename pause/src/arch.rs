//! One row an architecture: process entry, system call, trap, signal return.
//!
//! A row is what differs between the architectures and nothing else: the
//! registers of the system-call convention (syscall(2), "Architecture calling
//! conventions"), the instructions between the kernel and the first Rust
//! function, and an instruction that no process survives.
//!
//! Numbers of system calls come from `linux-raw-sys`, which takes them from
//! the kernel's own headers.
#![expect(
    unsafe_code,
    reason = "entry and system calls are instructions, not Rust"
)]

/// Makes `$main` the first function of the process.
///
/// `$main` is an `extern "C" fn(*const usize) -> !` and is handed the initial
/// stack pointer: the number of arguments, the arguments, a null, the
/// environment, a null, the auxiliary vector (execve(2); the psABI of each
/// architecture, "Process Initialization"). The stack is aligned as the
/// psABI asks; no relocation has been applied.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[expect(unsafe_code, reason = "the linker knows the entry by its name")]
        const _: () = {
            const _: extern "C" fn(*const usize) -> ! = $main;

            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
        ::core::arch::naked_asm!($crate::__start!(), main = sym $main)
            }
        };
    };
}

/// Generates a row's functions from its registers.
///
/// `nr` holds the number, `args` the arguments in order; `result` says which
/// of the two (0: `nr`, 1: the first argument) holds the result. `insn` is
/// the system call, with what turns its result into a negative errno.
macro_rules! row {
    (
        start: $start:literal,
        trap: $trap:literal,
        insn: $insn:literal,
        nr: $nr:tt,
        args: [$a:tt $b:tt $c:tt $d:tt $e:tt $f:tt],
        result: $result:tt,
        clobbers: [$($clobber:tt)*],
    ) => {
        row!(@shared $start, $trap);
        row!(@call "one argument", syscall1, $insn, $nr, $result, [$($clobber)*], a $a);
        row!(@call "three arguments", syscall3, $insn, $nr, $result, [$($clobber)*], a $a b $b c $c);
        row!(@call "four arguments", syscall4, $insn, $nr, $result, [$($clobber)*], a $a b $b c $c d $d);
        row!(@call "six arguments", syscall6, $insn, $nr, $result, [$($clobber)*], a $a b $b c $c d $d e $e f $f);
    };
    (
        @call $words:literal, $name:ident, $insn:literal, $nr:tt, $result:tt, [$($clobber:tt)*],
        $first:ident $first_reg:tt $($arg:ident $reg:tt)*
    ) => {
        #[doc = concat!("A system call of ", $words, "; a result in -4095..=-1 is a negated errno.")]
        ///
        /// # Safety
        /// What the kernel does on behalf of this call must be sound in the
        /// program: the arguments' pointers valid for what it reads or writes.
        #[inline(always)]
        #[must_use]
        pub unsafe fn $name(nr: usize, $first: usize $(, $arg: usize)*) -> isize {
            let number: isize;
            let first: isize;
            // SAFETY: the kernel changes the registers named here and no
            // other, and leaves the stack alone; the rest is the caller's.
            unsafe {
                core::arch::asm!(
                    $insn,
                    inlateout($nr) nr => number,
                    inlateout($first_reg) $first => first,
                    $(in($reg) $arg,)*
                    $($clobber)*
                    options(nostack),
                );
            }
            (number, first).$result
        }
    };
    (@shared $start:literal, $trap:literal) => {
        /// The instructions of `_start`; `{main}` is the function to call.
        #[doc(hidden)]
        #[macro_export]
        macro_rules! __start {
            () => { $start };
        }

        /// Ends the process by a fault. No signal mask and no seccomp filter
        /// can deny it, and it ends PID 1 of a pid namespace too.
        #[cold]
        pub fn trap() -> ! {
            // SAFETY: the kernel answers the fault with a signal that it
            // forces, so control does not come back.
            unsafe { core::arch::asm!($trap, options(noreturn, nomem, nostack)) }
        }
    };
}

// The System V ABI wants the stack 16-byte aligned before the call; it is.
#[cfg(target_arch = "x86_64")]
row! {
    start: "mov rdi, rsp\ncall {main}",
    trap: "ud2",
    insn: "syscall",
    nr: "rax",
    args: ["rdi" "rsi" "rdx" "r10" "r8" "r9"],
    result: 0,
    // `syscall` keeps the return address and the flags in these two.
    clobbers: [out("rcx") _, out("r11") _,],
}

#[cfg(target_arch = "aarch64")]
row! {
    start: "mov x0, sp\nbl {main}",
    trap: "udf #0",
    insn: "svc #0",
    nr: "x8",
    args: ["x0" "x1" "x2" "x3" "x4" "x5"],
    result: 1,
    clobbers: [],
}

#[cfg(target_arch = "arm")]
row! {
    start: "mov r0, sp\nbl {main}",
    trap: "udf #0",
    insn: "svc #0",
    nr: "r7",
    args: ["r0" "r1" "r2" "r3" "r4" "r5"],
    result: 1,
    clobbers: [],
}

#[cfg(target_arch = "riscv64")]
row! {
    start: "mv a0, sp\ncall {main}",
    trap: "unimp",
    insn: "ecall",
    nr: "a7",
    args: ["a0" "a1" "a2" "a3" "a4" "a5"],
    result: 1,
    clobbers: [],
}

#[cfg(target_arch = "loongarch64")]
row! {
    start: "move $a0, $sp\nbl {main}",
    trap: "break 0",
    insn: "syscall 0",
    nr: "$a7",
    args: ["$a0" "$a1" "$a2" "$a3" "$a4" "$a5"],
    result: 1,
    clobbers: [
        out("$t0") _, out("$t1") _, out("$t2") _, out("$t3") _, out("$t4") _,
        out("$t5") _, out("$t6") _, out("$t7") _, out("$t8") _,
    ],
}

// r2 is the base of the table of contents, through which statics are reached:
// the kernel does not set it, and a call inside one program expects it set.
// Errors are positive, and CR0.SO marks them (syscall64-abi.rst).
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
row! {
    start: "lis 2, .TOC.@ha\naddi 2, 2, .TOC.@l\nmr 3, 1\nli 0, 0\nstdu 0, -32(1)\nbl {main}",
    trap: "trap",
    insn: "sc\nbns+ 2f\nneg 3, 3\n2:",
    nr: "r0",
    args: ["r3" "r4" "r5" "r6" "r7" "r8"],
    result: 1,
    clobbers: [
        lateout("r4") _, lateout("r5") _, lateout("r6") _, lateout("r7") _, lateout("r8") _,
        out("r9") _, out("r10") _, out("r11") _, out("r12") _,
        out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
        out("ctr") _, out("xer") _,
    ],
}

// A callee may store its caller's registers in the 160 bytes above its stack
// pointer, which at entry are the arguments.
#[cfg(target_arch = "s390x")]
row! {
    start: "lgr %r2, %r15\naghi %r15, -160\nbrasl %r14, {main}",
    trap: ".short 0",
    insn: "svc 0",
    nr: "r1",
    args: ["r2" "r3" "r4" "r5" "r6" "r7"],
    result: 1,
    clobbers: [],
}

// Twelve bytes and the argument keep the stack 16-byte aligned at the call.
#[cfg(target_arch = "x86")]
row!(@shared "mov eax, esp\nsub esp, 12\npush eax\ncall {main}", "ud2");

#[cfg(target_arch = "x86")]
pub use x86::{syscall1, syscall3, syscall4, syscall6};

/// x86 passes arguments in `esi` and `ebp`, which LLVM keeps to itself, so
/// its calls are written out.
#[cfg(target_arch = "x86")]
mod x86;

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64",
    target_arch = "loongarch64",
    all(target_arch = "powerpc64", target_endian = "little"),
    target_arch = "s390x",
    target_arch = "x86",
)))]
compile_error!("no row for this architecture in pause/src/arch.rs");

/// [`syscall6`], its arguments as an array; what a call does not take is 0.
///
/// # Safety
/// As for [`syscall6`].
#[inline]
#[must_use]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> isize {
    // SAFETY: passed on to the caller.
    unsafe { syscall6(nr, args[0], args[1], args[2], args[3], args[4], args[5]) }
}

/// The signal-return trampoline, on the architectures where the kernel asks
/// the program for one.
///
/// For `sa_restorer`, together with `SA_RESTORER` in `sa_flags`
/// (sigreturn(2)). x86-64 refuses a handler without it. `None`: the kernel
/// brings its own, in the vDSO.
#[inline]
pub fn restorer() -> Option<unsafe extern "C" fn()> {
    #[cfg(target_arch = "x86_64")]
    {
        /// `rt_sigreturn` finds its frame at the stack pointer.
        #[unsafe(naked)]
        unsafe extern "C" fn rt_sigreturn() {
            core::arch::naked_asm!("mov eax, 15", "syscall")
        }
        Some(rt_sigreturn)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}
