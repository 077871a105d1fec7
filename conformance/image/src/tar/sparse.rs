//! Maps of sparse files: GNU headers and the three PAX variants (GNU tar manual, "Storing Sparse Files").

use std::io;
use std::sync::Arc;

use tar::GnuSparseHeader;

use super::{BLOCK, malformed, number};
use crate::limits::Limits;

/// Which parts of a file are stored; the rest are holes.
#[derive(Debug)]
pub(super) struct Map {
    size: u64,
    pieces: Vec<(u64, u64)>,
}

/// Adds a piece, in order and within bounds.
pub(super) fn push(
    pieces: &mut Vec<(u64, u64)>,
    offset: u64,
    len: u64,
    limits: &Limits,
) -> io::Result<()> {
    if pieces.len() >= limits.sparse {
        return Err(malformed(&format!(
            "a sparse map of more than {} pieces",
            limits.sparse
        )));
    }
    pieces.push((offset, len));
    Ok(())
}

impl Map {
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            pieces: Vec::new(),
        }
    }

    pub(super) fn from_pieces(size: u64, pieces: Vec<(u64, u64)>) -> Self {
        Self { size, pieces }
    }

    /// Size with the holes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push_headers(
        &mut self,
        headers: &[GnuSparseHeader],
        limits: &Limits,
    ) -> io::Result<()> {
        for header in headers.iter().take_while(|header| !header.is_empty()) {
            push(&mut self.pieces, header.offset()?, header.length()?, limits)?;
        }
        Ok(())
    }

    /// An extension block: 21 pieces of two 12-byte fields.
    pub(super) fn push_block(&mut self, block: &[u8; BLOCK], limits: &Limits) -> io::Result<()> {
        for chunk in block[..504].chunks_exact(24) {
            let (mut offset, mut numbytes) = ([0; 12], [0; 12]);
            offset.copy_from_slice(&chunk[..12]);
            numbytes.copy_from_slice(&chunk[12..]);
            self.push_headers(&[GnuSparseHeader { offset, numbytes }], limits)?;
        }
        Ok(())
    }

    /// PAX 1.0: decimal lines at the start of the content, padded to a block.
    pub(super) fn read_from_data(
        size: u64,
        mut next: impl FnMut(&mut [u8; BLOCK]) -> io::Result<()>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let mut map = Self::new(size);
        let mut block = [0; BLOCK];
        let mut line = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            next(&mut block)?;
            for byte in block {
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > 20 {
                        return Err(malformed("sparse map"));
                    }
                    continue;
                }
                numbers.push(number(&line)?);
                line.clear();
                let count = usize::try_from(numbers[0]).unwrap_or(usize::MAX);
                if count > limits.sparse {
                    return Err(malformed("a sparse map of too many pieces"));
                }
                if numbers.len() == 1 + 2 * count {
                    for pair in numbers[1..].chunks_exact(2) {
                        push(&mut map.pieces, pair[0], pair[1], limits)?;
                    }
                    return Ok(map);
                }
            }
        }
    }

    /// Holds the pieces to be in order, within the file, and no more than is stored.
    pub(super) fn verify(&self, stored: u64) -> io::Result<()> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (offset, len) in &self.pieces {
            let next = offset
                .checked_add(*len)
                .filter(|next| *offset >= end && *next <= self.size);
            end = next.ok_or_else(|| malformed("sparse map"))?;
            sum += len;
        }
        if sum <= stored {
            Ok(())
        } else {
            Err(malformed("sparse map is larger than its content"))
        }
    }

    /// Position and length of each piece; of a verified map they are in order and within the file.
    pub(super) fn pieces(&self) -> Arc<[(u64, u64)]> {
        let pieces = self.pieces.iter().copied();
        pieces.filter(|(_, len)| *len > 0).collect()
    }

    /// Bytes of all pieces.
    pub(super) fn stored(&self) -> u64 {
        self.pieces.iter().map(|(_, len)| len).sum()
    }
}
