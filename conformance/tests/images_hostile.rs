//! Hostile and damaged archives: each causes one clear line or a defect, within ten seconds and
//! 256 MiB, and nothing is written outside.

mod common;

use std::process::Command;

use common::{Elf, load_archive, load_layout, load_text, subject};
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use conformance::subject::{DefectKind, EntryKind, NoProgram, Platforms};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;
use tar::{EntryType, Header};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn sound() -> ImageBuilder {
    ImageBuilder::pause(&Elf::default().bytes(), "amd64")
}

/// An image with these bytes as layers.
fn stored(layer: Vec<u8>, media_type: &str) -> LayoutBuilder {
    let mut layout = LayoutBuilder::default();
    let layer = layout.blob(media_type, layer);
    let config = layout.blob(
        "application/vnd.oci.image.config.v1+json",
        json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } })
            .to_string()
            .into_bytes(),
    );
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = layout.blob(
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().into_bytes(),
    );
    layout.manifests.push(manifest);
    layout
}

fn gzip(layer: &[u8]) -> LayoutBuilder {
    stored(
        Packing::Gzip.pack(layer),
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )
}

/// The environment variable that tells the child process which image to read.
const CHILD: &str = "PAUSE_TEST_HOSTILE_IMAGE";

/// Expects one line with all the words, within time and memory. A child process reads the image, so
/// that this process's memory is not counted.
fn refused(name: &str, layout: &LayoutBuilder, words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    layout.write(folder.path()).expect("writing");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "the_image_in_the_environment_is_read",
            "--nocapture",
        ])
        .env(CHILD, format!("oci:{}", folder.path().display()))
        .output()
        .expect("a second process");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {text}");
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(str::trim)
    };
    let line = value("REFUSED ").unwrap_or_else(|| panic!("{name}: was read: {text}"));
    let peak: u64 = value("PEAK ")
        .and_then(|peak| peak.parse().ok())
        .expect("a peak");
    // Processor time, which does not depend on the tests that run at the same time.
    let spent: u64 = value("MILLISECONDS ")
        .and_then(|spent| spent.parse().ok())
        .expect("a time");
    eprintln!("{name}: {spent} ms, {} MiB: {line}", peak >> 20);
    assert!(!line.contains('\u{1b}'), "{name}: {line}");
    for word in words {
        assert!(line.contains(word), "{name}: {word:?} not in {line:?}");
    }
    assert!(spent < 10_000, "{name}: {spent} ms");
    assert!(peak < 256 << 20, "{name}: {peak} bytes at the peak");
}

#[test]
fn the_image_in_the_environment_is_read() {
    let Ok(reference) = std::env::var(CHILD) else {
        return;
    };
    match load_text(&reference, Platforms::Host) {
        Ok(_) => println!("\nREAD"),
        Err(error) => println!("\nREFUSED {error}"),
    }
    println!("PEAK {}", peak());
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    let (user, system) = (usage.user_time(), usage.system_time());
    println!(
        "MILLISECONDS {}",
        user.num_milliseconds() + system.num_milliseconds()
    );
}

/// Peak resident bytes of this process, from `VmHWM`.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("VmHWM");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// gzip of a start, followed by the same gzip member many times.
fn repeated(start: &[u8], again: &[u8], count: usize) -> Vec<u8> {
    let again = Packing::Gzip.pack(again);
    [Packing::Gzip.pack(start), again.repeat(count)].concat()
}

fn header(kind: EntryType, size: u64) -> [u8; 512] {
    let mut header = Header::new_gnu();
    header.set_path("bomb").expect("short");
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

#[test]
fn bombs_are_cut_off() {
    let gigabyte = 1 << 30;
    let zeros = vec![0; 1 << 20];
    let bomb = repeated(&header(EntryType::Regular, gigabyte), &zeros, 1024);
    refused(
        "gzip bomb",
        &stored(bomb, "application/vnd.oci.image.layer.v1.tar+gzip"),
        &["more than 536870912 bytes"],
    );

    // A zstd frame of blocks that repeat one byte 128 KiB each.
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for _ in 0..9000_u32 {
        // Block header: not last, RLE, 131072 bytes.
        let block = (131_072_u32 << 3) | (1 << 1);
        zstd.extend(&block.to_le_bytes()[..3]);
        zstd.push(0);
    }
    zstd.extend([1, 0, 0]);
    let head = Packing::Zstd.pack(&header(EntryType::Regular, gigabyte));
    let bomb = [head, zstd].concat();
    refused(
        "zstd bomb",
        &stored(bomb, "application/vnd.oci.image.layer.v1.tar+zstd"),
        &["more than 536870912 bytes"],
    );

    // A window of 2 GiB.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 1, 0, 0];
    refused(
        "zstd window",
        &stored(window, "application/vnd.oci.image.layer.v1.tar+zstd"),
        &["zstd", "window"],
    );

    // A name of a gigabyte.
    let name = repeated(&header(EntryType::GNULongName, gigabyte), &zeros, 1024);
    refused(
        "long name",
        &stored(name, "application/vnd.oci.image.layer.v1.tar+gzip"),
        &["extended header of 1073741824 bytes"],
    );
    let pax = repeated(&header(EntryType::XHeader, gigabyte), &zeros, 1024);
    refused(
        "PAX header",
        &stored(pax, "application/vnd.oci.image.layer.v1.tar+gzip"),
        &["extended header"],
    );
}

#[test]
fn a_sparse_bomb_is_not_filled() {
    // The program is a hole of a terabyte.
    let mut header = Header::new_gnu();
    header.set_path("pause").expect("short");
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o755);
    header.set_size(0);
    let gnu = header.as_gnu_mut().expect("a GNU header");
    gnu.set_real_size(1 << 40);
    header.set_cksum();
    let mut layer = Tar::default();
    layer.raw(header.as_bytes(), b"");
    let subject = subject(&LayoutBuilder::single(
        &ImageBuilder::of_layer(&layer, "amd64"),
        "x",
    ));
    assert_eq!(subject.program.err(), Some(NoProgram::TooLarge(1 << 40)));
}

fn many(name: &dyn Fn(u32) -> String, count: u32) -> Vec<u8> {
    let mut layer = Tar::default();
    for number in 0..count {
        layer.file(name(number), 0o644, b"");
    }
    layer.finish()
}

#[test]
fn crowds_are_cut_off() {
    let entries = many(&|number| format!("f{number}"), 200_000);
    refused(
        "200,000 entries",
        &gzip(&entries),
        &["more than 100000 entries"],
    );
    let mut whiteouts = Tar::default();
    whiteouts.file(".wh.x", 0o644, b"");
    let one = whiteouts.finish()[..512].to_vec();
    refused(
        "a million whiteouts",
        &stored(repeated(&one, &one.repeat(1000), 1000), GZIP),
        &["more than 100000 entries"],
    );

    // Many opaque whiteouts of a full directory.
    let below = many(&|number| format!("d/f{number}"), 50_000);
    let opaque = many(&|_| "d/.wh..wh..opq".to_owned(), 40_000);
    let layout = LayoutBuilder::single(
        &ImageBuilder {
            layers: vec![
                (below.clone(), Packing::Gzip),
                (
                    [&below[..below.len() - 1024], &opaque].concat(),
                    Packing::Gzip,
                ),
            ],
            ..sound()
        },
        "x",
    );
    refused("opaque whiteouts", &layout, &["more than"]);

    let layers = vec![(Tar::default().finish(), Packing::Plain); 300];
    let image = ImageBuilder { layers, ..sound() };
    refused(
        "300 layers",
        &LayoutBuilder::single(&image, "x"),
        &["300 layers, more than 256"],
    );
}

#[test]
fn names_that_grow_are_cut_off() {
    // Deep paths through links.
    let deep = "a/".repeat(2000);
    let mut links = Tar::default();
    links.directory(&deep, 0o755);
    for number in 0..40_000 {
        links.file(format!("{deep}{number}"), 0o644, b"");
    }
    refused("deep paths", &gzip(&links.finish()), &["more than"]);

    let mut attributes = Tar::default();
    attributes
        .xattr("user.x", &vec![b'x'; 900_000])
        .file("x", 0o644, b"");
    for number in 0..1000 {
        attributes.hard_link(format!("x{number}"), "x");
    }
    refused(
        "attributes by hard links",
        &gzip(&attributes.finish()),
        &["more than 33554432 bytes of names"],
    );
}

#[test]
fn indexes_end() {
    // An index that contains itself, which is possible only with a wrong digest.
    let mut layout = LayoutBuilder::default();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let itself = json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": 1 });
    layout.blobs.insert(
        digest,
        json!({ "schemaVersion": 2, "manifests": [itself.clone()] })
            .to_string()
            .into_bytes(),
    );
    layout.manifests.push(itself);
    refused(
        "an index that contains itself",
        &layout,
        &["more than 4 indexes within each other"],
    );

    let mut layout = LayoutBuilder::default();
    let mut descriptor = layout.image(&sound());
    for _ in 0..50 {
        descriptor = layout.index(&[descriptor]);
    }
    layout.manifests.push(descriptor);
    refused("50 indexes deep", &layout, &["more than 4 indexes"]);

    let mut layout = LayoutBuilder::default();
    let mut descriptor = layout.image(&sound());
    for _ in 0..3 {
        descriptor = layout.index(&vec![descriptor; 100]);
    }
    layout.manifests.push(descriptor);
    refused("a million entries", &layout, &["more than 256 entries"]);

    let mut layout = LayoutBuilder::default();
    let image = layout.image(&sound());
    let index = layout.index(&[image]);
    layout.manifests.push(index);
    assert!(
        load_layout(&layout).is_ok(),
        "an index without platforms takes the configuration's"
    );
}

#[test]
fn a_document_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut layout = LayoutBuilder::single(&sound(), "x");
    let digest = format!("sha256:{}", "cd".repeat(32));
    layout.manifests[0]["digest"] = json!(digest);
    layout.write(folder.path()).expect("writing");
    let path = folder.path().join("blobs").join(digest.replace(':', "/"));
    std::fs::File::create(&path)
        .and_then(|file| file.set_len(1 << 30))
        .expect("a sparse file");
    let error = load_text(&format!("oci:{}", folder.path().display()), Platforms::Host)
        .expect_err("too large");
    assert!(
        error
            .to_string()
            .contains("1073741824 bytes, more than 4194304"),
        "{error}"
    );
}

#[test]
fn a_document_is_unambiguous() {
    for digest in [
        "sha256:../../../etc/passwd",
        "md5:00",
        "sha256:",
        "/etc/passwd",
    ] {
        let mut layout = LayoutBuilder::single(&sound(), "x");
        layout.manifests[0]["digest"] = json!(digest);
        refused("a digest that is none", &layout, &["digest"]);
    }
    let deep = "[".repeat(100_000);
    for (name, document) in [
        ("no JSON", "\u{1b}[31m"),
        ("neither", "{}"),
        (
            "both",
            r#"{"manifests":[],"config":{"digest":"x"},"layers":[]}"#,
        ),
        ("schema 1", r#"{"schemaVersion":1,"fsLayers":[]}"#),
        ("deep", &deep),
        ("a wrong type", r#"{"manifests":7}"#),
    ] {
        let mut layout = LayoutBuilder::default();
        let descriptor = layout.blob(
            "application/vnd.oci.image.manifest.v1+json",
            document.as_bytes().to_vec(),
        );
        layout.manifests.push(descriptor);
        refused(name, &layout, &["sha256:"]);
    }
    let mut layout = LayoutBuilder::single(&sound(), "x");
    layout
        .blobs
        .retain(|_, bytes| !bytes.starts_with(b"{\"annotations"));
    refused("no manifest", &layout, &["no such file"]);
    let mut layout = LayoutBuilder::single(&sound(), "x");
    layout
        .blobs
        .retain(|_, bytes| !bytes.starts_with(&[0x1f, 0x8b]));
    refused("no layer", &layout, &["no such file"]);
}

#[test]
fn damaged_content_is_an_error() {
    let layer = sound().layers[0].0.clone();
    let packed = Packing::Gzip.pack(&layer);
    let gzip_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    refused(
        "truncated gzip",
        &stored(packed[..packed.len() / 2].to_vec(), gzip_type),
        &["layer sha256:"],
    );
    let mut flipped = packed.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 0xff;
    refused(
        "gzip with a wrong checksum",
        &stored(flipped, gzip_type),
        &["layer sha256:"],
    );
    refused("truncated tar", &gzip(&layer[..700]), &["truncated"]);
    refused(
        "no tar",
        &gzip(&b"not a tar archive".repeat(100)),
        &["not a well-formed tar archive"],
    );
    let zstd = Packing::Zstd.pack(&layer);
    refused(
        "truncated zstd",
        &stored(
            zstd[..zstd.len() - 8].to_vec(),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        &["truncated"],
    );
    refused(
        "a layer that is no filesystem",
        &stored(layer, "application/vnd.cncf.helm.chart.provenance.v1.prov"),
        &["no filesystem layer"],
    );

    let archive = LayoutBuilder::single(&sound(), "x").archive("");
    for cut in [0, 100, 511, archive.len() / 2] {
        assert!(
            load_archive("oci-archive", &archive[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    let docker = sound().docker_archive("pause:x");
    for cut in [0, 512, docker.len() / 2] {
        assert!(
            load_archive("docker-archive", &docker[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn nothing_escapes_and_the_rest_applies() {
    let canary = tempfile::tempdir().expect("a folder");
    let outside = canary.path().join("canary");
    let up = format!("{}{}", "../".repeat(20), outside.display());
    let mut layer = Tar::default();
    layer.file(&up, 0o755, b"x");
    layer.file(outside.display().to_string(), 0o755, b"x");
    layer
        .symlink("link", canary.path().display().to_string())
        .file("link/canary", 0o755, b"x");
    layer
        .symlink("climb", "../../../../tmp")
        .file("climb/canary", 0o755, b"x");
    layer
        .hard_link("passwd", "/etc/passwd")
        .hard_link("passwd2", "../../etc/passwd");
    layer.file("pause", 0o755, &Elf::default().bytes());
    let subject = subject(&LayoutBuilder::single(
        &ImageBuilder::of_layer(&layer, "amd64"),
        "x",
    ));
    assert!(!outside.exists());
    let escapes = subject
        .defects
        .iter()
        .filter(|defect| defect.kind == DefectKind::Layer);
    // The path upwards, the one through the link that leads upwards, and both hard links to missing
    // files.
    assert_eq!(escapes.count(), 4, "{:?}", subject.defects);
    assert!(subject.program.is_ok());
}

#[test]
fn every_prefix_of_a_name_is_shown_escaped() {
    let mut layer = Tar::default();
    layer
        .file(b"\x1b]0;owned\x07\xff", 0o755, b"")
        .file("pause", 0o755, &Elf::default().bytes());
    let image = ImageBuilder::of_layer(&layer, "amd64").set("Entrypoint", json!(["\u{1b}[31m"]));
    let subject = subject(&LayoutBuilder::single(&image, "x"));
    let text = format!(
        "{:?} {}",
        subject.defects,
        subject
            .program
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default()
    );
    assert!(!text.contains('\u{1b}') && text.contains("\\x1b"), "{text}");
}

#[test]
fn sparse_programs_are_filled_in() {
    // PAX 1.0: the map is at the start of the content.
    let mut elf = Elf::default().bytes();
    elf.resize(4096, 0);
    let data = &elf[..1024];
    let mut content = b"2\n0\n1024\n4096\n0\n".to_vec();
    content.resize(512, 0);
    content.extend(data);
    let mut layer = Tar::default();
    let record = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    layer.pax(&[
        record("GNU.sparse.major", "1"),
        record("GNU.sparse.minor", "0"),
        record("GNU.sparse.name", "pause"),
        record("GNU.sparse.realsize", "4096"),
    ]);
    layer.file("GNUSparseFile.0/pause", 0o755, &content);
    let subject = subject(&LayoutBuilder::single(
        &ImageBuilder::of_layer(&layer, "amd64"),
        "x",
    ));
    let program = subject.program.expect("a program");
    assert_eq!(program.content.as_ref(), elf);
    assert!(matches!(
        subject.rootfs.entries[&b"pause"[..]].kind,
        EntryKind::File { size: 4096, .. }
    ));
}
