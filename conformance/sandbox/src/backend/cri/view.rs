//! A sandbox as `crictl pods` and `crictl inspectp` show it, and its containers as `crictl ps` does.

use std::sync::OnceLock;

use pause_cri::Client;
use pause_cri::messages::{
    Container, ContainerFilter, ContainerState, NamespaceMode, PodSandboxState,
    PodSandboxStatusResponse,
};
use serde_json::Value;

/// How much of an id crictl shows.
const SHORT: usize = 13;
/// As many containers and namespaces of a pod are shown: what a runtime says has no end.
const SHOWN: usize = 16;

/// How far the pod is that is shown. The one that is furthest shows most.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// It has a pause process alone.
    Alone,
    /// A container was made.
    Joined,
    /// A container was made once more.
    Restarted,
}

/// The first pod of each stage, as it was shown.
#[derive(Default)]
pub(super) struct Views([OnceLock<Vec<String>>; 3]);

impl Views {
    /// Asks the runtime how this sandbox is, unless one of its stage was shown.
    pub(super) fn see(&self, stage: Stage, client: &Client, sandbox: &str) {
        let Self(views) = self;
        let view = &views[stage as usize];
        if view.get().is_some() {
            return;
        }
        let filter = ContainerFilter {
            pod_sandbox_id: sandbox.to_owned(),
            ..ContainerFilter::default()
        };
        // What it does not say is not shown: no verdict depends on it.
        let Ok(status) = client.pod_sandbox_status(sandbox, true) else {
            return;
        };
        let mut lines = of(&status);
        lines.extend(containers(
            &client.containers(Some(filter)).unwrap_or_default(),
        ));
        // Of two at a time either will do.
        let _ = view.set(lines);
    }

    /// The fullest, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self(views) = self;
        let fullest = views.iter().rev().find_map(OnceLock::get);
        fullest.cloned().unwrap_or_default()
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// The containers of a pod, a line each.
fn containers(all: &[Container]) -> Vec<String> {
    let more = all.len().saturating_sub(SHOWN);
    let lines = all.iter().take(SHOWN).map(|container| {
        let metadata = container.metadata.clone().unwrap_or_default();
        let image = container.image.clone().unwrap_or_default().image;
        let state = match ContainerState::try_from(container.state) {
            Ok(ContainerState::Created) => "CONTAINER_CREATED",
            Ok(ContainerState::Running) => "CONTAINER_RUNNING",
            Ok(ContainerState::Exited) => "CONTAINER_EXITED",
            Ok(ContainerState::Unknown) | Err(_) => "CONTAINER_UNKNOWN",
        };
        format!(
            "crictl ps: {} image {image} {state} {} attempt {} of pod {}",
            short(&container.id),
            metadata.name,
            metadata.attempt,
            short(&container.pod_sandbox_id),
        )
    });
    let rest = (more > 0).then(|| format!("crictl ps: {more} more"));
    lines
        .chain(rest)
        .map(|line| pause_image::escape_text(&line).to_string())
        .collect()
}

/// The namespaces of its specification: those that are its own, and those that were made for it.
fn specified(info: &Value) -> Option<String> {
    let all = info["runtimeSpec"]["linux"]["namespaces"].as_array()?;
    let words = all.iter().take(SHOWN).filter_map(|namespace| {
        let kind = namespace["type"].as_str()?;
        let path = namespace["path"].as_str().filter(|path| !path.is_empty());
        Some(path.map_or(kind.to_owned(), |path| format!("{kind} {path}")))
    });
    let words: Vec<_> = words.collect();
    let line = || format!("crictl inspectp: made with namespaces {}", words.join(", "));
    (!words.is_empty()).then(line)
}

/// A line each. What the runtime does not say is left out.
fn of(answer: &PodSandboxStatusResponse) -> Vec<String> {
    let status = answer.status.clone().unwrap_or_default();
    let info = answer.info.get("info").map(String::as_str);
    let info: Value = serde_json::from_str(info.unwrap_or_default()).unwrap_or_default();
    let metadata = status.metadata.clone().unwrap_or_default();
    let id = short(&status.id);
    let state = match PodSandboxState::try_from(status.state) {
        Ok(PodSandboxState::Ready) => "SANDBOX_READY",
        Ok(PodSandboxState::NotReady) => "SANDBOX_NOTREADY",
        Err(_) => "of a state that is unknown",
    };
    let pods = format!(
        "crictl pods: {id} {state} {}/{} attempt {}",
        metadata.namespace, metadata.name, metadata.attempt
    );
    let facts = [
        ("image", word(&info["image"])),
        ("pid", word(&info["pid"])),
        ("runtime", word(&info["runtimeType"])),
        ("snapshotter", word(&info["snapshotter"])),
        ("address", status.network.map(|network| network.ip)),
    ];
    let known = facts.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(format!("{name} {value}"))
    });
    let known: Vec<_> = known.collect();
    let options = status.linux.and_then(|linux| linux.namespaces?.options);
    let namespaces = options.map(|options| {
        let of = [
            ("network", options.network),
            ("pid", options.pid),
            ("ipc", options.ipc),
        ];
        let of = of.map(|(name, mode)| format!("{name} {}", mode_in_words(mode)));
        format!("crictl inspectp: namespaces {}", of.join(", "))
    });
    let inspected = (!known.is_empty()).then(|| format!("crictl inspectp: {}", known.join(", ")));
    let lines = std::iter::once(pods).chain(inspected).chain(namespaces);
    let lines = lines.chain(specified(&info));
    lines
        .map(|line| pause_image::escape_text(&line).to_string())
        .collect()
}

/// A word or a number.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn mode_in_words(mode: i32) -> &'static str {
    match NamespaceMode::try_from(mode) {
        Ok(NamespaceMode::Pod) => "POD",
        Ok(NamespaceMode::Container) => "CONTAINER",
        Ok(NamespaceMode::Node) => "NODE",
        Ok(NamespaceMode::Target) => "TARGET",
        Err(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use pause_cri::messages::{
        ContainerMetadata, ImageSpec, LinuxPodSandboxStatus, Namespace, NamespaceOption,
        PodSandboxMetadata, PodSandboxNetworkStatus, PodSandboxStatus,
    };

    use super::*;

    #[test]
    fn a_sandbox_is_shown_as_crictl_does() {
        let options = NamespaceOption {
            pid: NamespaceMode::Node.into(),
            ..NamespaceOption::default()
        };
        let namespaces = Namespace {
            options: Some(options),
        };
        let status = PodSandboxStatus {
            id: "0123456789abcdef".into(),
            metadata: Some(PodSandboxMetadata {
                name: "pod".into(),
                namespace: "default".into(),
                ..PodSandboxMetadata::default()
            }),
            network: Some(PodSandboxNetworkStatus {
                ip: "198.18.0.2".into(),
                ..PodSandboxNetworkStatus::default()
            }),
            linux: Some(LinuxPodSandboxStatus {
                namespaces: Some(namespaces),
            }),
            ..PodSandboxStatus::default()
        };
        let info = r#"{"pid":7,"image":"pause:3.9\u001b[31m","config":{},"runtimeSpec":{"linux":
            {"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/x"},3]}}}"#;
        let answer = PodSandboxStatusResponse {
            status: Some(status),
            info: [("info".to_owned(), info.to_owned())].into(),
            ..PodSandboxStatusResponse::default()
        };
        assert_eq!(
            of(&answer),
            [
                "crictl pods: 0123456789abc SANDBOX_READY default/pod attempt 0",
                "crictl inspectp: image pause:3.9\\x1b[31m, pid 7, address 198.18.0.2",
                "crictl inspectp: namespaces network POD, pid NODE, ipc POD",
                "crictl inspectp: made with namespaces pid, network /run/netns/x",
            ]
        );
        let nothing = of(&PodSandboxStatusResponse::default());
        assert_eq!(nothing, ["crictl pods:  SANDBOX_READY / attempt 0"]);
    }

    #[test]
    fn containers_are_shown_as_crictl_does_within_a_limit() {
        let container = Container {
            id: "fedcba9876543210".into(),
            pod_sandbox_id: "0123456789abcdef".into(),
            metadata: Some(ContainerMetadata {
                name: "member\u{1b}[31m".into(),
                attempt: 1,
            }),
            image: Some(ImageSpec {
                image: "member:1".into(),
                ..ImageSpec::default()
            }),
            state: ContainerState::Running.into(),
            ..Container::default()
        };
        assert_eq!(
            containers(std::slice::from_ref(&container)),
            [
                "crictl ps: fedcba9876543 image member:1 CONTAINER_RUNNING member\\x1b[31m attempt 1 \
                 of pod 0123456789abc"
            ]
        );
        let many = containers(&vec![container; SHOWN + 2]);
        assert_eq!(many.len(), SHOWN + 1);
        assert_eq!(many[SHOWN], "crictl ps: 2 more");
        let odd = Container {
            state: 77,
            ..Container::default()
        };
        assert_eq!(
            containers(&[odd]),
            ["crictl ps:  image  CONTAINER_UNKNOWN  attempt 0 of pod "]
        );
    }
}
