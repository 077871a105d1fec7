//! An archive file as a table of its members, read by offset.
//!
//! A compressed archive is first copied into a file without a name, within limits; a
//! plain file stays where it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::blob::Blob;
use super::decompress::{Compression, decompress};
use super::digest::Hashed;
use super::error::Error;
use super::limits::{Budget, Limits};
use super::regular;
use super::rootfs::components;
use super::tar::{Type, Walk, looks_like_tar};
use super::temporary::Temporary;

/// Links from member to member that are followed: `docker save` links equal layers.
const LINKS: usize = 8;
/// Of a file that ends early or makes no sense.
const WHOLE: &str = "the file may be incomplete: copy it again, and compare its checksum";

/// A tar file and where its members are.
#[derive(Debug)]
pub(crate) struct Archive {
    name: String,
    blob: Blob,
    members: BTreeMap<Vec<u8>, Place>,
    /// Something follows the last member: an archive that was cut off there has no end mark.
    ends: bool,
}

#[derive(Debug)]
enum Place {
    File {
        offset: u64,
        size: u64,
    },
    /// Another member, by its normalised name.
    Link(Vec<u8>),
}

impl Archive {
    /// Opens an archive file and walks it once.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = regular::open(path).map_err(|error| {
            Error::io(&name, &error).with_hint(if path.is_dir() {
                "for a folder with an OCI image layout use oci:DIR"
            } else {
                "check the path after the transport"
            })
        })?;
        Self::of(file, &name, limits)
    }

    /// Walks an open regular file.
    pub(crate) fn of(file: File, name: &str, limits: &Limits) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(name, &error);
        let mut blob = Blob::of(file).map_err(failed)?;
        let compression = Compression::of(&blob.head::<4>().map_err(failed)?);
        if compression != Compression::Plain {
            blob =
                spool(blob, compression, limits).map_err(|error| failed(error).or_hint(WHOLE))?;
        }
        if !looks_like_tar(&blob.head::<512>().map_err(failed)?) {
            return Err(
                Error::new(name, "not a tar archive, or its first header is damaged").with_hint(
                    "write it again: skopeo copy, docker save and podman save make such files",
                ),
            );
        }
        let (members, ends) = walk(&blob, limits).map_err(|error| {
            failed(error)
                .with_hint("the file may be incomplete: copy it again, and compare its checksum")
        })?;
        Ok(Self {
            name: name.to_owned(),
            blob,
            members,
            ends,
        })
    }

    /// What to say beside that something is missing.
    pub(crate) fn truncation(&self) -> &'static str {
        if self.ends {
            ""
        } else {
            ", and no end-of-archive marker: truncated"
        }
    }

    /// Whether it has a member of that name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// A member's content; links between members are followed.
    pub(crate) fn member(&self, name: &str) -> Result<Blob, Error> {
        match self.place(name) {
            Some((offset, size)) => Ok(self.blob.slice(offset, size)),
            None => Err(Error::absent(
                &self.name,
                format_args!("no {name} in the archive{}", self.truncation()),
            )),
        }
    }

    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normal(name.as_bytes());
        for _ in 0..=LINKS {
            match self.members.get(&name)? {
                Place::File { offset, size } => return Some((*offset, *size)),
                Place::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// The members, and whether something follows them.
fn walk(blob: &Blob, limits: &Limits) -> io::Result<(BTreeMap<Vec<u8>, Place>, bool)> {
    let mut entries = Budget::new("members in the archive", limits.entries as u64);
    let mut names = Budget::new("bytes of names in the archive", limits.names);
    let mut members = BTreeMap::new();
    let mut end = 0;
    let mut walk = Walk::new(blob.clone(), limits);
    while let Some(member) = walk.next()? {
        entries.take(1)?;
        names.take((member.path.len() + member.link.len()) as u64)?;
        end = member.offset.saturating_add(member.size);
        let name = normal(&member.path);
        let place = match member.kind {
            Type::File if !member.sparse => {
                // The end must be in the file, or the archive is truncated.
                if member
                    .offset
                    .checked_add(member.size)
                    .is_none_or(|end| end > blob.len())
                {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Place::File {
                    offset: member.offset,
                    size: member.size,
                }
            }
            Type::HardLink => Place::Link(normal(&member.link)),
            Type::Symlink => {
                let folder = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                Place::Link(normal(&[&name[..folder], b"/", &member.link].concat()))
            }
            _ => continue,
        };
        members.insert(name, place);
    }
    let ends = blob.len() > end.next_multiple_of(512);
    Ok((members, ends))
}

/// A name without leading slash, `.` and `..`.
fn normal(name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in components(name) {
        if part == b".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join(&b'/')
}

/// Copies a stream, uncompressed, into a file that has no name and goes with its last use.
fn spool(
    stream: impl io::Read + Send,
    compression: Compression,
    limits: &Limits,
) -> io::Result<Blob> {
    let mut budget = Budget::new("bytes in the archive", limits.uncompressed);
    let plain = decompress(stream, compression, limits.zstd_window);
    let mut file = Temporary::new()?;
    io::copy(&mut Hashed::new(plain, None, &mut budget), &mut file)?;
    Blob::of(file.into_file())
}
