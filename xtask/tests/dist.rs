//! What `cargo xtask dist` packs, used as by someone who has no checkout.
//!
//! It builds the release, which takes minutes: `cargo xtask test --long` runs these, and
//! `cargo test -p xtask --test dist -- --ignored`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;
use xtask::dist::{self, NAME, VERSION, archive, content::Content, debian, program};
use xtask::{build, link, platform};

const WHY: &str = "it builds the release: cargo xtask test --long";

/// The folder with the packages for this machine's architecture, packed once.
fn packed() -> &'static Path {
    static PACKED: OnceLock<PathBuf> = OnceLock::new();
    PACKED.get_or_init(|| {
        // Nothing is dropped that is kept for all tests: it stays in the target's folder.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist");
        pack(&folder);
        folder
    })
}

fn pack(out: &Path) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask
        .args(["dist", "--target", architecture(), "--out"])
        .arg(out);
    succeeds(&mut xtask);
}

fn architecture() -> &'static str {
    let host = platform::host().expect("a row for this machine");
    dist::parse(host.name).expect(WHY).name
}

fn file(suffix: &str) -> PathBuf {
    let architecture = architecture();
    packed().join(match suffix {
        "deb" => format!("{NAME}_{VERSION}_{architecture}.deb"),
        other => format!("{NAME}-{VERSION}-linux-{architecture}.{other}"),
    })
}

/// The unpacked archive.
struct Unpacked {
    _folder: TempDir,
    path: PathBuf,
}

impl Unpacked {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut tar = Command::new("tar");
        tar.arg("-xzf")
            .arg(file("tar.gz"))
            .arg("-C")
            .arg(folder.path());
        succeeds(&mut tar);
        let path = folder
            .path()
            .join(format!("{NAME}-{VERSION}-linux-{}", architecture()));
        Self {
            _folder: folder,
            path,
        }
    }

    fn program(&self) -> PathBuf {
        self.path.join(NAME)
    }

    /// The program, in a folder that is no checkout and with nothing in its environment but where
    /// emulators are found.
    fn command(&self) -> Command {
        let mut command = Command::new(self.program());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.current_dir(&self.path).stdin(Stdio::null());
        command
    }
}

/// Runs `command`, which must succeed.
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{}\n{out}{err}", output.status)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn packing_twice_gives_the_same_bytes_and_sums_that_hold() {
    let again = TempDir::new().expect("a folder");
    pack(again.path());
    let all = names(packed());
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(all, names(again.path()));
    for name in &all {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("a file");
        assert!(read(packed()) == read(again.path()), "{name} differs");
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    succeeds(check.current_dir(packed()));
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn the_archive_tests_itself_and_an_emulator_without_a_checkout() {
    let unpacked = Unpacked::new();
    let mut test = unpacked.command();
    test.args([
        "self-test",
        "--check",
        "signals/term-exits-zero",
        "--fixture",
        "ignores-term",
    ]);
    succeeds(&mut test);

    let arm64 = platform::parse("arm64").expect("a platform");
    let emulated = platform::host().expect("a platform") != arm64;
    if !emulated || !Path::new("/usr/bin/qemu-aarch64-static").exists() {
        eprintln!("skipped: no emulator for arm64");
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let pause = build::programs(&[arm64], &[link::PAUSE], folder.path()).expect("it is built");
    let mut judge = unpacked.command();
    judge.args(["--platform", "linux/arm64", "--report", "json", "--image"]);
    judge.arg(format!("binary:{}", pause[0].path.display()));
    judge.args([
        "--filter",
        "signals/term-exits-zero",
        "--filter",
        "reaping/one-orphan",
    ]);
    let report = succeeds(&mut judge).stdout;
    let report: serde_json::Value = serde_json::from_slice(&report).expect("a report");
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 2, "{report:#}");
    // Without programs of that architecture whose faults are known, they would be inconclusive.
    for check in checks {
        assert_eq!(check["verdict"], "pass", "{check:#}");
    }
}

/// A root with busybox, the program and a pause: no C library, no certificate, no user.
#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn the_program_runs_where_there_is_no_c_library() {
    let busybox = Path::new("/usr/bin/busybox");
    if !rustix::process::geteuid().is_root() || !busybox.exists() {
        eprintln!("skipped: it needs root, and apt-get install busybox-static");
        return;
    }
    let unpacked = Unpacked::new();
    let root = TempDir::new().expect("a folder");
    for name in ["bin", "dev", "proc", "sys", "tmp", "old"] {
        std::fs::create_dir(root.path().join(name)).expect("a folder");
    }
    std::fs::copy(busybox, root.path().join("bin/busybox")).expect("a copy");
    std::fs::copy(unpacked.program(), root.path().join("bin").join(NAME)).expect("a copy");
    let host = platform::host().expect("a platform");
    let folder = TempDir::new().expect("a folder");
    let pause = build::programs(&[host], &[link::PAUSE], folder.path()).expect("it is built");
    std::fs::copy(&pause[0].path, root.path().join("pause")).expect("a copy");

    let enter = "set -e; cd \"$0\"; mount --bind . .; cd \"$0\"; \
                 for it in dev proc sys; do mount --rbind /$it $it; done; \
                 mount -t tmpfs none tmp; pivot_root . old; \
                 exec /bin/busybox sh -c '/bin/busybox umount -l /old; \
                 exec /bin/pause-conformance --image binary:/pause --report tap'";
    let mut judge = Command::new("unshare");
    judge.args(["--mount", "--propagation", "private", "sh", "-c", enter]);
    let output = succeeds(
        judge
            .arg(root.path())
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
    );
    let report = String::from_utf8_lossy(&output.stdout);
    let passed = report
        .lines()
        .filter(|line| line.trim_start().starts_with("ok "));
    assert!(passed.count() > 50, "{}", said(&output));
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn man_renders_every_page_without_a_complaint() {
    if Command::new("man").arg("--version").output().is_err() {
        eprintln!("skipped: apt-get install man-db");
        return;
    }
    let unpacked = Unpacked::new();
    let folder = unpacked.path.join("man");
    let pages = names(&folder);
    for page in &pages {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"])
            .arg(folder.join(page));
        man.env("MANPAGER", "cat").env("LC_ALL", "C.UTF-8");
        let output = succeeds(&mut man);
        let complaints = String::from_utf8_lossy(&output.stderr);
        // A URL may be longer than a line.
        let mut complaints = complaints
            .lines()
            .filter(|it| !it.ends_with("can't break line"));
        assert_eq!(complaints.next(), None, "{page}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            text.contains("NAME") && text.contains(NAME),
            "{page}: {text}"
        );
    }
    assert!(
        pages.contains("pause-conformance.1") && pages.contains("pause-conformance-self-test.1")
    );

    // The page of checks has them all.
    let list = succeeds(unpacked.command().args(["list", "--format", "json"])).stdout;
    let list: serde_json::Value = serde_json::from_slice(&list).expect("a list");
    let page = std::fs::read_to_string(folder.join("pause-conformance-checks.7")).expect("a page");
    let page = page.replace("\\-", "-");
    let text = list.to_string();
    let ids: Vec<&str> = text
        .split("\"id\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(ids.len() > 100, "{} checks", ids.len());
    for id in ids {
        assert!(page.contains(id), "{id}");
    }
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn dpkg_installs_the_package_in_a_root_of_its_own() {
    if !rustix::process::geteuid().is_root()
        || Command::new("dpkg").arg("--version").output().is_err()
    {
        eprintln!("skipped: it needs root and dpkg");
        return;
    }
    let root = TempDir::new().expect("a folder");
    let admin = root.path().join("var/lib/dpkg");
    for folder in ["info", "updates"] {
        std::fs::create_dir_all(admin.join(folder)).expect("a folder");
    }
    std::fs::write(admin.join("status"), "").expect("a file");
    let dpkg = |args: &[&str]| {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.path().display()));
        dpkg.arg("--log=/dev/null").args(args);
        succeeds(&mut dpkg)
    };
    dpkg(&["--install", &file("deb").display().to_string()]);
    let mut version = Command::new(root.path().join("usr/bin").join(NAME));
    let version = succeeds(version.arg("--version")).stdout;
    let version = String::from_utf8_lossy(&version);
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit.map(|commit| String::from_utf8_lossy(&commit.stdout).trim().to_owned());
    let begins = format!("{NAME} {VERSION}\ncommit {}", commit.unwrap_or_default());
    assert!(version.starts_with(&begins), "{version}");
    for path in [
        "usr/share/man/man1/pause-conformance.1",
        "usr/share/bash-completion/completions/pause-conformance",
        "usr/share/doc/pause-conformance/copyright",
        "usr/share/doc/pause-conformance/NOTICES",
    ] {
        assert!(root.path().join(path).is_file(), "{path}");
    }
    dpkg(&["--remove", NAME]);
    assert!(!root.path().join("usr/bin").join(NAME).exists());
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn the_bill_of_material_names_what_the_program_holds() {
    let bytes = std::fs::read(file("cdx.json")).expect("a bill");
    let bill: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().expect("components");
    let named = |name: &str| components.iter().any(|it| it["name"] == name);
    assert!(named("clap") && named("rustls") && named("wasmi") && named("reference-pause"));
    assert!(!named("clap_derive") && !named("rstest") && !named("xtask"));
    // Each crate of others can be verified.
    for it in components.iter().filter(|it| it["purl"].is_string()) {
        assert!(it["licenses"].is_array(), "{it}");
        let own = it["version"] == VERSION && it["hashes"].is_null();
        assert!(
            own || it["hashes"][0]["content"]
                .as_str()
                .is_some_and(|sum| sum.len() == 64),
            "{it}"
        );
    }
    let mut sum = Command::new("sha256sum");
    let sum = succeeds(sum.arg(Unpacked::new().program())).stdout;
    let expected = bill["metadata"]["component"]["hashes"][0]["content"].as_str();
    assert!(String::from_utf8_lossy(&sum).starts_with(expected.expect("a sum")));
}

/// Everything that holds whatever the program is.
#[test]
fn a_package_of_any_program_is_read_by_tar_and_dpkg() {
    let pages = program::pages().expect("they are built");
    let content = Content::gather(b"#!/bin/sh\n", pages.path(), b"{}", "none").expect("its files");
    let folder = TempDir::new().expect("a folder");
    let [tar, deb] = ["a.tar", "a.deb"].map(|name| folder.path().join(name));
    let bytes = archive::write(&content, "a-1").finish();
    assert_eq!(bytes, archive::write(&content, "a-1").finish());
    std::fs::write(&tar, bytes).expect("a file");
    let list = succeeds(Command::new("tar").arg("-tvf").arg(&tar)).stdout;
    let list = String::from_utf8_lossy(&list);
    assert!(
        list.contains("-rwxr-xr-x 0/0") && list.contains(" a-1/man/pause-conformance.1\n"),
        "{list}"
    );

    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        eprintln!("skipped: no dpkg-deb");
        return;
    }
    std::fs::write(&deb, debian::write(&content, "arm64")).expect("a file");
    let fields = succeeds(Command::new("dpkg-deb").arg("--field").arg(&deb)).stdout;
    let fields = String::from_utf8_lossy(&fields);
    assert!(
        fields.contains("Architecture: arm64\n") && fields.contains(VERSION),
        "{fields}"
    );
    let tree = folder.path().join("tree");
    succeeds(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([&deb, &tree]),
    );
    for file in &content.0 {
        let bytes = std::fs::read(tree.join(&file.installed)).expect("it was unpacked");
        assert_eq!(bytes, file.bytes, "{}", file.installed);
    }
}
