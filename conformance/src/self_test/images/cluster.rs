//! Images whose programs say, or do not say, for which Kubernetes they are.

use super::ImageFixture;
use super::parts::{TAG, fixture, kubernetes, native};
use crate::programs;
use crate::subject::build::LayoutBuilder;

const FITS: &str = "cli/version-matches-cluster";

/// A tag that is none of upstream's.
const OWN: &str = "0.1.0";

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "says-it-is-new-enough",
        "prints the version of upstream's that Kubernetes 1.18 wants",
        &[],
        || holds(TAG, &fixture("prints-upstreams-version")),
    )
    .asked(|| kubernetes("1.18"))
    .run(&[]),
    ImageFixture::new(
        "numbered-by-another-vendor",
        "has a smaller number than upstream's, and does what Kubernetes 1.34 needs",
        &[],
        || holds(OWN, programs::REFERENCE),
    )
    .asked(|| kubernetes("1.34"))
    .run(&[]),
    ImageFixture::new(
        "says-it-is-older",
        "prints a version of upstream's that is older than Kubernetes 1.21 wants it, under a newer tag",
        &[FITS],
        || holds(TAG, &fixture("prints-upstreams-version")),
    )
    .asked(|| kubernetes("1.21"))
    .run(&[]),
    ImageFixture::new(
        "another-vendors-that-never-reaps",
        "has a number that says nothing, and does not reap as Kubernetes 1.34 needs it",
        &[FITS, "reaping/one-orphan"],
        || holds(OWN, &fixture("never-reaps")),
    )
    .asked(|| kubernetes("1.34"))
    .run(&["reaping/before-handler"]),
];

/// An image for this host with that tag and that program.
fn holds(tag: &str, program: &[u8]) -> LayoutBuilder {
    let image = native(|layer| {
        layer.file("pause", 0o755, program);
    });
    LayoutBuilder::single(&image, tag)
}
