//! Docker: sandboxes of cri-dockerd by their labels, and pods made by hand: a container whose
//! namespaces others join, or one of an image named pause.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::http::{Engine, is_plain, list, pid, text, told};
use super::{Kind, Source, Told, ToldMember, ToldPause, ToldPod};
use crate::node::proc::Snapshot;

/// Where the daemon listens by default.
const SOCKET: &str = "/var/run/docker.sock";

/// How far joins are followed: docker makes no circle, a daemon that lies may.
const MOST_JOINED: usize = 16;

/// Docker's daemon.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
}

impl Docker {
    /// The one of `DOCKER_HOST`, else the default one, where there is a socket.
    pub fn find() -> Option<Self> {
        let host = env::var("DOCKER_HOST").ok().filter(|it| !it.is_empty());
        let path = match &host {
            Some(host) => PathBuf::from(host.strip_prefix("unix://")?),
            None => PathBuf::from(SOCKET),
        };
        // One that the user names is to answer, or it is said that it does not.
        (host.is_some() || path.exists()).then(|| Self::at(&path))
    }

    /// The one at this socket.
    pub fn at(socket: &Path) -> Self {
        Self {
            engine: Engine::at(socket),
        }
    }
}

impl Source for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn place(&self) -> PathBuf {
        self.engine.socket.clone()
    }

    fn ask(&self, _snapshot: &Snapshot) -> Result<Told, String> {
        let version = self.engine.must("/version")?;
        let listed = self.engine.must("/containers/json?all=true")?;
        let all: Vec<Container> = list(&listed).filter_map(Container::of).collect();
        let joined: BTreeSet<&str> = all.iter().filter_map(|it| it.joins.as_deref()).collect();
        let mut kept = BTreeMap::new();
        let sandboxes = all.iter().filter(|it| it.is_sandbox(&joined));
        let pods = sandboxes.map(|sandbox| self.pod(sandbox, &all, &mut kept));
        told("docker", &version, pods)
    }
}

impl Docker {
    fn pod(
        &self,
        sandbox: &Container,
        all: &[Container],
        kept: &mut BTreeMap<String, bool>,
    ) -> Result<Option<ToldPod>, String> {
        let Some(found) = self
            .engine
            .get(&format!("/containers/{}/json", sandbox.id))?
        else {
            return Ok(None);
        };
        // Others join any container: a proxy, or what one looks into. Only a pause makes it a pod.
        if !sandbox.is_named_so() && !runs_pause(&found) {
            return Ok(None);
        }
        let mut members = Vec::new();
        for container in all.iter().filter(|it| it.is_member_of(sandbox, all)) {
            members.extend(self.member(container, sandbox, all)?);
        }
        let runs = found["State"]["Running"].as_bool() == Some(true);
        let pause = match pid(&found["State"]["Pid"]) {
            Some(pid) if runs => ToldPause::Runs {
                pid: Some(pid),
                container: Some(sandbox.id.clone()),
            },
            _ => ToldPause::Ended,
        };
        // Without a member that runs, a sandbox that ended was stopped, as pods are.
        if !runs && members.iter().all(|member| member.pid.is_none()) {
            return Ok(None);
        }
        let digest = text(&found["Image"]).unwrap_or_default();
        let is_kept = if let Some(is_kept) = kept.get(&digest) {
            *is_kept
        } else {
            let id = digest.strip_prefix("sha256:").unwrap_or_default();
            let there = is_plain(id) && self.is_named(id)?;
            kept.insert(digest.clone(), there);
            there
        };
        Ok(Some(ToldPod {
            id: sandbox.id.clone(),
            group: None,
            uid: sandbox.label("io.kubernetes.pod.uid"),
            namespace: sandbox.label("io.kubernetes.pod.namespace"),
            name: sandbox.pod_name(),
            image: text(&found["Config"]["Image"]).or(Some(digest)),
            image_kept: Some(is_kept),
            runs: true,
            pause,
            members,
            kubernetes: sandbox.label("io.kubernetes.pod.uid").is_some(),
            rivals: Vec::new(),
        }))
    }

    /// Whether an image is there and has a name: one without is dangling, and is pruned.
    fn is_named(&self, id: &str) -> Result<bool, String> {
        let image = self.engine.get(&format!("/images/{id}/json"))?;
        let named = |image: &Value| {
            ["RepoTags", "RepoDigests"]
                .iter()
                .any(|key| list(&image[*key]).next().is_some())
        };
        Ok(image.as_ref().is_some_and(named))
    }

    fn member(
        &self,
        container: &Container,
        sandbox: &Container,
        all: &[Container],
    ) -> Result<Option<ToldMember>, String> {
        let Some(found) = self
            .engine
            .get(&format!("/containers/{}/json", container.id))?
        else {
            return Ok(None);
        };
        let host = &found["HostConfig"];
        let joins = |mode: &str| {
            let mode = host[mode].as_str().unwrap_or_default();
            let joined = mode.strip_prefix("container:");
            joined.is_some_and(|name| sandbox.is_called(name))
        };
        // Through another member it has the sandbox's network too.
        let has_network = || sandbox.is_joined_by(container, all);
        let modes = [
            (Kind::Net, "NetworkMode"),
            (Kind::Ipc, "IpcMode"),
            (Kind::Pid, "PidMode"),
        ];
        let mut shares: Vec<_> = modes
            .iter()
            .filter(|(kind, mode)| joins(mode) || (*kind == Kind::Net && has_network()))
            .map(|(kind, _)| *kind)
            .collect();
        // With another's network docker gives its host name, but no namespace.
        shares.sort();
        Ok(Some(ToldMember {
            id: container.id.clone(),
            name: container
                .label("io.kubernetes.container.name")
                .unwrap_or_else(|| container.name.clone()),
            pid: pid(&found["State"]["Pid"]),
            shares: Some(shares),
        }))
    }
}

/// A row of docker's list.
#[derive(Debug)]
struct Container {
    id: String,
    name: String,
    image: String,
    labels: Value,
    /// The container whose network it has.
    joins: Option<String>,
}

impl Container {
    fn of(row: &Value) -> Option<Self> {
        let id = text(&row["Id"]).filter(|id| is_plain(id))?;
        let name = list(&row["Names"]).find_map(text).unwrap_or_default();
        let mode = row["HostConfig"]["NetworkMode"]
            .as_str()
            .unwrap_or_default();
        Some(Self {
            name: name.trim_start_matches('/').to_owned(),
            image: text(&row["Image"]).unwrap_or_default(),
            labels: row["Labels"].clone(),
            joins: mode.strip_prefix("container:").map(str::to_owned),
            id,
        })
    }

    fn label(&self, name: &str) -> Option<String> {
        text(&self.labels[name])
    }

    fn is_sandbox(&self, joined: &BTreeSet<&str>) -> bool {
        match self.label("io.kubernetes.docker.type").as_deref() {
            Some(kind) => kind == "podsandbox",
            // One that joins another itself holds nothing.
            None if self.joins.is_some() => false,
            None => joined.iter().any(|name| self.is_called(name)) || names_pause(&self.image),
        }
    }

    /// Whether its label or its image says that it is a sandbox.
    fn is_named_so(&self) -> bool {
        self.label("io.kubernetes.docker.type").is_some() || names_pause(&self.image)
    }

    fn is_member_of(&self, sandbox: &Self, all: &[Self]) -> bool {
        match self.label("io.kubernetes.sandbox.id") {
            Some(id) => id == sandbox.id,
            None => sandbox.is_joined_by(self, all),
        }
    }

    /// Whether a container has its network, by joining it or one that does.
    fn is_joined_by(&self, container: &Self, all: &[Self]) -> bool {
        let joined = |it: &&Self| {
            let name = it.joins.as_ref()?;
            all.iter().find(|other| other.is_called(name))
        };
        let above = std::iter::successors(Some(container), joined);
        above.skip(1).take(MOST_JOINED).any(|it| it.id == self.id)
    }

    fn is_called(&self, name: &str) -> bool {
        !name.is_empty() && (self.id == name || self.name == name)
    }

    fn pod_name(&self) -> String {
        let label = self.label("io.kubernetes.pod.name");
        label.unwrap_or_else(|| self.name.clone())
    }
}

/// Whether a container starts a pause, by the program's name.
fn runs_pause(found: &Value) -> bool {
    let name = found["Path"].as_str().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    let mut arguments = list(&found["Args"]).filter_map(Value::as_str);
    name == "pause" || (name == "catatonit" && arguments.any(|word| word == "-P"))
}

/// Whether the last part of an image's name is pause, as in `registry.k8s.io/pause:3.10`.
pub(super) fn names_pause(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let last = name.rsplit('/').next().unwrap_or_default();
    let last = last.split(':').next().unwrap_or_default();
    last == "pause" || last.starts_with("pause-")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::{BTreeSet, Container, names_pause};

    #[rstest]
    #[case("registry.k8s.io/pause:3.10", true)]
    #[case("localhost:5000/pause@sha256:0000", true)]
    #[case("k8s.gcr.io/pause-amd64:3.1", true)]
    #[case("pause/nginx", false)]
    #[case("pausedemo:1", false)]
    #[case("", false)]
    fn an_image_is_named_pause(#[case] image: &str, #[case] is_pause: bool) {
        assert_eq!(names_pause(image), is_pause);
    }

    #[test]
    fn labels_tell_a_sandbox_and_its_members() {
        let row = |id: &str, labels| {
            let row = json!({"Id": id, "Names": ["/x"], "Image": "a", "Labels": labels});
            Container::of(&row).expect("it has an id")
        };
        let sandbox = row("a1", json!({"io.kubernetes.docker.type": "podsandbox"}));
        let member = row(
            "b2",
            json!({"io.kubernetes.docker.type": "container", "io.kubernetes.sandbox.id": "a1"}),
        );
        let none = BTreeSet::new();
        assert!(sandbox.is_sandbox(&none) && !member.is_sandbox(&none));
        let all = [&sandbox, &member].map(|it| Container {
            labels: it.labels.clone(),
            ..row(&it.id, json!({}))
        });
        assert!(member.is_member_of(&sandbox, &all) && !sandbox.is_member_of(&member, &all));
        // An id that would lead elsewhere in a path is no id.
        assert!(Container::of(&json!({"Id": "../images"})).is_none());
        assert!(Container::of(&json!({})).is_none());
    }
}
