//! Images that real tools write; and the fold of layers, compared with a real unpacking.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use common::{Elf, has, host, load_archive, load_text, run};
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use conformance::subject::{EntryKind, Platform, Platforms, Rootfs, Subject};
use proptest::prelude::*;
use serde_json::json;

fn sound() -> ImageBuilder {
    ImageBuilder::pause(&Elf::of(62).bytes(), "amd64")
}

fn only(text: &str) -> Subject {
    let mut subjects =
        load_text(text, Platforms::Host).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(subjects.len(), 1, "{text}");
    subjects.remove(0)
}

fn is_pause(subject: &Subject) {
    let program = subject.program.as_ref().expect("a program");
    assert_eq!(program.content.as_ref(), Elf::of(62).bytes());
    assert_eq!((program.uid, program.gid), (Some(65535), Some(65535)));
    assert_eq!(subject.platform.to_string(), "linux/amd64");
    assert!(subject.defects.is_empty(), "{:?}", subject.defects);
}

#[test]
fn every_form_that_skopeo_writes_is_read() {
    if !has("skopeo") {
        eprintln!("skopeo is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    LayoutBuilder::single(&sound(), "3.10")
        .write(Path::new(&at("source")))
        .expect("writing");
    let source = format!("oci:{}:3.10", at("source"));
    for (transport, name, options, tag) in [
        ("oci", "layout", &[][..], ":3.10"),
        ("oci", "zstd", &["--dest-compress-format=zstd"][..], ":3.10"),
        ("oci-archive", "oci.tar", &[][..], ":3.10"),
        (
            "docker-archive",
            "docker.tar",
            &[][..],
            ":example.org/pause:3.10",
        ),
    ] {
        let target = format!("{transport}:{}", at(name));
        let tagged = format!("{target}{tag}");
        let arguments = [
            &["copy", "-q"][..],
            options,
            &[source.as_str(), tagged.as_str()],
        ]
        .concat();
        run("skopeo", &arguments, folder.path());
        for reference in [target.clone(), tagged.clone(), at(name)] {
            let subject = only(&reference);
            is_pause(&subject);
            assert_eq!(
                subject.version().map(|it| it.to_string()).as_deref(),
                Some("3.10"),
                "{reference}"
            );
        }
    }
    run("gzip", &["-k", "docker.tar"], folder.path());
    is_pause(&only(&at("docker.tar.gz")));
}

#[test]
fn layouts_that_umoci_changes_are_read() {
    if !has("umoci") {
        eprintln!("umoci is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let layout = folder.path().join("layout");
    LayoutBuilder::single(&sound(), "3.10")
        .write(&layout)
        .expect("writing");
    let umoci = |arguments: &[&str]| run("umoci", arguments, folder.path());
    umoci(&[
        "config",
        "--image",
        "layout:3.10",
        "--tag",
        "other",
        "--config.user",
        "0:0",
    ]);
    let reference = format!("oci:{}", layout.display());
    let error = load_text(&reference, Platforms::Host).expect_err("two tags");
    assert!(
        error.to_string().contains("several images: 3.10, other"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("oci:DIR:TAG"))
    );
    is_pause(&only(&format!("{reference}:3.10")));
    let other = only(&format!("{reference}:other"));
    assert_eq!(other.program.expect("a program").uid, Some(0));
    let error = load_text(&format!("{reference}:none"), Platforms::Host).expect_err("no such tag");
    assert!(
        error
            .to_string()
            .contains("no image is tagged none; it has 3.10, other"),
        "{error}"
    );
}

#[test]
fn archives_of_other_tools_are_read() {
    // `./` before every name.
    let archive = LayoutBuilder::single(&sound(), "3.10").archive("./");
    is_pause(&load_archive("oci-archive", &archive).expect("an image")[0]);

    // crane names the configuration by its digest and compresses layers.
    let image = sound();
    let layer = Packing::Gzip.pack(&image.layers[0].0);
    let layout = LayoutBuilder::single(&image, "x");
    let (digest, config) = layout
        .blobs
        .iter()
        .find(|(_, bytes)| bytes.starts_with(b"{\"arch"))
        .expect("a configuration");
    let manifest = json!([{ "Config": digest, "RepoTags": ["example.org/pause:3.9"], "Layers": ["ab.tar.gz"] }]);
    let mut crane = Tar::default();
    crane
        .file(digest, 0o644, config)
        .file("ab.tar.gz", 0o644, &layer);
    crane.file("manifest.json", 0o644, manifest.to_string().as_bytes());
    is_pause(&load_archive("docker-archive", &crane.finish()).expect("an image")[0]);

    // An older docker save writes equal layers as links.
    let manifest = json!([{ "Config": "./c.json", "RepoTags": null, "Layers": ["b/layer.tar"] }]);
    let mut docker = Tar::default();
    docker
        .file("./c.json", 0o644, config)
        .file("./a/layer.tar", 0o644, &image.layers[0].0);
    docker.symlink("./b/layer.tar", "../a/layer.tar").file(
        "./manifest.json",
        0o644,
        manifest.to_string().as_bytes(),
    );
    is_pause(&load_archive("docker-archive", &docker.finish()).expect("an image")[0]);
}

/// An index of amd64 and arm64 with an attestation, as BuildKit writes it.
fn with_attestation(arm64: &ImageBuilder) -> LayoutBuilder {
    let mut layout = LayoutBuilder::indexed(
        &[
            (&sound(), json!({ "os": "linux", "architecture": "amd64" })),
            (
                arm64,
                json!({ "os": "linux", "architecture": "arm64", "variant": "v8" }),
            ),
        ],
        "3.10",
    );
    let mut attestation = layout.image(arm64);
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let digest = layout.manifests[0]["digest"].as_str().expect("a digest");
    let inner: serde_json::Value = serde_json::from_slice(&layout.blobs[digest]).expect("JSON");
    let mut index = inner["manifests"].as_array().expect("entries").clone();
    index.push(attestation);
    let descriptor = layout.index(&index);
    layout.manifests = vec![descriptor];
    layout
}

fn listed(names: &[&str]) -> Platforms {
    let platforms = names.iter().map(|name| name.parse().expect("a platform"));
    Platforms::List(platforms.collect())
}

#[test]
fn platforms_are_chosen_and_missing_ones_named() {
    let arm64 = ImageBuilder::pause(&Elf::of(183).bytes(), "arm64");
    let folder = tempfile::tempdir().expect("a folder");
    let layout = with_attestation(&arm64);
    layout.write(folder.path()).expect("writing");
    let reference = format!("oci:{}", folder.path().display());
    let platforms = |platforms: Platforms| -> Vec<String> {
        let subjects = load_text(&reference, platforms).expect("subjects");
        subjects
            .iter()
            .map(|subject| subject.platform.normal().to_string())
            .collect()
    };
    assert_eq!(platforms(Platforms::Host), [format!("linux/{}", host())]);
    assert_eq!(platforms(Platforms::All), ["linux/amd64", "linux/arm64"]);
    let first = load_text(&reference, Platforms::HostFirst).expect("subjects");
    let beside: Vec<_> = first.iter().map(|it| it.companion).collect();
    assert_eq!(beside, [false, true]);
    assert_eq!(first[0].platform.architecture, host());
    assert!(first.iter().all(|it| it.program.is_ok()));
    assert_eq!(
        platforms(listed(&["linux/aarch64", "linux/amd64", "linux/arm64"])),
        ["linux/arm64", "linux/amd64"]
    );
    let error = load_text(&reference, listed(&["linux/s390x"])).expect_err("no such platform");
    assert!(
        error
            .to_string()
            .contains("no manifest for linux/s390x; it has linux/amd64, linux/arm64/v8"),
        "{error}"
    );
    let subject = &load_text(&reference, Platforms::Host).expect("a subject")[0];
    let entries = &subject.index.as_ref().expect("an index").entries;
    assert_eq!(entries.len(), 2);
    let program = entries[1].program_architecture.as_ref();
    assert_eq!(program.expect("an ELF file").architectures, ["arm64"]);
}

#[test]
fn an_image_alone_is_taken_unless_a_platform_is_asked_for() {
    let arm64 = ImageBuilder::pause(&Elf::of(183).bytes(), "arm64");
    let folder = tempfile::tempdir().expect("a folder");
    LayoutBuilder::single(&arm64, "x")
        .write(folder.path())
        .expect("writing");
    let reference = format!("oci:{}", folder.path().display());
    assert_eq!(
        only(&reference).platform,
        "linux/arm64".parse::<Platform>().expect("a platform")
    );
    assert!(load_text(&reference, listed(&["linux/amd64"])).is_err());
}

#[test]
fn a_large_program_is_kept() {
    let mut layer = Tar::default();
    let mut program = Elf::of(62).bytes();
    program.resize(16 << 20, 0);
    layer.file("pause", 0o755, &program);
    let image = ImageBuilder::of_layer(&layer, "amd64");
    let archive = LayoutBuilder::single(&image, "x").archive("");
    let subject = &load_archive("oci-archive", &archive).expect("an image")[0];
    assert_eq!(
        subject.program.as_ref().expect("a program").content.len(),
        16 << 20
    );
}

/// One step of a layer.
#[derive(Clone, Debug)]
enum Step {
    File(usize, u8),
    Directory(usize),
    Symlink(usize, usize),
    HardLink(usize, usize),
    Whiteout(usize),
    Opaque(usize),
}

/// Names of entries. None passes through a link to a directory, since unpackers differ there.
const NAMES: &[&str] = &["a", "a/b", "a/b/c", "a/d", "e", "e/f", "g"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), any::<u8>()).prop_map(|(name, byte)| Step::File(name, byte)),
        3 => name.clone().prop_map(Step::Directory),
        1 => (name.clone(), name.clone()).prop_map(|(name, target)| Step::Symlink(name, target)),
        1 => (name.clone(), name.clone()).prop_map(|(name, target)| Step::HardLink(name, target)),
        1 => name.clone().prop_map(Step::Whiteout),
        1 => name.prop_map(Step::Opaque),
    ]
}

/// A file's content, of one of several lengths.
fn content(byte: u8) -> Vec<u8> {
    vec![byte; usize::from(byte % 7)]
}

/// Only layers that all unpackers read alike: no name occurs twice in a layer, all parents are
/// directories, and links and whiteouts name what exists.
fn layers(steps: &[Vec<Step>]) -> Vec<Tar> {
    let mut tree: BTreeMap<String, char> = BTreeMap::new();
    steps.iter().map(|steps| layer(steps, &mut tree)).collect()
}

fn layer(steps: &[Step], tree: &mut BTreeMap<String, char>) -> Tar {
    let mut writer = Writer {
        lower: tree.clone(),
        tree,
        named: Vec::new(),
        layer: Tar::default(),
    };
    // Whiteouts first, as the specification demands.
    let mut steps = steps.to_vec();
    steps.sort_by_key(|step| !matches!(step, Step::Whiteout(_) | Step::Opaque(_)));
    for step in &steps {
        writer.write(step);
    }
    writer.layer
}

/// A layer that is being written.
struct Writer<'a> {
    /// The entries of the layers below.
    lower: BTreeMap<String, char>,
    /// The entries of all layers, with a letter for the kind.
    tree: &'a mut BTreeMap<String, char>,
    /// The names in this layer.
    named: Vec<String>,
    layer: Tar,
}

impl Writer<'_> {
    fn write(&mut self, step: &Step) {
        let (Step::File(at, _)
        | Step::Directory(at)
        | Step::Symlink(at, _)
        | Step::HardLink(at, _)
        | Step::Whiteout(at)
        | Step::Opaque(at)) = step;
        let name = NAMES[*at];
        if self.named.iter().any(|known| known == name) || !self.has_parent(name) {
            return;
        }
        let is_directory = self.tree.get(name) == Some(&'d');
        match step {
            Step::Whiteout(_) => self.whiteout(name),
            Step::Opaque(_) if is_directory && !self.is_touched(name) => {
                self.layer
                    .directory(name, 0o755)
                    .file(format!("{name}/.wh..wh..opq"), 0o644, b"");
                let below = format!("{name}/");
                self.tree.retain(|path, _| !path.starts_with(&below));
                self.named.push(name.to_owned());
            }
            Step::Directory(_) => {
                if !is_directory {
                    self.remove(name);
                }
                self.layer.directory(name, 0o755);
                self.add(name, 'd');
            }
            Step::File(_, byte) => {
                self.remove(name);
                self.layer.file(name, 0o755, &content(*byte));
                self.add(name, 'f');
            }
            Step::Symlink(_, target) if !is_directory => {
                self.remove(name);
                self.layer.symlink(name, NAMES[*target]);
                self.add(name, 'l');
            }
            Step::Opaque(_) | Step::Symlink(..) => {}
            Step::HardLink(_, target) => self.hard_link(name, NAMES[*target]),
        }
    }

    fn whiteout(&mut self, name: &str) {
        let is_there = self.tree.contains_key(name) && self.lower.contains_key(name);
        if !is_there || self.is_touched(name) {
            return;
        }
        let hidden = match name.rsplit_once('/') {
            Some((parent, base)) => format!("{parent}/.wh.{base}"),
            None => format!(".wh.{name}"),
        };
        self.layer.file(hidden, 0o644, b"");
        self.remove(name);
        // No entry of the same layer has that name.
        self.named.push(name.to_owned());
    }

    /// A hard link within the layer, as writers make them.
    fn hard_link(&mut self, name: &str, target: &str) {
        let below = target.starts_with(&format!("{name}/"));
        let is_file = self.tree.get(target) == Some(&'f');
        let is_named = self.named.iter().any(|known| known == target);
        if target != name && !below && is_named && is_file {
            self.remove(name);
            self.layer.hard_link(name, target);
            self.add(name, 'f');
        }
    }

    fn has_parent(&self, name: &str) -> bool {
        match name.rsplit_once('/') {
            Some((parent, _)) => self.tree.get(parent) == Some(&'d'),
            None => true,
        }
    }

    /// Whether this layer has the name, a parent of it or something below it.
    fn is_touched(&self, name: &str) -> bool {
        let related = |other: &String| {
            other == name
                || other.starts_with(&format!("{name}/"))
                || name.starts_with(&format!("{other}/"))
        };
        self.named.iter().any(related)
    }

    fn remove(&mut self, name: &str) {
        let below = format!("{name}/");
        self.tree
            .retain(|path, _| path != name && !path.starts_with(&below));
    }

    fn add(&mut self, name: &str, kind: char) {
        self.tree.insert(name.to_owned(), kind);
        self.named.push(name.to_owned());
    }
}

/// Kind, mode, and size or target of the entry at each path.
fn folded(rootfs: &Rootfs) -> BTreeMap<String, String> {
    let entries = rootfs.entries.iter().map(|(path, entry)| {
        let what = match &entry.kind {
            EntryKind::File { size, .. } => format!("file {size} {:o}", entry.mode),
            EntryKind::Directory => format!("directory {:o}", entry.mode),
            EntryKind::Symlink(target) => format!("link {}", String::from_utf8_lossy(target)),
            other => format!("{other:?}"),
        };
        (String::from_utf8_lossy(path).into_owned(), what)
    });
    entries.collect()
}

fn unpacked(root: &Path, below: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(root.join(below))
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
    {
        let path = below.join(entry.file_name());
        let metadata = entry.metadata().expect("metadata");
        let mode = metadata.mode() & 0o7777;
        let what = if metadata.is_dir() {
            unpacked(root, &path, found);
            format!("directory {mode:o}")
        } else if metadata.is_symlink() {
            format!(
                "link {}",
                std::fs::read_link(entry.path()).expect("a link").display()
            )
        } else if metadata.file_type().is_fifo() {
            "fifo".to_owned()
        } else {
            format!("file {} {mode:o}", metadata.len())
        };
        found.insert(path.display().to_string(), what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_is_what_umoci_unpacks(steps in prop::collection::vec(prop::collection::vec(step(), 0..12), 1..4)) {
        if !has("umoci") {
            return Ok(());
        }
        let layers = layers(&steps);
        let image = ImageBuilder {
            layers: layers.iter().map(|layer| (layer.finish(), Packing::Gzip)).collect(),
            ..sound()
        };
        let folder = tempfile::tempdir().expect("a folder");
        LayoutBuilder::single(&image, "x").write(&folder.path().join("layout")).expect("writing");
        run("umoci", &["unpack", "--rootless", "--image", "layout:x", "bundle"], folder.path());
        let mut expected = BTreeMap::new();
        unpacked(&folder.path().join("bundle/rootfs"), Path::new(""), &mut expected);
        let subject = only(&format!("oci:{}", folder.path().join("layout").display()));
        prop_assert!(subject.defects.is_empty(), "{:?}", subject.defects);
        prop_assert_eq!(folded(&subject.rootfs), expected);

        // The suite keeps the content of the program alone, so each file is the program once.
        let (layout, at) = (folder.path().join("layout"), folder.path().join("bundle/rootfs"));
        for (path, entry) in &subject.rootfs.entries {
            let EntryKind::File { .. } = entry.kind else { continue };
            let path = str::from_utf8(path).expect("its name is ASCII");
            let image = image.clone().set("Entrypoint", json!([format!("/{path}")]));
            LayoutBuilder::single(&image, "x").write(&layout).expect("writing");
            let subject = only(&format!("oci:{}", layout.display()));
            let program = subject.program.as_ref().expect("a file that may be executed");
            let unpacked = std::fs::read(at.join(path)).expect("it was unpacked");
            prop_assert_eq!(&*program.content, &*unpacked, "{}", path);
        }
    }
}
