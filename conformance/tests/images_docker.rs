//! Images from docker's daemon, and from false daemons that break its API.
#![cfg(feature = "registry")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::server::reply;
use common::{Elf, host};
use conformance::subject::build::ImageBuilder;
use conformance::subject::{Error, LoadOptions, Reference, Subject, load};

/// Answers each request at a socket by its first line; for `None` it never answers.
fn daemon(
    socket: &Path,
    answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> LoadOptions {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let line = request(&stream);
            match answer(&line) {
                // The reader may close the connection early.
                Some(bytes) => drop(stream.write_all(&bytes)),
                None => drop(stream.read(&mut [0])),
            }
        }
    });
    options(&format!("unix://{}", socket.display()))
}

fn options(docker_host: &str) -> LoadOptions {
    LoadOptions {
        stall: Duration::from_millis(400),
        docker_host: Some(docker_host.to_owned()),
        ..LoadOptions::default()
    }
}

fn request(stream: &UnixStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    first
}

/// A chunked body, as the daemon sends an archive.
fn chunked(body: &[u8]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(1000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        answer.extend([chunk, b"\r\n"].concat());
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

fn pull(text: &str, options: &LoadOptions) -> Result<Vec<Subject>, Error> {
    let reference: Reference = text.parse()?;
    load(&reference, options)
}

fn saved() -> Vec<u8> {
    ImageBuilder::pause(&Elf::of(62).bytes(), &host()).docker_archive("registry.k8s.io/pause:3.10")
}

#[test]
fn an_image_of_the_daemon_is_read_by_name_and_by_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let id = format!("sha256:{}", "ab".repeat(32));
    let names = [
        (
            "docker-daemon:registry.k8s.io/pause:3.10",
            "registry.k8s.io/pause:3.10",
        ),
        ("docker-daemon:pause", "docker.io/library/pause:latest"),
        (&format!("docker-daemon:{id}"), &id),
    ];
    for (at, (text, asked)) in names.into_iter().enumerate() {
        let asked = asked.to_owned();
        let options = daemon(&folder.path().join(at.to_string()), move |line| {
            let line = line.replace("%2F", "/").replace("%3A", ":");
            let wanted = format!("GET /images/get?names={asked} HTTP/1.1");
            assert_eq!(line, wanted);
            Some(chunked(&saved()))
        });
        let subjects = pull(text, &options).expect("the image");
        assert_eq!(subjects.len(), 1);
        assert!(subjects[0].program.is_ok());
        let version = subjects[0].version().map(|version| version.to_string());
        assert_eq!(version.as_deref(), Some("3.10"));
    }
}

fn refused(options: &LoadOptions, words: &[&str]) {
    let start = Instant::now();
    let error = pull("docker-daemon:pause:3.10", options).expect_err("an error");
    let (line, hint) = (error.to_string(), error.hint().unwrap_or_default());
    for word in words {
        assert!(line.contains(word), "{word:?} not in {line:?}");
    }
    assert!(!line.contains(['\n', '\u{1b}']), "{line}");
    assert!(
        hint.contains("docker save") || words.contains(&"tar"),
        "{line}: {hint}"
    );
    assert!(start.elapsed() < Duration::from_secs(10), "{line}");
}

#[test]
fn a_daemon_that_fails_is_an_error_in_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = br#"{"message":"No such image: \u001b[31mpause:3.10"}"#;
    for (name, answer, words) in [
        (
            "missing",
            Some(reply("404 Not Found", "", missing)),
            &["No such image: \\x1b[31m"][..],
        ),
        (
            "broken",
            Some(reply("500 Internal Server Error", "", b"oh")),
            &["answers 500"],
        ),
        ("silent", None, &["no answer within 400ms"]),
        ("hung up", Some(Vec::new()), &["docker at"]),
        (
            "no HTTP",
            Some(b"\x1b[31m\r\n\r\n".to_vec()),
            &["docker at"],
        ),
        (
            "short",
            Some(chunked(&saved())[..2000].to_vec()),
            &["docker's answer"],
        ),
        ("no archive", Some(reply("200 OK", "", b"{}")), &["tar"]),
        (
            "elsewhere",
            Some(reply(
                "307 Temporary Redirect",
                "location: http://127.0.0.1/\r\n",
                b"",
            )),
            &["docker"],
        ),
    ] {
        let options = daemon(&folder.path().join(name), move |_| answer.clone());
        refused(&options, words);
    }
    let mut endless = daemon(&folder.path().join("endless"), |_| {
        Some(chunked(&vec![b'x'; 1 << 20]))
    });
    endless.limits.stored = 100_000;
    let error = pull("docker-daemon:pause", &endless).expect_err("too much");
    assert!(
        error
            .to_string()
            .contains("more than 100000 bytes from docker"),
        "{error}"
    );

    refused(
        &options("unix:///nonexistent/socket"),
        &["no such file or directory"],
    );
    refused(&options("tcp://127.0.0.1:2375"), &["no unix:// socket"]);
}
