//! WASI images in each of their forms, broken ones, and native images that look like one.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::{amd64, of_layer, pause, platform, single};
use crate::self_test::wasi;
use crate::subject::build::{ImageBuilder, LayoutBuilder, Tar, WASM_LAYER, WasmImageBuilder};

const FORM: &[&str] = &["wasi/image-one-form"];
const PLATFORM: &[&str] = &["wasi/image-platform-true"];
const VALID: &[&str] = &["wasi/program-valid"];
const UNMISTAKABLE: &[&str] = &["wasi/native-unmistakable"];

/// How an image says that a WASI runtime is to run a file of it (containerd-shim-wasm, crun).
const VARIANT: &str = "module.wasm.image/variant";

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new("wasi-artifact", "is the CNCF's artifact", &[], || {
        artifact().layout()
    }),
    ImageFixture::new(
        "wasi-artifact-component",
        "is the CNCF's artifact, of a component",
        &[],
        || WasmImageBuilder::artifact("wasip2", component()).layout(),
    ),
    ImageFixture::new("wasi-runwasi", "has runwasi's own layer", &[], || {
        runwasi().layout()
    }),
    ImageFixture::new(
        "wasi-runwasi-component",
        "has runwasi's own layer, of a component",
        &[],
        || WasmImageBuilder::runwasi(component()).layout(),
    ),
    ImageFixture::new("wasi-compat", "has a module in a usual layer", &[], || {
        single(&compat(&module()))
    }),
    ImageFixture::new(
        "wasi-compat-component",
        "has a component in a usual layer",
        &[],
        || single(&compat(&component())),
    ),
    ImageFixture::new(
        "wasi-beside-native",
        "is an index of a module and a native program",
        &[],
        || indexed(true),
    )
    .judged_as("wasip1/wasm"),
    ImageFixture::new(
        "wasi-alone-in-index",
        "is an index of a module alone",
        &["wasi/index-has-native"],
        || indexed(false),
    )
    .judged_as("wasip1/wasm"),
    ImageFixture::new(
        "wasi-two-programs",
        "has a module and a component",
        FORM,
        || artifact().layer(WASM_LAYER, component()).layout(),
    ),
    ImageFixture::new(
        "wasi-and-files",
        "has a layer of files beside a module's",
        FORM,
        || {
            let files = Tar::default().finish();
            let media_type = "application/vnd.oci.image.layer.v1.tar";
            runwasi().layer(media_type, files).layout()
        },
    ),
    ImageFixture::new(
        "wasi-artifact-half",
        "has the artifact's layer below a usual configuration",
        FORM,
        || artifact().configured_as_native().layout(),
    ),
    ImageFixture::new(
        "wasi-artifact-no-digests",
        "is an artifact that names no layer",
        FORM,
        || artifact().config("layerDigests", json!([])).layout(),
    ),
    ImageFixture::new(
        "wasi-artifact-false-digests",
        "is an artifact that names another layer",
        &["image/digests-hold", "wasi/image-one-form"],
        || {
            let digests = json!(["sha256:00"]);
            artifact().config("layerDigests", digests).layout()
        },
    ),
    ImageFixture::new(
        "wasi-artifact-and-compat",
        "is an artifact that says it is a usual image",
        FORM,
        || artifact().annotate(VARIANT, "compat").layout(),
    ),
    ImageFixture::new(
        "wasi-compat-unsaid",
        "has a module in a usual layer, and does not say so",
        FORM,
        || single(&unsaid(compat(&module()))),
    ),
    ImageFixture::new(
        "wasi-component-as-module",
        "says preview 1 and holds a component",
        PLATFORM,
        || WasmImageBuilder::artifact("wasip1", component()).layout(),
    ),
    ImageFixture::new(
        "wasi-later-preview",
        "says preview 3, which no engine of today runs",
        PLATFORM,
        || WasmImageBuilder::artifact("wasip3", component()).layout(),
    ),
    ImageFixture::new(
        "wasi-says-native",
        "has runwasi's own layer and says linux/amd64",
        PLATFORM,
        || {
            let image = runwasi().config("os", json!("linux"));
            image.config("architecture", json!("amd64")).layout()
        },
    ),
    ImageFixture::new(
        "wasi-compat-says-native",
        "has a module in a usual layer and says linux/amd64",
        PLATFORM,
        || single(&below_native(compat(&module()))),
    ),
    ImageFixture::new(
        "wasi-for-a-native",
        "has a module where its configuration promises a program for linux/amd64",
        &["wasi/image-one-form", "wasi/image-platform-true"],
        || single(&unsaid(below_native(compat(&module())))),
    ),
    ImageFixture::new(
        "native-in-artifact",
        "is an artifact with a native program in it",
        VALID,
        || WasmImageBuilder::artifact("wasip1", amd64()).layout(),
    ),
    ImageFixture::new(
        "native-in-runwasi",
        "has a native program in runwasi's own layer",
        VALID,
        || WasmImageBuilder::runwasi(amd64()).layout(),
    ),
    ImageFixture::new(
        "wasi-no-program",
        "is an artifact with text in it",
        VALID,
        || WasmImageBuilder::artifact("wasip1", b"hello".to_vec()).layout(),
    ),
    ImageFixture::new(
        "wasi-false-diff-id",
        "has runwasi's own layer under another's DiffID",
        &["image/digests-hold"],
        || {
            let ids = json!({ "diff_ids": ["sha256:00"] });
            runwasi().config("rootfs", ids).layout()
        },
    ),
    ImageFixture::new(
        "native-annotated",
        "is native, and asks for an engine by annotation",
        UNMISTAKABLE,
        || {
            let mut image = pause();
            let (key, value) = ("run.oci.handler".to_owned(), "wasm".to_owned());
            image.annotations.insert(key, value);
            single(&image)
        },
    ),
    ImageFixture::new(
        "native-for-wasip1",
        "is native, and says the system wasip1",
        &["image/platform-agrees", "wasi/native-unmistakable"],
        || {
            let mut image = pause();
            image.config["os"] = json!("wasip1");
            single(&image)
        },
    ),
    ImageFixture::new(
        "native-for-wasm",
        "is native, and says the architecture wasm",
        &["image/platform-agrees", "wasi/native-unmistakable"],
        || single(&ImageBuilder::pause(&amd64(), "wasm")),
    ),
    ImageFixture::new(
        "native-named-wasm",
        "is native, and calls its program pause.wasm",
        UNMISTAKABLE,
        || {
            let image = of_layer(|layer, pause| {
                layer
                    .file("pause.wasm", 0o755, pause)
                    .symlink("pause", "pause.wasm");
            });
            single(&image.set("Entrypoint", json!(["/pause.wasm"])))
        },
    ),
];

fn module() -> Vec<u8> {
    wasi::program("sound_hourly")
}

fn component() -> Vec<u8> {
    wasi::program("sound_component")
}

fn artifact() -> WasmImageBuilder {
    WasmImageBuilder::artifact("wasip1", module())
}

fn runwasi() -> WasmImageBuilder {
    WasmImageBuilder::runwasi(module())
}

/// A program in a usual layer, for container engines that go by the annotation.
fn compat(program: &[u8]) -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause.wasm", 0o755, program);
    let image = ImageBuilder::of_layer(&layer, "wasm");
    let mut image = image.set("Entrypoint", json!(["/pause.wasm"]));
    image.config["os"] = json!("wasi");
    image
        .annotations
        .insert(VARIANT.to_owned(), "compat".to_owned());
    image
}

/// Without an annotation.
fn unsaid(mut image: ImageBuilder) -> ImageBuilder {
    image.annotations.clear();
    image
}

/// With a native image's configuration.
fn below_native(mut image: ImageBuilder) -> ImageBuilder {
    image.config = pause().config;
    image.set("Entrypoint", json!(["/pause.wasm"]))
}

/// An index that holds a module, and a native program where asked for.
fn indexed(with_native: bool) -> LayoutBuilder {
    let mut layout = LayoutBuilder::default();
    let mut entries: Vec<Value> = Vec::new();
    let mut entry = artifact().add_to(&mut layout);
    entry["platform"] = platform("wasip1", "wasm");
    entries.push(entry);
    if with_native {
        let mut entry = layout.image(&pause());
        entry["platform"] = platform("linux", "amd64");
        entries.push(entry);
    }
    let index = layout.index(&entries);
    layout.manifests.push(index);
    layout
}
