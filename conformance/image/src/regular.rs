//! Opens regular files and nothing else.
//!
//! Opening a FIFO waits for its writer, and opening a device can act on it, so what a path
//! leads to is looked at before it is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// `PROC_SUPER_MAGIC` and `SYSFS_MAGIC` of statfs(2): their files have no size, and a read of
/// some waits or never ends.
const OF_THE_KERNEL: &[u64] = &[0x9fa0, 0x6265_6572];

/// Opens the regular file that a path leads to, links followed.
///
/// # Errors
/// What it is instead, in words; else the answer of the kernel.
pub fn open(path: &Path) -> io::Result<File> {
    // O_PATH opens no file: a FIFO is not waited for, a driver is not called (open(2)).
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let found = File::from(found);
    let kind = found.metadata()?.file_type();
    if !kind.is_file() {
        return Err(io::Error::other(format!(
            "is {}, not a regular file",
            words(kind)
        )));
    }
    let filesystem = rustix::fs::fstatfs(&found)?.f_type;
    if OF_THE_KERNEL
        .iter()
        .any(|kernel| filesystem.unsigned_abs() == *kernel)
    {
        return Err(io::Error::other(
            "is a file that the kernel generates, not a stored one",
        ));
    }
    // The same file, whatever the path leads to by now.
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// What a path leads to that is no regular file.
fn words(kind: std::fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    fn refused(path: impl Into<PathBuf>) -> String {
        open(&path.into())
            .expect_err("it is no regular file")
            .to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let (kind, mode) = (rustix::fs::FileType::Fifo, Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), kind, mode, 0).expect("a FIFO");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");
        std::os::unix::fs::symlink("/dev/zero", at("zero")).expect("a link");
        std::os::unix::fs::symlink("/proc/self/environ", at("proc")).expect("a link");
        for (name, what) in [
            ("fifo", "is a FIFO, not a regular file"),
            ("socket", "is a socket, not a regular file"),
            ("zero", "is a device, not a regular file"),
            ("", "is a folder, not a regular file"),
            (
                "proc",
                "is a file that the kernel generates, not a stored one",
            ),
        ] {
            assert_eq!(refused(at(name)), what);
        }
    }

    #[test]
    fn a_regular_file_is_opened_through_a_link_and_at_its_start() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("file"), b"content").expect("written");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("file", &link).expect("a link");
        let file = open(&link).expect("a regular file");
        assert_eq!(io::read_to_string(file).expect("read"), "content");
        let missing = open(&folder.path().join("none")).expect_err("it is not there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
