//! What the files of an image take, in memory or on disk.

use std::collections::BTreeSet;

use pause_image::disk::Need;
use pause_image::{Content, EntryKind, Rootfs};

/// What a file costs in memory beside its content.
const EACH: u64 = 1 << 10;
/// What file systems give out at a time; on disk a directory has one.
const BLOCK: u64 = 4096;

/// What they take; a file that has several names is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// Bytes of memory.
    pub(super) memory: u64,
    pub(super) disk: Need,
}

impl Cost {
    pub(super) fn of(rootfs: &Rootfs) -> Self {
        let mut counted = BTreeSet::new();
        let (mut files, mut content, mut folders) = (0_u64, 0_u64, 0_u64);
        for entry in rootfs.entries.values() {
            files += 1;
            match &entry.kind {
                EntryKind::Directory => folders += 1,
                EntryKind::File {
                    content: Some(own), ..
                } if counted.insert(own.number()) => content = content.saturating_add(blocks(own)),
                _ => {}
            }
        }
        Self {
            memory: content.saturating_add(files * EACH),
            disk: Need {
                bytes: content.saturating_add(folders * BLOCK),
                files,
            },
        }
    }

    /// Whether that is at most this much memory; a cheap look suffices for a small image.
    pub(super) fn is_within(rootfs: &Rootfs, memory: u64) -> bool {
        let each = rootfs.entries.values().map(|entry| match &entry.kind {
            EntryKind::File {
                content: Some(own), ..
            } => EACH + blocks(own),
            _ => EACH,
        });
        each.fold(0, u64::saturating_add) <= memory || Self::of(rootfs).memory <= memory
    }
}

fn blocks(content: &Content) -> u64 {
    content.stored().next_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use pause_image::Entry;

    #[test]
    fn a_file_of_several_names_costs_once() {
        let content = Content::of(vec![0; 3 << 20].into());
        let file = Entry {
            kind: EntryKind::File {
                size: content.size(),
                content: Some(content),
            },
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
        };
        let mut rootfs = Rootfs::default();
        for name in [&b"bin/ls"[..], b"bin/cat", b"bin/sh"] {
            rootfs.entries.insert(name.to_vec(), file.clone());
        }
        rootfs.entries.insert(b"bin".to_vec(), Entry::directory());
        let cost = Cost::of(&rootfs);
        assert_eq!(cost.memory, (3 << 20) + 4 * EACH);
        assert_eq!(cost.disk.bytes, (3 << 20) + BLOCK);
        assert_eq!(cost.disk.files, 4);
        assert!(Cost::is_within(&rootfs, cost.memory));
        assert!(!Cost::is_within(&rootfs, cost.memory - 1));
    }
}
