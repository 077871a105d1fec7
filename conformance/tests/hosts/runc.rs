//! Containers of `runc` alone, configured as docker, podman or a CRI runtime would do it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::rows::{Of, Row, Set};
use super::{Ended, command, open};

/// The default capabilities of containers (docker run(1), "Runtime privilege"; podman has fewer,
/// but the suite does not use the others).
const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The further capabilities of privileged containers that the suite uses.
const PRIVILEGED: [&str; 4] = ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "DAC_READ_SEARCH"];

/// The masked and the read-only parts of /proc.
pub(crate) const MASKED: [&str; 6] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];
pub(crate) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The calls that docker's profile refuses to a process without `CAP_SYS_ADMIN`, as far as making a
/// sandbox uses them.
const OF_ADMINS: [&str; 13] = [
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "setdomainname",
    "sethostname",
    "setns",
    "umount2",
    "unshare",
];
/// The calls that it refuses to all.
const OF_NOBODY: [&str; 4] = ["pivot_root", "add_key", "keyctl", "request_key"];
/// The flags of clone(2) that make namespaces.
const NAMESPACES: [u64; 7] = [
    0x2000_0000,
    0x0002_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x4000_0000,
    0x0200_0000,
];

/// The file with podman's own profile.
const PODMANS: &str = "/usr/share/containers/seccomp.json";

/// A folder for one container.
pub(crate) struct Runc {
    folder: tempfile::TempDir,
    suite: PathBuf,
}

impl Runc {
    pub(crate) fn new(suite: &Path) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            suite: suite.to_owned(),
        }
    }

    pub(crate) fn run(&self, row: &Row) -> Ended {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pause-hosts-{}-{number}", std::process::id());
        let bundle = self.folder.path().join("bundle");
        // Root of a user namespace may make no cgroups there.
        for place in ["proc", "dev", "sys", "tmp", "suite", "usr", "lib", "lib64"] {
            std::fs::create_dir_all(bundle.join("rootfs").join(place)).expect("a folder");
        }
        open(self.folder.path());
        let config = self.config(row, &name).to_string();
        std::fs::write(bundle.join("config.json"), config).expect("written");
        let runc = || {
            let mut runc = Command::new("runc");
            runc.arg("--root").arg(self.folder.path().join("state"));
            runc.stdin(Stdio::null());
            runc
        };
        let output = runc()
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(&name)
            .output()
            .expect("runc is installed");
        // runc has removed the container already, unless something went wrong.
        let _ = runc().args(["delete", "--force", &name]).output();
        Ended {
            status: output.status.code(),
            said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        }
    }

    fn config(&self, row: &Row, name: &str) -> Value {
        let has = |set: Set| row.sets.contains(&set);
        let user = row.sets.iter().find_map(|set| match set {
            Set::User(user) => Some(*user),
            _ => None,
        });
        let user = user.unwrap_or(0);
        let capabilities = capabilities(row.sets);
        // Users have capabilities in the bounding set only, as after execve(2).
        let own = if user == 0 { &capabilities[..] } else { &[] };
        let mut namespaces = vec!["mount", "network", "uts", "ipc"];
        if !has(Set::HostPid) {
            namespaces.push("pid");
        }
        let mut linux =
            json!({ "cgroupsPath": format!("/{name}"), "resources": resources(row.sets) });
        if has(Set::OwnUsers) || row.of == Of::Rootless {
            namespaces.push("user");
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            linux["uidMappings"] = map.clone();
            linux["gidMappings"] = map;
        }
        let namespaces = namespaces.iter().map(|kind| json!({ "type": kind }));
        linux["namespaces"] = namespaces.collect();
        if !has(Set::Unmasked) && !has(Set::Privileged) {
            linux["maskedPaths"] = json!(MASKED);
            linux["readonlyPaths"] = json!(READ_ONLY);
        }
        if !has(Set::Unconfined) && !has(Set::Privileged) {
            linux["seccomp"] = match row.of {
                Of::Podman | Of::Rootless => podmans(&capabilities),
                Of::Docker | Of::Kubernetes => dockers(&capabilities),
            };
        }
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": user, "gid": user },
                "args": command(row),
                "env": ["PATH=/usr/bin:/bin", "NO_COLOR=1"],
                "cwd": "/",
                "capabilities": { "bounding": capabilities, "permitted": own, "effective": own },
                "noNewPrivileges": has(Set::NoNewPrivileges),
            },
            "root": { "path": "rootfs", "readonly": has(Set::ReadOnly) },
            "hostname": "host",
            "mounts": self.mounts(),
            "linux": linux,
        })
    }

    /// The usual mounts, the host's libraries, and the suite.
    fn mounts(&self) -> Value {
        let usual = |place: &str, kind: &str, options: &[&str]| json!({ "destination": place, "type": kind, "source": kind, "options": options });
        let bound = |place: &str, source: &str| {
            let options = ["rbind", "ro", "nosuid", "nodev"];
            json!({ "destination": place, "type": "bind", "source": source, "options": options })
        };
        let mut mounts = vec![
            usual("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            usual("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            usual("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            // The suite reads its limits there.
            usual(
                "/sys/fs/cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "ro"],
            ),
            usual("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
            bound("/suite", &self.suite.display().to_string()),
        ];
        let libraries = ["/usr", "/lib", "/lib64"];
        let there = libraries.iter().filter(|folder| Path::new(folder).exists());
        mounts.extend(there.map(|folder| bound(folder, folder)));
        mounts.into()
    }
}

fn capabilities(sets: &[Set]) -> Vec<String> {
    let mut all: Vec<&str> = CAPABILITIES.to_vec();
    if sets.contains(&Set::Drop("ALL")) {
        all.clear();
    }
    if sets.contains(&Set::Privileged) {
        all.extend(PRIVILEGED);
    }
    for set in sets {
        match set {
            Set::Drop(name) => all.retain(|other| other != name),
            Set::Add(name) => all.push(name),
            _ => {}
        }
    }
    all.iter().map(|name| format!("CAP_{name}")).collect()
}

fn resources(sets: &[Set]) -> Value {
    let mut resources = json!({});
    for set in sets {
        match set {
            Set::Memory(mebibytes) => {
                resources["memory"] = json!({ "limit": u64::from(*mebibytes) << 20 });
            }
            Set::Processes(most) => resources["pids"] = json!({ "limit": most }),
            _ => {}
        }
    }
    resources
}

/// Docker's default profile (moby profiles/seccomp), as far as it concerns sandboxes.
fn dockers(capabilities: &[String]) -> Value {
    let refuse =
        |names: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1 });
    let mut rules = vec![refuse(json!(OF_NOBODY))];
    if !capabilities.iter().any(|name| name == "CAP_SYS_ADMIN") {
        rules.push(refuse(json!(OF_ADMINS)));
        rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
        for bit in NAMESPACES {
            let mut rule = refuse(json!(["clone"]));
            let masked = "SCMP_CMP_MASKED_EQ";
            rule["args"] = json!([{ "index": 0, "value": bit, "valueTwo": bit, "op": masked }]);
            rules.push(rule);
        }
    }
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

/// The rules of podman's profile for these capabilities and this architecture.
fn podmans(capabilities: &[String]) -> Value {
    let text = std::fs::read_to_string(PODMANS).expect("podman is installed");
    let profile: Value = serde_json::from_str(&text).expect("JSON");
    let architecture = conformance::subject::Platform::host().architecture;
    let names = |value: &Value| -> Vec<String> {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let is_for_this = |rule: &&Value| {
        let (with, without) = (&rule["includes"], &rule["excludes"]);
        let processors = names(&with["arches"]);
        (processors.is_empty() || processors.contains(&architecture))
            && names(&with["caps"])
                .iter()
                .all(|name| capabilities.contains(name))
            && !names(&without["caps"])
                .iter()
                .any(|name| capabilities.contains(name))
    };
    let rules = profile["syscalls"].as_array().expect("rules");
    let kept = rules.iter().filter(is_for_this).map(|rule| {
        let mut kept = json!({ "names": rule["names"], "action": rule["action"] });
        for field in ["args", "errnoRet"] {
            if !rule[field].is_null() && rule[field] != json!([]) {
                kept[field] = rule[field].clone();
            }
        }
        kept
    });
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "syscalls": kept.collect::<Vec<_>>(),
    })
}
