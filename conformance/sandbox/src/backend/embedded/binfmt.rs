//! Registering an emulator with the kernel: binfmt_misc, private to a user namespace.
//!
//! **The host's table is never touched**: an instance belongs to the user namespace that
//! it is mounted in (Linux 6.7), and where that is the host's, nothing is mounted.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};

use crate::emulator::{Emulator, HEADER};
use crate::sys::{self, ExitStatus, InChild, NewNamespaces};

/// What is written to `register`, made before the clone.
#[derive(Debug)]
pub(super) struct Rule(Vec<u8>);

impl Rule {
    /// `F`: the kernel opens the emulator now, so that no sandbox needs to have it; `P`: it
    /// is told the program's argv\[0\] (Documentation/admin-guide/binfmt-misc.rst).
    pub(super) fn new(emulator: &Emulator) -> io::Result<Self> {
        Self::at(emulator, emulator.path.as_os_str().as_bytes())
    }

    /// The same for a process that has the suite's descriptors and a /proc, but not its files.
    pub(super) fn by_descriptor(emulator: &Emulator) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", emulator.file.as_raw_fd());
        Self::at(emulator, path.as_bytes())
    }

    fn at(emulator: &Emulator, path: &[u8]) -> io::Result<Self> {
        // With a control character as the separator, a path may hold every other character.
        if path.len() > 127 || path.iter().any(u8::is_ascii_control) {
            let why = format!("{} is no path for it", emulator.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let (magic, mask) = emulator.pattern();
        let hex = |bytes: [u8; HEADER]| -> Vec<u8> {
            bytes
                .iter()
                .flat_map(|byte| format!("\\x{byte:02x}").into_bytes())
                .collect()
        };
        let fields: [&[u8]; 8] = [
            b"",
            emulator.name.as_bytes(),
            b"M",
            b"",
            &hex(magic),
            &hex(mask),
            path,
            b"FP",
        ];
        Ok(Self(fields.join(&1)))
    }
}

/// A binfmt_misc of the caller's user namespace, attached nowhere; its entries last as
/// long as something holds it. Allocates nothing.
pub(super) fn mount() -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(c"binfmt_misc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?)
}

/// Adds an entry. Allocates nothing.
pub(super) fn register(mounted: &OwnedFd, rule: &Rule) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(mounted, c"register", flags, Mode::empty())?;
    rustix::io::write(&file, &rule.0)?;
    Ok(())
}

/// Attaches it where programs look for it, below the /proc of the root that is being made;
/// it then lasts as long as the sandbox.
pub(super) fn attach(mounted: &OwnedFd) -> io::Result<()> {
    Ok(rustix::mount::move_mount(
        mounted,
        c"",
        CWD,
        c"proc/sys/fs/binfmt_misc",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

struct TryToMount;

#[expect(unsafe_code, reason = "the promise of a child")]
// SAFETY: it makes the system calls of `mount` with constant arguments.
unsafe impl InChild for TryToMount {
    fn run(self) -> i32 {
        i32::from(mount().is_err())
    }
}

/// Whether user namespaces can have one here.
pub(super) fn is_private_to_user_namespaces() -> bool {
    let child = sys::spawn(NewNamespaces::USER | NewNamespaces::MOUNT, TryToMount);
    let Ok(child) = child else { return false };
    matches!(
        sys::wait(child.pidfd.as_fd()),
        Ok(Some(ExitStatus::Exited(0)))
    )
}

/// Where the host's own table is.
const HOST: &str = "/proc/sys/fs/binfmt_misc";

/// The emulator in the host's table that runs programs for this one's architecture, in any root.
///
/// # Errors
/// In words, where there is none.
pub(super) fn host_entry(emulator: &Emulator) -> Result<String, String> {
    host_entry_in(Path::new(HOST), emulator)
}

fn host_entry_in(table: &Path, emulator: &Emulator) -> Result<String, String> {
    let none = || {
        format!(
            "{} has no entry with flag F for {}",
            table.display(),
            emulator.architecture()
        )
    };
    let entries = std::fs::read_dir(table).map_err(|_| none())?;
    let (magic, _) = emulator.pattern();
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .find_map(|text| runs(&text, &magic))
        .ok_or_else(none)
}

/// The interpreter of an entry that is enabled and takes programs that begin with `header`.
fn runs(entry: &str, header: &[u8; HEADER]) -> Option<String> {
    let field = |name: &str| {
        entry
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let bytes = |text: &str| -> Option<Vec<u8>> {
        text.as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
            .collect()
    };
    let magic = bytes(field("magic")?)?;
    let mask = match field("mask") {
        Some(mask) => bytes(mask)?,
        None => vec![0xff; magic.len()],
    };
    let takes = magic.len() <= HEADER
        && magic.len() == mask.len()
        && magic
            .iter()
            .zip(&mask)
            .zip(header)
            .all(|((magic, mask), byte)| magic & mask == byte & mask);
    let usable = entry.starts_with("enabled")
        && field("offset") == Some("0")
        && field("flags:").is_some_and(|flags| flags.contains('F'));
    (usable && takes)
        .then(|| field("interpreter").map(str::to_owned))
        .flatten()
}

/// The words before the program's own, where the emulator is started itself: it takes the
/// program's argv\[0\] after `-0`, then its path.
pub(super) fn arguments(
    emulator: &Emulator,
    model: Option<&str>,
    path: &CString,
    argv: &[String],
) -> Vec<Vec<u8>> {
    let first = argv.first().map_or(b"".as_slice(), String::as_bytes);
    let model = model.map(|model| [b"-cpu".as_slice(), model.as_bytes()]);
    std::iter::once(emulator.path.as_os_str().as_bytes())
        .chain(model.into_iter().flatten())
        .chain([b"-0", first, path.as_bytes()])
        .map(<[u8]>::to_vec)
        .chain(argv.iter().skip(1).map(|word| word.clone().into_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HEAD: &[u8; HEADER] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";

    #[rstest]
    #[case("enabled", "PF", "0", true)]
    #[case("disabled", "PF", "0", false)]
    #[case("enabled", "P", "0", false)]
    #[case("enabled", "F", "4", false)]
    fn an_entry_of_the_host_counts_where_it_works_in_any_root(
        #[case] state: &str,
        #[case] flags: &str,
        #[case] offset: &str,
        #[case] counts: bool,
    ) {
        let entry = format!(
            "{state}\ninterpreter /usr/bin/qemu\nflags: {flags}\noffset {offset}\n\
             magic 7f454c460201010000000000000000000200b700\n\
             mask ffffffffffffff00fffffffffffffffffeffffff\n"
        );
        assert_eq!(
            runs(&entry, HEAD).as_deref(),
            counts.then_some("/usr/bin/qemu")
        );
    }

    #[rstest]
    #[case("status")]
    #[case("enabled\n")]
    #[case("enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f454\n")]
    #[case("enabled\ninterpreter /x\nflags: F\nextension .exe\n")]
    fn what_is_no_entry_for_programs_is_passed_over(#[case] entry: &str) {
        assert_eq!(runs(entry, HEAD), None);
    }
}
