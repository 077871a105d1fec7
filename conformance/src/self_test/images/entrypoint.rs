//! Images whose program is missing, hidden behind another, or not for everyone to run.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::{configured, fixture, native, of_layer, single};
use crate::programs;
use crate::subject::build::LayoutBuilder;

const SET: &str = "image/entrypoint-set";
const DIRECT: &str = "image/entrypoint-direct";
const PATH: &str = "image/has-pause-path";
const MINIMAL: &str = "image/minimal";
const MODE: &str = "image/program-mode";

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new("no-entrypoint", "names no program", &[SET], || {
        configured("Entrypoint", Value::Null)
    }),
    ImageFixture::new(
        "missing-entrypoint",
        "names a program that is not there",
        &[SET],
        || configured("Entrypoint", json!(["/nothing"])),
    ),
    ImageFixture::new(
        "directory-as-entrypoint",
        "names a directory",
        &[SET, PATH, MINIMAL],
        || {
            single(&of_layer(|layer, pause| {
                layer
                    .directory("pause", 0o755)
                    .file("pause/pause", 0o755, pause);
            }))
        },
    ),
    ImageFixture::new(
        "entrypoint-not-executable",
        "names a file that no user may execute",
        &[SET, PATH],
        || mode(0o644),
    ),
    ImageFixture::new(
        "entrypoint-loop",
        "names a loop of links",
        &[SET, PATH],
        || {
            single(&of_layer(|layer, _| {
                layer.symlink("pause", "other").symlink("other", "pause");
            }))
        },
    ),
    ImageFixture::new(
        "another-at-pause",
        "has another program at /pause than the one it names, and that ends at once",
        &["image/minimal", "engine/pause-path"],
        || {
            let image = native(|layer| {
                layer.file("pod", 0o755, programs::REFERENCE).file(
                    "pause",
                    0o755,
                    &fixture("exits-at-once"),
                );
            });
            single(&image.set("Entrypoint", json!(["/pod"])))
        },
    )
    .run(&[]),
    ImageFixture::new("script", "runs a script", &[DIRECT], || {
        single(&of_layer(|layer, pause| {
            layer
                .file("pause", 0o755, b"#!/sh\nexec /pod\n")
                .file("sh", 0o755, pause);
        }))
    }),
    ImageFixture::new(
        "shell",
        "runs its program by a shell",
        &[DIRECT, MINIMAL],
        || wrapped("bin/sh", &["/bin/sh", "-c", "pause"]),
    ),
    ImageFixture::new(
        "wrapper",
        "runs its program by an init",
        &[DIRECT, MINIMAL],
        || wrapped("init", &["/init", "--", "/pause"]),
    ),
    ImageFixture::new(
        "for-root-alone",
        "has a program that root alone may run",
        &[MODE],
        || mode(0o700),
    ),
    ImageFixture::new(
        "closed-root",
        "has a root that root alone may enter",
        &[MODE],
        || {
            single(&of_layer(|layer, pause| {
                layer.directory("./", 0o700).file("./pause", 0o755, pause);
            }))
        },
    ),
    ImageFixture::new(
        "program-elsewhere",
        "has its program at another path",
        &[PATH],
        || {
            let image = of_layer(|layer, pause| {
                layer.file("usr/bin/pod", 0o755, pause);
            });
            single(&image.set("Entrypoint", json!(["pod"])))
        },
    ),
];

fn mode(mode: u32) -> LayoutBuilder {
    single(&of_layer(|layer, pause| {
        layer.file("pause", mode, pause);
    }))
}

fn wrapped(by: &str, entrypoint: &[&str]) -> LayoutBuilder {
    let image = of_layer(|layer, pause| {
        layer.file(by, 0o755, pause).file("pause", 0o755, pause);
    });
    single(&image.set("Entrypoint", json!(entrypoint)))
}
