//! Each static check is broken by at least one image, which fails exactly the checks it
//! names; sound images fail none.

mod common;

use std::collections::BTreeSet;

use common::{Elf, failures, load_archive, load_text};
use conformance::check::Needs;
use conformance::checks::{binary, image};
use conformance::context::CheckOptions;
use conformance::subject::Platforms;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use serde_json::{Value, json};

// EM_X86_64, EM_AARCH64, EM_PPC64 of elf(5).
const AMD64: u16 = 62;
const ARM64: u16 = 183;
const PPC64: u16 = 21;

struct Case {
    name: &'static str,
    layout: LayoutBuilder,
    options: CheckOptions,
    fails: &'static [&'static str],
}

fn sound() -> ImageBuilder {
    ImageBuilder::pause(&Elf::of(AMD64).bytes(), "amd64")
}

fn program(elf: &Elf) -> LayoutBuilder {
    LayoutBuilder::single(&ImageBuilder::pause(&elf.bytes(), "amd64"), "3.10")
}

fn single(image: &ImageBuilder) -> LayoutBuilder {
    LayoutBuilder::single(image, "3.10")
}

/// A sound image with a layer on top.
fn with_layer(fill: impl FnOnce(&mut Tar)) -> LayoutBuilder {
    let mut layer = Tar::default();
    fill(&mut layer);
    single(&sound().layer(&layer, Packing::Gzip))
}

/// An image whose only layer is this.
fn of_layer(fill: impl FnOnce(&mut Tar, &[u8])) -> LayoutBuilder {
    let mut layer = Tar::default();
    fill(&mut layer, &Elf::of(AMD64).bytes());
    single(&ImageBuilder::of_layer(&layer, "amd64"))
}

fn platform(os: &str, architecture: &str) -> Value {
    json!({ "os": os, "architecture": architecture })
}

/// amd64 and arm64, sound.
fn pair() -> [ImageBuilder; 2] {
    [
        sound(),
        ImageBuilder::pause(&Elf::of(ARM64).bytes(), "arm64"),
    ]
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add_with = |name, layout, options, fails| {
        cases.push(Case {
            name,
            layout,
            options,
            fails,
        });
    };
    let [amd64, arm64] = pair();
    let kubernetes = |minor| CheckOptions {
        kubernetes: Some((1, minor)),
        ..CheckOptions::default()
    };
    let require = |text: &str| CheckOptions {
        required_platforms: vec![text.parse().expect("a platform")],
        ..CheckOptions::default()
    };
    let indexed = LayoutBuilder::indexed(
        &[
            (&amd64, platform("linux", "amd64")),
            (&arm64, platform("linux", "arm64")),
        ],
        "3.10",
    );
    add_with(
        "old for the cluster",
        single(&sound()),
        kubernetes(34),
        &["image/version-matches-cluster"][..],
    );
    add_with(
        "new enough for the cluster",
        single(&sound()),
        kubernetes(31),
        &[],
    );
    add_with(
        "required platform missing",
        indexed.clone(),
        require("linux/s390x"),
        &["image/required-platforms"],
    );
    add_with(
        "required platform there",
        indexed.clone(),
        require("linux/arm64/v8"),
        &[],
    );

    let mut add = |name, layout, fails| add_with(name, layout, CheckOptions::default(), fails);
    add("sound", single(&sound()), &[]);
    add(
        "sound, plain layer",
        single(&ImageBuilder {
            layers: vec![(sound().layers[0].0.clone(), Packing::Plain)],
            ..sound()
        }),
        &[],
    );
    add(
        "sound, zstd layer",
        single(&ImageBuilder {
            layers: vec![(sound().layers[0].0.clone(), Packing::Zstd)],
            ..sound()
        }),
        &[],
    );
    add(
        "sound, Cmd only",
        single(
            &sound()
                .set("Entrypoint", Value::Null)
                .set("Cmd", json!(["/pause"])),
        ),
        &[],
    );
    add("sound, index", indexed, &[]);
    add(
        "sound, dynamic with its libraries",
        of_layer(|layer, pause| {
            let elf = Elf {
                interpreter: Some("/lib64/ld.so"),
                needed: vec!["libc.so"],
                ..Elf::of(AMD64)
            };
            layer
                .file("pause", 0o755, &elf.bytes())
                .file("lib64/ld.so", 0o755, pause);
            layer
                .symlink("lib", "usr/lib")
                .file("usr/lib/libc.so", 0o644, pause);
        }),
        &[],
    );
    add(
        "sound, /pause is a link",
        of_layer(|layer, pause| {
            layer
                .file("usr/bin/pod", 0o755, pause)
                .symlink("pause", "/usr/bin/pod");
        }),
        &[],
    );

    // image/digests-hold
    let mut wrong = single(&sound().set("Cmd", json!(["x"])));
    let blob = wrong
        .blobs
        .iter()
        .find(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b]))
        .map(|(key, _)| key.clone());
    let other = Packing::Gzip.pack(
        &Tar::default()
            .file("pause", 0o755, &Elf::of(AMD64).bytes())
            .file("x", 0o644, b"")
            .finish(),
    );
    wrong.blobs.insert(blob.expect("a layer"), other);
    add(
        "a layer's content is another's",
        wrong,
        &["image/digests-hold"],
    );
    let mut image = sound();
    image.config["rootfs"] =
        json!({ "type": "layers", "diff_ids": [format!("sha256:{}", "0".repeat(64))] });
    add(
        "a DiffID does not hold",
        single(&image),
        &["image/digests-hold"],
    );
    let mut image = sound();
    image.config["rootfs"] = json!({ "type": "layers", "diff_ids": [] });
    add(
        "DiffIDs are missing",
        single(&image),
        &["image/digests-hold"],
    );
    for (name, size) in [
        ("a negative size", json!(-1)),
        ("a huge size", json!(u64::MAX)),
        ("no size", Value::Null),
    ] {
        let mut layout = single(&sound());
        layout.manifests[0]["size"] = size;
        add(name, layout, &["image/digests-hold"]);
    }

    // image/entrypoint-set
    add(
        "neither Entrypoint nor Cmd",
        single(&sound().set("Entrypoint", Value::Null)),
        &["image/entrypoint-set"],
    );
    add(
        "the entrypoint is missing",
        single(&sound().set("Entrypoint", json!(["/nothing"]))),
        &["image/entrypoint-set"],
    );
    add(
        "the entrypoint is a directory",
        of_layer(|layer, pause| {
            layer
                .directory("pause", 0o755)
                .file("pause/pause", 0o755, pause);
        }),
        &[
            "image/entrypoint-set",
            "image/has-pause-path",
            "image/minimal",
        ],
    );
    add(
        "the entrypoint is not executable",
        of_layer(|layer, pause| {
            layer.file("pause", 0o644, pause);
        }),
        &["image/entrypoint-set", "image/has-pause-path"],
    );
    add(
        "the entrypoint is a loop of links",
        of_layer(|layer, _| {
            layer.symlink("pause", "other").symlink("other", "pause");
        }),
        &["image/entrypoint-set", "image/has-pause-path"],
    );

    // image/entrypoint-direct
    add(
        "the entrypoint is a script",
        of_layer(|layer, pause| {
            layer
                .file("pause", 0o755, b"#!/sh\nexec /pod\n")
                .file("sh", 0o755, pause);
        }),
        &["image/entrypoint-direct"],
    );
    add(
        "the entrypoint is a shell",
        {
            let mut layer = Tar::default();
            layer.file("bin/sh", 0o755, &Elf::of(AMD64).bytes()).file(
                "pause",
                0o755,
                &Elf::of(AMD64).bytes(),
            );
            single(
                &ImageBuilder::of_layer(&layer, "amd64")
                    .set("Entrypoint", json!(["/bin/sh", "-c", "pause"])),
            )
        },
        &["image/entrypoint-direct", "image/minimal"],
    );
    add(
        "the entrypoint is a wrapper",
        {
            let mut layer = Tar::default();
            layer.file("init", 0o755, &Elf::of(AMD64).bytes()).file(
                "pause",
                0o755,
                &Elf::of(AMD64).bytes(),
            );
            single(
                &ImageBuilder::of_layer(&layer, "amd64")
                    .set("Entrypoint", json!(["/init", "--", "/pause"])),
            )
        },
        &["image/entrypoint-direct", "image/minimal"],
    );

    // image/program-mode, image/has-pause-path
    add(
        "only root may run it",
        of_layer(|layer, pause| {
            layer.file("pause", 0o700, pause);
        }),
        &["image/program-mode"],
    );
    add(
        "only root may enter the root",
        of_layer(|layer, pause| {
            layer.directory("./", 0o700).file("./pause", 0o755, pause);
        }),
        &["image/program-mode"],
    );
    add(
        "the program is elsewhere",
        {
            let mut layer = Tar::default();
            layer.file("usr/bin/pod", 0o755, &Elf::of(AMD64).bytes());
            single(&ImageBuilder::of_layer(&layer, "amd64").set("Entrypoint", json!(["pod"])))
        },
        &["image/has-pause-path"],
    );

    // platforms
    for field in ["os", "architecture"] {
        let mut image = sound();
        image.config[field] = json!("");
        add(
            "a platform field is empty",
            single(&image),
            &["image/platform-declared"],
        );
    }
    add(
        "the configuration names another architecture",
        single(&ImageBuilder::pause(&Elf::of(ARM64).bytes(), "amd64")),
        &["image/platform-agrees"],
    );
    add(
        "another platform's configuration says amd64",
        LayoutBuilder::indexed(
            &[
                (&sound(), platform("linux", "amd64")),
                (
                    &ImageBuilder::pause(&Elf::of(ARM64).bytes(), "amd64"),
                    platform("linux", "arm64"),
                ),
            ],
            "3.1",
        ),
        &["image/platform-agrees"],
    );
    add(
        "another platform's program is for amd64",
        LayoutBuilder::indexed(
            &[
                (&sound(), platform("linux", "amd64")),
                (
                    &ImageBuilder::pause(&Elf::of(AMD64).bytes(), "arm64"),
                    platform("linux", "arm64"),
                ),
            ],
            "3.1",
        ),
        &["image/platform-agrees"],
    );
    add(
        "no arm64",
        LayoutBuilder::indexed(&[(&sound(), platform("linux", "amd64"))], "3.10"),
        &["image/index-complete"],
    );
    let [amd64, arm64] = pair();
    add(
        "a platform twice",
        LayoutBuilder::indexed(
            &[
                (&amd64, platform("linux", "amd64")),
                (&arm64, platform("linux", "arm64")),
                (
                    &arm64,
                    json!({ "os": "linux", "architecture": "arm64", "variant": "v8" }),
                ),
            ],
            "3.10",
        ),
        &["image/index-complete"],
    );
    let mut windows = sound();
    windows.config["os"] = json!("windows");
    let with_windows = |platform: Value| {
        LayoutBuilder::indexed(
            &[
                (&amd64, json!({ "os": "linux", "architecture": "amd64" })),
                (&arm64, json!({ "os": "linux", "architecture": "arm64" })),
                (&windows, platform),
            ],
            "3.10",
        )
    };
    add(
        "windows without os.version",
        with_windows(platform("windows", "amd64")),
        &["image/windows-has-os-version"],
    );
    add(
        "windows with os.version",
        with_windows(
            json!({ "os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1" }),
        ),
        &[],
    );

    // configuration
    for user in [
        "nobody",
        "65536",
        "-1:0",
        "+1:1",
        "1:",
        "1:2:3",
        "\u{1b}[31m",
    ] {
        add(
            "User is not numeric",
            single(&sound().set("User", json!(user))),
            &["image/user-numeric"],
        );
    }
    for user in ["0", "0:0", "65535", "65535:0", "0:65535"] {
        add(
            "User is root",
            single(&sound().set("User", json!(user))),
            &["image/user-nonroot"],
        );
    }
    add(
        "User is not set",
        single(&sound().set("User", Value::Null)),
        &["image/user-nonroot"],
    );
    for signal in ["SIGKILL", "9", "37", "SIGHUP", "RTMIN+3"] {
        add(
            "StopSignal does not end pause",
            single(&sound().set("StopSignal", json!(signal))),
            &["image/stop-signal-sane"],
        );
    }
    for signal in ["SIGTERM", "TERM", "15", "sigint", "2"] {
        add(
            "StopSignal ends pause",
            single(&sound().set("StopSignal", json!(signal))),
            &[],
        );
    }
    for folder in ["/nowhere", "/pause", "relative"] {
        add(
            "WorkingDir is no directory",
            single(&sound().set("WorkingDir", json!(folder))),
            &["image/workdir-exists"],
        );
    }

    // files
    add(
        "a setuid file",
        with_layer(|layer| {
            layer.file("su", 0o4644, b"");
        }),
        &["image/no-privilege-bits"],
    );
    add(
        "a file with capabilities",
        with_layer(|layer| {
            layer
                .xattr("security.capability", b"\x01\0\0\x02\n\0\0\0")
                .file("ping", 0o644, b"");
        }),
        &["image/no-privilege-bits"],
    );
    add(
        "a device",
        with_layer(|layer| {
            layer.device("null", 1, 3);
        }),
        &["image/no-privilege-bits"],
    );
    add(
        "a shell",
        with_layer(|layer| {
            layer.file("bin/sh", 0o755, b"");
        }),
        &["image/minimal"],
    );
    add(
        "another program",
        with_layer(|layer| {
            layer.file("bin/tool", 0o755, b"");
        }),
        &["image/minimal"],
    );
    add(
        "large",
        with_layer(|layer| {
            layer.file("data", 0o644, &noise(1_100_000));
        }),
        &["image/small"],
    );

    // layers
    add(
        "a path leaves the root",
        with_layer(|layer| {
            layer.file("../../etc/passwd", 0o644, b"");
        }),
        &["image/layers-clean"],
    );
    add(
        "a link leads out of the root",
        with_layer(|layer| {
            layer
                .symlink("up", "../../etc")
                .file("up/passwd", 0o644, b"");
        }),
        &["image/layers-clean"],
    );
    add(
        "a hard link out of the root",
        with_layer(|layer| {
            layer.hard_link("shadow", "../../etc/shadow");
        }),
        &["image/layers-clean"],
    );
    add(
        "a hard link to nothing",
        with_layer(|layer| {
            layer.hard_link("x", "y");
        }),
        &["image/layers-clean"],
    );
    add(
        "a whiteout of nothing",
        with_layer(|layer| {
            layer.file(".wh.x", 0o644, b"");
        }),
        &["image/layers-clean"],
    );
    add(
        "a file below a file",
        with_layer(|layer| {
            layer.file("pause/x", 0o644, b"");
        }),
        &["image/layers-clean"],
    );
    add(
        "two kinds at one path",
        with_layer(|layer| {
            layer.file("x", 0o644, b"").symlink("x", "pause");
        }),
        &["image/layers-clean"],
    );
    add(
        "a name with a NUL byte",
        with_layer(|layer| {
            layer.file(b"a\0b", 0o644, b"");
        }),
        &["image/layers-clean", "image/names-plain"],
    );
    add(
        "a name too long",
        with_layer(|layer| {
            layer.file("a".repeat(300), 0o644, b"");
        }),
        &["image/layers-clean"],
    );
    add(
        "an absolute name",
        with_layer(|layer| {
            layer.file("/x", 0o644, b"");
        }),
        &["image/names-plain"],
    );
    add(
        "a name that steers a terminal",
        with_layer(|layer| {
            layer.file(b"\x1b[2J", 0o644, b"");
        }),
        &["image/names-plain"],
    );
    add(
        "a name that is not UTF-8",
        with_layer(|layer| {
            layer.file(b"\xff\xfe", 0o644, b"");
        }),
        &["image/names-plain"],
    );
    add(
        "a file twice",
        with_layer(|layer| {
            layer.file("x", 0o644, b"1").file("x", 0o644, b"2");
        }),
        &["image/names-plain"],
    );

    // binary
    add(
        "dynamic without its interpreter",
        program(&Elf {
            interpreter: Some("/lib64/ld.so"),
            ..Elf::of(AMD64)
        }),
        &["binary/static"],
    );
    add(
        "dynamic without a library",
        program(&Elf {
            needed: vec!["libc.so.6"],
            ..Elf::of(AMD64)
        }),
        &["binary/static"],
    );
    add(
        "relocatable",
        program(&Elf {
            kind: 1,
            ..Elf::of(AMD64)
        }),
        &["binary/static"],
    );
    add(
        "executable stack",
        program(&Elf {
            stack_flags: Some(7),
            ..Elf::of(AMD64)
        }),
        &["binary/no-exec-stack"],
    );
    add(
        "no PT_GNU_STACK",
        program(&Elf {
            stack_flags: None,
            ..Elf::of(AMD64)
        }),
        &["binary/no-exec-stack"],
    );
    add(
        "a segment writable and executable",
        program(&Elf {
            load_flags: 7,
            ..Elf::of(AMD64)
        }),
        &["binary/no-exec-stack"],
    );
    add(
        "symbols",
        program(&Elf {
            symbols: true,
            ..Elf::of(AMD64)
        }),
        &["binary/stripped"],
    );
    for (machine, architecture) in [(ARM64, "arm64"), (PPC64, "ppc64le")] {
        for (alignment, offset) in [(0x1000, 0), (0x1_0000, 0x1000)] {
            let elf = Elf {
                alignment,
                offset,
                ..Elf::of(machine)
            };
            add(
                "aligned to small pages",
                single(&ImageBuilder::pause(&elf.bytes(), architecture)),
                &["binary/page-size-64k"],
            );
        }
    }
    cases
}

#[test]
fn each_broken_image_fails_exactly_what_it_breaks() {
    let mut wrong = Vec::new();
    for case in cases() {
        let folder = tempfile::tempdir().expect("a folder");
        case.layout
            .write(folder.path())
            .expect("writing the layout");
        // Of an index the same entry on every host; an image alone is taken as it is.
        let indexed = case.layout.manifests[0]["mediaType"]
            .as_str()
            .is_some_and(|it| it.contains("index"));
        let platforms = match "linux/amd64".parse() {
            Ok(amd64) if indexed => Platforms::List(vec![amd64]),
            _ => Platforms::Host,
        };
        let subjects = load_text(&format!("oci:{}", folder.path().display()), platforms)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let failed = failures(&subjects[0], &case.options);
        let expected: BTreeSet<String> = case.fails.iter().map(|id| (*id).to_owned()).collect();
        if failed != expected {
            wrong.push(format!(
                "{}: expected {expected:?}, failed {failed:?}",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_static_check_is_broken_by_an_image() {
    let broken: BTreeSet<&str> = cases()
        .iter()
        .flat_map(|case| case.fails)
        .copied()
        .collect();
    let unbroken: Vec<&str> = [&image::FAMILY, &binary::FAMILY]
        .iter()
        .flat_map(|family| family.checks)
        .map(|check| check.id)
        .filter(|id| !broken.contains(id))
        .collect();
    assert!(unbroken.is_empty(), "nothing breaks {unbroken:?}");
}

#[test]
fn a_bare_program_skips_the_image_checks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pause");
    std::fs::write(&path, Elf::of(AMD64).bytes()).expect("writing the program");
    let subjects = load_text(path.to_str().expect("UTF-8"), Platforms::Host).expect("a program");
    assert!(!subjects[0].offers().contains(Needs::IMAGE));
    assert!(subjects[0].offers().contains(Needs::ELF));
    assert_eq!(
        failures(&subjects[0], &CheckOptions::default()),
        BTreeSet::new()
    );
}

#[test]
fn a_docker_archive_is_judged_as_an_image() {
    let archive = sound().docker_archive("pause:3.10");
    let subjects = load_archive("docker-archive", &archive).expect("an image");
    assert_eq!(
        subjects[0]
            .version()
            .map(|version| version.to_string())
            .as_deref(),
        Some("3.10")
    );
    assert_eq!(
        failures(&subjects[0], &CheckOptions::default()),
        BTreeSet::new()
    );
}
