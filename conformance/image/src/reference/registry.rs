//! Names of images in registries, familiar ones completed as docker does
//! (distribution/reference: `pause:3.10` is `docker.io/library/pause:3.10`).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::Error;

/// The registry of names without a host.
const DOCKER_HUB: &str = "docker.io";

/// A complete name of an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryName {
    /// Host, with a port where one is given.
    pub host: String,
    /// Path in the registry.
    pub repository: String,
    /// Tag; `latest` where neither tag nor digest is given.
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl FromStr for RegistryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |cause: &str| {
            Error::new(format_args!("image '{text}'"), cause)
                .with_hint("a reference reads [HOST[:PORT]/]NAME[:TAG][@DIGEST], for example registry.k8s.io/pause:3.10")
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                Digest::parse(digest).map_err(|cause| wrong(&cause))?;
                (name, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        let (name, tag) = split_tag(name);
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("not a valid tag"));
        }
        let (host, path) = split_host(name);
        if !is_host(host) {
            return Err(wrong("not a valid registry host"));
        }
        let repository = complete(host, path).ok_or_else(|| {
            wrong("not a valid repository name (lower-case letters, digits, '.', '_', '-')")
        })?;
        let tag = match (tag, &digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            host: host.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// A colon after the last slash starts a tag, one before it a port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    match name[slash..].find(':') {
        Some(at) => (&name[..slash + at], Some(&name[slash + at + 1..])),
        None => (name, None),
    }
}

fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DOCKER_HUB, path),
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, name),
    }
}

/// The repository's whole name; `None` where it is not valid. Its length counts once it is whole: a
/// name must still be one when it is read again.
fn complete(host: &str, path: &str) -> Option<String> {
    let familiar = host == DOCKER_HUB && !path.contains('/');
    let longest = if familiar {
        255 - "library/".len()
    } else {
        255
    };
    if path.is_empty() || path.len() > longest || !path.split('/').all(is_component) {
        return None;
    }
    Some(if familiar {
        format!("library/{path}")
    } else {
        path.to_owned()
    })
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    matches!(tag.len(), 1..=128) && tag.bytes().all(sound) && !tag.starts_with(['.', '-'])
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let sound = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                })
        }
    };
    sound && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(letter);
    let mut separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    ends(component.bytes().next())
        && ends(component.bytes().last())
        && separators.all(|part| {
            matches!(part, "" | "." | "_" | "__") || part.bytes().all(|byte| byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::RegistryName;

    #[rstest]
    #[case("pause", "docker.io/library/pause:latest")]
    #[case("pause:3.10", "docker.io/library/pause:3.10")]
    #[case("someone/pause:v1", "docker.io/someone/pause:v1")]
    #[case("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10")]
    #[case("localhost:5000/a/b__c-d.e:x", "localhost:5000/a/b__c-d.e:x")]
    #[case("localhost/pause", "localhost/pause:latest")]
    #[case("[::1]:5000/pause", "[::1]:5000/pause:latest")]
    fn familiar_names_are_completed(#[case] text: &str, #[case] full: &str) {
        let name: RegistryName = text.parse().expect("a reference");
        assert_eq!(name.to_string(), full);
    }

    #[rstest]
    #[case("Pause")]
    #[case("pause:")]
    #[case("pause:-x")]
    #[case("a//b")]
    #[case("../pause")]
    #[case("a/../b")]
    #[case("registry.k8s.io/")]
    #[case("pause@sha256:12")]
    #[case("host:99999/pause")]
    #[case("-a.b/pause")]
    #[case("pa use")]
    #[case("a___b")]
    fn what_is_no_reference_is_refused(#[case] text: &str) {
        assert!(text.parse::<RegistryName>().is_err());
    }
}
