//! Writes an image's files out, as a runtime would: every file, directory and link, with modes, and
//! with owners as far as their ids are mapped. What cannot be written is reported.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::ids::Mapping;
use crate::shortage;
use pause_image::{Content, Entry, EntryKind, Rootfs};

/// `PATH_MAX` of Linux, which counts a NUL.
const PATH: usize = 4096;
/// The attribute that capabilities(7) of a file are in.
const CAPABILITY: &str = "security.capability";

/// The user whose access to the files must be right where only one id is mapped.
pub(super) type User = (u32, u32);

/// Files that are not as the image has them.
#[derive(Debug, Default)]
struct Lost {
    owners: usize,
    devices: usize,
    capabilities: usize,
    paths: usize,
}

/// Makes `rootfs`, and these directories besides, below the working directory, which is empty.
/// Says what could not be written.
pub(super) fn fill(
    rootfs: &Rootfs,
    besides: &[Vec<u8>],
    mapping: Mapping,
    user: User,
) -> io::Result<Vec<String>> {
    let _ = rustix::process::umask(Mode::empty());
    let mut filler = Filler {
        mapping,
        user,
        lost: Lost::default(),
        made: BTreeMap::new(),
    };
    for (path, entry) in &rootfs.entries {
        filler
            .make(path, entry)
            .map_err(|error| named(path, error))?;
    }
    let implied = Entry::directory();
    for path in besides {
        filler
            .make(path, &implied)
            .map_err(|error| named(path, error))?;
    }
    // A directory is filled before it gets a mode that may keep the suite out.
    let above = besides.iter().rev().map(|path| (path, &implied));
    for (path, entry) in above.chain(rootfs.entries.iter().rev()) {
        if matches!(entry.kind, EntryKind::Directory) && path.len() < PATH {
            filler.finish_directory(&c_string(path)?, entry)?;
        }
    }
    filler.finish_directory(c".", &rootfs.root)?;
    Ok(filler.words())
}

/// Names the file, unless the error concerns every file.
fn named(path: &[u8], error: io::Error) -> io::Error {
    if shortage::is_of_all(&error) {
        return error;
    }
    let words = pause_image::io_words(&error);
    io::Error::new(
        error.kind(),
        format!("{}: {words}", pause_image::show_path(path)),
    )
}

struct Filler {
    mapping: Mapping,
    user: User,
    lost: Lost,
    /// Files by the numbers of their content, for hard links to them.
    made: BTreeMap<u64, CString>,
}

impl Filler {
    fn make(&mut self, path: &[u8], entry: &Entry) -> io::Result<()> {
        if path.len() >= PATH {
            self.lost.paths += 1;
            return Ok(());
        }
        let at = c_string(path)?;
        match &entry.kind {
            // Writable for the suite, which fills it; its mode follows.
            EntryKind::Directory => rustix::fs::mkdirat(CWD, &at, Mode::from_raw_mode(0o700))?,
            EntryKind::Symlink(target) => {
                rustix::fs::symlinkat(c_string(target)?, CWD, &at)?;
                self.give(&at, entry)?;
            }
            EntryKind::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(CWD, &at, FileType::Fifo, mode, 0)?;
                self.give(&at, entry)?;
                rustix::fs::chmod(&at, self.mode(entry))?;
            }
            // No device works in a root that is mounted `nodev`.
            EntryKind::Device { .. } => self.lost.devices += 1,
            EntryKind::File { content, .. } => self.file(at, entry, content.as_ref())?,
        }
        Ok(())
    }

    fn file(&mut self, at: CString, entry: &Entry, content: Option<&Content>) -> io::Result<()> {
        if let Some(content) = content
            && let Some(first) = self.made.get(&content.number())
        {
            return Ok(rustix::fs::linkat(CWD, first, CWD, &at, AtFlags::empty())?);
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file: OwnedFd = rustix::fs::openat(CWD, &at, flags, self.mode(entry))?;
        let file = File::from(file);
        if let Some(content) = content {
            content.copy_to(&file)?;
        }
        self.give(&at, entry)?;
        if let Some(value) = entry.xattrs.get(CAPABILITY) {
            let set = rustix::fs::fsetxattr(&file, CAPABILITY, value, XattrFlags::empty());
            self.lost.capabilities += usize::from(set.is_err());
        }
        if let Some(content) = content {
            self.made.insert(content.number(), at);
        }
        Ok(())
    }

    fn finish_directory(&mut self, at: &std::ffi::CStr, entry: &Entry) -> io::Result<()> {
        self.give(at, entry)?;
        Ok(rustix::fs::chmod(at, self.mode(entry))?)
    }

    /// Hands it over to its owner, as far as there is one.
    fn give(&mut self, at: &std::ffi::CStr, entry: &Entry) -> io::Result<()> {
        let (uid, gid) = self.mapping.owner(entry.uid, entry.gid);
        let own = match self.mapping {
            Mapping::Single { .. } => (entry.uid, entry.gid) == wide(self.user),
            Mapping::Range { .. } | Mapping::Host => uid.is_some() && gid.is_some(),
        };
        self.lost.owners += usize::from(!own);
        if uid.is_some() || gid.is_some() {
            match rustix::fs::chownat(CWD, at, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
                // An id of the host that this suite cannot set.
                Err(Errno::PERM | Errno::INVAL) => self.lost.owners += usize::from(own),
                other => other?,
            }
        }
        Ok(())
    }

    fn mode(&self, entry: &Entry) -> Mode {
        Mode::from_raw_mode(mode(self.mapping, self.user, entry))
    }

    fn words(&self) -> Vec<String> {
        let Lost {
            owners,
            devices,
            capabilities,
            paths,
        } = self.lost;
        let of = |count: usize, what: &str| {
            let files = if count == 1 { "file" } else { "files" };
            (count > 0).then(|| {
                format!("its root is the image's, except for {count} {files} without {what}")
            })
        };
        let devices = (devices > 0).then(|| {
            format!(
                "its root is the image's, except for {devices} device files, which are left out"
            )
        });
        let owners = match self.mapping {
            // How many depends on the user; the same root may serve other users.
            Mapping::Single { .. } if owners > 0 => Some(
                "its root is the image's, except for owners: only one id is mapped, and it has \
                 the access of the image's user"
                    .to_owned(),
            ),
            _ => of(owners, "owners, whose ids are not mapped"),
        };
        [
            owners,
            devices,
            of(capabilities, "capabilities, which the kernel refuses"),
            of(paths, "a place, for their paths are too long"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The mode that a file is given. Bits that the root's mount disregards are left out.
pub(super) fn mode(mapping: Mapping, user: User, entry: &Entry) -> u32 {
    let kept = match entry.kind {
        EntryKind::Directory => 0o3777,
        _ => 0o1777,
    };
    let mode = entry.mode & kept;
    match mapping {
        // The one mapped id owns every file: it gets the access that its user would have in the
        // image.
        Mapping::Single { .. } => mode & !0o700 | access(user, entry) << 6,
        Mapping::Range { .. } | Mapping::Host => mode,
    }
}

/// The three bits that decide for a user (path_resolution(7), "Permissions").
fn access(user: User, entry: &Entry) -> u32 {
    let (uid, gid) = wide(user);
    let shift = if uid == entry.uid {
        6
    } else if gid == entry.gid {
        3
    } else {
        0
    };
    entry.mode >> shift & 0o7
}

fn wide((uid, gid): User) -> (u64, u64) {
    (u64::from(uid), u64::from(gid))
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, uid: u64, gid: u64) -> Entry {
        Entry {
            kind: EntryKind::File {
                size: 0,
                content: None,
            },
            mode,
            uid,
            gid,
            xattrs: BTreeMap::new(),
        }
    }

    #[test]
    fn the_one_id_has_the_access_of_its_user_in_the_image() {
        let single = Mapping::Single { uid: 7, gid: 7 };
        let user = (65535, 65535);
        for (entry, wanted) in [
            (file(0o640, 65535, 65535), 0o640),
            (file(0o640, 0, 65535), 0o440),
            (file(0o640, 0, 0), 0o040),
            (file(0o755, 0, 0), 0o555),
            (file(0o4755, 65535, 0), 0o755),
        ] {
            assert_eq!(mode(single, user, &entry), wanted, "{entry:?}");
            let range = Mapping::Range { base: 1 };
            assert_eq!(mode(range, user, &entry), entry.mode & 0o1777);
        }
    }
}
