//! The suite's end of a keeper: this program once more, by another name, which removes what others
//! hold for the suite. It learns of the suite's end by the end of its input.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long the removal of all may take.
pub(super) const REMOVAL: Duration = Duration::from_mins(4);

/// The process, and its input. Dropping it ends the input, and waits until all is removed.
#[derive(Debug)]
pub(super) struct Line {
    input: Mutex<Option<ChildStdin>>,
    child: Child,
}

impl Line {
    /// Starts the keeper of this name, with these arguments.
    ///
    /// # Errors
    /// Where no process can be made.
    pub(super) fn start(name: &str, words: Vec<OsString>) -> io::Result<Self> {
        // Also where its file has been replaced meanwhile, as a build does.
        let mut child = Command::new("/proc/self/exe")
            .arg0(name)
            .args(words)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal is not for it.
            .process_group(0)
            .spawn()?;
        let input = Mutex::new(child.stdin.take());
        Ok(Self { input, child })
    }

    /// Writes it a line.
    ///
    /// # Errors
    /// Where it has gone.
    pub(super) fn tell(&self, line: &str) -> io::Result<()> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let input = input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(format!("{line}\n").as_bytes())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let input = self.input.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(input.take());
        let pidfd = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty());
        let ended = pidfd
            .map_err(io::Error::from)
            .and_then(|pidfd| crate::wait::readable(pidfd.as_fd(), REMOVAL));
        if matches!(ended, Ok(true)) {
            let _ = self.child.wait();
        }
    }
}
