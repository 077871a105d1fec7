//! This walk beside `tar-core`, which has the same purpose: of any archive that both read, they
//! read the same members, up to where one of them refuses it or the two are known to differ.
//!
//! `PAUSE_IMAGE_TAR_CASES` says how many archives are made, of which the same number gives the
//! same ones; a million take minutes in release mode.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tar::EntryType;
use tar_core::parse::{ParseEvent, ParsedEntry, Parser};

use super::{BLOCK, Skip, Type, Walk, discard};
use crate::build::Tar;
use crate::limits::Limits;

impl Skip for &[u8] {
    fn skip(&mut self, count: u64) -> io::Result<()> {
        discard(self, count)
    }
}

/// What both say of a member.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    path: Vec<u8>,
    link: Vec<u8>,
    kind: Type,
    mode: u32,
    owner: (u64, u64),
    size: u64,
    offset: u64,
    xattrs: BTreeMap<String, Vec<u8>>,
}

/// How a reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At the end marker, or where the archive ends.
    Whole,
    /// With an error.
    Refused,
    /// Where this walk reads otherwise, on purpose.
    Differs,
}

fn ours(bytes: &[u8]) -> (Vec<Facts>, End) {
    let limits = Limits::default();
    let mut walk = Walk::new(bytes, &limits);
    let mut members = Vec::new();
    loop {
        match walk.next() {
            Ok(Some(member)) => members.push(Facts {
                path: until_nul(&member.path),
                link: until_nul(&member.link),
                kind: member.kind,
                mode: member.mode,
                owner: (member.uid, member.gid),
                size: member.size,
                offset: member.offset,
                xattrs: member.xattrs,
            }),
            Ok(None) => return (members, End::Whole),
            Err(_) => return (members, End::Refused),
        }
    }
}

fn theirs(bytes: &[u8]) -> (Vec<Facts>, End) {
    let mut parser = Parser::with_defaults();
    parser.set_allow_empty_path(true);
    let mut members = Vec::new();
    let mut position = 0;
    loop {
        let Some(rest) = bytes.get(position..) else {
            return (members, End::Refused);
        };
        if differs(rest) {
            return (members, End::Differs);
        }
        match parser.parse(rest) {
            Ok(ParseEvent::Entry { consumed, entry }) => {
                position += consumed;
                let kind = kind(&entry);
                let bare = !matches!(kind, Type::File | Type::Other(_));
                if bare && entry.size > 0 {
                    // Only files have content here, as in Go's archive/tar, whatever size a
                    // header gives.
                    return (members, End::Differs);
                }
                let padded = usize::try_from(entry.padded_size()).unwrap_or(usize::MAX);
                members.push(facts(&entry, kind, position));
                position = position.saturating_add(padded);
            }
            Ok(ParseEvent::GlobalExtensions { consumed, .. }) => position += consumed,
            Ok(ParseEvent::End { .. }) => return (members, End::Whole),
            // Maps of sparse files are counted otherwise.
            Ok(ParseEvent::SparseEntry { .. }) => return (members, End::Differs),
            Ok(ParseEvent::NeedData { .. }) => {
                let end = if rest.is_empty() {
                    End::Whole
                } else {
                    End::Refused
                };
                return (members, end);
            }
            Err(_) => return (members, End::Refused),
        }
    }
}

/// Whether the headers up to the next member are among those that this walk takes otherwise:
/// one block of zeros ends an archive here; an extension counts whatever the magic of its header;
/// of a long name and a PAX record the last counts, not the PAX record; sparse maps.
fn differs(mut rest: &[u8]) -> bool {
    let (mut long, mut pax) = (false, false);
    while let Some(block) = rest.get(..BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            return rest
                .get(BLOCK..2 * BLOCK)
                .is_none_or(|next| next.iter().any(|byte| *byte != 0));
        }
        let header = tar::Header::from_byte_slice(block);
        match header.entry_type() {
            EntryType::GNULongName | EntryType::GNULongLink => long = true,
            EntryType::XHeader => pax = true,
            EntryType::XGlobalHeader => {}
            EntryType::GNUSparse => return true,
            _ => return long && pax,
        }
        let known = header.as_ustar().is_some() || header.as_gnu().is_some();
        let size = header
            .entry_size()
            .ok()
            .and_then(|size| usize::try_from(size).ok());
        let Some(size) = size.filter(|_| known) else {
            return true;
        };
        let next = size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        let body = rest.get(BLOCK..BLOCK.saturating_add(size)).unwrap_or(&[]);
        if body.windows(11).any(|window| window == b"GNU.sparse.")
            || body.windows(10).any(|window| window == b"LIBARCHIVE")
        {
            return true;
        }
        rest = rest.get(BLOCK.saturating_add(next)..).unwrap_or(&[]);
    }
    false
}

fn kind(entry: &ParsedEntry<'_>) -> Type {
    let raw = entry.header.as_bytes()[156];
    match entry.entry_type.to_byte() {
        0 if entry.path.ends_with(b"/") => Type::Directory,
        b'0' if raw == 0 && entry.path.ends_with(b"/") => Type::Directory,
        0 | b'0' | b'7' => Type::File,
        b'1' => Type::HardLink,
        b'2' => Type::Symlink,
        b'3' => Type::Character,
        b'4' => Type::Block,
        b'5' => Type::Directory,
        b'6' => Type::Fifo,
        _ => Type::Other(raw),
    }
}

fn facts(entry: &ParsedEntry<'_>, kind: Type, offset: usize) -> Facts {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    Facts {
        path: until_nul(&entry.path),
        link: until_nul(entry.link_target.as_deref().unwrap_or_default()),
        kind,
        mode: entry.mode & 0o7777,
        owner: (entry.uid, entry.gid),
        size: entry.size,
        offset: offset as u64,
        xattrs: entry
            .xattrs
            .iter()
            .map(|(key, value)| (name(key), value.to_vec()))
            .collect(),
    }
}

/// A GNU long name ends at the first NUL here, and at the last there.
fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

/// A member, or what stands before one.
#[derive(Clone, Debug)]
enum Piece {
    Plain(u8, Vec<u8>, Vec<u8>, u32, Vec<u8>),
    LongName(Vec<u8>),
    Xattr(String, Vec<u8>),
    Owner(u64, u64),
    Global(Vec<u8>),
}

fn piece() -> impl Strategy<Value = Piece> {
    let name = || prop::collection::vec(prop::sample::select(&b"ab./-\xc3\xa9"[..]), 1..140);
    let content = || prop::collection::vec(any::<u8>(), 0..1200);
    let kinds = prop::sample::select(&b"0000\x001234567ZX"[..]);
    prop_oneof![
        8 => (kinds, name(), name(), any::<u32>(), content())
            .prop_map(|(kind, path, link, mode, content)| Piece::Plain(kind, path, link, mode & 0o7777, content)),
        1 => name().prop_map(Piece::LongName),
        1 => ("[a-z.]{1,30}", content()).prop_map(|(key, value)| Piece::Xattr(key, value)),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(uid, gid)| Piece::Owner(uid, gid)),
        1 => content().prop_map(Piece::Global),
    ]
}

/// A byte that is set, and whether the checksum of its block is made right again.
type Change = (prop::sample::Index, u8, bool);

fn archive(pieces: &[Piece], changes: &[Change]) -> Vec<u8> {
    let mut tar = Tar::default();
    // One extension before each member: with two of a kind `tar-core` refuses it.
    let mut extended = false;
    for piece in pieces {
        match piece {
            Piece::Plain(kind, path, link, mode, content) => {
                let file = matches!(kind, b'0' | 0 | b'7' | b'Z' | b'X');
                let content = if file { &content[..] } else { &[] };
                let most = if extended { 100 } else { usize::MAX };
                let cut = |name: &[u8]| name[..name.len().min(most)].to_vec();
                let link = if file { Vec::new() } else { cut(link) };
                // Of two long names the builder makes one extension.
                tar.member(EntryType::new(*kind), cut(path), link, *mode, content);
                extended = false;
            }
            _ if extended => {}
            Piece::LongName(name) => {
                let name = [name, &b"\0"[..]].concat();
                tar.member(EntryType::GNULongName, "././@LongLink", "", 0, &name);
                extended = true;
            }
            Piece::Xattr(key, value) => {
                tar.xattr(key, value);
                extended = true;
            }
            Piece::Owner(uid, gid) => {
                tar.owner(*uid, *gid);
                extended = true;
            }
            Piece::Global(content) => {
                tar.member(EntryType::XGlobalHeader, "g", "", 0, content);
            }
        }
    }
    if extended {
        // What describes nothing is left out here, as by Go, and refused there.
        tar.file("last", 0o644, b"");
    }
    let mut bytes = tar.finish();
    for (index, value, mend) in changes {
        let at = index.index(bytes.len());
        bytes[at] = *value;
        if *mend {
            let start = at / BLOCK * BLOCK;
            let mut header = tar::Header::from_byte_slice(&bytes[start..start + BLOCK]).clone();
            header.set_cksum();
            bytes[start..start + BLOCK].copy_from_slice(header.as_bytes());
        }
    }
    bytes
}

fn agree(bytes: &[u8], whole: bool) -> Result<(), TestCaseError> {
    let ((ours, our_end), (theirs, their_end)) = (ours(bytes), theirs(bytes));
    for (our, their) in ours.iter().zip(&theirs) {
        prop_assert_eq!(our, their);
    }
    if our_end == End::Whole && their_end == End::Whole || whole {
        prop_assert_eq!((ours.len(), our_end), (theirs.len(), their_end));
    }
    // Neither reads on where the other says that the archive is over.
    prop_assert!(our_end != End::Whole || theirs.len() <= ours.len());
    prop_assert!(their_end != End::Whole || ours.len() <= theirs.len());
    Ok(())
}

#[test]
fn what_stands_before_a_global_header_describes_no_member_after_it() {
    let mut tar = Tar::default();
    tar.member(EntryType::GNULongName, "././@LongLink", "", 0, b"other\0");
    tar.member(EntryType::XGlobalHeader, "g", "", 0, b"");
    tar.file("last", 0o644, b"");
    let (members, end) = ours(&tar.finish());
    let paths: Vec<_> = members.iter().map(|member| &member.path[..]).collect();
    assert_eq!((&paths[..], end), (&[&b"last"[..]][..], End::Whole));
}

#[test]
fn both_read_the_same_members() {
    let cases = std::env::var("PAUSE_IMAGE_TAR_CASES").ok();
    let cases = cases.and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    // Half of them what a field may hold, and the types of members.
    let likely = prop::sample::select(&b"01234567 \0LKxgSZ/\x80\xff"[..]);
    let value = prop_oneof![any::<u8>(), likely];
    let change = (any::<prop::sample::Index>(), value, any::<bool>());
    let changes = prop::collection::vec(change, 0..6);
    let cases = (prop::collection::vec(piece(), 0..6), changes);
    let outcome = runner.run(&cases, |(pieces, changes)| {
        agree(&archive(&pieces, &[]), true)?;
        agree(&archive(&pieces, &changes), false)
    });
    if let Err(fault) = outcome {
        panic!("{fault}");
    }
}
