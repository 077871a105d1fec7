//! Files without a name in the folder for temporary files, in which what is read of an image
//! is kept. Errors name the folder, since it is the user's to choose, and what it has left.

use std::fs::File;
use std::io::{self, Write};

use super::error::io_words;
use crate::disk;
#[cfg(feature = "registry")]
use crate::disk::mebibytes;

/// One of them.
#[derive(Debug)]
pub(super) struct Temporary(File);

impl Temporary {
    /// A new one.
    pub(super) fn new() -> io::Result<Self> {
        tempfile::tempfile()
            .map(Self)
            .map_err(|error| cannot_keep(&error))
    }

    /// Makes one for a number of bytes that is known before they are written.
    #[cfg(feature = "registry")]
    pub(super) fn with_room(bytes: u64) -> io::Result<Self> {
        let need = disk::Need { bytes, files: 1 };
        if let Ok(space) = disk::Space::of(&std::env::temp_dir()) {
            space.takes(need).map_err(|error| {
                let needs = format!("{error}, it needs {}", mebibytes(bytes));
                cannot_keep(&disk::full(needs))
            })?;
        }
        Self::new()
    }

    /// The file itself, to be read.
    pub(super) fn into_file(self) -> File {
        self.0
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => cannot_keep(&error),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn cannot_keep(error: &io::Error) -> io::Error {
    let folder = std::env::temp_dir();
    let words = format!(
        "its content cannot be kept in {} (TMPDIR): {}",
        folder.display(),
        io_words(error)
    );
    match error.raw_os_error() {
        Some(_) if disk::is_full(error) => disk::full(words + &disk::left(&folder)),
        None if disk::is_full(error) => disk::full(words),
        _ => io::Error::other(words),
    }
}
