//! What ran short: memory, processes, descriptors, disk, of the host or of what a sandbox may have.

use std::io;

use nix::libc;
use pause_image::disk;

pub mod groups;
pub mod needs;

/// What was killed and refused outside the sandboxes' own cgroups, since the cgroups were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes that the OOM killer killed; `None` where no cgroup says.
    pub killed: Option<u64>,
    /// Processes and threads that a limit refused.
    pub refused: u64,
}

/// What one program met in its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// The OOM killer killed there: for the sandbox's own limit in bytes, or for one above.
    Memory(Option<u64>),
    /// A process or thread was refused: by the sandbox's own limit, or by one above.
    Processes(Option<u64>),
    /// SIGKILL ended PID 1 of the sandbox, and the suite did not send it. No process inside can.
    Killed,
}

/// What ran short where the kernel refused something with this error, if it may be that.
pub fn of(error: &io::Error) -> Option<String> {
    if disk::is_full(error) {
        return Some("this host has no space left".to_owned());
    }
    Some(match error.raw_os_error()? {
        libc::EMFILE => needs::out_of_descriptors(),
        libc::ENFILE => "this host has too many files open".to_owned(),
        libc::EAGAIN => needs::out_of_processes(),
        libc::ENOMEM => needs::out_of_memory(),
        _ => return None,
    })
}

/// Whether an error is a shortage that no other file or folder would change.
pub fn is_of_all(error: &io::Error) -> bool {
    of(error).is_some() && !disk::is_full(error)
}

/// As [`of`], to be said behind the error itself; nothing where that has the figures.
pub fn beside(error: &io::Error) -> Option<String> {
    let short = of(error)?;
    let known = error.raw_os_error().is_some();
    Some(if known {
        format!(": {short}")
    } else {
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_shortage_are_known_by_number() {
        for (number, word) in [
            (libc::EMFILE, "descriptors"),
            (libc::EAGAIN, "processes"),
            (libc::ENOMEM, "memory"),
            (libc::ENOSPC, "space"),
            (libc::EDQUOT, "space"),
        ] {
            let words = of(&io::Error::from_raw_os_error(number)).expect("a shortage");
            assert!(words.contains(word), "{words}");
        }
        assert!(is_of_all(&io::Error::from_raw_os_error(libc::EMFILE)));
        assert_eq!(of(&io::Error::from_raw_os_error(libc::EPERM)), None);
        let full = disk::full("1 MiB are free");
        assert!(of(&full).is_some() && !is_of_all(&full));
        assert_eq!(beside(&full).as_deref(), Some(""));
        let full = io::Error::from_raw_os_error(libc::ENOSPC);
        assert!(beside(&full).is_some_and(|words| words.contains("space")));
    }
}
