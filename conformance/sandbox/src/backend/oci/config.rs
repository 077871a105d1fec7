//! The configuration of a sandbox's container (OCI runtime specification, config.json): what
//! containerd writes for a pod sandbox, with what a check asks for in its place.

use std::io;

use oci_spec::runtime::Spec as Config;
use serde_json::{Value, json};

use crate::backend::embedded::ids::{RANGE, RANGE_BASE};
use crate::backend::{Launch, Root, Spec, stage};

use crate::shortage::needs;

/// What containerd lets a container do by default (containerd, pkg/oci/spec.go).
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What a container does not see of /proc and /sys, and what it may not write there (the same).
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Where a container is put.
pub(super) struct Place<'a> {
    /// Its root, as the container runtime sees it.
    pub(super) root: String,
    pub(super) cgroup: String,
    /// The pid namespace that it joins, where it has none of its own.
    pub(super) node: Option<String>,
    /// The process whose network, IPC and UTS namespaces it joins, as a container of its pod.
    pub(super) pause: Option<i32>,
    /// Bytes and processes that it may have.
    pub(super) limits: (u64, u64),
    pub(super) launch: &'a Launch<'a>,
    pub(super) user: (u32, u32),
    /// The environment must have a PATH.
    pub(super) needs_path: bool,
}

/// The text of config.json.
pub(super) fn text(place: &Place<'_>, spec: &Spec) -> io::Result<Vec<u8>> {
    // By the specification's own types: a wrong name or kind of value shows here.
    let config: Config = serde_json::from_value(value(place, spec))?;
    Ok(serde_json::to_vec(&config)?)
}

fn value(place: &Place<'_>, spec: &Spec) -> Value {
    let program = place.launch.program;
    let mut args = program.argv.clone();
    if let Some(command) = &spec.command {
        args.clone_from(command);
    }
    if let Some(arguments) = &spec.arguments {
        args.truncate(1);
        args.extend(arguments.iter().cloned());
    }
    let env = spec.env.as_ref().unwrap_or(&program.env);
    let (uid, gid) = place.user;
    let descriptors = needs::program_descriptors();
    let soft = descriptors.current.unwrap_or(u64::MAX);
    let hard = descriptors.maximum.unwrap_or(u64::MAX);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": uid, "gid": gid},
            "args": args,
            "env": environment(env, place.needs_path),
            "cwd": program.working_dir,
            "capabilities": capabilities(uid, spec),
            "noNewPrivileges": true,
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                // The suite has raised its own.
                {"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard},
            ],
            // The OOM killer is to choose a sandbox before the suite.
            "oomScoreAdj": 1000,
        },
        "root": {"path": place.root, "readonly": spec.root == Root::ReadOnly},
        "mounts": mounts(),
        "linux": linux(place, spec),
    });
    // A container of a pod has the pod's.
    if place.pause.is_none() {
        config["hostname"] = "pause-conformance".into();
    }
    config
}

/// An environment, with a PATH where it must have one.
fn environment(of_it: &[String], needs_path: bool) -> Vec<String> {
    let has_path = of_it.iter().any(|entry| entry.starts_with("PATH="));
    let path = (needs_path && !has_path).then(|| stage::PATH.to_owned());
    of_it.iter().cloned().chain(path).collect()
}

/// A program of another user than root has them in the bounding set alone (execve(2)).
fn capabilities(uid: u32, spec: &Spec) -> Value {
    let none: [&str; 0] = [];
    let bounding = if spec.bounding_set {
        &CAPABILITIES[..]
    } else {
        &none
    };
    let effective = if uid == 0 { bounding } else { &none };
    json!({
        "bounding": bounding,
        "effective": effective,
        "permitted": effective,
    })
}

fn mounts() -> Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ])
}

fn linux(place: &Place<'_>, spec: &Spec) -> Value {
    let of_pod = |kind: &str, file: &str| match place.pause {
        Some(pause) => json!({"type": kind, "path": format!("/proc/{pause}/ns/{file}")}),
        None => json!({"type": kind}),
    };
    let mut namespaces = vec![
        json!({"type": "mount"}),
        of_pod("ipc", "ipc"),
        of_pod("uts", "uts"),
    ];
    namespaces.push(match &place.node {
        Some(path) => json!({"type": "pid", "path": path}),
        None => json!({"type": "pid"}),
    });
    // Else that of the suite's children, which is empty.
    if spec.own_network {
        namespaces.push(of_pod("network", "net"));
    }
    let mut linux = json!({
        "cgroupsPath": place.cgroup,
        "resources": {
            "devices": [{"allow": false, "access": "rwm"}],
            "cpu": {"shares": 2},
            "memory": {"limit": place.limits.0},
            "pids": {"limit": place.limits.1},
        },
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
    });
    if spec.id_range {
        namespaces.push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": RANGE_BASE, "size": RANGE}]);
        linux["uidMappings"] = map.clone();
        linux["gidMappings"] = map;
    }
    linux["namespaces"] = Value::Array(namespaces);
    linux
}

#[cfg(test)]
mod tests {
    use pause_image::{Platform, Subject};

    use super::*;

    fn config(spec: &Spec, user: (u32, u32), node: Option<&str>, pause: Option<i32>) -> Value {
        let content = crate::programs::REFERENCE.into();
        let subject = Subject::of_program("pause", content, Platform::host());
        let launch = Launch {
            rootfs: &subject.rootfs,
            program: subject.program.as_ref().expect("a program"),
        };
        let place = Place {
            root: "/root".to_owned(),
            cgroup: "/run/0".to_owned(),
            node: node.map(str::to_owned),
            pause,
            limits: (1 << 20, 9),
            launch: &launch,
            user,
            needs_path: false,
        };
        let text = text(&place, spec).expect("of the specification's types");
        serde_json::from_slice(&text).expect("JSON")
    }

    #[test]
    fn an_environment_is_given_a_path_where_it_must_have_one() {
        let own = |words: &[&str]| words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(environment(&own(&["A=PATH="]), false), ["A=PATH="]);
        assert_eq!(environment(&own(&["A=1"]), true), ["A=1", stage::PATH]);
        assert_eq!(environment(&own(&["PATH=/x"]), true), ["PATH=/x"]);
    }

    fn kinds(config: &Value) -> Vec<&str> {
        let namespaces = config["linux"]["namespaces"].as_array().expect("a list");
        let kinds = namespaces.iter().map(|it| it["type"].as_str());
        kinds.flatten().collect()
    }

    #[test]
    fn a_usual_sandbox_is_confined_as_by_containerd() {
        let config = config(&Spec::default(), (65535, 65535), None, None);
        assert_eq!(config["process"]["noNewPrivileges"], true);
        assert_eq!(config["process"]["user"]["uid"], 65535);
        assert_eq!(config["root"]["readonly"], true);
        let capabilities = &config["process"]["capabilities"];
        assert_eq!(capabilities["bounding"].as_array().map(Vec::len), Some(14));
        assert_eq!(capabilities["effective"].as_array().map(Vec::len), Some(0));
        assert_eq!(kinds(&config), ["mount", "ipc", "uts", "pid", "network"]);
        assert_eq!(config["linux"]["resources"]["pids"]["limit"], 9);
        assert_eq!(config["linux"]["cgroupsPath"], "/run/0");
    }

    #[test]
    fn what_a_check_asks_for_stands_in_the_configuration() {
        let spec = Spec {
            arguments: Some(vec!["-v".to_owned()]),
            bounding_set: false,
            own_network: false,
            id_range: true,
            root: Root::Writable,
            ..Spec::default()
        };
        let config = config(&spec, (0, 0), Some("/proc/7/fd/3"), None);
        let args = config["process"]["args"].as_array().expect("a list");
        assert_eq!(args.last().expect("one"), "-v");
        let capabilities = &config["process"]["capabilities"];
        assert_eq!(capabilities["bounding"].as_array().map(Vec::len), Some(0));
        assert_eq!(config["root"]["readonly"], false);
        assert_eq!(kinds(&config), ["mount", "ipc", "uts", "pid", "user"]);
        let pid = &config["linux"]["namespaces"][3];
        assert_eq!(pid["path"], "/proc/7/fd/3");
        assert_eq!(config["linux"]["uidMappings"][0]["size"], 65536);
    }
    #[test]
    fn a_container_of_a_pod_joins_the_namespaces_of_its_pause() {
        let spec = Spec {
            command: Some(vec!["/other".to_owned()]),
            ..Spec::default()
        };
        let config = config(&spec, (0, 0), Some("/proc/9/ns/pid"), Some(9));
        let namespaces = config["linux"]["namespaces"].as_array().expect("a list");
        let paths = namespaces.iter().filter_map(|it| it["path"].as_str());
        assert_eq!(
            paths.collect::<Vec<_>>(),
            [
                "/proc/9/ns/ipc",
                "/proc/9/ns/uts",
                "/proc/9/ns/pid",
                "/proc/9/ns/net"
            ]
        );
        assert_eq!(config["hostname"], Value::Null);
        assert_eq!(config["process"]["args"], json!(["/other"]));
    }
}
