//! The oldest processors that programs of an architecture are for, as QEMU knows them.

use std::path::PathBuf;

use super::Emulator;
use pause_image::Platform;

/// The processor with only the features that every processor of its architecture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// As the OCI image specification names it.
    architecture: &'static str,
    /// What its level is called.
    pub level: &'static str,
    /// What QEMU's `-cpu` calls it.
    pub model: &'static str,
}

const ALL: [Baseline; 2] = [
    Baseline {
        architecture: "amd64",
        level: "x86-64-v1",
        // QEMU's own has two features that came later.
        model: "qemu64,-sse3,-cx16",
    },
    Baseline {
        architecture: "arm64",
        level: "ARMv8.0-A",
        model: "cortex-a53",
    },
];

impl Baseline {
    /// That of the programs of this emulator.
    pub fn of(emulator: &Emulator) -> Option<Self> {
        Self::named(emulator.architecture())
    }

    fn named(architecture: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|baseline| baseline.architecture == architecture)
    }

    /// Whether programs of this platform can be run on it here, as far as a look at the
    /// folders in PATH tells.
    ///
    /// # Errors
    /// In words, where they cannot.
    pub fn is_there(platform: &Platform) -> Result<(), String> {
        let architecture = platform.normal().architecture;
        if Self::named(&architecture).is_none() {
            return Err(format!("no oldest processor is known for {architecture}"));
        }
        let names = super::names(platform).unwrap_or_default();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path);
        let there = |folder: PathBuf| names.iter().any(|name| folder.join(name).is_file());
        if folders.any(there) {
            Ok(())
        } else {
            let names = names.join(" nor ");
            let package = super::PACKAGE;
            Err(format!(
                "neither {names} is in PATH; the package {package} holds it"
            ))
        }
    }
}
