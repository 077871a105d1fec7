//! `cargo xtask audit` builds the suite with all that know pods, and becomes it.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

/// Where nobody listens.
const NOBODY: &str = "unix:///nonexistent.sock";

/// The task, which asks no engine of this machine.
fn audit(arguments: &[&str]) -> Output {
    let mut task = Command::new(env!("CARGO_BIN_EXE_xtask"));
    task.arg("audit").args(arguments);
    for name in [
        "DOCKER_HOST",
        "CONTAINER_HOST",
        "CONTAINER_RUNTIME_ENDPOINT",
    ] {
        task.env(name, NOBODY);
    }
    task.output().expect("it starts")
}

#[test]
fn it_asks_all_that_know_pods_and_ends_as_the_audit_does() {
    let folder = tempfile::tempdir().expect("a folder");
    // Process 1 of a node that runs nothing else.
    let init = folder.path().join("1");
    fs::create_dir(&init).expect("a folder");
    let stat = "1 (init) S 0 1 1 0 -1 4194560 1 0 0 0 2 0 0 0 20 0 1 0 5 1024000 158 \
                18446744073709551615 1 1 0 0 0 0 0 4096 65536 1 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    fs::write(init.join("stat"), stat).expect("written");
    fs::write(init.join("cgroup"), "0::/init.scope\n").expect("written");
    fs::write(folder.path().join("uptime"), "100.00 1.0\n").expect("written");
    let path = folder.path().display().to_string();

    let output = audit(&["--proc", &path, "--report", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report alone");
    let sources = report["sources"].as_array().into_iter().flatten();
    let names: Vec<_> = sources.filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["cri", "docker", "podman", "proc"], "{said}");
    assert_eq!(report["pods"], Value::Array(Vec::new()));

    let nowhere = audit(&["--proc", "/nonexistent"]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert_eq!(nowhere.status.code(), Some(2), "{said}");
    assert!(said.contains("cannot read /nonexistent"), "{said}");
}
