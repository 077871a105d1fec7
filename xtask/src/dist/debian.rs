//! The Debian package (deb(5)): an ar archive with two compressed tar archives.
//!
//! Written here, since both writers are at hand: cargo-deb would build the program again by rules of
//! its own, and dpkg-deb is not on every machine that packs.

use super::archive::tar;
use super::content::Content;
use super::{NAME, VERSION};
use pause_image::build::Packing;

/// The package for `architecture`, by Debian's name, which for amd64 and arm64 is Go's too.
pub fn write(content: &Content, architecture: &str) -> Vec<u8> {
    let files = content.0.iter();
    let mut files: Vec<_> = files
        .map(|file| (format!("./{}", file.installed), file.mode, &file.bytes[..]))
        .collect();
    files.sort();
    let data = tar(files.into_iter()).finish();
    let bytes: usize = content.0.iter().map(|file| file.bytes.len()).sum();
    let control = control(architecture, bytes);
    let control = tar([("./control".to_owned(), 0o644, control.as_bytes())].into_iter());
    let mut package = b"!<arch>\n".to_vec();
    member(&mut package, "debian-binary", b"2.0\n");
    let pack = |tar: &[u8]| Packing::SmallGzip.pack(tar);
    member(&mut package, "control.tar.gz", &pack(&control.finish()));
    member(&mut package, "data.tar.gz", &pack(&data));
    package
}

/// The control file (deb-control(5)). It depends on nothing: the program is static.
fn control(architecture: &str, bytes: usize) -> String {
    format!(
        "Package: {NAME}\n\
         Version: {VERSION}\n\
         Architecture: {architecture}\n\
         Maintainer: The {NAME} authors <{NAME}@localhost>\n\
         Installed-Size: {}\n\
         Section: utils\n\
         Priority: optional\n\
         Suggests: qemu-user-static\n\
         Description: conformance suite for Kubernetes pause images\n \
         It runs the program of a pause (pod sandbox) image in sandboxes of its own\n \
         making and says, check by check, what is required, by whom, and what was\n \
         observed. It needs no root and no daemon.\n",
        bytes.div_ceil(1024)
    )
}

/// Appends a member of an ar archive (ar(5)): modified at 0, by user and group 0.
fn member(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let size = bytes.len();
    let header = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
        0, 0, 0, "100644"
    );
    archive.extend(header.as_bytes());
    archive.extend(bytes);
    // Members begin at even offsets.
    if size % 2 == 1 {
        archive.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_header_of_sixty_bytes_and_an_even_length() {
        let mut archive = Vec::new();
        member(&mut archive, "debian-binary", b"2.0");
        assert_eq!(archive.len(), 64);
        assert!(
            archive
                .starts_with(b"debian-binary   0           0     0     100644  3         `\n2.0")
        );
    }

    /// A folded field goes on only in lines that begin with a space.
    #[test]
    fn the_control_file_is_fields_and_their_continuations() {
        let text = control("amd64", 1025);
        assert!(text.contains("\nInstalled-Size: 2\n"));
        for line in text.lines() {
            let field = line.split_once(": ").map(|(name, _)| name);
            let named =
                field.is_some_and(|name| name.chars().next().is_some_and(char::is_uppercase));
            assert!(named || line.starts_with(' '), "{line}");
        }
    }
}
