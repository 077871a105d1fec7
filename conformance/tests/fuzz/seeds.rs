//! The seeds of the corpora: small inputs, one of each kind.

use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use serde_json::json;

/// The target, name and bytes of each seed.
pub(crate) fn all() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    [
        archives(),
        documents(),
        layers(),
        members(),
        programs(),
        texts(),
    ]
    .concat()
}

type Seed = (&'static str, &'static str, Vec<u8>);

fn image() -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause", 0o755, b"#!/bin/sh\n");
    ImageBuilder::of_layer(&layer, "amd64").set("WorkingDir", json!("/"))
}

fn archives() -> Vec<Seed> {
    let image = image();
    let platform = json!({ "os": "linux", "architecture": "amd64" });
    let archives = [
        ("docker", image.docker_archive("pause:1")),
        ("oci", LayoutBuilder::single(&image, "1").archive("")),
        (
            "index",
            LayoutBuilder::indexed(&[(&image, platform)], "1").archive("./"),
        ),
    ];
    let packed = archives.map(|(name, bytes)| ("archive", name, Packing::Gzip.pack(&bytes)));
    let mut all = packed.to_vec();
    all.push((
        "archive",
        "script",
        b"#!/bin/sh\nexec sleep infinity\n".to_vec(),
    ));
    all
}

fn documents() -> Vec<Seed> {
    let digest = |number: &str| format!("sha256:{}", number.repeat(64));
    let descriptor = |number: &str| json!({ "digest": digest(number), "size": 2 });
    let manifest = json!({ "config": descriptor("2"), "layers": [descriptor("3")] });
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "config": { "Cmd": ["/pause"], "User": "65535:65535", "StopSignal": "SIGTERM", "Env": ["A=b"] },
        "rootfs": { "diff_ids": [digest("4")] },
    });
    let inner = json!({ "manifests": [
        { "digest": digest("1"), "size": -1, "platform": { "os": "linux", "architecture": "arm64" } },
        { "digest": digest("3"), "platform": { "os": "unknown", "architecture": "unknown" } },
        { "digest": digest("4"), "size": 1e30, "annotations": { "a": "b" } },
    ]});
    let index = json!({ "manifests": [descriptor("1")] });
    let saved = json!([{ "Config": "1", "RepoTags": ["a/b:c"], "Layers": ["2"] }]);
    let joined = |documents: &[&serde_json::Value]| {
        let texts: Vec<String> = documents.iter().map(ToString::to_string).collect();
        texts.join("\0").into_bytes()
    };
    vec![
        ("documents", "image", joined(&[&index, &manifest, &config])),
        (
            "documents",
            "nested",
            joined(&[&index, &inner, &manifest, &inner, &config]),
        ),
        ("documents", "saved", joined(&[&saved, &config])),
    ]
}

fn layers() -> Vec<Seed> {
    let cut = |layer: &Tar| {
        let mut bytes = layer.finish();
        bytes.truncate(bytes.len() - 1024);
        bytes
    };
    let mut lower = Tar::default();
    lower.directory("etc", 0o755).symlink("lib", "etc");
    let mut upper = Tar::default();
    upper
        .file("lib/.wh.x", 0o644, b"")
        .hard_link("pause", "lib");
    let two = [&[2, 2][..], &cut(&lower), &cut(&upper)].concat();
    let mut extended = Tar::default();
    let record = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    extended.pax(&[
        record("path", "a/b"),
        record("uid", "65535"),
        record("SCHILY.xattr.user.a", "b"),
        record("GNU.sparse.major", "0"),
        record("GNU.sparse.size", "9"),
        record("GNU.sparse.map", "0,1,8,1"),
    ]);
    extended.file("x", 0o755, b"12");
    let extended = [&[0, 0][..], &cut(&extended)].concat();
    let gzip = [&[0, 0][..], &Packing::Gzip.pack(&lower.finish())].concat();
    let zstd = [&[0, 0][..], &Packing::Zstd.pack(&lower.finish())].concat();
    vec![
        ("layers", "two", two),
        ("layers", "extended", extended),
        ("layers", "gzip", gzip),
        ("layers", "zstd", zstd),
    ]
}

fn members() -> Vec<Seed> {
    // Type, mode, lengths of name and link, name, link; 0xff begins a layer.
    let whiteout = [
        &[2, 0o35, 0x10, 0][..],
        &[2, 2, 0x31, 0, 3, 1, 0],
        &[0xff, 0, 0],
        &[0, 4, 0x31, 0, 3, 7, 1],
        &[0, 4, 0x31, 0, 3, 8, 1],
    ];
    let links = [
        &[1, 0o36, 0x11, 0, 1][..],
        &[3, 7, 0x12, 2, 3, 0],
        &[4, 7, 0x11, 1, 0],
        &[0x10, 7, 0x31, 2, 3, 10, 5],
    ];
    vec![
        ("fold", "whiteout", whiteout.concat()),
        ("fold", "links", links.concat()),
    ]
}

fn programs() -> Vec<Seed> {
    let module = |text: &str| wat::parse_str(text).expect("a program in text");
    let sleeper = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1 1)
        (data (i32.const 16) "\01\00\00\00\00\00\00\00\00\00\00\00\01")
        (func (export "_start") (loop (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))) (br 0))))"#;
    vec![
        ("elf", "nothing", b"\x7fELF".to_vec()),
        ("elf", "dynamic", dynamic()),
        ("wasm", "sleeper", module(sleeper)),
        (
            "wasm",
            "returns",
            module("(module (func (export \"_start\")))"),
        ),
        (
            "wasm",
            "component",
            module("(component (import \"a:b/c\" (instance)))"),
        ),
    ]
}

/// A 64-bit little-endian program with an interpreter, a library and a section.
fn dynamic() -> Vec<u8> {
    let words = |words: &[u64]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let segment = |kind: u32, offset: u64, size: u64| {
        let flags = [kind.to_le_bytes(), 5_u32.to_le_bytes()].concat();
        [flags, words(&[offset, offset, offset, size, size, 8])].concat()
    };
    let strings = b"\0libc.so.6\0/lib\0/lib/ld\0";
    let (text, dynamic) = (64 + 4 * 56, 64 + 4 * 56 + 24);
    let entries = words(&[1, 1, 29, 11, 5, text, 10, 24, 0, 0]);
    let sections = dynamic + entries.len() as u64;
    let head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0";
    let mut program = head.to_vec();
    program.extend(words(&[0, 64, sections]));
    program.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 4, 64, 1, 0] {
        program.extend(half.to_le_bytes());
    }
    program.extend(segment(1, 0, sections));
    program.extend(segment(3, text + 16, 8));
    program.extend(segment(2, dynamic, entries.len() as u64));
    program.extend(segment(0x6474_e551, 0, 0));
    program.extend(strings);
    program.extend(entries);
    program.extend([0; 64]);
    program
}

fn texts() -> Vec<Seed> {
    let expect =
        "# known\nreaping/before-handler # why\nimage/user-nonroot registry.example/* # soon\n";
    let of = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    vec![
        of("expect", "two", expect),
        of("expect", "wrong", "signals/term-exits-zero a b # c"),
        of("reference", "registry", "localhost:5000/a/b__c-d.e:1.0"),
        of("reference", "archive", "docker-archive:a.tar:b/c:d"),
        of("reference", "address", "docker://[::1]:5000/pause:3.10"),
        of("reference", "platform", "linux/arm/v7"),
        of(
            "report",
            "escapes",
            "\x07\x06\x1b[2J\u{202e}|`<b>&\"]]>\r\n# SKIP \\\0@you [x](y)\0---",
        ),
        of(
            "report",
            "tap",
            "\x5aok 1 - x # TODO\0...\0not ok\0Bail out!\0 key : value",
        ),
    ]
}
