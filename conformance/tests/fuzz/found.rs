//! Faults that the fuzz targets found, one test each.

use conformance::subject::build::{ImageBuilder, Packing, Tar};
use conformance::subject::{Error, LoadOptions, Reference, RegistryName, Subject, Transport, load};

fn loaded(layer: &Tar) -> Result<Vec<Subject>, Error> {
    let mut image = ImageBuilder::of_layer(layer, "amd64");
    image.layers[0].1 = Packing::Plain;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("image.tar");
    std::fs::write(&path, image.docker_archive("a:b")).expect("writing the archive");
    let transport = Transport::DockerArchive { path, image: None };
    let text = "found".to_owned();
    load(&Reference { text, transport }, &LoadOptions::default())
}

/// A layer of 300 KiB became 120,000 directories and half a gigabyte of their names.
#[test]
fn directories_that_a_name_implies_count_as_names() {
    let mut layer = Tar::default();
    for number in 0..57 {
        layer.file(format!("{number}/{}a", "a/".repeat(2040)), 0o644, b"");
    }
    let error = loaded(&layer).expect_err("more names than the suite keeps");
    assert!(error.to_string().contains("bytes of names"), "{error}");
}

/// A name of three bytes below a symbolic link resolves to one of four thousand.
#[test]
fn a_name_below_a_link_counts_as_what_it_comes_to() {
    let mut layer = Tar::default();
    let long = [&"d".repeat(255)[..]; 15].join("/");
    layer.directory(&long, 0o755).symlink("l", &long);
    for number in 0..9000 {
        layer.file(format!("l/{number}"), 0o644, b"");
    }
    let error = loaded(&layer).expect_err("more names than the suite keeps");
    assert!(error.to_string().contains("bytes of names"), "{error}");
}

/// A name of 250 letters was completed to one that the parser refuses.
#[test]
fn a_name_that_is_completed_is_no_longer_than_a_name_may_be() {
    let read = |length: usize| "a".repeat(length).parse::<RegistryName>();
    let longest = read(247).expect("255 with what completes it");
    assert_eq!(longest.to_string().parse(), Ok(longest));
    assert!(read(248).is_err());
}
