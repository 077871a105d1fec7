//! The version that a Kubernetes release expects, by the image's tag.

use crate::advice::Advice;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::Context;
use crate::kubernetes::{self, Minor};
use crate::subject::{Subject, Version};

/// Under which names upstream has published it, the newest last; mirrors keep them at the end.
const NAMES: [&str; 3] = [
    "gcr.io/google_containers/pause",
    "k8s.gcr.io/pause",
    "registry.k8s.io/pause",
];

pub(super) static VERSION_MATCHES_CLUSTER: Check = Check {
    id: "image/version-matches-cluster",
    title: "the version fits the Kubernetes release",
    level: Level::Should,
    requirement: "The version of the image SHOULD be the one that the Kubernetes release defaults to, or newer. \
                  Another vendor's numbers are not compared.",
    source: Source {
        title: "kubernetes cmd/kubeadm/app/constants/constants.go",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/cmd/kubeadm/app/constants/constants.go",
    },
    advice: Advice::new(
        "An older pause lacks what the release counts on; kubelets also protect the image of their own version from removal.",
        "Use the version that the release names, as `kubeadm config images list` shows it.",
    ),
    needs: Needs::IMAGE.union(Needs::KUBERNETES).union(Needs::VERSION),
    after: &[],
    run: version_matches_cluster,
};

fn version_matches_cluster(cx: &Context<'_>) -> Outcome {
    let (Some(version), Some(minor)) = (cx.subject().version(), cx.options().kubernetes) else {
        return Err(Stop::Skip(
            "the version of the image or of Kubernetes is not known".to_owned(),
        ));
    };
    if !kubernetes::is_upstreams(version) || !is_upstreams(cx.subject()) {
        return Err(Stop::Skip(format!(
            "{version} may be another vendor's number: neither the image's name nor its program is upstream's"
        )));
    }
    minor_wants(minor, version, format!("version {version}"))
}

/// Whether a version of upstream's is as new as the minor defaults to.
pub(in crate::checks) fn minor_wants(minor: Minor, version: Version, observed: String) -> Outcome {
    let default = minor.default();
    let evidence = minor.defaults();
    if version < default {
        let expected = format!("{default} or newer, the default of Kubernetes {minor}");
        return Err(Stop::Fail(Finding {
            evidence,
            ..Finding::new(expected, observed)
        }));
    }
    Ok(Pass {
        evidence,
        ..Pass::new(format!(
            "{observed}; Kubernetes {minor} defaults to {default}"
        ))
    })
}

/// Whether it is named as upstream's, or starts upstream's program.
fn is_upstreams(subject: &Subject) -> bool {
    let says = |content: &[u8]| {
        let mark = kubernetes::UPSTREAM.as_bytes();
        content.windows(mark.len()).any(|it| it == mark)
    };
    NAMES.iter().any(|name| subject.reference.contains(name))
        || subject
            .program
            .as_ref()
            .is_ok_and(|program| says(&program.content))
}
