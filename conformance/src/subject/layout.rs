//! OCI image layouts (image-layout.md), as a folder or in a tar file.

use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::blob::Blob;
use super::document::{Descriptor, Document};
use super::error::Error;
use super::image::{Store, Top, read_bounded};
use super::limits::Limits;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const NAME_ONE: &str = "name one: oci:DIR:TAG or oci-archive:FILE:TAG";
/// What docker and containerd add: the full name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// A layout.
#[derive(Debug)]
pub(crate) enum Layout {
    Folder(PathBuf),
    Archive(Archive),
}

impl Layout {
    pub(crate) fn folder(path: &Path) -> Result<Self, Error> {
        let mark = path.join("oci-layout");
        if path.is_dir() && mark.exists() && !mark.is_file() {
            Err(
                Error::new(mark.display(), "not a regular file, so no OCI image layout")
                    .with_hint("write the layout again, for example by skopeo copy"),
            )
        } else if path.is_dir() {
            Ok(Self::Folder(path.to_owned()))
        } else if path.exists() {
            Err(Error::new(path.display(), "not a folder")
                .with_hint("for a layout in a tar file use oci-archive:FILE"))
        } else {
            Err(Error::new(path.display(), "no such folder")
                .with_hint("check the path after oci:; a tag follows it after another colon"))
        }
    }

    pub(crate) fn archive(path: &Path, limits: &Limits) -> Result<Self, Error> {
        Archive::open(path, limits).map(Self::Archive)
    }

    fn open(&self, name: &str) -> Result<Blob, Error> {
        match self {
            Self::Folder(path) => Blob::open(&path.join(name)),
            Self::Archive(archive) => archive.member(name),
        }
    }

    /// What index.json leads to: the image with a tag, the only one, or all as one index.
    pub(crate) fn top(&self, tag: Option<&str>, limits: &Limits) -> Result<Top, Error> {
        let blob = self.open("index.json").map_err(|error| {
            error.with_hint("an OCI image layout has oci-layout, index.json and blobs/")
        })?;
        let bytes = read_bounded("index.json", &blob, limits)?;
        let Document::Index(mut found) = Document::parse("index.json", &bytes)? else {
            return Err(Error::new(
                "index.json",
                "a manifest where the specification has an index",
            ));
        };
        let names = |it: &Descriptor| -> Vec<String> {
            let names = [it.annotation(REF_NAME), it.annotation(IMAGE_NAME)];
            names.into_iter().flatten().map(str::to_owned).collect()
        };
        let mut known: Vec<String> = found
            .iter()
            .filter_map(|it| names(it).into_iter().next())
            .collect();
        known.sort();
        known.dedup();
        if let Some(tag) = tag {
            found.retain(|it| {
                names(it)
                    .iter()
                    .any(|name| name == tag || name.ends_with(&format!(":{tag}")))
            });
            if found.is_empty() {
                let cause = if known.is_empty() {
                    format!("no image is tagged {tag}, nor anything else")
                } else {
                    format!("no image is tagged {tag}; it has {}", known.join(", "))
                };
                return Err(Error::new("index.json", cause).with_hint(NAME_ONE));
            }
        } else if known.len() > 1 {
            return Err(Error::new(
                "index.json",
                format_args!("several images: {}", known.join(", ")),
            )
            .with_hint(NAME_ONE));
        }
        let images = found.iter().filter(|it| !it.is_attestation()).count();
        match (images, found.iter().position(|it| !it.is_attestation())) {
            (0, _) | (_, None) => Err(Error::new("index.json", "no image in the layout")),
            (1, Some(only)) => {
                let descriptor = found.swap_remove(only);
                let tag = descriptor.annotation(REF_NAME).map(str::to_owned);
                Ok(Top::One { descriptor, tag })
            }
            _ => {
                let tag = found[0].annotation(REF_NAME).map(str::to_owned);
                Ok(Top::Many {
                    index: bytes,
                    descriptors: found,
                    tag,
                })
            }
        }
    }
}

impl Store for Layout {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        self.blob(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let digest = descriptor.parsed_digest()?;
        self.open(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
            .map_err(|error| {
                error.with_hint(
                    "the layout is not whole: copy the image again, with all its platforms",
                )
            })
    }

    fn is_remote(&self) -> bool {
        false
    }
}
