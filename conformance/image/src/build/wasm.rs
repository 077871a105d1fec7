//! Images whose layers are WebAssembly as it is: the CNCF's artifact, and runwasi's form
//! before it.

use serde_json::{Value, json};

use super::{LayoutBuilder, OCI_CONFIG, OCI_MANIFEST};

/// Media type of the artifact's configuration (TAG Runtime, "Wasm OCI artifact layout").
const ARTIFACT_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of its layers.
pub const WASM_LAYER: &str = "application/wasm";
/// Media type of runwasi's layers before.
const RUNWASI_LAYER: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";

/// An image whose layers are blobs as they are. Its configuration is told their digests
/// unless it says some itself.
#[derive(Clone, Debug)]
pub struct WasmImageBuilder {
    /// Media type of the configuration.
    pub config_type: &'static str,
    /// The configuration.
    pub config: Value,
    /// Media type and content of each layer.
    pub layers: Vec<(&'static str, Vec<u8>)>,
    /// Annotations of the manifest.
    pub annotations: Value,
}

impl WasmImageBuilder {
    /// The CNCF's artifact, for this `os`.
    pub fn artifact(os: &str, program: Vec<u8>) -> Self {
        Self {
            config_type: ARTIFACT_CONFIG,
            config: json!({ "os": os, "architecture": "wasm" }),
            layers: vec![(WASM_LAYER, program)],
            annotations: json!({}),
        }
    }

    /// runwasi's form: an image's configuration over a layer of its own media type.
    pub fn runwasi(program: Vec<u8>) -> Self {
        Self {
            config_type: OCI_CONFIG,
            config: json!({ "os": "wasi", "architecture": "wasm", "config": { "User": "65535:65535" } }),
            layers: vec![(RUNWASI_LAYER, program)],
            annotations: json!({}),
        }
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config[key] = value;
        self
    }

    /// Adds a layer.
    #[must_use]
    pub fn layer(mut self, media_type: &'static str, content: Vec<u8>) -> Self {
        self.layers.push((media_type, content));
        self
    }

    /// With the configuration of a native image, whatever the layers.
    #[must_use]
    pub fn configured_as_native(mut self) -> Self {
        self.config_type = OCI_CONFIG;
        self
    }

    /// Sets an annotation of the manifest.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.annotations[key] = json!(value);
        self
    }

    /// Adds it to a layout; its descriptor.
    pub fn add_to(&self, layout: &mut LayoutBuilder) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|(media_type, content)| layout.blob(media_type, content.clone()))
            .collect();
        let digests: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let mut config = self.config.clone();
        if self.config_type == ARTIFACT_CONFIG && config.get("layerDigests").is_none() {
            config["layerDigests"] = json!(digests);
        } else if config.get("rootfs").is_none() {
            config["rootfs"] = json!({ "type": "layers", "diff_ids": digests });
        }
        let config = layout.blob(self.config_type, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": self.annotations,
        });
        layout.blob(OCI_MANIFEST, manifest.to_string().into_bytes())
    }

    /// A layout with it alone.
    pub fn layout(&self) -> LayoutBuilder {
        let mut layout = LayoutBuilder::default();
        let descriptor = self.add_to(&mut layout);
        layout.manifests.push(descriptor);
        layout
    }
}
