//! What the client makes of answers, sound and hostile.

mod fake;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fake::{Fake, Reply};
use pause_cri::messages::{
    Image, ImageStatusRequest, ImageStatusResponse, LinuxPodSandboxConfig, ListPodSandboxRequest,
    ListPodSandboxResponse, NamespaceMode, NamespaceOption, PodSandbox, PodSandboxConfig,
    PodSandboxFilter, PodSandboxId, PodSandboxMetadata, PodSandboxState, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RunPodSandboxRequest, StopContainerRequest, VersionRequest,
    VersionResponse,
};
use pause_cri::{Client, Error, Options};
use prost::Message;
use rstest::rstest;

const VERSION: &str = "/runtime.v1.RuntimeService/Version";

/// A runtime that says its version, and answers other calls so.
fn runtime(answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> (Fake, Client) {
    let fake = Fake::new(move |path, question| match path {
        VERSION => version(question),
        path => answer(path, question),
    });
    let options = Options {
        answer: 1 << 20,
        ..Options::default()
    };
    let client = Client::connect(&fake.socket(), options).expect("it answers");
    (fake, client)
}

fn version(question: &[u8]) -> Reply {
    assert_eq!(decoded::<VersionRequest>(question).version, "v1");
    Reply::of(&VersionResponse {
        version: "0.1.0".into(),
        runtime_name: "containerd".into(),
        runtime_version: "1.6.20".into(),
        runtime_api_version: "v1".into(),
    })
}

fn decoded<M: Message + Default>(message: &[u8]) -> M {
    M::decode(message).expect("a message")
}

fn refused(socket: &std::path::Path) -> Error {
    Client::connect(socket, Options::default()).expect_err("nobody speaks CRI there")
}

#[test]
fn a_runtime_says_what_it_is() {
    let (fake, client) = runtime(|_, _| Reply::UNKNOWN);
    assert_eq!(client.version().runtime_name, "containerd");
    assert_eq!(client.version().runtime_version, "1.6.20");
    assert_eq!(client.socket(), fake.socket());
    assert_eq!(client.runtime_config().expect("it is not old"), None);
    let error = client.status(true).expect_err("it is unknown");
    assert!(error.is_unimplemented(), "{error}");
    assert_eq!(error.to_string(), "Status: unknown service");
}

#[test]
fn questions_and_answers_keep_what_is_in_them() {
    let (_fake, client) = runtime(|path, question| match path {
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            let asked: ListPodSandboxRequest = decoded(question);
            let filter = asked.filter.expect("a filter");
            assert_eq!(filter.label_selector["app"], "blog");
            Reply::of(&ListPodSandboxResponse {
                items: vec![PodSandbox {
                    id: "a1".into(),
                    labels: filter.label_selector,
                    state: PodSandboxState::NotReady as i32,
                    ..PodSandbox::default()
                }],
            })
        }
        "/runtime.v1.RuntimeService/PodSandboxStatus" => {
            let asked: PodSandboxStatusRequest = decoded(question);
            assert!(asked.verbose && asked.pod_sandbox_id == "a1");
            let mut answer = PodSandboxStatusResponse::default();
            answer.info.insert("info".into(), r#"{"pid":7}"#.into());
            Reply::of(&answer)
        }
        "/runtime.v1.ImageService/ImageStatus" => {
            let asked: ImageStatusRequest = decoded(question);
            let name = asked.image.expect("a name").image;
            let image = Image {
                repo_tags: vec![name],
                size: u64::MAX,
                pinned: true,
                ..Image::default()
            };
            Reply::of(&ImageStatusResponse {
                image: Some(image),
                ..ImageStatusResponse::default()
            })
        }
        _ => Reply::UNKNOWN,
    });
    let filter = PodSandboxFilter {
        label_selector: [("app".to_owned(), "blog".to_owned())].into(),
        ..PodSandboxFilter::default()
    };
    let pods = client.pod_sandboxes(Some(filter)).expect("an answer");
    assert_eq!(pods[0].id, "a1");
    assert_eq!(pods[0].labels["app"], "blog");
    assert_eq!(pods[0].state(), PodSandboxState::NotReady);
    let status = client.pod_sandbox_status("a1", true).expect("an answer");
    assert_eq!(status.info["info"], r#"{"pid":7}"#);
    let image = client.image_status("pause:3.9", false).expect("an answer");
    let image = image.image.expect("it has it");
    assert!(image.pinned && image.size == u64::MAX && image.repo_tags == ["pause:3.9"]);
}

#[test]
fn orders_say_what_is_to_be_done() {
    let (_fake, client) = runtime(|path, question| match path {
        "/runtime.v1.RuntimeService/RunPodSandbox" => {
            let asked: RunPodSandboxRequest = decoded(question);
            let config = asked.config.expect("a configuration");
            let linux = config.linux.expect("what Linux has");
            assert_eq!(linux.cgroup_parent, "/pods");
            let options = linux.security_context.and_then(|it| it.namespace_options);
            assert_eq!(options.map(|it| it.pid()), Some(NamespaceMode::Node));
            Reply::of(&PodSandboxId {
                pod_sandbox_id: config.metadata.expect("a name").uid,
            })
        }
        "/runtime.v1.RuntimeService/StopContainer" => {
            let asked: StopContainerRequest = decoded(question);
            assert_eq!((asked.container_id.as_str(), asked.timeout), ("c1", 30));
            Reply::Says(Vec::new())
        }
        "/runtime.v1.RuntimeService/RemovePodSandbox" => Reply::Refuses(5, "no such sandbox"),
        _ => Reply::UNKNOWN,
    });
    let mut linux = LinuxPodSandboxConfig {
        cgroup_parent: "/pods".into(),
        ..LinuxPodSandboxConfig::default()
    };
    let security = linux.security_context.get_or_insert_default();
    security.namespace_options = Some(NamespaceOption {
        pid: NamespaceMode::Node as i32,
        ..NamespaceOption::default()
    });
    let metadata = PodSandboxMetadata {
        uid: "u1".into(),
        ..PodSandboxMetadata::default()
    };
    let config = PodSandboxConfig {
        metadata: Some(metadata),
        linux: Some(linux),
        ..PodSandboxConfig::default()
    };
    assert_eq!(client.run_pod_sandbox(config, "").expect("an id"), "u1");
    let grace = Duration::from_secs(30);
    client.stop_container("c1", grace).expect("it is stopped");
    let gone = client.remove_pod_sandbox("u1").expect_err("it is gone");
    assert!(gone.is_not_found(), "{gone}");
}

#[test]
fn many_threads_ask_at_once() {
    let (_fake, client) = runtime(|_, question| {
        let asked: PodSandboxStatusRequest = decoded(question);
        let mut answer = PodSandboxStatusResponse::default();
        answer.info.insert("info".into(), asked.pod_sandbox_id);
        Reply::of(&answer)
    });
    std::thread::scope(|scope| {
        for number in 0..16 {
            let client = client.clone();
            scope.spawn(move || {
                let id = number.to_string();
                let answer = client.pod_sandbox_status(&id, true).expect("an answer");
                assert_eq!(answer.info["info"], id);
            });
        }
    });
}

#[test]
fn where_nobody_listens_the_socket_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock");
    let line = |expected: &str| {
        let error = refused(&socket);
        assert_eq!(
            error.to_string(),
            format!("{}: {expected}", socket.display())
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("socket")));
    };
    line("no such socket");
    drop(UnixListener::bind(&socket).expect("a socket"));
    line("nobody listens there");
    std::fs::remove_file(&socket).expect("it is there");
    std::fs::write(&socket, "").expect("a file");
    line("nobody listens there");
}

#[test]
fn a_server_of_another_protocol_is_no_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("http.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = refused(&socket);
    assert!(matches!(error, Error::NoCri { .. }), "{error:?}");
    let line = error.to_string();
    assert!(
        line.contains("does not speak the Container Runtime"),
        "{line}"
    );
}

#[rstest]
#[case::a_page_that_is_there(200)]
#[case::a_page_that_is_not(404)]
fn a_server_of_pages_is_no_runtime(#[case] status: u16) {
    let fake = Fake::new(move |_, _| Reply::Page(status));
    let error = refused(&fake.socket());
    assert!(matches!(error, Error::NoCri { .. }), "{error:?}");
}

#[test]
fn a_runtime_of_an_older_version_is_told_from_none() {
    let older = Fake::new(|path, _| match path {
        "/runtime.v1alpha2.RuntimeService/Version" => Reply::of(&VersionResponse::default()),
        _ => Reply::UNKNOWN,
    });
    let error = refused(&older.socket());
    assert!(matches!(error, Error::Older { .. }), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("update")));
    let other = Fake::new(|_, _| Reply::UNKNOWN);
    let error = refused(&other.socket());
    assert!(matches!(error, Error::NoCri { .. }), "{error:?}");
    assert!(
        error
            .hint()
            .is_some_and(|it| it.contains("disabled_plugins"))
    );
}

#[test]
fn an_answer_that_is_too_long_is_not_taken() {
    let (_fake, client) = runtime(|_, _| Reply::Long(2 << 20));
    let error = client.images().expect_err("it is too long");
    assert_eq!(
        error.to_string(),
        "ListImages: its answer is longer than 1048576 bytes"
    );
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    let options = Options {
        question: Duration::from_millis(20),
        ..Options::default()
    };
    let fake = Fake::new(|_, _| Reply::Stops);
    let error = Client::connect(&fake.socket(), options).expect_err("it says nothing");
    assert!(matches!(error, Error::Late { .. }), "{error:?}");
    assert_eq!(error.to_string(), "Version: no answer within 20ms");
}

#[test]
fn a_connection_that_is_closed_is_made_again() {
    let was_closed = AtomicBool::new(false);
    let (_fake, client) = runtime(move |_, _| {
        if was_closed.swap(true, Ordering::SeqCst) {
            Reply::Says(Vec::new())
        } else {
            Reply::Closes
        }
    });
    let error = client.containers(None).expect_err("it broke off");
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    assert_eq!(client.containers(None).expect("another connection"), []);
}

#[test]
fn what_is_no_message_is_an_error() {
    let (_fake, client) = runtime(|_, _| Reply::Says(vec![0xff; 30]));
    let error = client.images().expect_err("it is no message");
    assert!(error.to_string().starts_with("ListImages: "), "{error}");
    let (_fake, client) = runtime(|_, _| Reply::Refuses(2, "%1b[31m%0aoh"));
    let error = client.images().expect_err("it refuses");
    assert_eq!(error.to_string(), "ListImages: \\u{1b}[31m oh");
}
