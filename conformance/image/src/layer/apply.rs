//! Applies one member of a layer: whiteouts, links, replacement, implied directories.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use super::{DEFECTS, Flattened, Node, weight};
use crate::escape::{escape, is_plain};
use crate::rootfs::{Followed, ResolveError, components, follow};
use crate::spool::Place;
use crate::tar::{Member, Type};
use crate::{Defect, DefectKind, Entry, EntryKind};

const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";
/// Book-keeping of AUFS, which container engines leave out.
const AUFS: &[u8] = b".wh..wh.";
const LINKS: usize = 40;
/// `NAME_MAX` of Linux.
const NAME: usize = 255;

impl Flattened<'_> {
    /// Applies a member, or notes why it cannot be; an error only where a bound is passed.
    pub(super) fn apply(
        &mut self,
        member: &Member,
        layer: usize,
        place: Option<Place>,
    ) -> io::Result<()> {
        if matches!(member.kind, Type::Other(_)) {
            return Ok(());
        }
        self.note_name(&member.path);
        let Some(parts) = self.normalise(&member.path, &member.path) else {
            return Ok(());
        };
        let Some((name, above)) = parts.split_last() else {
            if member.kind == Type::Directory {
                self.root = Entry {
                    xattrs: BTreeMap::new(),
                    ..entry(member, EntryKind::Directory)
                };
            }
            return Ok(());
        };
        let Some(parent) = self.parent(&above.join(&b'/'), &member.path)? else {
            return Ok(());
        };
        if name == OPAQUE {
            self.hide_below(&parent, layer)?;
        } else if name.starts_with(AUFS) {
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            self.whiteout(&join(&parent, hidden), hidden, &member.path, layer)?;
        } else {
            let path = join(&parent, name);
            if let Some(node) = self.node(member, layer, place)? {
                self.place(path, node, &member.path)?;
            }
        }
        Ok(())
    }

    /// Components of a name with `..` taken away; `None`, and a defect, where it escapes or no kernel takes it.
    fn normalise(&mut self, name: &[u8], of: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut wrong = None;
        for part in components(name) {
            if part == b".." {
                if parts.pop().is_none() {
                    wrong = Some("it leaves the root by '..'");
                }
            } else if part.contains(&0) {
                wrong = Some("it holds a NUL byte");
            } else if part.len() > NAME {
                wrong = Some("a component of it is longer than 255 bytes");
            } else {
                parts.push(part.to_vec());
            }
        }
        if name.len() > self.limits.path {
            wrong = Some("it is longer than 4096 bytes");
        }
        match wrong {
            None => Some(parts),
            Some(wrong) => {
                self.layer_defect(
                    of,
                    "a path inside the root",
                    &format!("{}: {wrong}", shown(name)),
                );
                None
            }
        }
    }

    /// The directory that a name lands in, links followed; `None`, and a defect, where there can be none.
    fn parent(&mut self, above: &[u8], of: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let nodes = &self.nodes;
        let steps = &mut self.steps;
        let mut exceeded = None;
        let followed = follow(
            above,
            LINKS,
            |path| nodes.get(path).map(|node| &node.entry.kind),
            |cost| {
                steps.take(cost).map_err(|error| {
                    exceeded = Some(error);
                    ResolveError::TooLong
                })
            },
        );
        if let Some(exceeded) = exceeded {
            return Err(exceeded.into());
        }
        let wrong = match followed {
            Ok(Followed {
                climbed: true,
                link: Some((link, target)),
                ..
            }) => {
                format!(
                    "link {} to {} leaves the root",
                    shown(&link),
                    shown(&target)
                )
            }
            Ok(Followed { path, .. }) => match self.nodes.get(&path).map(|node| &node.entry.kind) {
                Some(EntryKind::Directory) | None => return Ok(Some(path)),
                Some(_) => ResolveError::NotDirectory(path).to_string(),
            },
            Err(error) => error.to_string(),
        };
        self.layer_defect(of, "a path through directories of the root", &wrong);
        Ok(None)
    }

    /// The node that a member makes; `None`, and a defect, for a hard link to nothing.
    fn node(
        &mut self,
        member: &Member,
        layer: usize,
        place: Option<Place>,
    ) -> io::Result<Option<Node>> {
        let (block, (major, minor)) = (member.kind == Type::Block, member.device);
        let kind = match member.kind {
            Type::File => EntryKind::File {
                size: member.size,
                content: None,
            },
            Type::Directory => EntryKind::Directory,
            Type::Symlink if member.link.len() > self.limits.path => {
                let observed = format!("a link of {} bytes", member.link.len());
                self.layer_defect(&member.path, "a link that a kernel takes", &observed);
                return Ok(None);
            }
            Type::Symlink => EntryKind::Symlink(member.link.clone()),
            Type::Fifo => EntryKind::Fifo,
            Type::Character | Type::Block => EntryKind::Device {
                block,
                major,
                minor,
            },
            Type::HardLink | Type::Other(_) => return self.hard_link(member, layer),
        };
        Ok(Some(Node {
            entry: entry(member, kind),
            layer,
            place,
        }))
    }

    fn hard_link(&mut self, member: &Member, layer: usize) -> io::Result<Option<Node>> {
        let Some(parts) = self.normalise(&member.link, &member.path) else {
            return Ok(None);
        };
        let Some((name, above)) = parts.split_last() else {
            self.layer_defect(
                &member.path,
                "a hard link to a file",
                "a hard link to the root",
            );
            return Ok(None);
        };
        let Some(parent) = self.parent(&above.join(&b'/'), &member.path)? else {
            return Ok(None);
        };
        match self.nodes.get(&join(&parent, name)) {
            Some(node) if !matches!(node.entry.kind, EntryKind::Directory) => {
                self.names.take(weight(&node.entry.xattrs))?;
                Ok(Some(Node {
                    layer,
                    ..node.clone()
                }))
            }
            found => {
                let what = if found.is_some() {
                    "is a directory"
                } else {
                    "is not there"
                };
                let observed = format!("a hard link to {}, which {what}", shown(&member.link));
                self.layer_defect(
                    &member.path,
                    "a hard link to a file of the image",
                    &observed,
                );
                Ok(None)
            }
        }
    }

    /// Puts a node in its place; what it replaces goes, a directory over a directory merges.
    fn place(&mut self, path: Vec<u8>, node: Node, name: &[u8]) -> io::Result<()> {
        let directory = matches!(node.entry.kind, EntryKind::Directory);
        if let Some(old) = self.nodes.get(&path) {
            let was_directory = matches!(old.entry.kind, EntryKind::Directory);
            let (was, is) = (word(&old.entry.kind), word(&node.entry.kind));
            if old.layer == node.layer && !(directory && was_directory) {
                let observed = format!("named twice, as {was} and as {is}; the last holds");
                let kind = if was == is {
                    DefectKind::Name
                } else {
                    DefectKind::Layer
                };
                self.defect(kind, name, "one entry for each path of a layer", &observed);
            }
            if !directory && was_directory {
                self.remove_below(&path, |_| true)?;
            }
        }
        self.imply_parents(&path, node.layer)?;
        // Again, and as it lies in the tree: a link may have led from a short name to a long one.
        self.names.take(path.len() as u64)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Directories that no layer names but something lies in.
    fn imply_parents(&mut self, path: &[u8], layer: usize) -> io::Result<()> {
        let mut end = path.len();
        while let Some(slash) = path[..end].iter().rposition(|byte| *byte == b'/') {
            end = slash;
            self.steps.take(1 + end as u64 / 64)?;
            if self.nodes.contains_key(&path[..end]) {
                break;
            }
            // One name of 4 KiB implies two thousand directories and their names.
            self.names.take(end as u64)?;
            let entry = Entry::directory();
            self.nodes.insert(
                path[..end].to_vec(),
                Node {
                    entry,
                    layer,
                    place: None,
                },
            );
        }
        Ok(())
    }

    /// `.wh.NAME`: hides what lower layers have there.
    fn whiteout(
        &mut self,
        path: &[u8],
        hidden: &[u8],
        name: &[u8],
        layer: usize,
    ) -> io::Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            self.layer_defect(name, "a whiteout of a file", "a whiteout of no name");
            return Ok(());
        }
        let Some(node) = self.nodes.get(path) else {
            let observed = format!("a whiteout of {}, which no lower layer has", shown(path));
            self.layer_defect(name, "a whiteout of a file in a lower layer", &observed);
            return Ok(());
        };
        if node.layer < layer {
            self.nodes.remove(path);
        }
        self.hide_below(path, layer)
    }

    /// Hides what lower layers have below a directory; what this layer put there stays.
    fn hide_below(&mut self, path: &[u8], layer: usize) -> io::Result<()> {
        let kept = self.remove_below(path, |node| node.layer < layer)?;
        for path in kept {
            self.imply_parents(&path, layer)?;
        }
        Ok(())
    }

    /// Removes what lies below a directory and is `unwanted`; the rest is returned.
    fn remove_below(
        &mut self,
        path: &[u8],
        unwanted: impl Fn(&Node) -> bool,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut below = path.to_vec();
        if !below.is_empty() {
            below.push(b'/');
        }
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        let from = (Bound::Included(below.clone()), Bound::Unbounded);
        for (path, node) in self.nodes.range::<Vec<u8>, _>(from) {
            if !path.starts_with(&below) {
                break;
            }
            self.steps.take(1 + path.len() as u64 / 64)?;
            if unwanted(node) {
                gone.push(path.clone());
            } else {
                kept.push(path.clone());
            }
        }
        for path in gone {
            self.nodes.remove(&path);
        }
        Ok(kept)
    }

    /// Notes a name that container engines read but that misleads people and tools.
    fn note_name(&mut self, name: &[u8]) {
        let plain = std::str::from_utf8(name).map(|name| name.chars().all(is_plain));
        let observed = match plain {
            _ if name.starts_with(b"/") => {
                "it is absolute; engines read it as relative to the root"
            }
            Err(_) => "it is not UTF-8",
            Ok(false) => "it holds control or formatting characters",
            Ok(true) => return,
        };
        self.defect(
            DefectKind::Name,
            name,
            "a relative name of printable UTF-8",
            observed,
        );
    }

    fn layer_defect(&mut self, name: &[u8], expected: &str, observed: &str) {
        self.defect(DefectKind::Layer, name, expected, observed);
    }

    fn defect(&mut self, kind: DefectKind, name: &[u8], expected: &str, observed: &str) {
        if self
            .defects
            .iter()
            .filter(|defect| defect.kind == kind)
            .count()
            < DEFECTS
        {
            self.defects.push(Defect {
                kind,
                subject: shown(name),
                expected: expected.to_owned(),
                observed: observed.to_owned(),
            });
        }
    }
}

fn entry(member: &Member, kind: EntryKind) -> Entry {
    let (mode, uid, gid) = (member.mode, member.uid, member.gid);
    Entry {
        kind,
        mode,
        uid,
        gid,
        xattrs: member.xattrs.clone(),
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

/// A name of a layer, escaped and cut to what one line holds.
fn shown(name: &[u8]) -> String {
    match name.get(..200) {
        Some(start) if name.len() > 200 => format!("{}… ({} bytes)", escape(start), name.len()),
        _ => escape(name),
    }
}

fn word(kind: &EntryKind) -> &'static str {
    match kind {
        EntryKind::File { .. } => "a file",
        EntryKind::Directory => "a directory",
        EntryKind::Symlink(_) => "a symbolic link",
        EntryKind::Device { .. } => "a device",
        EntryKind::Fifo => "a FIFO",
    }
}
