//! Folds layers, lowest first, into one root filesystem (OCI image-spec layer.md): its tree in
//! memory, the content of its files in a [`Spool`].
//!
//! Nothing is unpacked here, so no path of an image can reach the host. What does not fit in
//! a root filesystem is not applied and becomes a defect for a static check to judge.

mod apply;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::AtomicU64;

use super::ahead::read_ahead;
use super::blob::Blob;
use super::decompress::{Compression, decompress_noting};
use super::digest::{Digest, Hashed};
use super::error::Error;
use super::limits::{Budget, Limits};
use super::spool::{Place, Spool};
use super::tar::{Type, Walk};
use super::{Content, Defect, Entry, EntryKind, Rootfs};

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct LayerBlob {
    /// What reports call it: its digest, or its name in the archive.
    pub(crate) name: String,
    /// Its content.
    pub(crate) blob: Blob,
    /// Digest that its descriptor promises.
    pub(crate) digest: Option<Digest>,
    /// Digest that the configuration promises for the uncompressed content.
    pub(crate) diff_id: Option<Digest>,
}

/// What was measured of a layer as it streamed past.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) digest: Digest,
    pub(crate) diff_id: Digest,
    pub(crate) uncompressed: u64,
    /// Bytes behind what is compressed.
    pub(crate) tail: u64,
}

/// An entry and where it came from.
#[derive(Clone, Debug)]
struct Node {
    entry: Entry,
    layer: usize,
    /// Where the content of a file is kept.
    place: Option<Place>,
}

/// All layers folded.
pub(crate) struct Flattened<'a> {
    limits: &'a Limits,
    nodes: BTreeMap<Vec<u8>, Node>,
    root: Entry,
    spool: Spool,
    /// What was measured of each layer, lowest first.
    pub(crate) measured: Vec<Measured>,
    /// What could not be applied.
    pub(crate) defects: Vec<Defect>,
    steps: Budget,
    names: Budget,
}

/// A layer of less bytes is read sooner than a thread is made.
const WORTH_A_THREAD: u64 = 1 << 20;
/// Defects of one image that are worth reading.
const DEFECTS: usize = 100;

impl<'a> Flattened<'a> {
    /// Reads every layer once: digests, names, metadata; the content of its files is kept.
    pub(crate) fn read(layers: &[LayerBlob], limits: &'a Limits) -> Result<Self, Error> {
        let mut folded = Self {
            limits,
            nodes: BTreeMap::new(),
            root: Rootfs::default().root,
            spool: Spool::default(),
            measured: Vec::new(),
            defects: Vec::new(),
            steps: Budget::new("steps of path resolution", limits.steps),
            names: Budget::new("bytes of names in the layers", limits.names),
        };
        let mut bounds = Bounds::new(limits);
        for (index, layer) in layers.iter().enumerate() {
            folded
                .read_layer(index, layer, &mut bounds)
                .map_err(|error| Error::io(format_args!("layer {}", layer.name), &error))?;
        }
        Ok(folded)
    }

    fn read_layer(
        &mut self,
        index: usize,
        layer: &LayerBlob,
        bounds: &mut Bounds,
    ) -> io::Result<()> {
        let compression = Compression::of(&layer.blob.head::<4>()?);
        let mut stored = Hashed::new(
            layer.blob.clone(),
            layer.digest.as_ref(),
            &mut bounds.stored,
        );
        let tail = AtomicU64::new(0);
        let window = self.limits.zstd_window;
        let mut plain = decompress_noting(&mut stored, compression, window, Some(&tail));
        let mut take_in = |plain: &mut dyn Read| {
            let (budget, entries) = (&mut bounds.uncompressed, &mut bounds.entries);
            let mut plain = Hashed::new(plain, layer.diff_id.as_ref(), budget);
            self.take_in(index, &mut plain, entries)?;
            plain.finish()
        };
        let (diff_id, uncompressed) = if layer.blob.len() < WORTH_A_THREAD {
            take_in(&mut plain)
        } else {
            read_ahead(&mut plain, take_in)
        }?;
        drop(plain);
        let (digest, _) = stored.finish()?;
        self.measured.push(Measured {
            digest,
            diff_id,
            uncompressed,
            tail: tail.into_inner(),
        });
        Ok(())
    }

    /// The members of a layer, which is an archive.
    fn take_in(
        &mut self,
        index: usize,
        plain: &mut Hashed<'_, &mut dyn Read>,
        entries: &mut Budget,
    ) -> io::Result<()> {
        let mut walk = Walk::new(plain, self.limits);
        while let Some(member) = walk.next()? {
            entries.take(1)?;
            let names = member.path.len() + member.link.len();
            self.names.take(names as u64 + weight(&member.xattrs))?;
            let place = if member.kind == Type::File {
                let pieces = walk.pieces();
                // A map of holes takes as much as a name.
                let holes = pieces.as_deref().map_or(0, <[_]>::len);
                self.names.take(16 * holes as u64)?;
                Some(self.spool.keep(walk.content(), member.size, pieces)?)
            } else {
                None
            };
            self.apply(&member, index, place)?;
        }
        Ok(())
    }

    /// The folded tree.
    pub(crate) fn rootfs(&mut self) -> Rootfs {
        let store = self.spool.close();
        let entries = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(|(path, node)| {
                let mut entry = node.entry;
                if let (EntryKind::File { content, .. }, Some(place)) =
                    (&mut entry.kind, &node.place)
                {
                    *content = Some(Content::new(&store, place));
                }
                (path, entry)
            });
        Rootfs {
            entries: entries.collect(),
            root: self.root.clone(),
        }
    }
}

/// Bytes that extended attributes hold.
fn weight(xattrs: &BTreeMap<String, Vec<u8>>) -> u64 {
    xattrs
        .iter()
        .map(|(name, value)| (name.len() + value.len()) as u64)
        .sum()
}

/// What all layers of an image may cost together.
struct Bounds {
    stored: Budget,
    uncompressed: Budget,
    entries: Budget,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        Self {
            stored: Budget::new("bytes of layers", limits.stored),
            uncompressed: Budget::new("bytes of uncompressed layers", limits.uncompressed),
            entries: Budget::new("entries in the layers", limits.entries as u64),
        }
    }
}
