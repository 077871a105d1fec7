//! The JSON documents of an image, read leniently: an image with fields missing or
//! wrong must still be read to be judged. OCI image-spec v1.1 and Docker's schema 2.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Number;

use super::digest::Digest;
use super::error::Error;
use super::{Config, Platform, wasm};

/// Media types of the configurations of images; the last is what docker wrote at first.
const IMAGE_CONFIGS: &[&str] = &[
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    wasm::ARTIFACT_CONFIG,
    "application/octet-stream",
];

/// A content descriptor (descriptor.md).
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    pub(crate) digest: String,
    size: Option<Number>,
    platform: Option<PlatformDocument>,
    annotations: Option<BTreeMap<String, String>>,
}

/// The platform object of a descriptor.
#[derive(Clone, Debug, Deserialize)]
struct PlatformDocument {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
}

impl Descriptor {
    /// A descriptor of a manifest that was fetched by name.
    #[cfg(feature = "registry")]
    pub(crate) fn of_manifest(digest: &Digest, size: u64) -> Self {
        Self {
            media_type: None,
            digest: digest.to_string(),
            size: Some(size.into()),
            platform: None,
            annotations: None,
        }
    }

    pub(crate) fn parsed_digest(&self) -> Result<Digest, Error> {
        Digest::parse(&self.digest).map_err(|cause| Error::new("descriptor", cause))
    }

    pub(crate) fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }

    /// As written: negative, huge or fractional sizes are shown as they are.
    pub(crate) fn size(&self) -> Option<&Number> {
        self.size.as_ref()
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// `None` where there is no platform, or one without its two required fields.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        Some(Platform {
            os: given(platform.os.as_ref())?,
            architecture: given(platform.architecture.as_ref())?,
            variant: given(platform.variant.as_ref()),
        })
    }

    pub(crate) fn os_version(&self) -> Option<String> {
        given(self.platform.as_ref()?.os_version.as_ref())
    }

    /// Whether it is a statement about an image (`BuildKit`'s provenance and SBOM), no image.
    pub(crate) fn is_attestation(&self) -> bool {
        let unknown = self
            .platform()
            .is_some_and(|it| it.os == "unknown" && it.architecture == "unknown");
        unknown || self.annotation("vnd.docker.reference.type") == Some("attestation-manifest")
    }
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(Vec<Descriptor>),
}

/// An image manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// What the manifest says that it is, where it is no image.
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Either {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    manifests: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Document {
    /// Tells a manifest from an index by its fields. A document that is both is refused
    /// (CVE-2021-41190: readers would differ).
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let either: Either = parse(what, bytes)?;
        match either {
            Either {
                manifests: Some(_),
                config: Some(_),
                ..
            }
            | Either {
                manifests: Some(_),
                layers: Some(_),
                ..
            } => Err(Error::new(
                what,
                "both a manifest and an index: readers would differ",
            )),
            Either {
                manifests: Some(manifests),
                ..
            } => Ok(Self::Index(manifests)),
            Either {
                config: Some(config),
                layers,
                annotations,
                media_type,
                artifact_type,
                ..
            } => Ok(Self::Manifest(Box::new(Manifest {
                media_type: media_type
                    .unwrap_or_else(|| "application/vnd.oci.image.manifest.v1+json".to_owned()),
                artifact_type,
                config,
                layers: layers.unwrap_or_default(),
                annotations: annotations.unwrap_or_default(),
            }))),
            Either {
                fs_layers: Some(_), ..
            } => Err(Error::new(
                what,
                "a Docker schema 1 manifest, which no current engine reads",
            )
            .with_hint("push the image again with a current tool")),
            _ => Err(Error::new(what, "neither a manifest nor an index")),
        }
    }
}

impl Manifest {
    /// Whether its configuration is one by which container engines run images.
    fn is_image(&self) -> bool {
        let config = self.config.media_type();
        config.is_empty() || IMAGE_CONFIGS.contains(&config)
    }

    /// What it is instead of an image, in words: a chart, a signature, a list of parts.
    pub(crate) fn not_an_image(&self) -> Option<String> {
        let program = |layer: &Descriptor| wasm::LAYER_TYPES.contains(&layer.media_type());
        if self.is_image() || self.layers.iter().any(program) {
            return None;
        }
        let config = self.config.media_type();
        Some(match &self.artifact_type {
            Some(kind) => format!("not an image: its configuration is {config}, its type {kind}"),
            None => format!("not an image: its configuration is {config}"),
        })
    }
}

/// Newer versions of docker write null where there is nothing to list.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Descriptor>>, D::Error> {
    Option::<Vec<Descriptor>>::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// One image of a docker-archive's manifest.json.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Saved {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Option<Vec<String>>,
}

/// Reads a JSON document.
pub(crate) fn parse<'de, T: Deserialize<'de>>(what: &str, bytes: &'de [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(what, format_args!("not as specified: {error}")))
}

#[derive(Deserialize)]
struct ConfigDocument {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
    config: Option<Runs>,
    rootfs: Option<RootfsDocument>,
    #[serde(rename = "layerDigests")]
    layer_digests: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Runs {
    user: Option<String>,
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootfsDocument {
    diff_ids: Option<Vec<String>>,
}

/// Docker reads a single string where the specification has a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl Words {
    fn list(words: Option<Self>) -> Vec<String> {
        match words {
            Some(Words::Many(words)) => words,
            Some(Words::One(word)) => vec![word],
            None => Vec::new(),
        }
    }
}

impl Config {
    /// Reads an image configuration (config.md).
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let document: ConfigDocument = parse(what, bytes)?;
        let runs = document.config.unwrap_or_default();
        Ok(Self {
            os: given(document.os.as_ref()),
            architecture: given(document.architecture.as_ref()),
            variant: given(document.variant.as_ref()),
            os_version: given(document.os_version.as_ref()),
            user: given(runs.user.as_ref()),
            entrypoint: Words::list(runs.entrypoint),
            cmd: Words::list(runs.cmd),
            env: runs.env.unwrap_or_default(),
            working_dir: given(runs.working_dir.as_ref()),
            stop_signal: given(runs.stop_signal.as_ref()),
            labels: runs.labels.unwrap_or_default(),
            diff_ids: document
                .rootfs
                .and_then(|rootfs| rootfs.diff_ids)
                .unwrap_or_default(),
            layer_digests: document.layer_digests.unwrap_or_default(),
        })
    }

    /// The platform it declares; `None` where one of the two required fields is missing.
    pub fn platform(&self) -> Option<Platform> {
        Some(Platform {
            os: self.os.clone()?,
            architecture: self.architecture.clone()?,
            variant: self.variant.clone(),
        })
    }
}

/// Empty is not given.
fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}
