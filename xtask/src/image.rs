//! `cargo xtask image`: the reference image, for all platforms in one index.
//!
//! The same programs give the same bytes, whenever and wherever: no times, no
//! names of folders, every map in the order of its keys.

mod archive;
mod layout;
pub mod wasi;

use crate::platform::{self, Platform};
use crate::{build, link, packages, toolchain};
use anyhow::{Context as _, Result, ensure};
use oci_spec::image::{
    ConfigBuilder, Descriptor, DescriptorBuilder, ImageConfigurationBuilder, ImageIndexBuilder,
    ImageManifestBuilder, MediaType, PlatformBuilder, RootFsBuilder, Sha256Digest,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the image is tagged with in layouts and archives.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// The user that upstream's image has had since 3.5.
const USER: &str = "65535:65535";

/// Arguments of `image`.
#[derive(Debug, clap::Args)]
pub struct Image {
    /// Only for these: amd64, arm64, arm/v7, ppc64le, s390x, riscv64,
    /// loong64, 386, or a Rust triple
    #[arg(long = "target", value_name = "TARGET", value_parser = platform::parse, value_delimiter = ',')]
    targets: Vec<Platform>,
    /// Write into DIR: the OCI layout `oci`, `pause.oci.tar`, and
    /// `pause-linux-ARCH.docker.tar` for each platform
    #[arg(long, value_name = "DIR", default_value = "target/image")]
    out: PathBuf,
    /// Push the index to a registry, as HOST/NAME:TAG
    #[arg(long, value_name = "REF")]
    push: Option<String>,
    /// Have rustup add targets that no toolchain here builds for
    #[arg(long)]
    add_targets: bool,
    /// Write the WASI pause instead, in each form of image that engines know
    #[arg(long, conflicts_with_all = ["targets", "push"])]
    wasi: bool,
}

impl Image {
    /// Builds, writes, and says what came of it.
    pub fn run(self) -> Result<()> {
        if self.wasi {
            if self.add_targets {
                toolchain::add_targets(&[link::WASI_TRIPLE])?;
            }
            let written = wasi::write(&self.out)?;
            for size in &written.sizes {
                let layout = written.layout.display();
                println!("{:>6} B  oci:{layout}:{}", size.image, size.tag);
            }
            return Ok(());
        }
        if self.push.is_some() {
            packages::ensure(&["skopeo"])?;
        }
        let targets = build::or_all(self.targets);
        if self.add_targets {
            build::add_targets(&targets)?;
        }
        let programs = build::programs(&targets, &[link::PAUSE], &self.out.join("programs"))?;
        let written = write_built(&programs, &self.out)?;
        for (size, program) in written.sizes.iter().zip(&programs) {
            let (name, route) = (size.platform.name, &program.route);
            println!("{:>6} B  linux/{name}  by {route}", size.image);
        }
        println!("oci:{}:{TAG}", written.layout.display());
        match self.push {
            Some(reference) => push(&written.layout, &reference),
            None => Ok(()),
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The folder of the OCI layout, whose one image is tagged [`TAG`].
    pub layout: PathBuf,
    /// One for each platform.
    pub sizes: Vec<Size>,
}

/// How large the image of one platform is, in bytes.
#[derive(Debug)]
pub struct Size {
    /// The platform.
    pub platform: Platform,
    /// The program alone.
    pub program: usize,
    /// Manifest, configuration and compressed layer: what a node fetches.
    pub image: usize,
}

/// Builds the pause for `targets` and writes its image into `out`, in every
/// form.
pub fn write(targets: &[Platform], out: &Path) -> Result<Written> {
    write_built(
        &build::programs(targets, &["pause"], &out.join("programs"))?,
        out,
    )
}

fn write_built(programs: &[build::Program], out: &Path) -> Result<Written> {
    let read = |program: &build::Program| -> Result<_> {
        let bytes = std::fs::read(&program.path);
        let bytes = bytes.with_context(|| format!("read {}", program.path.display()))?;
        Ok((program.platform, bytes))
    };
    write_programs(&programs.iter().map(read).collect::<Result<Vec<_>>>()?, out)
}

/// Writes the image of these programs into `out`, in every form.
pub fn write_programs(programs: &[(Platform, Vec<u8>)], out: &Path) -> Result<Written> {
    let images = programs
        .iter()
        .map(|(platform, bytes)| SinglePlatform::of(*platform, bytes))
        .collect::<Result<Vec<_>>>()?;
    let index = index(&images)?;

    let layout = out.join("oci");
    let mut blobs: Vec<&Blob> = images
        .iter()
        .flat_map(|image| [&image.manifest, &image.config, &image.compressed])
        .collect();
    // A tool that wants one image finds one: the index over the platforms, or the only one.
    let top = if let [only] = &images[..] {
        (&only.manifest, MediaType::ImageManifest, TAG)
    } else {
        blobs.push(&index);
        (&index, MediaType::ImageIndex, TAG)
    };
    let files = layout::files(&blobs, &[top])?;
    layout::write(&layout, &files)?;
    let archive = archive::tar(&files)?;
    write_file(&out.join("pause.oci.tar"), &archive)?;
    for image in &images {
        let name = format!("pause-{}.docker.tar", image.platform.folder());
        write_file(&out.join(name), &archive::docker(image)?)?;
    }
    let sizes = images
        .iter()
        .zip(programs)
        .map(|(image, (_, program))| Size {
            platform: image.platform,
            program: program.len(),
            image: image.size(),
        });
    let sizes = sizes.collect();
    Ok(Written { layout, sizes })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Some bytes, known by their digest.
struct Blob {
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = sha256(&bytes);
        Self { bytes, digest }
    }

    /// JSON with sorted keys.
    fn json(value: impl serde::Serialize) -> Result<Self> {
        let value: Value = serde_json::to_value(value).context("write JSON")?;
        Ok(Self::new(serde_json::to_vec(&value).context("write JSON")?))
    }

    fn descriptor(&self, media_type: MediaType) -> Result<Descriptor> {
        Ok(self.describe(media_type)?.build()?)
    }

    fn describe(&self, media_type: MediaType) -> Result<DescriptorBuilder> {
        let digest: Sha256Digest = self.digest.parse().context("read a digest of our own")?;
        Ok(DescriptorBuilder::default()
            .media_type(media_type)
            .digest(digest)
            .size(u64::try_from(self.bytes.len())?))
    }
}

/// In hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The image of one platform.
struct SinglePlatform {
    platform: Platform,
    manifest: Blob,
    config: Blob,
    /// The layer as a plain tar.
    layer: Vec<u8>,
    /// The layer as the manifest names it.
    compressed: Blob,
}

impl SinglePlatform {
    fn of(platform: Platform, program: &[u8]) -> Result<Self> {
        let layer = archive::layer(program)?;
        let compressed = Blob::new(archive::gzip(&layer)?);
        let config = config(platform, &layer)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config.descriptor(MediaType::ImageConfig)?)
            .layers(vec![compressed.descriptor(MediaType::ImageLayerGzip)?])
            .annotations(annotations())
            .build()?;
        Ok(Self {
            platform,
            manifest: Blob::json(manifest)?,
            config,
            layer,
            compressed,
        })
    }

    /// What a node fetches, in bytes.
    fn size(&self) -> usize {
        [&self.manifest, &self.config, &self.compressed]
            .iter()
            .map(|blob| blob.bytes.len())
            .sum()
    }
}

/// The configuration of the image (image-spec, config.md).
fn config(platform: Platform, layer: &[u8]) -> Result<Blob> {
    let process = ConfigBuilder::default()
        .entrypoint(vec!["/pause".to_owned()])
        .user(USER)
        .working_dir("/")
        .build()?;
    let diff_id = format!("sha256:{}", sha256(layer));
    let rootfs = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(vec![diff_id])
        .build()?;
    let mut config = ImageConfigurationBuilder::default()
        .architecture(platform.architecture)
        .os("linux")
        .config(process)
        .rootfs(rootfs);
    if let Some(variant) = platform.variant {
        config = config.variant(variant);
    }
    Blob::json(config.build()?)
}

/// What manifests and index say of themselves (image-spec, annotations.md).
fn annotations() -> HashMap<String, String> {
    [
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("title", "pause"),
        ("version", TAG),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into()
}

/// The index over all platforms, in the order of the table.
fn index(images: &[SinglePlatform]) -> Result<Blob> {
    let mut manifests = Vec::new();
    for image in images {
        let mut platform = PlatformBuilder::default()
            .architecture(image.platform.architecture)
            .os("linux");
        if let Some(variant) = image.platform.variant {
            platform = platform.variant(variant);
        }
        let descriptor = image.manifest.describe(MediaType::ImageManifest)?;
        manifests.push(descriptor.platform(platform.build()?).build()?);
    }
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests)
        .annotations(annotations())
        .build()?;
    Blob::json(index)
}

/// Copies the image at `layout`, all platforms, to a registry.
pub fn push(layout: &Path, reference: &str) -> Result<()> {
    let host = reference.split(['/', ':']).next().unwrap_or_default();
    // As docker does: a registry on this machine may speak plain HTTP.
    let loopback = host == "localhost" || host.starts_with("127.");
    let status = Command::new("skopeo")
        .args(["copy", "--all", "--preserve-digests"])
        .args(loopback.then_some("--dest-tls-verify=false"))
        .arg(format!("oci:{}:{TAG}", layout.display()))
        .arg(format!("docker://{reference}"))
        .status()
        .context("run skopeo")?;
    ensure!(
        status.success(),
        "push to {reference} failed: skopeo: {status}"
    );
    Ok(())
}
