//! A file of any content as `--image FILE`: recognised, then read as what it was taken for.

use conformance::subject::{Reference, Transport};

use super::held;

/// A file that is not recognised is not read either, whatever the user calls it.
pub fn run(bytes: &[u8]) {
    held::with_file(bytes, |path| {
        let name = path.to_str().expect("its name is ASCII");
        match name.parse::<Reference>() {
            Ok(reference) => {
                // The bounds of a recognised file are the usual ones; those here are smaller.
                let _ = held::loaded(reference.transport);
            }
            Err(error) => {
                held::refused(&error);
                let path = path.to_owned();
                let (oci, docker) = (path.clone(), path);
                let oci = held::loaded(Transport::OciArchive {
                    path: oci,
                    tag: None,
                });
                let docker = held::loaded(Transport::DockerArchive {
                    path: docker,
                    image: None,
                });
                assert!(oci.is_err() && docker.is_err());
            }
        }
    });
}
