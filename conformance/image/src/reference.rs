//! What `--image` names, in the syntax of containers-transports(5).

mod registry;

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::archive::Archive;
use super::digest::Digest;
use super::error::Error;
use super::layout;
use super::limits::Limits;
use super::regular;

pub use registry::RegistryName;

/// An image or a program as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As written.
    pub text: String,
    /// Where it is.
    pub transport: Transport,
}

/// Where an image or a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `oci:DIR[:TAG]`: a folder with an OCI image layout.
    OciLayout {
        /// The folder.
        path: PathBuf,
        /// Which of its images: a tag, or `@N` for the one at that place.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: such a layout in a tar file.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:REF]`: what `docker save` writes.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images: a name as in `RepoTags`, or `@N` for the one at that place.
        image: Option<String>,
    },
    /// `docker-daemon:REF`: an image that docker holds, by name or by id.
    DockerDaemon {
        /// A complete name, or `sha256:…`.
        image: String,
    },
    /// `containers-storage:REF`: an image that podman or CRI-O holds, by name or by id.
    ContainersStorage {
        /// As podman takes it.
        image: String,
    },
    /// `containerd:REF` or `cri:REF`: an image that containerd holds for the pods of a kubelet.
    Containerd {
        /// A complete name, or `sha256:…`.
        image: String,
    },
    /// `docker://REF`, or a bare reference: an image in a registry.
    Registry(RegistryName),
    /// `binary:FILE`: a program alone.
    Binary {
        /// The file.
        path: PathBuf,
    },
    /// `wasm:FILE`: a WebAssembly program alone.
    Wasm {
        /// The file.
        path: PathBuf,
    },
}

const SUPPORTED: &str = "supported are oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], docker://REF, \
     docker-daemon:REF, containers-storage:REF, containerd:REF, cri:REF, binary:FILE, wasm:FILE, a registry reference, and the path of any of these files";
/// Transports of containers-transports(5) and others that a user may expect, and how
/// to come from there to one that is read.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("dir", SKOPEO),
    ("ostree", SKOPEO),
    ("podman", PODMAN),
    ("sif", SKOPEO),
    ("tarball", SKOPEO),
];
const PODMAN: &str =
    "podman save --format oci-archive -o FILE IMAGE writes a file that oci-archive:FILE reads";
const SKOPEO: &str = "skopeo copy TRANSPORT:IMAGE oci:DIR makes a folder that oci:DIR reads";

impl FromStr for Reference {
    type Err = Error;

    /// Reads a reference; a path without transport is recognised by what is there.
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self {
            text: text.to_owned(),
            transport: transport(text)?,
        })
    }
}

fn transport(text: &str) -> Result<Transport, Error> {
    if text.is_empty() {
        return Err(Error::new("image ''", "no reference given").with_hint(SUPPORTED));
    }
    if let Some((scheme, rest)) = text.split_once(':') {
        let file = |rest: &str| {
            let (path, name) = rest
                .split_once(':')
                .map_or((rest, None), |(path, name)| (path, Some(name)));
            let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
            if path.is_empty() {
                let cause = format!("no path after {scheme}:");
                return Err(Error::new(format_args!("image '{text}'"), cause).with_hint(SUPPORTED));
            }
            Ok((PathBuf::from(path), name))
        };
        match scheme {
            "oci" => return file(rest).map(|(path, tag)| Transport::OciLayout { path, tag }),
            "oci-archive" => {
                return file(rest).map(|(path, tag)| Transport::OciArchive { path, tag });
            }
            "docker-archive" => {
                return file(rest).map(|(path, image)| Transport::DockerArchive { path, image });
            }
            "binary" | "wasm" => {
                file(rest)?;
                let path = PathBuf::from(rest);
                return Ok(match scheme {
                    "wasm" => Transport::Wasm { path },
                    _ => Transport::Binary { path },
                });
            }
            "docker-daemon" | "containers-storage" | "containerd" | "cri" => {
                return of_engine(text, scheme, rest);
            }
            "docker" => {
                let name = rest.strip_prefix("//").ok_or_else(|| {
                    Error::new(format_args!("image '{text}'"), "no // after docker:")
                        .with_hint("for example docker://registry.k8s.io/pause:3.10")
                })?;
                return name.parse().map(Transport::Registry);
            }
            _ => {
                let known = UNSUPPORTED.iter().find(|(name, _)| *name == scheme);
                let (cause, hint) = match known {
                    Some((_, hint)) => ("this suite reads no", *hint),
                    None if is_no_port(scheme, rest) => ("unknown transport", SUPPORTED),
                    None => return path_or_name(text),
                };
                let image = format!("image '{text}'");
                return Err(Error::new(image, format_args!("{cause} {scheme}:")).with_hint(hint));
            }
        }
    }
    path_or_name(text)
}

/// What has no transport: a path where there is one, else a name in a registry.
fn path_or_name(text: &str) -> Result<Transport, Error> {
    let path = Path::new(text);
    if path.exists() {
        return recognise(path);
    }
    let like_a_path =
        text.starts_with(['/', '.', '~']) || (text.contains(".tar") && !text.contains(':'));
    if like_a_path {
        return Err(Error::new(text, "no such file or directory")
            .with_hint("check the path; an image in a registry is named without ./ and the like"));
    }
    text.parse().map(Transport::Registry)
}

/// An image in a daemon: an id as it is, a name completed as docker does, since one
/// without tag would mean all of its tags.
fn daemon_image(text: &str) -> Result<String, Error> {
    if Digest::parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    text.parse::<RegistryName>().map(|name| name.to_string())
}

/// An image in an engine's store.
fn of_engine(text: &str, scheme: &str, rest: &str) -> Result<Transport, Error> {
    match scheme {
        "containers-storage" => {
            stored_image(text, rest).map(|image| Transport::ContainersStorage { image })
        }
        "docker-daemon" => daemon_image(rest).map(|image| Transport::DockerDaemon { image }),
        _ => daemon_image(rest).map(|image| Transport::Containerd { image }),
    }
}

/// An image in podman's store, as podman takes it: a short name may be one of `localhost/`.
fn stored_image(text: &str, image: &str) -> Result<String, Error> {
    if image.starts_with('[') {
        let cause = "a store is named in it, and podman's own is read";
        return Err(Error::new(format_args!("image '{text}'"), cause)
            .with_hint("CONTAINERS_STORAGE_CONF names the configuration of another store"));
    }
    daemon_image(image).map(|_| image.to_owned())
}

/// Whether what follows a word and a colon, up to a slash, can be no port: then the word
/// is meant as a transport.
fn is_no_port(word: &str, rest: &str) -> bool {
    let port = rest.split_once('/').map(|(port, _)| port);
    !word.contains('/') && port.is_some_and(|port| port.parse::<u16>().is_err())
}

/// Tells by content what a path holds.
fn recognise(path: &Path) -> Result<Transport, Error> {
    let what = path.display();
    let unknown = |cause: &str| Error::new(&what, cause).with_hint(SUPPORTED);
    let path = path.to_owned();
    if path.is_dir() {
        return if path.join("oci-layout").is_file() {
            Ok(Transport::OciLayout { path, tag: None })
        } else {
            Err(unknown(
                "a folder without an oci-layout file, so no OCI image layout",
            ))
        };
    }
    let mut head = [0; 4];
    let mut file =
        regular::open(&path).map_err(|error| Error::io(&what, &error).with_hint(SUPPORTED))?;
    let whole = file.read_exact(&mut head).is_ok();
    file.rewind().map_err(|error| Error::io(&what, &error))?;
    match &head {
        b"\x7fELF" if whole => return Ok(Transport::Binary { path }),
        b"\0asm" if whole => return Ok(Transport::Wasm { path }),
        _ => {}
    }
    let limits = Limits::default();
    let archive = Archive::of(file, &what.to_string(), &limits).map_err(|error| {
        let cause = error.cause();
        unknown(&format!(
            "neither an ELF or WebAssembly program nor an image archive: {cause}"
        ))
    })?;
    let saved = archive.contains("manifest.json");
    if archive.contains("oci-layout") && !(saved && layout::names_nothing(&archive, &limits)) {
        Ok(Transport::OciArchive { path, tag: None })
    } else if saved {
        Ok(Transport::DockerArchive { path, image: None })
    } else {
        Err(unknown(&format!(
            "a tar archive with neither oci-layout nor manifest.json{}",
            archive.truncation()
        )))
    }
}
