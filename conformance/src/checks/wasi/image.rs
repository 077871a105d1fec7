//! The image of a WASI pause: it has one of the three forms, and says so truly; a native image has
//! none of the marks by which container engines take an image for WASI.

use super::read;
use crate::advice::Advice;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject::wasm::{ANNOTATIONS, ARTIFACT_CONFIG, LAYER_TYPES, WasmKind};
use crate::subject::{Image, escape, quote};

/// The media types of OCI's and Docker's image configuration.
const IMAGE_CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

const ARTIFACT_SOURCE: Source = Source {
    title: "CNCF TAG Runtime, Wasm OCI Artifact layout",
    url: "https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/",
};

fn image<'a>(cx: &'a Context<'_>) -> Result<&'a Image, Stop> {
    cx.subject()
        .image
        .as_ref()
        .ok_or_else(|| Stop::Skip("the subject is no image".to_owned()))
}

/// A way to put a WASI program into an image.
struct Form {
    name: &'static str,
    /// What the image lacks of it.
    lacks: fn(&Image) -> Vec<String>,
}

static FORMS: [Form; 3] = [
    Form {
        name: "CNCF artifact",
        lacks: |image| {
            let digest = image.layers.first().map(|layer| &layer.digest);
            lacking(&[
                (image.config_type == ARTIFACT_CONFIG, ARTIFACT_CONFIG),
                (
                    is_only_layer(image, LAYER_TYPES[0]),
                    "one layer, application/wasm",
                ),
                (
                    image.config.layer_digests.iter().eq(digest),
                    "layerDigests with the layer's digest",
                ),
                (marks(image).is_empty(), "no annotation for WASI"),
            ])
        },
    },
    Form {
        name: "runwasi's layer",
        lacks: |image| {
            lacking(&[
                (has_image_config(image), "an OCI configuration"),
                (
                    is_only_layer(image, LAYER_TYPES[1]),
                    "one layer, application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
                ),
                (marks(image).is_empty(), "no annotation for WASI"),
            ])
        },
    },
    Form {
        name: "compat",
        lacks: |image| {
            let tar = |layer: &crate::subject::Layer| layer.media_type.contains("tar");
            lacking(&[
                (has_image_config(image), "an OCI configuration"),
                (
                    image.layers.iter().all(tar),
                    "filesystem layers and no other",
                ),
                (
                    !marks(image).is_empty(),
                    "the annotation module.wasm.image/variant=compat",
                ),
            ])
        },
    },
];

fn lacking(marks: &[(bool, &str)]) -> Vec<String> {
    marks
        .iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, what)| (*what).to_owned())
        .collect()
}

fn has_image_config(image: &Image) -> bool {
    IMAGE_CONFIGS.contains(&image.config_type.as_str())
}

fn is_only_layer(image: &Image, media_type: &str) -> bool {
    matches!(&image.layers[..], [layer] if layer.media_type == media_type)
}

/// The annotations by which container engines take the image for WASI, escaped.
fn marks(image: &Image) -> Vec<String> {
    let says = |(key, values): &(&str, &[&str])| {
        let value = image.annotations.get(*key)?;
        values
            .contains(&value.as_str())
            .then(|| format!("{key}={value}"))
    };
    ANNOTATIONS.iter().filter_map(says).collect()
}

pub(super) static ONE_FORM: Check = Check {
    id: "wasi/image-one-form",
    title: "the image is a WASI image in exactly one way",
    level: Level::Must,
    requirement: "The image MUST have exactly one of the forms that container engines read: the CNCF artifact, runwasi's layer type, or filesystem layers with the compat annotation.",
    source: ARTIFACT_SOURCE,
    advice: Advice::new(
        "An engine does not know the image for WASI, or for which form, and cannot run it.",
        "Write one form: the CNCF artifact for new engines.",
    ),
    needs: Needs::WASM.union(Needs::IMAGE),
    after: &[],
    run: one_form,
};

fn one_form(cx: &Context<'_>) -> Outcome {
    let image = image(cx)?;
    let mut holding = Vec::new();
    let mut evidence = Vec::new();
    for form in &FORMS {
        let lacks = (form.lacks)(image);
        if lacks.is_empty() {
            holding.push(form.name);
        } else {
            evidence.push(format!("{} asks for {}", form.name, lacks.join("; ")));
        }
    }
    if let [form] = holding[..] {
        return Ok(Pass::new(form));
    }
    let layers: Vec<String> = image
        .layers
        .iter()
        .map(|layer| quote(&layer.media_type))
        .collect();
    let observed = format!(
        "configuration {}, layers {}, annotations for WASI: {}",
        quote(&image.config_type),
        layers.join(", "),
        match marks(image) {
            marks if marks.is_empty() => "none".to_owned(),
            marks => marks.join(", "),
        }
    );
    let mut finding = Finding::new("exactly one form", observed);
    finding.evidence = evidence;
    Err(finding.into())
}

pub(super) static PLATFORM_TRUE: Check = Check {
    id: "wasi/image-platform-true",
    title: "the image says that it is for WASI, and for which",
    level: Level::Must,
    requirement: "The configuration MUST have architecture wasm and the os of the program: wasip1 or wasip2 in an artifact, one of these or wasi in the other forms.",
    source: ARTIFACT_SOURCE,
    advice: Advice::new(
        "An engine chooses a WASI runtime by these, and chooses a wrong one.",
        "Set architecture `wasm` and os `wasip1` or `wasip2`, as the program is.",
    ),
    needs: Needs::WASM.union(Needs::IMAGE),
    after: &["wasi/program-valid", "image/platform-declared"],
    run: platform_true,
};

fn platform_true(cx: &Context<'_>) -> Outcome {
    let image = image(cx)?;
    let of_program = match read(cx)?.kind {
        WasmKind::Module => "wasip1",
        WasmKind::Component => "wasip2",
    };
    let os = image.config.os.as_deref().unwrap_or_default();
    let architecture = image.config.architecture.as_deref().unwrap_or_default();
    let artifact = image.config_type == ARTIFACT_CONFIG;
    let expected = if artifact {
        format!("os {of_program}, architecture wasm")
    } else {
        format!("os wasi or {of_program}, architecture wasm")
    };
    let observed = format!("os {}, architecture {}", quote(os), quote(architecture));
    let true_os = os == of_program || (os == "wasi" && !artifact);
    ensure(
        true_os && architecture == "wasm",
        expected,
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static INDEX_HAS_NATIVE: Check = Check {
    id: "wasi/index-has-native",
    title: "an index over a WASI image has a native one too",
    level: Level::Must,
    requirement: "An index that holds a WASI image MUST hold one for linux too, since a CRI runtime finds no match in it otherwise.",
    source: Source {
        title: "containerd platforms v1.0.0-rc.1, defaults_unix.go",
        url: "https://github.com/containerd/platforms/blob/v1.0.0-rc.1/defaults_unix.go",
    },
    advice: Advice::new(
        "On nodes without WASI no pod starts.",
        "Add the native image to the index.",
    ),
    needs: Needs::WASM.union(Needs::INDEX),
    after: &[],
    run: index_has_native,
};

fn index_has_native(cx: &Context<'_>) -> Outcome {
    let entries = cx.subject().index.iter().flat_map(|index| &index.entries);
    let platforms: Vec<String> = entries
        .map(|entry| {
            let platform = entry.platform.clone();
            let declared = || entry.image.as_ref().ok()?.config.platform();
            platform
                .or_else(declared)
                .map_or("none".to_owned(), |platform| platform.to_string())
        })
        .collect();
    let observed = platforms.join(", ");
    ensure(
        platforms
            .iter()
            .any(|platform| platform.starts_with("linux/")),
        "an entry for linux beside it",
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static NATIVE_UNMISTAKABLE: Check = Check {
    id: "wasi/native-unmistakable",
    title: "no container engine takes the native image for WASI",
    level: Level::Must,
    requirement: "An image of a native program MUST NOT have what container engines take for WASI: the architecture wasm, an os of WASI, a program named .wasm, or the annotations of WASI images.",
    source: Source {
        title: "runwasi, containerd-shim-wasm v0.6.0, RuntimeContext",
        url: "https://github.com/containerd/runwasi/blob/containerd-shim-wasm/v0.6.0/crates/containerd-shim-wasm/src/container/context.rs",
    },
    advice: Advice::new(
        "An engine takes the native program for WASI, and hands it to a WASI runtime, which refuses it.",
        "Remove the annotations and the name that say WASI.",
    ),
    needs: Needs::NATIVE_IMAGE.union(Needs::PROGRAM),
    after: &[],
    run: native_unmistakable,
};

fn native_unmistakable(cx: &Context<'_>) -> Outcome {
    let image = image(cx)?;
    let mut found = Vec::new();
    if let Some(architecture) = &image.config.architecture
        && architecture.starts_with("wasm")
    {
        found.push(format!("architecture {}", quote(architecture)));
    }
    if let Some(os) = &image.config.os
        && os.starts_with("wasi")
    {
        found.push(format!("os {}", quote(os)));
    }
    if let Ok(program) = &cx.subject().program {
        let named = program.argv.first().map(String::as_bytes);
        for name in named.into_iter().chain([program.path.as_slice()]) {
            if name.ends_with(b".wasm") || name.ends_with(b".wat") {
                found.push(format!("a native program named {}", escape(name)));
                break;
            }
        }
    }
    found.extend(marks(image));
    ensure(found.is_empty(), "nothing that says WASI", found.join(", "))?;
    Ok(Pass::new("nothing in it says WASI"))
}
