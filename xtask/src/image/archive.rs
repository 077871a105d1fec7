//! Tar files, without anything that would differ from run to run.

use super::{SinglePlatform, TAG};
use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use serde_json::json;
use std::io::Write as _;

/// The layer: `/pause`, and nothing else.
pub(super) fn layer(program: &[u8]) -> Result<Vec<u8>> {
    layer_with("pause", program)
}

/// A layer with one program in its root.
pub(super) fn layer_with(name: &str, program: &[u8]) -> Result<Vec<u8>> {
    tar_of(&[(name.into(), program, 0o755)])
}

/// An archive of these paths and contents.
pub(super) fn tar(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.clone(), bytes.as_slice(), 0o644))
        .collect();
    tar_of(&files)
}

/// What `docker load` takes. The names are those of `docker save`.
pub(super) fn docker(image: &SinglePlatform) -> Result<Vec<u8>> {
    let config = format!("{}.json", image.config.digest);
    let layer = format!("{}/layer.tar", super::sha256(&image.layer));
    let manifest = json!([{
        "Config": config,
        "Layers": [layer],
        "RepoTags": [format!("pause:{TAG}")],
    }]);
    let manifest = serde_json::to_vec(&manifest).context("write JSON")?;
    tar(&[
        ("manifest.json".into(), manifest),
        (config, image.config.bytes.clone()),
        (layer, image.layer.clone()),
    ])
}

/// Owned by root, from 1970.
fn tar_of(files: &[(String, &[u8], u32)]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder
            .append_data(&mut header, path, *bytes)
            .with_context(|| format!("add {path}"))?;
    }
    builder.into_inner().context("end a tar file")
}

/// Compressed, with neither time nor name nor operating system in its head.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes).context("compress the layer")?;
    encoder.finish().context("compress the layer")
}
