//! Walks a tar archive, member by member, with a bound on everything that is read into memory.
//!
//! The header's fields are read by the `tar` crate. The walk is our own, since that
//! crate reads long names and PAX headers whole however large they say they are, and
//! splits PAX records at newlines, which binary extended attributes hold.
//! Formats: v7, ustar, GNU (long names, sparse files), PAX (names, sizes, extended
//! attributes, the three sparse variants). Semantics where the formats leave a choice
//! are those of Go's archive/tar, which is what container engines read layers with.

#[cfg(test)]
mod differential;
mod pax;
mod sparse;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use tar::{EntryType, Header};

use super::blob::Blob;
use super::digest::Hashed;
use super::limits::Limits;
use pax::Extensions;
use sparse::Map;

const BLOCK: usize = 512;
const BLOCK_BYTES: u64 = BLOCK as u64;

/// A reader that can leave bytes out; streams read them, files seek.
pub(crate) trait Skip: Read {
    /// Leaves out `count` bytes; an early end is `UnexpectedEof`.
    fn skip(&mut self, count: u64) -> io::Result<()>;
}

impl<R: Read> Skip for &mut Hashed<'_, R> {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        discard(self, count)
    }
}

impl Skip for Blob {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        let position = self.stream_position()?;
        match position
            .checked_add(count)
            .filter(|target| *target <= self.len())
        {
            Some(target) => self.seek(SeekFrom::Start(target)).map(|_| ()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads `count` bytes and forgets them.
pub(crate) fn discard(reader: &mut impl Read, count: u64) -> io::Result<()> {
    if count == 0 {
        return Ok(());
    }
    let read = io::copy(&mut reader.take(count), &mut io::sink())?;
    if read == count {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Regular file, also contiguous and sparse ones.
    File,
    /// Hard link to an earlier member.
    HardLink,
    /// Symbolic link.
    Symlink,
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Directory.
    Directory,
    /// FIFO.
    Fifo,
    /// Anything else; engines leave it out.
    Other(u8),
}

/// One member's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Name as written.
    pub(crate) path: Vec<u8>,
    /// Link target as written.
    pub(crate) link: Vec<u8>,
    /// What it is.
    pub(crate) kind: Type,
    /// Permission bits, 0o7777.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u64,
    /// Group.
    pub(crate) gid: u64,
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    /// Device number.
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// Where its content starts in the stream.
    pub(crate) offset: u64,
    /// Whether it has holes, so that its content is not one run of the stream.
    pub(crate) sparse: bool,
}

/// A walk over the members of an archive.
pub(crate) struct Walk<'a, R> {
    reader: R,
    limits: &'a Limits,
    position: u64,
    /// Content of the current member not read yet, padding excluded.
    content: u64,
    /// Where the next header starts.
    next: u64,
    map: Option<Map>,
}

impl<'a, R: Skip> Walk<'a, R> {
    /// Starts at the reader's position.
    pub(crate) fn new(reader: R, limits: &'a Limits) -> Self {
        Self {
            reader,
            limits,
            position: 0,
            content: 0,
            next: 0,
            map: None,
        }
    }

    /// The next member; `None` at the end marker or the end of the stream.
    pub(crate) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            let ahead = self.next - self.position;
            self.reader.skip(ahead)?;
            self.position = self.next;
            let Some(block) = self.header_block()? else {
                return Ok(None);
            };
            let header = Header::from_byte_slice(&block);
            verify_checksum(header)?;
            let kind = header.entry_type();
            match kind {
                EntryType::XHeader => {
                    let bytes = self.extension(header)?;
                    extensions.read(&bytes, self.limits)?;
                }
                // Global headers carry no names in the layers that engines write. To Go's archive/tar,
                // by which they read, one is a member of its own: what came before describes it.
                EntryType::XGlobalHeader => {
                    self.extension(header)?;
                    extensions = Extensions::default();
                }
                EntryType::GNULongName => extensions.path = Some(trim_nul(self.extension(header)?)),
                EntryType::GNULongLink => extensions.link = Some(trim_nul(self.extension(header)?)),
                _ => return self.member(header, extensions).map(Some),
            }
        }
    }

    /// Which parts of the current member's content are stored, in order; `None` where all are.
    pub(crate) fn pieces(&self) -> Option<Arc<[(u64, u64)]>> {
        self.map.as_ref().map(Map::pieces)
    }

    /// What is stored of the current member's content. An early end is `UnexpectedEof`.
    pub(crate) fn content(&mut self) -> impl Read {
        let left = match &self.map {
            Some(map) => map.stored(),
            None => self.content,
        };
        MemberContent { walk: self, left }
    }

    fn member(&mut self, header: &Header, mut extensions: Extensions) -> io::Result<Member> {
        let path = extensions.path.take();
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions
            .link
            .take()
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default();
        let kind = member_type(header, &path);
        let stored = match kind {
            Type::File | Type::Other(_) => match extensions.size {
                Some(size) => size,
                None => blank_is_zero(header, 124..136, Header::entry_size)?,
            },
            _ => 0,
        };
        self.begin_content(header, kind, stored, &mut extensions)?;
        Ok(Member {
            path,
            link,
            kind,
            mode: blank_is_zero(header, 100..108, Header::mode)? & 0o7777,
            uid: match extensions.uid {
                Some(uid) => uid,
                None => blank_is_zero(header, 108..116, Header::uid)?,
            },
            gid: match extensions.gid {
                Some(gid) => gid,
                None => blank_is_zero(header, 116..124, Header::gid)?,
            },
            size: self.map.as_ref().map_or(stored, Map::size),
            device: (
                header.device_major().ok().flatten().unwrap_or(0),
                header.device_minor().ok().flatten().unwrap_or(0),
            ),
            xattrs: extensions.xattrs,
            offset: self.position,
            sparse: self.map.is_some(),
        })
    }

    /// Finds out how long the member's content is, and which parts of it are stored.
    fn begin_content(
        &mut self,
        header: &Header,
        kind: Type,
        stored: u64,
        extensions: &mut Extensions,
    ) -> io::Result<()> {
        self.content = stored;
        self.map = None;
        if header.entry_type() == EntryType::GNUSparse {
            self.map = Some(self.gnu_sparse(header)?);
        } else if kind == Type::File
            && let Some(sparse) = extensions.sparse.take()
        {
            let limits = self.limits;
            self.map = Some(if sparse.in_data() {
                Map::read_from_data(sparse.size()?, |block| self.data_block(block), limits)?
            } else {
                sparse.into_map()?
            });
        }
        let padded = self.content.checked_next_multiple_of(BLOCK_BYTES);
        self.next = padded
            .and_then(|padded| self.position.checked_add(padded))
            .ok_or_else(|| malformed("size does not fit"))?;
        match &self.map {
            Some(map) => map.verify(self.content),
            None => Ok(()),
        }
    }

    fn gnu_sparse(&mut self, header: &Header) -> io::Result<Map> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| malformed("sparse file without a GNU header"))?;
        let mut map = Map::new(gnu.real_size()?);
        map.push_headers(&gnu.sparse, self.limits)?;
        let mut extended = gnu.is_extended();
        while extended {
            let mut block = [0; BLOCK];
            self.reader.read_exact(&mut block)?;
            self.position += BLOCK_BYTES;
            map.push_block(&block, self.limits)?;
            extended = block[504] == 1;
        }
        Ok(map)
    }

    /// A block of the current member's content.
    fn data_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<()> {
        self.content = self
            .content
            .checked_sub(BLOCK_BYTES)
            .ok_or_else(|| malformed("sparse map is cut off"))?;
        self.reader.read_exact(block)?;
        self.position += BLOCK_BYTES;
        Ok(())
    }

    fn extension(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > self.limits.extension {
            return Err(malformed(&format!(
                "an extended header of {size} bytes, more than {}",
                self.limits.extension
            )));
        }
        self.next = self.position + size.next_multiple_of(BLOCK_BYTES);
        // At most `extension` bytes, as checked.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.content = size;
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let len = bytes.len() as u64;
        self.content = self
            .content
            .checked_sub(len)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.reader.read_exact(bytes)?;
        self.position += len;
        Ok(())
    }

    /// The next header; `None` at a zero block or where the stream ends between members.
    fn header_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < block.len() {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.position += BLOCK_BYTES;
        self.next = self.position;
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }
}

/// Reads a member's content and nothing behind it.
struct MemberContent<'w, 'a, R> {
    walk: &'w mut Walk<'a, R>,
    left: u64,
}

impl<R: Skip> Read for MemberContent<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.walk.reader.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let read = count as u64;
        self.left -= read;
        self.walk.position += read;
        self.walk.content = self.walk.content.saturating_sub(read);
        Ok(count)
    }
}

/// Whether some bytes start with a tar header.
pub(crate) fn looks_like_tar(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(|block| {
        block.iter().any(|byte| *byte != 0)
            && verify_checksum(Header::from_byte_slice(block)).is_ok()
    })
}

fn verify_checksum(header: &Header) -> io::Result<()> {
    let bytes = header.as_bytes();
    let outside = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned: i64 = outside().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    let signed: i64 = outside()
        .map(|byte| i64::from(byte.cast_signed()))
        .sum::<i64>()
        + 8 * 32;
    let written = i64::from(header.cksum().map_err(|_| malformed("header"))?);
    // Old Sun tar summed signed bytes; readers take both.
    if written == unsigned || written == signed {
        Ok(())
    } else {
        Err(malformed("header checksum"))
    }
}

fn member_type(header: &Header, path: &[u8]) -> Type {
    let flag = header.as_bytes()[156];
    match header.entry_type() {
        EntryType::Directory => Type::Directory,
        EntryType::Regular if flag == 0 && path.ends_with(b"/") => Type::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Type::File,
        EntryType::Link => Type::HardLink,
        EntryType::Symlink => Type::Symlink,
        EntryType::Char => Type::Character,
        EntryType::Block => Type::Block,
        EntryType::Fifo => Type::Fifo,
        _ => Type::Other(flag),
    }
}

/// A numeric field that is left blank is 0, as old writers have it and Go reads it.
fn blank_is_zero<T: Default>(
    header: &Header,
    field: Range<usize>,
    read: impl Fn(&Header) -> io::Result<T>,
) -> io::Result<T> {
    if header.as_bytes()[field]
        .iter()
        .all(|byte| matches!(byte, 0 | b' '))
    {
        return Ok(T::default());
    }
    read(header).map_err(|_| malformed("number in a header"))
}

fn trim_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// A decimal number of a PAX record or a sparse map.
fn number(value: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("number in a PAX header"))
}

/// What is not a tar archive.
fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not a well-formed tar archive: {what}"),
    )
}
