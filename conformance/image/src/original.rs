//! An image as it is stored, for a container engine to load: the configuration's own bytes, by
//! whose digest engines know it, and its layers.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::Arc;

use serde_json::{Value, json};
use tar::{Builder, Header};

use super::blob::Blob;
use super::build::ImageBuilder;
use super::decompress::{Compression, decompress};
use super::digest::Digest;
use super::layer::{LayerBlob, Measured};
use super::temporary::Temporary;
use super::{Kind, Subject};

/// An image as it is stored. Its files stay open.
#[derive(Clone, Debug)]
pub struct Original {
    config: Arc<[u8]>,
    layers: Vec<Stored>,
    /// The largest window of a zstd frame, in bytes.
    window: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    blob: Blob,
    /// Bytes uncompressed.
    len: u64,
    /// Digest of these.
    diff_id: String,
}

impl Original {
    /// Of layers that were read.
    pub(crate) fn new(
        config: &Arc<[u8]>,
        layers: &[LayerBlob],
        measured: &[Measured],
        window: u64,
    ) -> Self {
        let each = layers.iter().zip(measured);
        let layers = each.map(|(layer, measured)| Stored {
            blob: layer.blob.clone(),
            len: measured.uncompressed,
            diff_id: measured.diff_id.hex().to_owned(),
        });
        Self {
            config: Arc::clone(config),
            layers: layers.collect(),
            window,
        }
    }

    fn id(&self) -> Digest {
        Digest::sha256(&self.config)
    }

    fn save(&self, name: &str) -> io::Result<File> {
        let mut archive = Builder::new(Temporary::new()?);
        let config = format!("{}.json", self.id().hex());
        archive.append_data(
            &mut header(self.config.len() as u64),
            &config,
            &*self.config,
        )?;
        let mut names: Vec<String> = Vec::new();
        for layer in &self.layers {
            let member = format!("{}/layer.tar", layer.diff_id);
            // An image may have the same layer twice.
            if !names.contains(&member) {
                let compression = Compression::of(&layer.blob.head::<4>()?);
                let content = decompress(layer.blob.clone(), compression, self.window);
                let mut content = content.take(layer.len);
                archive.append_data(&mut header(layer.len), &member, &mut content)?;
                if content.limit() != 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            names.push(member);
        }
        let manifest: Value = json!([{ "Config": config, "RepoTags": [name], "Layers": names }]);
        let manifest = serde_json::to_vec(&manifest)?;
        let mut head = header(manifest.len() as u64);
        archive.append_data(&mut head, "manifest.json", &manifest[..])?;
        rewound(archive.into_inner()?.into_file())
    }
}

impl Subject {
    /// What `docker save` writes of this image, named `name`, and the image's id there, `sha256:…`:
    /// its own configuration, byte by byte, and its layers, uncompressed. A program alone becomes
    /// an image with one layer.
    ///
    /// # Errors
    /// Where it was loaded without [`keep_original`](super::LoadOptions::keep_original), or there
    /// is no room for the file.
    pub fn docker_archive(&self, name: &str) -> io::Result<(String, File)> {
        if let Some(original) = &self.original {
            return Ok((original.id().to_string(), original.save(name)?));
        }
        let program = self.program.as_ref().ok();
        let program = program.filter(|_| self.kind == Kind::Binary);
        let program = program.ok_or_else(|| io::Error::other("its layers were not kept"))?;
        let image = ImageBuilder::pause(&program.content, &self.platform.normal().architecture);
        let image = image.set("User", Value::Null);
        let mut file = Temporary::new()?;
        io::Write::write_all(&mut file, &image.docker_archive(name))?;
        let id = Digest::sha256(&image.config_bytes()).to_string();
        Ok((id, rewound(file.into_file())?))
    }
}

/// Of a member that names neither this host nor a time.
fn header(len: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(len);
    header
}

fn rewound(mut file: File) -> io::Result<File> {
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
    use super::super::{LoadOptions, Platform, Subject, load};

    fn read_back(subject: &Subject) -> (String, Subject) {
        let (id, mut file) = subject.docker_archive("localhost/x:1").expect("it is kept");
        let mut saved = tempfile::NamedTempFile::new().expect("a file");
        std::io::copy(&mut file, &mut saved).expect("copied");
        saved.flush().expect("flushed");
        let name = format!("docker-archive:{}:localhost/x:1", saved.path().display());
        let mut read = load(&name.parse().expect("a reference"), &LoadOptions::default())
            .expect("it is an archive");
        (id, read.remove(0))
    }

    #[test]
    fn an_image_is_written_as_it_is_stored() {
        let host = Platform::host();
        let mut upper = Tar::default();
        upper.file("etc/motd", 0o600, b"hello");
        let image = ImageBuilder::pause(b"\x7fELF", &host.architecture)
            .layer(&upper, Packing::Zstd)
            .layer(&upper, Packing::Plain)
            .set("Labels", serde_json::json!({ "a": "b" }));
        let folder = tempfile::tempdir().expect("a folder");
        let layout = LayoutBuilder::single(&image, "1");
        layout.write(folder.path()).expect("written");
        let reference = format!("oci:{}", folder.path().display());
        let options = LoadOptions {
            keep_original: true,
            ..LoadOptions::default()
        };
        let reference = reference.parse().expect("a reference");
        let subjects = load(&reference, &options).expect("it is an image");
        let (id, read) = read_back(&subjects[0]);
        assert!(read.defects.is_empty(), "{:?}", read.defects);
        assert!(read.rootfs.entries.contains_key(&b"etc/motd"[..]));
        let image = read.image.expect("an image");
        assert_eq!((&image.digest, image.layers.len()), (&id, 3));
        assert_eq!(image.config.labels["a"], "b");

        let subjects = load(&reference, &LoadOptions::default()).expect("it is an image");
        let error = subjects[0].docker_archive("x").expect_err("not kept");
        assert!(error.to_string().contains("not kept"), "{error}");
    }

    #[test]
    fn a_program_alone_becomes_an_image() {
        let subject = Subject::of_program("x", b"\x7fELF"[..].into(), Platform::host());
        let (id, read) = read_back(&subject);
        let program = read.program.expect("a program");
        assert_eq!(program.argv, ["/pause"]);
        assert_eq!((program.uid, &*program.content), (None, &b"\x7fELF"[..]));
        assert_eq!(read.image.expect("an image").digest, id);
    }
}
