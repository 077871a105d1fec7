//! Images that hold more than a pause has a use for.

use super::ImageFixture;
use super::parts::{noise, pause, single, with_layer};
use crate::subject::build::{Packing, Tar};

const PRIVILEGE: &[&str] = &["image/no-privilege-bits"];
const MINIMAL: &[&str] = &["image/minimal"];
const SMALL: &[&str] = &["image/small"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "setuid-file",
        "has a file that runs as its owner",
        PRIVILEGE,
        || {
            with_layer(|layer| {
                layer.file("su", 0o4644, b"");
            })
        },
    ),
    ImageFixture::new(
        "setgid-file",
        "has a file that runs as its group",
        PRIVILEGE,
        || {
            with_layer(|layer| {
                layer.file("wall", 0o2644, b"");
            })
        },
    ),
    ImageFixture::new(
        "file-capabilities",
        "has a file with capabilities",
        PRIVILEGE,
        || {
            with_layer(|layer| {
                // Version 2 of the attribute, one bit permitted: capabilities(7).
                layer
                    .xattr("security.capability", b"\x01\0\0\x02\n\0\0\0")
                    .file("ping", 0o644, b"");
            })
        },
    ),
    ImageFixture::new("device", "has a device", PRIVILEGE, || {
        with_layer(|layer| {
            layer.device("null", 1, 3);
        })
    }),
    ImageFixture::new(
        "has-a-shell",
        "has a shell beside its program",
        MINIMAL,
        || {
            with_layer(|layer| {
                layer.file("bin/sh", 0o755, b"");
            })
        },
    ),
    ImageFixture::new(
        "has-a-tool",
        "has another program beside its own",
        MINIMAL,
        || {
            with_layer(|layer| {
                layer.file("bin/tool", 0o755, b"");
            })
        },
    ),
    ImageFixture::new("large-image", "has more than 1 MB", SMALL, || {
        with_layer(|layer| {
            layer.file("data", 0o644, &noise(1_100_000));
        })
    }),
    ImageFixture::new(
        "large-hidden-file",
        "hides more than 1 MB below a layer that removes it",
        SMALL,
        || {
            let (mut below, mut above) = (Tar::default(), Tar::default());
            below.file("data", 0o644, &noise(1_100_000));
            above.file(".wh.data", 0o644, b"");
            single(
                &pause()
                    .layer(&below, Packing::Gzip)
                    .layer(&above, Packing::Gzip),
            )
        },
    ),
];
