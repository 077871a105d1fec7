//! Load on the host. Threads of this process make it, so it ends with the process.

use anyhow::{Context as _, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// How many threads there are for each processor.
const OVER: usize = 4;
/// How much memory is allocated and freed over and over, at most, in bytes.
const MOST: u64 = 1 << 30;
/// The divisor of the available memory that the load may take; the rest is for all others.
const PART: u64 = 4;
/// The smallest page size of any architecture, in bytes.
const PAGE: usize = 4096;

/// Load that is running. Dropping it ends it.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    bytes: u64,
}

impl Load {
    /// Oversubscribes every processor; one thread in four works on memory.
    pub(super) fn start() -> Result<Self> {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bytes = (available()? / PART).min(MOST);
        let mut load = Self {
            stop: Arc::default(),
            threads: Vec::new(),
            bytes,
        };
        let each = usize::try_from(bytes).unwrap_or(usize::MAX) / processors;
        for number in 0..OVER * processors {
            let stop = Arc::clone(&load.stop);
            let work = move || {
                if number % OVER == 0 {
                    touch_memory(&stop, each);
                } else {
                    turn_round(&stop);
                }
            };
            let thread = thread::Builder::new().spawn(work);
            load.threads
                .push(thread.context("start a thread for load")?);
        }
        Ok(load)
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, mebibytes) = (self.threads.len(), self.bytes >> 20);
        write!(f, "{threads} threads, and {mebibytes} MiB that come and go")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The thread returns nothing and cannot panic.
            let _ = thread.join();
        }
    }
}

fn turn_round(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
    }
}

/// Allocates memory page by page and frees it, so that the kernel always has pages to find.
fn touch_memory(stop: &AtomicBool, bytes: usize) {
    while !stop.load(Ordering::Relaxed) {
        let mut pages = Vec::new();
        while pages.len() * PAGE < bytes && !stop.load(Ordering::Relaxed) {
            pages.push(std::hint::black_box(vec![1_u8; PAGE].into_boxed_slice()));
        }
    }
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kibibytes.context("/proc/meminfo names no MemAvailable")? * 1024)
}
