//! Images whose faults are known: what each is, the table of all, and how one is read.
//!
//! Every image is built in memory and read through an anonymous file by the same
//! reader as any other: nothing of it is ever in a folder.

use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;

use rustix::fs::MemfdFlags;

use super::wasi::ASSEMBLES;
use crate::context::CheckOptions;
use crate::subject::build::LayoutBuilder;
use crate::subject::{self, LoadOptions, Platforms, Reference, Subject};

mod cluster;
mod config;
mod content;
mod entrypoint;
mod files;
mod layers;
mod parts;
mod platforms;
mod program;
mod root;
mod sound;
mod stored;
mod wasi;

/// One image under the suite.
#[derive(Clone, Copy, Debug)]
pub struct ImageFixture {
    /// Unique, in words with hyphens.
    pub name: &'static str,
    /// What it is, and for a broken one what is wrong, in a sentence without its subject.
    pub about: &'static str,
    /// The checks that must fail on it; none for a sound one.
    pub breaks: &'static [&'static str],
    /// What the user would ask for.
    pub options: fn() -> CheckOptions,
    /// The checks that may fail on it too.
    pub also: &'static [&'static str],
    /// Whether its program is run as well, on whatever host.
    pub runs: bool,
    /// The entry that is judged, of an index: the same on every host.
    pub platform: &'static str,
    /// Makes it.
    pub build: fn() -> LayoutBuilder,
}

impl ImageFixture {
    const fn new(
        name: &'static str,
        about: &'static str,
        breaks: &'static [&'static str],
        build: fn() -> LayoutBuilder,
    ) -> Self {
        Self {
            name,
            about,
            breaks,
            options: CheckOptions::default,
            also: &[],
            runs: false,
            platform: "linux/amd64",
            build,
        }
    }

    /// Judged with these options.
    const fn asked(mut self, options: fn() -> CheckOptions) -> Self {
        self.options = options;
        self
    }

    /// Judged by its running too, and may fail these.
    const fn run(mut self, also: &'static [&'static str]) -> Self {
        self.also = also;
        self.runs = true;
        self
    }

    /// Judged by another entry of its index.
    const fn judged_as(mut self, platform: &'static str) -> Self {
        self.platform = platform;
        self
    }

    /// The image as the suite's own reader reads it.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn subject(&self) -> Result<Subject, Unread> {
        let layout = (self.build)();
        let unread = |cause: String| Unread {
            name: self.name,
            cause,
        };
        let file = anonymous(&layout.archive("")).map_err(|error| unread(error.to_string()))?;
        let path = format!("oci-archive:/proc/self/fd/{}", file.as_raw_fd());
        let reference: Reference = path
            .parse()
            .map_err(|error: subject::Error| unread(error.to_string()))?;
        // An image alone is taken as it is.
        let indexed = layout
            .manifests
            .first()
            .and_then(|descriptor| descriptor["mediaType"].as_str())
            .is_some_and(|it| it.contains("index"));
        let platforms = match self.platform.parse() {
            Ok(platform) if indexed => Platforms::List(vec![platform]),
            _ => Platforms::Host,
        };
        let options = LoadOptions {
            platforms,
            ..LoadOptions::default()
        };
        let subjects =
            subject::load(&reference, &options).map_err(|error| unread(error.to_string()))?;
        let mut subject = subjects
            .into_iter()
            .next()
            .ok_or_else(|| unread("there is nothing in it".to_owned()))?;
        self.name.clone_into(&mut subject.reference);
        Ok(subject)
    }
}

/// An image of the suite's own making that its reader refuses.
#[derive(Debug, thiserror::Error)]
#[error("the image {name} cannot be read: {cause}")]
pub struct Unread {
    name: &'static str,
    cause: String,
}

/// Every image that this build can make, the sound ones first.
pub(super) fn all() -> impl Iterator<Item = &'static ImageFixture> {
    let assembled = if ASSEMBLES { wasi::IMAGES } else { &[] };
    NATIVE.iter().copied().flatten().chain(assembled)
}

/// Every image, to be named.
pub(super) fn described() -> impl Iterator<Item = &'static ImageFixture> {
    NATIVE.iter().copied().flatten().chain(wasi::IMAGES)
}

/// Images of native programs.
static NATIVE: &[&[ImageFixture]] = &[
    sound::IMAGES,
    content::IMAGES,
    entrypoint::IMAGES,
    platforms::IMAGES,
    config::IMAGES,
    files::IMAGES,
    layers::IMAGES,
    stored::IMAGES,
    program::IMAGES,
    root::IMAGES,
    cluster::IMAGES,
];

fn anonymous(bytes: &[u8]) -> io::Result<std::fs::File> {
    let mut file = std::fs::File::from(rustix::fs::memfd_create(c"image", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}
