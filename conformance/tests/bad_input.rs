//! Bad input: the user gets one clear line with the cause, a hint and the documented exit status,
//! and the suite leaves nothing behind.
#![cfg(feature = "registry")]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use common::server::{image, ok, refuses, reply, serve};
use common::suite::{self, Ended, program};
use common::{Elf, host};
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use fixtures::catalogue;
use rstest::rstest;
use serde_json::json;

/// The files and servers that the cases name, made once.
struct Inputs {
    folder: PathBuf,
    /// Addresses of a server with one repository per fault, and of one that refuses connections.
    registry: String,
    closed: (OwnedFd, SocketAddr),
}

static INPUTS: LazyLock<Inputs> = LazyLock::new(|| {
    let folder = suite::folder("bad-input");
    write_files(&folder);
    write_images(&folder);
    write_special(&folder);
    write_others(&folder);
    Inputs {
        registry: registry(),
        closed: refuses(),
        folder,
    }
});

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).expect("writing");
}

/// A program of the catalogue, by its name.
fn fixture(name: &str) -> Vec<u8> {
    let fixture = catalogue::all()
        .find(|it| it.name == name)
        .expect("a fixture");
    fixture
        .build(conformance::programs::FIXTURE)
        .expect("one stamp")
}

fn write_files(folder: &Path) {
    let image = ImageBuilder::pause(&Elf::of(62).bytes(), "amd64");
    let layout = LayoutBuilder::single(&image, "3.10");
    let oci = layout.archive("");
    let docker = image.docker_archive("pause:3.10");
    write(folder, "empty", b"");
    write(folder, "text", b"FROM scratch\n");
    write(
        folder,
        "other.tar",
        &Tar::default().file("x", 0o644, b"").finish(),
    );
    write(folder, "oci.tar", &oci);
    write(folder, "docker.tar", &docker);
    write(folder, "truncated-oci.tar", &oci[..oci.len() / 2]);
    write(folder, "truncated-docker.tar", &docker[..docker.len() / 2]);
    write(
        folder,
        "truncated.tar.gz",
        &Packing::Gzip.pack(&docker)[..200],
    );
    let mut damaged = docker.clone();
    damaged[600..1200].fill(0xff);
    write(folder, "damaged.tar", &damaged);
    write(folder, "pause", conformance::programs::REFERENCE);
    write(folder, "expect", b"no/such-check # because\n");
    write(folder, "arm64", &Elf::of(183).bytes());
    write(folder, "module", b"\0asm\x01\0\0\0");

    // A layer whose bytes do not match its digest.
    let mut wrong = LayoutBuilder::single(&image, "3.10");
    for bytes in wrong.blobs.values_mut() {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            *bytes = Packing::Gzip.pack(&Tar::default().file("pause", 0o755, b"x").finish());
        }
    }
    wrong.write(&folder.join("wrong-digest")).expect("writing");
    let mut incomplete = LayoutBuilder::single(&image, "3.10");
    incomplete
        .blobs
        .retain(|_, bytes| !bytes.starts_with(&[0x1f, 0x8b]));
    incomplete
        .write(&folder.join("incomplete"))
        .expect("writing");
    fs::create_dir(folder.join("no-layout")).expect("a folder");
}

/// Images that can be read but cannot be judged, or are not the one that the user meant.
fn write_images(folder: &Path) {
    let single = |image: &ImageBuilder, name: &str| {
        LayoutBuilder::single(image, "3.10")
            .write(&folder.join(name))
            .expect("writing");
    };
    let sound = ImageBuilder::pause(conformance::programs::REFERENCE, &host());
    let layer = |fill: &dyn Fn(&mut Tar)| {
        let mut layer = Tar::default();
        fill(&mut layer);
        ImageBuilder::of_layer(&layer, &host())
    };
    // An architecture for which there is no emulator.
    single(&ImageBuilder::pause(&Elf::of(50).bytes(), "ia64"), "ia64");
    single(
        &sound.clone().set("Entrypoint", json!(["/nothing"])),
        "no-entrypoint",
    );
    single(
        &layer(&|layer| {
            layer.file("pause", 0o644, conformance::programs::REFERENCE);
        }),
        "not-executable",
    );
    single(
        &layer(&|layer| {
            layer.symlink("pause", "other").symlink("other", "pause");
        }),
        "link-loop",
    );
    for name in ["exits-at-once", "floods-stderr"] {
        single(&ImageBuilder::pause(&fixture(name), &host()), name);
    }
}

/// Files that can be read, but hold no image, none for Linux, or more than one.
fn write_others(folder: &Path) {
    let write = |layout: &LayoutBuilder, name: &str| {
        layout.write(&folder.join(name)).expect("writing");
    };
    let sound = ImageBuilder::pause(&Elf::of(62).bytes(), "amd64");
    write(&chart(), "chart");
    let mut windows = ImageBuilder::pause(b"MZ\x90\0", "amd64");
    windows.config["os"] = json!("windows");
    write(&LayoutBuilder::single(&windows, "3.10"), "windows");

    let mut twice = LayoutBuilder::single(&sound, "3.10");
    let other = sound.clone().set("User", json!("1:1"));
    let mut second = twice.image(&other);
    second["annotations"] = twice.manifests[0]["annotations"].clone();
    twice.manifests.push(second);
    write(&twice, "twice");
    for descriptor in &mut twice.manifests {
        descriptor["annotations"] = json!(null);
    }
    write(&twice, "nameless");

    let own = ImageBuilder::pause(conformance::programs::REFERENCE, &host());
    let platform = |architecture: &str| json!({ "os": "linux", "architecture": architecture });
    let empty = ImageBuilder::of_layer(&Tar::default(), "riscv64");
    let indexed = |images: &[(&ImageBuilder, serde_json::Value)], name: &str| {
        write(&LayoutBuilder::indexed(images, "3.10"), name);
    };
    let other = (&empty, platform("riscv64"));
    indexed(&[(&own, platform(&host())), other.clone()], "empty-beside");
    indexed(&[other], "not-for-the-host");
    let mut darwin = sound.clone();
    darwin.config["os"] = json!("darwin");
    write(&LayoutBuilder::single(&darwin, "3.10"), "darwin");
    let saved = saved_twice(&sound);
    fs::write(folder.join("saved-twice.tar"), saved).expect("writing");
}

/// A Helm chart.
fn chart() -> LayoutBuilder {
    let mut chart = LayoutBuilder::default();
    let config = chart.blob("application/vnd.cncf.helm.config.v1+json", b"{}".to_vec());
    let content = chart.blob(
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        Packing::Gzip.pack(&Tar::default().file("x", 0o644, b"").finish()),
    );
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [content] });
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let mut descriptor = chart.blob(media_type, manifest.to_string().into_bytes());
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": "1.0" });
    chart.manifests.push(descriptor);
    chart
}

/// An archive of docker that holds an image twice.
fn saved_twice(image: &ImageBuilder) -> Vec<u8> {
    let one = image.docker_archive("pause:3.10");
    let mut saved = Tar::default();
    for member in tar::Archive::new(&one[..]).entries().expect("an archive") {
        let mut member = member.expect("a member");
        let name = member.path().expect("a name").display().to_string();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut member, &mut content).expect("content");
        if name == "manifest.json" {
            let images: serde_json::Value = serde_json::from_slice(&content).expect("JSON");
            content = json!([images[0], images[0]]).to_string().into_bytes();
        }
        saved.file(&name, 0o644, &content);
    }
    saved.finish()
}

/// Paths that name no regular file; opening some of them would wait forever.
fn write_special(folder: &Path) {
    let fifo = |name: &str| {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, folder.join(name), kind, mode, 0).expect("a FIFO");
    };
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, folder.join(name)).expect("a link");
    };
    fifo("fifo");
    drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).expect("a socket"));
    link("/dev/zero", "zero");
    link("/proc/kmsg", "kmsg");
    let image = ImageBuilder::pause(&Elf::of(62).bytes(), "amd64");
    let layout = LayoutBuilder::single(&image, "3.10");
    let blob = |starts: &[u8]| {
        let mut blobs = layout.blobs.iter();
        let (digest, _) = blobs
            .find(|(_, bytes)| bytes.starts_with(starts))
            .expect("a blob");
        format!("blobs/{}", digest.replace(':', "/"))
    };
    let layer = blob(&[0x1f, 0x8b]);
    for (name, replaced) in [
        ("fifo-index", "index.json"),
        ("fifo-mark", "oci-layout"),
        ("fifo-blob", &*layer),
        ("zero-blob", &*layer),
        ("folder-blob", &*layer),
    ] {
        layout.write(&folder.join(name)).expect("writing");
        let place = format!("{name}/{replaced}");
        fs::remove_file(folder.join(&place)).expect("removed");
        match name {
            "zero-blob" => link("/dev/zero", &place),
            "folder-blob" => fs::create_dir(folder.join(&place)).expect("a folder"),
            _ => fifo(&place),
        }
    }
}

fn registry() -> String {
    let image = image();
    let address = serve(move |path, _, _| {
        let repository = path.split('/').nth(2).unwrap_or_default();
        let answer = match repository {
            "unauthorized" => reply(
                "401 Unauthorized",
                "www-authenticate: Basic realm=x\r\n",
                b"",
            ),
            "forbidden" => reply("403 Forbidden", "", b""),
            "limited" => reply("429 Too Many Requests", "", b""),
            "broken" => reply("500 Internal Server Error", "", b""),
            "changed" if path.contains("/blobs/") => {
                let mut body = image(path)?;
                body[3] ^= 1;
                ok(&body)
            }
            "pause" | "changed" => match image(path) {
                Some(body) => ok(&body),
                None => reply("404 Not Found", "", b""),
            },
            _ => reply("404 Not Found", "", b""),
        };
        Some(answer)
    });
    address.to_string()
}

/// Runs a command line; `REGISTRY` and `CLOSED` stand for the servers.
fn judge(line: &str) -> Ended {
    let mut command = program();
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let word = word
            .replace("REGISTRY", &INPUTS.registry)
            .replace("CLOSED", &INPUTS.closed.1.to_string());
        command.arg(if word == "''" { "" } else { &word });
    }
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    suite::run(command, &INPUTS.folder)
}

/// The text without what differs from run to run and from machine to machine.
fn redacted(text: &str) -> String {
    let text = text
        .replace(&INPUTS.registry, "REGISTRY")
        .replace(&INPUTS.closed.1.to_string(), "CLOSED")
        .replace(&INPUTS.folder.display().to_string(), "FOLDER")
        .replace(&format!("linux/{}", host()), "linux/HOST");
    text.lines()
        .map(|line| without_measures(line.trim_end()) + "\n")
        .collect()
}

/// The text with words for durations and large numbers, which differ from run to run.
fn without_measures(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word.trim_end_matches(|c: char| c.is_alphabetic());
        let unit = &word[number.len()..];
        if number.parse::<f64>().is_err() {
            word
        } else if ["s", "ms", "µs"].contains(&unit) {
            "TIME"
        } else if number.len() > 5 {
            "MANY"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The command line, its exit status and its output.
fn shown(line: &str, ended: &Ended, said: &str) -> String {
    let status = ended
        .status
        .map_or("none".to_owned(), |status| status.to_string());
    format!(
        "$ pause-conformance {line}\n{}exit status {status}\n",
        redacted(said)
    )
}

#[rstest]
#[case("no-reference", "--image ''", 2)]
#[case("unknown-transport", "--image ftp://example.org/pause", 2)]
#[case("unknown-transport-without-slashes", "--image tarbal:pause/x.tar", 2)]
#[case("store-of-its-own", "--image containers-storage:[vfs@/x]pause", 2)]
#[case("transport-of-sif", "--image sif:pause.sif", 2)]
#[case("no-path-after-the-transport", "--image oci:", 2)]
#[case("not-a-reference", "--image docker://Pause/x", 2)]
#[case("missing-path", "--image ./none.tar", 2)]
#[case("missing-layout", "--image oci:none", 2)]
#[case("missing-archive", "--image oci-archive:none.tar", 2)]
#[case("missing-program", "--image binary:none", 2)]
#[case("empty-file", "--image empty", 2)]
#[case("text-file", "--image ./text", 2)]
#[case("text-file-as-program", "--image binary:text", 2)]
#[case("module-as-program", "--image binary:module", 2)]
#[case("program-as-module", "--image wasm:pause", 2)]
#[case("text-file-as-archive", "--image docker-archive:text", 2)]
#[case("other-archive", "--image other.tar", 2)]
#[case("oci-archive-as-docker-archive", "--image docker-archive:oci.tar", 2)]
#[case("docker-archive-as-oci-archive", "--image oci-archive:docker.tar", 2)]
#[case("folder-without-layout", "--image ./no-layout", 2)]
#[case("folder-as-archive", "--image oci-archive:no-layout", 2)]
#[case("archive-as-folder", "--image oci:oci.tar", 2)]
#[case("truncated-oci-archive", "--image truncated-oci.tar", 2)]
#[case("truncated-docker-archive", "--image truncated-docker.tar", 2)]
#[case("truncated-gzip", "--image docker-archive:truncated.tar.gz", 2)]
#[case("damaged-archive", "--image docker-archive:damaged.tar", 2)]
#[case("missing-blob", "--image oci:incomplete", 2)]
#[case("chart", "--image oci:chart", 2)]
#[case("image-for-windows", "--image oci:windows", 2)]
#[case("two-images-of-one-tag", "--image oci:twice:3.10", 2)]
#[case("two-images-without-a-name", "--image ./nameless", 2)]
#[case("no-such-place", "--image oci:twice:@2", 2)]
#[case("several-saved-images", "--image saved-twice.tar", 2)]
#[case(
    "two-saved-images-of-one-name",
    "--image docker-archive:saved-twice.tar:pause:3.10",
    2
)]
#[case("fifo-as-image", "--image ./fifo", 2)]
#[case("fifo-as-archive", "--image docker-archive:fifo", 2)]
#[case("fifo-as-layout", "--image oci:fifo", 2)]
#[case("fifo-as-program", "--image binary:fifo", 2)]
#[case("socket-as-archive", "--image oci-archive:socket", 2)]
#[case("device-as-image", "--image ./zero", 2)]
#[case("file-of-the-kernel-as-archive", "--image docker-archive:kmsg", 2)]
#[case("fifo-as-index", "--image oci:fifo-index", 2)]
#[case("fifo-as-mark-of-a-layout", "--image ./fifo-mark", 2)]
#[case("fifo-as-mark-of-a-named-layout", "--image oci:fifo-mark", 2)]
#[case("fifo-as-blob", "--image oci:fifo-blob", 2)]
#[case("device-as-blob", "--image oci:zero-blob", 2)]
#[case("folder-as-blob", "--image oci:folder-blob", 2)]
#[case("fifo-as-expectations", "--image pause --expect fifo", 2)]
#[case("folder-as-expectations", "--image pause --expect no-layout", 2)]
#[case("no-such-tag", "--image oci-archive:oci.tar:3.9", 2)]
#[case("no-such-name", "--image docker-archive:docker.tar:pause:3.9", 2)]
#[case("unreachable-registry", "--image CLOSED/pause:3.10", 2)]
#[case("unknown-host", "--image registry.invalid/pause:3.10", 2)]
#[case("unauthorized", "--image REGISTRY/unauthorized:3.10", 2)]
#[case("forbidden", "--image REGISTRY/forbidden:3.10", 2)]
#[case("no-such-image", "--image REGISTRY/none:3.10", 2)]
#[case("limited", "--image REGISTRY/limited:3.10", 2)]
#[case("broken-registry", "--image REGISTRY/broken:3.10", 2)]
#[case("changed-on-the-way", "--image REGISTRY/changed:3.10", 2)]
#[case(
    "no-manifest-for-the-platform",
    "--image REGISTRY/pause:3.10 --platform linux/s390x",
    2
)]
#[case(
    "program-for-another-platform",
    "--image binary:arm64 --platform linux/s390x",
    2
)]
#[case("no-docker", "--image docker-daemon:pause:3.10", 2)]
#[case("unwritable-report", "--image pause --report json=none/report.json", 2)]
#[case("folder-as-report", "--image pause --report json=no-layout", 2)]
#[case("unknown-check", "--image pause --filter signals/term-exit-zero", 64)]
#[case("unknown-check-to-explain", "explain signals/term-exit-zero", 64)]
#[case("missing-expectations", "--image pause --expect none", 64)]
#[case("unknown-check-expected", "--image pause --expect expect", 64)]
#[case("unknown-platform", "--image pause --platform amd64", 64)]
fn one_line_says_what_and_why_and_a_hint_what_to_do(
    #[case] name: &str,
    #[case] line: &str,
    #[case] status: i32,
) {
    let ended = judge(line);
    let said = &ended.stderr;
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        matches!(lines[..], [error, hint] if error.starts_with("error: ") && hint.starts_with(" hint: ")),
        "{said}"
    );
    assert_eq!(ended.status, Some(status), "{said}");
    assert_eq!(ended.stdout, "", "{said}");
    insta::assert_snapshot!(name, shown(line, &ended, said));
}

/// The command-line parser writes these messages, in its own form.
#[rstest]
#[case("no-image", "")]
#[case("unknown-option", "--image pause --fliter signals")]
#[case("unknown-format", "--image pause --report jsn")]
#[case("unknown-engine", "--image pause --runtime rocket")]
#[case("no-time", "--image pause --timeout 0")]
#[case("no-version", "--image pause --kubernetes latest")]
fn a_wrong_command_line_is_wrong_usage(#[case] name: &str, #[case] line: &str) {
    let ended = judge(line);
    assert_eq!(ended.status, Some(64), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    insta::assert_snapshot!(name, shown(line, &ended, &ended.stderr));
}

/// An image that can be read is judged: report and exit status have the result.
#[rstest]
#[case("another-architecture", "--image oci:ia64 --filter startup/stays", 2)]
#[case(
    "wrong-digest",
    "--image oci:wrong-digest --filter image/digests-hold",
    1
)]
#[case(
    "no-entrypoint",
    "--image oci:no-entrypoint --filter image/entrypoint-set --filter startup/stays",
    1
)]
#[case(
    "not-executable",
    "--image oci:not-executable --filter image/entrypoint-set",
    1
)]
#[case("one-of-two", "--image oci:twice:@1 --filter image/user-nonroot", 0)]
#[case(
    "one-of-two-saved",
    "--image docker-archive:saved-twice.tar:@1 --filter image/user-nonroot",
    0
)]
#[case(
    "platform-without-a-program",
    "--image oci:empty-beside --filter image/entrypoint-set --filter startup/stays",
    1
)]
#[case(
    "platform-without-a-program-not-asked-for",
    "--image oci:empty-beside --filter startup/stays",
    0
)]
#[case(
    "nothing-for-the-host",
    "--image oci:not-for-the-host --filter image/user-numeric --filter startup/stays",
    2
)]
#[case(
    "files-of-what-is-not-for-the-host",
    "--image oci:not-for-the-host --filter image/user-numeric",
    0
)]
#[case("says-darwin", "--image oci:darwin", 1)]
#[case(
    "no-program-ran",
    "--image oci:darwin --filter image/minimal --filter startup/stays",
    2
)]
#[case("link-loop", "--image oci:link-loop --filter image/entrypoint-set", 1)]
#[case("exits-at-once", "--image oci:exits-at-once --filter startup/stays", 1)]
#[case("floods-stderr", "--image oci:floods-stderr --filter output/quiet", 1)]
fn what_can_be_read_is_judged(#[case] name: &str, #[case] line: &str, #[case] status: i32) {
    let ended = judge(line);
    assert_eq!(
        ended.status,
        Some(status),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    let words = [
        "FAIL ",
        "ERROR",
        "SKIP",
        "  expected",
        "  observed",
        "  reason",
        "conformant",
        "not ",
        "could not",
        "its program",
    ];
    let said: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| {
            words.iter().any(|word| line.starts_with(word))
                || line.contains("nothing is run")
                || line.contains("files alone")
        })
        // The list of skipped checks changes with each check that is added.
        .map(|line| match line.rsplit_once(": ") {
            Some((why, ids)) if line.contains("nothing is run") && ids.contains("/*") => why,
            _ => line,
        })
        .collect();
    insta::assert_snapshot!(name, shown(line, &ended, &said.join("\n")));
}

#[test]
fn a_host_without_user_namespaces_is_named() {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --bounding-set=-all \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", forbid])
        .arg(env!("CARGO_BIN_EXE_pause-conformance"))
        .args(["--image", "pause", "--filter", "startup/stays"]);
    let ended = suite::run(command, &INPUTS.folder);
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
    insta::assert_snapshot!(
        "no-user-namespaces",
        shown(
            "--image pause --filter startup/stays",
            &ended,
            &ended.stderr
        )
    );
}
