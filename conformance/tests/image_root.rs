//! The root of a sandbox is the whole image: programs find its files as a runtime would provide
//! them, as root and as an ordinary user, and a big image is on disk.
//!
//! The program itself looks: it is a shell that waits if all is as it should be, and else ends.

mod common;
#[path = "common/copied.rs"]
mod copied;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::suite::{self, Ended};
use common::{has, host};
use conformance::programs;
use conformance::subject::build::{ImageBuilder, LayoutBuilder, Packing, Tar};
use rstest::rstest;
use serde_json::{Value, json};

/// How much more memory the suite may use for a big image than for a small one.
const MORE: u64 = 24 << 20;

/// A static program that is a shell.
fn shell() -> Option<Vec<u8>> {
    has("busybox").then(|| fs::read("/bin/busybox").expect("it can be read"))
}

/// A layer with a shell and the programs that scripts here call.
fn with_shell(shell: &[u8]) -> Tar {
    let mut layer = Tar::default();
    layer.directory("bin", 0o755).file("bin/sh", 0o755, shell);
    for name in ["cat", "ls", "readlink", "sleep", "stat", "test"] {
        layer.hard_link(format!("bin/{name}"), "bin/sh");
    }
    layer
}

/// An image whose shell waits if this test succeeds.
fn waits_if(condition: &str, lower: &Tar, upper: &Tar) -> ImageBuilder {
    let script = format!("cd / && {condition} && exec sleep 1000");
    ImageBuilder::of_layer(lower, &host())
        .layer(upper, Packing::Gzip)
        .set("Env", json!(["PATH=/bin"]))
        .set("Entrypoint", json!(["/bin/sh", "-c", script]))
}

/// The suite on an image in this folder, as the user who runs the tests or as an ordinary user.
fn suite(ordinary: bool, folder: &Path) -> Command {
    if !ordinary || !rustix::process::geteuid().is_root() {
        return suite::program();
    }
    let own = folder.join("suite");
    suite::between_runs(|| copied::suite(&own));
    for path in [folder, &own] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(own);
    command
}

/// A folder that any user may enter.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix(name).tempdir();
    let folder = folder.expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    folder
}

/// The suite, after a shell script in a new mount namespace, which needs root.
fn suite_after(script: &str) -> Option<Command> {
    let mut command = Command::new("unshare");
    let script = format!("{script} && exec \"$0\" \"$@\"");
    command
        .args(["--mount", "bash", "-c", &script])
        .arg(env!("CARGO_BIN_EXE_pause-conformance"));
    rustix::process::geteuid().is_root().then_some(command)
}

/// The verdict of one check, and all output.
fn judged(image: &ImageBuilder, check: &str, ordinary: bool, folder: &Path) -> (Value, Ended) {
    judged_by(suite(ordinary, folder), image, check, folder)
}

/// The same, with a suite that is started by this command.
fn judged_by(
    mut command: Command,
    image: &ImageBuilder,
    check: &str,
    folder: &Path,
) -> (Value, Ended) {
    LayoutBuilder::single(image, "x")
        .write(&folder.join("image"))
        .expect("written");
    command.args([
        "--image",
        "oci:image",
        "--report",
        "json",
        "--filter",
        check,
    ]);
    let ended = suite::run(command, folder);
    let report: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    let checks = report["runs"][0]["checks"].as_array().expect("checks");
    let check = checks.iter().find(|record| record["id"] == check);
    (check.expect("it is there").clone(), ended)
}

/// An image with files of all kinds and owners, and a shell.
fn lower_files(shell: &[u8]) -> Tar {
    let mut lower = with_shell(shell);
    lower
        .file("etc/below", 0o644, b"below")
        .file("etc/replaced", 0o644, b"old")
        .file("etc/gone", 0o644, b"there")
        .directory("list", 0o755)
        .file("list/a", 0o644, b"")
        .file("list/.b", 0o600, b"")
        .directory("list/c", 0o700)
        .owner(65535, 65535)
        .file("etc/mine", 0o640, b"mine")
        .owner(0, 65535)
        .file("etc/ours", 0o640, b"ours")
        .owner(70_000, 70_000)
        .file("etc/theirs", 0o604, b"theirs")
        .file("etc/roots", 0o640, b"roots")
        .directory("proc", 0o555)
        .directory("sys", 0o555)
        .directory("dev", 0o755)
        .directory("run", 0o1777)
        .directory("closed", 0o700)
        .file("closed/in", 0o644, b"")
        .file("same", 0o644, b"same")
        .hard_link("list/same", "same")
        .symlink("link", "/etc/below")
        .symlink("list/up", "../etc/below");
    lower
}

/// Tests that must succeed in the program.
const FOUND: [&str; 21] = [
    "test $(cat etc/below) = below",
    "test $(cat etc/replaced) = new",
    "test $(stat -c %a etc/replaced) = 755 || test $(stat -c %a etc/replaced) = 555",
    "test ! -e etc/gone",
    "test $(cat link) = below",
    "test $(cat list/up) = below",
    "test $(readlink link) = /etc/below",
    "test $(ls -A list | cat | tr '\\n' ,) = .b,a,c,same,up,",
    "test $(cat etc/mine) = mine",
    "test $(cat etc/ours) = ours",
    "test $(cat etc/theirs) = theirs",
    "! cat etc/roots",
    "! ls list/c",
    "! test -e closed/in",
    "! test -w etc",
    "test -r proc/self/stat",
    "test -c dev/null",
    "test -d sys",
    "test $(stat -c %a run) = 1777",
    "test $(stat -c %h same) = 2",
    "test $(stat -c %i same) = $(stat -c %i list/same)",
];

#[rstest]
fn a_program_finds_the_files_of_its_image(#[values(false, true)] ordinary: bool) {
    let Some(shell) = shell() else { return };
    let lower = lower_files(&shell);
    let mut upper = Tar::default();
    upper
        .file("etc/replaced", 0o755, b"new")
        .file("etc/.wh.gone", 0o644, b"");
    for condition in FOUND {
        let folder = folder("files");
        let mut lower = lower.clone();
        lower.hard_link("bin/tr", "bin/sh");
        let image = waits_if(condition, &lower, &upper);
        let (stays, _) = judged(&image, "startup/stays", ordinary, folder.path());
        assert_eq!(stays["verdict"], "pass", "{condition}: {stays:#}");
    }
}

#[test]
fn a_file_has_its_owner_where_the_ids_are_mapped() {
    let Some(shell) = shell().filter(|_| rustix::process::geteuid().is_root()) else {
        return;
    };
    let mut lower = with_shell(&shell);
    lower.owner(12, 34).file("owned", 0o4750, b"");
    let condition = "test $(stat -c %u:%g:%a owned) = 12:34:750";
    let image = waits_if(condition, &lower, &Tar::default());
    let (stays, _) = judged(&image, "startup/stays", false, folder("owner").path());
    assert_eq!(stays["verdict"], "pass", "{stays:#}");
}

#[rstest]
fn what_cannot_be_given_is_said(#[values(false, true)] ordinary: bool) {
    let mut layer = Tar::default();
    layer
        .file("pause", 0o755, programs::REFERENCE)
        .device("console", 5, 1)
        .owner(70_000, 70_000)
        .file("theirs", 0o644, b"");
    let image = ImageBuilder::of_layer(&layer, &host());
    let (check, _) = judged(
        &image,
        "startup/read-only-root",
        ordinary,
        folder("lacks").path(),
    );
    let said = check["evidence"].to_string();
    assert_eq!(check["verdict"], "pass", "{check:#}");
    assert!(said.contains("except for 1 device files"), "{said}");
    assert!(said.contains("owners"), "{said}");
    // Also in a report that shows only checks that did not pass.
    let folder = folder("lacks");
    LayoutBuilder::single(&image, "x")
        .write(&folder.path().join("image"))
        .expect("written");
    let mut command = suite(ordinary, folder.path());
    command.args(["--image", "oci:image", "--filter", "pid1/is-one"]);
    let Ended { stdout: said, .. } = suite::run(command, folder.path());
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("  root "))
        .collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].contains("except for") && lines[0].contains("owners"),
        "{said}"
    );
    assert!(lines[1].contains("except for 1 device files"), "{said}");
}

/// The image is on disk, in a file system without extended attributes.
#[test]
fn capabilities_that_the_kernel_refuses_are_said() {
    let Some(command) = suite_after("mount -t ramfs ramfs \"$TMPDIR\"") else {
        return;
    };
    let image = of_size(20, programs::REFERENCE, |layer| {
        // capabilities(7), "File capability extended attribute versioning": 2, CAP_NET_RAW.
        let mut capability = [0; 20];
        (capability[3], capability[5]) = (2, 0x20);
        layer
            .xattr("security.capability", &capability)
            .file("capable", 0o755, b"");
    });
    let check = "startup/read-only-root";
    let (check, _) = judged_by(command, &image, check, folder("capabilities").path());
    let said = check["evidence"].to_string();
    assert_eq!(check["verdict"], "pass", "{check:#}");
    assert!(
        said.contains("except for 1 file without capabilities"),
        "{said}"
    );
}

/// An image of this many MiB with this program, for an ordinary user.
fn of_size(mebibytes: usize, program: &[u8], fill: impl FnOnce(&mut Tar)) -> ImageBuilder {
    let mut layer = Tar::default();
    layer
        .file("pause", 0o755, program)
        .file("data", 0o644, &vec![1; mebibytes << 20]);
    fill(&mut layer);
    let mut image = ImageBuilder::of_layer(&layer, &host());
    image.layers[0].1 = Packing::Plain;
    image.set("User", json!("65535:65535"))
}

/// One of the suite's own programs.
fn fixture(name: &str) -> Vec<u8> {
    let fixture = fixtures::all().find(|fixture| fixture.name == name);
    let built = fixture.and_then(|fixture| fixture.build(programs::FIXTURE).ok());
    built.expect("it is in the catalogue")
}

/// The suite, with the folder for temporary files on an overlay over another overlay, as in a
/// container in a container: the kernel allows no third one (overlayfs.rst, "Nesting").
fn suite_without_overlay() -> Option<Command> {
    suite_after(
        r#"lay() { mount -t overlay overlay -o "lowerdir=$1/low,upperdir=$1/up,workdir=$1/work" "$2"; } &&
        mount -t tmpfs tmpfs "$TMPDIR" && a=$TMPDIR/a && mkdir -p "$a"/{low,up,work,top} && lay "$a" "$a/top" &&
        b=$TMPDIR/b && mkdir -p "$b"/{up,work,top} "$a/top/low" && ln -s "$a/top/low" "$b/low" && lay "$b" "$b/top" &&
        export TMPDIR=$b/top"#,
    )
}

#[test]
fn without_an_overlay_an_image_that_may_be_copied_is_judged() {
    for (program, verdict) in [("", "pass"), ("writes-below-run", "fail")] {
        let Some(command) = suite_without_overlay() else {
            return;
        };
        let program = match program {
            "" => programs::REFERENCE.to_vec(),
            name => fixture(name),
        };
        let image = of_size(20, &program, |layer| {
            layer.directory("run", 0o1777);
        });
        let check = "startup/read-only-root";
        let (check, _) = judged_by(command, &image, check, folder("copied").path());
        assert_eq!(check["verdict"], verdict, "{check:#}");
    }
}

#[test]
fn without_an_overlay_what_a_big_image_s_program_writes_is_left_open_and_nothing_else() {
    let Some(mut command) = suite_without_overlay() else {
        return;
    };
    let image = of_size(130, programs::REFERENCE, |_| ());
    command.args(["--filter", "startup/any-uid"]);
    let folder = folder("open");
    let (check, ended) = judged_by(command, &image, "startup/read-only-root", folder.path());
    assert_eq!(check["verdict"], "inconclusive", "{check:#}");
    assert!(check["reason"].to_string().contains("overlay"), "{check:#}");
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
}

#[test]
fn without_an_overlay_what_a_big_image_s_program_lacks_is_found() {
    let Some(command) = suite_without_overlay() else {
        return;
    };
    let image = of_size(130, &fixture("needs-root"), |_| ());
    let (check, _) = judged_by(command, &image, "startup/any-uid", folder("needs").path());
    assert_eq!(check["verdict"], "fail", "{check:#}");
    let observed = check["observed"].to_string();
    assert!(observed.contains("it stays with root's uid"), "{check:#}");
}

/// 100 MB of incompressible data in 10,000 files.
fn big() -> ImageBuilder {
    let mut layer = Tar::default();
    layer.file("pause", 0o755, programs::REFERENCE);
    let mut state = 1_u64;
    let mut content = vec![0; 10_000];
    for number in 0..10_000 {
        for byte in &mut content {
            // Knuth's linear congruential generator, MMIX.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        layer.file(format!("data/{}/{number}", number % 100), 0o644, &content);
    }
    let mut image = ImageBuilder::of_layer(&layer, &host());
    image.layers[0].1 = Packing::Plain;
    image
}

#[rstest]
fn a_big_image_costs_no_memory_and_leaves_no_file(#[values(false, true)] ordinary: bool) {
    let small = ImageBuilder::pause(programs::REFERENCE, &host());
    let check = "startup/read-only-root";
    let (_, little) = judged(&small, check, ordinary, folder("small").path());
    // `suite::run` asserts that nothing is left.
    let (verdict, much) = judged(&big(), check, ordinary, folder("big").path());
    assert_eq!(verdict["verdict"], "pass", "{verdict:#}");
    assert!(verdict.to_string().contains("none of 10"), "{verdict:#}");
    assert!(
        much.peak <= little.peak + MORE,
        "{} MiB, and {} MiB for a small one",
        much.peak >> 20,
        little.peak >> 20
    );
}

#[test]
fn what_a_program_writes_to_a_big_image_is_seen() {
    let program = fixture("writes-below-run");
    let mut image = big();
    let mut upper = Tar::default();
    upper
        .file("pause", 0o755, &program)
        .directory("run", 0o1777);
    image = image.layer(&upper, Packing::Gzip);
    for ordinary in [false, true] {
        let folder = folder("writes");
        let (check, _) = judged(&image, "startup/read-only-root", ordinary, folder.path());
        assert_eq!(check["verdict"], "fail", "{check:#}");
        assert!(
            check["observed"]
                .to_string()
                .contains("made /run/pause.pid")
        );
    }
}

/// An image with a dynamic program, a library that is linked to it, one that it opens, and the
/// host's loader and C library.
fn dynamic(folder: &Path) -> Option<Tar> {
    if !has("cc") {
        return None;
    }
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
    write("linked.c", "int linked(void) { return 1; }\n");
    write("opened.c", "int opened(void) { return 2; }\n");
    write(
        "main.c",
        "#include <dlfcn.h>\n#include <signal.h>\n#include <unistd.h>\n\
         int linked(void);\n\
         int main(void) {\n\
         void *library = dlopen(\"/plugins/opened.so\", RTLD_NOW);\n\
         int (*opened)(void) = library ? (int (*)(void))dlsym(library, \"opened\") : 0;\n\
         if (!opened || opened() != 2 || linked() != 1) return 1;\n\
         for (;;) pause();\n}\n",
    );
    let compile = |arguments: &[&str]| common::run("cc", arguments, folder);
    compile(&["-shared", "-fPIC", "-o", "liblinked.so", "linked.c"]);
    compile(&["-shared", "-fPIC", "-o", "opened.so", "opened.c"]);
    compile(&[
        "-o",
        "main",
        "main.c",
        "-L.",
        "-llinked",
        "-Wl,-rpath,$ORIGIN/../share/lib",
        "-ldl",
    ]);
    let read = |name: &str| fs::read(folder.join(name)).expect("it was compiled");
    let mut layer = Tar::default();
    layer
        .file("opt/bin/main", 0o755, &read("main"))
        .file("opt/share/lib/liblinked.so", 0o644, &read("liblinked.so"))
        .file("plugins/opened.so", 0o644, &read("opened.so"));
    for path in needed(&folder.join("main")) {
        let name = path.strip_prefix("/").expect("it is absolute");
        let content = fs::read(&path).expect("the host has it");
        layer.file(name.as_os_str().as_encoded_bytes(), 0o755, &content);
    }
    Some(layer)
}

/// The host's libraries of a program, by ldd(1).
fn needed(program: &Path) -> Vec<PathBuf> {
    let listed = suite::between_runs(|| Command::new("ldd").arg(program).output());
    let output = listed.expect("ldd runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let own = program.parent().expect("it has one");
    let paths = words
        .map(PathBuf::from)
        .filter(|path| !path.starts_with(own));
    paths.collect()
}

#[test]
fn a_program_finds_libraries_by_its_own_place_and_opens_others() {
    let folder = folder("dynamic");
    let Some(layer) = dynamic(folder.path()) else {
        return;
    };
    let image = ImageBuilder::of_layer(&layer, &host()).set("Entrypoint", json!(["/opt/bin/main"]));
    let run = tempfile::tempdir().expect("a folder");
    let (stays, _) = judged(&image, "startup/stays", false, run.path());
    assert_eq!(stays["verdict"], "pass", "{stays:#}");
}

#[test]
fn an_init_and_its_child_are_judged_as_they_run() {
    if !has("tini-static") && !has("tini") {
        return;
    }
    let tini = ["/usr/bin/tini-static", "/usr/bin/tini"];
    let tini = tini.iter().find_map(|path| fs::read(path).ok());
    let mut layer = Tar::default();
    layer.file("tini", 0o755, &tini.expect("it is there")).file(
        "realpause",
        0o755,
        programs::REFERENCE,
    );
    let image = ImageBuilder::of_layer(&layer, &host())
        .set("Entrypoint", json!(["/tini", "--", "/realpause"]));
    let folder = folder("init");
    let (direct, _) = judged(&image, "image/entrypoint-direct", false, folder.path());
    assert_eq!(direct["verdict"], "fail", "{direct:#}");
    let run = tempfile::tempdir().expect("a folder");
    let (reaps, _) = judged(&image, "signals/term-exits-zero", false, run.path());
    assert!(
        !reaps["observed"].to_string().contains("not found"),
        "{reaps:#}"
    );
    assert_ne!(reaps["verdict"], "error", "{reaps:#}");
}

#[rstest]
#[case::a_link("proc", Some("pause"), "/proc")]
#[case::an_absolute_link("sys", Some("/pause"), "/sys")]
#[case::a_file("sys", None, "/sys")]
#[case::a_file("dev", None, "dev")]
#[case::an_absolute_link("dev", Some("/devices"), "out of the image")]
#[case::a_link_above_the_root("dev", Some("../devices"), "out of the image")]
#[case::a_link_over_an_absolute_one("dev", Some("away/dev"), "out of the image")]
#[case::a_link_to_the_root("dev", Some("."), "a link to /, where")]
#[case::a_link_into_another_mount("dev", Some("proc/dev"), "a link to /proc/dev, where")]
#[case::a_link_to_another_mount("dev", Some("sys"), "a link to /sys, where")]
#[case::a_link_to_itself("dev", Some("dev"), "more than 40 links")]
fn what_runtimes_do_not_mount_on_is_the_image_s_fault(
    #[case] name: &str,
    #[case] target: Option<&str>,
    #[case] said: &str,
) {
    let mut layer = Tar::default();
    layer
        .file("pause", 0o755, programs::REFERENCE)
        .directory("devices", 0o755)
        .symlink("away", "/devices");
    match target {
        Some(target) => layer.symlink(name, target),
        None => layer.file(name, 0o644, b""),
    };
    let image = ImageBuilder::of_layer(&layer, &host());
    let (stays, _) = judged(&image, "startup/stays", false, folder("fault").path());
    assert_eq!(stays["verdict"], "fail", "{stays:#}");
    assert!(stays["observed"].to_string().contains(said), "{stays:#}");
}

/// Like a runtime, the suite mounts on what the image's /dev leads to, or makes that.
#[rstest]
fn a_dev_that_is_a_link_within_the_image_is_followed(
    #[values("devices", "gone", "run/../devices", "run/dev")] target: &str,
    #[values(false, true)] ordinary: bool,
) {
    let mut layer = Tar::default();
    layer
        .file("pause", 0o755, programs::REFERENCE)
        .directory("devices", 0o755)
        .directory("run", 0o755)
        .symlink("dev", target);
    let image = ImageBuilder::of_layer(&layer, &host());
    for check in ["namespaces/volume-shared", "namespaces/teardown"] {
        let (check, _) = judged(&image, check, ordinary, folder("dev").path());
        assert_eq!(check["verdict"], "pass", "{check:#}");
    }
}
