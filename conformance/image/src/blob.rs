//! Stored content, read by offset: a file of a layout, a member of an archive, a download.
//!
//! Never reads a whole file into memory, and never shares a seek position.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::regular;

/// A part of a file.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    file: Arc<File>,
    offset: u64,
    position: u64,
    len: u64,
}

impl Blob {
    /// Opens a regular file, and nothing else.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let what = path.display();
        let file = regular::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::absent(&what, "no such file"),
            _ => Error::io(&what, &error),
        })?;
        Self::of(file).map_err(|error| Error::io(&what, &error))
    }

    /// All of an open regular file.
    pub(crate) fn of(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("is not a regular file"));
        }
        Ok(Self {
            file: Arc::new(file),
            offset: 0,
            position: 0,
            len: metadata.len(),
        })
    }

    /// A part of it; the caller has seen that it lies within.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Self {
        Self {
            file: Arc::clone(&self.file),
            offset: self.offset + offset,
            position: 0,
            len,
        }
    }

    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The first bytes, fewer where it is shorter.
    pub(crate) fn head<const N: usize>(&self) -> io::Result<Vec<u8>> {
        self.read_all(N as u64)
    }

    /// Everything up to a bound, from the start.
    pub(crate) fn read_all(&self, bound: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.slice(0, self.len)
            .take(bound)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.position);
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self
            .file
            .read_at(&mut buffer[..want], self.offset + self.position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Blob {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.len.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = target
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))?;
        Ok(self.position)
    }
}
