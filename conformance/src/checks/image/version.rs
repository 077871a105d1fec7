//! The version that a Kubernetes release expects.

use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::Context;
use crate::subject::Version;

/// kubeadm's default, from which Kubernetes minor on (constants.go of each release).
const DEFAULTS: &[(u32, Version)] = &[
    (3, Version(3, 0, 0)),
    (10, Version(3, 1, 0)),
    (18, Version(3, 2, 0)),
    (21, Version(3, 4, 1)),
    (22, Version(3, 5, 0)),
    (23, Version(3, 6, 0)),
    (24, Version(3, 7, 0)),
    (25, Version(3, 8, 0)),
    (26, Version(3, 9, 0)),
    (31, Version(3, 10, 0)),
    (34, Version(3, 10, 1)),
    (36, Version(3, 10, 2)),
];
/// The last minor that the table knows.
const LAST: u32 = 37;

pub(super) static VERSION_MATCHES_CLUSTER: Check = Check {
    id: "image/version-matches-cluster",
    title: "the version fits the Kubernetes release",
    level: Level::Should,
    requirement: "The version of the image SHOULD be the one that the Kubernetes release defaults to, or newer.",
    source: Source {
        title: "kubernetes cmd/kubeadm/app/constants/constants.go",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/cmd/kubeadm/app/constants/constants.go",
    },
    needs: Needs::IMAGE.union(Needs::KUBERNETES).union(Needs::VERSION),
    after: &[],
    run: version_matches_cluster,
};

fn version_matches_cluster(cx: &Context<'_>) -> Outcome {
    let (Some(version), Some((major, minor))) = (cx.subject().version(), cx.options().kubernetes)
    else {
        return Err(Stop::Skip(
            "the version of the image or of Kubernetes is not known".to_owned(),
        ));
    };
    let Some(default) = default_of(major, minor) else {
        return Err(Stop::Skip(format!(
            "no default is known for Kubernetes {major}.{minor}, only for 1.3 to 1.{LAST}"
        )));
    };
    let observed = format!("version {version}");
    if version >= default {
        return Ok(Pass::new(format!(
            "{observed}; Kubernetes {major}.{minor} defaults to {default}"
        )));
    }
    Err(Finding::new(
        format!("{default} or newer, the default of Kubernetes {major}.{minor}"),
        observed,
    )
    .into())
}

/// What a minor defaults to; `None` where the table has none.
fn default_of(major: u32, minor: u32) -> Option<Version> {
    let known = DEFAULTS.iter().rev().find(|(from, _)| *from <= minor);
    known
        .filter(|_| major == 1 && minor <= LAST)
        .map(|(_, version)| *version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minor_has_the_default_of_its_release() {
        let at = |minor| default_of(1, minor).map(|version| version.to_string());
        let expected = [
            (2, None),
            (3, Some("3.0")),
            (9, Some("3.0")),
            (10, Some("3.1")),
            (17, Some("3.1")),
            (20, Some("3.2")),
            (21, Some("3.4.1")),
            (22, Some("3.5")),
            (23, Some("3.6")),
            (24, Some("3.7")),
            (25, Some("3.8")),
            (26, Some("3.9")),
            (30, Some("3.9")),
            (31, Some("3.10")),
            (33, Some("3.10")),
            (34, Some("3.10.1")),
            (35, Some("3.10.1")),
            (36, Some("3.10.2")),
            (37, Some("3.10.2")),
            (38, None),
        ];
        for (minor, version) in expected {
            assert_eq!(at(minor).as_deref(), version, "1.{minor}");
        }
        assert_eq!(default_of(2, 10), None);
    }
}
