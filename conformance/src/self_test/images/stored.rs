//! Images whose layers are stored otherwise than their media types say, or not as one stream.

use super::ImageFixture;
use super::parts::{noise, pause, single};
use crate::subject::build::{LayoutBuilder, Packing};

const CLEAN: &[&str] = &["image/layers-clean"];
const TYPES: &[&str] = &["image/layer-types-hold"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "image-of-two-members",
        "has a layer of two gzip members",
        &[],
        || {
            stored("+gzip", |layer| {
                let (one, other) = layer.split_at(layer.len() / 2);
                [Packing::Gzip.pack(one), Packing::Gzip.pack(other)].concat()
            })
        },
    ),
    ImageFixture::new(
        "tar-is-gzip",
        "has a compressed layer of the media type of plain ones",
        CLEAN,
        || stored("", gzip),
    ),
    ImageFixture::new(
        "tar-is-zstd",
        "has a layer compressed by zstd of the media type of plain ones",
        CLEAN,
        || stored("", |layer| Packing::Zstd.pack(layer)),
    ),
    ImageFixture::new("layer-encrypted", "has an encrypted layer", CLEAN, || {
        stored("+gzip+encrypted", |layer| noise(layer.len()))
    }),
    ImageFixture::new(
        "layer-encrypted-in-name",
        "has a layer that is called encrypted and is not",
        CLEAN,
        || stored("+gzip+encrypted", gzip),
    ),
    ImageFixture::new(
        "layer-of-bzip2",
        "has a layer compressed by bzip2",
        CLEAN,
        || stored("+bzip2", |layer| [b"BZh9", &*noise(layer.len())].concat()),
    ),
    ImageFixture::new(
        "layer-of-unknown-type",
        "has a layer of a media type that no engine knows",
        CLEAN,
        || stored(".gz", gzip),
    ),
    ImageFixture::new(
        "zeros-behind-gzip",
        "has zeros behind its compressed layer",
        CLEAN,
        || stored("+gzip", |layer| behind(gzip(layer), &[0; 600])),
    ),
    ImageFixture::new(
        "garbage-behind-gzip",
        "has garbage behind its compressed layer",
        CLEAN,
        || stored("+gzip", |layer| behind(gzip(layer), &noise(600))),
    ),
    ImageFixture::new(
        "garbage-behind-zstd",
        "has garbage behind its layer compressed by zstd",
        CLEAN,
        || {
            stored("+zstd", |layer| {
                behind(Packing::Zstd.pack(layer), &noise(600))
            })
        },
    ),
    ImageFixture::new(
        "gzip-is-tar",
        "has a plain layer of the media type of compressed ones",
        TYPES,
        || stored("+gzip", <[u8]>::to_vec),
    ),
    ImageFixture::new(
        "zstd-is-gzip",
        "has a layer compressed by gzip that says zstd",
        TYPES,
        || stored("+zstd", gzip),
    ),
];

/// The sound image, its layer of this kind and in these bytes.
fn stored(kind: &str, bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> LayoutBuilder {
    let image = pause();
    let bytes = bytes(&image.layers[0].0);
    single(&image.stored_as(kind, bytes))
}

fn gzip(layer: &[u8]) -> Vec<u8> {
    Packing::Gzip.pack(layer)
}

fn behind(mut stream: Vec<u8>, tail: &[u8]) -> Vec<u8> {
    stream.extend_from_slice(tail);
    stream
}
