//! Images that docker holds: `docker save` over its socket (Docker Engine API, "Export
//! several images"), read as the docker-archive that it is.
//!
//! The daemon is asked for one thing and trusted with nothing: its answer is bounded in
//! size and time, as a registry's is.

use std::env;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;

use super::LoadOptions;
use super::archive::Archive;
use super::error::{Error, io_words};
use super::limits::Budget;
use super::pace::Pace;
use super::temporary::Temporary;
use super::unix_http;

const SOCKET: &str = "unix:///var/run/docker.sock";
/// Time limit for the whole answer, also where it comes slowly.
const BODY: Duration = Duration::from_mins(5);
/// What the daemon says is wrong.
const MESSAGE: u64 = 64 << 10;

#[derive(Deserialize)]
struct Message {
    message: String,
}

/// The hint where the daemon does not answer.
const REACH: &str = "check that docker runs and that you may use its socket";

/// The image as `docker save` writes it, in a file without a name.
pub(crate) fn save(image: &str, options: &LoadOptions) -> Result<Archive, Error> {
    let what = format!("docker-daemon:{image}");
    let failed = |(cause, hint): Failed| {
        Error::new(&what, cause).with_hint(format!(
            "{hint}; or save it where it is: docker save {image} > FILE, then docker-archive:FILE"
        ))
    };
    let path = socket(options).map_err(failed)?;
    let body = request(image, &path, options).map_err(failed)?;
    let kept = |error: io::Error| Error::io(&what, &error);
    let mut file = Temporary::new().map_err(kept)?;
    let mut budget = Budget::new("bytes from docker", options.limits.stored);
    let mut reader = Pace::start(options.stall).hold(body);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = reader
            .read(&mut buffer)
            .map_err(|error| failed((format!("docker's answer: {}", io_words(&error)), REACH)))?;
        if count == 0 {
            break;
        }
        budget
            .take(count as u64)
            .map_err(|error| Error::limit(&what, &error))?;
        file.write_all(&buffer[..count]).map_err(kept)?;
    }
    Archive::of(file.into_file(), &what, &options.limits)
}

/// A cause, and what the user can do.
type Failed = (String, &'static str);

/// Path of the daemon's socket.
fn socket(options: &LoadOptions) -> Result<String, Failed> {
    let host = options.docker_host.clone();
    let host = host.or_else(|| env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()));
    let host = host.unwrap_or_else(|| SOCKET.to_owned());
    match host.strip_prefix("unix://") {
        Some(path) => Ok(path.to_owned()),
        None => Err((
            format!("docker listens at {host}, which is no unix:// socket"),
            "set DOCKER_HOST to one",
        )),
    }
}

/// Asks for the image; the body of the answer, where that says success.
fn request(image: &str, path: &str, options: &LoadOptions) -> Result<impl Read + use<>, Failed> {
    let response = agent(path, options)
        .get("http://docker/images/get")
        .query("names", image)
        .call();
    let response = response.map_err(|error| {
        let cause = match error {
            ureq::Error::Io(error) => io_words(&error),
            ureq::Error::Timeout(_) => format!("no answer within {:?}", options.stall),
            other => other.to_string(),
        };
        (format!("docker at {path}: {cause}"), REACH)
    })?;
    let status = response.status();
    let body = response.into_body();
    if status.is_success() {
        return Ok(body.into_with_config().limit(u64::MAX).reader());
    }
    let said = body.into_with_config().limit(MESSAGE).read_to_vec();
    let said = said
        .ok()
        .and_then(|said| serde_json::from_slice(&said).ok());
    let cause = match said {
        Some(Message { message }) => format!("docker says: {message}"),
        None => format!("docker answers {status}"),
    };
    Err((cause, "docker images lists what it has"))
}

fn agent(path: &str, options: &LoadOptions) -> Agent {
    let stall = Some(options.stall);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_send_request(stall)
        .timeout_recv_response(stall)
        .timeout_per_read(stall)
        .timeout_recv_body(Some(BODY))
        .build();
    unix_http::agent(Path::new(path), config)
}
