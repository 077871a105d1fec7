//! PAX extended headers (pax(1), "pax Extended Header"): records of `length keyword=value\n`.

use std::collections::BTreeMap;
use std::io;

use super::sparse::{self, Map};
use super::{malformed, number};
use crate::limits::Limits;

/// What extended headers say of the member that follows.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    pub(super) sparse: Option<Sparse>,
}

/// The `GNU.sparse.*` records.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    size: Option<u64>,
    in_data: bool,
    offset: Option<u64>,
    pieces: Vec<(u64, u64)>,
}

impl Sparse {
    /// Version 1.0 keeps its map at the start of the content.
    pub(super) fn in_data(&self) -> bool {
        self.in_data
    }

    /// Size with the holes.
    pub(super) fn size(&self) -> io::Result<u64> {
        self.size
            .ok_or_else(|| malformed("sparse file without its size"))
    }

    pub(super) fn into_map(self) -> io::Result<Map> {
        Ok(Map::from_pieces(self.size()?, self.pieces))
    }
}

impl Extensions {
    /// Reads all records of one extended header.
    pub(super) fn read(&mut self, mut bytes: &[u8], limits: &Limits) -> io::Result<()> {
        while !bytes.is_empty() {
            let (keyword, value, rest) = record(bytes).ok_or_else(|| malformed("PAX header"))?;
            bytes = rest;
            self.take(keyword, value, limits)?;
        }
        Ok(())
    }

    fn take(&mut self, keyword: &[u8], value: &[u8], limits: &Limits) -> io::Result<()> {
        match keyword {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            _ if keyword.starts_with(b"GNU.sparse.") => self.take_sparse(keyword, value, limits)?,
            _ => {
                // bsdtar writes both; its own form is base64, the other raw, and the raw one wins.
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs
                        .insert(String::from_utf8_lossy(name).into_owned(), value.to_vec());
                } else if let Some(name) = keyword.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = String::from_utf8_lossy(name).into_owned();
                    self.xattrs
                        .entry(name)
                        .or_insert_with(|| decode_base64(value));
                }
            }
        }
        Ok(())
    }

    fn take_sparse(&mut self, keyword: &[u8], value: &[u8], limits: &Limits) -> io::Result<()> {
        let sparse = self.sparse.get_or_insert_default();
        match &keyword[b"GNU.sparse.".len()..] {
            b"size" | b"realsize" => sparse.size = Some(number(value)?),
            b"name" => self.path = Some(value.to_vec()),
            b"major" => sparse.in_data = number(value)? >= 1,
            b"offset" => sparse.offset = Some(number(value)?),
            b"numbytes" => {
                let offset = sparse
                    .offset
                    .take()
                    .ok_or_else(|| malformed("sparse map"))?;
                sparse::push(&mut sparse.pieces, offset, number(value)?, limits)?;
            }
            b"map" => {
                let numbers: Vec<u64> = value
                    .split(|byte| *byte == b',')
                    .map(number)
                    .collect::<io::Result<_>>()?;
                for pair in numbers.chunks(2) {
                    let [offset, len] = pair else {
                        return Err(malformed("sparse map"));
                    };
                    sparse::push(&mut sparse.pieces, *offset, *len, limits)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Keyword, value and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    if len <= space + 1 {
        return None;
    }
    let (record, rest) = bytes.split_at_checked(len)?;
    let body = record.strip_suffix(b"\n")?.get(space + 1..)?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], rest))
}

/// Base64 as libarchive writes it, padding or not; what is not of its alphabet is left out.
fn decode_base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_attribute_may_hold_newlines_and_equals_signs() {
        let mut extensions = Extensions::default();
        let body = b" SCHILY.xattr.security.capability=\x01\n\n=\x02\n";
        let record = [format!("{}", body.len() + 2).as_bytes(), body].concat();
        extensions
            .read(&record, &Limits::default())
            .expect("a well-formed record");
        assert_eq!(extensions.xattrs["security.capability"], b"\x01\n\n=\x02");
    }

    #[test]
    fn malformed_records_are_errors() {
        for bytes in [
            &b"5"[..],
            b"0 a=b\n",
            b"99 a=b\n",
            b"6 ab\n\n",
            b"x a=b\n",
            b"6 a=bb",
            b"2 ",
        ] {
            assert!(
                Extensions::default()
                    .read(bytes, &Limits::default())
                    .is_err(),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn libarchive_attributes_are_base64() {
        assert_eq!(decode_base64(b"AQAAAg=="), [1, 0, 0, 2]);
    }
}
