//! A sandbox as `crictl pods` and `crictl inspectp` show it.

use pause_cri::messages::{NamespaceMode, PodSandboxState, PodSandboxStatusResponse};
use serde_json::Value;

/// How much of an id crictl shows.
const SHORT: usize = 13;

/// A line each. What the runtime does not say is left out.
pub(super) fn of(answer: &PodSandboxStatusResponse) -> Vec<String> {
    let status = answer.status.clone().unwrap_or_default();
    let info = answer.info.get("info").map(String::as_str);
    let info: Value = serde_json::from_str(info.unwrap_or_default()).unwrap_or_default();
    let metadata = status.metadata.clone().unwrap_or_default();
    let id = status.id.get(..SHORT).unwrap_or(&status.id);
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
        LinuxPodSandboxStatus, Namespace, NamespaceOption, PodSandboxMetadata,
        PodSandboxNetworkStatus, PodSandboxStatus,
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
        let info = r#"{"pid":7,"image":"pause:3.9\u001b[31m","config":{}}"#;
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
            ]
        );
        let nothing = of(&PodSandboxStatusResponse::default());
        assert_eq!(nothing, ["crictl pods:  SANDBOX_READY / attempt 0"]);
    }
}
