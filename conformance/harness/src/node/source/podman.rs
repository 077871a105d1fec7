//! Podman: its pods, by libpod's API, where its service listens.

use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::http::{Engine, is_plain, list, pid, text, told};
use super::{Kind, Source, Told, ToldMember, ToldPause, ToldPod};
use crate::node::proc::Snapshot;

/// The service of root.
const SOCKET: &str = "/run/podman/podman.sock";
/// The version of the API that is asked for: all services since 2022 answer it.
const API: &str = "/v4.0.0/libpod";

/// Podman's service.
#[derive(Debug)]
pub struct Podman {
    engine: Engine,
}

impl Podman {
    /// The one of `CONTAINER_HOST`, else the user's own, else root's, where there is a socket.
    pub fn find() -> Option<Self> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(host) = set("CONTAINER_HOST") {
            return host
                .strip_prefix("unix://")
                .map(|path| Self::at(Path::new(path)));
        }
        let own = set("XDG_RUNTIME_DIR").map(|it| Path::new(&it).join("podman/podman.sock"));
        let all = own.into_iter().chain([PathBuf::from(SOCKET)]);
        let mut there = all.filter(|path| path.exists());
        there.next().map(|path| Self::at(&path))
    }

    /// The one at this socket.
    pub fn at(socket: &Path) -> Self {
        Self {
            engine: Engine::at(socket),
        }
    }

    fn pod(&self, row: &Value) -> Result<Option<ToldPod>, String> {
        let Some(id) = text(&row["Id"]).filter(|id| is_plain(id)) else {
            return Ok(None);
        };
        let Some(pod) = self.engine.get(&format!("{API}/pods/{id}/json"))? else {
            return Ok(None);
        };
        let infra = text(&pod["InfraContainerID"]).filter(|id| is_plain(id));
        let shares = shared(&pod["SharedNamespaces"]);
        let mut members = Vec::new();
        for container in list(&pod["Containers"]) {
            let Some(id) = text(&container["Id"]).filter(|id| is_plain(id)) else {
                continue;
            };
            if infra.as_ref() == Some(&id) {
                continue;
            }
            let found = self.engine.get(&format!("{API}/containers/{id}/json"))?;
            members.extend(found.map(|found| ToldMember {
                id,
                name: text(&found["Name"]).unwrap_or_default(),
                pid: pid(&found["State"]["Pid"]),
                shares: Some(joined(&shares, &found["HostConfig"])),
            }));
        }
        let mut told = ToldPod {
            id: infra.clone().unwrap_or_else(|| id.clone()),
            group: Some(id),
            name: text(&pod["Name"]).unwrap_or_default(),
            members,
            ..ToldPod::default()
        };
        match infra {
            None => told.pause = ToldPause::Without("made with --infra=false".to_owned()),
            Some(infra) => self.infra(&infra, &mut told)?,
        }
        // Nothing of it runs: it was stopped, as pods are.
        told.runs = matches!(told.pause, ToldPause::Runs { .. })
            || told.members.iter().any(|it| it.pid.is_some());
        Ok(told.runs.then_some(told))
    }

    /// What is known of the pause.
    fn infra(&self, id: &str, told: &mut ToldPod) -> Result<(), String> {
        let found = self.engine.get(&format!("{API}/containers/{id}/json"))?;
        let found = found.unwrap_or_default();
        if let (Some(pid), Some(true)) = (
            pid(&found["State"]["Pid"]),
            found["State"]["Running"].as_bool(),
        ) {
            let container = Some(id.to_owned());
            told.pause = ToldPause::Runs {
                pid: Some(pid),
                container,
            };
        }
        told.image = text(&found["ImageName"]);
        if let Some(image) = text(&found["Image"]).filter(|id| is_plain(id)) {
            let there = self.engine.get(&format!("{API}/images/{image}/json"))?;
            told.image_kept = Some(there.is_some_and(|it| list(&it["RepoTags"]).next().is_some()));
        }
        Ok(())
    }
}

/// Of the namespaces that a pod shares those that a container joins: it may be made with one of its
/// own, or the node's (`--ipc=private`, `--network=host`).
fn joined(shares: &[Kind], host: &Value) -> Vec<Kind> {
    let leaves = |kind: &&Kind| {
        let mode = match kind {
            Kind::Net => "NetworkMode",
            Kind::Ipc => "IpcMode",
            Kind::Uts => "UTSMode",
            Kind::Pid => "PidMode",
        };
        let mode = host[mode].as_str().unwrap_or_default();
        !mode.is_empty() && !mode.starts_with("container:")
    };
    shares
        .iter()
        .filter(|kind| !leaves(kind))
        .copied()
        .collect()
}

/// The namespaces that a pod's containers share, of those that are known here.
fn shared(names: &Value) -> Vec<Kind> {
    let names: Vec<&str> = list(names).filter_map(Value::as_str).collect();
    let kinds = Kind::ALL.into_iter();
    kinds
        .filter(|kind| names.contains(&kind.as_str()))
        .collect()
}

impl Source for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn place(&self) -> PathBuf {
        self.engine.socket.clone()
    }

    fn ask(&self, _snapshot: &Snapshot) -> Result<Told, String> {
        let version = self.engine.must("/version")?;
        let listed = self.engine.must(&format!("{API}/pods/json"))?;
        told("podman", &version, list(&listed).map(|row| self.pod(row)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Kind, joined, shared};

    #[test]
    fn shared_namespaces_are_read_in_any_order() {
        let names = json!(["uts", "ipc", "net", "cgroup", 7]);
        assert_eq!(shared(&names), [Kind::Net, Kind::Ipc, Kind::Uts]);
        assert_eq!(shared(&json!(null)), []);
    }

    #[test]
    fn a_member_may_have_namespaces_of_its_own() {
        let all = [Kind::Net, Kind::Ipc, Kind::Uts];
        let modes = json!({"NetworkMode": "container:ab", "IpcMode": "private", "UTSMode": ""});
        assert_eq!(joined(&all, &modes), [Kind::Net, Kind::Uts]);
        assert_eq!(joined(&all, &json!(null)), all);
    }
}
