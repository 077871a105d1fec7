//! Platforms in the words of the OCI image specification, and which one answers a request for another.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// `os/architecture[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`, `windows`, …
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
        .normal()
    }

    /// The same platform in its usual spelling, as engines compare it: `x86_64` is
    /// `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    #[must_use]
    pub fn normal(&self) -> Self {
        let variant = self.variant.as_deref().map(str::to_lowercase);
        let variant = variant.as_deref().filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (self.architecture.to_lowercase().as_str(), variant) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64".to_owned(), None),
            ("x86_64" | "x86-64", variant) => ("amd64".to_owned(), variant),
            ("aarch64" | "arm64", None | Some("v8" | "8")) => ("arm64".to_owned(), None),
            ("aarch64", variant) => ("arm64".to_owned(), variant),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386".to_owned(), None),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm".to_owned(), Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm".to_owned(), Some("v6")),
            ("arm", Some("5")) => ("arm".to_owned(), Some("v5")),
            ("arm", Some("8")) => ("arm".to_owned(), Some("v8")),
            (other, variant) => (other.to_owned(), variant),
        };
        Self {
            os: self.os.to_lowercase(),
            architecture,
            variant: variant.map(str::to_owned),
        }
    }

    /// How well `offered` answers a request for this platform: 0 is exact, higher is an
    /// older variant that runs there too, `None` does not run there.
    pub fn accepts(&self, offered: &Self) -> Option<u32> {
        let (asked, offered) = (self.normal(), offered.normal());
        if (&asked.os, &asked.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        if asked.variant == offered.variant {
            return Some(0);
        }
        asked.level()?.checked_sub(offered.level()?)
    }

    /// Whether both cannot be said of one image. A variant that one of them leaves out is not
    /// contradicted by the other's.
    pub fn contradicts(&self, other: &Self) -> bool {
        let written = self.variant.is_some() && other.variant.is_some();
        let (one, other) = (self.normal(), other.normal());
        (&one.os, &one.architecture) != (&other.os, &other.architecture)
            || (written && one.variant != other.variant)
    }

    /// Whether the suite judges images for it: its kernel is Linux, or its programs are WASI's.
    pub(crate) fn is_judged(&self) -> bool {
        let os = self.os.to_lowercase();
        os == "linux" || os.starts_with("wasi")
    }

    /// The number in the variant; where there is none, what the architecture starts at.
    fn level(&self) -> Option<u32> {
        match (&self.variant, self.architecture.as_str()) {
            (Some(variant), _) => variant.strip_prefix('v')?.parse().ok(),
            (None, "amd64") => Some(1),
            (None, "arm64") => Some(8),
            (None, _) => None,
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os/architecture[/variant]`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let sound = parts.iter().all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] if sound => (os, architecture, None),
            [os, architecture, variant] if sound => (os, architecture, Some(variant.to_owned())),
            _ => {
                return Err(Error::new(
                    format_args!("platform '{text}'"),
                    "not OS/ARCHITECTURE[/VARIANT]",
                )
                .with_hint("for example linux/amd64, linux/arm64 or linux/arm/v7"));
            }
        };
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::Platform;

    fn platform(text: &str) -> Platform {
        text.parse().expect("a platform")
    }

    #[rstest]
    #[case("linux/arm64", "linux/arm64/v9", false)]
    #[case("linux/arm64/v8", "linux/aarch64/8", false)]
    #[case("linux/arm/v6", "linux/arm", false)]
    #[case("linux/arm64/v8", "linux/arm64/v9", true)]
    #[case("linux/arm/v6", "linux/arm/v7", true)]
    #[case("linux/arm64", "linux/arm", true)]
    #[case("linux/amd64", "windows/amd64", true)]
    fn what_is_left_out_contradicts_nothing(
        #[case] one: &str,
        #[case] other: &str,
        #[case] contradicts: bool,
    ) {
        let (one, other) = (platform(one), platform(other));
        assert_eq!(one.contradicts(&other), contradicts);
        assert_eq!(other.contradicts(&one), contradicts);
    }

    #[rstest]
    #[case("linux/amd64", "linux/amd64", Some(0))]
    #[case("linux/x86_64", "linux/amd64/v1", Some(0))]
    #[case("linux/amd64", "linux/amd64/v2", None)]
    #[case("linux/arm64", "linux/arm64/v8", Some(0))]
    #[case("linux/arm", "linux/arm/v7", Some(0))]
    #[case("linux/arm/v7", "linux/arm/v5", Some(2))]
    #[case("linux/arm/v6", "linux/arm/v7", None)]
    #[case("linux/amd64", "windows/amd64", None)]
    #[case("linux/amd64", "linux/arm64", None)]
    #[case("linux/riscv64", "linux/riscv64/rva23", None)]
    fn an_older_variant_answers_for_a_newer_one(
        #[case] asked: &str,
        #[case] offered: &str,
        #[case] rank: Option<u32>,
    ) {
        assert_eq!(platform(asked).accepts(&platform(offered)), rank);
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "linux/a md64",
            "li\u{1b}/x",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
