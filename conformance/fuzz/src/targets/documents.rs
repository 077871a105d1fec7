//! Indexes, manifests and configurations, in a layout or in what `docker save` writes.
//!
//! The input is documents with a NUL between them, for JSON holds none: first index.json
//! (or, where it begins with `[`, manifest.json), then the blobs `sha256:111…`,
//! `sha256:222…` and so on (or the members `1`, `2`, …).

use conformance::subject::build::Tar;
use conformance::subject::{DefectKind, Kind, Transport};

use super::held;

/// A digest that does not hold never goes unnoticed, and no index leads in circles.
pub fn run(bytes: &[u8]) {
    let mut documents = bytes.split(|byte| *byte == 0);
    let Some(first) = documents.next() else {
        return;
    };
    let docker = first.starts_with(b"[");
    let mut archive = Tar::default();
    if docker {
        archive.file("manifest.json", 0o644, first);
    } else {
        archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
        archive.file("index.json", 0o644, first);
    }
    for (number, document) in ('1'..='9').zip(documents) {
        let name = if docker {
            number.to_string()
        } else {
            format!("blobs/sha256/{}", number.to_string().repeat(64))
        };
        archive.file(name, 0o644, document);
    }
    held::with_file(&archive.finish(), |path| {
        let path = path.to_owned();
        let subjects = held::loaded(if docker {
            Transport::DockerArchive { path, image: None }
        } else {
            Transport::OciArchive { path, tag: None }
        });
        for subject in subjects.unwrap_or_default() {
            assert_eq!(subject.kind, Kind::Image);
            let index = subject.index.as_ref();
            assert!(index.is_none_or(|index| index.entries.len() <= held::limits().index_entries));
            let noticed = subject
                .defects
                .iter()
                .any(|defect| defect.kind == DefectKind::Digest);
            assert!(docker || noticed, "no document has the digest it goes by");
        }
    });
}
