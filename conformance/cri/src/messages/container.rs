//! Containers of pods.

use std::collections::BTreeMap;

use super::{IdMapping, ImageSpec, Int64Value, LinuxContainerResources};
use super::{NamespaceOption, PodSandboxConfig, SecurityProfile};

/// A container, as a kubelet asks for it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerConfig {
    /// Its name.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<ImageSpec>,
    /// Instead of the image's entry point.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// Instead of the image's arguments.
    #[prost(string, repeated, tag = "4")]
    pub args: Vec<String>,
    /// Instead of the image's.
    #[prost(string, tag = "5")]
    pub working_dir: String,
    /// Its environment, beside the image's.
    #[prost(message, repeated, tag = "6")]
    pub envs: Vec<KeyValue>,
    /// What is mounted in it.
    #[prost(message, repeated, tag = "7")]
    pub mounts: Vec<Mount>,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "9")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "10")]
    pub annotations: BTreeMap<String, String>,
    /// The file for its output, in the pod's folder.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// Whether its input stays open.
    #[prost(bool, tag = "12")]
    pub stdin: bool,
    /// Whether it has a terminal.
    #[prost(bool, tag = "14")]
    pub tty: bool,
    /// What Linux has.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainerConfig>,
}

/// The name of a container in its pod.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerMetadata {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// How often it was made before.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// A variable of an environment.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeyValue {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What is mounted in a container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Mount {
    /// Where it is seen.
    #[prost(string, tag = "1")]
    pub container_path: String,
    /// What it is on the node.
    #[prost(string, tag = "2")]
    pub host_path: String,
    /// Whether it cannot be written.
    #[prost(bool, tag = "3")]
    pub readonly: bool,
    /// Whether it is labelled for the container.
    #[prost(bool, tag = "4")]
    pub selinux_relabel: bool,
    /// 0: none. 1: from the node. 2: both ways.
    #[prost(int32, tag = "5")]
    pub propagation: i32,
    /// How its user ids are mapped.
    #[prost(message, repeated, tag = "6")]
    pub uid_mappings: Vec<IdMapping>,
    /// How its group ids are mapped.
    #[prost(message, repeated, tag = "7")]
    pub gid_mappings: Vec<IdMapping>,
}

/// What Linux has of a container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxContainerConfig {
    /// Its limits.
    #[prost(message, optional, tag = "1")]
    pub resources: Option<LinuxContainerResources>,
    /// What confines it.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxContainerSecurityContext>,
}

/// What confines a container: the effect of a `securityContext`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxContainerSecurityContext {
    /// capabilities(7), beside the runtime's own.
    #[prost(message, optional, tag = "1")]
    pub capabilities: Option<Capability>,
    /// With all of them, and all devices.
    #[prost(bool, tag = "2")]
    pub privileged: bool,
    /// Its namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
    /// Its user; none: the image's.
    #[prost(message, optional, tag = "5")]
    pub run_as_user: Option<Int64Value>,
    /// Its user by name.
    #[prost(string, tag = "6")]
    pub run_as_username: String,
    /// Whether its root is read-only.
    #[prost(bool, tag = "7")]
    pub readonly_rootfs: bool,
    /// Its further groups.
    #[prost(int64, repeated, tag = "8")]
    pub supplemental_groups: Vec<i64>,
    /// Whether no program of it gains a privilege.
    #[prost(bool, tag = "11")]
    pub no_new_privs: bool,
    /// Its group.
    #[prost(message, optional, tag = "12")]
    pub run_as_group: Option<Int64Value>,
    /// Paths of /proc and /sys that it does not see.
    #[prost(string, repeated, tag = "13")]
    pub masked_paths: Vec<String>,
    /// Paths that it cannot write.
    #[prost(string, repeated, tag = "14")]
    pub readonly_paths: Vec<String>,
    /// Its filter of system calls.
    #[prost(message, optional, tag = "15")]
    pub seccomp: Option<SecurityProfile>,
    /// Its profile of AppArmor.
    #[prost(message, optional, tag = "16")]
    pub apparmor: Option<SecurityProfile>,
}

/// Names as in capabilities(7), without `CAP_`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Capability {
    /// More than the runtime's own.
    #[prost(string, repeated, tag = "1")]
    pub add_capabilities: Vec<String>,
    /// Less than those; `ALL` is known.
    #[prost(string, repeated, tag = "2")]
    pub drop_capabilities: Vec<String>,
    /// Kept across an exec.
    #[prost(string, repeated, tag = "3")]
    pub add_ambient_capabilities: Vec<String>,
}

/// Has a container made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreateContainerRequest {
    /// The sandbox that it joins.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// What it is to be.
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    /// What the sandbox was asked to be.
    #[prost(message, optional, tag = "3")]
    pub sandbox_config: Option<PodSandboxConfig>,
}

/// The id of a container: what `CreateContainer` answers, and what is asked of others.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerId {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// Has a container stopped.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StopContainerRequest {
    /// Its id.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Seconds from the stop signal until SIGKILL.
    #[prost(int64, tag = "2")]
    pub timeout: i64,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ContainerState {
    /// It was not started.
    Created = 0,
    /// It runs.
    Running = 1,
    /// It has ended.
    Exited = 2,
    /// The runtime has lost it.
    Unknown = 3,
}

/// A state to look for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ContainerStateValue {
    /// The state.
    #[prost(enumeration = "ContainerState", tag = "1")]
    pub state: i32,
}

/// Which containers are meant; all, where it says nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerFilter {
    /// This one.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Those in this state.
    #[prost(message, optional, tag = "2")]
    pub state: Option<ContainerStateValue>,
    /// Those of this sandbox.
    #[prost(string, tag = "3")]
    pub pod_sandbox_id: String,
    /// Those with all of these labels.
    #[prost(btree_map = "string, string", tag = "4")]
    pub label_selector: BTreeMap<String, String>,
}

/// Asks for containers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListContainersRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ContainerFilter>,
}

/// Containers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListContainersResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// A container of a list.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Container {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The sandbox that it is in.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// The image that was asked for.
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    /// The image that it has: a reference by digest, or an id.
    #[prost(string, tag = "5")]
    pub image_ref: String,
    /// Where it is in its life.
    #[prost(enumeration = "ContainerState", tag = "6")]
    pub state: i32,
    /// When it was made.
    #[prost(int64, tag = "7")]
    pub created_at: i64,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "8")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "9")]
    pub annotations: BTreeMap<String, String>,
    /// The image's id.
    #[prost(string, tag = "10")]
    pub image_id: String,
}

/// Asks after a container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatusRequest {
    /// Its id.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// With what is the runtime's own: its process's id.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// How a container is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatusResponse {
    /// What every runtime says.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
    /// Documents of JSON by name; `info` has `pid` and `sandboxID` in containerd and in CRI-O.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
}

/// How a container is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContainerStatus {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its name.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<ContainerMetadata>,
    /// Where it is in its life.
    #[prost(enumeration = "ContainerState", tag = "3")]
    pub state: i32,
    /// When it was made.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    /// When it was started; 0: it was not.
    #[prost(int64, tag = "5")]
    pub started_at: i64,
    /// When it ended; 0: it has not.
    #[prost(int64, tag = "6")]
    pub finished_at: i64,
    /// What a shell would say of its end.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// The image that was asked for.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
    /// The image that it has: a reference by digest, or an id.
    #[prost(string, tag = "9")]
    pub image_ref: String,
    /// Why it is so, as a word.
    #[prost(string, tag = "10")]
    pub reason: String,
    /// Why it is so, for people.
    #[prost(string, tag = "11")]
    pub message: String,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "12")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "13")]
    pub annotations: BTreeMap<String, String>,
    /// What is mounted in it.
    #[prost(message, repeated, tag = "14")]
    pub mounts: Vec<Mount>,
    /// The file with its output.
    #[prost(string, tag = "15")]
    pub log_path: String,
    /// The image's id.
    #[prost(string, tag = "17")]
    pub image_id: String,
}
