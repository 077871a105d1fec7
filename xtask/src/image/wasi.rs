//! The WASI pause as an image, in each form that container engines read.

use super::{annotations, fetched, write_file, write_layout};
use crate::wasi::{self, Preview, Program};
use anyhow::Result;
use pause_image::build::{ImageBuilder, LayoutBuilder, Packing, Tar, WasmImageBuilder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// How a WASI program is packed as an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CNCF TAG Runtime, "Wasm OCI Artifact layout": the program is the layer,
    /// and the configuration is WebAssembly's own.
    Artifact,
    /// The older form of runwasi: the program is the layer, and the configuration is OCI's.
    Legacy,
    /// A filesystem layer and an annotation, for crun and `WasmEdge`.
    Compat,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Artifact, Self::Legacy, Self::Compat];

    /// Its name in tags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::Legacy => "legacy",
            Self::Compat => "compat",
        }
    }
}

/// The images that were written.
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
    /// All that a node fetches: manifest, configuration and layer.
    pub image: usize,
}

/// Builds the WASI pause and writes its images to `out`: the OCI layout
/// `oci-wasi` and the archive `pause.wasi.tar`, with tags `p1-artifact`,
/// `p1-legacy`, `p1-compat` and the same for `p2`.
pub fn write(out: &Path) -> Result<Written> {
    let mut layout = LayoutBuilder::default();
    let mut sizes = Vec::new();
    for program in wasi::programs(&out.join("programs"))? {
        for form in Form::ALL {
            let tag = format!("{}-{}", program.preview.name(), form.name());
            let descriptor = add(&mut layout, &program, form);
            sizes.push(Size {
                tag: tag.clone(),
                form,
                preview: program.preview,
                program: program.bytes.len(),
                image: fetched(&layout, &descriptor)?,
            });
            layout.tag(descriptor, &tag);
        }
    }
    let folder = out.join("oci-wasi");
    write_layout(&layout, &folder)?;
    write_file(&out.join("pause.wasi.tar"), &layout.archive(""))?;
    Ok(Written {
        layout: folder,
        sizes,
    })
}

/// Adds the program to a layout in this form. Returns the descriptor of its manifest.
fn add(layout: &mut LayoutBuilder, program: &Program, form: Form) -> Value {
    let bytes = program.bytes.clone();
    let mut image = match form {
        Form::Artifact => artifact(program.preview, bytes),
        Form::Legacy => WasmImageBuilder::runwasi(bytes).config("config", process()),
        Form::Compat => return layout.image(&compat(&bytes)),
    };
    image.annotations = json!(annotations(super::PAUSE.title));
    image.add_to(layout)
}

/// An artifact. Its configuration lists a component's imports and exports, so that a container
/// engine need not open the component.
fn artifact(preview: Preview, program: Vec<u8>) -> WasmImageBuilder {
    let image = WasmImageBuilder::artifact(preview.os(), program);
    if preview != Preview::P2 {
        return image;
    }
    let component = json!({
        "exports": ["wasi:cli/run@0.2.0"],
        "imports": ["wasi:io/poll@0.2.0", "wasi:clocks/monotonic-clock@0.2.0"],
    });
    image.config("component", component)
}

fn compat(program: &[u8]) -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause.wasm", 0o755, program);
    let mut image = ImageBuilder::of_layer(&layer, "wasm");
    image.layers[0].1 = Packing::SmallGzip;
    image.config["os"] = json!("wasi");
    image.config["config"] = process();
    image.annotations = annotations(super::PAUSE.title);
    let variant = "module.wasm.image/variant".to_owned();
    image.annotations.insert(variant, "compat".to_owned());
    image
}

/// `config` of the configuration.
fn process() -> Value {
    json!({ "Entrypoint": ["/pause.wasm"], "User": "65535:65535", "WorkingDir": "/" })
}
