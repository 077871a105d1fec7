//! Images whose index, configuration and program do not agree on where they run.

use serde_json::{Value, json};

use super::ImageFixture;
use super::parts::{
    amd64, arm64, indexed, kubernetes, pair, pause, pause_arm64, platform, require, single,
    upstreams,
};
use crate::subject::build::{ImageBuilder, LayoutBuilder};

const DECLARED: &[&str] = &["image/platform-declared"];
const AGREES: &[&str] = &["image/platform-agrees"];
const COMPLETE: &[&str] = &["image/index-complete"];
const WINDOWS: &[&str] = &["image/windows-has-os-version"];

pub(super) static IMAGES: &[ImageFixture] = &[
    ImageFixture::new(
        "no-os",
        "does not say for which system it is",
        DECLARED,
        || undeclared("os"),
    ),
    ImageFixture::new(
        "no-architecture",
        "does not say for which architecture it is",
        DECLARED,
        || undeclared("architecture"),
    ),
    ImageFixture::new(
        "program-for-another",
        "says amd64 and holds a program for arm64",
        AGREES,
        || single(&ImageBuilder::pause(&arm64(), "amd64")),
    ),
    ImageFixture::new(
        "says-windows",
        "says Windows and holds a program for Linux",
        AGREES,
        || says("os", "windows"),
    ),
    ImageFixture::new(
        "says-darwin",
        "says Darwin and holds a program for Linux",
        AGREES,
        || says("os", "darwin"),
    ),
    ImageFixture::new(
        "all-say-amd64",
        "is an index whose configurations all say amd64",
        AGREES,
        || second(&ImageBuilder::pause(&arm64(), "amd64")),
    ),
    ImageFixture::new(
        "all-are-amd64",
        "is an index whose programs all are for amd64",
        AGREES,
        || second(&ImageBuilder::pause(&amd64(), "arm64")),
    ),
    ImageFixture::new("no-arm64", "is an index without arm64", COMPLETE, || {
        indexed(&[(&pause(), platform("linux", "amd64"))])
    }),
    ImageFixture::new(
        "platform-twice",
        "is an index that names a platform twice",
        COMPLETE,
        || {
            let again = json!({ "os": "linux", "architecture": "arm64", "variant": "v8" });
            with(&pause_arm64(), again)
        },
    ),
    ImageFixture::new(
        "windows-of-no-version",
        "has an entry for Windows without os.version",
        WINDOWS,
        || windows(platform("windows", "amd64")),
    ),
    ImageFixture::new(
        "windows-of-empty-version",
        "has an entry for Windows with an empty os.version",
        WINDOWS,
        || windows(json!({ "os": "windows", "architecture": "amd64", "os.version": "" })),
    ),
    ImageFixture::new(
        "required-is-missing",
        "lacks the platform that is required",
        &["image/required-platforms"],
        pair,
    )
    .asked(|| require("linux/s390x")),
    ImageFixture::new(
        "too-old",
        "is older than Kubernetes 1.34 wants it",
        &["image/version-matches-cluster"],
        || single(&upstreams()),
    )
    .asked(|| kubernetes("1.34")),
];

fn undeclared(field: &str) -> LayoutBuilder {
    says(field, "")
}

/// The sound image but for this of its platform.
fn says(field: &str, what: &str) -> LayoutBuilder {
    let mut image = pause();
    image.config[field] = json!(what);
    single(&image)
}

/// The sound image for amd64, and this one for arm64.
fn second(image: &ImageBuilder) -> LayoutBuilder {
    indexed(&[
        (&pause(), platform("linux", "amd64")),
        (image, platform("linux", "arm64")),
    ])
}

/// The sound index with one entry more.
fn with(image: &ImageBuilder, platform_: Value) -> LayoutBuilder {
    indexed(&[
        (&pause(), platform("linux", "amd64")),
        (&pause_arm64(), platform("linux", "arm64")),
        (image, platform_),
    ])
}

fn windows(platform: Value) -> LayoutBuilder {
    let mut image = pause();
    image.config["os"] = json!("windows");
    with(&image, platform)
}
