//! The platforms that the reference image is published for.

use anyhow::{Result, bail};

/// One platform of the image index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// As on the command line: the architecture, and the variant behind a
    /// slash where one architecture has several.
    pub name: &'static str,
    /// The target triple that rustc knows it by.
    pub triple: &'static str,
    /// GOARCH and GOARM, as image indexes name them (image-spec, config.md).
    pub architecture: &'static str,
    /// `variant` beside it.
    pub variant: Option<&'static str>,
    /// What Debian's `qemu-user-static` calls the emulator, without `qemu-`
    /// and `-static`.
    pub emulator: &'static str,
}

/// Every platform there is a row for in `pause/src/arch.rs`.
pub const ALL: [Platform; 8] = [
    row("amd64", "x86_64-unknown-linux-gnu", "amd64", None, "x86_64"),
    row(
        "arm64",
        "aarch64-unknown-linux-gnu",
        "arm64",
        Some("v8"),
        "aarch64",
    ),
    row(
        "arm/v7",
        "armv7-unknown-linux-gnueabihf",
        "arm",
        Some("v7"),
        "arm",
    ),
    row(
        "ppc64le",
        "powerpc64le-unknown-linux-gnu",
        "ppc64le",
        None,
        "ppc64le",
    ),
    row("s390x", "s390x-unknown-linux-gnu", "s390x", None, "s390x"),
    row(
        "riscv64",
        "riscv64gc-unknown-linux-gnu",
        "riscv64",
        None,
        "riscv64",
    ),
    row(
        "loong64",
        "loongarch64-unknown-linux-gnu",
        "loong64",
        None,
        "loongarch64",
    ),
    row("386", "i686-unknown-linux-gnu", "386", None, "i386"),
];

const fn row(
    name: &'static str,
    triple: &'static str,
    architecture: &'static str,
    variant: Option<&'static str>,
    emulator: &'static str,
) -> Platform {
    Platform {
        name,
        triple,
        architecture,
        variant,
        emulator,
    }
}

impl Platform {
    /// The name as one component of a path.
    pub fn folder(&self) -> String {
        format!("linux-{}", self.name.replace('/', "-"))
    }

    /// The most bytes that the program may have here.
    pub fn budget(&self) -> usize {
        if self.name == "amd64" { 640 } else { 840 }
    }
}

/// The platform called `text`: its name, with or without `linux/`, with or
/// without the only variant there is, or its triple.
pub fn parse(text: &str) -> Result<Platform, String> {
    let name = text.strip_prefix("linux/").unwrap_or(text);
    let found = ALL.iter().find(|platform| {
        platform.name == name
            || platform.triple == name
            || platform.architecture == name
            || platform.variant.is_some_and(|variant| {
                name.strip_suffix(variant)
                    .and_then(|name| name.strip_suffix('/'))
                    == Some(platform.architecture)
            })
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
    let architecture = std::env::consts::ARCH;
    let found = ALL
        .iter()
        .find(|p| p.triple.split('-').next() == Some(architecture) || p.emulator == architecture);
    match (found, architecture) {
        (Some(platform), _) => Ok(*platform),
        (None, "powerpc64") => parse("ppc64le").map_err(anyhow::Error::msg),
        (None, "x86") => parse("386").map_err(anyhow::Error::msg),
        (None, other) => bail!("no row for {other} in pause/src/arch.rs"),
    }
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
    fn this_machine_has_a_row() {
        assert!(host().is_ok());
    }
}
