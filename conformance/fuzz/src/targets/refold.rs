//! Layers folded to a tree, and that tree written as one layer and folded again.

use conformance::subject::build::{ImageBuilder, Packing, Tar};
use conformance::subject::{DefectKind, Entry, EntryKind, Error, Rootfs, Subject, Transport};
use tar::{EntryType, Header};

use super::held;

/// Loads an image of these layers; `None` where it is refused.
pub(super) fn image(layers: Vec<(Vec<u8>, Packing)>) -> Option<Subject> {
    through(layers, held::loaded)
}

/// As [`image`], of layers whose content has been judged in another form.
pub(super) fn again(layers: Vec<(Vec<u8>, Packing)>) -> Option<Subject> {
    through(layers, held::read)
}

fn through(
    layers: Vec<(Vec<u8>, Packing)>,
    load: fn(Transport) -> Result<Vec<Subject>, Error>,
) -> Option<Subject> {
    let mut image = ImageBuilder::of_layer(&Tar::default(), "amd64");
    image.layers = layers;
    held::with_file(&image.docker_archive("fuzzed:1"), |path| {
        let path = path.to_owned();
        let subjects = load(Transport::DockerArchive { path, image: None });
        subjects.ok()?.pop()
    })
}

/// A folded tree, written as one layer, folds to itself: nothing in it is out of place.
pub(super) fn check(subject: &Subject, packing: Packing) {
    let Some(layer) = written(&subject.rootfs) else {
        return;
    };
    let Some(again) = again(vec![(layer, packing)]) else {
        return;
    };
    let defects = again.defects.iter();
    let wrong = defects.filter(|defect| defect.kind == DefectKind::Layer);
    assert_eq!(wrong.count(), 0, "{:?}", again.defects);
    assert_eq!(told(&again.rootfs), told(&subject.rootfs));
}

/// Everything of a tree but the bytes of its files.
fn told(rootfs: &Rootfs) -> Vec<String> {
    let line = |path: &[u8], entry: &Entry| {
        let kind = match &entry.kind {
            EntryKind::File { size, .. } => format!("file of {size}"),
            other => format!("{other:?}"),
        };
        let Entry {
            mode,
            uid,
            gid,
            xattrs,
            ..
        } = entry;
        format!("{path:?} {kind} {mode:o} {uid} {gid} {xattrs:?}")
    };
    let entries = rootfs.entries.iter();
    entries.map(|(path, entry)| line(path, entry)).collect()
}

/// `None` where the header has no room for a device's numbers.
fn set_type(header: &mut Header, kind: &EntryKind) -> Option<()> {
    if let EntryKind::Device { major, minor, .. } = kind {
        if (*major).max(*minor) > 0o7_777_777 {
            return None;
        }
        header.set_device_major(*major).ok()?;
        header.set_device_minor(*minor).ok()?;
    }
    header.set_entry_type(match kind {
        EntryKind::File { .. } => EntryType::Regular,
        EntryKind::Directory => EntryType::Directory,
        EntryKind::Symlink(_) => EntryType::Symlink,
        EntryKind::Device { block: true, .. } => EntryType::Block,
        EntryKind::Device { block: false, .. } => EntryType::Char,
        EntryKind::Fifo => EntryType::Fifo,
    });
    Some(())
}

/// The tree as a layer; `None` where a layer cannot say it.
fn written(rootfs: &Rootfs) -> Option<Vec<u8>> {
    let mut layer = Tar::default();
    let mut left: usize = 512 << 10;
    for (path, entry) in &rootfs.entries {
        // Below a directory of that name is a file, but the directory alone would be a whiteout.
        if path
            .split(|byte| *byte == b'/')
            .any(|part| part.starts_with(b".wh."))
        {
            return None;
        }
        let mut header = Header::new_ustar();
        header.set_mode(entry.mode);
        let (mut link, mut content) = (&[][..], Vec::new());
        match &entry.kind {
            EntryKind::File { size, .. } => {
                let size = usize::try_from(*size).ok()?;
                left = left.checked_sub(size)?;
                content.resize(size, 0);
            }
            EntryKind::Symlink(target) => link = target,
            _ => {}
        }
        set_type(&mut header, &entry.kind)?;
        let number = |number: u64| number.to_string().into_bytes();
        let mut records = vec![
            (b"path".to_vec(), path.clone()),
            (b"linkpath".to_vec(), link.to_vec()),
            (b"uid".to_vec(), number(entry.uid)),
            (b"gid".to_vec(), number(entry.gid)),
        ];
        for (name, value) in &entry.xattrs {
            if name.contains('=') {
                return None;
            }
            records.push((format!("SCHILY.xattr.{name}").into_bytes(), value.clone()));
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        layer.pax(&records).raw(header.as_bytes(), &content);
    }
    Some(layer.finish())
}
