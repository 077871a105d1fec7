//! Requests to a container engine, over its socket: those of the Docker Engine API that docker and
//! podman answer alike.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pause_image::unix_http;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

/// The label of containers and pods; its value is the run's name.
pub(super) const LABEL: &str = "pause-conformance";
/// How long an engine may take for one order: it may load an image, or wait for its disk.
const ORDER: Duration = Duration::from_mins(2);
/// The most that is read of an answer.
const ANSWER: u64 = 16 << 20;
/// The most that is read of the head of an answer that becomes a stream.
const HEAD: usize = 16 << 10;

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(in crate::backend) enum Refusal {
    /// The engine was not reached, or did not answer.
    #[error("{0}")]
    Unreached(String),
    /// It says so, with this status of HTTP.
    #[error("{message}")]
    Said {
        /// 404: there is no such thing; 409: it is in use, or is there already.
        status: u16,
        /// Its words, safe to show.
        message: String,
    },
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        io::Error::other(refusal)
    }
}

/// An engine's socket.
#[derive(Debug)]
pub(in crate::backend) struct Api {
    socket: PathBuf,
    agent: Agent,
}

impl Api {
    /// Nothing is sent yet.
    pub(in crate::backend) fn new(socket: &Path) -> Self {
        let limit = Some(ORDER);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_send_request(limit)
            .timeout_send_body(limit)
            .timeout_recv_response(limit)
            .timeout_recv_body(limit)
            .build();
        Self {
            socket: socket.to_owned(),
            agent: unix_http::agent(socket, config),
        }
    }

    /// Where it is.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The process that listens there, or did first.
    ///
    /// # Errors
    /// Where it is not reached.
    pub(in crate::backend) fn server(&self) -> io::Result<i32> {
        let stream = unix_http::connect(&self.socket)?;
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        Ok(peer.pid.as_raw_pid())
    }

    /// Asks for something; `query` is names and values.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Refusal> {
        let asked = self.agent.get(url(path));
        let asked = query
            .iter()
            .fold(asked, |asked, (name, value)| asked.query(*name, *value));
        json(&answer(asked.call())?)
    }

    /// Asks whether anybody is there.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(in crate::backend) fn ping(&self) -> Result<(), Refusal> {
        answer(self.agent.get(url("/_ping")).call()).map(drop)
    }

    /// Gives an order with a document, or with none; the document of the answer.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(super) fn post(&self, path: &str, document: Option<&Value>) -> Result<Value, Refusal> {
        let order = self.agent.post(url(path));
        let sent = match document {
            Some(document) => {
                let order = order.header("content-type", "application/json");
                order.send(document.to_string())
            }
            None => order.send_empty(),
        };
        json(&answer(sent)?)
    }

    /// Hands over an archive; the lines of the answer.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(super) fn post_archive(&self, path: &str, file: File) -> Result<String, Refusal> {
        let order = self.agent.post(url(path));
        let order = order.header("content-type", "application/x-tar");
        let text = answer(order.send(SendBody::from_owned_reader(file)))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Has something removed.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(super) fn delete(&self, path: &str) -> Result<(), Refusal> {
        answer(self.agent.delete(url(path)).call()).map(drop)
    }

    /// Reads lines, as they come, until the engine has no more.
    ///
    /// # Errors
    /// As [`Refusal`].
    pub(super) fn follow(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut each: impl FnMut() -> bool,
    ) -> Result<(), Refusal> {
        let asked = self.agent.get(url(path));
        let asked = query
            .iter()
            .fold(asked, |asked, (name, value)| asked.query(*name, *value));
        let response = succeeded(asked.call())?;
        let reader = response.into_body().into_with_config().limit(ANSWER);
        for line in BufReader::new(reader.reader()).lines() {
            if line.is_err() || each() {
                break;
            }
        }
        Ok(())
    }

    /// A connection that carries what a container writes, from now on.
    ///
    /// # Errors
    /// Where the engine refuses, or does not answer.
    pub(super) fn attach(&self, container: &str) -> io::Result<UnixStream> {
        let mut stream = unix_http::connect(&self.socket)?;
        stream.set_read_timeout(Some(ORDER))?;
        stream.set_write_timeout(Some(ORDER))?;
        write!(
            stream,
            "POST /containers/{container}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1\r\n\
             Host: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )?;
        let head = head(&stream)?;
        // HTTP/1.1 101 UPGRADED, or 200 from an engine that knows no upgrade.
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !["101", "200"].contains(&status) {
            let line = head.lines().next().unwrap_or_default();
            let words = said(&rest(&stream, &head)).unwrap_or_else(|| line.to_owned());
            let words = pause_image::escape_text(words.trim());
            return Err(io::Error::other(format!("attach: {words}")));
        }
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

/// The head of an answer, and not a byte more of the stream.
fn head(mut stream: &UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    while head.len() < HEAD && !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What follows the head of an answer that became no stream.
fn rest(stream: &UnixStream, head: &str) -> Vec<u8> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<u64>().ok())?
    });
    let mut rest = Vec::new();
    // What came of it is told.
    let _ = stream
        .take(length.unwrap_or(0).min(ANSWER))
        .read_to_end(&mut rest);
    rest
}

/// What an answer says is wrong.
fn said(answer: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(answer).ok()?;
    let words = said["message"].as_str().or(said["cause"].as_str());
    words.map(str::to_owned)
}

fn url(path: &str) -> String {
    format!("http://engine{path}")
}

type Called = Result<Response<Body>, ureq::Error>;

/// The answer's body, where it says success.
fn answer(called: Called) -> Result<Vec<u8>, Refusal> {
    read(succeeded(called)?)
}

fn succeeded(called: Called) -> Result<Response<Body>, Refusal> {
    let response = called.map_err(|error| unreached(&error))?;
    let status = response.status();
    // 304: it is so already.
    if status.is_success() || status.as_u16() == 304 {
        return Ok(response);
    }
    let message = match said(&read(response)?) {
        Some(words) => pause_image::escape_text(words.trim()).to_string(),
        None => format!("it answers {status}"),
    };
    let status = status.as_u16();
    Err(Refusal::Said { status, message })
}

fn read(response: Response<Body>) -> Result<Vec<u8>, Refusal> {
    let body = response.into_body().into_with_config().limit(ANSWER);
    body.read_to_vec().map_err(|error| unreached(&error))
}

fn unreached(error: &ureq::Error) -> Refusal {
    Refusal::Unreached(match error {
        ureq::Error::Io(error) => pause_image::io_words(error),
        ureq::Error::Timeout(_) => format!("no answer within {ORDER:?}"),
        other => other.to_string(),
    })
}

/// An answer without a document is none.
fn json(text: &[u8]) -> Result<Value, Refusal> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let parsed = serde_json::from_slice(text);
    parsed.map_err(|error| Refusal::Unreached(format!("its answer is no document: {error}")))
}
