//! `--runtime`: what runs the sandboxes.

use std::path::PathBuf;
use std::str::FromStr;

use crate::backend::oci;

/// `--runtime`.
#[derive(Clone, Debug)]
pub enum Runtime {
    /// The suite's own: no root, no daemon.
    Embedded,
    /// An OCI runtime, and its program where that is named.
    Oci(&'static oci::Kind, Option<PathBuf>),
    /// A container engine, and its socket or program where that is named.
    Engine(ContainerEngine, Option<PathBuf>),
    /// A CRI runtime, and its program where that is named.
    Cri(Option<PathBuf>),
}

/// A container engine that runs the image itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEngine {
    /// By its daemon's socket.
    Docker,
    /// By its socket, or its program.
    Podman,
}

impl ContainerEngine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Docker, Self::Podman];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl Runtime {
    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let kinds = oci::KINDS.iter().map(|kind| kind.name);
        let engines = ContainerEngine::ALL.iter().map(|engine| engine.name());
        let all = std::iter::once(EMBEDDED).chain(kinds).chain(engines);
        all.chain([CRI])
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (name, program) = match word.split_once('=') {
            Some((name, program)) => (name, Some(program)),
            None => (word, None),
        };
        if name == EMBEDDED && program.is_none() {
            return Ok(Self::Embedded);
        }
        let path = match program {
            Some(path) if !path.starts_with('/') => {
                return Err(format!("`{path}` is no absolute path"));
            }
            path => path.map(PathBuf::from),
        };
        if let Some(kind) = oci::KINDS.iter().find(|kind| kind.name == name) {
            return Ok(Self::Oci(kind, path));
        }
        let engine = ContainerEngine::ALL
            .into_iter()
            .find(|it| it.name() == name);
        if let Some(engine) = engine {
            return Ok(Self::Engine(engine, path));
        }
        if name == CRI {
            return Ok(Self::Cri(path));
        }
        let names: Vec<_> = Self::names().collect();
        Err(format!("expected one of {}", names.join(", ")))
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str(EMBEDDED),
            Self::Oci(kind, None) => f.write_str(kind.name),
            Self::Oci(kind, Some(program)) => write!(f, "{}={}", kind.name, program.display()),
            Self::Engine(engine, None) => f.write_str(engine.name()),
            Self::Cri(None) => f.write_str(CRI),
            Self::Cri(Some(path)) => write!(f, "{CRI}={}", path.display()),
            Self::Engine(engine, Some(path)) => write!(f, "{}={}", engine.name(), path.display()),
        }
    }
}

/// The name of the suite's own backend.
const EMBEDDED: &str = "embedded";
/// That of the Container Runtime Interface, which containerd speaks.
const CRI: &str = "cri";

#[cfg(test)]
mod tests {
    use super::Runtime;

    #[test]
    fn a_runtime_is_a_name_and_perhaps_a_program() {
        for word in [
            "embedded",
            "runc",
            "crun=/usr/local/bin/crun",
            "youki=/usr/local/bin/youki",
            "docker=/run/docker.sock",
            "podman",
            "cri",
            "cri=/usr/bin/containerd",
        ] {
            let runtime: Runtime = word.parse().expect(word);
            assert_eq!(runtime.to_string(), word);
        }
        for word in [
            "",
            "rkt",
            "runc=",
            "runc=runc",
            "embedded=/bin/true",
            "docker=sock",
            "cri=containerd",
        ] {
            assert!(word.parse::<Runtime>().is_err(), "{word}");
        }
    }
}
