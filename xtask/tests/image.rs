//! The reference image, read by the programs of other projects.

use rstest::{fixture, rstest};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;
use xtask::{build, image, packages, platform};

/// The image of one platform: manifest, configuration, compressed layer.
const BUDGET: usize = 2048;

struct Written {
    folder: TempDir,
    image: image::Written,
}

#[fixture]
fn written() -> Written {
    let folder = TempDir::new().expect("a temporary folder");
    let image = image::write(&build::buildable(), folder.path()).expect("it can be built here");
    Written { folder, image }
}

impl Written {
    fn reference(&self) -> String {
        format!("oci:{}:{}", self.image.layout.display(), image::TAG)
    }
}

/// As a benchmark writes the image of a program that it made itself.
#[test]
fn the_folder_that_it_is_written_to_is_made() {
    let folder = TempDir::new().expect("a temporary folder");
    let host = platform::host().expect("it is known");
    let programs = [(host, b"\x7fELF".to_vec())];
    let image = image::write_programs(&programs, &folder.path().join("a/b"));
    assert!(
        image
            .expect("it is written")
            .layout
            .join("index.json")
            .exists()
    );
}

#[rstest]
fn it_is_small(written: Written) {
    for size in &written.image.sizes {
        assert!(
            size.image <= BUDGET,
            "{} B on {}",
            size.image,
            size.platform.name
        );
    }
}

#[rstest]
fn its_index_has_the_platforms_and_nothing_else(written: Written) {
    if build::buildable().len() < 2 {
        eprintln!("skipped: an image of one platform has no index");
        return;
    }
    let layout = oci_spec::image::ImageIndex::from_file(written.image.layout.join("index.json"))
        .expect("an index");
    let [index] = &layout.manifests()[..] else {
        panic!("one tag: {layout:?}");
    };
    let blob = written.image.layout.join("blobs/sha256");
    let index = oci_spec::image::ImageIndex::from_file(blob.join(index.digest().digest()))
        .expect("an index of platforms");
    let platforms = index.manifests().iter().map(|manifest| {
        // BuildKit's attestations have a platform of their own, unknown/unknown.
        let platform = manifest.platform().as_ref().expect("a platform");
        let variant = platform.variant().iter().map(|it| format!("/{it}"));
        variant.fold(platform.architecture().to_string(), |name, it| name + &it)
    });
    let expected: Vec<String> = build::buildable()
        .iter()
        .map(|platform| {
            let variant = platform.variant.iter().map(|it| format!("/{it}"));
            variant.fold(platform.architecture.to_owned(), |name, it| name + &it)
        })
        .collect();
    assert_eq!(platforms.collect::<Vec<_>>(), expected);
}

#[rstest]
fn it_is_the_same_from_folder_to_folder(
    #[from(written)] one: Written,
    #[from(written)] other: Written,
) {
    let (one, other) = (files(one.folder.path()), files(other.folder.path()));
    assert!(one.contains_key(Path::new("pause.oci.tar")));
    assert_eq!(one, other);
}

#[rstest]
fn skopeo_reads_every_platform_in_every_form(written: Written) {
    packages::ensure(&["skopeo"]).expect("skopeo");
    for platform in build::buildable() {
        let archive = written
            .folder
            .path()
            .join(format!("pause-{}.docker.tar", platform.folder()));
        for reference in [
            written.reference(),
            format!(
                "oci-archive:{}",
                written.folder.path().join("pause.oci.tar").display()
            ),
            format!("docker-archive:{}", archive.display()),
        ] {
            let mut skopeo = Command::new("skopeo");
            skopeo.args([
                "--override-os=linux",
                "--override-arch",
                platform.architecture,
            ]);
            if let Some(variant) = platform.variant {
                skopeo.args(["--override-variant", variant]);
            }
            let output = succeeds(skopeo.args(["inspect", "--config", &reference]));
            let config: serde_json::Value =
                serde_json::from_slice(&output.stdout).expect("a configuration");
            assert_eq!(config["architecture"], platform.architecture, "{reference}");
            assert_eq!(config["variant"].as_str(), platform.variant, "{reference}");
            assert_eq!(config["config"]["User"], "65535:65535");
            assert_eq!(
                config["config"]["Entrypoint"],
                serde_json::json!(["/pause"])
            );
        }
    }
}

#[test]
fn umoci_unpacks_one_platform() {
    packages::ensure(&["umoci"]).expect("umoci");
    let folder = TempDir::new().expect("a temporary folder");
    let host = platform::host().expect("a row for this machine");
    let written = image::write(&[host], folder.path()).expect("it can be built here");
    let bundle = folder.path().join("bundle");
    let image = format!("{}:{}", written.layout.display(), image::TAG);
    succeeds(
        Command::new("umoci")
            .args(["unpack", "--rootless", "--image", &image])
            .arg(&bundle),
    );
    let unpacked = std::fs::read(bundle.join("rootfs/pause")).expect("a pause");
    let built = folder
        .path()
        .join("programs")
        .join(host.folder())
        .join("pause");
    assert_eq!(unpacked, std::fs::read(built).expect("the program"));
}

#[rstest]
fn a_registry_takes_all_of_it_and_gives_it_back(written: Written) {
    packages::ensure(&["skopeo", "docker-registry"]).expect("skopeo and a registry");
    let registry = Registry::start(written.folder.path());
    let reference = format!("{}/pause:{}", registry.address, image::TAG);
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let again = TempDir::new().expect("a temporary folder");
    succeeds(
        xtask
            .args([
                "image",
                "--push",
                &reference,
                "--target",
                &targets(),
                "--out",
            ])
            .arg(again.path()),
    );
    let inspect = |reference: &str| {
        let skopeo = ["inspect", "--raw", "--tls-verify=false", reference];
        succeeds(Command::new("skopeo").args(skopeo)).stdout
    };
    assert_eq!(
        inspect(&format!("docker://{reference}")),
        inspect(&written.reference())
    );
}

/// The `--target` options for all that this machine can build.
fn targets() -> String {
    let names: Vec<&str> = build::buildable().iter().map(|it| it.name).collect();
    names.join(",")
}

/// A registry that listens on a free port of the loopback address.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let config = folder.join("registry.yml");
        let root = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            root.display()
        );
        std::fs::write(&config, text).expect("a configuration");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(process.stderr.take().expect("its log"));
        let address = listening_on(&mut log);
        // Drain its log: a full pipe would block it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }
}

/// The address that the log says it listens on.
fn listening_on(log: &mut impl BufRead) -> String {
    let mut told = String::new();
    while log.read_line(&mut told).expect("its log") > 0 {
        let line = told.lines().next_back().unwrap_or_default();
        let words = line.split_once("listening on ").map(|(_, rest)| rest);
        if let Some(address) = words.and_then(|rest| rest.split('"').next()) {
            return address.to_owned();
        }
    }
    panic!("docker-registry ended: {told}");
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Every file below `root`, by its relative path.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_owned();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}
