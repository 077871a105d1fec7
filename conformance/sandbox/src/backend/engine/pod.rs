//! Pods, by the engine that has them: podman, whose own interface (libpod) makes one with the image as
//! its infra container. Docker has none.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{Api, LABEL, Refusal};
use crate::backend::embedded::{cgroup, limits};
use crate::backend::{Member, member};

/// Where podman's own interface is (podman, "libpod API"); every version since 4 answers there.
const LIBPOD: &str = "/v4.0.0/libpod";
/// What its containers share.
const SHARED: [&str; 4] = ["net", "ipc", "uts", "pid"];

/// A pod. Dropping it removes it, with all its containers.
pub(super) struct Pod {
    api: Arc<Api>,
    id: String,
}

impl Pod {
    /// Has it made, with this image as the pause, and below this cgroup where not the engine's.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn create(
        api: &Arc<Api>,
        name: &str,
        run: &str,
        (image, cgroup): (&str, Option<&str>),
    ) -> Result<Self, Refusal> {
        let mut document = json!({
            "name": name,
            "labels": {LABEL: run},
            "infra_image": image,
            "resource_limits": {
                "memory": {"limit": cgroup::MEMORY},
                "pids": {"limit": limits::processes()},
            },
            "shared_namespaces": SHARED,
            // As a network plugin finds it.
            "netns": {"nsmode": "none"},
        });
        if let Some(cgroup) = cgroup {
            document["cgroup_parent"] = cgroup.into();
        }
        let made = api.post(&format!("{LIBPOD}/pods/create"), Some(&document))?;
        Ok(Self {
            api: Arc::clone(api),
            // By its name it is removed in any case.
            id: made["Id"].as_str().unwrap_or(name).to_owned(),
        })
    }

    /// The id of its pause container.
    ///
    /// # Errors
    /// Where the engine does not say.
    pub(super) fn pause(&self) -> io::Result<String> {
        let all = self
            .api
            .get(&format!("{LIBPOD}/pods/{}/json", self.id), &[])?;
        let id = all["InfraContainerID"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| io::Error::other("the pod has no infra container"))?;
        Ok(id.to_owned())
    }

    /// Gives an order about all of it: `start`, `stop?t=10`.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn order(&self, order: &str) -> Result<(), Refusal> {
        let path = format!("{LIBPOD}/pods/{}/{order}", self.id);
        let said = self.api.post(&path, None)?;
        // What it could not do is said of each container.
        match said["Errs"].as_array().into_iter().flatten().next() {
            None => Ok(()),
            Some(error) => Err(Refusal::Said {
                status: 409,
                message: pause_image::escape_text(error.as_str().unwrap_or_default()).to_string(),
            }),
        }
    }

    /// Has a container of it made; its id.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub(super) fn add(
        &self,
        (name, run): (&str, &str),
        (image, program): (&str, &str),
        member: &Member,
    ) -> Result<Value, Refusal> {
        let mut document = document_of_member(image, program, member);
        document["name"] = name.into();
        document["labels"] = json!({LABEL: run});
        document["pod"] = self.id.as_str().into();
        let path = format!("{LIBPOD}/containers/create");
        self.api.post(&path, Some(&document))
    }
}

/// What is asked for a container of a pod.
fn document_of_member(image: &str, program: &str, member: &Member) -> Value {
    let mut document = json!({
        "image": image,
        "entrypoint": [program],
        "command": member::arguments(member),
        "read_only_filesystem": true,
        "resource_limits": {
            "memory": {"limit": cgroup::MEMORY, "swap": cgroup::MEMORY},
            "pids": {"limit": limits::processes()},
        },
        "log_configuration": {"driver": "none"},
        "oom_score_adj": 1000,
        "no_new_privileges": true,
        "seccomp_profile_path": "unconfined",
    });
    if !member.shares_pid {
        document["pidns"] = json!({"nsmode": "private"});
    }
    document
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Where that fails, the keeper does it in the end.
        let _ = remove(&self.api, &self.id);
    }
}

/// Has a pod removed, with all its containers.
///
/// # Errors
/// Where the engine refuses.
pub(super) fn remove(api: &Api, pod: &str) -> Result<(), Refusal> {
    api.delete(&format!("{LIBPOD}/pods/{pod}?force=true"))
}

/// Ids and names of all pods with the label, and its value; none by an engine that knows no pods.
///
/// # Errors
/// Where the engine does not answer.
pub(super) fn all(api: &Api) -> io::Result<Vec<[String; 3]>> {
    let filters = json!({ "label": [LABEL] }).to_string();
    let all = api.get(&format!("{LIBPOD}/pods/json"), &[("filters", &filters)]);
    let all = match all {
        Err(Refusal::Said { status: 404, .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let each = all.as_array().into_iter().flatten().filter_map(|it| {
        let word = |value: &Value| value.as_str().map(str::to_owned);
        Some([
            word(&it["Id"])?,
            word(&it["Name"])?,
            word(&it["Labels"][LABEL])?,
        ])
    });
    Ok(each.collect())
}
