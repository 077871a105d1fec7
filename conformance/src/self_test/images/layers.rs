//! Images whose layers do not unpack everywhere to the same files, or to any.

use super::ImageFixture;
use super::parts::with_layer;

const CLEAN: &str = "image/layers-clean";
const PLAIN: &str = "image/names-plain";

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "path-leaves-root",
        "has a path that leads out of the root",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.file("../../etc/passwd", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "link-leaves-root",
        "has a file behind a link that leads out of the root",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer
                    .symlink("up", "../../etc")
                    .file("up/passwd", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "hard-link-leaves-root",
        "has a hard link out of the root",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.hard_link("shadow", "../../etc/shadow");
            })
        },
    ),
    ImageFixture::new(
        "hard-link-to-nothing",
        "has a hard link to what is not there",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.hard_link("x", "y");
            })
        },
    ),
    ImageFixture::new(
        "whiteout-of-nothing",
        "removes a file that is not there",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.file(".wh.x", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "file-below-file",
        "has a file below its program",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.file("pause/x", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "two-kinds-at-one-path",
        "has a file and a link at one path",
        &[CLEAN],
        || {
            with_layer(|layer| {
                layer.file("x", 0o644, b"").symlink("x", "pause");
            })
        },
    ),
    ImageFixture::new("name-too-long", "has a name of 300 bytes", &[CLEAN], || {
        with_layer(|layer| {
            layer.file("a".repeat(300), 0o644, b"");
        })
    }),
    ImageFixture::new(
        "name-with-nul",
        "has a name with a NUL byte",
        &[CLEAN, PLAIN],
        || {
            with_layer(|layer| {
                layer.file(b"a\0b", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "absolute-name",
        "has a name that begins with a slash",
        &[PLAIN],
        || {
            with_layer(|layer| {
                layer.file("/x", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "name-steers-terminals",
        "has an escape sequence for a name",
        &[PLAIN],
        || {
            with_layer(|layer| {
                layer.file(b"\x1b[2J", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "name-not-utf-8",
        "has a name that is not UTF-8",
        &[PLAIN],
        || {
            with_layer(|layer| {
                layer.file(b"\xff\xfe", 0o644, b"");
            })
        },
    ),
    ImageFixture::new(
        "file-twice",
        "has a file twice in a layer",
        &[PLAIN],
        || {
            with_layer(|layer| {
                layer.file("x", 0o644, b"1").file("x", 0o644, b"2");
            })
        },
    ),
];
