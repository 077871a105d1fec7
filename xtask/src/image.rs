//! `cargo xtask image`: writes the reference image, for all platforms in one index.
//!
//! The build is reproducible: the image holds no times and no names of folders, and every map is in
//! the order of its keys.

pub mod suite;
pub mod wasi;

use crate::platform::{self, Platform};
use crate::{build, link, packages, toolchain};
use anyhow::{Context as _, Result, ensure};
use pause_image::build::{ImageBuilder, LayoutBuilder, Packing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The image's tag in layouts and archives.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// Arguments of `image`.
#[derive(Debug, clap::Args)]
pub struct Image {
    /// Only for these: amd64, arm64, arm/v7, ppc64le, s390x, riscv64,
    /// loong64, 386, or a Rust triple
    #[arg(long = "target", value_name = "TARGET", value_parser = platform::parse, value_delimiter = ',')]
    targets: Vec<Platform>,
    /// Write to DIR: the OCI layout `oci`, `pause.oci.tar`, and
    /// `pause-linux-ARCH.docker.tar` for each platform
    #[arg(long, value_name = "DIR", default_value = "target/image")]
    out: PathBuf,
    /// Push the index to a registry, as HOST/NAME:TAG
    #[arg(long, value_name = "REF")]
    push: Option<String>,
    /// Have rustup add targets that no toolchain here builds for
    #[arg(long)]
    add_targets: bool,
    /// Write the WASI pause instead, in each form of image that container engines read
    #[arg(long, conflicts_with_all = ["targets", "push", "suite"])]
    wasi: bool,
    /// Write the suite's own image instead, for amd64 and arm64: the OCI layout `oci-suite`,
    /// `suite.oci.tar`, and `suite-linux-ARCH.docker.tar` for each platform
    #[arg(long)]
    suite: bool,
}

impl Image {
    /// Builds and writes the image, and prints its sizes.
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
        if self.suite {
            let (written, missing) = suite::build(self.targets, self.add_targets, &self.out)?;
            self::written(&written);
            if let Some(reference) = self.push {
                push(&written.layout, &reference)?;
            }
            ensure!(missing.is_empty(), "not built: {}", missing.join("\n"));
            return Ok(());
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

/// Prints the size for each platform, and where the image is.
fn written(written: &Written) {
    for size in &written.sizes {
        println!("{:>9} B  linux/{}", size.image, size.platform.name);
    }
    println!("oci:{}:{TAG}", written.layout.display());
}

/// The image that was written.
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
    /// All that a node fetches: manifest, configuration and compressed layer.
    pub image: usize,
}

/// Builds the pause for `targets` and writes its image to `out`, in every form.
pub fn write(targets: &[Platform], out: &Path) -> Result<Written> {
    write_built(
        &build::programs(targets, &[link::PAUSE], &out.join("programs"))?,
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

/// Writes the image of these programs to `out`, in every form.
pub fn write_programs(programs: &[(Platform, Vec<u8>)], out: &Path) -> Result<Written> {
    let images = programs.iter().map(|(platform, program)| {
        let image = single_platform(*platform, program);
        (*platform, program.len(), image)
    });
    write_images(images.collect(), &PAUSE, out)
}

/// What an image is called.
struct Names {
    /// The name for people, and in docker archives.
    title: &'static str,
    /// The folder of the layout.
    layout: &'static str,
    /// How the names of the archives begin.
    archive: &'static str,
}

const PAUSE: Names = Names {
    title: "pause",
    layout: "oci",
    archive: "pause",
};

/// Writes images of several platforms, each with the size of its program, as one.
fn write_images(
    images: Vec<(Platform, usize, ImageBuilder)>,
    names: &Names,
    out: &Path,
) -> Result<Written> {
    std::fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    let mut layout = LayoutBuilder::default();
    let mut descriptors = Vec::new();
    let mut sizes = Vec::new();
    for (platform, program, image) in images {
        let mut descriptor = layout.image(&image);
        sizes.push(Size {
            platform,
            program,
            image: fetched(&layout, &descriptor)?,
        });
        descriptor["platform"] = named(platform);
        descriptors.push(descriptor);

        let name = format!("{}-{}.docker.tar", names.archive, platform.folder());
        let archive = unpacked(image).docker_archive(&format!("{}:{TAG}", names.title));
        write_file(&out.join(name), &archive)?;
    }
    // The layout has one entry, since some tools take no tag: the index of all platforms, or the
    // only image.
    let top = if let [only] = &mut descriptors[..] {
        if let Some(fields) = only.as_object_mut() {
            fields.remove("platform");
        }
        only.clone()
    } else {
        layout.annotated_index(&descriptors, &annotations(names.title))
    };
    layout.tag(top, TAG);
    let folder = out.join(names.layout);
    write_layout(&layout, &folder)?;
    let archive = out.join(format!("{}.oci.tar", names.archive));
    write_file(&archive, &layout.archive(""))?;
    Ok(Written {
        layout: folder,
        sizes,
    })
}

/// Builds the pause for `platform` below `out`; what `docker save` would write of its image under
/// this name.
pub fn docker_archive(platform: Platform, name: &str, out: &Path) -> Result<Vec<u8>> {
    let programs = build::programs(&[platform], &[link::PAUSE], out)?;
    let program = programs.first().context("the build made no program")?;
    let bytes = std::fs::read(&program.path);
    let bytes = bytes.with_context(|| format!("read {}", program.path.display()))?;
    Ok(unpacked(single_platform(platform, &bytes)).docker_archive(name))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

/// Makes `folder` hold this layout and no other blobs.
fn write_layout(layout: &LayoutBuilder, folder: &Path) -> Result<()> {
    layout
        .write(folder)
        .with_context(|| format!("write {}", folder.display()))?;
    let blobs = folder.join("blobs/sha256");
    for entry in std::fs::read_dir(&blobs).with_context(|| format!("list {}", blobs.display()))? {
        let entry = entry.with_context(|| format!("list {}", blobs.display()))?;
        let digest = format!("sha256:{}", entry.file_name().to_string_lossy());
        if !layout.blobs.contains_key(&digest) {
            let path = entry.path();
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Bytes that a node fetches: manifest, configuration and layers.
fn fetched(layout: &LayoutBuilder, manifest: &Value) -> Result<usize> {
    let digest = manifest["digest"].as_str().unwrap_or_default();
    let bytes = layout.blobs.get(digest).context("a manifest of our own")?;
    let read: Value = serde_json::from_slice(bytes).context("read a manifest of our own")?;
    let layers = read["layers"].as_array().into_iter().flatten();
    let sizes = layers.chain([&read["config"]]);
    let sum: u64 = sizes.filter_map(|blob| blob["size"].as_u64()).sum();
    Ok(bytes.len() + usize::try_from(sum)?)
}

/// The image of one platform: `/pause`, and nothing else.
fn single_platform(platform: Platform, program: &[u8]) -> ImageBuilder {
    let mut image =
        ImageBuilder::pause(program, platform.architecture).set("WorkingDir", json!("/"));
    finish(&mut image, platform, PAUSE.title);
    image
}

/// Sets what every image of ours has.
fn finish(image: &mut ImageBuilder, platform: Platform, title: &str) {
    if let Some(variant) = platform.variant {
        image.config["variant"] = json!(variant);
    }
    image.layers[0].1 = Packing::SmallGzip;
    image.annotations = annotations(title);
}

/// The same with uncompressed layers, as `docker save` writes them.
fn unpacked(mut image: ImageBuilder) -> ImageBuilder {
    for (_, packing) in &mut image.layers {
        *packing = Packing::Plain;
    }
    image
}

/// The `platform` of an index entry.
fn named(platform: Platform) -> Value {
    let mut named = json!({ "architecture": platform.architecture, "os": "linux" });
    if let Some(variant) = platform.variant {
        named["variant"] = json!(variant);
    }
    named
}

/// The annotations of manifests and index (image-spec, annotations.md).
fn annotations(title: &str) -> BTreeMap<String, String> {
    [
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("title", title),
        ("version", TAG),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
    .into()
}

/// Copies the image at `layout`, with all platforms, to a registry.
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
