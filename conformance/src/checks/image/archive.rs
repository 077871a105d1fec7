//! Blobs and layers as stored.

use super::image_of;
use crate::advice::{self, Advice};
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::Context;
use crate::subject::{Defect, DefectKind, NoProgram, quote};

/// A layer of a registry's pause image is about 0.3 MB; ten times the content still fits.
const SMALL_BYTES: u64 = 1_000_000;
/// Lines of evidence that are worth reading.
const LINES: usize = 20;

pub(super) static DIGESTS_HOLD: Check = Check {
    id: "image/digests-hold",
    title: "digests and sizes are right",
    level: Level::Must,
    requirement: "The size and digest of every blob MUST match its descriptor, and every DiffID its uncompressed layer.",
    source: Source {
        title: "OCI image-spec v1.1.1, descriptor.md",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests",
    },
    advice: Advice::new(
        "A node refuses to unpack a blob that is not what its digest says, so no pod starts there.",
        "Write the image with a tool that computes sizes, digests and DiffIDs, and change no blob afterwards.",
    ),
    needs: Needs::IMAGE,
    after: &[],
    run: digests_hold,
};

fn digests_hold(cx: &Context<'_>) -> Outcome {
    let layers = image_of(cx)?.layers.len();
    none_of(cx, DefectKind::Digest)?;
    read(cx)?;
    Ok(Pass::new(format!(
        "every digest and size is right, {layers} layers hashed in both forms"
    )))
}

pub(super) static LAYERS_CLEAN: Check = Check {
    id: "image/layers-clean",
    title: "layers apply without conflict",
    level: Level::Must,
    requirement: "Every entry of a layer MUST lie inside the root, every hard link and whiteout MUST name something that exists, no path MUST be two kinds of file in one layer, and the bytes of the layer MUST be what container engines take for its media type.",
    source: Source {
        title: "OCI image-spec v1.1.1, layer.md",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md",
    },
    advice: Advice::new(
        "Container engines differ in what they make of such a layer: one refuses it, another gives the pod other files.",
        "Pack the layer again from a clean folder with a current tar, and add nothing to it by hand.",
    ),
    needs: Needs::IMAGE,
    after: &[],
    run: layers_clean,
};

fn layers_clean(cx: &Context<'_>) -> Outcome {
    none_of(cx, DefectKind::Layer)?;
    read(cx)?;
    Ok(Pass::new(format!(
        "{} entries apply",
        cx.subject().rootfs.entries.len()
    )))
}

pub(super) static LAYER_TYPES_HOLD: Check = Check {
    id: "image/layer-types-hold",
    title: "media types say how layers are compressed",
    level: Level::Should,
    requirement: "The media type of a layer SHOULD say how its bytes are compressed, since some readers go by it.",
    source: Source {
        title: "OCI image-spec v1.1.1, layer.md, +gzip and +zstd media types",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#gzip-media-types",
    },
    advice: Advice::new(
        "An engine that goes by the media type fails to unpack the layer, and no pod starts on its nodes.",
        "Give the descriptor the media type that its bytes have: `tar`, `tar+gzip` or `tar+zstd`.",
    ),
    needs: Needs::IMAGE.union(Needs::FILES),
    after: &[],
    run: layer_types_hold,
};

fn layer_types_hold(cx: &Context<'_>) -> Outcome {
    none_of(cx, DefectKind::Type)?;
    let layers = &image_of(cx)?.layers;
    let pass = Pass::new(format!("{} layers are what they say", layers.len()));
    let types = layers.iter().map(|layer| quote(&layer.media_type));
    Ok(types.take(LINES).fold(pass, Pass::with))
}

pub(super) static NAMES_PLAIN: Check = Check {
    id: "image/names-plain",
    title: "names in layers are plain",
    level: Level::Should,
    requirement: "Names in a layer SHOULD be relative, printable UTF-8 and unique.",
    source: Source {
        title: "OCI image-spec v1.1.1, layer.md, Distributable Format",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#distributable-format",
    },
    advice: Advice::new(
        "Engines and scanners treat odd names differently, so that what was scanned need not be what runs.",
        "Pack the files with relative names in UTF-8, each once.",
    ),
    needs: Needs::IMAGE.union(Needs::FILES),
    after: &[],
    run: names_plain,
};

fn names_plain(cx: &Context<'_>) -> Outcome {
    none_of(cx, DefectKind::Name)?;
    Ok(Pass::new("every name is relative, printable and unique"))
}

pub(super) static SMALL: Check = Check {
    id: "image/small",
    title: "the image is small",
    level: Level::Should,
    requirement: "The compressed layers SHOULD be no more than 1 MB together, since every node pulls them before it runs its first pod.",
    source: Source {
        title: "kubernetes build/pause/Makefile",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Makefile",
    },
    advice: Advice::new(
        "Each node pulls the image before its first pod, and a big one delays every new node.",
        "Start from scratch and copy in nothing but a static, stripped program.",
    )
    .as_in(&advice::STRIP),
    needs: Needs::IMAGE,
    after: &[],
    run: small,
};

fn small(cx: &Context<'_>) -> Outcome {
    let layers = &image_of(cx)?.layers;
    let stored: u64 = layers.iter().map(|layer| layer.size).sum();
    let uncompressed: u64 = layers.iter().map(|layer| layer.uncompressed).sum();
    let observed = format!(
        "{stored} bytes in {} layers, {uncompressed} uncompressed",
        layers.len()
    );
    if stored <= SMALL_BYTES {
        return Ok(Pass::new(observed));
    }
    if stored == uncompressed {
        return Err(Stop::Inconclusive(format!(
            "{observed}: this archive does not compress its layers, so what a node would pull is not known"
        )));
    }
    Err(Finding::new(format!("at most {SMALL_BYTES} bytes"), observed).into())
}

/// Nothing can be said about layers that were not read.
fn read(cx: &Context<'_>) -> Result<(), Stop> {
    match &cx.subject().program {
        Err(NoProgram::Unread(why)) => Err(Stop::Skip(why.clone())),
        _ => Ok(()),
    }
}

/// Fails by the first defect of a kind; the others are evidence.
fn none_of(cx: &Context<'_>, kind: DefectKind) -> Result<(), Stop> {
    let line = |defect: &Defect| {
        format!(
            "{}: expected {}, observed {}",
            defect.subject, defect.expected, defect.observed
        )
    };
    let mut defects = cx
        .subject()
        .defects
        .iter()
        .filter(|defect| defect.kind == kind);
    let Some(first) = defects.next() else {
        return Ok(());
    };
    let finding = Finding::new(
        format!("{}: {}", first.subject, first.expected),
        format!("{}: {}", first.subject, first.observed),
    );
    Err(defects.map(line).fold(finding, Finding::with).into())
}
