//! What an image may cost: every size, count and depth that the reader bounds.
//!
//! An image is hostile until judged. The defaults hold the suite below 256 MiB of
//! memory and about ten seconds for any input, and are far above any pause image.

const MIB: u64 = 1 << 20;

/// Bounds on reading one image; sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A manifest, index or configuration.
    pub document: u64,
    /// Indexes within indexes.
    pub index_depth: usize,
    /// Manifests that an index leads to, attestations included.
    pub index_entries: usize,
    /// Layers of one manifest.
    pub layers: usize,
    /// All blobs of one image as stored.
    pub stored: u64,
    /// All layers of one image uncompressed.
    pub uncompressed: u64,
    /// Entries of all layers of one image, and members of an archive file.
    pub entries: usize,
    /// Names, link targets and extended attributes of one image, together.
    pub names: u64,
    /// One path, `PATH_MAX` of Linux.
    pub path: usize,
    /// One PAX header or GNU long name.
    pub extension: u64,
    /// Pieces of one sparse file.
    pub sparse: usize,
    /// Window of a zstd frame; RFC 8878 asks decoders for 8 MiB.
    pub zstd_window: u64,
    /// One program.
    pub program: u64,
    /// One WebAssembly program.
    pub wasm: u64,
    /// The programs of all platforms of an image, which are kept in memory.
    pub kept: u64,
    /// Steps of path resolution while layers are folded.
    pub steps: u64,
    /// A platform of an index that was not asked for: its layers as stored, when they come over a network.
    pub unasked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 4 * MIB,
            index_depth: 4,
            index_entries: 256,
            layers: 256,
            stored: 512 * MIB,
            uncompressed: 512 * MIB,
            entries: 100_000,
            names: 32 * MIB,
            path: 4096,
            extension: MIB,
            sparse: 65_536,
            zstd_window: 32 * MIB,
            program: 64 * MIB,
            wasm: 16 * MIB,
            kept: 96 * MIB,
            steps: 8_000_000,
            unasked: 16 * MIB,
        }
    }
}

/// What is left of a limit.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    what: &'static str,
    limit: u64,
    left: u64,
}

impl Budget {
    /// A full budget; `what` completes "more than N …".
    pub(crate) fn new(what: &'static str, limit: u64) -> Self {
        Self {
            what,
            limit,
            left: limit,
        }
    }

    /// What is left.
    #[cfg(feature = "registry")]
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// What is said where more is asked for than is left.
    #[cfg(feature = "registry")]
    pub(crate) fn exceeded(&self) -> Exceeded {
        Exceeded {
            what: self.what,
            limit: self.limit,
        }
    }

    /// Takes from it, or says which bound is passed.
    pub(crate) fn take(&mut self, amount: u64) -> Result<(), Exceeded> {
        if let Some(left) = self.left.checked_sub(amount) {
            self.left = left;
            Ok(())
        } else {
            self.left = 0;
            Err(Exceeded {
                what: self.what,
                limit: self.limit,
            })
        }
    }
}

/// A bound that the image passes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what}, the suite's limit")]
pub(crate) struct Exceeded {
    what: &'static str,
    limit: u64,
}

impl From<Exceeded> for std::io::Error {
    fn from(exceeded: Exceeded) -> Self {
        std::io::Error::other(exceeded)
    }
}
