//! What a kubelet says to a container runtime, as far as a pod sandbox goes:
//! the Container Runtime Interface, version 1 (kubernetes/cri-api,
//! pkg/apis/runtime/v1/api.proto), whose field numbers these are.
//!
//! A call of gRPC is a POST over HTTP/2 whose body is a message behind five
//! bytes: curl can do that.

use crate::room::{Room, succeeds};
use prost::Message;
use std::collections::HashMap;
use std::process::Command;

/// What is before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A client of the server at a socket in the room.
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
}

/// A sandbox by its id: the answer to `RunPodSandbox`, the question of most.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// In `PodSandboxStatus`: with the runtime's own details.
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

impl Client<'_> {
    /// Calls `method` of the runtime service; the answer, or what it says
    /// went wrong.
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
