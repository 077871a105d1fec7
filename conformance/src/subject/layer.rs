//! Folds layers, lowest first, into one root filesystem in memory (OCI image-spec layer.md).
//!
//! Nothing is unpacked, so no path of an image can reach the host. What does not fit in
//! a root filesystem is not applied and becomes a defect for a static check to judge.

mod apply;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::blob::Blob;
use super::decompress::{Compression, decompress};
use super::digest::{Digest, Hashed};
use super::error::Error;
use super::limits::{Budget, Limits};
use super::tar::{Member, Type, Walk};
use super::{Defect, Entry, EntryKind, Rootfs};

/// A layer as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
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
}

/// Where a file's content is: layer and number of the member in it.
type Location = (usize, usize);

/// An entry and where it came from.
#[derive(Clone, Debug)]
struct Node {
    entry: Entry,
    layer: usize,
    location: Option<Location>,
}

/// All layers folded.
pub(crate) struct Folded<'a> {
    limits: &'a Limits,
    layers: &'a [Stored],
    nodes: BTreeMap<Vec<u8>, Node>,
    root: Entry,
    cache: BTreeMap<Location, Arc<[u8]>>,
    /// What of each layer was measured, lowest first.
    pub(crate) measured: Vec<Measured>,
    /// What could not be applied.
    pub(crate) defects: Vec<Defect>,
    steps: Budget,
    names: Budget,
    cached: Budget,
    passes: usize,
}

/// How much of the executables is kept in the first pass, to spare a second one.
const CACHE: u64 = 48 << 20;
/// Times that a layer is read again for content that the first pass did not keep.
const PASSES: usize = 8;
/// Defects of one image that are worth reading.
const DEFECTS: usize = 100;

impl<'a> Folded<'a> {
    /// Reads every layer once: digests, names, metadata.
    pub(crate) fn read(layers: &'a [Stored], limits: &'a Limits) -> Result<Self, Error> {
        let mut folded = Self {
            limits,
            layers,
            nodes: BTreeMap::new(),
            root: Rootfs::default().root,
            cache: BTreeMap::new(),
            measured: Vec::new(),
            defects: Vec::new(),
            steps: Budget::new("steps of path resolution", limits.steps),
            names: Budget::new("bytes of names in the layers", limits.names),
            cached: Budget::new("bytes of executables", CACHE),
            passes: 0,
        };
        let mut bounds = Bounds::new(limits);
        for (index, layer) in layers.iter().enumerate() {
            folded
                .read_layer(index, layer, &mut bounds)
                .map_err(|error| Error::io(format_args!("layer {}", layer.name), &error))?;
        }
        Ok(folded)
    }

    fn read_layer(&mut self, index: usize, layer: &Stored, bounds: &mut Bounds) -> io::Result<()> {
        let limits = self.limits;
        let compression = Compression::of(&layer.blob.head::<4>()?);
        let mut stored = Hashed::new(
            layer.blob.clone(),
            layer.digest.as_ref(),
            &mut bounds.stored,
        );
        let plain = decompress(&mut stored, compression, limits.zstd_window);
        let mut plain = Hashed::new(plain, layer.diff_id.as_ref(), &mut bounds.uncompressed);
        let mut walk = Walk::new(&mut plain, limits);
        let mut number = 0;
        while let Some(member) = walk.next()? {
            bounds.entries.take(1)?;
            let names = member.path.len() + member.link.len();
            self.names.take(names as u64 + weight(&member.xattrs))?;
            if self.worth_caching(&member) {
                let content = walk.read_content(member.size)?;
                self.cache.insert((index, number), content.into());
            }
            self.apply(&member, index, number)?;
            number += 1;
        }
        let (diff_id, uncompressed) = plain.finish()?;
        let (digest, _) = stored.finish()?;
        self.measured.push(Measured {
            digest,
            diff_id,
            uncompressed,
        });
        Ok(())
    }

    fn worth_caching(&mut self, member: &Member) -> bool {
        let name = member
            .path
            .rsplit(|byte| *byte == b'/')
            .next()
            .unwrap_or_default();
        let runs = member.mode & 0o111 != 0 || name.windows(3).any(|part| part == b".so");
        member.kind == Type::File
            && runs
            && member.size <= self.limits.program
            && member.size <= self.cached.left()
            && self.cached.take(member.size).is_ok()
    }

    /// The folded tree, without content but for what the first pass kept.
    pub(crate) fn rootfs(&self) -> Rootfs {
        let entries = self
            .nodes
            .iter()
            .map(|(path, node)| (path.clone(), node.entry.clone()));
        Rootfs {
            entries: entries.collect(),
            root: self.root.clone(),
        }
    }

    /// Reads the content of some files, in as few passes over as few layers as it takes.
    /// Files larger than the limit are left out, and those that would take too many passes.
    pub(crate) fn contents(
        &mut self,
        paths: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeMap<Vec<u8>, Arc<[u8]>>, Error> {
        let mut wanted: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (path, (layer, number)) in self.located(paths) {
            if !self.cache.contains_key(&(layer, number)) && self.size(path) <= self.limits.program
            {
                wanted.entry(layer).or_default().insert(number);
            }
        }
        for (layer, numbers) in wanted {
            self.passes += 1;
            if self.passes > PASSES {
                break;
            }
            self.read_contents(layer, &numbers).map_err(|error| {
                Error::io(format_args!("layer {}", self.layers[layer].name), &error)
            })?;
        }
        let found = self.located(paths).filter_map(|(path, location)| {
            Some((path.clone(), Arc::clone(self.cache.get(&location)?)))
        });
        Ok(found.collect())
    }

    fn located<'b>(
        &'b self,
        paths: &'b BTreeSet<Vec<u8>>,
    ) -> impl Iterator<Item = (&'b Vec<u8>, Location)> {
        paths
            .iter()
            .filter_map(|path| Some((path, self.nodes.get(path)?.location?)))
    }

    fn size(&self, path: &[u8]) -> u64 {
        match self.nodes.get(path).map(|node| &node.entry.kind) {
            Some(EntryKind::File { size, .. }) => *size,
            _ => 0,
        }
    }

    fn read_contents(&mut self, index: usize, numbers: &BTreeSet<usize>) -> io::Result<()> {
        let layer = &self.layers[index];
        let compression = Compression::of(&layer.blob.head::<4>()?);
        let plain = decompress(layer.blob.clone(), compression, self.limits.zstd_window);
        let mut budget = Budget::new("bytes uncompressed", self.limits.uncompressed);
        let mut plain = Hashed::new(plain, None, &mut budget);
        let mut walk = Walk::new(&mut plain, self.limits);
        let mut number = 0;
        let mut kept = Budget::new("bytes of programs and libraries", self.limits.kept);
        while let Some(member) = walk.next()? {
            if numbers.contains(&number) {
                kept.take(member.size)?;
                self.cache
                    .insert((index, number), walk.read_content(member.size)?.into());
            }
            if Some(&number) == numbers.last() {
                break;
            }
            number += 1;
        }
        Ok(())
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
