//! The Container Runtime Interface, version 1, as far as a pod of two containers goes
//! (kubernetes/cri-api, pkg/apis/runtime/v1/api.proto), whose numbers these are.

use super::wire::Kind::{Map, Message, Number, Text};
use super::wire::{self, Schema};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What is before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A procedure: its service and name, what it is asked and what it answers.
pub(super) struct Call(&'static str, Schema, Schema);

pub(super) const VERSION: Call = Call(
    "RuntimeService/Version",
    &[],
    &[("runtime_name", 2, Text), ("runtime_version", 3, Text)],
);
pub(super) const STATUS: Call = Call(
    "RuntimeService/Status",
    &[("verbose", 1, Number)],
    &[("info", 2, Map)],
);
pub(super) const RUN: Call = Call(
    "RuntimeService/RunPodSandbox",
    &[("config", 1, Message(POD))],
    &[("pod_sandbox_id", 1, Text)],
);
pub(super) const STOP_POD: Call = Call("RuntimeService/StopPodSandbox", OF_POD, &[]);
pub(super) const REMOVE_POD: Call = Call("RuntimeService/RemovePodSandbox", OF_POD, &[]);
pub(super) const PODS: Call = Call(
    "RuntimeService/ListPodSandbox",
    &[("filter", 1, Message(&[("label_selector", 3, Map)]))],
    &[("items", 1, Message(&[("id", 1, Text)]))],
);
pub(super) const CREATE: Call = Call(
    "RuntimeService/CreateContainer",
    &[
        ("pod_sandbox_id", 1, Text),
        ("config", 2, Message(CONTAINER)),
        ("sandbox_config", 3, Message(POD)),
    ],
    OF_CONTAINER,
);
pub(super) const START: Call = Call("RuntimeService/StartContainer", OF_CONTAINER, &[]);
pub(super) const STOP: Call = Call("RuntimeService/StopContainer", OF_CONTAINER, &[]);
pub(super) const REMOVE: Call = Call("RuntimeService/RemoveContainer", OF_CONTAINER, &[]);
pub(super) const EXEC: Call = Call(
    "RuntimeService/ExecSync",
    &[
        ("container_id", 1, Text),
        ("cmd", 2, Text),
        ("timeout", 3, Number),
    ],
    &[
        ("stdout", 1, Text),
        ("stderr", 2, Text),
        ("exit_code", 3, Number),
    ],
);
pub(super) const IMAGE: Call = Call(
    "ImageService/ImageStatus",
    &[("image", 1, Message(NAMED))],
    &[("image", 1, Message(&[("id", 1, Text)]))],
);

const OF_POD: Schema = &[("pod_sandbox_id", 1, Text)];
const OF_CONTAINER: Schema = &[("container_id", 1, Text), ("timeout", 2, Number)];
const NAMED: Schema = &[("image", 1, Text)];
const METADATA: Schema = &[("name", 1, Text), ("uid", 2, Text), ("namespace", 3, Text)];
const NAMESPACES: Schema = &[
    ("network", 1, Number),
    ("pid", 2, Number),
    ("ipc", 3, Number),
];
const POD: Schema = &[
    ("metadata", 1, Message(METADATA)),
    ("hostname", 2, Text),
    ("log_directory", 3, Text),
    (
        "port_mappings",
        5,
        Message(&[
            ("protocol", 1, Number),
            ("container_port", 2, Number),
            ("host_port", 3, Number),
        ]),
    ),
    ("labels", 6, Map),
    (
        "linux",
        8,
        Message(&[
            ("cgroup_parent", 1, Text),
            (
                "security_context",
                2,
                Message(&[("namespace_options", 1, Message(NAMESPACES))]),
            ),
        ]),
    ),
];
const CONTAINER: Schema = &[
    (
        "metadata",
        1,
        Message(&[("name", 1, Text), ("attempt", 2, Number)]),
    ),
    ("image", 2, Message(NAMED)),
    ("command", 3, Text),
    (
        "mounts",
        7,
        Message(&[
            ("container_path", 1, Text),
            ("host_path", 2, Text),
            ("readonly", 3, Number),
        ]),
    ),
    ("log_path", 11, Text),
    (
        "linux",
        15,
        Message(&[(
            "security_context",
            2,
            Message(&[("namespace_options", 3, Message(NAMESPACES))]),
        )]),
    ),
];

/// A client of the runtime at a socket.
///
/// A call of gRPC is a POST over HTTP/2 whose body is a message behind five bytes: curl can do that.
pub(super) struct Client {
    pub(super) socket: String,
    /// Questions and answers lie there while they are asked.
    pub(super) folder: PathBuf,
}

impl Client {
    /// Calls; the answer.
    pub(super) fn call(&self, call: &Call, question: &Value) -> Result<Value> {
        let Call(name, asked, answered) = call;
        let message = wire::encode(asked, question).with_context(|| format!("ask {name}"))?;
        let mut body = vec![0];
        body.extend(u32::try_from(message.len())?.to_be_bytes());
        body.extend(message);
        let [question, headers] = ["question", "headers"].map(|it| self.folder.join(it));
        std::fs::write(&question, body).context("write a question")?;
        let output = Command::new("curl")
            .args(["--http2-prior-knowledge", "--unix-socket", &self.socket])
            .args(["--silent", "--show-error", "--max-time", "120"])
            .args([
                "--header",
                "Content-Type: application/grpc",
                "--header",
                "TE: trailers",
            ])
            .arg("--data-binary")
            .arg(format!("@{}", question.display()))
            .arg("--dump-header")
            .arg(&headers)
            .arg(format!("http://runtime/runtime.v1.{name}"))
            .stdin(Stdio::null())
            .output()
            .context("run curl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", self.socket, said.trim());
        // The status follows the message, as a trailer.
        let headers = std::fs::read_to_string(&headers).context("read an answer")?;
        let header = |name: &str| {
            let mut lines = headers.lines();
            lines
                .find_map(|line| line.trim_end().strip_prefix(name))
                .map(str::to_owned)
        };
        if header("grpc-status: ").as_deref() != Some("0") {
            let why = header("grpc-message: ").unwrap_or_else(|| "no answer of gRPC".to_owned());
            bail!("{name}: {why}");
        }
        let message = output.stdout.get(PREFIX..).unwrap_or_default();
        wire::decode(answered, message).with_context(|| format!("read the answer of {name}"))
    }
}
