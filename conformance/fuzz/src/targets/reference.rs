//! What a user may type after `--image` and `--platform`.

use std::path::Path;

use conformance::subject::{Platform, Reference, RegistryName, Transport};

use super::held;

/// What was understood and written out again is understood the same.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Platform>() {
        Ok(platform) => {
            assert_eq!(platform.to_string(), text);
            assert_eq!(platform.normal().normal(), platform.normal());
            assert_eq!(platform.accepts(&platform), Some(0));
        }
        Err(error) => held::refused(&error),
    }
    match text.parse::<RegistryName>() {
        Ok(name) => complete(&name),
        Err(error) => held::refused(&error),
    }
    // What lies on this machine is not the fuzzer's to open.
    if Path::new(text).exists() {
        return;
    }
    match text.parse::<Reference>() {
        Ok(reference) => {
            assert_eq!(reference.text, text);
            match &reference.transport {
                Transport::Registry(name) => complete(name),
                Transport::OciLayout { path, .. }
                | Transport::OciArchive { path, .. }
                | Transport::DockerArchive { path, .. }
                | Transport::Binary { path }
                | Transport::Wasm { path } => {
                    let path = path.to_str().expect("the text is UTF-8");
                    assert!(!path.is_empty() && text.contains(&format!(":{path}")));
                }
                Transport::DockerDaemon { .. } => {}
                // What becomes an argument of a program is no option of it.
                Transport::ContainersStorage { image } | Transport::Containerd { image } => {
                    assert!(!image.starts_with('-'), "{image}");
                }
            }
        }
        Err(error) => held::refused(&error),
    }
}

fn complete(name: &RegistryName) {
    let full = name.to_string();
    held::legible(&full);
    assert_eq!(full.parse::<RegistryName>().as_ref(), Ok(name), "{full}");
    assert!(name.tag.is_some() || name.digest.is_some());
    // It becomes a part of a URL.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    assert!(name.repository.chars().all(plain) && !name.repository.contains(".."));
    assert!(!name.host.contains(['/', '@', '?', '#', ' ']));
}
