//! Finds out whether an image holds a WASI component, which only a larger build of the suite can
//! run. It looks at content, so that every form of image will do. It is silent about an unreadable
//! image, which the suite will report. It does not ask a registry or a container engine's daemon:
//! for these the user says `--platform wasip2/wasm`.

use flate2::read::GzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The first bytes of a component: `\0asm`, version 13, layer 1.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// How many bytes of a file are read at most, compressed and decompressed: a pause is small.
const MOST: u64 = 16 << 20;
/// How deep the search goes: an archive in a layer in an archive, a manifest in an index in an
/// index.
const DEEPEST: usize = 4;

/// Whether the file or OCI layout of a reference holds a component.
pub(super) fn is_in(image: &str) -> bool {
    const TRANSPORTS: [&str; 4] = ["wasm:", "oci:", "oci-archive:", "docker-archive:"];
    let name = TRANSPORTS
        .iter()
        .find_map(|transport| image.strip_prefix(transport))
        .unwrap_or(image);
    let Some((path, tag)) = path(name) else {
        return false;
    };
    let found = if path.is_dir() {
        in_layout(path, tag)
    } else {
        in_file(path)
    };
    found.unwrap_or(false)
}

/// The longest prefix that is an existing path, and the tag or name after it.
fn path(name: &str) -> Option<(&Path, Option<&str>)> {
    let cuts = name.match_indices([':', '@']).map(|(at, _)| at);
    let cuts: Vec<usize> = cuts.chain([name.len()]).collect();
    cuts.iter().rev().find_map(|at| {
        let (path, tag) = name.split_at_checked(*at)?;
        let path = Path::new(path);
        path.exists().then_some((path, tag.get(1..)))
    })
}

/// Looks in the images with this tag, or in all (image-spec, image-layout.md).
fn in_layout(layout: &Path, tag: Option<&str>) -> io::Result<bool> {
    let index: Value = serde_json::from_reader(open(&layout.join("index.json"))?.take(MOST))?;
    let tagged = |image: &&Value| {
        let name = image["annotations"]["org.opencontainers.image.ref.name"].as_str();
        tag.is_none() || tag == name
    };
    let images = index["manifests"].as_array().into_iter().flatten();
    Ok(images.filter(tagged).any(|image| in_blob(layout, image, 0)))
}

/// Looks in a layer, or in all that an index or a manifest names.
fn in_blob(layout: &Path, descriptor: &Value, depth: usize) -> bool {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    let Some((algorithm, digest)) = digest.split_once(':') else {
        return false;
    };
    if !digest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let blob = layout.join("blobs").join(algorithm).join(digest);
    let media_type = descriptor["mediaType"].as_str().unwrap_or_default();
    if !media_type.ends_with("json") {
        return in_file(&blob).unwrap_or(false);
    }
    let Ok(file) = open(&blob) else {
        return false;
    };
    let document: Value = serde_json::from_reader(file.take(MOST)).unwrap_or_default();
    let parts = [&document["manifests"], &document["layers"]];
    let mut parts = parts.into_iter().filter_map(Value::as_array).flatten();
    depth < DEEPEST && parts.any(|part| in_blob(layout, part, depth + 1))
}

/// Opens a regular file, and nothing else: a FIFO would wait for its writer.
fn open(path: &Path) -> io::Result<File> {
    if path.metadata()?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

fn in_file(path: &Path) -> io::Result<bool> {
    in_bytes(&mut open(path)?.take(MOST), 0)
}

/// Looks at the bytes, and into them where they are an archive or compressed.
fn in_bytes(bytes: &mut dyn Read, depth: usize) -> io::Result<bool> {
    let mut head = Vec::new();
    (&mut *bytes).take(512).read_to_end(&mut head)?;
    if head.starts_with(&COMPONENT) {
        return Ok(true);
    }
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let is_zstd = head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let is_tar = head.get(257..262) == Some(b"ustar");
    let mut bytes = head.as_slice().chain(bytes);
    if depth < DEEPEST && is_gzip {
        return in_bytes(&mut GzDecoder::new(bytes).take(MOST), depth + 1);
    }
    if depth < DEEPEST && is_zstd {
        let decoder = StreamingDecoder::new(bytes).map_err(io::Error::other)?;
        return in_bytes(&mut decoder.take(MOST), depth + 1);
    }
    if depth < DEEPEST && is_tar {
        for entry in tar::Archive::new(&mut bytes).entries()? {
            if in_bytes(&mut entry?, depth + 1)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{COMPONENT, is_in};
    use flate2::{Compression, write::GzEncoder};
    use rstest::rstest;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use serde_json::json;
    use std::io::Write as _;
    use std::path::Path;
    use tempfile::TempDir;

    const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

    fn tar(name: &str, content: &[u8]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, content)
            .and_then(|()| archive.into_inner())
            .expect("a tar file in memory")
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder
            .write_all(content)
            .and_then(|()| encoder.finish())
            .expect("a gzip file in memory")
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    /// A layout with an image of one layer for each tag.
    fn layout(folder: &Path, images: &[(&str, Vec<u8>)]) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("a folder");
        let mut manifests = Vec::new();
        for (tag, layer) in images {
            std::fs::write(blobs.join(tag), layer).expect("a layer");
            let manifest =
                json!({ "layers": [{ "mediaType": "x", "digest": format!("sha256:{tag}") }] });
            let name = format!("{tag}0");
            std::fs::write(blobs.join(&name), manifest.to_string()).expect("a manifest");
            manifests.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{name}"),
                "annotations": { "org.opencontainers.image.ref.name": tag },
            }));
        }
        let index = json!({ "manifests": manifests }).to_string();
        std::fs::write(folder.join("index.json"), index).expect("an index");
    }

    #[rstest]
    #[case("", true)]
    #[case(":a1", false)]
    #[case(":b2", true)]
    #[case(":c3", true)]
    #[case(":d4", false)]
    #[case(":e5", true)]
    #[case(":f6", false)]
    #[case(":none", false)]
    fn only_the_image_that_is_named_counts(#[case] tag: &str, #[case] expected: bool) {
        let folder = TempDir::new().expect("a temporary folder");
        let images = [
            ("a1", MODULE.to_vec()),
            ("b2", COMPONENT.to_vec()),
            ("c3", gzip(&tar("pause.wasm", &COMPONENT))),
            ("d4", gzip(&tar("pause.wasm", &MODULE))),
            ("e5", zstd(&tar("pause.wasm", &COMPONENT))),
            ("f6", zstd(&tar("pause.wasm", &MODULE))),
        ];
        layout(folder.path(), &images);
        let image = format!("oci:{}{tag}", folder.path().display());
        assert_eq!(is_in(&image), expected);
    }

    #[test]
    fn a_file_alone_or_an_archive_is_looked_into() {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("a.b:c");
        let name = file.display();
        for (content, expected) in [
            (COMPONENT.to_vec(), true),
            (MODULE.to_vec(), false),
            (tar("blobs/sha256/00", &COMPONENT), true),
            (tar("0/layer.tar", &tar("pause.wasm", &COMPONENT)), true),
            (tar("0/layer.tar", &tar("pause", b"\x7fELF")), false),
            (b"\x1f\x8bnot gzip at all".to_vec(), false),
            (b"\x28\xb5\x2f\xfdnor zstd".to_vec(), false),
        ] {
            std::fs::write(&file, content).expect("a file");
            assert_eq!(is_in(&format!("wasm:{name}")), expected);
            assert_eq!(is_in(&format!("docker-archive:{name}:pause:1")), expected);
            assert_eq!(is_in(&name.to_string()), expected);
        }
        assert!(!is_in("registry.example/pause:3.10"));
    }
}
