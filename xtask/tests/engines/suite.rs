//! The suite's own image: docker and podman run it with the options that README documents.
//!
//! It holds the release, which takes minutes to build: `cargo xtask test --long` runs these.

use crate::daemons::{Podman, dockerd};
use crate::room::{Room, succeeds};
use crate::{Image, host, room_for};
use std::process::{Command, Output};
use xtask::image::suite;

const NAME: &str = concat!("pause-conformance:", env!("CARGO_PKG_VERSION"));

/// One check that reads the image, one that runs it, one that needs a `/proc`.
const FILTERS: [&str; 3] = ["image", "signals/term-exits-zero", "reaping/stopped-child"];

/// Options of a container, and its expected output.
struct Row {
    options: &'static [&'static str],
    status: i32,
    says: &'static str,
}

const REFUSED: Row = Row {
    options: &[],
    status: 2,
    says: "seccomp=unconfined",
};
const JUDGED: Row = Row {
    options: &[],
    status: 0,
    says: "conformant",
};

/// Writes both images to the room. Returns the archive of the suite's.
fn images(room: &Room) -> String {
    Image::of(&[host()], room);
    let (written, missing) =
        suite::build(vec![host()], false, &room.path("suite")).expect("it can be built here");
    assert_eq!(missing, [] as [String; 0]);
    let archive = format!("suite-{}.docker.tar", host().folder());
    written.layout.with_file_name(archive).display().to_string()
}

/// Runs the suite in a container, on the image that the room holds.
fn holds(room: &Room, mut engine: Command, name: &str, row: &Row) {
    let volume = format!("{}:/work:ro", room.path("image").display());
    let archive = format!("docker-archive:/work/pause-{}.docker.tar", host().folder());
    engine.args(["run", "--rm", "--network", "none", "--volume", &volume]);
    engine.args(row.options).args([name, "--image", &archive]);
    for filter in FILTERS {
        engine.args(["--filter", filter]);
    }
    let output = engine.output().expect("it starts");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(row.status), "{said}");
    assert!(said.contains(row.says), "{said}");
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    format!("{out}{err}")
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn docker_runs_the_suites_image() {
    let Some(room) = room_for(&["docker.io", "curl"]) else {
        return;
    };
    let archive = images(&room);
    let socket = room.path("docker.sock").display().to_string();
    let _daemon = dockerd(&room, &socket);
    let docker = || {
        let mut docker = room.command("docker");
        docker.args(["--host", &format!("unix://{socket}")]);
        docker
    };
    succeeds(docker().args(["load", "--input", &archive]));
    let unconfined = Row {
        options: &[
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "systempaths=unconfined",
        ],
        ..JUDGED
    };
    for row in [REFUSED, unconfined] {
        holds(&room, docker(), NAME, &row);
    }
}

#[test]
#[ignore = "it builds the release: cargo xtask test --long"]
fn podman_runs_the_suites_image() {
    let Some(room) = room_for(&["podman"]) else {
        return;
    };
    let archive = images(&room);
    let podman = Podman::new(&room);
    podman.run(&["load", "--input", &archive]);
    let unconfined = Row {
        options: &[
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "unmask=ALL",
            "--ulimit",
            "host",
        ],
        ..JUDGED
    };
    // The caller's limits, since not every caller may raise them.
    let refused = Row {
        options: &["--ulimit", "host"],
        ..REFUSED
    };
    for row in [refused, unconfined] {
        holds(&room, podman.command(), &format!("localhost/{NAME}"), &row);
    }
}
