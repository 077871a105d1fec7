//! The platforms that the reference image is published for.

use anyhow::{Context as _, Result};
use pause_image::Architecture;

/// One platform of the image index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Its name on the command line: the architecture, then `/` and the variant where an
    /// architecture has several.
    pub name: &'static str,
    /// Its target triple for rustc.
    pub triple: &'static str,
    /// GOARCH and GOARM, as image indexes name them (image-spec, config.md).
    pub architecture: &'static str,
    /// `variant` beside it.
    pub variant: Option<&'static str>,
}

/// Every platform there is a row for in `pause/src/arch.rs`.
pub const ALL: [Platform; 8] = [
    row("amd64", "x86_64-unknown-linux-gnu"),
    row("arm64", "aarch64-unknown-linux-gnu").with("arm64", "v8"),
    row("arm/v7", "armv7-unknown-linux-gnueabihf").with("arm", "v7"),
    row("ppc64le", "powerpc64le-unknown-linux-gnu"),
    row("s390x", "s390x-unknown-linux-gnu"),
    row("riscv64", "riscv64gc-unknown-linux-gnu"),
    row("loong64", "loongarch64-unknown-linux-gnu"),
    row("386", "i686-unknown-linux-gnu"),
];

const fn row(name: &'static str, triple: &'static str) -> Platform {
    Platform {
        name,
        triple,
        architecture: name,
        variant: None,
    }
}

impl Platform {
    const fn with(mut self, architecture: &'static str, variant: &'static str) -> Self {
        self.architecture = architecture;
        self.variant = Some(variant);
        self
    }

    /// The emulator's name in Debian's `qemu-user-static`, without `qemu-` and `-static`.
    pub fn emulator(&self) -> Option<&'static str> {
        Architecture::named(self.architecture)?.qemu
    }

    fn is(&self, other: &pause_image::Platform) -> bool {
        let own = pause_image::Platform {
            os: "linux".to_owned(),
            architecture: self.architecture.to_owned(),
            variant: self.variant.map(str::to_owned),
        };
        own.normal() == other.normal()
    }

    /// The name as one component of a path.
    pub fn folder(&self) -> String {
        format!("linux-{}", self.name.replace('/', "-"))
    }

    /// How many bytes the program may have at most.
    pub fn budget(&self) -> usize {
        if self.name == "amd64" { 640 } else { 840 }
    }
}

/// The platform called `text`: its triple, or its name with or without `linux/`, in any spelling
/// that container engines accept for it.
pub fn parse(text: &str) -> Result<Platform, String> {
    let name = text.strip_prefix("linux/").unwrap_or(text);
    let asked = format!("linux/{name}").parse().ok();
    let found = ALL.iter().find(|platform| {
        platform.triple == name || asked.as_ref().is_some_and(|asked| platform.is(asked))
    });
    found.copied().ok_or_else(|| {
        format!(
            "unknown target, expected a triple or one of {}",
            ALL.map(|p| p.name).join(", ")
        )
    })
}

/// The platform of this machine.
pub fn host() -> Result<Platform> {
    let host = pause_image::Platform::host();
    let found = ALL.iter().find(|platform| platform.is(&host)).copied();
    found.with_context(|| format!("no row for {} in pause/src/arch.rs", host.architecture))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("amd64", "amd64")]
    #[case("linux/amd64", "amd64")]
    #[case("arm64", "arm64")]
    #[case("linux/arm64/v8", "arm64")]
    #[case("aarch64", "arm64")]
    #[case("arm", "arm/v7")]
    #[case("linux/arm/v7", "arm/v7")]
    #[case("riscv64gc-unknown-linux-gnu", "riscv64")]
    fn a_platform_is_known_by_each_of_its_names(#[case] text: &str, #[case] name: &str) {
        assert_eq!(parse(text).map(|platform| platform.name), Ok(name));
    }

    #[rstest]
    #[case("")]
    #[case("linux/")]
    #[case("arm/v6")]
    #[case("windows/amd64")]
    #[case("amd64/v8")]
    fn what_is_not_in_the_table_is_no_platform(#[case] text: &str) {
        assert!(parse(text).is_err());
    }

    #[test]
    fn every_row_is_of_an_architecture_that_the_suite_knows() {
        for platform in ALL {
            assert!(platform.emulator().is_some(), "{}", platform.name);
        }
    }

    #[test]
    fn this_machine_has_a_row() {
        assert!(host().is_ok());
    }
}
