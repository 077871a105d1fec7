//! Authorization: what docker has stored, basic, and tokens (distribution-spec; docker's token scheme).

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{
    CredentialRetrievalError, DockerCredential, get_credential, get_credential_from_reader,
};
use http_auth::{ChallengeParser, ChallengeRef};
use serde::Deserialize;
use ureq::Agent;
use ureq::http::HeaderMap;

use crate::subject::RegistryName;
use crate::subject::error::Error;

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
                // A helper that has nothing says so by failing: only worth telling if access is refused.
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
        agent: &Agent,
        name: &RegistryName,
        headers: &HeaderMap,
        secure: bool,
    ) -> Result<(), Error> {
        self.header = None;
        for value in headers.get_all("www-authenticate") {
            let Ok(text) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let token = self.token(agent, name, &challenge, secure)?;
                    self.header = Some(format!("Bearer {token}"));
                    return Ok(());
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    self.header = self.basic();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn basic(&self) -> Option<String> {
        match &self.credential {
            Some(DockerCredential::UsernamePassword(user, password)) => Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{password}"))
            )),
            _ => None,
        }
    }

    fn token(
        &self,
        agent: &Agent,
        name: &RegistryName,
        challenge: &ChallengeRef<'_>,
        secure: bool,
    ) -> Result<String, Error> {
        let parameter = |key: &str| {
            let mut all = challenge.params.iter();
            all.find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.to_unescaped())
        };
        let refused = |cause: String| {
            Error::new(name, cause).with_hint(format!("log in with docker login {}", name.host))
        };
        let Some(realm) = parameter("realm") else {
            return Err(refused(
                "the registry asks for a token but names no server".to_owned(),
            ));
        };
        // A registry reached by TLS must not have credentials sent in the clear.
        if secure && !realm.starts_with("https://") {
            return Err(refused(format!(
                "the token server {realm} is not reached by TLS"
            )));
        }
        let service = parameter("service").unwrap_or_default();
        let scope =
            parameter("scope").unwrap_or_else(|| format!("repository:{}:pull", name.repository));
        let failed = |error: ureq::Error| {
            refused(format!(
                "the token server {realm} cannot be reached: {error}"
            ))
        };
        let response = if let Some(DockerCredential::IdentityToken(token)) = &self.credential {
            agent
                .post(&realm)
                .send_form([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("service", &service),
                    ("scope", &scope),
                    ("client_id", "pause-conformance"),
                ])
                .map_err(failed)?
        } else {
            let mut request = agent
                .get(&realm)
                .query("service", &service)
                .query("scope", &scope);
            if let Some(basic) = self.basic() {
                request = request.header("authorization", basic);
            }
            request.call().map_err(failed)?
        };
        let status = response.status();
        if !status.is_success() {
            return Err(refused(format!(
                "the token server {realm} answers {status}"
            )));
        }
        let body = response
            .into_body()
            .into_with_config()
            .limit(TOKEN)
            .read_to_vec()
            .map_err(failed)?;
        let token: Token = serde_json::from_slice(&body).map_err(|error| {
            refused(format!("the token server {realm} sends no token: {error}"))
        })?;
        let token = token
            .token
            .or(token.access_token)
            .filter(|token| !token.is_empty());
        token.ok_or_else(|| refused(format!("the token server {realm} sends no token")))
    }
}

fn stored(key: &str, config: Option<&Path>) -> Result<DockerCredential, CredentialRetrievalError> {
    let Some(config) = config else {
        return get_credential(key);
    };
    let file = File::open(config).map_err(|_| CredentialRetrievalError::ConfigReadError)?;
    get_credential_from_reader(BufReader::new(file), key)
}
