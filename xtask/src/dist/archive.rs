//! The archive: everything below one folder, with neither times nor owners.

use super::content::Content;
use pause_image::build::Tar;

/// A tar archive of these files below `folder`.
pub fn write(content: &Content, folder: &str) -> Tar {
    let files = content.0.iter();
    tar(files.map(|file| {
        (
            format!("{folder}/{}", file.name),
            file.mode,
            &file.bytes[..],
        )
    }))
}

/// A tar archive of files, and of each folder before its first file.
pub(super) fn tar<'a>(files: impl Iterator<Item = (String, u32, &'a [u8])>) -> Tar {
    let mut tar = Tar::default();
    let mut known: Vec<String> = Vec::new();
    for (name, mode, bytes) in files {
        for (at, _) in name.match_indices('/') {
            let (folder, _) = name.split_at(at);
            if !known.iter().any(|it| it == folder) {
                tar.directory(format!("{folder}/"), 0o755);
                known.push(folder.to_owned());
            }
        }
        tar.file(&name, mode, bytes);
    }
    tar
}
