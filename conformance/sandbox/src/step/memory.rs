//! The memory of a traced process, as /proc gives it to its tracer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// The memory of the program that a process has executed last.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    /// Also of what the process itself may only read: its tracer may write there.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/mem");
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(Self)
    }

    pub(super) fn read<const N: usize>(&self, at: u64) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, at).map(|()| bytes)
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    pub(super) fn word(&self, at: u64) -> io::Result<u64> {
        self.read(at).map(u64::from_ne_bytes)
    }

    /// Two words, of which the second counts parts of a second, so long each; nothing for what
    /// the kernel refuses.
    pub(super) fn time(&self, at: u64, part: Duration) -> io::Result<Option<Duration>> {
        let (seconds, parts) = (self.word(at)?, self.word(at.wrapping_add(8))?);
        let parts = u32::try_from(parts).ok().map(|parts| part * parts);
        let sum = parts.and_then(|parts| Duration::from_secs(seconds).checked_add(parts));
        // What lies below zero is refused too, or over.
        Ok(sum.filter(|_| i64::try_from(seconds).is_ok()))
    }
}
