//! What is derived from a subject, and not read: its traits, version and platforms.

use super::elf::Elf;
use super::wasm::WasmKind;
use super::{Architecture, Format, NoProgram, Platform, Subject};

bitflags::bitflags! {
    /// What a subject is and holds, for the code that judges it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Traits: u16 {
        /// It is an image with a manifest and a configuration (not a bare program).
        const IMAGE = 1;
        /// It was reached through an image index.
        const INDEX = 1 << 1;
        /// That index holds an entry for Windows.
        const WINDOWS = 1 << 2;
        /// It has a native program that resolves inside its root filesystem.
        const PROGRAM = 1 << 3;
        /// That program is an ELF file.
        const ELF = 1 << 4;
        /// The architecture runs with 64 KiB pages on real hosts (arm64, ppc64le).
        const LARGE_PAGES = 1 << 5;
        /// Its version is known from its tag or annotations.
        const VERSION = 1 << 6;
        /// It is an image whose program is not WebAssembly.
        const NATIVE_IMAGE = 1 << 7;
        /// It is a WebAssembly program, in an image or alone.
        const WASM = 1 << 8;
        /// That program is a valid core module.
        const WASM_MODULE = 1 << 9;
        /// That program is a valid component.
        const WASM_COMPONENT = 1 << 10;
        /// The layers of the image were read.
        const FILES = 1 << 11;
    }
}

/// A version of three numbers, as in the tag `3.10.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `3.10`, `v3.10.1`, `3.10-linux-amd64`; `None` where there are not at least two
    /// numbers.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split(['-', '_', '+', '@']).next()?;
        let mut parts = text.split('.').map(|part| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| part.parse().ok())
                .flatten()
        });
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = parts.next().unwrap_or(Some(0))?;
        parts.next().is_none().then_some(Self(major, minor, patch))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)?;
        if self.2 == 0 {
            Ok(())
        } else {
            write!(f, ".{}", self.2)
        }
    }
}

impl Subject {
    /// What it is and holds.
    pub fn traits(&self) -> Traits {
        let elf = self.elf();
        let architectures = elf.iter().flat_map(|elf| &elf.architecture.architectures);
        let large = architectures
            .filter_map(|name| Architecture::named(name))
            .any(|architecture| architecture.large_pages);
        let is_elf = self
            .program
            .as_ref()
            .is_ok_and(|program| program.format == Format::Elf);
        let read = self.wasm.as_ref().and_then(|wasm| wasm.read.as_ref().ok());
        let valid = read.map(|wasm| wasm.kind);
        let offered = [
            (Traits::IMAGE, self.image.is_some()),
            (
                Traits::FILES,
                !matches!(self.program, Err(NoProgram::Unread(_))),
            ),
            (Traits::INDEX, self.index.is_some()),
            (Traits::WINDOWS, self.windows().next().is_some()),
            (Traits::PROGRAM, self.program.is_ok()),
            (Traits::ELF, is_elf),
            (Traits::LARGE_PAGES, large),
            (
                Traits::NATIVE_IMAGE,
                self.image.is_some() && self.wasm.is_none(),
            ),
            (Traits::WASM, self.wasm.is_some()),
            (Traits::WASM_MODULE, valid == Some(WasmKind::Module)),
            (Traits::WASM_COMPONENT, valid == Some(WasmKind::Component)),
            (Traits::VERSION, self.version().is_some()),
        ];
        offered
            .into_iter()
            .filter(|(_, offers)| *offers)
            .map(|(need, _)| need)
            .collect()
    }

    /// The program's ELF headers; `None` where it is no ELF file that can be read.
    pub fn elf(&self) -> Option<Elf> {
        self.program
            .as_ref()
            .ok()
            .and_then(|program| Elf::parse(&program.content).ok())
    }

    /// The version, from the tag, else from the annotation or label
    /// `org.opencontainers.image.version`.
    pub fn version(&self) -> Option<Version> {
        const KEY: &str = "org.opencontainers.image.version";
        let image = self.image.as_ref()?;
        let written = [
            image.tag.as_ref(),
            image.annotations.get(KEY),
            image.config.labels.get(KEY),
        ];
        written
            .into_iter()
            .flatten()
            .find_map(|text| Version::parse(text))
    }

    /// Every platform of the image with its `os.version`: those of the index, else its own.
    pub fn platforms(&self) -> Vec<(Platform, Option<String>)> {
        let Some(index) = &self.index else {
            let declared = self.image.as_ref().map(|image| &image.config);
            let os_version = declared.and_then(|config| config.os_version.clone());
            return vec![(self.platform.clone(), os_version)];
        };
        let entries = index.entries.iter().filter_map(|entry| {
            let config = entry.image.as_ref().ok().map(|image| &image.config);
            let platform = entry.platform.clone().or_else(|| config?.platform())?;
            Some((platform, entry.os_version.clone()))
        });
        entries.collect()
    }

    /// The Windows ones among them.
    pub fn windows(&self) -> impl Iterator<Item = (Platform, Option<String>)> {
        self.platforms()
            .into_iter()
            .filter(|(platform, _)| platform.os == "windows")
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_from_tags() {
        assert_eq!(Version::parse("3.10.1"), Some(Version(3, 10, 1)));
        assert_eq!(Version::parse("v3.9"), Some(Version(3, 9, 0)));
        assert_eq!(Version::parse("3.6-linux-amd64"), Some(Version(3, 6, 0)));
        assert!(Version::parse("3.9") < Version::parse("3.10"));
        for text in ["latest", "3", "3.x", "", "3.9.1.2", "3.+9", "sha256:00"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
