//! From a descriptor to what the checks read: documents, digests, layers, program.

use super::blob::Blob;
use super::digest::{Digest, Hashed};
use super::document::{Descriptor, Document, Manifest};
use super::error::{Error, WHOLE};
use super::layer::{Flattened, LayerBlob, Measured};
use super::layer_type::{self, Bytes, HEAD};
use super::limits::{Budget, Limits};
use super::original::Original;
use super::{
    Config, Defect, DefectKind, ElfArchitecture, Format, Image, Layer, NoProgram, Platform,
    Program, Rootfs, WasmSubject, program, wasm,
};
use std::sync::Arc;

/// Where documents and layers come from.
pub(crate) trait Store {
    /// A manifest or an index.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, Error>;
    /// A configuration or a layer.
    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error>;
    /// Whether blobs come over a network: then a digest that does not hold is an error,
    /// and what was not asked for is fetched only where it is small.
    fn is_remote(&self) -> bool;
}

/// What a reference names, once its tag is looked up.
pub(crate) enum ResolvedRef {
    /// A manifest or an index.
    One {
        descriptor: Descriptor,
        tag: Option<String>,
    },
    /// A layout's index.json that lists the platforms of one image itself.
    Many {
        index: Vec<u8>,
        descriptors: Vec<Descriptor>,
        tag: Option<String>,
    },
}

/// A manifest that an index leads to, or the only one.
pub(crate) struct Found {
    /// What the descriptor says.
    pub(crate) platform: Option<Platform>,
    pub(crate) os_version: Option<String>,
    pub(crate) digest: String,
    /// Manifest and configuration, or why they cannot be read.
    pub(crate) read: Result<Parsed, Error>,
    /// Digests that do not hold.
    pub(crate) defects: Vec<Defect>,
}

/// Manifest and configuration, layers not read yet.
pub(crate) struct Parsed {
    pub(crate) image: Image,
    pub(crate) layers: Layers,
    /// The configuration as it is stored.
    pub(crate) config: Arc<[u8]>,
}

/// Layers before they are opened.
pub(crate) enum Layers {
    /// By descriptor, through the store.
    Described(Vec<Descriptor>),
    /// Open, from a docker-archive.
    Open(Vec<LayerBlob>),
}

impl Found {
    /// The index's platform, else the configuration's.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let declared = || {
            self.read
                .as_ref()
                .ok()
                .and_then(|parsed| parsed.image.config.platform())
        };
        self.platform.clone().or_else(declared)
    }
}

/// All manifests that a reference leads to.
pub(crate) struct Collected {
    /// Digest of the outermost index; `None` where the reference names a manifest.
    pub(crate) index: Option<String>,
    pub(crate) found: Vec<Found>,
    /// Digests of indexes and attestations that do not hold.
    pub(crate) defects: Vec<Defect>,
}

/// Walks from the top to every manifest and configuration.
pub(crate) fn collect(
    store: &dyn Store,
    top: ResolvedRef,
    limits: &Limits,
) -> Result<Collected, Error> {
    let mut collector = Collector {
        store,
        limits,
        seen: 0,
        tag: None,
        found: Vec::new(),
        defects: Vec::new(),
    };
    let index = match top {
        ResolvedRef::One { descriptor, tag } => {
            collector.tag = tag;
            let (bytes, defects) = collector.document(&descriptor)?;
            match Document::parse(&descriptor.digest, &bytes)? {
                Document::Manifest(manifest) => {
                    collector.manifest(&descriptor, *manifest, defects);
                    None
                }
                Document::Index(descriptors) => {
                    collector.defects.extend(defects);
                    collector.index(&descriptors, 1)?;
                    Some(descriptor.digest)
                }
            }
        }
        ResolvedRef::Many {
            index,
            descriptors,
            tag,
        } => {
            collector.tag = tag;
            collector.index(&descriptors, 1)?;
            Some(Digest::sha256(&index).to_string())
        }
    };
    Ok(Collected {
        index,
        found: collector.found,
        defects: collector.defects,
    })
}

struct Collector<'a> {
    store: &'a dyn Store,
    limits: &'a Limits,
    seen: usize,
    tag: Option<String>,
    found: Vec<Found>,
    defects: Vec<Defect>,
}

impl Collector<'_> {
    /// A manifest or an index, and the defects of its digest.
    fn document(&self, descriptor: &Descriptor) -> Result<(Vec<u8>, Vec<Defect>), Error> {
        let blob = self.store.manifest(descriptor)?;
        self.read(descriptor, &blob)
    }

    fn read(&self, descriptor: &Descriptor, blob: &Blob) -> Result<(Vec<u8>, Vec<Defect>), Error> {
        let bytes = read_bounded(&descriptor.digest, blob, self.limits)?;
        let observed = descriptor.parsed_digest()?.of(&bytes);
        let defects = compare(descriptor, &observed, bytes.len() as u64);
        Ok((bytes, defects))
    }

    fn index(&mut self, descriptors: &[Descriptor], depth: usize) -> Result<(), Error> {
        if depth > self.limits.index_depth {
            let cause = format!(
                "more than {} indexes within each other, the suite's limit",
                self.limits.index_depth
            );
            return Err(Error::new("index", cause).with_hint("an image needs one index"));
        }
        for descriptor in descriptors {
            self.seen += 1;
            if self.seen > self.limits.index_entries {
                let cause = format!(
                    "more than {} entries, the suite's limit",
                    self.limits.index_entries
                );
                return Err(Error::new("index", cause));
            }
            if descriptor.is_attestation() {
                self.attestation(descriptor);
                continue;
            }
            match self.document(descriptor) {
                Err(error) => self.unreadable(descriptor, error),
                Ok((bytes, defects)) => match Document::parse(&descriptor.digest, &bytes) {
                    Err(error) => self.unreadable(descriptor, error),
                    Ok(Document::Manifest(manifest)) => {
                        self.manifest(descriptor, *manifest, defects);
                    }
                    Ok(Document::Index(inner)) => {
                        self.defects.extend(defects);
                        self.index(&inner, depth + 1)?;
                    }
                },
            }
        }
        Ok(())
    }

    fn unreadable(&mut self, descriptor: &Descriptor, error: Error) {
        self.push(descriptor, Err(error), Vec::new());
    }

    fn push(&mut self, descriptor: &Descriptor, read: Result<Parsed, Error>, defects: Vec<Defect>) {
        self.found.push(Found {
            platform: descriptor.platform(),
            os_version: descriptor.os_version(),
            digest: descriptor.digest.clone(),
            read,
            defects,
        });
    }

    fn manifest(&mut self, descriptor: &Descriptor, manifest: Manifest, mut defects: Vec<Defect>) {
        let read = self.image(descriptor, manifest, &mut defects);
        self.push(descriptor, read, defects);
    }

    fn image(
        &self,
        descriptor: &Descriptor,
        manifest: Manifest,
        defects: &mut Vec<Defect>,
    ) -> Result<Parsed, Error> {
        if manifest.layers.len() > self.limits.layers {
            let cause = format!(
                "{} layers, more than {}, the suite's limit",
                manifest.layers.len(),
                self.limits.layers
            );
            return Err(Error::new(
                format_args!("manifest {}", descriptor.digest),
                cause,
            ));
        }
        if let Some(what) = manifest.not_an_image() {
            return Err(Error::no_image(WHOLE, what)
                .with_hint("a chart, a signature and the like hold no program: name an image"));
        }
        let blob = self.store.blob(&manifest.config)?;
        let (bytes, broken) = self.read(&manifest.config, &blob)?;
        defects.extend(broken);
        let config = Config::parse(&format!("configuration {}", manifest.config.digest), &bytes)?;
        let layers = manifest.layers.iter().map(|layer| Layer {
            digest: layer.digest.clone(),
            media_type: layer.media_type().to_owned(),
            size: layer
                .size()
                .and_then(serde_json::Number::as_u64)
                .unwrap_or(0),
            uncompressed: 0,
        });
        let image = Image {
            digest: descriptor.digest.clone(),
            media_type: manifest.media_type,
            config_type: manifest.config.media_type().to_owned(),
            config,
            layers: layers.collect(),
            annotations: manifest.annotations,
            tag: self.tag.clone(),
        };
        Ok(Parsed {
            image,
            layers: Layers::Described(manifest.layers),
            config: bytes.into(),
        })
    }

    /// An attestation is no image, but its blobs are blobs. One that is not there is left out.
    fn attestation(&mut self, descriptor: &Descriptor) {
        if self.store.is_remote() {
            return;
        }
        let Ok((bytes, defects)) = self.document(descriptor) else {
            return;
        };
        self.defects.extend(defects);
        let Ok(Document::Manifest(manifest)) = Document::parse(&descriptor.digest, &bytes) else {
            return;
        };
        let mut budget = Budget::new("bytes of attestations", self.limits.document);
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let hashed = blob.parsed_digest().and_then(|digest| {
                let content = self.store.blob(blob)?;
                Hashed::new(content, Some(&digest), &mut budget)
                    .finish()
                    .map_err(|error| Error::io(&blob.digest, &error))
            });
            if let Ok((observed, size)) = hashed {
                self.defects.extend(compare(blob, &observed, size));
            }
        }
    }
}

/// Reads a document that must be small.
pub(crate) fn read_bounded(what: &str, blob: &Blob, limits: &Limits) -> Result<Vec<u8>, Error> {
    if blob.len() > limits.document {
        let cause = format!(
            "{} bytes, more than {}, the suite's limit for a document",
            blob.len(),
            limits.document
        );
        return Err(Error::new(what, cause));
    }
    blob.read_all(limits.document)
        .map_err(|error| Error::io(what, &error))
}

/// Digest and size against a descriptor.
fn compare(descriptor: &Descriptor, observed: &Digest, size: u64) -> Vec<Defect> {
    let mut defects = Vec::new();
    let mut differs = |what: &str, expected: String, observed: String| {
        defects.push(Defect {
            kind: DefectKind::Digest,
            subject: format!("{what} {}", super::escape(descriptor.digest.as_bytes())),
            expected,
            observed,
        });
    };
    if descriptor.digest != observed.to_string() {
        differs("blob", descriptor.digest.clone(), observed.to_string());
    }
    match descriptor.size() {
        None => differs(
            "descriptor of",
            format!("a size, {size} bytes"),
            "no size".to_owned(),
        ),
        Some(promised) if promised.as_u64() != Some(size) => {
            differs(
                "size of blob",
                format!("{promised} bytes"),
                format!("{size} bytes"),
            );
        }
        Some(_) => {}
    }
    defects
}

/// The result of reading the layers of one image.
pub(crate) struct Outcome {
    pub(crate) rootfs: Arc<Rootfs>,
    pub(crate) program: Result<Program, NoProgram>,
    pub(crate) wasm: Option<WasmSubject>,
    pub(crate) architecture: Option<ElfArchitecture>,
    pub(crate) defects: Vec<Defect>,
    /// Bytes of all layers, uncompressed.
    pub(crate) uncompressed: u64,
    /// The image as it is stored, where it is to be kept.
    pub(crate) original: Option<Original>,
}

impl Outcome {
    /// Of layers that were not read; says why not.
    pub(crate) fn unread(why: String, defects: Vec<Defect>) -> Self {
        Self {
            rootfs: Arc::default(),
            program: Err(NoProgram::Unread(why)),
            wasm: None,
            architecture: None,
            defects,
            uncompressed: 0,
            original: None,
        }
    }
}

/// Folds the layers of an image and finds what it runs; the image is kept as it is stored where
/// that is asked for.
pub(crate) fn fold(
    store: &dyn Store,
    parsed: &mut Parsed,
    limits: &Limits,
    keeps: bool,
) -> Result<Outcome, Error> {
    let Parsed { image, layers, .. } = parsed;
    if let Layers::Described(descriptors) = layers
        && descriptors.iter().any(is_wasm)
    {
        return read_wasm(store, image, descriptors, limits);
    }
    let mut defects = Vec::new();
    let stored = match layers {
        Layers::Open(stored) => std::mem::take(stored),
        Layers::Described(descriptors) => open(store, descriptors, limits)?,
    };
    let kinds = kinds(&stored, layers, &mut defects)?;
    let unread = stored.iter().zip(&kinds).find_map(|(layer, bytes)| {
        let words = bytes.unread()?;
        Some(format!("the bytes of layer {} are {words}", layer.name))
    });
    if let Some(why) = unread {
        return read_blobs(stored, layers, defects, why, limits);
    }
    let stored = with_diff_ids(stored, &image.config, &mut defects);
    let mut folded = Flattened::read(&stored, limits)?;
    for (index, (stored, measured)) in stored.iter().zip(&folded.measured).enumerate() {
        defects.extend(compare_digest(index, stored, measured, layers));
        defects.extend(compare_diff_id(index, stored, measured));
        defects.extend(layer_type::tail(&stored.name, kinds[index], measured.tail));
        let layer = &mut image.layers[index];
        layer.uncompressed = measured.uncompressed;
        if layer.digest.is_empty() {
            layer.digest = measured.digest.to_string();
        }
    }
    defects.append(&mut folded.defects);
    let rootfs = folded.rootfs();
    let (program, wasm) = find_program(&image.config, &rootfs, limits)?;
    let architecture = program.as_ref().ok().and_then(Program::elf_architecture);
    let uncompressed = folded.measured.iter().map(|it| it.uncompressed).sum();
    let config = keeps.then_some(&parsed.config);
    let window = limits.zstd_window;
    Ok(Outcome {
        original: config.map(|it| Original::new(it, &stored, &folded.measured, window)),
        rootfs: Arc::new(rootfs),
        program,
        wasm,
        architecture,
        defects,
        uncompressed,
    })
}

/// What the bytes of each layer are, held against its media type.
fn kinds(
    stored: &[LayerBlob],
    layers: &Layers,
    defects: &mut Vec<Defect>,
) -> Result<Vec<Bytes>, Error> {
    let mut kinds = Vec::new();
    for (at, layer) in stored.iter().enumerate() {
        let head = layer
            .blob
            .head::<HEAD>()
            .map_err(|error| Error::io(format_args!("layer {}", layer.name), &error))?;
        let bytes = Bytes::of(&head);
        if let Layers::Described(descriptors) = layers {
            let media_type = descriptors[at].media_type();
            defects.extend(layer_type::compare(&layer.name, media_type, bytes));
        }
        kinds.push(bytes);
    }
    Ok(kinds)
}

/// Digest and size of a layer: as its descriptor says, else as its name does.
fn compare_digest(
    index: usize,
    stored: &LayerBlob,
    measured: &Measured,
    layers: &Layers,
) -> Vec<Defect> {
    if let Layers::Described(descriptors) = layers {
        let size = stored.blob.len();
        return compare(&descriptors[index], &measured.digest, size);
    }
    let wrong = stored.digest.as_ref().filter(|it| **it != measured.digest);
    let defect = wrong.map(|expected| {
        let (expected, observed) = (expected.to_string(), measured.digest.to_string());
        wrong_digest(format!("blob {}", stored.name), expected, observed)
    });
    defect.into_iter().collect()
}

/// The program that the configuration starts, and WebAssembly where it is that.
fn find_program(
    config: &Config,
    rootfs: &Rootfs,
    limits: &Limits,
) -> Result<(Result<Program, NoProgram>, Option<WasmSubject>), Error> {
    let program = program::find(config, rootfs, limits)?;
    match program {
        Ok(found) if found.format == Format::Wasm => {
            let path = super::show_path(&found.path);
            let wasm = WasmSubject::new(path, Arc::clone(&found.content));
            Ok((Err(NoProgram::Wasm), Some(wasm)))
        }
        other => Ok((other, None)),
    }
}

/// Of layers that are no tar archives the blobs are verified, and no more.
fn read_blobs(
    stored: Vec<LayerBlob>,
    layers: &Layers,
    mut defects: Vec<Defect>,
    why: String,
    limits: &Limits,
) -> Result<Outcome, Error> {
    let Layers::Described(descriptors) = layers else {
        // Nothing names their media types, so that nothing is untrue: docker takes others too.
        return Err(Error::new("layer", why).with_hint(
            "the suite reads layers as tar archives, plain or compressed by gzip or zstd",
        ));
    };
    let mut budget = Budget::new("bytes of layers", limits.stored);
    for (layer, descriptor) in stored.into_iter().zip(descriptors) {
        let (digest, size) = Hashed::new(layer.blob, layer.digest.as_ref(), &mut budget)
            .finish()
            .map_err(|error| Error::io(format_args!("layer {}", layer.name), &error))?;
        defects.extend(compare(descriptor, &digest, size));
    }
    Ok(Outcome::unread(super::escape(why.as_bytes()), defects))
}

/// Whether the layer is a program, not a filesystem.
fn is_wasm(layer: &Descriptor) -> bool {
    wasm::LAYER_TYPES.contains(&layer.media_type())
}

/// Reads an image that has a WebAssembly program as a layer: the first such layer is
/// the program. There is no root filesystem; other layers are verified and no more.
fn read_wasm(
    store: &dyn Store,
    image: &mut Image,
    descriptors: &[Descriptor],
    limits: &Limits,
) -> Result<Outcome, Error> {
    let mut budget = Budget::new("bytes of layers", limits.stored);
    let mut outcome = Outcome {
        rootfs: Arc::default(),
        program: Err(NoProgram::Wasm),
        wasm: None,
        architecture: None,
        defects: Vec::new(),
        uncompressed: 0,
        original: None,
    };
    for (layer, descriptor) in image.layers.iter_mut().zip(descriptors) {
        let digest = descriptor.parsed_digest()?;
        let name = format!("layer {digest}");
        let failed = |error: std::io::Error| Error::io(&name, &error);
        let blob = store.blob(descriptor)?;
        let (observed, size) = if outcome.wasm.is_none() && is_wasm(descriptor) {
            let content = wasm_content(&name, &blob, limits)?;
            budget
                .take(content.len() as u64)
                .map_err(|error| Error::limit(&name, &error))?;
            let measured = (digest.of(&content), content.len() as u64);
            outcome.wasm = Some(WasmSubject::new(descriptor.media_type(), content.into()));
            measured
        } else {
            Hashed::new(blob, Some(&digest), &mut budget)
                .finish()
                .map_err(failed)?
        };
        outcome.defects.extend(compare(descriptor, &observed, size));
        layer.uncompressed = size;
        outcome.uncompressed += size;
    }
    // OCI's configuration has DiffIDs, WebAssembly's own has digests; both are those
    // of the layers, since a program is not compressed.
    for (what, promised) in [
        ("rootfs.diff_ids", &image.config.diff_ids),
        ("layerDigests", &image.config.layer_digests),
    ] {
        let layers = descriptors.iter().map(|layer| &layer.digest);
        if !promised.is_empty() && !promised.iter().eq(layers.clone()) {
            let list = |names: Vec<&String>| {
                let names: Vec<String> = names.into_iter().map(super::quote).collect();
                names.join(", ")
            };
            outcome.defects.push(wrong_digest(
                format!("{what} of the configuration"),
                list(layers.collect()),
                list(promised.iter().collect()),
            ));
        }
    }
    Ok(outcome)
}

/// A WebAssembly program, whole.
pub(crate) fn wasm_content(name: &str, blob: &Blob, limits: &Limits) -> Result<Vec<u8>, Error> {
    if blob.len() > limits.wasm {
        let cause = format!(
            "{} bytes, more than {}, the suite's limit for a WebAssembly program",
            blob.len(),
            limits.wasm
        );
        return Err(Error::new(name, cause));
    }
    blob.read_all(limits.wasm)
        .map_err(|error| Error::io(name, &error))
}

fn open(
    store: &dyn Store,
    descriptors: &[Descriptor],
    limits: &Limits,
) -> Result<Vec<LayerBlob>, Error> {
    let mut budget = Budget::new("bytes of layers", limits.stored);
    let each = descriptors.iter().map(|descriptor| {
        let media_type = descriptor.media_type();
        if !media_type.is_empty() && !media_type.contains("tar") {
            let cause = format!("media type {media_type} is no filesystem layer");
            return Err(Error::new(
                format_args!("layer {}", descriptor.digest),
                cause,
            ));
        }
        let digest = descriptor.parsed_digest()?;
        let blob = store.blob(descriptor)?;
        budget
            .take(blob.len())
            .map_err(|error| Error::limit(format_args!("layer {digest}"), &error))?;
        Ok(LayerBlob {
            name: digest.to_string(),
            blob,
            digest: Some(digest),
            diff_id: None,
        })
    });
    each.collect()
}

/// Gives each layer the `DiffID` that the configuration promises.
fn with_diff_ids(
    mut stored: Vec<LayerBlob>,
    config: &Config,
    defects: &mut Vec<Defect>,
) -> Vec<LayerBlob> {
    if config.diff_ids.len() != stored.len() {
        defects.push(wrong_digest(
            "rootfs.diff_ids of the configuration".to_owned(),
            format!("{} DiffIDs, one for each layer", stored.len()),
            format!("{}", config.diff_ids.len()),
        ));
    }
    for (layer, text) in stored.iter_mut().zip(&config.diff_ids) {
        match Digest::parse(text) {
            Ok(digest) => layer.diff_id = Some(digest),
            Err(cause) => defects.push(wrong_digest(
                format!("DiffID of layer {}", layer.name),
                "a digest".to_owned(),
                super::escape(cause.as_bytes()),
            )),
        }
    }
    stored
}

fn compare_diff_id(index: usize, stored: &LayerBlob, measured: &Measured) -> Option<Defect> {
    let expected = stored
        .diff_id
        .as_ref()
        .filter(|expected| **expected != measured.diff_id)?;
    Some(wrong_digest(
        format!(
            "DiffID of layer {} ({})",
            index + 1,
            super::escape(stored.name.as_bytes())
        ),
        expected.to_string(),
        measured.diff_id.to_string(),
    ))
}

pub(crate) fn wrong_digest(subject: String, expected: String, observed: String) -> Defect {
    Defect {
        kind: DefectKind::Digest,
        subject,
        expected,
        observed,
    }
}
