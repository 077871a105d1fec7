//! What `docker save` and its likes write: manifest.json, a configuration, layers by name.
//!
//! Newer versions add an OCI layout to the same file; this reads manifest.json only.

use std::collections::BTreeMap;

use super::Config;
use super::archive::Archive;
use super::blob::Blob;
use super::digest::Digest;
use super::document::{self, Descriptor, Saved};
use super::error::Error;
use super::image::{Found, Layers, Parsed, Store, read_bounded, wrong_digest};
use super::layer::LayerBlob;
use super::limits::Limits;
use super::reference::RegistryName;
use super::{Image, Layer};

/// Reads the image that is asked for, or the only one.
pub(crate) fn read(
    archive: &Archive,
    wanted: Option<&str>,
    limits: &Limits,
) -> Result<Found, Error> {
    let manifest = archive.member("manifest.json").map_err(|error| {
        error.with_hint("docker save writes one; for an OCI layout use oci-archive:FILE")
    })?;
    let bytes = read_bounded("manifest.json", &manifest, limits)?;
    let images: Vec<Saved> = document::parse("manifest.json", &bytes)?;
    let saved = choose(images, wanted)?;
    let config_blob = archive.member(&saved.config)?;
    let config_bytes = read_bounded(&saved.config, &config_blob, limits)?;
    let digest = Digest::sha256(&config_bytes);
    let mut defects = Vec::new();
    if let Some(promised) = promised(&saved.config)
        && promised != digest
    {
        defects.push(wrong_digest(
            format!("configuration {}", super::escape(saved.config.as_bytes())),
            promised.to_string(),
            digest.to_string(),
        ));
    }
    let parsed = open(archive, &saved, &config_bytes, &digest, limits);
    Ok(Found {
        platform: None,
        os_version: None,
        digest: digest.to_string(),
        read: parsed,
        defects,
    })
}

fn open(
    archive: &Archive,
    saved: &Saved,
    config: &[u8],
    digest: &Digest,
    limits: &Limits,
) -> Result<Parsed, Error> {
    let bytes = config.into();
    let config = Config::parse(&format!("configuration {}", saved.config), config)?;
    let names = saved.layers.clone().unwrap_or_default();
    if names.len() > limits.layers {
        let cause = format!(
            "{} layers, more than {}, the suite's limit",
            names.len(),
            limits.layers
        );
        return Err(Error::new("manifest.json", cause));
    }
    let mut stored = Vec::new();
    for name in &names {
        // Only the names of blobs/ are promises; others are the writer's business.
        let digest = name.starts_with("blobs/").then(|| promised(name)).flatten();
        stored.push(LayerBlob {
            name: name.clone(),
            blob: archive.member(name)?,
            digest,
            diff_id: None,
        });
    }
    let layers = stored.iter().map(|layer| Layer {
        digest: layer
            .digest
            .as_ref()
            .map(Digest::to_string)
            .unwrap_or_default(),
        media_type: "docker-archive layer".to_owned(),
        size: layer.blob.len(),
        uncompressed: 0,
    });
    let image = Image {
        digest: digest.to_string(),
        media_type: "docker-archive".to_owned(),
        config_type: String::new(),
        config,
        layers: layers.collect(),
        annotations: BTreeMap::new(),
        tag: saved
            .repo_tags
            .as_ref()
            .and_then(|tags| tag_of(tags.first()?)),
    };
    Ok(Parsed {
        image,
        layers: Layers::Open(stored),
        config: bytes,
    })
}

/// The digest in a name: `HEX.json`, `sha256:HEX`, `blobs/sha256/HEX`.
fn promised(name: &str) -> Option<Digest> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = name
        .strip_prefix("blobs/sha256/")
        .or(name.strip_prefix("sha256:"))
        .unwrap_or(name);
    Digest::parse(&format!(
        "sha256:{}",
        name.strip_suffix(".json").unwrap_or(name)
    ))
    .ok()
}

fn tag_of(name: &str) -> Option<String> {
    name.rsplit_once(':')
        .map(|(_, tag)| tag.to_owned())
        .filter(|tag| !tag.contains('/'))
}

fn choose(mut images: Vec<Saved>, wanted: Option<&str>) -> Result<Saved, Error> {
    let names = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let known: Vec<String> = images.iter().flat_map(names).collect();
    let listed = if known.is_empty() {
        "none has a name".to_owned()
    } else {
        known.join(", ")
    };
    let hint =
        "name one: docker-archive:FILE:NAME:TAG, or docker-archive:FILE:@N for the one at place N";
    let at = match wanted {
        Some(wanted) => {
            if let Some(place) = wanted.strip_prefix('@') {
                place
                    .parse()
                    .ok()
                    .filter(|place: &usize| *place < images.len())
            } else {
                let wanted = full(wanted);
                let mut so_named = (0..images.len())
                    .filter(|at| names(&images[*at]).iter().any(|name| full(name) == wanted));
                let first = so_named.next();
                if let (Some(first), Some(second)) = (first, so_named.next()) {
                    let cause =
                        format!("two images are named {wanted}, at places @{first} and @{second}");
                    return Err(Error::new("manifest.json", cause).with_hint(hint));
                }
                first
            }
        }
        None if images.len() > 1 => {
            let cause = format!("{} images: {listed}", images.len());
            return Err(Error::new("manifest.json", cause).with_hint(hint));
        }
        None => (!images.is_empty()).then_some(0),
    };
    match (at, wanted) {
        (Some(at), _) => Ok(images.swap_remove(at)),
        (None, Some(wanted)) => Err(Error::new(
            "manifest.json",
            format_args!("no image {wanted}; it has {listed}"),
        )
        .with_hint(hint)),
        (None, None) => Err(Error::new("manifest.json", "no image in the archive")),
    }
}

/// A name completed, so that `pause:3.10` finds `docker.io/library/pause:3.10`.
fn full(name: &str) -> String {
    name.parse::<RegistryName>()
        .map_or_else(|_| name.to_owned(), |name| name.to_string())
}

/// A docker-archive opens its layers at once; there is nothing to fetch.
pub(crate) struct Nothing;

impl Store for Nothing {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        Err(Error::absent(
            &descriptor.digest,
            "no blobs in a docker-archive",
        ))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        self.manifest(descriptor)
    }

    fn is_remote(&self) -> bool {
        false
    }
}
