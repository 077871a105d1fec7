//! A layer's media type against its bytes, as the container engines that start pods take them.
//!
//! Tried: containerd 1.6 (with and without pigz), podman 4.3, which reads as CRI-O does,
//! and umoci 0.4. What containerd refuses breaks pods; where it goes by the bytes, whatever
//! the type says of their compression, the type is only untrue. What is behind a gzip stream
//! unpigz leaves out, and igzip, which containerd 2 takes first.

use super::decompress::Compression;
use super::tar::looks_like_tar;
use super::{Defect, DefectKind};

const OCI: [&str; 2] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];
const DOCKER: [&str; 2] = [
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

/// Bytes at the start of a layer that tell what it is.
pub(crate) const HEAD: usize = 512;

/// What the bytes of a layer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Tar,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Unknown,
}

impl Bytes {
    /// Tells by the first [`HEAD`] bytes, all there are where it has fewer.
    pub(crate) fn of(head: &[u8]) -> Self {
        match (Compression::of(head), head) {
            (Compression::Gzip, _) => Self::Gzip,
            (Compression::Zstd, _) => Self::Zstd,
            (Compression::Plain, [b'B', b'Z', b'h', ..]) => Self::Bzip2,
            (Compression::Plain, [0xfd, b'7', b'z', b'X', b'Z', 0, ..]) => Self::Xz,
            // The end mark alone is an archive of nothing.
            (Compression::Plain, _)
                if looks_like_tar(head) || head.iter().all(|byte| *byte == 0) =>
            {
                Self::Tar
            }
            (Compression::Plain, _) => Self::Unknown,
        }
    }

    /// In words; `None` for what the suite reads.
    pub(crate) fn unread(self) -> Option<&'static str> {
        match self {
            Self::Tar | Self::Gzip | Self::Zstd => None,
            Self::Bzip2 | Self::Xz | Self::Unknown => Some(self.words()),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Tar => "a plain tar archive",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Unknown => "neither tar nor gzip nor zstd",
        }
    }
}

/// What a media type promises.
enum Promise {
    /// A tar archive so compressed; `is_detected`: container engines go by the bytes nevertheless.
    Packed { bytes: Bytes, is_detected: bool },
    /// Ciphertext.
    Encrypted,
    /// Nothing that container engines know.
    Unknown,
}

impl Promise {
    fn of(media_type: &str) -> Self {
        let mut parts = media_type.split('+');
        let base = parts.next().unwrap_or_default();
        let extensions: Vec<&str> = parts.collect();
        if extensions.contains(&"encrypted") {
            return Self::Encrypted;
        }
        let packed = |bytes, is_detected| Self::Packed { bytes, is_detected };
        let docker = DOCKER.iter().find_map(|docker| base.strip_prefix(docker));
        match (docker, &extensions[..]) {
            (None, []) if OCI.contains(&base) => packed(Bytes::Tar, false),
            (None, ["gzip"]) if OCI.contains(&base) => packed(Bytes::Gzip, true),
            (None, ["zstd"]) if OCI.contains(&base) => packed(Bytes::Zstd, true),
            (Some(""), []) => packed(Bytes::Tar, true),
            (Some(".gzip"), []) => packed(Bytes::Gzip, true),
            (Some(".zstd"), []) => packed(Bytes::Zstd, true),
            _ => Self::Unknown,
        }
    }
}

/// How the bytes of a layer contradict its media type, if they do.
pub(crate) fn compare(name: &str, media_type: &str, bytes: Bytes) -> Option<Defect> {
    let written = if media_type.is_empty() {
        "no media type".to_owned()
    } else {
        super::quote(media_type)
    };
    let observed = format!("{written}, and its bytes are {}", bytes.words());
    let (kind, expected, observed) = match Promise::of(media_type) {
        Promise::Encrypted => (
            DefectKind::Layer,
            "a layer that nodes can read",
            format!("{observed}: containerd and umoci refuse what is encrypted"),
        ),
        Promise::Unknown => (
            DefectKind::Layer,
            "a media type of layers that engines know",
            format!("{observed}: containerd and umoci refuse it"),
        ),
        Promise::Packed { .. } if bytes.unread().is_some() => (
            DefectKind::Layer,
            "a tar archive, plain or compressed by gzip or zstd",
            format!("{observed}: containerd and umoci refuse it"),
        ),
        Promise::Packed {
            bytes: promised, ..
        } if promised == bytes => return None,
        Promise::Packed {
            is_detected: false, ..
        } => (
            DefectKind::Layer,
            "a plain tar archive, as its media type says",
            format!("{observed}: containerd and umoci refuse it"),
        ),
        Promise::Packed {
            bytes: promised, ..
        } => (
            DefectKind::Type,
            promised.words(),
            format!("{observed}: containerd and CRI-O find that out, umoci refuses it"),
        ),
    };
    Some(Defect {
        kind,
        subject: format!("layer {}", super::escape(name.as_bytes())),
        expected: expected.to_owned(),
        observed,
    })
}

/// Bytes behind the last member of a compressed layer.
pub(crate) fn tail(name: &str, bytes: Bytes, count: u64) -> Option<Defect> {
    let who = match bytes {
        Bytes::Gzip => {
            "containerd takes it where igzip or unpigz is installed, else it is refused, as by \
             CRI-O, podman and umoci"
        }
        _ => "containerd, CRI-O and podman refuse it",
    };
    let unit = if count == 1 { "byte" } else { "bytes" };
    (count > 0).then(|| Defect {
        kind: DefectKind::Layer,
        subject: format!("layer {}", super::escape(name.as_bytes())),
        expected: format!("nothing behind the {} stream", bytes.words()),
        observed: format!("{count} {unit} behind it, left out here: {who}"),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
    const DIFF: &str = "application/vnd.docker.image.rootfs.diff.tar";

    #[rstest]
    #[case(TAR, "", Bytes::Tar, None)]
    #[case(TAR, "+gzip", Bytes::Gzip, None)]
    #[case(TAR, "+zstd", Bytes::Zstd, None)]
    #[case(TAR, "", Bytes::Gzip, Some(DefectKind::Layer))]
    #[case(TAR, "", Bytes::Zstd, Some(DefectKind::Layer))]
    #[case(TAR, "+gzip", Bytes::Tar, Some(DefectKind::Type))]
    #[case(TAR, "+gzip", Bytes::Zstd, Some(DefectKind::Type))]
    #[case(TAR, "+zstd", Bytes::Gzip, Some(DefectKind::Type))]
    #[case(TAR, "+gzip", Bytes::Bzip2, Some(DefectKind::Layer))]
    #[case(TAR, "+gzip", Bytes::Unknown, Some(DefectKind::Layer))]
    #[case(TAR, "+encrypted", Bytes::Tar, Some(DefectKind::Layer))]
    #[case(TAR, "+gzip+encrypted", Bytes::Gzip, Some(DefectKind::Layer))]
    #[case(TAR, "+bzip2", Bytes::Bzip2, Some(DefectKind::Layer))]
    #[case(DIFF, ".gzip", Bytes::Gzip, None)]
    #[case(DIFF, ".gzip", Bytes::Tar, Some(DefectKind::Type))]
    #[case(DIFF, "", Bytes::Tar, None)]
    #[case(DIFF, "", Bytes::Gzip, Some(DefectKind::Type))]
    #[case(DIFF, ".zstd", Bytes::Zstd, None)]
    #[case(DIFF, ".xz", Bytes::Xz, Some(DefectKind::Layer))]
    #[case("", "", Bytes::Gzip, Some(DefectKind::Layer))]
    #[case("application/x-tar", "", Bytes::Tar, Some(DefectKind::Layer))]
    fn what_containerd_refuses_is_a_fault_of_the_layer_and_what_it_finds_out_one_of_the_type(
        #[case] base: &str,
        #[case] extension: &str,
        #[case] bytes: Bytes,
        #[case] kind: Option<DefectKind>,
    ) {
        let found = compare("sha256:ab", &format!("{base}{extension}"), bytes);
        assert_eq!(found.map(|defect| defect.kind), kind);
    }

    #[test]
    fn bytes_are_told_by_their_start() {
        for (head, bytes) in [
            (&b"\x1f\x8b\x08"[..], Bytes::Gzip),
            (b"\x28\xb5\x2f\xfd", Bytes::Zstd),
            (b"BZh91AY", Bytes::Bzip2),
            (b"\xfd7zXZ\0\0", Bytes::Xz),
            (b"ciphertext", Bytes::Unknown),
            (&[0; HEAD], Bytes::Tar),
            (b"", Bytes::Tar),
        ] {
            assert_eq!(Bytes::of(head), bytes);
        }
        let layer = crate::build::Tar::default().file("x", 0o644, b"").finish();
        assert_eq!(Bytes::of(&layer[..HEAD]), Bytes::Tar);
    }
}
