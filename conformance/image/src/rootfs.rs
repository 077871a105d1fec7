//! Paths inside a folded root filesystem: normalised by words, resolved through links,
//! never out of the root.

use std::sync::Arc;

use super::escape::{escape, show_path};
use super::{Entry, EntryKind, Rootfs};

/// How many symbolic links one path may go through, as in Linux (`path_resolution(7)`).
const LINKS: usize = 40;
/// Bytes of a file that is read whole.
const MOST: u64 = 64 << 20;

/// Why a path leads nowhere; displays as what was met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing is there.
    #[error("{} does not exist", show_path(.0))]
    Missing(Vec<u8>),
    /// A link leads to nothing.
    #[error("link {} to {} leads to nothing", show_path(.link), escape(.target))]
    Dangling {
        /// The last link on the way.
        link: Vec<u8>,
        /// Its target as written.
        target: Vec<u8>,
    },
    /// Something on the way is not a directory.
    #[error("{} is not a directory", show_path(.0))]
    NotDirectory(Vec<u8>),
    /// More than 40 links, or a loop of them.
    #[error("{} goes through more than 40 links", show_path(.0))]
    Loop(Vec<u8>),
    /// Longer than the kernel takes.
    #[error("the path is longer than 4096 bytes")]
    TooLong,
}

impl Rootfs {
    /// Follows a path from the root, links included. The first of the pair is the path that
    /// results, empty for the root itself.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Result<(Vec<u8>, &Entry), ResolveError> {
        let path = path.as_ref();
        let lookup = |path: &[u8]| self.entries.get(path).map(|entry| &entry.kind);
        let walk = follow(path, LINKS, lookup, |_| Ok(()))?;
        match self.get(&walk.path) {
            Some(entry) if walk.as_directory && !matches!(entry.kind, EntryKind::Directory) => {
                Err(ResolveError::NotDirectory(walk.path))
            }
            Some(entry) => Ok((walk.path, entry)),
            None => Err(match walk.link {
                Some((link, target)) => ResolveError::Dangling { link, target },
                None => ResolveError::Missing(walk.path),
            }),
        }
    }

    /// Where a path leads, links followed, whether or not something is there.
    pub fn leads_to(&self, path: &[u8]) -> Result<Vec<u8>, ResolveError> {
        let lookup = |path: &[u8]| self.entries.get(path).map(|entry| &entry.kind);
        Ok(follow(path, LINKS, lookup, |_| Ok(()))?.path)
    }

    /// Whether a link on the way of a path leads out of the root where it is followed from outside:
    /// an absolute one, or one that goes above the root.
    pub fn leads_out(&self, path: &[u8]) -> bool {
        let lookup = |path: &[u8]| self.entries.get(path).map(|entry| &entry.kind);
        follow(path, LINKS, lookup, |_| Ok(())).is_ok_and(|walk| walk.absolute || walk.climbed)
    }

    /// The entry at a normalised path, the root for the empty one. Links are not followed.
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        if path.is_empty() {
            Some(&self.root)
        } else {
            self.entries.get(path)
        }
    }

    /// What is in the regular file at a normalised path; `None` where there is none, or where it
    /// is larger than any program or library that the suite reads.
    pub fn content(&self, path: &[u8]) -> Option<Arc<[u8]>> {
        let EntryKind::File { content, .. } = &self.get(path)?.kind else {
            return None;
        };
        content.as_ref()?.read(MOST).ok()?
    }

    /// The directories above a normalised path, the root first.
    pub fn directories_above<'a>(
        &'a self,
        path: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a Entry)> {
        let inner = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        std::iter::once(0)
            .chain(inner.map(|(at, _)| at))
            .filter(|_| !path.is_empty())
            .filter_map(|end| Some((&path[..end], self.get(&path[..end])?)))
    }
}

/// Where following a path ended.
pub(super) struct Followed {
    /// Normalised; need not exist.
    pub(super) path: Vec<u8>,
    /// The last link followed, and its target.
    pub(super) link: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether `..` in a link's target went above the root, where the kernel stays at the root.
    pub(super) climbed: bool,
    /// Whether one of the links followed is absolute.
    absolute: bool,
    /// Whether the path, or the target of its last link, ends with a slash: then the kernel
    /// takes nothing but a directory (path_resolution(7)).
    pub(super) as_directory: bool,
}

/// Follows a path by `lookup`. Components that do not exist are taken as they are.
/// `charge` is told the cost of each step.
pub(super) fn follow<'a>(
    path: &[u8],
    links: usize,
    lookup: impl Fn(&[u8]) -> Option<&'a EntryKind>,
    mut charge: impl FnMut(u64) -> Result<(), ResolveError>,
) -> Result<Followed, ResolveError> {
    let mut at: Vec<u8> = Vec::with_capacity(path.len());
    let mut rest: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let (mut followed, mut link, mut climbed, mut absolute) = (0, None, false, false);
    let mut as_directory = ends_as_directory(path);
    while let Some(component) = rest.pop() {
        charge(1 + at.len() as u64 / 64)?;
        if component == b".." {
            climbed |= at.is_empty() && link.is_some();
            let parent = at.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            at.truncate(parent);
            continue;
        }
        let parent = at.len();
        if !at.is_empty() {
            at.push(b'/');
        }
        at.extend_from_slice(&component);
        if at.len() > 4096 {
            return Err(ResolveError::TooLong);
        }
        match lookup(&at) {
            Some(EntryKind::Symlink(target)) => {
                followed += 1;
                if followed > links {
                    return Err(ResolveError::Loop(components_joined(path)));
                }
                charge(target.len() as u64 / 64)?;
                link = Some((at.clone(), target.clone()));
                as_directory |= rest.is_empty() && ends_as_directory(target);
                if target.starts_with(b"/") {
                    absolute = true;
                    at.clear();
                } else {
                    at.truncate(parent);
                }
                rest.extend(components(target).rev().map(<[u8]>::to_vec));
            }
            Some(EntryKind::Directory) | None => {}
            Some(_) if rest.is_empty() => {}
            Some(_) => return Err(ResolveError::NotDirectory(at)),
        }
    }
    Ok(Followed {
        path: at,
        link,
        climbed,
        absolute,
        as_directory,
    })
}

fn ends_as_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Components without empty ones and `.`.
pub(super) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
}

fn components_joined(path: &[u8]) -> Vec<u8> {
    components(path).collect::<Vec<_>>().join(&b'/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rootfs(entries: &[(&str, EntryKind)]) -> Rootfs {
        let entry = |kind: &EntryKind| Entry {
            kind: kind.clone(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: BTreeMap::new(),
        };
        Rootfs {
            entries: entries
                .iter()
                .map(|(path, kind)| (path.as_bytes().to_vec(), entry(kind)))
                .collect(),
            ..Rootfs::default()
        }
    }

    #[test]
    fn links_are_followed_within_the_root() {
        let link = |target: &str| EntryKind::Symlink(target.as_bytes().to_vec());
        let file = EntryKind::File {
            size: 0,
            content: None,
        };
        let rootfs = rootfs(&[
            ("bin", link("usr/bin")),
            ("usr", EntryKind::Directory),
            ("usr/bin", EntryKind::Directory),
            ("usr/bin/pause", file),
            ("pause", link("../../../bin/./pause")),
            ("gone", link("/nowhere")),
            ("loop", link("loop")),
            ("into", link("usr/bin/pause/x")),
            ("slash", link("usr/bin/pause/")),
        ]);
        let at = |path: &str| {
            rootfs
                .resolve(path)
                .map(|(path, _)| String::from_utf8_lossy(&path).into_owned())
        };
        assert_eq!(at("/pause"), Ok("usr/bin/pause".to_owned()));
        assert_eq!(at("bin/../bin//pause"), Ok("usr/bin/pause".to_owned()));
        assert_eq!(at("/"), Ok(String::new()));
        assert!(matches!(at("gone"), Err(ResolveError::Dangling { .. })));
        assert!(matches!(at("loop"), Err(ResolveError::Loop(_))));
        assert!(matches!(at("into"), Err(ResolveError::NotDirectory(_))));
        assert!(matches!(at("none"), Err(ResolveError::Missing(_))));
        assert_eq!(at("/usr/bin/"), Ok("usr/bin".to_owned()));
        for path in ["/usr/bin/pause/", "/usr/bin/pause/.", "/slash"] {
            assert!(
                matches!(at(path), Err(ResolveError::NotDirectory(_))),
                "{path}"
            );
        }
        for (path, leads_out) in [
            ("bin/pause", false),
            ("pause", true),
            ("gone/file", true),
            ("usr/bin", false),
        ] {
            assert_eq!(rootfs.leads_out(path.as_bytes()), leads_out, "{path}");
        }
        let above: Vec<_> = rootfs
            .directories_above(b"usr/bin/pause")
            .map(|(path, _)| path)
            .collect();
        assert_eq!(above, [&b""[..], b"usr", b"usr/bin"]);
    }
}
