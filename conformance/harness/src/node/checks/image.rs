//! The sandbox image: it is there, will be there tomorrow, and is the right one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, Miss, NodeCheck, Options};
use crate::advice::Advice;
use crate::event::Want;
use crate::kubernetes::Minor;
use crate::node::gather::{Gathered, PodFacts};
use crate::node::source::{Basis, ToldImage};
use crate::outcome::{Finding, Pass};
use crate::requirement::{Level, Source};
use crate::subject::{Platform, Version};
use pause_image::RegistryName;

const COLLECTED: Source = Source {
    title: "kubernetes#81756",
    url: "https://github.com/kubernetes/kubernetes/issues/81756",
};

pub(super) static KEPT: NodeCheck<PodFacts> = NodeCheck {
    id: "node/image-kept",
    title: "the image of its pause is still there",
    level: Level::Should,
    requirement: "The image that the pause of a running pod was made from SHOULD still be in the engine's store.",
    source: COLLECTED,
    advice: Advice::new(
        "The next pod needs it again, and does not start where it cannot be pulled.",
        "Pull it again, and keep it from garbage collection: pin it, or name it in the runtime's configuration.",
    ),
    judge: |pod, _| match (pod.told.image_kept, &pod.told.image) {
        (Some(true), Some(image)) => Ok(Pass::new(pause_image::escape_text(image))),
        (Some(false), Some(image)) => {
            let observed = format!("{} was removed", pause_image::escape_text(image));
            Err(Finding::new("its image", observed).into())
        }
        _ => {
            let why = format!("{} does not say which image it has", pod.source);
            Err(Miss::Skip(Want::Host, why))
        }
    },
};

/// The sandbox images of this node's runtimes.
fn known(node: &Gathered) -> Result<&[(&'static str, ToldImage)], Miss> {
    if node.images.is_empty() {
        return Err(untold());
    }
    Ok(&node.images)
}

fn untold() -> Miss {
    let why = "no runtime says which sandbox image it is configured with".to_owned();
    Miss::Skip(Want::Host, why)
}

/// How it is known that an image is this source's.
fn by(source: &str, basis: Basis) -> String {
    match basis {
        Basis::Configured => format!("configured in {source}"),
        Basis::Pods => {
            format!("most pods of {source} run it, which does not say what it is configured with")
        }
    }
}

/// Judges each configured image: the first that fails fails the check, and it passes where none was
/// left unjudged.
fn each(node: &Gathered, judge: impl Fn(&ToldImage) -> Judgement) -> Judgement {
    let mut last = Ok(Pass::new(""));
    for (source, image) in known(node)? {
        match judge(image) {
            Ok(pass) => last = last.map(|_| pass.with(by(source, image.basis))),
            Err(Miss::Fail(finding)) => return Err(finding.with(by(source, image.basis)).into()),
            Err(unjudged) => last = Err(unjudged),
        }
    }
    last
}

/// A name completed: a runtime that is configured with `pause:3.10` says of its pods that they have
/// `docker.io/library/pause:3.10`.
fn full(name: &str) -> String {
    name.parse::<RegistryName>()
        .map_or_else(|_| name.to_owned(), |name| name.to_string())
}

fn name(image: &ToldImage) -> String {
    pause_image::escape_text(&image.reference).into_owned()
}

/// What kubelet's arguments name as the sandbox image.
fn named(node: &Gathered) -> Option<&str> {
    node.kubelet.as_ref()?.image.as_deref()
}

fn is_kubelets(node: &Gathered, image: &ToldImage) -> bool {
    let named = named(node).map(full);
    named.is_some_and(|named| named == full(&image.reference))
}

pub(super) static PRESENT: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-present",
    title: "the configured sandbox image is there",
    level: Level::Must,
    requirement: "The sandbox image that the runtime is configured with MUST be in its store.",
    source: COLLECTED,
    advice: Advice::new(
        "Each new pod waits for a pull; where that fails, none starts: \"failed to get sandbox image\".",
        "Pull it with the runtime's own client (ctr -n k8s.io images pull, crictl pull).",
    ),
    judge: |node, _| {
        each(node, |image| {
            match (image.present, image.basis) {
                (true, _) => Ok(Pass::new(name(image))),
                (false, Basis::Configured) => {
                    Err(Finding::new(name(image), "it is not there").into())
                }
                // It may have been configured with another since those pods were made.
                (false, Basis::Pods) => Err(Miss::Inconclusive(format!(
                    "most pods run {}, which is not there, and the runtime does not say which it \
                     is configured with",
                    name(image)
                ))),
            }
        })
    },
};

pub(super) static PINNED: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-pinned",
    title: "the configured sandbox image is pinned",
    level: Level::Must,
    requirement: "The sandbox image MUST be kept from kubelet's garbage collection.",
    source: Source {
        title: "kubernetes#111796",
        url: "https://github.com/kubernetes/kubernetes/issues/111796",
    },
    advice: Advice::new(
        "Kubelet removes it when the disk fills, since no container that it knows uses it.",
        "Use containerd 1.7.3, CRI-O 1.28 or later, which pin it; else ctr images label IMAGE io.cri-containerd.pinned=pinned.",
    ),
    judge: |node, _| {
        each(node, |image| match (image.present, image.pinned) {
            (false, _) => Err(Miss::Skip(Want::Subject, "it is not there".to_owned())),
            (_, Some(true)) => Ok(Pass::new(format!("{} is", name(image)))),
            // Kubelet spares the one that it names itself, whatever the runtime says.
            (_, Some(false)) if is_kubelets(node, image) => Ok(Pass::new(format!(
                "kubelet names {}, and keeps it",
                name(image)
            ))),
            (_, Some(false)) => {
                Err(Finding::new("pinned", format!("{} is not", name(image))).into())
            }
            (_, None) => {
                let why = "the runtime does not say what is pinned".to_owned();
                Err(Miss::Skip(Want::Host, why))
            }
        })
    },
};

pub(super) static PLATFORM: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-platform",
    title: "the configured sandbox image is for this platform",
    level: Level::Must,
    requirement: "The sandbox image MUST be for the node's operating system and architecture.",
    source: Source {
        title: "kubernetes#87325",
        url: "https://github.com/kubernetes/kubernetes/issues/87325",
    },
    advice: Advice::new(
        "No pod starts (exec format error), or each pause runs in an emulator.",
        "Name an image in the runtime's configuration whose index holds this platform.",
    ),
    judge: |node, _| {
        let host = Platform::host();
        // A runtime leaves the variant out: `linux/arm` is `linux/arm/v7`.
        let is_host = |text: &str| {
            text.parse::<Platform>()
                .is_ok_and(|it| !it.contradicts(&host))
        };
        each(node, |image| match &image.platform {
            None => {
                let why = "the runtime does not say which platform it is for".to_owned();
                Err(Miss::Skip(Want::Host, why))
            }
            Some(platform) if is_host(platform) => Ok(Pass::new(host.to_string())),
            Some(platform) => {
                let platform = pause_image::escape_text(platform);
                Err(Finding::new(host.to_string(), platform).into())
            }
        })
    },
};

pub(super) static USED: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-used",
    title: "pods run the configured sandbox image",
    level: Level::Should,
    requirement: "The pods of a node SHOULD run the sandbox image that the runtime is configured with.",
    source: COLLECTED,
    advice: Advice::new(
        "Pods from before a change keep the old image, which must not be removed under them.",
        "Drain the node, or wait until the pods are replaced.",
    ),
    judge: |node, _| {
        let all = known(node)?;
        let known: BTreeSet<String> = all
            .iter()
            .map(|(_, image)| full(&image.reference))
            .collect();
        let sources: BTreeSet<&str> = node.images.iter().map(|(source, _)| *source).collect();
        let pods = node.pods.iter().filter(|pod| sources.contains(pod.source));
        let used = pods.filter_map(|pod| Some((pod.told.image.as_deref()?, pod)));
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        let mut count = 0;
        for (image, _) in used {
            count += 1;
            if !known.contains(&full(image)) {
                *others.entry(image).or_default() += 1;
            }
        }
        if others.is_empty() {
            return match count {
                0 => Err(Miss::Skip(Want::Subject, "no pod runs".to_owned())),
                // They would be compared with themselves.
                _ if all.iter().all(|(_, image)| image.basis == Basis::Pods) => Err(untold()),
                n => Ok(Pass::new(format!("{n} do"))),
            };
        }
        let known: Vec<_> = known
            .iter()
            .map(|it| pause_image::escape_text(it))
            .collect();
        let other: usize = others.values().sum();
        let found = Finding::new(known.join(", "), format!("{other} of {count} run another"));
        let lines = others.iter();
        let lines = lines.map(|(image, n)| format!("{n} × {}", pause_image::escape_text(image)));
        Err(lines.fold(found, Finding::with).into())
    },
};

/// Registries that ask for credentials, by what their host ends with; of a runtime alone nobody
/// renews them.
const PRIVATE: [&str; 3] = [".amazonaws.com", ".amazonaws.com.cn", ".azurecr.io"];

pub(super) static REGISTRY: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-registry",
    title: "the sandbox image can be pulled again",
    level: Level::Should,
    requirement: "A sandbox image that is not pinned SHOULD be in a registry that asks for no credentials.",
    source: Source {
        title: "amazon-eks-ami#1597",
        url: "https://github.com/awslabs/amazon-eks-ami/issues/1597",
    },
    advice: Advice::new(
        "Kubelet's credentials are not used for sandbox images: once it is collected no pod starts.",
        "Pin it, or name one in a public registry, such as registry.k8s.io/pause.",
    ),
    judge: |node, _| {
        each(node, |image| {
            let host = image.reference.split('/').next().unwrap_or_default();
            if image.pinned == Some(true) {
                return Ok(Pass::new("it is pinned"));
            }
            if PRIVATE.iter().any(|end| host.ends_with(end)) {
                let observed = format!("{}, not pinned", pause_image::escape_text(host));
                return Err(Finding::new("a registry without credentials", observed).into());
            }
            Ok(Pass::new(pause_image::escape_text(host)))
        })
    },
};

pub(super) static KUBELET_AGREES: NodeCheck<Gathered> = NodeCheck {
    id: "node/kubelet-agrees",
    title: "kubelet names the image that the runtime uses",
    level: Level::Must,
    requirement: "The image that kubelet's --pod-infra-container-image names MUST be the sandbox image of the runtime.",
    source: Source {
        title: "kubernetes#106037",
        url: "https://github.com/kubernetes/kubernetes/issues/106037",
    },
    advice: Advice::new(
        "Kubelet keeps the image that it names from garbage collection, and collects the one that is used.",
        "Remove the option from kubelet where the runtime pins its image, else set both alike.",
    ),
    judge: |node, _| {
        let Some(named) = named(node) else {
            let why = "no kubelet here names one".to_owned();
            return Err(Miss::Skip(Want::Subject, why));
        };
        each(node, |image| {
            let named = pause_image::escape_text(named);
            if full(&image.reference) == full(&named) {
                return Ok(Pass::new(name(image)));
            }
            match image.basis {
                Basis::Configured => Err(Finding::new(name(image), named).into()),
                // It may have been configured with kubelet's since those pods were made.
                Basis::Pods => Err(Miss::Inconclusive(format!(
                    "kubelet names {named}, most pods run {}, and the runtime does not say which \
                     it is configured with",
                    name(image)
                ))),
            }
        })
    },
};

pub(super) static VERSION: NodeCheck<Gathered> = NodeCheck {
    id: "node/image-version",
    title: "the pauses that run are of the version that this Kubernetes defaults to, or newer",
    level: Level::Should,
    requirement: "The version of each pause SHOULD be the one that the node's Kubernetes defaults to, or newer.",
    source: Source {
        title: "kubernetes cmd/kubeadm/app/constants/constants.go",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/cmd/kubeadm/app/constants/constants.go",
    },
    advice: Advice::new(
        "An older pause is tested with an older Kubernetes: 3.0 does not reap, 3.4.1 and before run as root.",
        "Set the runtime's sandbox image to the version that kubeadm config images list names.",
    ),
    judge: version,
};

fn version(node: &Gathered, options: &Options) -> Judgement {
    let (minor, by) = minor(node, options)?;
    let told = node
        .images
        .iter()
        .map(|(_, image)| image.reference.as_str());
    let run = node.pods.iter().filter_map(|pod| pod.told.image.as_deref());
    let images: BTreeSet<&str> = told.chain(run).collect();
    let versions: Vec<_> = images
        .iter()
        .filter_map(|image| Some((*image, version_of(image)?)))
        .collect();
    if versions.is_empty() {
        let why = "no image here has a version in its tag".to_owned();
        return Err(Miss::Skip(Want::Subject, why));
    }
    let wanted = minor.default();
    let old: Vec<_> = versions.iter().filter(|(_, it)| *it < wanted).collect();
    let Some((image, _)) = old.first() else {
        let newest = versions.iter().map(|(_, version)| version).max();
        let newest = newest.map(ToString::to_string).unwrap_or_default();
        return Ok(Pass::new(newest).with(by));
    };
    let found = Finding::new(
        format!("{wanted} or newer"),
        pause_image::escape_text(image),
    );
    let rest = old.iter().skip(1);
    Err(rest
        .fold(found.with(by), |found, (image, _)| {
            found.with(pause_image::escape_text(image))
        })
        .into())
}

/// The node's Kubernetes, and by whose word: the option's, or kubelet's.
fn minor(node: &Gathered, options: &Options) -> Result<(Minor, String), Miss> {
    if let Some(minor) = options.kubernetes {
        return Ok((minor, format!("--kubernetes {minor}")));
    }
    let Some(version) = node.kubelet.as_ref().and_then(|it| it.version.as_deref()) else {
        let why = "no kubelet here says its version: needs --kubernetes MINOR".to_owned();
        return Err(Miss::Skip(Want::Option, why));
    };
    // A vendor's or a builder's addition follows.
    let release = version.split(['-', '+']).next().unwrap_or_default();
    match Minor::parse(release) {
        Ok(minor) => Ok((minor, format!("kubelet is {version}"))),
        Err(why) => Err(Miss::Inconclusive(format!("kubelet is {version}: {why}"))),
    }
}

/// The version in an image's tag.
pub fn version_of(image: &str) -> Option<Version> {
    let name = image.split('@').next()?;
    let last = name.rsplit('/').next()?;
    let (_, tag) = last.split_once(':')?;
    Version::parse(tag)
}

pub(super) static ONE_PROGRAM: NodeCheck<Gathered> = NodeCheck {
    id: "node/one-program",
    title: "all pods run the same pause",
    level: Level::Should,
    requirement: "The pods of a node SHOULD all run the same pause program.",
    source: COLLECTED,
    advice: Advice::new(
        "Each of them must be judged and kept; which one a pod has depends on when it was made.",
        "Drain the node, so that its pods are made anew with the configured image.",
    ),
    judge: |node, _| {
        let mut programs: BTreeMap<&str, Vec<&PodFacts>> = BTreeMap::new();
        for pod in &node.pods {
            let program = pod.pause.as_ref().and_then(|pause| pause.program());
            if let Some(program) = program {
                programs.entry(&program.digest).or_default().push(pod);
            }
        }
        let lines = programs.iter().map(|(digest, pods)| {
            let images: BTreeSet<_> = pods
                .iter()
                .filter_map(|it| it.told.image.as_deref())
                .collect();
            let images: Vec<_> = images.into_iter().map(pause_image::escape_text).collect();
            let line = format!("{} × sha256:{digest} {}", pods.len(), images.join(", "));
            // Of a pod that only its processes tell of nobody knows the image.
            line.trim_end().to_owned()
        });
        match programs.len() {
            0 => Err(Miss::Skip(
                Want::Host,
                "no program could be read".to_owned(),
            )),
            1 => Ok(lines.fold(Pass::new("one"), Pass::with)),
            n => {
                let found = Finding::new("one", format!("{n} different ones"));
                Err(lines.fold(found, Finding::with).into())
            }
        }
    },
};
