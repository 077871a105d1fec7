//! The WASI pause as an image, in each form that engines know.

use super::{Blob, archive, layout, write_file};
use crate::wasi::{self, Preview, Program};
use anyhow::{Context as _, Result};
use oci_spec::image::MediaType;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How a WASI program is packed as an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CNCF TAG Runtime, "Wasm OCI Artifact layout": the program is the layer,
    /// and the configuration is WebAssembly's own.
    Artifact,
    /// runwasi before that: the program is the layer below a configuration of
    /// OCI's.
    Legacy,
    /// A filesystem layer and an annotation, as crun and `WasmEdge` read it.
    Compat,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Artifact, Self::Legacy, Self::Compat];

    /// As in tags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Legacy => "legacy",
            Self::Compat => "compat",
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The folder of the OCI layout.
    pub layout: PathBuf,
    /// One for each image.
    pub sizes: Vec<Size>,
}

/// How large an image is, in bytes.
#[derive(Debug)]
pub struct Size {
    /// Its tag.
    pub tag: String,
    /// How it is packed.
    pub form: Form,
    /// The preview that its program is for.
    pub preview: Preview,
    /// The program alone.
    pub program: usize,
    /// Manifest, configuration and layer: what a node fetches.
    pub image: usize,
}

/// Builds the WASI pause and writes its images into `out`: the OCI layout
/// `oci-wasi` and the archive `pause.wasi.tar`, with tags `p1-artifact`,
/// `p1-legacy`, `p1-compat` and the same for `p2`.
pub fn write(out: &Path) -> Result<Written> {
    let mut images = Vec::new();
    let mut sizes = Vec::new();
    for program in wasi::programs(&out.join("programs"))? {
        for form in Form::ALL {
            let tag = format!("{}-{}", program.preview.name(), form.name());
            let image = image(&program, form)?;
            let blobs = [&image.manifest, &image.config, &image.layer];
            sizes.push(Size {
                tag: tag.clone(),
                form,
                preview: program.preview,
                program: program.bytes.len(),
                image: blobs.iter().map(|blob| blob.bytes.len()).sum(),
            });
            images.push((tag, image));
        }
    }
    let mut tagged = Vec::new();
    let mut blobs = Vec::new();
    for (tag, image) in &images {
        tagged.push((&image.manifest, MediaType::ImageManifest, tag.as_str()));
        blobs.extend([&image.manifest, &image.config, &image.layer]);
    }
    let files = layout::files(&blobs, &tagged)?;
    let layout = out.join("oci-wasi");
    layout::write(&layout, &files)?;
    write_file(&out.join("pause.wasi.tar"), &archive::tar(&files)?)?;
    Ok(Written { layout, sizes })
}

struct Image {
    manifest: Blob,
    config: Blob,
    layer: Blob,
}

fn image(program: &Program, form: Form) -> Result<Image> {
    let raw = || Blob::new(program.bytes.clone());
    let (config, layer, media_type) = match form {
        Form::Artifact => {
            let layer = raw();
            (
                artifact_config(program.preview, &layer)?,
                layer,
                "application/wasm",
            )
        }
        Form::Legacy => {
            let layer = raw();
            let diff_id = format!("sha256:{}", layer.digest);
            (
                config(&diff_id)?,
                layer,
                "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
            )
        }
        Form::Compat => {
            let layer = archive::layer_with("pause.wasm", &program.bytes)?;
            let diff_id = format!("sha256:{}", super::sha256(&layer));
            let packed = Blob::new(archive::gzip(&layer)?);
            (
                config(&diff_id)?,
                packed,
                "application/vnd.oci.image.layer.v1.tar+gzip",
            )
        }
    };
    let config_type = match form {
        Form::Artifact => "application/vnd.wasm.config.v0+json",
        Form::Legacy | Form::Compat => "application/vnd.oci.image.config.v1+json",
    };
    let mut annotations = super::annotations();
    if form == Form::Compat {
        annotations.insert("module.wasm.image/variant".into(), "compat".into());
    }
    let descriptor = |blob: &Blob, media_type: &str| {
        json!({
            "mediaType": media_type,
            "digest": format!("sha256:{}", blob.digest),
            "size": blob.bytes.len(),
        })
    };
    let manifest = Blob::json(json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(&config, config_type),
        "layers": [descriptor(&layer, media_type)],
        "annotations": annotations,
    }))?;
    Ok(Image {
        manifest,
        config,
        layer,
    })
}

/// The configuration of an artifact. A component says what it takes and gives,
/// so that an engine need not open it.
fn artifact_config(preview: Preview, layer: &Blob) -> Result<Blob> {
    let mut config = json!({
        "architecture": "wasm",
        "os": preview.os(),
        "layerDigests": [format!("sha256:{}", layer.digest)],
    });
    if preview == Preview::P2 {
        config["component"] = json!({
            "exports": ["wasi:cli/run@0.2.0"],
            "imports": ["wasi:io/poll@0.2.0", "wasi:clocks/monotonic-clock@0.2.0"],
        });
    }
    Blob::json(config)
}

/// The configuration of the other forms.
fn config(diff_id: &str) -> Result<Blob> {
    let config: Value = json!({
        "architecture": "wasm",
        "os": "wasi",
        "config": { "Entrypoint": ["/pause.wasm"], "User": super::USER, "WorkingDir": "/" },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    Blob::json(config).context("write a configuration")
}
