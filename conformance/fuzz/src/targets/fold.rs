//! Layers as members: names, links, whiteouts and what replaces what.
//!
//! A member is a byte for its type, one for its mode, one for the lengths of name and
//! link, and the two; `0xff` begins the next layer. Names are made of few pieces, so that
//! they meet.

use conformance::subject::build::{Packing, Tar};
use tar::EntryType;

use super::refold;

/// Pieces of names; what a byte stands for.
const PIECES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"c",
    b"/",
    b"/",
    b"..",
    b".",
    b".wh.",
    b".wh..wh..opq",
    b".wh..wh.",
    b"pause",
    b"lib.so",
    b"\0",
    b"\xff",
    b"\xe2\x80\xae",
    b"dddddddddddddddddddddddddddddddd",
];

/// However layers are packed they fold to the same, and that folds again to itself.
pub fn run(bytes: &[u8]) {
    let Some((packing, mut rest)) = bytes.split_first() else {
        return;
    };
    let mut layers = vec![Tar::default()];
    while let [kind, mode, lengths, after @ ..] = rest {
        rest = after;
        if *kind == 0xff {
            layers.push(Tar::default());
            continue;
        }
        let mut piece = |length: u8| {
            let taken = rest.len().min(usize::from(length));
            let (pieces, after) = rest.split_at(taken);
            rest = after;
            let pieces = pieces.iter().map(|byte| PIECES[usize::from(byte % 16)]);
            pieces.collect::<Vec<_>>().concat()
        };
        let (name, link) = (piece(lengths >> 4), piece(lengths & 15));
        member(
            layers.last_mut().expect("there is one"),
            *kind,
            *mode,
            &name,
            &link,
        );
    }
    layers.truncate(5);
    let plain = |packing| {
        layers
            .iter()
            .map(|layer| (layer.finish(), packing))
            .collect()
    };
    let Some(subject) = refold::image(plain(Packing::Plain)) else {
        return;
    };
    let packing = match packing % 16 {
        0 => Packing::Zstd,
        1 => Packing::Gzip,
        _ => Packing::Plain,
    };
    if packing != Packing::Plain {
        let packed = refold::again(plain(packing)).expect("what folds folds packed");
        assert_eq!(
            format!("{:?}", packed.rootfs),
            format!("{:?}", subject.rootfs)
        );
    }
    refold::check(&subject, packing);
}

fn member(layer: &mut Tar, kind: u8, mode: u8, name: &[u8], link: &[u8]) {
    if kind & 0x10 != 0 {
        layer.xattr("security.capability", link);
    }
    let mode = u32::from(mode) << 4 | 0o5;
    let kind = match kind % 8 {
        0 | 1 => EntryType::Regular,
        2 => EntryType::Directory,
        3 => EntryType::Symlink,
        4 => EntryType::Link,
        5 => EntryType::Fifo,
        6 => EntryType::Char,
        _ => EntryType::Block,
    };
    let content = if kind == EntryType::Regular {
        link
    } else {
        b""
    };
    layer.member(kind, name, link, mode, content);
}
