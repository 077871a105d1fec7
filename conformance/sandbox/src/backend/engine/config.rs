//! What an engine is asked to make: its own defaults, with what a check asks for, and within limits
//! that a broken program must not pass.

use serde_json::{Value, json};

use super::api::LABEL;
use crate::backend::embedded::{cgroup, limits};
use crate::backend::member;
use crate::backend::{Launch, Member, Root, Spec, Stream};

/// Variables that engines set where nobody does.
const SET: [&str; 2] = ["PATH", "HOSTNAME"];

/// Where a container is put.
pub(super) struct Place<'a> {
    /// The id of its image.
    pub(super) image: &'a str,
    /// The name of the run.
    pub(super) run: &'a str,
    /// The container whose pid namespace it joins, where it has none of its own.
    pub(super) node: Option<&'a str>,
    /// A program that crashes leaves no core file.
    pub(super) limits_core: bool,
    /// The cgroup below which its own is to be, where not the engine's.
    pub(super) cgroup: Option<&'a str>,
}

/// Bytes and processes that it may have.
pub(super) fn limits(spec: &Spec) -> (u64, u64) {
    (
        spec.memory_limit.unwrap_or(cgroup::MEMORY),
        spec.pids_limit.map_or_else(limits::processes, u64::from),
    )
}

/// The document of `POST /containers/create`.
pub(super) fn document(place: &Place<'_>, launch: &Launch<'_>, spec: &Spec) -> Value {
    let (memory, processes) = limits(spec);
    let mut document = json!({
        "Image": place.image,
        "Labels": {LABEL: place.run},
        "AttachStdout": true,
        "AttachStderr": true,
        // An engine holds the other end.
        "OpenStdin": spec.stdin == Stream::Captured,
        "HostConfig": {
            // As a network plugin finds it: the members of a pod share it.
            "NetworkMode": "none",
            "IpcMode": if spec.joined { "shareable" } else { "private" },
            "ReadonlyRootfs": spec.root == Root::ReadOnly,
            "Memory": memory,
            "MemorySwap": memory,
            "PidsLimit": processes,
            "LogConfig": {"Type": "none"},
            // The OOM killer is to choose a sandbox before the suite.
            "OomScoreAdj": 1000,
            // The pause process itself is to be process 1.
            "Init": false,
            // As pods have it where nobody asks for a profile.
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
            "CapDrop": if spec.bounding_set { json!([]) } else { json!(["ALL"]) },
        },
    });
    if place.limits_core {
        document["HostConfig"]["Ulimits"] = json!([{"Name": "core", "Soft": 0, "Hard": 0}]);
    }
    if let Some(cgroup) = place.cgroup {
        document["HostConfig"]["CgroupParent"] = cgroup.into();
    }
    if let Some(node) = place.node {
        document["HostConfig"]["PidMode"] = format!("container:{node}").into();
    }
    if let Some(arguments) = &spec.arguments {
        document["Entrypoint"] = json!(&launch.program.argv[..1]);
        document["Cmd"] = json!(arguments);
    }
    if let Some(command) = &spec.command {
        document["Entrypoint"] = json!(command);
        document["Cmd"] = json!([]);
    }
    if let Some((uid, gid)) = spec.user {
        document["User"] = format!("{uid}:{gid}").into();
    }
    if let Some(env) = &spec.env {
        document["Env"] = json!(only(env, &launch.program.env));
    }
    document
}

/// The document for a container of the pod whose pause container has this id; `image` is the
/// suite's own.
pub(super) fn member(place: &Place<'_>, program: &str, pause: &str, member: &Member) -> Value {
    let joined = format!("container:{pause}");
    let mut entrypoint = vec![program.to_owned()];
    entrypoint.extend(member::arguments(member));
    let mut document = json!({
        "Image": place.image,
        "Labels": {LABEL: place.run},
        "Entrypoint": entrypoint,
        "HostConfig": {
            "NetworkMode": joined,
            "IpcMode": joined,
            "PidMode": if member.shares_pid { &*joined } else { "" },
            "ReadonlyRootfs": true,
            "Memory": cgroup::MEMORY,
            "MemorySwap": cgroup::MEMORY,
            "PidsLimit": limits::processes(),
            "LogConfig": {"Type": "none"},
            "OomScoreAdj": 1000,
            "Init": false,
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        },
    });
    if let Some(cgroup) = place.cgroup {
        document["HostConfig"]["CgroupParent"] = cgroup.into();
    }
    document
}

/// An environment for a program whose image has another: a name alone takes a variable out.
fn only(wanted: &[String], images: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let wanted_names: Vec<String> = wanted.iter().map(|it| name(it)).collect();
    let set = SET.iter().map(|name| (*name).to_owned());
    let others = images.iter().map(|it| name(it)).chain(set);
    let out = others.filter(|other| !wanted_names.contains(other));
    wanted.iter().cloned().chain(out).collect()
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn an_environment_takes_out_what_it_does_not_set() {
        let [wanted, images] = [["A=1", "PATH=/b"], ["B=2", "A=3"]].map(|it| it.map(str::to_owned));
        assert_eq!(only(&wanted, &images), ["A=1", "PATH=/b", "B", "HOSTNAME"]);
        assert_eq!(only(&[], &images), ["B", "A", "PATH", "HOSTNAME"]);
    }
}
