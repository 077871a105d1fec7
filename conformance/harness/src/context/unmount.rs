//! Shows that a mount namespace is gone: the kernel reports when the last mount of a watched file
//! system is gone (IN_UNMOUNT, inotify(7)), and only the sandbox's namespaces mount its /dev/shm.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::Pod;
use crate::outcome::Stop;

/// Watches a file system of a sandbox without keeping it.
#[derive(Debug)]
pub struct UnmountWatch(OwnedFd);

impl Pod<'_> {
    /// Watches a file system that no other sandbox has, from now on.
    ///
    /// # Errors
    /// [`Stop::NotRunning`] where the process had ended, [`Stop::Error`] where the kernel refuses.
    pub fn watch_mounts(&mut self) -> Result<UnmountWatch, Stop> {
        let path = ["/proc", &self.pid().to_string(), "root/dev/shm"].join("/");
        let watch = || {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&fd, path.as_str(), WatchFlags::DELETE_SELF)?;
            Ok::<_, rustix::io::Errno>(UnmountWatch(fd))
        };
        watch().map_err(|error| self.harness_failed("watch its file systems", &error.into()))
    }
}

impl UnmountWatch {
    /// Whether it is unmounted everywhere within this time.
    ///
    /// # Errors
    /// [`Stop::Error`] where the kernel does not say.
    pub fn await_unmounted(&self, limit: Duration) -> Result<bool, Stop> {
        let failed =
            |error: std::io::Error| Stop::Error(format!("cannot watch a file system: {error}"));
        let deadline = Instant::now() + limit;
        let mut buffer = [MaybeUninit::uninit(); 512];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !crate::wait::readable(self.0.as_fd(), left).map_err(failed)? {
                return Ok(false);
            }
            let mut events = Reader::new(&self.0, &mut buffer);
            loop {
                match events.next() {
                    Ok(event) if event.events().contains(ReadFlags::UNMOUNT) => return Ok(true),
                    Ok(_) => {}
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(error) => return Err(failed(error.into())),
                }
            }
        }
    }
}
