//! The registers of a stopped thread, as far as system calls are made by them.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::libc;

use super::check;

/// The number for which the kernel makes no call.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const NO_CALL: i32 = -1;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type General = libc::user_regs_struct;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type General = ();

/// The general registers of a thread that runs a program of the host's own kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers(General);

/// Stores a set of registers in `to`, and says how many bytes there were.
fn read_set<T>(tid: i32, set: i32, to: &mut MaybeUninit<T>) -> io::Result<usize> {
    let mut part = libc::iovec {
        iov_base: to.as_mut_ptr().cast(),
        iov_len: size_of::<T>(),
    };
    // SAFETY: PTRACE_GETREGSET stores at most the given length.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_GETREGSET,
            tid,
            set,
            ptr::from_mut(&mut part),
        )
    };
    check(result)?;
    Ok(part.iov_len)
}

fn write_set<T>(tid: i32, set: i32, from: &T) -> io::Result<()> {
    let part = libc::iovec {
        iov_base: ptr::from_ref(from).cast_mut().cast(),
        iov_len: size_of::<T>(),
    };
    // SAFETY: PTRACE_SETREGSET only reads what the vector names.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_SETREGSET,
            tid,
            set,
            ptr::from_ref(&part),
        )
    };
    check(result).map(drop)
}

impl Registers {
    /// Those of this thread.
    ///
    /// # Errors
    /// As ptrace(2); and where it runs a program of another width.
    pub(crate) fn of(tid: i32) -> io::Result<Self> {
        let mut registers = MaybeUninit::zeroed();
        let length = read_set(tid, libc::NT_PRSTATUS, &mut registers)?;
        if NATIVE_ABI == 0 || length != size_of::<General>() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // SAFETY: it is of integers alone, all of which were stored.
        Ok(Self(unsafe { registers.assume_init() }))
    }

    /// Gives them to this thread.
    pub(crate) fn give(&self, tid: i32) -> io::Result<()> {
        write_set(tid, libc::NT_PRSTATUS, &self.0)
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use std::io;

    use super::{NO_CALL, Registers};
    use crate::sys::Call;

    /// The way into the kernel of the host's own programs (linux/audit.h).
    pub(crate) const NATIVE_ABI: u32 = 0xc000_003e;

    /// `syscall` and `int 0x80` alike.
    const INSTRUCTION: u64 = 2;

    /// Has the kernel make no call, of a thread that stopped at the entry of one.
    pub(crate) fn skip_call(tid: i32) -> io::Result<()> {
        let mut registers = Registers::of(tid)?;
        registers.0.orig_rax = i64::from(NO_CALL).cast_unsigned();
        registers.give(tid)
    }

    impl Registers {
        /// Back onto the instruction of a call that was skipped, at its exit.
        pub(crate) fn set_back(&mut self, call: &Call) {
            self.0.rip = self.0.rip.wrapping_sub(INSTRUCTION);
            self.0.rax = call.number;
            // Nothing is restarted by the kernel where there was no call.
            self.0.orig_rax = i64::from(NO_CALL).cast_unsigned();
        }

        /// What a call returns, at its exit.
        pub(crate) fn set_result(&mut self, value: i64) {
            self.0.rax = value.cast_unsigned();
        }

        /// An argument of a call but the first, at its entry or exit.
        pub(crate) fn set_argument(&mut self, index: usize, value: u64) {
            let registers = &mut self.0;
            let arguments = [
                &mut registers.rdi,
                &mut registers.rsi,
                &mut registers.rdx,
                &mut registers.r10,
                &mut registers.r8,
                &mut registers.r9,
            ];
            if let Some(argument) = arguments.into_iter().nth(index) {
                *argument = value;
            }
        }

        /// What a call has returned, at its exit.
        pub(crate) fn result(&self) -> i64 {
            self.0.rax.cast_signed()
        }

        pub(crate) fn stack(&self) -> u64 {
            self.0.rsp
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use std::io;

    use super::{NO_CALL, Registers, write_set};
    use crate::sys::Call;

    /// The way into the kernel of the host's own programs (linux/audit.h).
    pub(crate) const NATIVE_ABI: u32 = 0xc000_00b7;

    /// `svc #0`.
    const INSTRUCTION: u64 = 4;

    /// The set of one register, the number of the call (linux/elf.h).
    const NT_ARM_SYSTEM_CALL: i32 = 0x404;

    /// Has the kernel make no call, of a thread that stopped at the entry of one.
    pub(crate) fn skip_call(tid: i32) -> io::Result<()> {
        write_set(tid, NT_ARM_SYSTEM_CALL, &NO_CALL)
    }

    impl Registers {
        /// Back onto the instruction of a call that was skipped, at its exit.
        pub(crate) fn set_back(&mut self, call: &Call) {
            self.0.pc = self.0.pc.wrapping_sub(INSTRUCTION);
            self.0.regs[0] = call.arguments[0];
            self.0.regs[8] = call.number;
        }

        /// What a call returns, at its exit.
        pub(crate) fn set_result(&mut self, value: i64) {
            self.0.regs[0] = value.cast_unsigned();
        }

        /// An argument of a call but the first, at its entry or exit.
        pub(crate) fn set_argument(&mut self, index: usize, value: u64) {
            if let Some(argument) = self
                .0
                .regs
                .get_mut(index)
                .filter(|_| (1..6).contains(&index))
            {
                *argument = value;
            }
        }

        /// What a call has returned, at its exit.
        pub(crate) fn result(&self) -> i64 {
            self.0.regs[0].cast_signed()
        }

        pub(crate) fn stack(&self) -> u64 {
            self.0.sp
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    use std::io;

    use super::Registers;
    use crate::sys::Call;

    /// None: nothing is known of this processor's registers.
    pub(crate) const NATIVE_ABI: u32 = 0;

    pub(crate) fn skip_call(_tid: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    impl Registers {
        pub(crate) fn set_back(&mut self, _call: &Call) {}

        pub(crate) fn set_result(&mut self, _value: i64) {}

        pub(crate) fn set_argument(&mut self, _index: usize, _value: u64) {}

        pub(crate) fn result(&self) -> i64 {
            0
        }

        pub(crate) fn stack(&self) -> u64 {
            0
        }
    }
}

pub(crate) use arch::{NATIVE_ABI, skip_call};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::sys::Call;

    #[test]
    fn a_thread_that_is_set_back_makes_the_same_call_again() {
        // SAFETY: it is of integers alone, for which zero is a value.
        let mut registers = Registers(unsafe { std::mem::zeroed() });
        registers.0.rip = 0x1002;
        registers.0.rax = 0xffff_ffff_ffff_ffda;
        registers.0.rdi = 7;
        let call = Call {
            abi: NATIVE_ABI,
            number: 34,
            arguments: [7, 0, 0, 0, 0, 0],
        };
        registers.set_back(&call);
        let it = registers.0;
        assert_eq!((it.rip, it.rax, it.rdi), (0x1000, 34, 7));
        assert_eq!(it.orig_rax.cast_signed(), -1, "nothing is restarted");
    }
}

#[cfg(all(test, target_arch = "aarch64"))]
mod tests {
    use super::*;
    use crate::sys::Call;

    #[test]
    fn a_thread_that_is_set_back_makes_the_same_call_again() {
        // SAFETY: it is of integers alone, for which zero is a value.
        let mut registers = Registers(unsafe { std::mem::zeroed() });
        registers.0.pc = 0x1004;
        registers.0.regs[0] = 0xffff_ffff_ffff_ffda;
        let call = Call {
            abi: NATIVE_ABI,
            number: 73,
            arguments: [7, 0, 0, 0, 0, 0],
        };
        registers.set_back(&call);
        let it = registers.0;
        assert_eq!((it.pc, it.regs[0], it.regs[8]), (0x1000, 7, 73));
    }
}
