//! Which pause image each release defaults to: Kubernetes' own, containerd's, CRI-O's.
//!
//! The table is pinned. [`READ`] is when it was last held against its sources.

use std::fmt;

use crate::subject::Version;

/// Year and month in which the table was read.
const READ: (i32, u32) = (2026, 11);
/// A new minor of Kubernetes comes three times a year: a table older than this lacks one.
#[cfg(test)]
const MOST_MONTHS: i32 = 6;

/// What has a default of its own. Where they differ, the runtime's is what a node uses.
struct Component {
    name: &'static str,
    /// Where a release says it, from which release on; `RELEASE` stands for the release.
    sources: &'static [((u32, u32), &'static str)],
    /// The last release that the table knows.
    last: (u32, u32),
    /// The default, from which release on.
    defaults: &'static [((u32, u32), Version)],
}

/// kubeadm's; before 1.18 kubelet's.
const KUBERNETES: Component = Component {
    name: "Kubernetes",
    sources: &[
        (
            (1, 3),
            "https://github.com/kubernetes/kubernetes/tree/vRELEASE.0/cmd/kubelet/app/options",
        ),
        (
            (1, 18),
            "https://github.com/kubernetes/kubernetes/blob/vRELEASE.0/cmd/kubeadm/app/constants/constants.go",
        ),
    ],
    last: (1, 37),
    defaults: &[
        ((1, 3), Version(3, 0, 0)),
        ((1, 10), Version(3, 1, 0)),
        ((1, 18), Version(3, 2, 0)),
        ((1, 21), Version(3, 4, 1)),
        ((1, 22), Version(3, 5, 0)),
        ((1, 23), Version(3, 6, 0)),
        ((1, 24), Version(3, 7, 0)),
        ((1, 25), Version(3, 8, 0)),
        ((1, 26), Version(3, 9, 0)),
        ((1, 31), Version(3, 10, 0)),
        ((1, 34), Version(3, 10, 1)),
        ((1, 36), Version(3, 10, 2)),
    ],
};

/// `pause_image`. Its releases are numbered as those of Kubernetes that they are for.
const CRI_O: Component = Component {
    name: "CRI-O",
    sources: &[(
        (1, 18),
        "https://github.com/cri-o/cri-o/blob/vRELEASE.0/pkg/config/config.go",
    )],
    last: (1, 36),
    defaults: &[
        ((1, 18), Version(3, 2, 0)),
        ((1, 21), Version(3, 5, 0)),
        ((1, 23), Version(3, 6, 0)),
        ((1, 27), Version(3, 9, 0)),
        ((1, 31), Version(3, 10, 0)),
        ((1, 34), Version(3, 10, 1)),
    ],
};

/// `sandbox_image`.
const CONTAINERD: Component = Component {
    name: "containerd",
    sources: &[
        (
            (1, 1),
            "https://github.com/containerd/cri/tree/release/RELEASE/pkg/config",
        ),
        (
            (1, 5),
            "https://github.com/containerd/containerd/tree/vRELEASE.0/pkg/cri/config",
        ),
        (
            (2, 0),
            "https://github.com/containerd/containerd/tree/vRELEASE.0/internal/cri/config",
        ),
    ],
    last: (2, 3),
    defaults: &[
        ((1, 1), Version(3, 1, 0)),
        ((1, 4), Version(3, 2, 0)),
        ((1, 5), Version(3, 5, 0)),
        ((1, 6), Version(3, 6, 0)),
        ((1, 7), Version(3, 8, 0)),
        ((2, 0), Version(3, 10, 0)),
        ((2, 2), Version(3, 10, 1)),
        ((2, 3), Version(3, 10, 2)),
    ],
};

/// Every version that was published under upstream's name and numbering, from the first that a
/// minor defaults to.
const RELEASED: &[Version] = &[
    Version(3, 0, 0),
    Version(3, 1, 0),
    Version(3, 2, 0),
    Version(3, 3, 0),
    Version(3, 4, 0),
    Version(3, 4, 1),
    Version(3, 5, 0),
    Version(3, 6, 0),
    Version(3, 7, 0),
    Version(3, 8, 0),
    Version(3, 9, 0),
    Version(3, 10, 0),
    Version(3, 10, 1),
    Version(3, 10, 2),
];

/// The first version that reaps: pods may share their pid namespace from the minor on that
/// defaults to it.
pub const REAPS: Version = Version(3, 1, 0);

/// What a line of `-v` of upstream's program begins with.
pub const UPSTREAM: &str = "pause.c ";

/// A minor version of Kubernetes that the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor(u32);

impl Minor {
    /// Reads `1.34`, `v1.34`, `34`, `1.34.2`.
    ///
    /// # Errors
    /// What is no minor version, and one that the table does not know.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.strip_prefix('v').unwrap_or(text);
        let mut numbers = word.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let release = match [(); 4].map(|()| numbers.next()) {
            [Some(Some(minor)), None, None, None] => Some((1, minor)),
            [
                Some(Some(major)),
                Some(Some(minor)),
                None | Some(Some(_)),
                None,
            ] => Some((major, minor)),
            _ => None,
        };
        let (major, minor) = release.ok_or("expected a minor version, for example 1.34")?;
        match KUBERNETES.default_of((major, minor)) {
            Some(_) => Ok(Self(minor)),
            None => Err(format!(
                "unknown minor {major}.{minor}: known are 1.{} to 1.{}, as of {}-{:02}",
                KUBERNETES.defaults[0].0.1, KUBERNETES.last.1, READ.0, READ.1
            )),
        }
    }

    /// All that the table knows.
    pub fn all() -> impl Iterator<Item = Self> {
        (KUBERNETES.defaults[0].0.1..=KUBERNETES.last.1).map(Self)
    }

    /// The version that kubeadm of this minor asks for.
    pub fn default(self) -> Version {
        // Whatever is parsed is in the table.
        KUBERNETES.default_of((1, self.0)).unwrap_or(REAPS)
    }

    /// What this minor defaults to and container runtimes do, whose word is the last on a node, a
    /// line each, with where they say it.
    pub fn defaults(self) -> Vec<String> {
        let release = (1, self.0);
        let one = [KUBERNETES, CRI_O].map(|it| {
            let (default, source) = (it.default_of(release)?, it.source_of(release)?);
            Some(format!(
                "{} {self} defaults to {default}: {source}",
                it.name
            ))
        });
        let all: Vec<String> = CONTAINERD
            .defaults
            .iter()
            .map(|((major, minor), version)| format!("{version} from {major}.{minor}"))
            .collect();
        let source = CONTAINERD.source_of(CONTAINERD.last).unwrap_or_default();
        let containerd = format!(
            "{} defaults to {}: {source}",
            CONTAINERD.name,
            all.join(", ")
        );
        one.into_iter().flatten().chain([containerd]).collect()
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// Whether a number may be upstream's: one that was published, or a later one of its kind.
pub fn is_upstreams(version: Version) -> bool {
    let newer = RELEASED
        .last()
        .is_some_and(|last| version > *last && version.0 == last.0);
    newer || RELEASED.contains(&version)
}

impl Component {
    /// Where a release says what it defaults to.
    fn source_of(&self, release: (u32, u32)) -> Option<String> {
        let known = self.sources.iter().rev().find(|(from, _)| *from <= release);
        let (major, minor) = release;
        known.map(|(_, source)| source.replace("RELEASE", &format!("{major}.{minor}")))
    }

    /// What a release defaults to; `None` where the table does not know it.
    fn default_of(&self, release: (u32, u32)) -> Option<Version> {
        let known = self
            .defaults
            .iter()
            .rev()
            .find(|(from, _)| *from <= release);
        known
            .filter(|_| release <= self.last)
            .map(|(_, version)| *version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn each_minor_has_the_default_of_its_release() {
        for (first, last, version) in [
            (3, 9, "3.0"),
            (10, 17, "3.1"),
            (18, 20, "3.2"),
            (21, 21, "3.4.1"),
            (22, 22, "3.5"),
            (23, 23, "3.6"),
            (24, 24, "3.7"),
            (25, 25, "3.8"),
            (26, 30, "3.9"),
            (31, 33, "3.10"),
            (34, 35, "3.10.1"),
            (36, 37, "3.10.2"),
        ] {
            for minor in first..=last {
                let minor = Minor::parse(&format!("1.{minor}")).expect("it is known");
                assert_eq!(minor.default().to_string(), version, "{minor}");
            }
        }
    }

    #[rstest]
    #[case("34", 34)]
    #[case("1.9", 9)]
    #[case("v1.34", 34)]
    #[case("1.34.2", 34)]
    fn a_minor_is_read_as_people_write_it(#[case] text: &str, #[case] minor: u32) {
        assert_eq!(Minor::parse(text), Ok(Minor(minor)));
    }

    #[rstest]
    #[case("1.2", "unknown minor 1.2")]
    #[case("38", "unknown minor 1.38: known are 1.3 to 1.37")]
    #[case("2.10", "unknown minor 2.10")]
    #[case("4294967295", "unknown minor 1.4294967295")]
    #[case("4294967296", "expected")]
    #[case("", "expected")]
    #[case("1.", "expected")]
    #[case("1.+3", "expected")]
    #[case("1.34.1.2", "expected")]
    #[case("latest", "expected")]
    fn what_is_no_known_minor_is_refused(#[case] text: &str, #[case] words: &str) {
        let error = Minor::parse(text).expect_err("it is not known");
        assert!(error.starts_with(words), "{error}");
    }

    #[test]
    fn the_defaults_of_a_minor_are_named_with_their_sources() {
        let lines = Minor(25).defaults();
        let begins = [
            "Kubernetes 1.25 defaults to 3.8: https://github.com/kubernetes/kubernetes/blob/v1.25.0/",
            "CRI-O 1.25 defaults to 3.6: https://github.com/cri-o/cri-o/blob/v1.25.0/",
            "containerd defaults to 3.1 from 1.1, 3.2 from 1.4, 3.5 from 1.5, 3.6 from 1.6, \
             3.8 from 1.7, 3.10 from 2.0, 3.10.1 from 2.2, 3.10.2 from 2.3: https://",
        ];
        assert_eq!(lines.len(), begins.len());
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
        assert!(Minor(9).defaults()[0].contains("/v1.9.0/cmd/kubelet/"));
        // Of CRI-O nothing is known there.
        assert_eq!([Minor(9), Minor(37)].map(|it| it.defaults().len()), [2, 2]);
    }

    #[test]
    fn each_table_rises_and_says_where_it_is_from() {
        for component in [KUBERNETES, CRI_O, CONTAINERD] {
            let name = component.name;
            for (from, _) in component.defaults {
                let source = component.source_of(*from).unwrap_or_default();
                assert!(
                    source.starts_with("https://") && !source.contains("RELEASE"),
                    "{name}"
                );
            }
            let rises = component
                .defaults
                .is_sorted_by(|one, next| one < next && one.1 < next.1);
            assert!(rises, "{name}");
            let last = component.defaults.last().expect("it has rows");
            assert!(last.0 <= component.last, "{name}");
            for (_, version) in component.defaults {
                assert!(RELEASED.contains(version), "{name}: {version}");
            }
        }
        assert!(RELEASED.is_sorted());
    }

    #[rstest]
    #[case("3.2", true)]
    #[case("3.11", true)]
    #[case("3.6.1", false)]
    #[case("0.1.0", false)]
    #[case("1.28.2", false)]
    #[case("4.15", false)]
    fn another_vendors_numbers_are_not_upstreams(#[case] text: &str, #[case] upstream: bool) {
        let version = Version::parse(text).expect("a version");
        assert_eq!(is_upstreams(version), upstream);
    }

    /// A change of today is not to fail for what others published meanwhile.
    #[test]
    #[ignore = "depends on the day: cargo xtask test --long"]
    fn the_table_of_defaults_is_of_this_half_year() {
        // What was built last is as old as this build.
        let built = std::env::current_exe().and_then(std::fs::metadata);
        let built = built.and_then(|it| it.modified()).expect("it is a file");
        let days = built
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        let months = i32::try_from(days.as_secs() / 86_400 * 12 / 365).expect("small");
        let read = (READ.0 - 1970) * 12 + i32::try_from(READ.1).expect("small") - 1;
        assert!(
            months - read <= MOST_MONTHS,
            "read the sources again: {:#?}",
            [KUBERNETES, CRI_O, CONTAINERD].map(|it| it.sources)
        );
    }
}
