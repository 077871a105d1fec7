//! Layers and archives as they are compressed: gzip, zstd or plain, told by their first bytes.
//!
//! Media types are wrong often enough that container engines go by content, and so does this. Bytes
//! after the last member of a stream do not belong to it; they are counted.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::tar::discard;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Zstd,
    Plain,
}

impl Compression {
    /// Tells by the first bytes.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame before one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// A stream uncompressed; a zstd frame with a larger window than `window` is an error.
pub(crate) fn decompress<'a>(
    reader: impl Read + Send + 'a,
    compression: Compression,
    window: u64,
) -> Box<dyn Read + Send + 'a> {
    decompress_noting(reader, compression, window, None)
}

/// The same; how many bytes follow the compressed ones is noted once all has been read.
pub(crate) fn decompress_noting<'a>(
    reader: impl Read + Send + 'a,
    compression: Compression,
    window: u64,
    tail: Option<&'a AtomicU64>,
) -> Box<dyn Read + Send + 'a> {
    let reader = BufReader::with_capacity(64 * 1024, reader);
    match compression {
        Compression::Gzip => Box::new(Members::new(reader, tail)),
        Compression::Zstd => Box::new(Frames::new(reader, window, tail)),
        Compression::Plain => Box::new(reader),
    }
}

/// Counts what is left of a stream, which is no part of what was compressed.
fn note_tail(mut rest: impl Read, already_read: u64, tail: Option<&AtomicU64>) -> io::Result<()> {
    let count = already_read + io::copy(&mut rest, &mut io::sink())?;
    if let Some(tail) = tail {
        tail.store(count, Ordering::Relaxed);
    }
    Ok(())
}

/// How many bytes were taken out of a reader.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.count += count as u64;
    }
}

/// Several gzip members one after another (RFC 1952, section 2.2).
struct Members<'a, R> {
    /// The member that is read; none at the end.
    member: Option<GzDecoder<Counted<R>>>,
    /// Where it starts.
    start: u64,
    /// It is the first, which must be one.
    first: bool,
    tail: Option<&'a AtomicU64>,
}

impl<'a, R: BufRead> Members<'a, R> {
    fn new(inner: R, tail: Option<&'a AtomicU64>) -> Self {
        Self {
            member: Some(GzDecoder::new(Counted { inner, count: 0 })),
            start: 0,
            first: true,
            tail,
        }
    }

    /// After a member: the next one, or nothing.
    fn next(&mut self, mut source: Counted<R>) -> io::Result<()> {
        self.first = false;
        self.start = source.count;
        let rest = source.fill_buf()?;
        if rest.is_empty() {
            return Ok(());
        }
        // Its second byte may not be there yet: the decoder looks at it.
        if rest[0] == 0x1f {
            self.member = Some(GzDecoder::new(source));
            return Ok(());
        }
        note_tail(source, 0, self.tail)
    }
}

impl<R: BufRead> Read for Members<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let read = member.read(buffer);
            let has_header = member.header().is_some();
            match read {
                Ok(0) => {}
                // What only begins as a member does is none.
                Err(_) if !self.first && !has_header => {}
                read => return read,
            }
            let Some(source) = self.member.take().map(GzDecoder::into_inner) else {
                break;
            };
            if has_header {
                self.next(source)?;
            } else {
                let already_read = source.count - self.start;
                note_tail(source, already_read, self.tail)?;
            }
        }
        Ok(0)
    }
}

/// Several zstd frames one after another, skippable ones left out.
struct Frames<'a, R> {
    source: Counted<R>,
    decoder: FrameDecoder,
    active: bool,
    /// A frame was read whole.
    some: bool,
    tail: Option<&'a AtomicU64>,
}

impl<'a, R: BufRead> Frames<'a, R> {
    fn new(inner: R, window: u64, tail: Option<&'a AtomicU64>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window);
        Self {
            source: Counted { inner, count: 0 },
            decoder,
            active: false,
            some: false,
            tail,
        }
    }

    /// Starts the next frame; false at the end.
    fn start(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            let start = self.source.count;
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => discard(&mut self.source, u64::from(length))?,
                Err(FrameDecoderError::ReadFrameHeaderError(
                    ReadFrameHeaderError::BadMagicNumber(_)
                    | ReadFrameHeaderError::MagicNumberReadError(_),
                )) if self.some => {
                    let already_read = self.source.count - start;
                    note_tail(&mut self.source, already_read, self.tail)?;
                }
                Err(error) => return Err(corrupt(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Frames<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.active && !self.start()? {
                return Ok(0);
            }
            self.active = true;
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| corrupt(&error))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.active = false;
            self.some = true;
            let written = self.decoder.get_checksum_from_data();
            if written.is_some() && written != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "zstd checksum does not hold",
                ));
            }
        }
    }
}

fn corrupt(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::UnexpectedEof
        {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = error.source();
    }
    let message = format!("damaged zstd stream: {error}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::build::Packing;
    use super::*;

    const TEXT: &[u8] = b"what was compressed, in more than a few bytes of text";

    /// What comes out, and how many bytes are noted behind it.
    fn read(bytes: &[u8]) -> io::Result<(Vec<u8>, u64)> {
        let (tail, mut out) = (AtomicU64::new(0), Vec::new());
        let compression = Compression::of(bytes);
        decompress_noting(bytes, compression, 1 << 20, Some(&tail)).read_to_end(&mut out)?;
        Ok((out, tail.into_inner()))
    }

    #[rstest]
    #[case::nothing(b"")]
    #[case::a_zero(b"\0")]
    #[case::zeros(&[0; 600])]
    #[case::text(b"garbage")]
    #[case::half_a_mark(b"\x1f")]
    #[case::like_a_member(b"\x1f\x8b garbage and more garbage")]
    fn what_follows_a_stream_is_counted_and_left_out(
        #[case] tail: &[u8],
        #[values(Packing::Gzip, Packing::Zstd)] packing: Packing,
    ) {
        let packed = [&packing.pack(TEXT), tail].concat();
        let (out, noted) = read(&packed).expect("it can be read");
        assert_eq!(out, TEXT);
        assert_eq!(noted, tail.len() as u64);
    }

    #[rstest]
    fn members_one_after_another_are_one_stream(
        #[values(Packing::Gzip, Packing::Zstd)] packing: Packing,
    ) {
        let (one, other) = TEXT.split_at(9);
        let packed = [packing.pack(one), packing.pack(b""), packing.pack(other)].concat();
        assert_eq!(read(&packed).expect("it can be read"), (TEXT.to_vec(), 0));
    }

    #[rstest]
    fn what_is_cut_or_damaged_is_an_error(
        #[values(Packing::Gzip, Packing::Zstd)] packing: Packing,
    ) {
        let packed = packing.pack(TEXT);
        assert!(read(&packed[..packed.len() - 4]).is_err());
        let second = [&packed[..], &packed[..packed.len() - 4]].concat();
        assert!(read(&second).is_err());
    }

    #[test]
    fn a_wrong_checksum_of_gzip_is_an_error() {
        let mut packed = Packing::Gzip.pack(TEXT);
        let at = packed.len() - 8;
        packed[at] ^= 1;
        assert!(read(&packed).is_err());
    }
}
