//! **Too little disk space is one error line with the figures, or makes a check inconclusive; it is
//! never the image's fault.** Each test has a mount namespace in which the folders for temporary
//! files are small file systems.

mod common;

use std::path::Path;
use std::process::Command;

use common::suite::{self, Ended};
use common::{host, server};
use conformance::programs::REFERENCE;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use rstest::rstest;
use serde_json::Value;

/// The number of files of 1 MiB, more than the suite keeps in memory.
const FILES: u8 = 18;

/// A sound pause in a big image.
fn image() -> LayoutBuilder {
    let mut layer = Tar::default();
    layer.file("pause", 0o755, REFERENCE);
    for number in 0..FILES {
        let content = vec![number; 1 << 20];
        layer.file(format!("data/{number}"), 0o644, &content);
    }
    let mut image = ImageBuilder::of_layer(&layer, &host());
    image.layers[0].1 = Packing::Plain;
    LayoutBuilder::single(&image, "3.10")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    image()
        .write(&folder.path().join("image"))
        .expect("written");
    folder
}

/// The suite, with `TMPDIR` and `/var/tmp` on tmpfs with these options.
fn with(tmpdir: &str, var_tmp: &str, arguments: &[&str], folder: &Path) -> Ended {
    let one_id = !rustix::process::geteuid().is_root();
    with_ids(one_id, tmpdir, var_tmp, arguments, folder)
}

/// The same with a single id; then the program's user has a separate root.
fn with_ids(one_id: bool, tmpdir: &str, var_tmp: &str, arguments: &[&str], folder: &Path) -> Ended {
    let mut command = Command::new("unshare");
    if one_id {
        command.args(["--user", "--map-root-user"]);
    }
    let script = r#"set -e; mount -t tmpfs -o "$1" none "$TMPDIR"
        mount -t tmpfs -o "$2" none /var/tmp; shift 2; exec "$0" "$@""#;
    command
        .args(["--mount", "sh", "-c", script])
        .arg(suite::program().get_program())
        .args([tmpdir, var_tmp])
        .args(arguments);
    suite::run(command, folder)
}

/// Mount options for a folder of no use: nothing in it can be executed.
const NOTHING: &str = "size=1m,noexec";
const JUDGE: [&str; 4] = ["--image", "oci:image", "--report", "json"];

/// The error line, and the hint that names the remedy.
fn line(ended: &Ended) -> &str {
    let said = &ended.stderr;
    assert_eq!(ended.status, Some(2), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[1].starts_with(" hint: ") && lines[1].contains("TMPDIR"),
        "{said}"
    );
    lines[0]
}

#[test]
fn an_image_that_cannot_be_read_for_want_of_space_is_one_line() {
    let folder = folder();
    let ended = with("size=8m", NOTHING, &JUDGE, folder.path());
    let said = line(&ended);
    assert!(
        said.contains("no space left on device: 0 MiB are free"),
        "{said}"
    );
}

#[test]
fn an_archive_that_cannot_be_unpacked_for_want_of_space_is_one_line() {
    let folder = folder();
    let mut tar = Command::new("tar");
    tar.args(["-czf", "image.tgz", "-C", "image", "."])
        .current_dir(&folder);
    let packed = suite::between_runs(|| tar.status());
    assert!(packed.expect("tar is installed").success());
    let arguments = ["--image", "oci-archive:image.tgz"];
    let ended = with("size=8m", NOTHING, &arguments, folder.path());
    let said = line(&ended);
    assert!(said.contains("0 MiB are free"), "{said}");
}

#[cfg(feature = "registry")]
#[test]
fn an_image_of_a_registry_is_not_pulled_where_it_has_no_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let answer = server::of_layout(image());
    let address = server::serve(move |path, _, _| {
        let found = answer(path).map(|body| server::ok(&body));
        Some(found.unwrap_or_else(|| server::reply("404 Not Found", "", b"")))
    });
    let image = format!("docker://{address}/pause:3.10");
    let ended = with("size=8m", NOTHING, &["--image", &image], folder.path());
    let said = line(&ended);
    assert!(said.contains("8 MiB are free, it needs 18 MiB"), "{said}");
}

/// The file system lacks bytes or inodes, and so does the fallback.
#[rstest]
#[case("size=30m", "11 MiB are free")]
#[case("size=200m,nr_inodes=16", "files more are allowed")]
fn a_root_that_has_no_room_is_one_line_before_anything_is_judged(
    #[case] tmpdir: &str,
    #[case] figure: &str,
) {
    let folder = folder();
    let ended = with(tmpdir, NOTHING, &JUDGE, folder.path());
    let said = line(&ended);
    for words in ["18 MiB", figure, "/var/tmp: it is mounted noexec"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert_eq!(report["conclusion"], "not-judged");
    assert_eq!(report["runs"], serde_json::json!([]));
    let why = report["error"].as_str().unwrap_or_default();
    assert!(why.contains(figure), "{why}");
    let alone = [&JUDGE[..], &["--static-only"]].concat();
    let ended = with(tmpdir, NOTHING, &alone, folder.path());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[test]
fn a_root_goes_where_there_is_room() {
    let folder = folder();
    let some = [&JUDGE[..], &["--filter", "signals/term-exits-zero"]].concat();
    let ended = with("size=30m", "size=30m", &some, folder.path());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

/// The disk has room for one root, so the one check that also runs as root gets none.
#[test]
fn what_runs_out_of_space_meanwhile_is_inconclusive() {
    const AS_ROOT: &str = "startup/read-only-root";
    let folder = folder();
    let two = ["pid1/is-one", "signals/term-exits-zero", AS_ROOT];
    let mut arguments = JUDGE.to_vec();
    arguments.extend(two.iter().flat_map(|id| ["--filter", *id]));
    let ended = with_ids(true, "size=45m", NOTHING, &arguments, folder.path());
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    for check in report["runs"][0]["checks"].as_array().expect("checks") {
        if check["id"] == AS_ROOT {
            assert_eq!(check["verdict"], "inconclusive", "{check}");
            let reason = check["reason"].as_str().expect("a reason");
            assert!(reason.contains("MiB are free"), "{reason}");
        } else {
            assert_eq!(check["verdict"], "pass", "{check}");
        }
    }
}

/// The disk holds one of two images: the first is removed before the second is unpacked.
#[test]
fn the_roots_of_one_image_make_room_for_those_of_the_next() {
    let folder = folder();
    image()
        .write(&folder.path().join("other"))
        .expect("written");
    let arguments = [
        &JUDGE[..],
        &["--image", "oci:other", "--filter", "pid1/is-one"],
    ]
    .concat();
    // The files of both images, and one root.
    let ended = with("size=60m", NOTHING, &arguments, folder.path());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}
