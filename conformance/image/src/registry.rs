//! Images from registries (OCI distribution-spec v1.1, pull).
//!
//! Blocking and on the caller's thread: when a load returns no thread is left, which
//! namespaces made afterwards depend on. Every answer is bounded in size and time, and
//! content whose digest does not hold is refused. Blobs go to files without a name.

mod auth;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::blob::Blob;
use super::digest::{Digest, Hashed};
use super::document::Descriptor;
use super::error::{Error, io_words};
use super::image::{ResolvedRef, Store};
use super::limits::{Budget, Limits};
use super::pace::Pace;
use super::temporary::Temporary;
use super::{LoadOptions, RegistryName};
use auth::Auth;

/// One body in all, however slowly it drips.
const BODY: Duration = Duration::from_mins(5);
const REDIRECTS: u32 = 5;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// A repository of a registry.
pub(crate) struct Registry<'a> {
    name: &'a RegistryName,
    agent: Agent,
    limits: &'a Limits,
    /// No answer for so long is a stall.
    stall: Duration,
    pace: Pace,
    /// Schemes to try, the first that answers stays.
    schemes: RefCell<Vec<&'static str>>,
    auth: RefCell<Auth>,
    budget: RefCell<Budget>,
}

impl<'a> Registry<'a> {
    /// A repository; nothing is sent yet. Loopback hosts may be insecure, as for docker.
    pub(crate) fn new(name: &'a RegistryName, options: &'a LoadOptions) -> Self {
        let loopback = is_loopback(&name.host);
        let insecure = options.insecure_registry || loopback;
        let (stall, limits) = (Some(options.stall), &options.limits);
        let tls = TlsConfig::builder()
            .root_certs(roots())
            .disable_verification(insecure)
            .build();
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .user_agent(concat!("pause-conformance/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            // No timeout that covers name resolution: that would start a thread.
            .timeout_connect(stall)
            .timeout_send_request(stall)
            .timeout_recv_response(stall)
            .timeout_per_read(stall)
            .timeout_recv_body(Some(BODY));
        if loopback {
            config = config.proxy(None);
        }
        let schemes = if insecure {
            vec!["https", "http"]
        } else {
            vec!["https"]
        };
        Self {
            name,
            agent: config.build().new_agent(),
            limits,
            stall: options.stall,
            pace: Pace::start(options.stall),
            schemes: RefCell::new(schemes),
            auth: RefCell::new(Auth::new(&name.host, options.docker_config.as_deref())),
            budget: RefCell::new(Budget::new("bytes downloaded", limits.stored)),
        }
    }

    /// The manifest or index that the name leads to.
    pub(crate) fn top(&self) -> Result<ResolvedRef, Error> {
        let wanted = self
            .name
            .digest
            .as_deref()
            .or(self.name.tag.as_deref())
            .unwrap_or("latest");
        let expected = self.name.digest.as_deref().map(Digest::parse).transpose();
        let expected = expected.map_err(|cause| Error::new(self.name, cause))?;
        let (bytes, promised) = self.manifest_bytes(wanted)?;
        let expected = expected.or_else(|| Digest::parse(&promised?).ok());
        let observed = expected
            .as_ref()
            .map_or_else(|| Digest::sha256(&bytes), |it| it.of(&bytes));
        if let Some(expected) = expected.filter(|expected| *expected != observed) {
            return Err(self.wrong_digest(&expected, &observed));
        }
        let descriptor = Descriptor::of_manifest(&observed, bytes.len() as u64);
        Ok(ResolvedRef::One {
            descriptor,
            tag: self.name.tag.clone(),
        })
    }

    /// A manifest, and the digest that the registry says it has.
    fn manifest_bytes(&self, reference: &str) -> Result<(Vec<u8>, Option<String>), Error> {
        let mut response = self.get(&format!("manifests/{reference}"), ACCEPT)?;
        let header = response.headers().get("docker-content-digest");
        let promised = header
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut bytes = Vec::new();
        let bound = self.limits.document;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut body = self.pace.hold(body).take(bound + 1);
        body.read_to_end(&mut bytes)
            .map_err(|error| self.broken("manifest", &error))?;
        if bytes.len() as u64 > bound {
            let cause =
                format!("a manifest of more than {bound} bytes, the suite's limit for a document");
            return Err(Error::new(self.name, cause));
        }
        Ok((bytes, promised))
    }

    /// GET below the repository, with authorization where the registry asks for it.
    fn get(&self, path: &str, accept: &str) -> Result<Response<Body>, Error> {
        let mut asked = false;
        loop {
            self.pace
                .check()
                .map_err(|error| self.broken("image", &error))?;
            let response = self.send(path, accept)?;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED && !asked {
                asked = true;
                let secure = self.schemes.borrow().first() == Some(&"https");
                let mut auth = self.auth.borrow_mut();
                auth.answer(
                    (&self.agent, self.pace),
                    self.name,
                    response.headers(),
                    secure,
                )?;
                continue;
            }
            return if status.is_success() {
                Ok(response)
            } else {
                Err(self.refused(status, path))
            };
        }
    }

    fn send(&self, path: &str, accept: &str) -> Result<Response<Body>, Error> {
        let host = match self.name.host.as_str() {
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let schemes = self.schemes.borrow().clone();
        let mut failed = None;
        for scheme in schemes {
            let url = format!("{scheme}://{host}/v2/{}/{path}", self.name.repository);
            let mut request = self.agent.get(&url).header("accept", accept);
            if let Some(header) = self.auth.borrow().header() {
                request = request.header("authorization", header);
            }
            match request.call() {
                Ok(response) => {
                    *self.schemes.borrow_mut() = vec![scheme];
                    return Ok(response);
                }
                // A stall is not worth another one; what speaks no TLS may speak plainly.
                Err(error @ ureq::Error::Timeout(_)) => return Err(self.unreachable(&error)),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(
            || Error::new(self.name, "no scheme to try"),
            |error| self.unreachable(&error),
        ))
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        let host = &self.name.host;
        let (cause, hint) = match error {
            error if is_unknown_name(error) => (
                format!("registry {host} not found"),
                "check the name, the network and the resolver",
            ),
            ureq::Error::Timeout(_) => (
                format!("registry {host} does not answer within {:?}", self.stall),
                "check the network and HTTPS_PROXY",
            ),
            ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => (
                format!("registry {host} redirects more than {REDIRECTS} times"),
                "the registry is set up wrongly",
            ),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => (
                format!("registry {host}: {error}"),
                "for a registry without TLS or with a certificate of your own use --insecure-registry",
            ),
            _ => {
                let cause = match error {
                    ureq::Error::Io(error) => io_words(error),
                    other => other.to_string(),
                };
                (
                    format!("registry {host} cannot be reached: {cause}"),
                    "check the name and port, the network and HTTPS_PROXY; for plain HTTP use --insecure-registry",
                )
            }
        };
        Error::new(self.name, cause).with_hint(hint)
    }

    fn refused(&self, status: StatusCode, path: &str) -> Error {
        let host = &self.name.host;
        let code = status.as_u16();
        let error = |cause: String| Error::new(self.name, cause);
        match code {
            401 | 403 => {
                let hint = match self.auth.borrow().problem() {
                    Some(problem) => format!("stored credentials could not be used: {problem}"),
                    None => {
                        format!("log in with docker login {host}, and check that the name is right")
                    }
                };
                let word = if code == 401 {
                    "unauthorized"
                } else {
                    "forbidden"
                };
                error(format!("registry {host} refuses it: {code} {word}")).with_hint(hint)
            }
            404 if path.starts_with("manifests/") => {
                error(format!("registry {host} has no such image: 404"))
                    .with_hint("check name and tag")
            }
            404 => error(format!("registry {host} has no {path}: 404"))
                .with_hint("a part of the image is missing there: push it again"),
            429 => error(format!("registry {host} limits requests: 429"))
                .with_hint("log in, or try again later"),
            500..=599 => error(format!("registry {host} fails: {status}"))
                .with_hint("a fault of the registry: try again later, or ask its operator"),
            _ => error(format!("registry {host} answers {status}"))
                .with_hint("check that the host is a registry and the name an image"),
        }
    }

    /// A body that ends early, stalls or passes a limit.
    fn broken(&self, what: &str, error: &io::Error) -> Error {
        let host = &self.name.host;
        let stalled = error.kind() == io::ErrorKind::TimedOut
            || matches!(
                error.get_ref().and_then(|inner| inner.downcast_ref()),
                Some(ureq::Error::Timeout(_))
            );
        if stalled {
            let cause = format!("registry {host} stalled in the middle of {what}");
            return Error::new(self.name, cause).with_hint("check the network, or try again");
        }
        Error::io(format_args!("{}: {what} from {host}", self.name), error)
    }

    fn wrong_digest(&self, expected: &Digest, observed: &Digest) -> Error {
        let cause =
            format!("the registry sent something else: expected {expected}, observed {observed}");
        Error::new(self.name, cause).with_hint(
            "a proxy or the registry changes content; pull it elsewhere and judge the archive",
        )
    }
}

impl Store for Registry<'_> {
    fn manifest(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let digest = descriptor.parsed_digest()?;
        let (bytes, _) = self.manifest_bytes(&digest.to_string())?;
        let observed = digest.of(&bytes);
        if observed != digest {
            return Err(self.wrong_digest(&digest, &observed));
        }
        let failed = |error: io::Error| Error::io(self.name, &error);
        let mut file = Temporary::new().map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        Blob::of(file.into_file()).map_err(failed)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let digest = descriptor.parsed_digest()?;
        let what = format!("blob {digest}");
        let promised = descriptor
            .size()
            .and_then(serde_json::Number::as_u64)
            .ok_or_else(|| {
                Error::new(
                    self.name,
                    format_args!("the descriptor of {digest} has no size that can be"),
                )
            })?;
        let mut budget = self.budget.borrow_mut();
        if promised > budget.left() {
            return Err(Error::limit(&what, &budget.exceeded()));
        }
        let mut response = self.get(&format!("blobs/{digest}"), "*/*")?;
        let failed = |error: io::Error| Error::io(&what, &error).within(self.name);
        let mut file = Temporary::with_room(promised).map_err(failed)?;
        let body = response.body_mut().with_config().limit(u64::MAX).reader();
        let body = self.pace.hold(body).take(promised + 1);
        let mut body = Hashed::new(body, Some(&digest), &mut budget);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => file.write_all(&buffer[..count]).map_err(failed)?,
                Err(error) => return Err(self.broken(&what, &error)),
            }
        }
        let (observed, size) = body.finish().map_err(|error| self.broken(&what, &error))?;
        if size != promised {
            let more = if size > promised { "more" } else { "less" };
            let cause =
                format!("{what}: {more} than the {promised} bytes that its descriptor promises");
            return Err(Error::new(self.name, cause));
        }
        if observed != digest {
            return Err(self.wrong_digest(&digest, &observed));
        }
        Blob::of(file.into_file()).map_err(failed)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// The system's certificate authorities, Mozilla's where there are none.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs();
    let certs: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|cert| Certificate::from_der(cert.as_ref()).to_owned())
        .collect();
    if certs.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&certs)
    }
}

/// Whether a name has no address: the standard library's words for a failed getaddrinfo(3).
fn is_unknown_name(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => error.to_string().starts_with("failed to lookup address"),
        _ => false,
    }
}

/// Whether a host is this one, by its name or address.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_is_told_by_name_or_address() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.3.2.1",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "registry.k8s.io",
            "localhost.example.org",
            "10.0.0.1:5000",
            "128.0.0.1",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
