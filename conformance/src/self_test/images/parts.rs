//! What the images are made of: the suite's own programs, and layers around them.

use fixtures::elf_mutations::MUTATIONS;
use serde_json::{Value, json};

use crate::context::CheckOptions;
use crate::kubernetes::{Minor, UPSTREAM};
use crate::programs;
use crate::subject::Platform;
use crate::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};

/// The tag of all, as far as it is of no matter.
pub(super) const TAG: &str = "3.10";

/// A sound program for amd64.
pub(super) fn amd64() -> Vec<u8> {
    program("amd64")
}

/// A sound program for arm64.
pub(super) fn arm64() -> Vec<u8> {
    program("arm64")
}

/// The reference pause, as one for that architecture: on another host its header alone
/// says so, which is all that is read of it.
fn program(architecture: &str) -> Vec<u8> {
    let own = programs::REFERENCE.to_vec();
    if Platform::host().architecture == architecture {
        own
    } else {
        mutated("other-machine", &own)
    }
}

/// One of the suite's own programs for this host, by its name.
pub(super) fn fixture(name: &str) -> Vec<u8> {
    fixtures::all()
        .find(|fixture| fixture.name == name)
        .and_then(|fixture| fixture.build(programs::FIXTURE).ok())
        .expect("it is in the catalogue, which the suite's own program holds")
}

/// An image for this host whose only layer this is.
pub(super) fn native(fill: impl FnOnce(&mut Tar)) -> ImageBuilder {
    let mut layer = Tar::default();
    fill(&mut layer);
    ImageBuilder::of_layer(&layer, &Platform::host().architecture)
}

/// A program with one thing wrong in its file.
pub(super) fn mutated(name: &str, program: &[u8]) -> Vec<u8> {
    MUTATIONS
        .iter()
        .find(|mutation| mutation.name == name)
        .and_then(|mutation| mutation.apply(program).ok())
        .expect("the mutation is in the table and fits the suite's own program")
}

/// A sound image for amd64.
pub(super) fn pause() -> ImageBuilder {
    ImageBuilder::pause(&amd64(), "amd64")
}

/// The same, that also holds what upstream's program prints.
pub(super) fn upstreams() -> ImageBuilder {
    let program = [&amd64(), UPSTREAM.as_bytes()].concat();
    ImageBuilder::pause(&program, "amd64")
}

/// A sound image for arm64.
pub(super) fn pause_arm64() -> ImageBuilder {
    ImageBuilder::pause(&arm64(), "arm64")
}

/// A layout with that image alone.
pub(super) fn single(image: &ImageBuilder) -> LayoutBuilder {
    LayoutBuilder::single(image, TAG)
}

/// A sound image but for this in its configuration.
pub(super) fn configured(key: &str, value: Value) -> LayoutBuilder {
    single(&pause().set(key, value))
}

/// A sound image with a layer on top.
pub(super) fn with_layer(fill: impl FnOnce(&mut Tar)) -> LayoutBuilder {
    let mut layer = Tar::default();
    fill(&mut layer);
    single(&pause().layer(&layer, Packing::Gzip))
}

/// An image whose only layer this is.
pub(super) fn of_layer(fill: impl FnOnce(&mut Tar, &[u8])) -> ImageBuilder {
    let mut layer = Tar::default();
    fill(&mut layer, &amd64());
    ImageBuilder::of_layer(&layer, "amd64")
}

/// An image that holds this program for amd64 and nothing else.
pub(super) fn of_program(program: &[u8]) -> LayoutBuilder {
    single(&ImageBuilder::pause(program, "amd64"))
}

/// A platform as an index names it.
pub(super) fn platform(os: &str, architecture: &str) -> Value {
    json!({ "os": os, "architecture": architecture })
}

/// An index of these images for Linux.
pub(super) fn indexed(images: &[(&ImageBuilder, Value)]) -> LayoutBuilder {
    LayoutBuilder::indexed(images, TAG)
}

/// The sound index: amd64 and arm64.
pub(super) fn pair() -> LayoutBuilder {
    indexed(&[
        (&pause(), platform("linux", "amd64")),
        (&pause_arm64(), platform("linux", "arm64")),
    ])
}

/// Judged for a minor version of Kubernetes.
pub(super) fn kubernetes(minor: &str) -> CheckOptions {
    CheckOptions {
        kubernetes: Minor::parse(minor).ok(),
        ..CheckOptions::default()
    }
}

/// Judged with a platform that must be there.
pub(super) fn require(platform: &str) -> CheckOptions {
    CheckOptions {
        required_platforms: platform.parse().into_iter().collect(),
        ..CheckOptions::default()
    }
}

/// Bytes that do not compress.
pub(super) fn noise(len: usize) -> Vec<u8> {
    // xorshift: Marsaglia, Xorshift RNGs, 2003.
    let mut state = 1_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
