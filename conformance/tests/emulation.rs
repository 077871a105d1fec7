//! Foreign images under emulation, without root: each way in which the kernel can run them, and the
//! messages if there is no emulator, or if an image contradicts its configuration.

#[path = "common/foreign.rs"]
mod foreign;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;
use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use rstest::rstest;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pause-conformance");

/// A folder for all users with the suite and the reference for arm64.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode set");
    };
    open(folder.path());
    std::fs::create_dir(folder.path().join("linux-arm64")).expect("made");
    open(&folder.path().join("linux-arm64"));
    for (from, name) in [
        (Path::new(PROGRAM), "suite"),
        (&foreign::arm64().join("pause"), "linux-arm64/pause"),
        (&foreign::arm64().join("fixture"), "linux-arm64/fixture"),
    ] {
        let to = folder.path().join(name);
        std::fs::copy(from, &to).expect("copied");
        open(&to);
    }
    folder
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0)
}

/// The suite as an ordinary user, also if the tests run as root.
fn as_ordinary_user(folder: &Path) -> Command {
    if !is_root() {
        return Command::new(folder.join("suite"));
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"])
        .arg(folder.join("suite"));
    command
}

/// The only run in the JSON report of a suite that must end with this status.
fn run(command: &mut Command, folder: &Path, status: i32) -> Value {
    let output = command
        .args(["--report", "json", "--platform", "linux/arm64", "--image"])
        .arg(format!(
            "binary:{}",
            folder.join("linux-arm64/pause").display()
        ))
        .env("PAUSE_CONFORMANCE_PROGRAMS", folder)
        .output()
        .expect("the suite starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let mut runs = report["runs"].as_array().expect("runs").clone();
    assert_eq!(runs.len(), 1);
    // Not the whole report, which is too long for a message.
    let checks = runs[0]["checks"].as_array().expect("checks").iter();
    let remarkable: Vec<_> = checks
        .filter(|check| check["verdict"] != "pass" && check["verdict"] != "skipped")
        .collect();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{remarkable:#?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    runs.remove(0)
}

fn verdict<'a>(run: &'a Value, id: &str) -> &'a str {
    let checks = run["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["id"] == id)
        .and_then(|check| check["verdict"].as_str())
        .expect("the check has a verdict")
}

/// The entries of the host's binfmt_misc that this process can see.
fn host_table() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/sys/fs/binfmt_misc");
    let mut names: Vec<_> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into()
        })
        .collect();
    names.sort();
    names
}

#[rstest]
#[case("private", "private binfmt_misc")]
#[case("program", "started as the program")]
fn the_foreign_reference_is_judged_without_root(#[case] way: &str, #[case] words: &str) {
    let folder = folder();
    let before = host_table();
    let mut suite = as_ordinary_user(folder.path());
    let run = run(suite.args(["--emulation", way]), folder.path(), 0);
    assert_eq!(run["runtime"], "embedded (rootless)");
    let emulator = run["emulator"].as_str().expect("it is named");
    assert!(emulator.starts_with("qemu-aarch64-static 7"), "{emulator}");
    assert!(emulator.ends_with(&format!("({words})")), "{emulator}");
    for id in [
        "startup/stays",
        "signals/term-exits-zero",
        "signals/survives-hup",
        "reaping/burst",
        "namespaces/ipc-shared",
        // With native workloads in the sandbox.
        "namespaces/wasi-joins",
        "namespaces/wasi-reachable",
        "namespaces/wasi-outlives",
        "namespaces/wasi-reaps",
        "namespaces/wasi-teardown",
    ] {
        assert_eq!(verdict(&run, id), "pass", "{id}");
    }
    assert_eq!(verdict(&run, "resources/memory"), "skipped");
    let host = run["wasi_engine"].as_str().expect("it is named");
    assert!(host.starts_with("wasmi 2"), "{host}");
    assert_eq!(host_table(), before);
}

/// Runs in a user namespace that takes the place of the host, so that the test can fill its
/// binfmt_misc.
#[test]
fn the_hosts_own_entry_does_as_well() {
    const REGISTER: &str = r#"set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
emulator=$(command -v qemu-aarch64-static)
printf '%s' ':entry:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$emulator"':FP' > /proc/sys/fs/binfmt_misc/register
exec "$@""#;
    let folder = folder();
    let mut suite = Command::new("unshare");
    suite
        .args(["--user", "--map-root-user", "--mount"])
        .args(["sh", "-c", REGISTER, "sh"])
        .arg(folder.path().join("suite"))
        .args(["--emulation", "host"]);
    let run = run(&mut suite, folder.path(), 0);
    let emulator = run["emulator"].as_str().expect("it is named");
    assert!(
        emulator.ends_with("qemu-aarch64-static (the host's binfmt_misc)"),
        "{emulator}"
    );
    assert_eq!(verdict(&run, "signals/term-exits-zero"), "pass");
}

#[test]
fn without_an_entry_the_hosts_way_is_closed() {
    let folder = folder();
    let mut suite = Command::new("unshare");
    suite
        .args(["--user", "--map-root-user", "--mount"])
        .args([
            "sh",
            "-c",
            "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && exec \"$@\"",
            "sh",
        ])
        .arg(folder.path().join("suite"))
        .args(["--emulation", "host"]);
    let run = run(&mut suite, folder.path(), 2);
    let error = run["error"].as_str().expect("it says why");
    assert!(error.contains("no entry with flag F for arm64"), "{error}");
}

#[test]
fn without_programs_of_known_worth_nothing_that_runs_is_judged() {
    let folder = folder();
    let mut suite = Command::new(folder.path().join("suite"));
    suite.arg("--programs").arg(folder.path().join("none"));
    let run = run(&mut suite, folder.path(), 3);
    assert_eq!(verdict(&run, "binary/static"), "pass");
    assert_eq!(verdict(&run, "startup/stays"), "inconclusive");
    let text = run.to_string();
    assert!(text.contains("cargo xtask build --fixtures"), "{text}");
}

/// The reference for 386, if a toolchain here builds it.
#[cfg(target_arch = "x86_64")]
fn i386(folder: &Path) -> Option<std::path::PathBuf> {
    let built = std::process::Command::new(env!("CARGO"))
        .args(["xtask", "build", "--target", "386", "--out"])
        .arg(folder)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo starts: it runs this");
    if !built.status.success() {
        let why = String::from_utf8_lossy(&built.stderr);
        eprintln!("nothing builds for 386 here: not tried: {why}");
        return None;
    }
    Some(folder.join("linux-386/pause"))
}

/// The suite's report on the reference for 386, started by this command.
#[cfg(target_arch = "x86_64")]
fn run_i386(command: &mut Command, pause: &Path) -> Value {
    let output = command
        .args(["--report", "json", "--image"])
        .arg(format!("binary:{}", pause.display()))
        .output()
        .expect("the suite starts");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let run = report["runs"][0].clone();
    assert_eq!(run["platform"], "linux/386", "{run:#}");
    run
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_the_kernel_runs_beside_its_own_needs_no_emulator() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(pause) = i386(folder.path()) else {
        return;
    };
    // With a PATH that has no emulator.
    let run = run_i386(Command::new(PROGRAM).env("PATH", folder.path()), &pause);
    if run["error"].is_string() {
        eprintln!("this kernel runs no program of 32 bits: not tried: {run}");
        return;
    }
    assert!(run["emulator"].is_null(), "{run:#}");
    let checks = run["checks"].as_array().expect("checks");
    for check in checks.iter().filter(|check| check["level"] == "must") {
        let sound = check["verdict"] == "pass" || check["verdict"] == "skipped";
        assert!(sound, "{check:#}");
    }
    for id in [
        "startup/stays",
        "startup/time-to-ready",
        "signals/term-exits-zero",
        "reaping/burst",
        "resources/memory",
        "security/denied-wait-no-spin",
        "security/syscall-surface",
        "namespaces/ipc-shared",
    ] {
        assert_eq!(verdict(&run, id), "pass", "{id}");
    }
}

/// A file that is a program only by an entry of the host's binfmt_misc is judged under that
/// emulator.
#[test]
#[cfg(target_arch = "x86_64")]
fn what_an_entry_of_the_hosts_table_runs_is_emulated() {
    const REGISTER: &str = r#"set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
emulator=$(command -v qemu-i386-static)
printf '%s' ':entry:M::\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:'"$emulator"':F' > /proc/sys/fs/binfmt_misc/register
exec "$@""#;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(pause) = i386(folder.path()) else {
        return;
    };
    let mut suite = Command::new("unshare");
    suite
        .args(["--user", "--map-root-user", "--mount"])
        .args(["sh", "-c", REGISTER, "sh", PROGRAM])
        .args(["--filter", "startup/stays"]);
    let run = run_i386(&mut suite, &pause);
    let emulator = run["emulator"].as_str().expect("it is named");
    assert!(emulator.starts_with("qemu-i386-static"), "{emulator}");
}

#[test]
fn without_an_emulator_one_line_names_the_package() {
    let folder = folder();
    let mut suite = Command::new(folder.path().join("suite"));
    let run = run(suite.env("PATH", folder.path()), folder.path(), 2);
    let error = run["error"].as_str().expect("it says why");
    assert!(error.contains("qemu-aarch64-static"), "{error}");
    assert!(error.contains("qemu-user-static"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn without_an_emulator_static_checks_are_made_where_they_are_asked_for() {
    let folder = folder();
    let mut suite = Command::new(folder.path().join("suite"));
    suite
        .env("PATH", folder.path())
        .args(["--static-only", "--filter", "binary"]);
    let run = run(&mut suite, folder.path(), 0);
    assert_eq!(verdict(&run, "binary/static"), "pass");
}

/// Images whose configuration contradicts their program.
#[rstest]
#[case::program_for_another("arm64", "arm64", "the program is for")]
#[case::configuration_for_another("arm64", "amd64", "the program is for")]
#[case::index_for_another("s390x", "amd64", "the program is for")]
fn what_is_not_for_its_platform_is_not_run(
    #[case] indexed: &str,
    #[case] configured: &str,
    #[case] why: &str,
    #[values(false, true)] all: bool,
) {
    let host = conformance::programs::REFERENCE;
    mislabelled(host, indexed, (configured, None), why, all);
}

#[rstest]
fn a_configuration_for_another_platform_is_seen_before_anything_runs(
    #[values(false, true)] all: bool,
) {
    let program = std::fs::read(foreign::arm64().join("pause")).expect("it is built");
    for (indexed, configured, why) in [
        (
            "arm64",
            ("riscv64", None),
            "the configuration says linux/riscv64",
        ),
        (
            "arm64/v9",
            ("arm64", Some("v8")),
            "the configuration says linux/arm64/v8",
        ),
    ] {
        mislabelled(&program, indexed, configured, why, all);
    }
}

fn mislabelled(
    program: &[u8],
    indexed: &str,
    (configured, variant): (&str, Option<&str>),
    why: &str,
    all: bool,
) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut image = ImageBuilder::pause(program, configured);
    if let Some(variant) = variant {
        image.config["variant"] = json!(variant);
    }
    let mut parts = indexed.split('/');
    let mut platform = json!({ "os": "linux", "architecture": parts.next() });
    if let Some(variant) = parts.next() {
        platform["variant"] = json!(variant);
    }
    let layout = LayoutBuilder::indexed(&[(&image, platform)], "3.10");
    layout.write(folder.path()).expect("written");
    let platform = if all {
        "all".to_owned()
    } else {
        format!("linux/{indexed}")
    };
    let output = Command::new(PROGRAM)
        .args(["--report", "json", "--platform", &platform, "--image"])
        .arg(format!("oci:{}", folder.path().display()))
        .assert()
        .code(1);
    let report: Value = serde_json::from_slice(&output.get_output().stdout).expect("a report");
    let run = &report["runs"][0];
    assert_eq!(verdict(run, "image/platform-agrees"), "fail");
    assert_eq!(run["runtime"], "none (static checks)");
    assert_eq!(run.get("emulator"), None);
    let stays = run["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .find(|check| check["id"] == "startup/stays")
        .expect("it is there");
    assert_eq!(stays["verdict"], "skipped");
    let reason = stays["reason"].as_str().expect("it says why");
    assert!(reason.contains(why), "{reason}");
}
