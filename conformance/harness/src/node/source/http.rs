//! Questions to a container engine over its socket: GET alone, bounded in size and time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pause_image::unix_http;
use serde_json::Value;
use ureq::Agent;

use super::{Told, ToldPod};

/// How long an engine may take for one answer: an audit is quick, and goes on without it.
const LIMIT: Duration = Duration::from_secs(10);
/// The most that is read of an answer.
const ANSWER: u64 = 16 << 20;

/// An engine's socket, asked by GET alone.
#[derive(Debug)]
pub(super) struct Engine {
    agent: Agent,
    pub(super) socket: PathBuf,
}

impl Engine {
    /// Nothing is sent yet.
    pub(super) fn at(socket: &Path) -> Self {
        let limit = Some(LIMIT);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_send_request(limit)
            .timeout_recv_response(limit)
            .timeout_recv_body(limit)
            .build();
        Self {
            agent: unix_http::agent(socket, config),
            socket: socket.to_owned(),
        }
    }

    /// Asks; `None` where it says that there is no such thing.
    ///
    /// # Errors
    /// In a line.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>, String> {
        let called = self.agent.get(format!("http://engine{path}")).call();
        let response = called.map_err(|error| words(&error))?;
        let status = response.status();
        let body = response.into_body().into_with_config().limit(ANSWER);
        let text = body.read_to_vec().map_err(|error| words(&error))?;
        if status.as_u16() == 404 {
            return Ok(None);
        }
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        let parsed = serde_json::from_slice(&text);
        parsed.map_err(|error| format!("its answer is no document: {error}"))
    }

    /// The same of something that must be there.
    ///
    /// # Errors
    /// In a line.
    pub(super) fn must(&self, path: &str) -> Result<Value, String> {
        let found = self.get(path)?;
        found.ok_or_else(|| format!("it knows no {}", pause_image::escape_text(path)))
    }
}

fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => pause_image::io_words(error),
        ureq::Error::Timeout(_) => format!("no answer within {LIMIT:?}"),
        other => other.to_string(),
    }
}

/// What an engine says: its name and version, and its pods without those that ended while it was
/// asked about them.
///
/// # Errors
/// As the pods'.
pub(super) fn told(
    name: &str,
    version: &Value,
    pods: impl Iterator<Item = Result<Option<ToldPod>, String>>,
) -> Result<Told, String> {
    let version = text(&version["Version"]).unwrap_or_default();
    Ok(Told {
        version: format!("{name} {version}"),
        pods: pods
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?,
        image: None,
    })
}

/// A text of a document, if it is one and not empty.
pub(super) fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// A pid of a document; 0 is none.
pub(super) fn pid(value: &Value) -> Option<i32> {
    let pid = value.as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 0)
}

/// The elements of a list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Whether a text can stand in a path as it is.
pub(super) fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
