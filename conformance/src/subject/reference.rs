//! What `--image` names, in the syntax of containers-transports(5).

mod registry;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::archive::Archive;
use super::error::Error;
use super::limits::Limits;

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
        /// Which of its images.
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
     binary:FILE, wasm:FILE, a registry reference, and the path of any of these files";
/// Transports of containers-transports(5) and others that a user may expect.
const UNSUPPORTED: &[&str] = &[
    "containers-storage",
    "dir",
    "docker-daemon",
    "ostree",
    "podman",
    "sif",
    "tarball",
];

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
            "docker" => {
                let name = rest.strip_prefix("//").ok_or_else(|| {
                    Error::new(format_args!("image '{text}'"), "no // after docker:")
                        .with_hint("for example docker://registry.k8s.io/pause:3.10")
                })?;
                return name.parse().map(Transport::Registry);
            }
            _ if UNSUPPORTED.contains(&scheme)
                || (rest.starts_with('/') && !scheme.contains('/')) =>
            {
                return Err(Error::new(
                    format_args!("image '{text}'"),
                    format_args!("unknown transport {scheme}:"),
                )
                .with_hint(SUPPORTED));
            }
            _ => {}
        }
    }
    let path = Path::new(text);
    if path.exists() {
        return recognise(path);
    }
    let like_a_path =
        text.starts_with(['/', '.', '~']) || (text.contains(".tar") && !text.contains(':'));
    if like_a_path {
        return Err(Error::new(text, "no such file or directory").with_hint(SUPPORTED));
    }
    text.parse().map(Transport::Registry)
}

/// Tells by content what a path holds.
fn recognise(path: &Path) -> Result<Transport, Error> {
    let what = path.display();
    let unknown = |cause: &str| Error::new(&what, cause).with_hint(SUPPORTED);
    let path = path.to_owned();
    if path.is_dir() {
        return if path.join("oci-layout").exists() {
            Ok(Transport::OciLayout { path, tag: None })
        } else {
            Err(unknown(
                "a folder without an oci-layout file, so no OCI image layout",
            ))
        };
    }
    if !path.is_file() {
        return Err(unknown("neither a regular file nor a folder"));
    }
    let mut head = [0; 4];
    let mut file = File::open(&path).map_err(|error| Error::io(&what, &error))?;
    let whole = file.read_exact(&mut head).is_ok();
    file.rewind().map_err(|error| Error::io(&what, &error))?;
    match &head {
        b"\x7fELF" if whole => return Ok(Transport::Binary { path }),
        b"\0asm" if whole => return Ok(Transport::Wasm { path }),
        _ => {}
    }
    let limits = Limits::default();
    let archive = Archive::of(file, &what.to_string(), &limits).map_err(|error| {
        unknown(&format!(
            "neither an ELF or WebAssembly program nor an image archive ({error})"
        ))
    })?;
    if archive.contains("oci-layout") {
        Ok(Transport::OciArchive { path, tag: None })
    } else if archive.contains("manifest.json") {
        Ok(Transport::DockerArchive { path, image: None })
    } else {
        Err(unknown(
            "a tar archive with neither oci-layout nor manifest.json",
        ))
    }
}
