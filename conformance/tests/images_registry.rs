//! Images from registries: a real one on loopback, with and without passwords, and hostile ones
//! that stall, lie, or redirect forever.
#![cfg(feature = "registry")]

mod common;

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use common::server::{image as served, ok, refuses, reply, serve, serve_image};
use common::{Elf, has, host, run};
use conformance::subject::build::{ImageBuilder, LayoutBuilder};
use conformance::subject::{Error, LoadOptions, Platforms, Reference, Subject, load};
use serde_json::json;

/// bcrypt of "secret".
const HTPASSWD: &str = "tester:$2b$04$M/H7roo8J8EGq3k4H3eRee/H3paEaszQ8fBgfQMghGkDoSWoU/5H2\n";

fn options() -> LoadOptions {
    LoadOptions {
        stall: Duration::from_millis(400),
        docker_config: Some(PathBuf::from("/dev/null")),
        ..LoadOptions::default()
    }
}

fn pull(text: &str, options: &LoadOptions) -> Result<Vec<Subject>, Error> {
    let reference: Reference = text.parse()?;
    load(&reference, options)
}

/// Loads an image, and expects an error of one line with all the words.
fn refused(text: &str, options: &LoadOptions, words: &[&str]) {
    let start = Instant::now();
    let error = pull(text, options).expect_err("an error");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} not in {line:?}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{line} took {:?}",
        start.elapsed()
    );
}

/// Whether this process has one thread, as the kernel counts.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// The address that a registry's log says it listens on.
fn listening_on(log: &mut impl BufRead) -> SocketAddr {
    let mut told = String::new();
    while log.read_line(&mut told).expect("its log") > 0 {
        let line = told.lines().next_back().unwrap_or_default();
        let words = line.split_once("listening on ").map(|(_, rest)| rest);
        let address = words.and_then(|rest| rest.split('"').next());
        if let Some(address) = address {
            return address.parse().expect("an address");
        }
    }
    panic!("docker-registry ended: {told}");
}

struct Registry {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Registry {
    fn start(password: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let auth = if password {
            let file = folder.path().join("htpasswd");
            std::fs::write(&file, HTPASSWD).expect("writing");
            format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                file.display()
            )
        } else {
            String::new()
        };
        Self::start_with(folder, &auth)
    }

    fn start_with(folder: tempfile::TempDir, auth: &str) -> Self {
        // The registry chooses its port: another process could take one that was chosen here.
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n{auth}",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("writing");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let address = listening_on(&mut log);
        // Drain its log: a full pipe would block it.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            address,
            folder,
        }
    }

    fn push(&self, layout: &LayoutBuilder, name: &str, credentials: &[&str]) {
        let source = self.folder.path().join("layout");
        let _ = std::fs::remove_dir_all(&source);
        layout.write(&source).expect("writing");
        let from = format!("oci:{}", source.display());
        let to = format!("docker://{}/{name}", self.address);
        let arguments = [
            "copy",
            "-q",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ];
        run(
            "skopeo",
            &[&arguments[..], credentials, &[&from, &to]].concat(),
            self.folder.path(),
        );
    }

    fn config(&self, name: &str, config: &serde_json::Value) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, config.to_string()).expect("writing");
        path
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn image() -> LayoutBuilder {
    let arm64 = ImageBuilder::pause(&Elf::of(183).bytes(), "arm64");
    let amd64 = ImageBuilder::pause(&Elf::of(62).bytes(), "amd64");
    LayoutBuilder::indexed(
        &[
            (&amd64, json!({ "os": "linux", "architecture": "amd64" })),
            (&arm64, json!({ "os": "linux", "architecture": "arm64" })),
        ],
        "3.10",
    )
}

/// The environment variable with the image for [`a_load_leaves_no_thread`].
const LOADED: &str = "PAUSE_CONFORMANCE_LOADED";

/// This runs in a separate process, since other tests have threads too.
#[test]
#[ignore = "run by a_real_registry_is_read_by_tag_and_by_digest"]
fn a_load_leaves_no_thread() {
    let reference = std::env::var(LOADED).expect("the test that runs this names an image");
    let before = threads();
    pull(&reference, &options()).expect("the image");
    assert_eq!(threads(), before);
}

/// Runs that test in a separate process.
fn leaves_no_thread(reference: &str) {
    let alone = std::env::current_exe().expect("this program");
    let test = ["--exact", "a_load_leaves_no_thread", "--ignored"];
    let status = Command::new(alone)
        .args(test)
        .arg("--test-threads=1")
        .env(LOADED, reference)
        .status();
    assert!(status.expect("it starts").success(), "its words are above");
}

#[test]
fn a_real_registry_is_read_by_tag_and_by_digest() {
    if !has("docker-registry") || !has("skopeo") {
        eprintln!("docker-registry or skopeo is not installed");
        return;
    }
    let registry = Registry::start(false);
    registry.push(&image(), "pause:3.10", &[]);
    let name = format!("{}/pause", registry.address);
    let reference = format!("docker://{name}:3.10");
    leaves_no_thread(&reference);
    let subjects = pull(&reference, &options()).expect("the image");
    assert_eq!(subjects.len(), 1);
    assert_eq!(subjects[0].platform.architecture, host());
    let index = subjects[0].index.as_ref().expect("an index");
    assert_eq!(index.entries.len(), 2);
    assert!(
        index
            .entries
            .iter()
            .all(|entry| entry.program_architecture.is_some()),
        "{index:?}"
    );
    assert!(subjects[0].defects.is_empty());
    assert_eq!(
        subjects[0].version().map(|it| it.to_string()).as_deref(),
        Some("3.10")
    );

    let digest = index.digest.clone();
    let all = LoadOptions {
        platforms: Platforms::All,
        ..options()
    };
    assert_eq!(
        pull(&format!("{name}@{digest}"), &all)
            .expect("the image")
            .len(),
        2
    );
    let s390x = LoadOptions {
        platforms: Platforms::List(vec!["linux/s390x".parse().expect("a platform")]),
        ..options()
    };
    refused(
        &format!("{name}:3.10"),
        &s390x,
        &["no manifest for linux/s390x", "linux/amd64, linux/arm64"],
    );
    refused(
        &format!("{name}:none"),
        &options(),
        &["no such image", "404"],
    );
    refused(
        &format!("{}/none:3.10", registry.address),
        &options(),
        &["404"],
    );
}

#[test]
fn a_password_is_found_where_docker_keeps_it() {
    if !has("docker-registry") || !has("skopeo") {
        eprintln!("docker-registry or skopeo is not installed");
        return;
    }
    let registry = Registry::start(true);
    registry.push(&image(), "pause:3.10", &["--dest-creds", "tester:secret"]);
    let name = format!("{}/pause:3.10", registry.address);
    refused(&name, &options(), &["401 unauthorized"]);
    let host = registry.address.to_string();
    // base64 of "tester:secret" and of "tester:wrong!".
    for (auth, right) in [
        ("dGVzdGVyOnNlY3JldA==", true),
        ("dGVzdGVyOndyb25nIQ==", false),
    ] {
        let config = registry.config(
            "config.json",
            &json!({ "auths": { &host: { "auth": auth } } }),
        );
        let options = LoadOptions {
            docker_config: Some(config),
            ..options()
        };
        if right {
            assert_eq!(pull(&name, &options).expect("the image").len(), 1);
        } else {
            refused(&name, &options, &["401"]);
        }
    }
}

/// A token server that the registry trusts (distribution, "Token Authentication Implementation").
/// Its tokens are of RFC 7519, signed with RS256.
struct TokenServer {
    key: PathBuf,
    /// The certificate in base64, as in a header's `x5c`.
    certificate: String,
}

impl TokenServer {
    fn new(folder: &Path) -> Self {
        let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
        let request = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
            "-keyout",
            "key.pem",
            "-out",
            "certificate.pem",
        ];
        run("openssl", &request, folder);
        let text = std::fs::read_to_string(certificate).expect("a certificate");
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        Self {
            key,
            certificate: lines.collect(),
        }
    }

    #[expect(clippy::disallowed_methods)]
    fn token(&self) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock")
            .as_secs();
        let access = json!({ "type": "repository", "name": "pause", "actions": ["pull", "push"] });
        let claims = json!({
            "iss": "test", "sub": "tester", "aud": "registry", "jti": "1",
            "iat": now - 60, "nbf": now - 60, "exp": now + 600, "access": [access],
        });
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [self.certificate] });
        let signed = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = signed.join(".");
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        let mut input = openssl.stdin.take().expect("a pipe");
        input.write_all(signed.as_bytes()).expect("writing");
        drop(input);
        let signature = openssl.wait_with_output().expect("openssl ends").stdout;
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

#[test]
fn a_real_registry_is_read_with_a_token() {
    if !has("docker-registry") || !has("skopeo") || !has("openssl") {
        eprintln!("docker-registry, skopeo or openssl is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = TokenServer::new(folder.path());
    let certificate = folder.path().join("certificate.pem");
    let server = serve(move |_, head, _| {
        // base64 of "tester:secret".
        if !head.contains("Basic dGVzdGVyOnNlY3JldA==") {
            return Some(reply("401 Unauthorized", "", b"{}"));
        }
        Some(ok(json!({ "token": tokens.token() })
            .to_string()
            .as_bytes()))
    });
    let auth = format!(
        "auth:\n  token:\n    realm: http://{server}/token\n    service: registry\n    issuer: test\n    rootcertbundle: {}\n",
        certificate.display()
    );
    let registry = Registry::start_with(folder, &auth);
    registry.push(&image(), "pause:3.10", &["--dest-creds", "tester:secret"]);
    let name = format!("{}/pause:3.10", registry.address);
    refused(&name, &options(), &["401"]);
    let host = registry.address.to_string();
    let stored = json!({ "auths": { &host: { "auth": "dGVzdGVyOnNlY3JldA==" } } });
    let options = LoadOptions {
        docker_config: Some(registry.config("config.json", &stored)),
        // It signs a new token for each request.
        stall: Duration::from_secs(5),
        ..options()
    };
    assert_eq!(pull(&name, &options).expect("the image").len(), 1);
}

#[test]
fn a_password_is_asked_of_a_credential_helper() {
    if !has("docker-registry") || !has("skopeo") {
        eprintln!("docker-registry or skopeo is not installed");
        return;
    }
    let registry = Registry::start(true);
    registry.push(&image(), "pause:3.10", &["--dest-creds", "tester:secret"]);
    let host = registry.address.to_string();
    let folder = registry.folder.path();
    registry.config("config.json", &json!({ "credHelpers": { &host: "test" } }));
    // docker-credential-helpers: the helper reads the host and prints its credentials.
    let helper = folder.join("docker-credential-test");
    let judge = |answer: &str| {
        let script = format!("#!/bin/sh\ntest \"$1\" = get && {answer}\n");
        std::fs::write(&helper, script).expect("writing");
        std::fs::set_permissions(&helper, Permissions::from_mode(0o755)).expect("a mode");
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(env!("CARGO_BIN_EXE_pause-conformance"))
            .args(["--image", &format!("docker://{host}/pause:3.10")])
            .args(["--filter", "image/digests-hold"])
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("DOCKER_CONFIG", folder)
            .output()
            .expect("the suite starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let secret = r#"grep -qF 127.0.0.1 && echo '{"Username":"tester","Secret":"secret"}'"#;
    assert_eq!(judge(secret).0, Some(0), "{:?}", judge(secret));
    let (status, said) = judge("exit 1");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("401"), "{said}");
    assert!(said.contains("credential helper"), "{said}");
}

#[test]
fn a_registry_that_keeps_to_the_protocol_is_read() {
    let name = serve_image(|_, _| None);
    assert_eq!(pull(&name, &options()).expect("the image").len(), 1);
}

#[test]
fn a_token_is_fetched_and_sent() {
    let image = served();
    let address = serve(move |path, head, address| {
        if path.starts_with("/token") {
            let right =
                path.contains("service=here") && path.contains("scope=repository%3Apause%3Apull");
            return Some(if right {
                ok(br#"{"access_token":"t0ken"}"#)
            } else {
                ok(b"{}")
            });
        }
        if !head.to_lowercase().contains("authorization: bearer t0ken") {
            return Some(challenge(&format!("http://{address}/token")));
        }
        image(path).map(|body| ok(&body))
    });
    assert_eq!(
        pull(&format!("{address}/pause:3.10"), &options())
            .expect("the image")
            .len(),
        1
    );
}

/// A challenge that asks for a token of that server.
fn challenge(realm: &str) -> Vec<u8> {
    let header = format!(
        "www-authenticate: Bearer realm=\"{realm}\",service=\"here\",scope=\"repository:pause:pull\"\r\n"
    );
    reply("401 Unauthorized", &header, b"")
}

/// Another server, which records all request heads and always answers with this.
fn stranger(answer: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let address = serve(move |_, head, _| {
        seen.lock().expect("no panic").push(head.to_lowercase());
        Some(answer.clone())
    });
    // Its host name differs from the registry's.
    (format!("http://localhost:{}", address.port()), heads)
}

/// Docker's configuration, with this entry for a host.
fn stored(folder: &Path, host: &str, entry: &serde_json::Value) -> LoadOptions {
    let path = folder.join(format!("{}.json", host.replace(':', "-")));
    std::fs::write(&path, json!({ "auths": { host: entry } }).to_string()).expect("writing");
    LoadOptions {
        docker_config: Some(path),
        ..options()
    }
}

/// base64 of "tester:secret".
const SECRET: &str = "dGVzdGVyOnNlY3JldA==";

/// Asserts that no request to the other server has a credential, of at least `least` requests.
fn has_no_credentials(heads: &Mutex<Vec<String>>, least: usize) {
    let heads = heads.lock().expect("no panic");
    assert!(heads.len() >= least, "nobody asked it");
    for head in &*heads {
        for secret in ["authorization", "secret", "identity", "dgvzdgvy"] {
            assert!(!head.contains(secret), "{head}");
        }
    }
}

#[test]
fn credentials_go_to_no_other_token_server() {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in &[
        json!({ "auth": SECRET }),
        json!({ "auth": SECRET, "identitytoken": "identity" }),
    ] {
        // A token server elsewhere is asked without credentials, and its token is tried.
        let (elsewhere, heads) = stranger(ok(br#"{"token":"theirs"}"#));
        let realm = format!("{elsewhere}/token");
        let registry = serve(move |_, _, _| Some(challenge(&realm)));
        let options = stored(folder.path(), &registry.to_string(), entry);
        let text = format!("{registry}/pause");
        let error = pull(&text, &options).expect_err("no image");
        let hint = error.hint().unwrap_or_default();
        assert!(
            hint.contains("they are not sent to http://localhost:"),
            "{error} {hint}"
        );
        has_no_credentials(&heads, 1);

        // The registry's own token server redirects.
        let (elsewhere, heads) = stranger(ok(br#"{"token":"theirs"}"#));
        let registry = serve(move |path, _, address| {
            Some(if path.starts_with("/token") {
                let location = format!("location: {elsewhere}/token\r\n");
                reply("307 Temporary Redirect", &location, b"")
            } else {
                challenge(&format!("http://{address}/token"))
            })
        });
        let options = stored(folder.path(), &registry.to_string(), entry);
        assert!(pull(&format!("{registry}/pause"), &options).is_err());
        has_no_credentials(&heads, 0);
    }
}

/// Blobs are often on another server, which needs no password.
#[test]
fn credentials_go_to_no_other_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let (elsewhere, heads) = stranger(reply("404 Not Found", "", b""));
    let image = served();
    let registry = serve(move |path, head, _| {
        Some(if !head.contains(SECRET) {
            reply(
                "401 Unauthorized",
                "www-authenticate: Basic realm=x\r\n",
                b"",
            )
        } else if path.contains("/blobs/") {
            let location = format!("location: {elsewhere}{path}\r\n");
            reply("307 Temporary Redirect", &location, b"")
        } else {
            image(path).map_or_else(|| reply("404 Not Found", "", b""), |body| ok(&body))
        })
    });
    let options = stored(
        folder.path(),
        &registry.to_string(),
        &json!({ "auth": SECRET }),
    );
    refused(&format!("{registry}/pause:3.10"), &options, &["404"]);
    has_no_credentials(&heads, 1);
}

#[test]
fn a_registry_that_drips_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // A TLS greeting gets an answer that is not TLS.
            if stream.read(&mut [0]).ok() != Some(1) {
                continue;
            }
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4000000\r\n\r\n";
            let mut sent = stream.write_all(head);
            while sent.is_ok() {
                // A byte now and then: the body neither stalls nor ends.
                let _ = conformance::wait::any_readable(&[], Duration::from_millis(20));
                sent = stream.write_all(b" ");
            }
        }
    });
    let insecure = LoadOptions {
        insecure_registry: true,
        ..options()
    };
    let name = format!("{address}/pause:1");
    refused(&name, &insecure, &["4096 bytes a second", "manifest"]);
}

#[test]
fn a_registry_that_is_not_there_is_an_error_in_time() {
    let (_held, closed) = refuses();
    refused(
        &format!("{closed}/pause"),
        &options(),
        &["cannot be reached"],
    );
    refused("registry.invalid/pause", &options(), &["registry.invalid"]);

    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    refused(
        &format!("{}/pause", silent.local_addr().expect("an address")),
        &options(),
        &["does not answer"],
    );
}

#[test]
fn hostile_answers_are_errors_in_time() {
    let stalls = serve_image(|path, body| {
        path.contains("/blobs/").then(|| {
            let mut answer = ok(body);
            answer.truncate(answer.len() - body.len() / 2);
            Some(answer)
        })
    });
    refused(&stalls, &options(), &["stalled", "blob sha256:"]);
    let never = serve_image(|_, _| Some(None));
    refused(&never, &options(), &["does not answer"]);

    let redirects = serve(|path, _, _| {
        Some(
            format!("HTTP/1.1 307 Again\r\nlocation: {path}x\r\ncontent-length: 0\r\n\r\n")
                .into_bytes(),
        )
    });
    refused(
        &format!("{redirects}/pause"),
        &options(),
        &["redirects more than"],
    );

    for status in [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Unavailable",
    ] {
        let server = serve(move |_, _, _| Some(reply(status, "", b"")));
        refused(&format!("{server}/pause"), &options(), &[&status[..3]]);
    }
}

#[test]
fn hostile_content_is_an_error_in_time() {
    let other = serve_image(|path, body| {
        path.contains("/blobs/").then(|| {
            let mut body = body.to_vec();
            body[3] ^= 1;
            Some(ok(&body))
        })
    });
    refused(
        &other,
        &options(),
        &["something else", "expected sha256:", "observed sha256:"],
    );

    let more = serve_image(|path, body| {
        path.contains("/blobs/")
            .then(|| Some(ok(&[body, b"more"].concat())))
    });
    refused(&more, &options(), &["more than the"]);
    let less = serve_image(|path, body| path.contains("/blobs/").then(|| Some(ok(&body[1..]))));
    refused(&less, &options(), &["less than the"]);

    let endless = serve(|_, _, _| {
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..80 {
            answer.extend(b"10000\r\n");
            answer.resize(answer.len() + 0x1_0000, b'[');
            answer.extend(b"\r\n");
        }
        Some(answer)
    });
    refused(
        &format!("{endless}/pause"),
        &options(),
        &["more than 4194304 bytes"],
    );

    let garbage = serve(|_, _, _| Some(ok(b"\x1b[31mno json")));
    refused(
        &format!("{garbage}/pause"),
        &options(),
        &["not as specified"],
    );
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let missing = Path::new("/nonexistent/pause.tar");
    refused(
        &missing.display().to_string(),
        &options(),
        &["no such file or directory"],
    );
}

#[test]
fn plain_http_is_spoken_where_it_is_asked_for() {
    // This reaches the same server, but is no loopback address, for which no option is needed.
    let image = serve_image(|_, _| None).replace("127.0.0.1", "0.0.0.0");
    let judge = |asked: &[&str]| {
        let mut suite = Command::new(env!("CARGO_BIN_EXE_pause-conformance"));
        suite.args(["--filter", "image/digests-hold", "--image"]);
        suite.arg(format!("docker://{image}")).args(asked);
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            suite.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        let ended = suite.output().expect("the suite starts");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), said)
    };
    let (status, said) = judge(&["--insecure-registry"]);
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = judge(&[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--insecure-registry"), "{said}");
}
