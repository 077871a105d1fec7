//! What engines say: docker's containers that join others, and pids of another pid namespace.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use conformance::node::proc::Snapshot;
use conformance::node::source::docker::Docker;
use conformance::node::source::{Kind, Source as _, ToldPod};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon that answers these questions.
struct Engine {
    folder: TempDir,
}

impl Engine {
    fn of(answers: BTreeMap<String, Value>) -> Self {
        let engine = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let listener = UnixListener::bind(engine.socket()).expect("a socket");
        let answers = Arc::new(answers);
        std::thread::spawn(move || {
            for asks in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || answer(asks, &answers));
            }
        });
        engine
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn pods(&self) -> Vec<ToldPod> {
        let told = Docker::at(&self.socket()).ask(&Snapshot::default());
        told.expect("it answers").pods
    }
}

/// Answers until the other end is closed.
fn answer(mut asks: UnixStream, answers: &BTreeMap<String, Value>) -> Option<()> {
    let mut lines = BufReader::new(asks.try_clone().ok()?).lines();
    loop {
        let first = lines.next()?.ok()?;
        let path = first.split(' ').nth(1)?.to_owned();
        while !lines.next()?.ok()?.is_empty() {}
        let (status, body) = match answers.get(&path) {
            Some(body) => ("200 OK", body.to_string()),
            None => ("404 Not Found", "{}".to_owned()),
        };
        let length = body.len();
        write!(
            asks,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
    }
}

fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

/// A container of docker's: its letter, image, program, what it joins, pid.
type Row<'a> = (char, &'a str, &'a str, Option<char>, i32);

fn docker(rows: &[Row<'_>]) -> Engine {
    let joined = |joins: &Option<char>| {
        let name = |it: char| format!("container:{}", id(it));
        json!({ "NetworkMode": joins.map_or("none".to_owned(), name) })
    };
    let list = rows.iter().map(|(letter, image, _, joins, _)| {
        json!({
            "Id": id(*letter), "Names": [format!("/{letter}")], "Image": image, "Labels": {},
            "HostConfig": joined(joins),
        })
    });
    let mut answers = BTreeMap::from([
        ("/version".to_owned(), json!({"Version": "28.0"})),
        ("/containers/json?all=true".to_owned(), list.collect()),
    ]);
    for (letter, image, program, joins, pid) in rows {
        let row = json!({
            "Id": id(*letter), "Image": "sha256:00", "Config": {"Image": image}, "Path": program,
            "Args": [], "State": {"Running": true, "Pid": pid}, "HostConfig": joined(joins),
        });
        answers.insert(format!("/containers/{}/json", id(*letter)), row);
    }
    answers.insert("/images/00/json".to_owned(), json!({"RepoTags": ["a:1"]}));
    Engine::of(answers)
}

#[test]
fn a_container_that_others_join_is_no_pause_for_that() {
    // A proxy, whose network two have; and one that has that of one of them.
    let engine = docker(&[
        ('a', "vpn:1", "/usr/bin/vpn", None, 10),
        ('b', "web:1", "/web", Some('a'), 11),
        ('c', "log:1", "/log", Some('b'), 12),
    ]);
    assert_eq!(engine.pods(), []);
}

#[test]
fn members_that_join_through_another_are_of_the_same_pod() {
    for (image, program) in [("mine/sandbox:1", "/pause"), ("r/pause:3.10", "/p")] {
        let engine = docker(&[
            ('a', image, program, None, 10),
            ('b', "web:1", "/web", Some('a'), 11),
            ('c', "log:1", "/log", Some('b'), 12),
            // In a circle, which docker refuses.
            ('d', "odd:1", "/odd", Some('e'), 13),
            ('e', "odd:1", "/odd", Some('d'), 14),
        ]);
        let pods = engine.pods();
        let [pod] = &pods[..] else {
            panic!("{pods:?}");
        };
        assert_eq!(pod.id, id('a'));
        let members = pod.members.iter();
        let members: Vec<_> = members.map(|it| (&it.id, it.shares.clone())).collect();
        let shares = Some(vec![Kind::Net]);
        assert_eq!(members, [(&id('b'), shares.clone()), (&id('c'), shares)]);
    }
}

/// The audit in a pid namespace of its own, of which the engine is not: number 1 there is another's
/// than the engine's.
#[test]
fn pids_of_another_namespace_are_not_taken_for_those_here() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("left out: a pid namespace is root's to make");
    }
    let engine = docker(&[('a', "r/pause:3.10", "/pause", None, 1)]);
    let mut audit = Command::new("unshare");
    audit.args(["--pid", "--fork", "--mount-proc"]);
    audit.arg(env!("CARGO_BIN_EXE_pause-conformance"));
    audit.args(["audit", "--report", "json"]);
    audit.env(
        "DOCKER_HOST",
        format!("unix://{}", engine.socket().display()),
    );
    audit.env("CONTAINER_HOST", "unix:///nonexistent/podman.sock");
    audit.env("CONTAINER_RUNTIME_ENDPOINT", "/nonexistent/cri.sock");
    let output = audit.output().expect("util-linux");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("docker tells pids of another pid namespace"),
        "{notes}"
    );
    let pods = report["pods"].as_array().map_or(0, Vec::len);
    assert_eq!(pods, 1, "{report:#}");
    let pod = &report["pods"][0];
    assert_eq!(pod["pause"], Value::Null, "{pod:#}");
    let checks = pod["checks"].as_array().into_iter().flatten();
    let alive = checks.clone().find(|it| it["id"] == "node/pause-alive");
    let alive = alive.expect("a record");
    assert_eq!(alive["verdict"], "skipped", "{alive:#}");
    // What needs no process is judged.
    let kept = checks.clone().find(|it| it["id"] == "node/image-kept");
    assert_eq!(kept.expect("a record")["verdict"], "pass");
}
