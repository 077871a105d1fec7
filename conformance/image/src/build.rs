//! Builds images in memory, sound and broken ones alike: for the suite's own tests and
//! for judging a bare program in a form that container engines take.
//!
//! Deterministic: no times, no names of this host. Everything that a reader verifies can
//! be made wrong by hand, since blobs, descriptors and headers are open to the caller.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::digest::Digest;

mod wasm;

pub use wasm::{WASM_LAYER, WasmImageBuilder};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How a layer is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// gzip.
    #[default]
    Gzip,
    /// gzip, as small as it can be made.
    SmallGzip,
    /// zstd.
    Zstd,
}

impl Packing {
    /// Compresses some bytes.
    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => gzip(bytes, Compression::default()),
            Self::SmallGzip => gzip(bytes, Compression::best()),
            Self::Zstd => ruzstd::encoding::compress_to_vec(
                bytes,
                ruzstd::encoding::CompressionLevel::Fastest,
            ),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip | Self::SmallGzip => "+gzip",
            Self::Zstd => "+zstd",
        }
    }
}

/// With neither time nor name nor operating system in its head.
fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut writer = GzBuilder::new().write(Vec::new(), level);
    writer
        .write_all(bytes)
        .and_then(|()| writer.finish())
        .expect("writing to memory does not fail")
}

/// A tar archive, written member by member.
#[derive(Clone, Debug, Default)]
pub struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    /// A member with a header of its own; `path` and `link` may be anything, a PAX header
    /// carries what a plain one does not.
    pub fn member(
        &mut self,
        kind: EntryType,
        path: impl AsRef<[u8]>,
        link: impl AsRef<[u8]>,
        mode: u32,
        content: &[u8],
    ) -> &mut Self {
        let (path, link) = (path.as_ref(), link.as_ref());
        let mut records = Vec::new();
        if path.len() > 100 || path.contains(&0) {
            records.push((b"path".to_vec(), path.to_vec()));
        }
        if link.len() > 100 {
            records.push((b"linkpath".to_vec(), link.to_vec()));
        }
        if !records.is_empty() {
            self.pax(&records);
        }
        let mut header = Header::new_ustar();
        let fields = header.as_ustar_mut().expect("just made so");
        let fill = |field: &mut [u8], from: &[u8]| {
            let len = from.len().min(field.len());
            field[..len].copy_from_slice(&from[..len]);
        };
        fill(&mut fields.name, path);
        fill(&mut fields.linkname, link);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.raw(header.as_bytes(), content)
    }

    /// A header and its content as they are.
    pub fn raw(&mut self, header: &[u8; 512], content: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// A PAX header for the next member.
    pub fn pax(&mut self, records: &[(Vec<u8>, Vec<u8>)]) -> &mut Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            // The length counts its own digits.
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len += 1;
            }
            body.extend_from_slice(format!("{len} ").as_bytes());
            body.extend_from_slice(&[key, &b"="[..], value, b"\n"].concat());
        }
        self.member(EntryType::XHeader, "PaxHeaders/0", "", 0o644, &body)
    }

    /// An extended attribute for the next member.
    pub fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.pax(&[(format!("SCHILY.xattr.{name}").into_bytes(), value.to_vec())])
    }

    /// The owner of the next member.
    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Self {
        let number = |number: u64| number.to_string().into_bytes();
        self.pax(&[
            (b"uid".to_vec(), number(uid)),
            (b"gid".to_vec(), number(gid)),
        ])
    }

    /// A regular file.
    pub fn file(&mut self, path: impl AsRef<[u8]>, mode: u32, content: &[u8]) -> &mut Self {
        self.member(EntryType::Regular, path, "", mode, content)
    }

    /// A directory.
    pub fn directory(&mut self, path: impl AsRef<[u8]>, mode: u32) -> &mut Self {
        self.member(EntryType::Directory, path, "", mode, b"")
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        self.member(EntryType::Symlink, path, target, 0o777, b"")
    }

    /// A hard link.
    pub fn hard_link(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        self.member(EntryType::Link, path, target, 0o644, b"")
    }

    /// A character device.
    pub fn device(&mut self, path: impl AsRef<[u8]>, major: u32, minor: u32) -> &mut Self {
        let mut other = Self::default();
        other.member(EntryType::Char, path, "", 0o666, b"");
        let mut header = Header::from_byte_slice(&other.bytes[..512]).clone();
        // A ustar header has both fields.
        let _ = header
            .set_device_major(major)
            .and_then(|()| header.set_device_minor(minor));
        header.set_cksum();
        self.raw(header.as_bytes(), b"")
    }

    /// The archive with its end marker.
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// One image: layers and a configuration.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    /// Layers uncompressed, lowest first, and how each is stored.
    pub layers: Vec<(Vec<u8>, Packing)>,
    /// The configuration; `rootfs.diff_ids` is filled in where it is missing.
    pub config: Value,
    /// Layers that are stored otherwise, by their place: media type and bytes.
    pub stored: BTreeMap<usize, (String, Vec<u8>)>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

impl ImageBuilder {
    /// A sound image: one layer with `/pause`, user 65535:65535.
    pub fn pause(program: &[u8], architecture: &str) -> Self {
        let mut layer = Tar::default();
        layer.file("pause", 0o755, program);
        Self::of_layer(&layer, architecture)
    }

    /// The same configuration over a layer of the caller's.
    pub fn of_layer(layer: &Tar, architecture: &str) -> Self {
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "User": "65535:65535", "Entrypoint": ["/pause"] },
        });
        Self {
            layers: vec![(layer.finish(), Packing::Gzip)],
            config,
            stored: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// Stores the first layer otherwise: as `kind` after `….layer.v1.tar`, in these bytes.
    #[must_use]
    pub fn stored_as(mut self, kind: &str, bytes: Vec<u8>) -> Self {
        self.stored.insert(0, (format!("{OCI_LAYER}{kind}"), bytes));
        self
    }

    /// Puts a value into `config` of the configuration; null takes it out.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        match value {
            Value::Null => {
                if let Some(fields) = self.config["config"].as_object_mut() {
                    fields.remove(key);
                }
            }
            value => self.config["config"][key] = value,
        }
        self
    }

    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: &Tar, packing: Packing) -> Self {
        self.layers.push((layer.finish(), packing));
        self
    }

    pub(crate) fn config_bytes(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        if config.get("rootfs").is_none() {
            let ids = self
                .layers
                .iter()
                .map(|(bytes, _)| Digest::sha256(bytes).to_string());
            config["rootfs"] = json!({ "type": "layers", "diff_ids": ids.collect::<Vec<_>>() });
        }
        to_bytes(&config)
    }

    /// What `docker save` writes, with `name` among its `RepoTags`.
    pub fn docker_archive(&self, name: &str) -> Vec<u8> {
        let config = self.config_bytes();
        let config_name = format!("{}.json", Digest::sha256(&config).hex());
        let mut archive = Tar::default();
        archive.file(&config_name, 0o644, &config);
        let mut names = Vec::new();
        for (bytes, packing) in &self.layers {
            let stored = packing.pack(bytes);
            let layer = format!("{}/layer.tar", Digest::sha256(&stored).hex());
            archive.file(&layer, 0o644, &stored);
            names.push(layer);
        }
        let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]);
        archive.file("manifest.json", 0o644, &to_bytes(&manifest));
        archive.finish()
    }
}

/// An OCI image layout in memory.
#[derive(Clone, Debug, Default)]
pub struct LayoutBuilder {
    /// Blobs by `sha256:…`; the key need not be true.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The descriptors of index.json.
    pub manifests: Vec<Value>,
}

impl LayoutBuilder {
    /// A layout with one image, tagged.
    pub fn single(image: &ImageBuilder, tag: &str) -> Self {
        let mut layout = Self::default();
        let descriptor = layout.image(image);
        layout.tag(descriptor, tag);
        layout
    }

    /// A layout with one index over some images and the platform that each is listed as.
    pub fn indexed(images: &[(&ImageBuilder, Value)], tag: &str) -> Self {
        let mut layout = Self::default();
        let descriptors = images.iter().map(|(image, platform)| {
            let mut descriptor = layout.image(image);
            descriptor["platform"] = platform.clone();
            descriptor
        });
        let descriptors: Vec<Value> = descriptors.collect();
        let descriptor = layout.index(&descriptors);
        layout.tag(descriptor, tag);
        layout
    }

    /// Adds a blob; returns its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::sha256(&bytes).to_string();
        let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        self.blobs.insert(digest, bytes);
        descriptor
    }

    /// Adds an image; returns the descriptor of its manifest.
    pub fn image(&mut self, image: &ImageBuilder) -> Value {
        let config = self.blob(OCI_CONFIG, image.config_bytes());
        let layers = image.layers.iter().enumerate();
        let layers = layers.map(|(at, (bytes, packing))| match image.stored.get(&at) {
            Some((media_type, stored)) => self.blob(media_type, stored.clone()),
            None => self.blob(
                &format!("{OCI_LAYER}{}", packing.suffix()),
                packing.pack(bytes),
            ),
        });
        let layers: Vec<Value> = layers.collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": image.annotations,
        });
        self.blob(OCI_MANIFEST, to_bytes(&manifest))
    }

    /// Adds an index; returns its descriptor.
    pub fn index(&mut self, descriptors: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors });
        self.blob(OCI_INDEX, to_bytes(&index))
    }

    /// The same, with annotations of its own.
    pub fn annotated_index(
        &mut self,
        descriptors: &[Value],
        annotations: &BTreeMap<String, String>,
    ) -> Value {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": descriptors,
            "annotations": annotations,
        });
        self.blob(OCI_INDEX, to_bytes(&index))
    }

    /// Names a manifest or an index of it in index.json, by a tag.
    pub fn tag(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.manifests.push(descriptor);
    }

    /// The files of the layout.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let index =
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.manifests });
        let mut files: BTreeMap<String, Vec<u8>> = self
            .blobs
            .iter()
            .map(|(digest, bytes)| (format!("blobs/{}", digest.replace(':', "/")), bytes.clone()))
            .collect();
        files.insert("index.json".to_owned(), to_bytes(&index));
        files.insert(
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        );
        files
    }

    /// The layout as a tar archive; `prefix` goes before every name, as in `./`.
    pub fn archive(&self, prefix: &str) -> Vec<u8> {
        let mut archive = Tar::default();
        for (name, bytes) in self.files() {
            archive.file(format!("{prefix}{name}"), 0o644, &bytes);
        }
        archive.finish()
    }

    /// Writes the layout into a folder.
    ///
    /// # Errors
    /// What the filesystem answers.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (name, bytes) in self.files() {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }
}

fn to_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
