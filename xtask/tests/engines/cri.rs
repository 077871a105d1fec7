//! The messages of a kubelet to a CRI runtime for a pod sandbox and one container in it. The field
//! numbers are those of the Container Runtime Interface, version 1 (kubernetes/cri-api,
//! pkg/apis/runtime/v1/api.proto).
//!
//! A call of gRPC is a POST over HTTP/2, whose body is five bytes and a message: curl can do that.

#![allow(dead_code, reason = "each test uses a part")]

use crate::room::{Room, succeeds};
use prost::Message;
use std::collections::HashMap;
use std::process::Command;

/// The size of the prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A client of a server at a socket in the room.
pub(crate) struct Client<'a> {
    pub(crate) room: &'a Room,
    pub(crate) socket: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RunPodSandbox {
    #[prost(message, tag = "1")]
    pub(crate) config: Option<Config>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Config {
    #[prost(message, tag = "1")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(string, tag = "2")]
    pub(crate) hostname: String,
    #[prost(string, tag = "3")]
    pub(crate) log_directory: String,
    #[prost(message, tag = "8")]
    pub(crate) linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Linux {
    #[prost(string, tag = "1")]
    pub(crate) cgroup_parent: String,
    #[prost(message, tag = "2")]
    pub(crate) security: Option<SandboxSecurity>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SandboxSecurity {
    #[prost(message, tag = "1")]
    pub(crate) namespaces: Option<Namespaces>,
    /// Whether its containers may be privileged.
    #[prost(bool, tag = "6")]
    pub(crate) privileged: bool,
}

/// 0: the pod's. 1: the container's. 2: the node's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Namespaces {
    #[prost(int32, tag = "1")]
    pub(crate) network: i32,
    #[prost(int32, tag = "2")]
    pub(crate) pid: i32,
    #[prost(int32, tag = "3")]
    pub(crate) ipc: i32,
}

/// A sandbox's id: the response of `RunPodSandbox`, and the request of most methods.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// Of `PodSandboxStatus`: include the runtime's own details.
    #[prost(bool, tag = "2")]
    pub(crate) verbose: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusAnswer {
    #[prost(message, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    /// 0: ready. 1: not ready.
    #[prost(int32, tag = "3")]
    pub(crate) state: i32,
    #[prost(message, tag = "5")]
    pub(crate) network: Option<Network>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Network {
    #[prost(string, tag = "1")]
    pub(crate) ip: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<Sandbox>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateContainer {
    #[prost(string, tag = "1")]
    pub(crate) sandbox: String,
    #[prost(message, tag = "2")]
    pub(crate) config: Option<ContainerConfig>,
    #[prost(message, tag = "3")]
    pub(crate) sandbox_config: Option<Config>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerConfig {
    #[prost(message, tag = "1")]
    pub(crate) metadata: Option<Named>,
    #[prost(message, tag = "2")]
    pub(crate) image: Option<Named>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) command: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) environment: Vec<Variable>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) mounts: Vec<Mount>,
    #[prost(string, tag = "11")]
    pub(crate) log: String,
    #[prost(message, tag = "15")]
    pub(crate) linux: Option<LinuxContainer>,
}

/// The metadata of a container, or its image.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Named {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Variable {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) inside: String,
    #[prost(string, tag = "2")]
    pub(crate) outside: String,
    #[prost(bool, tag = "3")]
    pub(crate) read_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LinuxContainer {
    #[prost(message, tag = "2")]
    pub(crate) security: Option<Security>,
}

/// The effect of a `securityContext`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Security {
    #[prost(message, tag = "1")]
    pub(crate) capabilities: Option<Capabilities>,
    #[prost(bool, tag = "2")]
    pub(crate) privileged: bool,
    #[prost(message, tag = "3")]
    pub(crate) namespaces: Option<Namespaces>,
    #[prost(message, tag = "5")]
    pub(crate) user: Option<Number>,
    #[prost(bool, tag = "7")]
    pub(crate) read_only: bool,
    #[prost(bool, tag = "11")]
    pub(crate) no_new_privileges: bool,
    #[prost(message, tag = "12")]
    pub(crate) group: Option<Number>,
    #[prost(string, repeated, tag = "13")]
    pub(crate) masked: Vec<String>,
    #[prost(string, repeated, tag = "14")]
    pub(crate) read_only_paths: Vec<String>,
    #[prost(message, tag = "15")]
    pub(crate) seccomp: Option<Profile>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Capabilities {
    #[prost(string, repeated, tag = "1")]
    pub(crate) add: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) drop: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Number {
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Profile {
    /// 0: `RuntimeDefault`. 1: `Unconfined`.
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
}

/// A container's id: the response of `CreateContainer`, and the request of other methods.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerAnswer {
    #[prost(message, tag = "1")]
    pub(crate) status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ContainerStatus {
    /// 2: exited.
    #[prost(int32, tag = "3")]
    pub(crate) state: i32,
    #[prost(int32, tag = "7")]
    pub(crate) exit: i32,
}

impl Client<'_> {
    /// Calls `method` of the runtime service. Returns the response, or the error that it states.
    pub(crate) fn call<Answer: Message + Default>(
        &self,
        method: &str,
        question: &impl Message,
    ) -> Result<Answer, String> {
        let headers = self.room.path("headers");
        let mut curl = self.curl(method, question);
        curl.args(["--silent", "--show-error", "--dump-header"]);
        let answer = succeeds(curl.arg(&headers)).stdout;
        // The status follows the message, as a trailer.
        let headers = std::fs::read_to_string(headers).expect("headers");
        if !headers
            .lines()
            .any(|line| line.trim_end() == "grpc-status: 0")
        {
            return Err(format!("{method}: {headers}"));
        }
        let message = answer.get(PREFIX..).ok_or("a short answer")?;
        Answer::decode(message).map_err(|error| format!("{method}: {error}"))
    }

    /// The command that calls `method`.
    pub(crate) fn curl(&self, method: &str, question: &impl Message) -> Command {
        let question = question.encode_to_vec();
        let length = u32::try_from(question.len()).expect("it is short");
        let not_compressed = 0;
        let mut body = vec![not_compressed];
        body.extend(length.to_be_bytes());
        body.extend(question);
        let path = self.room.path("question");
        std::fs::write(&path, body).expect("a file");

        let mut curl = self.room.command("curl");
        curl.args(["--http2-prior-knowledge", "--unix-socket", &self.socket])
            .args(["--header", "Content-Type: application/grpc"])
            .args(["--header", "TE: trailers", "--data-binary"])
            .arg(format!("@{}", path.display()))
            .arg(format!("http://runtime/runtime.v1.RuntimeService/{method}"));
        curl
    }
}
