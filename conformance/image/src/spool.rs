//! Keeps the content of an image's files once its layers have streamed past: in memory while
//! it is little, else in a file that has no name, so that a big image costs no memory and
//! leaves nothing behind. What is kept is read by position, in pieces of bounded size.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::temporary::Temporary;

/// More than this goes to the file.
const MEMORY: usize = 4 << 20;
/// How much is copied at a time.
const PIECE: usize = 64 << 10;

/// Takes content, file after file.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<Temporary>,
    len: u64,
    files: u64,
}

/// Where in the spool a file's content went.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    offset: u64,
    size: u64,
    /// Of a file with holes: position and length of what is not one, in order.
    pieces: Option<Arc<[(u64, u64)]>>,
}

impl Spool {
    /// Keeps a file of `size` bytes, of which `reader` gives what is no hole.
    pub(super) fn keep(
        &mut self,
        mut reader: impl Read,
        size: u64,
        pieces: Option<Arc<[(u64, u64)]>>,
    ) -> io::Result<Place> {
        let place = Place {
            number: self.files,
            offset: self.len,
            size,
            pieces,
        };
        self.files += 1;
        let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        while !buffer.is_empty() {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(place)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY {
            let mut file = Temporary::new()?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// No more is kept; what is there can be read.
    pub(super) fn close(&mut self) -> Store {
        Store(Arc::new(match self.file.take() {
            Some(file) => Bytes::File(file.into_file()),
            None => Bytes::Memory(std::mem::take(&mut self.memory).into()),
        }))
    }
}

/// All that was kept of one image.
#[derive(Clone, Debug)]
pub(super) struct Store(Arc<Bytes>);

#[derive(Debug)]
enum Bytes {
    Memory(Arc<[u8]>),
    File(File),
}

impl Bytes {
    /// Fills the buffer from this position on.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let range = start..start.saturating_add(buffer.len());
                let from = bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
                buffer.copy_from_slice(from);
                Ok(())
            }
        }
    }
}

/// The content of one file; hard links to it share it.
#[derive(Clone)]
pub struct Content {
    store: Store,
    place: Place,
}

impl fmt::Debug for Content {
    /// Without the store: where a content is kept does not matter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({}, {})", self.place.number, self.place.size)
    }
}

impl Content {
    pub(super) fn new(store: &Store, place: &Place) -> Self {
        Self {
            store: store.clone(),
            place: place.clone(),
        }
    }

    /// Of a file that is in memory as it is.
    pub fn of(bytes: Arc<[u8]>) -> Self {
        let place = Place {
            number: 0,
            offset: 0,
            size: bytes.len() as u64,
            pieces: None,
        };
        Self::new(&Store(Arc::new(Bytes::Memory(bytes))), &place)
    }

    /// Bytes, holes included.
    pub fn size(&self) -> u64 {
        self.place.size
    }

    /// Whether both are one file, by hard links.
    pub fn is(&self, other: &Self) -> bool {
        self.number() == other.number() && Arc::ptr_eq(&self.store.0, &other.store.0)
    }

    /// Tells the files of one image apart.
    pub fn number(&self) -> u64 {
        self.place.number
    }

    /// The bytes, holes filled; `None` where there are more than `bound`.
    pub fn read(&self, bound: u64) -> io::Result<Option<Arc<[u8]>>> {
        if self.size() > bound {
            return Ok(None);
        }
        if let (Bytes::Memory(bytes), None) = (&*self.store.0, &self.place.pieces)
            && bytes.len() as u64 == self.size()
        {
            return Ok(Some(Arc::clone(bytes)));
        }
        let size = usize::try_from(self.size()).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        let mut at = self.place.offset;
        for (start, len) in self.pieces() {
            // A verified map lies within the size.
            let (start, len) = (start as usize, len as usize);
            let part = bytes.get_mut(start..start + len);
            let part = part.ok_or(io::ErrorKind::InvalidData)?;
            self.store.0.read_at(part, at)?;
            at += len as u64;
        }
        Ok(Some(bytes.into()))
    }

    /// Writes it to an empty file, where its holes are holes.
    pub fn copy_to(&self, file: &File) -> io::Result<()> {
        if self.place.pieces.is_some() {
            file.set_len(self.size())?;
        }
        let mut from = self.place.offset;
        for (to, length) in self.pieces() {
            match &*self.store.0 {
                Bytes::Memory(bytes) => {
                    let part = bytes.get(from as usize..(from + length) as usize);
                    file.write_all_at(part.ok_or(io::ErrorKind::UnexpectedEof)?, to)?;
                }
                Bytes::File(kept) => copy(kept, from, file, to, length)?,
            }
            from += length;
        }
        Ok(())
    }

    /// Position and length of what is no hole.
    fn pieces(&self) -> impl Iterator<Item = (u64, u64)> {
        let whole = (self.place.pieces.is_none() && self.size() > 0).then_some((0, self.size()));
        let pieces = self.place.pieces.as_deref().unwrap_or_default();
        whole.into_iter().chain(pieces.iter().copied())
    }

    /// Bytes that are no hole.
    pub fn stored(&self) -> u64 {
        self.pieces().map(|(_, length)| length).sum()
    }
}

/// Copies a number of bytes from a position in one file to a position in another.
fn copy(kept: &File, mut from: u64, file: &File, mut to: u64, length: u64) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX);
        // Not between any two file systems, and not by every kernel.
        match rustix::fs::copy_file_range(kept, Some(&mut from), file, Some(&mut to), some) {
            Ok(0) | Err(_) => return copy_by_hand(kept, from, file, to, left),
            Ok(count) => left -= count as u64,
        }
    }
    Ok(())
}

/// The same, through memory.
fn copy_by_hand(kept: &File, from: u64, file: &File, to: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; length.min(PIECE as u64) as usize];
    let mut done = 0;
    while done < length {
        let part = &mut buffer[..(length - done).min(PIECE as u64) as usize];
        kept.read_exact_at(part, from + done)?;
        file.write_all_at(part, to + done)?;
        done += part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_alike_by_the_kernel_and_by_hand() {
        let kept = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..3 * PIECE + 17).map(|at| (at % 251) as u8).collect();
        (&kept).write_all(&bytes).expect("it can be written");
        let length = bytes.len() - 5;
        for copy in [copy, copy_by_hand] {
            let file = tempfile::tempfile().expect("a file");
            copy(&kept, 5, &file, 2, length as u64).expect("it can be copied");
            let mut copied = Vec::new();
            (&file).read_to_end(&mut copied).expect("it can be read");
            assert_eq!(copied, [b"\0\0", &bytes[5..]].concat());
            let end = bytes.len() as u64;
            let past = copy(&kept, end - 1, &file, 0, 2).map_err(|error| error.kind());
            assert_eq!(past, Err(io::ErrorKind::UnexpectedEof));
        }
    }

    fn keep(spool: &mut Spool, bytes: &[u8]) -> Place {
        let kept = spool.keep(bytes, bytes.len() as u64, None);
        kept.expect("it can be kept")
    }

    #[test]
    fn what_is_kept_is_the_same_in_memory_and_in_a_file() {
        let big = vec![7; MEMORY];
        for more in [&b""[..], &big] {
            let mut spool = Spool::default();
            let first = keep(&mut spool, b"first");
            let empty = keep(&mut spool, b"");
            let large = keep(&mut spool, more);
            let last = keep(&mut spool, b"last");
            let store = spool.close();
            for (place, bytes) in [
                (&first, &b"first"[..]),
                (&empty, b""),
                (&large, more),
                (&last, b"last"),
            ] {
                let content = Content::new(&store, place);
                let read = content.read(MEMORY as u64).expect("it can be read");
                assert_eq!(read.as_deref(), Some(bytes));
                let file = tempfile::tempfile().expect("a file");
                content.copy_to(&file).expect("it can be written");
                let mut copied = Vec::new();
                (&file).read_to_end(&mut copied).expect("it can be read");
                assert_eq!(copied, bytes);
            }
            let too_much = Content::new(&store, &first).read(4).expect("no error");
            assert_eq!(too_much, None);
            assert!(!Content::new(&store, &empty).is(&Content::new(&store, &large)));
        }
    }

    #[test]
    fn holes_are_filled_where_it_is_read_and_holes_where_it_is_written() {
        let mut spool = Spool::default();
        let size = 1 << 30;
        let pieces: Arc<[(u64, u64)]> = Arc::new([(4096, 2), (size - 1, 1)]);
        let place = spool.keep(&b"abc"[..], size, Some(pieces));
        let content = Content::new(&spool.close(), &place.expect("it can be kept"));
        assert_eq!(content.stored(), 3);
        let file = tempfile::tempfile().expect("a file");
        content.copy_to(&file).expect("it can be written");
        let mut read = [9; 3];
        file.read_exact_at(&mut read, 4095).expect("it can be read");
        assert_eq!(&read, b"\0ab");
        file.read_exact_at(&mut read, size - 3)
            .expect("it can be read");
        assert_eq!(&read, b"\0\0c");
        let disk = std::os::unix::fs::MetadataExt::blocks(&file.metadata().expect("metadata"));
        assert!(disk * 512 < 1 << 20, "{disk} blocks");
    }
}
