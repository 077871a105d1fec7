//! Room on disk: looked at before files are written, and named with the figures where it ran
//! out.

use std::fmt;
use std::io;
use std::path::Path;

/// In words.
pub fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What files take on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} files", mebibytes(self.bytes), self.files)
    }
}

/// What a file system still takes of this user's; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    bytes: Option<u64>,
    files: Option<u64>,
}

impl Space {
    /// Of the file system that a folder is on.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(folder)?;
        // A file system without such a limit says that it has 0 in all.
        Ok(Self {
            bytes: (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize)),
            files: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    /// Whether it takes them.
    ///
    /// # Errors
    /// As a full disk: what it has.
    pub fn takes(self, need: Need) -> io::Result<()> {
        match self {
            Self {
                bytes: Some(have), ..
            } if have < need.bytes => Err(full(format!("{} are free", mebibytes(have)))),
            Self {
                files: Some(have), ..
            } if have < need.files => Err(full(format!("{have} files more are allowed"))),
            _ => Ok(()),
        }
    }
}

/// An error that is known for a shortage of disk, in these words.
pub fn full(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, words.into())
}

/// Whether an error is a shortage of disk: of the file system's, or of this user's share.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What is left in a folder, to be said beside what was refused there.
pub fn left(folder: &Path) -> String {
    match Space::of(folder) {
        Ok(Space { files: Some(0), .. }) => ": 0 files more are allowed".to_owned(),
        Ok(Space {
            bytes: Some(bytes), ..
        }) => format!(": {} are free", mebibytes(bytes)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need = Need {
        bytes: 40 << 20,
        files: 100,
    };

    #[test]
    fn too_little_space_is_a_full_disk_with_the_figure() {
        let much = Space {
            bytes: Some(40 << 20),
            files: Some(100),
        };
        assert!(much.takes(NEED).is_ok());
        assert!(Space::default().takes(NEED).is_ok(), "it says nothing");
        let bytes = Some((40 << 20) - 1);
        for (space, figure) in [
            (Space { bytes, ..much }, "39 MiB"),
            (
                Space {
                    files: Some(99),
                    ..much
                },
                "99 files",
            ),
        ] {
            let error = space.takes(NEED).expect_err("it is too little");
            assert!(
                is_full(&error) && error.to_string().contains(figure),
                "{error}"
            );
        }
    }

    #[test]
    fn space_is_what_the_kernel_says_of_the_file_system() {
        let space = Space::of(Path::new("/proc")).expect("it is there");
        assert!(space.takes(NEED).is_ok(), "/proc has no limit: {space:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let space = Space::of(folder.path()).expect("it is there");
        let most = Need {
            bytes: u64::MAX,
            files: 0,
        };
        assert_eq!(space.takes(most).is_err(), space.bytes.is_some());
    }
}
