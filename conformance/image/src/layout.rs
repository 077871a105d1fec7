//! OCI image layouts (image-layout.md), as a folder or in a tar file.

use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::blob::Blob;
use super::document::{Descriptor, Document};
use super::error::Error;
use super::image::{ResolvedRef, Store, read_bounded};
use super::limits::Limits;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const NAME_ONE: &str = "name one: oci:DIR:TAG or oci-archive:FILE:TAG";
const BY_PLACE: &str = "name one by its place in index.json: oci:DIR:@N or oci-archive:FILE:@N, counted from 0; or give each a tag of its own";
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
    pub(crate) fn top(&self, tag: Option<&str>, limits: &Limits) -> Result<ResolvedRef, Error> {
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
        let all = found.len();
        if let Some(place) = tag.and_then(|tag| tag.strip_prefix('@')) {
            let at = place.parse().ok().filter(|at: &usize| *at < all);
            let Some(at) = at else {
                let cause = format!("no image at place {place}; it has {all}, counted from 0");
                return Err(Error::new("index.json", cause).with_hint(NAME_ONE));
            };
            found = vec![found.swap_remove(at)];
        } else {
            named(&mut found, tag)?;
        }
        found_one(found, bytes, tag)
    }
}

/// Leaves the images that a tag names, or all where the layout has but one name.
fn named(found: &mut Vec<Descriptor>, tag: Option<&str>) -> Result<(), Error> {
    let mut known: Vec<String> = found
        .iter()
        .filter_map(|it| names(it).into_iter().next())
        .collect();
    known.sort();
    known.dedup();
    let Some(tag) = tag else {
        if known.len() > 1 {
            let cause = format!("several images: {}", known.join(", "));
            return Err(Error::new("index.json", cause).with_hint(NAME_ONE));
        }
        return Ok(());
    };
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
    Ok(())
}

/// What a descriptor is called.
fn names(descriptor: &Descriptor) -> Vec<String> {
    let names = [
        descriptor.annotation(REF_NAME),
        descriptor.annotation(IMAGE_NAME),
    ];
    names.into_iter().flatten().map(str::to_owned).collect()
}

/// One image, or the platforms of one; several are for the user to choose from.
fn found_one(
    mut found: Vec<Descriptor>,
    index: Vec<u8>,
    tag: Option<&str>,
) -> Result<ResolvedRef, Error> {
    let mut digests: Vec<&str> = Vec::new();
    let mut platforms = Vec::new();
    for image in found.iter().filter(|it| !it.is_attestation()) {
        if !digests.contains(&&*image.digest) {
            digests.push(&image.digest);
            platforms.push((image.platform(), image.os_version()));
        }
    }
    let apart = |at: usize| platforms[at].0.is_some() && !platforms[..at].contains(&platforms[at]);
    if digests.len() > 1 && !(0..platforms.len()).all(apart) {
        let named = tag.map_or_else(
            || "without a name".to_owned(),
            |tag| format!("tagged {tag}"),
        );
        let cause = format!("{} images {named}: {}", digests.len(), digests.join(", "));
        return Err(Error::new("index.json", cause).with_hint(BY_PLACE));
    }
    let (images, first) = (
        digests.len(),
        found.iter().position(|it| !it.is_attestation()),
    );
    match (images, first) {
        (0, _) | (_, None) => Err(
            Error::new("index.json", "no image in the layout").with_hint(
                "write it again with its images; docker-archive:FILE reads what docker save writes",
            ),
        ),
        (1, Some(only)) => {
            let descriptor = found.swap_remove(only);
            let tag = descriptor.annotation(REF_NAME).map(str::to_owned);
            Ok(ResolvedRef::One { descriptor, tag })
        }
        _ => {
            let tag = found[0].annotation(REF_NAME).map(str::to_owned);
            Ok(ResolvedRef::Many {
                index,
                descriptors: found,
                tag,
            })
        }
    }
}

/// Whether an archive's layout names no image, as where docker saves one that has no tag:
/// then only its manifest.json tells.
pub(crate) fn names_nothing(archive: &Archive, limits: &Limits) -> bool {
    let index = archive
        .member("index.json")
        .and_then(|blob| read_bounded("index.json", &blob, limits))
        .and_then(|bytes| Document::parse("index.json", &bytes));
    matches!(index, Ok(Document::Index(images)) if images.is_empty())
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
