//! Calls of a kubelet to a CRI runtime in a room.
//!
//! A call of gRPC is a POST over HTTP/2, whose body is five bytes and a message: curl can do that.

#![allow(dead_code, reason = "each test uses a part")]

use crate::room::{Room, succeeds};
use prost::Message;
use std::process::Command;

/// The size of the prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A client of a server at a socket in the room.
pub(crate) struct Client<'a> {
    pub(crate) room: &'a Room,
    pub(crate) socket: String,
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
