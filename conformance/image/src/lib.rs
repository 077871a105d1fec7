//! Reads container images of any origin as a runtime would unpack them, and writes OCI layouts.
//!
//! An image is hostile until it has been read. So nothing of it is written to the host while it is
//! read, no path of it is ever opened, and [`Limits`] bound what it may cost: entries, bytes, the
//! depth of documents. What is odd about it is kept as [`Defect`]s, for the code that judges it.
//!
//! The way of an image: a [`Reference`] names it (a layout, an archive, a registry, docker, a
//! program alone); [`load`] reads its documents, and folds the layers of the platforms that are
//! asked for, whiteouts applied, into a [`Rootfs`], a map from path to entry. Small contents stay
//! in memory, those of big images go to a temporary file without a name. A [`Subject`] is one
//! platform of it: what the index, the manifest and the configuration say, the files, and the
//! program that the configuration starts.
//!
//! ```
//! use pause_image::build::{ImageBuilder, LayoutBuilder, Tar};
//! use pause_image::{LoadOptions, load};
//!
//! let mut layer = Tar::default();
//! layer.directory("etc", 0o755).file("etc/motd", 0o644, b"hello");
//! let image = ImageBuilder::of_layer(&layer, "amd64");
//! let folder = tempfile::tempdir()?;
//! LayoutBuilder::single(&image, "v1").write(folder.path())?;
//!
//! let name = format!("oci:{}", folder.path().display());
//! let mut options = LoadOptions::default();
//! options.platforms = pause_image::Platforms::All;
//! let subjects = load(&name.parse()?, &options)?;
//! assert_eq!(subjects[0].platform.to_string(), "linux/amd64");
//! assert!(subjects[0].rootfs.entries.contains_key(&b"etc/motd"[..]));
//! // It names no program, which only matters where it is to run.
//! assert!(subjects[0].program.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ahead;
pub mod architecture;
mod archive;
mod blob;
pub mod build;
mod containerd;
mod containers_storage;
mod decompress;
mod digest;
pub mod disk;
mod docker_archive;
#[cfg(feature = "registry")]
mod docker_daemon;
mod document;
pub mod elf;
mod error;
mod escape;
mod exported;
mod facts;
mod image;
mod layer;
mod layer_type;
mod layout;
mod limits;
mod load;
mod original;
mod pace;
mod platform;
pub mod program;
mod reference;
#[cfg(feature = "registry")]
mod registry;
pub mod regular;
mod rootfs;
mod spool;
mod tar;
mod temporary;
#[cfg(feature = "http")]
pub mod unix_http;
pub mod wasm;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use architecture::Architecture;
pub use error::Error;
pub use error::io_words;
pub use escape::{escape, escape_text, is_plain, quote, show_path};
pub use facts::{Traits, Version};
pub use limits::Limits;
pub use load::{LoadOptions, Platforms, load};
pub use original::Original;
pub use platform::Platform;
pub use reference::{Reference, RegistryName, Transport};
pub use rootfs::ResolveError;
pub use spool::Content;
pub use wasm::WasmSubject;

/// One platform of one image, or one bare program.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As the user named it.
    pub reference: String,
    /// What it is.
    pub kind: Kind,
    /// The platform it is judged for: the index's word, else the configuration's, else the ELF
    /// header's.
    pub platform: Platform,
    /// The index it came from and all its entries, with the static facts of each.
    pub index: Option<Index>,
    /// Manifest and configuration; `None` for a bare program.
    pub image: Option<Image>,
    /// All layers folded, whiteouts applied.
    pub rootfs: Arc<Rootfs>,
    /// The program that the configuration starts, resolved in `rootfs`.
    pub program: Result<Program, NoProgram>,
    /// The program where it is WebAssembly; then there is no native one.
    pub wasm: Option<WasmSubject>,
    /// What is wrong with the archive but does not keep it from being read.
    pub defects: Vec<Defect>,
    /// It stands beside the platform that is judged: its files are, and nothing of it is run.
    pub companion: bool,
    /// The image as it is stored, where [`LoadOptions::keep_original`] asks for it.
    pub original: Option<Original>,
}

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image, through any transport.
    Image,
    /// `binary:FILE`: a program alone; it is judged as `/pause` of an otherwise empty image.
    Binary,
    /// `wasm:FILE`: a WebAssembly program alone.
    Wasm,
}

/// An image index, walked whole without running anything.
#[derive(Clone, Debug)]
pub struct Index {
    /// Digest of the index.
    pub digest: String,
    /// Its entries in order, attestation manifests (`unknown/unknown`) left out.
    pub entries: Vec<IndexEntry>,
}

/// One entry of an index with the facts needed for a three-way compare.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// What the index says; `None` where the descriptor has no platform.
    pub platform: Option<Platform>,
    /// `os.version` of the descriptor.
    pub os_version: Option<String>,
    /// Digest of the manifest.
    pub digest: String,
    /// Manifest and configuration of this entry; `Err` names why they could not be read
    /// (a registry's other platforms are read only as far as the static checks need).
    pub image: Result<Image, String>,
    /// Machine of the entry's program: ELF `e_machine` as an OCI architecture, where there is one.
    pub program_architecture: Option<ElfArchitecture>,
}

/// What an ELF header says of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElfArchitecture {
    /// OCI names that this header satisfies, for example `["arm64"]`, `["ppc64le"]`; empty where
    /// unknown.
    pub architectures: Vec<&'static str>,
    /// In words: `EM_AARCH64, 64-bit little-endian`.
    pub words: String,
}

/// Manifest and configuration.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the manifest; for docker-archive, which has none, of the configuration.
    pub digest: String,
    /// Media type of the manifest, or `docker-archive`.
    pub media_type: String,
    /// Media type of the configuration; empty in a docker-archive.
    pub config_type: String,
    /// The configuration.
    pub config: Config,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Tag, from the reference, `org.opencontainers.image.ref.name` or `RepoTags`.
    pub tag: Option<String>,
}

/// The image configuration, as far as a pause image is judged by it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `os`; `None` where it is not declared or empty.
    pub os: Option<String>,
    /// `architecture`.
    pub architecture: Option<String>,
    /// `variant`.
    pub variant: Option<String>,
    /// `os.version`.
    pub os_version: Option<String>,
    /// `config.User`, as written.
    pub user: Option<String>,
    /// `config.Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `config.Cmd`.
    pub cmd: Vec<String>,
    /// `config.Env`.
    pub env: Vec<String>,
    /// `config.WorkingDir`.
    pub working_dir: Option<String>,
    /// `config.StopSignal`.
    pub stop_signal: Option<String>,
    /// `config.Labels`.
    pub labels: BTreeMap<String, String>,
    /// `rootfs.diff_ids`.
    pub diff_ids: Vec<String>,
    /// `layerDigests`, in the configuration of a WebAssembly artifact.
    pub layer_digests: Vec<String>,
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Digest of the blob as stored.
    pub digest: String,
    /// Media type, or a word for it in docker-archive.
    pub media_type: String,
    /// Bytes as stored.
    pub size: u64,
    /// Bytes uncompressed.
    pub uncompressed: u64,
}

/// A folded root filesystem: normalised absolute path → entry. Keys have no
/// leading slash, no `.`/`..`, no empty component; the root itself is not in it.
#[derive(Clone, Debug)]
pub struct Rootfs {
    /// Sorted by path; bytes, since names need not be UTF-8.
    pub entries: BTreeMap<Vec<u8>, Entry>,
    /// The root directory itself.
    pub root: Entry,
}

impl Default for Rootfs {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            root: Entry::directory(),
        }
    }
}

/// A file of the image.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is, and its content.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid, sticky (0o7777).
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Extended attributes (PAX `SCHILY.xattr.*`), name → value.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Entry {
    /// A directory that no layer describes: mode 0755, of root.
    pub fn directory() -> Self {
        Self {
            kind: EntryKind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
        }
    }
}

/// Kind of a file.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// The bytes themselves, shared between hard links; there unless the tree is made up.
        content: Option<Content>,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its target as written.
    Symlink(Vec<u8>),
    /// A character or block device, with major and minor.
    Device {
        /// Block, else character.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A FIFO.
    Fifo,
}

/// What would be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Entrypoint and Cmd.
    pub argv: Vec<String>,
    /// Resolved path in the root filesystem, no leading slash, links followed.
    pub path: Vec<u8>,
    /// The program's bytes.
    pub content: Arc<[u8]>,
    /// First bytes tell: ELF, script (`#!`), wasm, or neither.
    pub format: Format,
    /// Environment of the configuration.
    pub env: Vec<String>,
    /// Working directory, `/` where none is set.
    pub working_dir: String,
    /// Numeric ids as the configuration gives them; `None` where not set or not numeric.
    pub uid: Option<u32>,
    /// Group id likewise.
    pub gid: Option<u32>,
}

/// Format of a program by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `\x7fELF`.
    Elf,
    /// `#!`.
    Script,
    /// `\0asm`.
    Wasm,
    /// None of these.
    Unknown,
}

/// Why no program can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProgram {
    /// Neither Entrypoint nor Cmd.
    Unset,
    /// The first element resolves to nothing; says which and why.
    Missing(String),
    /// It resolves to something that is not an executable file; says what.
    NotExecutable(String),
    /// It is there but larger than the suite keeps.
    TooLarge(u64),
    /// The layers were not read, so that nothing is known of their files; says why.
    Unread(String),
    /// It is WebAssembly, which a WASI runtime executes and not the kernel: see [`Subject::wasm`].
    Wasm,
}

/// A defect met while reading, that a static check judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which check it is for.
    pub kind: DefectKind,
    /// What it is about: a blob's digest, a path (escaped for display).
    pub subject: String,
    /// What should be.
    pub expected: String,
    /// What is.
    pub observed: String,
}

impl Defect {
    pub(crate) fn is_digest(&self) -> bool {
        self.kind == DefectKind::Digest
    }
}

/// Which requirement a defect breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// A blob's digest or size, or a `DiffID`: `image/digests-hold`.
    Digest,
    /// A path that escapes, a hard link or whiteout of nothing, conflicting entries, bytes that
    /// container engines do not take: `image/layers-clean`.
    Layer,
    /// A name that container engines read but that misleads: absolute, twice, not printable:
    /// `image/names-plain`.
    Name,
    /// A media type that is untrue of the layer's bytes: `image/layer-types-hold`.
    Type,
}

impl std::fmt::Display for NoProgram {
    /// A clause: "neither Entrypoint nor Cmd is set".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wasm => f.write_str("it is a WebAssembly program, not a native one"),
            Self::Unset => f.write_str("neither Entrypoint nor Cmd is set"),
            Self::Missing(why) | Self::NotExecutable(why) | Self::Unread(why) => f.write_str(why),
            Self::TooLarge(size) => write!(
                f,
                "the program's {size} bytes are more than the suite keeps"
            ),
        }
    }
}
