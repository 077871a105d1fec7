//! The OCI image layout (image-spec, image-layout.md).

use super::Blob;
use anyhow::{Context as _, Result};
use oci_spec::image::{ImageIndexBuilder, MediaType, OciLayoutBuilder};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Every file of the layout, in the order of their paths.
///
/// The entry `index.json` names the `images`, by blob, media type and tag.
pub(super) fn files(
    blobs: &[&Blob],
    images: &[(&Blob, MediaType, &str)],
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut manifests = Vec::new();
    for (blob, media_type, tag) in images {
        let name = "org.opencontainers.image.ref.name".to_owned();
        let tag = HashMap::from([(name, (*tag).to_owned())]);
        let descriptor = blob.describe(media_type.clone())?;
        manifests.push(descriptor.annotations(tag).build()?);
    }
    let root = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .build()?;
    let layout = OciLayoutBuilder::default()
        .image_layout_version("1.0.0")
        .build()?;

    let mut files = BTreeMap::new();
    files.insert("index.json".to_owned(), Blob::json(root)?.bytes);
    files.insert("oci-layout".to_owned(), Blob::json(layout)?.bytes);
    for blob in blobs {
        files.insert(format!("blobs/sha256/{}", blob.digest), blob.bytes.clone());
    }
    Ok(files.into_iter().collect())
}

/// Makes `folder` hold these files and no other blobs.
pub(super) fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).with_context(|| format!("create {}", blobs.display()))?;
    for (path, bytes) in files {
        super::write_file(&folder.join(path), bytes)?;
    }
    for entry in std::fs::read_dir(&blobs).with_context(|| format!("list {}", blobs.display()))? {
        let path = entry
            .with_context(|| format!("list {}", blobs.display()))?
            .path();
        if !files.iter().any(|(name, _)| folder.join(name) == path) {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
