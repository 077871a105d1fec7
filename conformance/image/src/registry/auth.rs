//! Authorization: what docker has stored, basic, and tokens (distribution-spec; docker's token
//! scheme).

use std::io::{BufReader, Read as _};
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{
    CredentialRetrievalError, DockerCredential, get_credential, get_credential_from_reader,
};
use http_auth::{ChallengeParser, ChallengeRef};
use serde::Deserialize;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

use crate::RegistryName;
use crate::error::Error;
use crate::pace::Pace;

/// An answer of a token server, larger than any token.
const TOKEN: u64 = 1 << 20;

/// Credentials of a registry, and the header that came of them.
pub(super) struct Auth {
    credential: Option<DockerCredential>,
    problem: Option<String>,
    header: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    /// Looks into docker's configuration, credential helpers included.
    pub(super) fn new(host: &str, config: Option<&Path>) -> Self {
        let keys = match host {
            "docker.io" => vec!["https://index.docker.io/v1/".to_owned(), host.to_owned()],
            host => vec![host.to_owned(), format!("https://{host}")],
        };
        let mut problem = None;
        for key in keys {
            match stored(&key, config) {
                Ok(credential) => {
                    return Self {
                        credential: Some(credential),
                        problem: None,
                        header: None,
                    };
                }
                // Nothing stored: anonymous.
                Err(
                    CredentialRetrievalError::NoCredentialConfigured
                    | CredentialRetrievalError::ConfigNotFound
                    | CredentialRetrievalError::ConfigReadError,
                ) => {}
                // A helper that has nothing says so by failing: only worth telling if access is
                // refused.
                Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                    problem = Some(format!("credential helper {helper} fails"));
                }
                Err(error) => problem = Some(error.to_string().to_lowercase()),
            }
        }
        Self {
            credential: None,
            problem,
            header: None,
        }
    }

    /// Value of the Authorization header, where there is one.
    pub(super) fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    /// Why stored credentials could not be used.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Answers the challenges of a 401; the next request carries the answer.
    /// `secure` says that the registry itself is reached by TLS.
    pub(super) fn answer(
        &mut self,
        (agent, pace): (&Agent, Pace),
        name: &RegistryName,
        headers: &HeaderMap,
        secure: bool,
    ) -> Result<(), Error> {
        self.header = None;
        for value in headers.get_all("www-authenticate") {
            let Ok(text) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let token = self.token((agent, pace), name, &challenge, secure)?;
                    self.header = Some(format!("Bearer {token}"));
                    return Ok(());
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    self.header = self.credential.as_ref().and_then(basic);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn token(
        &mut self,
        (agent, pace): (&Agent, Pace),
        name: &RegistryName,
        challenge: &ChallengeRef<'_>,
        secure: bool,
    ) -> Result<String, Error> {
        let log_in = format!("log in with docker login {}", name.host);
        let asked = Asked::of(challenge, name, secure)
            .map_err(|cause| Error::new(name, cause).with_hint(log_in.clone()))?;
        // The registry names this server, so it may belong to anyone.
        let credential = self.credential.as_ref().filter(|_| {
            let trusted = is_of(&name.host, &asked.realm);
            if !trusted {
                self.problem = Some(format!(
                    "they are not sent to {}, which is no token server of {}",
                    asked.realm, name.host
                ));
            }
            trusted
        });
        let hint = match &self.problem {
            Some(problem) => format!("stored credentials could not be used: {problem}"),
            None => log_in,
        };
        let refused = |what: String| {
            let cause = format!("the token server {} {what}", asked.realm);
            Error::new(name, cause).with_hint(hint.clone())
        };
        let unreached = |error: ureq::Error| refused(format!("cannot be reached: {error}"));
        let response = asked.send(agent, credential).map_err(unreached)?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(format!("answers {status}")));
        }
        let body = response.into_body();
        let body = body.into_with_config().limit(TOKEN).reader();
        let mut bytes = Vec::new();
        pace.hold(body)
            .read_to_end(&mut bytes)
            .map_err(|error| unreached(error.into()))?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| refused(format!("sends no token: {error}")))?;
        let token = token.token.or(token.access_token);
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| refused("sends no token".to_owned()))
    }
}

/// What a registry asks for (distribution specification, token authentication).
struct Asked {
    /// The token server.
    realm: String,
    service: String,
    scope: String,
}

impl Asked {
    /// By the registry's challenge; an error in words.
    fn of(challenge: &ChallengeRef<'_>, name: &RegistryName, secure: bool) -> Result<Self, String> {
        let parameter = |key: &str| {
            let mut all = challenge.params.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.to_unescaped())
        };
        let Some(realm) = parameter("realm") else {
            return Err("the registry asks for a token but names no server".to_owned());
        };
        // A registry reached by TLS must not have credentials sent in the clear.
        if secure && !realm.starts_with("https://") {
            return Err(format!("the token server {realm} is not reached by TLS"));
        }
        let scope = parameter("scope");
        Ok(Self {
            realm,
            service: parameter("service").unwrap_or_default(),
            scope: scope.unwrap_or_else(|| format!("repository:{}:pull", name.repository)),
        })
    }

    fn send(
        &self,
        agent: &Agent,
        credential: Option<&DockerCredential>,
    ) -> Result<Response<Body>, ureq::Error> {
        if let Some(DockerCredential::IdentityToken(token)) = credential {
            return agent.post(&self.realm).send_form([
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("service", &self.service),
                ("scope", &self.scope),
                ("client_id", "pause-conformance"),
            ]);
        }
        let request = agent.get(&self.realm);
        let request = request.query("service", &self.service);
        let mut request = request.query("scope", &self.scope);
        if let Some(basic) = credential.and_then(basic) {
            request = request.header("authorization", basic);
        }
        request.call()
    }
}

/// Value of the Authorization header for a name and a password.
fn basic(credential: &DockerCredential) -> Option<String> {
    match credential {
        DockerCredential::UsernamePassword(user, password) => Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        )),
        DockerCredential::IdentityToken(_) => None,
    }
}

/// Whether a token server belongs to a registry: the same host at any port, or another
/// name below the same domain, as auth.docker.io beside registry-1.docker.io is.
fn is_of(registry: &str, realm: &str) -> bool {
    let Some(server) = realm
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_ascii_lowercase))
    else {
        return false;
    };
    let registry = registry.to_ascii_lowercase();
    let registry = match registry.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => &registry,
    };
    let below = |domain: &str| {
        server
            .strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if registry.starts_with('[') || registry.parse::<IpAddr>().is_ok() {
        return server == registry;
    }
    let domain = registry.split_once('.').map_or("", |(_, domain)| domain);
    below(registry) || (is_ones_own(domain) && below(domain))
}

/// Whether a domain has one owner, and is no public suffix: at least two labels, and more than
/// `co.uk`.
fn is_ones_own(domain: &str) -> bool {
    match domain.rsplit_once('.') {
        None => false,
        Some((rest, top)) => rest.contains('.') || top.len() > 2 || rest.len() > 3,
    }
}

fn stored(key: &str, config: Option<&Path>) -> Result<DockerCredential, CredentialRetrievalError> {
    let Some(config) = config else {
        return get_credential(key);
    };
    let file =
        crate::regular::open(config).map_err(|_| CredentialRetrievalError::ConfigReadError)?;
    get_credential_from_reader(BufReader::new(file), key)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_of;

    #[rstest]
    #[case("docker.io", "https://auth.docker.io/token", true)]
    #[case("ghcr.io", "https://ghcr.io/token", true)]
    #[case("registry.gitlab.com", "https://gitlab.com/jwt/auth", true)]
    #[case("registry.example.org:5000", "https://Auth.Example.org/token", true)]
    #[case("127.0.0.1:5000", "http://127.0.0.1:5001/token", true)]
    #[case("[::1]:5000", "http://[::1]:5001/token", true)]
    #[case("localhost:5000", "http://localhost:5001/token", true)]
    #[case("docker.io", "https://auth.docker.io.example.org/token", false)]
    #[case("docker.io", "https://notdocker.io/token", false)]
    #[case("docker.io", "https://docker.io@example.org/token", false)]
    #[case("ghcr.io", "https://other.io/token", false)]
    #[case("example.co.uk", "https://other.co.uk/token", false)]
    #[case("127.0.0.1:5000", "http://127.0.0.2:5000/token", false)]
    #[case("10.0.0.1", "http://9.10.0.0.1/token", false)]
    #[case("localhost:5000", "http://example.org/token", false)]
    #[case("registry.example.org", "no address", false)]
    fn credentials_stay_with_the_registry(
        #[case] registry: &str,
        #[case] realm: &str,
        #[case] may: bool,
    ) {
        assert_eq!(is_of(registry, realm), may);
    }
}
