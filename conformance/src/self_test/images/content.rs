//! Images whose blobs are not what their descriptors say.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::{amd64, pause, single};
use crate::subject::build::{LayoutBuilder, Packing, Tar};

const DIGESTS: &[&str] = &["image/digests-hold"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "swapped-layer",
        "has a layer whose content is another's",
        DIGESTS,
        || {
            let mut layout = single(&pause());
            let other = Tar::default()
                .file("pause", 0o755, &amd64())
                .file("x", 0o644, b"")
                .finish();
            // The magic of gzip (RFC 1952): the only layer.
            for blob in layout.blobs.values_mut() {
                if blob.starts_with(&[0x1f, 0x8b]) {
                    *blob = Packing::Gzip.pack(&other);
                }
            }
            layout
        },
    ),
    ImageFixture::new(
        "false-diff-id",
        "has a DiffID that is not its layer's",
        DIGESTS,
        || diff_ids(&json!([format!("sha256:{}", "0".repeat(64))])),
    ),
    ImageFixture::new(
        "no-diff-ids",
        "has no DiffID for its layer",
        DIGESTS,
        || diff_ids(&json!([])),
    ),
    ImageFixture::new(
        "negative-size",
        "has a descriptor with a negative size",
        DIGESTS,
        || sized(&json!(-1)),
    ),
    ImageFixture::new("huge-size", "has a descriptor of 16 EiB", DIGESTS, || {
        sized(&json!(u64::MAX))
    }),
    ImageFixture::new(
        "no-size",
        "has a descriptor without a size",
        DIGESTS,
        || sized(&Value::Null),
    ),
];

fn diff_ids(ids: &Value) -> LayoutBuilder {
    let mut image = pause();
    image.config["rootfs"] = json!({ "type": "layers", "diff_ids": ids });
    single(&image)
}

fn sized(size: &Value) -> LayoutBuilder {
    let mut layout = single(&pause());
    for descriptor in &mut layout.manifests {
        descriptor["size"] = size.clone();
    }
    layout
}
