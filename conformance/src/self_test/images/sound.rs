//! Images that are right, each built in another way: none fails anything.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::{
    amd64, configured, indexed, kubernetes, mutated, of_layer, pair, pause, pause_arm64, platform,
    require, single, upstreams,
};
use crate::subject::build::{ImageBuilder, LayoutBuilder, Packing};

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new("image", "is one program in one layer", &[], || {
        single(&pause())
    }),
    ImageFixture::new("image-index", "is an index of two platforms", &[], pair),
    ImageFixture::new(
        "image-plain-layer",
        "has a layer that is not compressed",
        &[],
        || packed(Packing::Plain),
    ),
    ImageFixture::new(
        "image-zstd-layer",
        "has a layer compressed by zstd",
        &[],
        || packed(Packing::Zstd),
    ),
    ImageFixture::new("image-cmd-alone", "names its program by Cmd", &[], || {
        single(
            &pause()
                .set("Entrypoint", Value::Null)
                .set("Cmd", json!(["/pause"])),
        )
    }),
    ImageFixture::new(
        "image-stop-signal-name",
        "has the StopSignal SIGTERM",
        &[],
        || configured("StopSignal", json!("SIGTERM")),
    ),
    ImageFixture::new(
        "image-stop-signal-number",
        "has the StopSignal 2",
        &[],
        || configured("StopSignal", json!("2")),
    ),
    ImageFixture::new(
        "image-linked-path",
        "has its program elsewhere, and a link at /pause",
        &[],
        || {
            single(&of_layer(|layer, pause| {
                layer
                    .file("usr/bin/pod", 0o755, pause)
                    .symlink("pause", "/usr/bin/pod");
            }))
        },
    ),
    ImageFixture::new(
        "image-hard-link",
        "has its program by two names, which are one file",
        &[],
        || {
            single(&of_layer(|layer, pause| {
                layer
                    .file("usr/bin/pause", 0o755, pause)
                    .hard_link("pause", "usr/bin/pause");
            }))
        },
    ),
    ImageFixture::new(
        "image-dynamic",
        "has the interpreter of its program with it",
        &[],
        || {
            single(&of_layer(|layer, pause| {
                layer
                    .file("pause", 0o755, &mutated("declares-interpreter", pause))
                    .symlink("lib", "usr/lib")
                    .file("usr/lib/ld-musl-fixture.so.1", 0o644, pause);
            }))
        },
    ),
    ImageFixture::new(
        "image-with-windows",
        "is an index with a whole entry for Windows",
        &[],
        || {
            let mut windows = pause();
            windows.config["os"] = json!("windows");
            let entry =
                json!({ "os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1" });
            indexed(&[
                (&pause(), platform("linux", "amd64")),
                (&pause_arm64(), platform("linux", "arm64")),
                (&windows, entry),
            ])
        },
    ),
    ImageFixture::new(
        "image-new-enough",
        "is as new as Kubernetes 1.31 wants it",
        &[],
        || single(&upstreams()),
    )
    .asked(|| kubernetes("1.31")),
    ImageFixture::new(
        "image-has-the-required",
        "holds the platform that is required",
        &[],
        pair,
    )
    .asked(|| require("linux/arm64/v8")),
];

fn packed(packing: Packing) -> LayoutBuilder {
    let mut image = ImageBuilder::pause(&amd64(), "amd64");
    for (_, how) in &mut image.layers {
        *how = packing;
    }
    single(&image)
}
