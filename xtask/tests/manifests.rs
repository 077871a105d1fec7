//! The manifests, by the types of the API: every field is one that the API knows, and what they ask
//! of a node is the least.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Namespace, PodSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use xtask::manifests;

const IMAGE: &str = "registry.example/suite@sha256:0";

fn documents(name: &str) -> Vec<Value> {
    let all = manifests::all(IMAGE);
    let (_, text) = all.iter().find(|it| it.0 == name).expect("it is written");
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let documents = documents.map(|it| Value::deserialize(it).expect("YAML"));
    documents.collect()
}

/// What the API makes of a document. The types pass over fields that they do not know, so one that
/// is lost on the way back is none of the API's.
fn read<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let read: T = serde_json::from_value(document.clone()).expect("as the API has it");
    let back = serde_json::to_value(&read).expect("JSON");
    let lost = lost(document, &back, "");
    assert_eq!(lost, Vec::<String>::new(), "unknown to the API");
    read
}

/// The paths of what is in one and not, or otherwise, in the other.
fn lost(one: &Value, other: &Value, path: &str) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let each = one.iter().flat_map(|(key, value)| {
                let path = format!("{path}/{key}");
                match other.get(key) {
                    Some(other) => lost(value, other, &path),
                    // An empty one may be left out.
                    None if value.as_object().is_some_and(serde_json::Map::is_empty) => Vec::new(),
                    None => vec![path],
                }
            });
            each.collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let each = one.iter().zip(other);
            let each = each.flat_map(|(one, other)| lost(one, other, &format!("{path}/-")));
            each.collect()
        }
        (one, other) if one == other => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

/// What the audit may do on a node.
fn asks_for_the_least(pod: &PodSpec, container: &Container, writes: &[&str]) {
    let security = container.security_context.as_ref().expect("it is set");
    assert_eq!(security.allow_privilege_escalation, Some(false));
    assert_ne!(security.privileged, Some(true));
    let capabilities = security.capabilities.clone().expect("they are set");
    assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(capabilities.add, Some(vec!["SYS_PTRACE".to_owned()]));
    assert_eq!(pod.host_pid, Some(true));
    assert_ne!(pod.host_network, Some(true));
    let mounts = container.volume_mounts.iter().flatten();
    let writable = mounts.filter(|mount| mount.read_only != Some(true));
    let writable: Vec<_> = writable.map(|mount| mount.name.as_str()).collect();
    assert_eq!(writable, writes);
    assert_eq!(container.image.as_deref(), Some(IMAGE));
}

#[test]
fn the_audit_is_a_daemon_set_of_the_api() {
    let [namespace, set] = &documents("audit.yaml")[..] else {
        panic!("two documents");
    };
    let namespace: Namespace = read(namespace);
    let set: DaemonSet = read(set);
    assert_eq!(namespace.metadata.name, set.metadata.namespace);
    let spec = set.spec.expect("it is set");
    assert_eq!(
        spec.selector.match_labels,
        spec.template.metadata.and_then(|it| it.labels)
    );
    let pod = spec.template.spec.expect("it is set");
    assert_eq!(pod.automount_service_account_token, Some(false));
    let [container] = &pod.containers[..] else {
        panic!("one container");
    };
    asks_for_the_least(&pod, container, &["metrics"]);
    let volumes: Vec<_> = pod.volumes.iter().flatten().map(|it| &it.name).collect();
    for mount in container.volume_mounts.iter().flatten() {
        assert!(volumes.contains(&&mount.name), "{}", mount.name);
    }
}

#[test]
fn the_judge_is_a_job_of_the_api() {
    let [job] = &documents("judge.yaml")[..] else {
        panic!("one document");
    };
    let job: Job = read(job);
    let spec = job.spec.expect("it is set");
    assert_eq!(
        spec.backoff_limit,
        Some(0),
        "a verdict is not asked for twice"
    );
    let pod = spec.template.spec.expect("it is set");
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    let security = pod.containers[0].security_context.as_ref();
    assert_ne!(security.expect("it is set").privileged, Some(true));
}

#[test]
fn sonobuoys_plugin_has_a_pod_and_a_container_of_the_api() {
    let [plugin] = &documents("sonobuoy.yaml")[..] else {
        panic!("one document");
    };
    // As its documentation has them, "Plugin definition files".
    let config = plugin["sonobuoy-config"].as_object().expect("a mapping");
    let keys: Vec<_> = config.keys().map(String::as_str).collect();
    assert_eq!(keys, ["driver", "plugin-name", "result-format"]);
    let pod: PodSpec = read(&plugin["podSpec"]);
    let container: Container = read(&plugin["spec"]);
    asks_for_the_least(&pod, &container, &["results"]);
}

#[test]
fn the_kept_manifests_are_of_this_version() {
    let kept = format!("localhost/pause-conformance:{}", env!("CARGO_PKG_VERSION"));
    for (name, text) in manifests::all(&kept) {
        let path = manifests::folder().join(name);
        let found = std::fs::read_to_string(&path).expect("it is kept");
        assert_eq!(found, text, "cargo xtask manifests writes {name}");
    }
}
