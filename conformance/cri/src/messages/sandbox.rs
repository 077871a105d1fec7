//! Pod sandboxes.

use std::collections::BTreeMap;

use super::{ContainerStatus, Int64Value, LinuxContainerResources};
use super::{NamespaceOption, SecurityProfile};

/// A pod, as a kubelet asks for it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxConfig {
    /// Whose sandbox it is.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Of its UTS namespace.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// A folder for its containers' output.
    #[prost(string, tag = "3")]
    pub log_directory: String,
    /// What its resolver is told.
    #[prost(message, optional, tag = "4")]
    pub dns_config: Option<DnsConfig>,
    /// Its ports on the node.
    #[prost(message, repeated, tag = "5")]
    pub port_mappings: Vec<PortMapping>,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "6")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "7")]
    pub annotations: BTreeMap<String, String>,
    /// What Linux has.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandboxConfig>,
}

/// Whose sandbox it is: no two have the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxMetadata {
    /// The pod's.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The pod's.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The pod's, of Kubernetes.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// How many sandboxes it had before.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// What a resolver is told, as in resolv.conf(5).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DnsConfig {
    /// Addresses.
    #[prost(string, repeated, tag = "1")]
    pub servers: Vec<String>,
    /// Domains.
    #[prost(string, repeated, tag = "2")]
    pub searches: Vec<String>,
    /// Options.
    #[prost(string, repeated, tag = "3")]
    pub options: Vec<String>,
}

/// A port of a pod's on the node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PortMapping {
    /// 0: TCP. 1: UDP. 2: SCTP.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// In the pod.
    #[prost(int32, tag = "2")]
    pub container_port: i32,
    /// On the node.
    #[prost(int32, tag = "3")]
    pub host_port: i32,
    /// The node's address; empty: all of them.
    #[prost(string, tag = "4")]
    pub host_ip: String,
}

/// What Linux has of a pod.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxPodSandboxConfig {
    /// The cgroup that its cgroups are made in; of systemd's driver the name of a slice.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// What confines the pause process.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxSandboxSecurityContext>,
    /// sysctl(8), of its namespaces.
    #[prost(btree_map = "string, string", tag = "3")]
    pub sysctls: BTreeMap<String, String>,
    /// What the sandbox itself takes.
    #[prost(message, optional, tag = "4")]
    pub overhead: Option<LinuxContainerResources>,
    /// What its containers take together.
    #[prost(message, optional, tag = "5")]
    pub resources: Option<LinuxContainerResources>,
}

/// What confines the pause process.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxSandboxSecurityContext {
    /// Its namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespace_options: Option<NamespaceOption>,
    /// Its user; none: the image's.
    #[prost(message, optional, tag = "3")]
    pub run_as_user: Option<Int64Value>,
    /// Its group.
    #[prost(message, optional, tag = "8")]
    pub run_as_group: Option<Int64Value>,
    /// Whether its root is read-only.
    #[prost(bool, tag = "4")]
    pub readonly_rootfs: bool,
    /// Its further groups.
    #[prost(int64, repeated, tag = "5")]
    pub supplemental_groups: Vec<i64>,
    /// Whether the pod's containers may be privileged.
    #[prost(bool, tag = "6")]
    pub privileged: bool,
    /// Its filter of system calls.
    #[prost(message, optional, tag = "9")]
    pub seccomp: Option<SecurityProfile>,
    /// Its profile of AppArmor.
    #[prost(message, optional, tag = "10")]
    pub apparmor: Option<SecurityProfile>,
}

/// Has a sandbox made and its pause process started.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RunPodSandboxRequest {
    /// What it is to be.
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodSandboxConfig>,
    /// What makes it; empty: the default.
    #[prost(string, tag = "2")]
    pub runtime_handler: String,
}

/// The id of a sandbox: what `RunPodSandbox` answers, and what is asked of those that end one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxId {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// An answer without words.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Empty {}

/// Asks after a sandbox.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxStatusRequest {
    /// Its id.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// With what is the runtime's own: the pause process's id, the image, its specification.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// How a sandbox is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxStatusResponse {
    /// What every runtime says.
    #[prost(message, optional, tag = "1")]
    pub status: Option<PodSandboxStatus>,
    /// Documents of JSON by name; `info` has `pid`, `image`, `config` and `runtimeSpec` in
    /// containerd and in CRI-O.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
    /// Its containers, where a runtime sends events.
    #[prost(message, repeated, tag = "3")]
    pub containers_statuses: Vec<ContainerStatus>,
}

/// Whether a sandbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum PodSandboxState {
    /// Its pause process runs.
    Ready = 0,
    /// It has ended.
    NotReady = 1,
}

/// How a sandbox is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxStatus {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whose sandbox it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Whether it holds.
    #[prost(enumeration = "PodSandboxState", tag = "3")]
    pub state: i32,
    /// When it was made.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    /// Its addresses; none with the node's network.
    #[prost(message, optional, tag = "5")]
    pub network: Option<PodSandboxNetworkStatus>,
    /// What Linux has of it.
    #[prost(message, optional, tag = "6")]
    pub linux: Option<LinuxPodSandboxStatus>,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "7")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "8")]
    pub annotations: BTreeMap<String, String>,
    /// What made it; empty: the default.
    #[prost(string, tag = "9")]
    pub runtime_handler: String,
}

/// The addresses of a sandbox.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxNetworkStatus {
    /// The first.
    #[prost(string, tag = "1")]
    pub ip: String,
    /// The others.
    #[prost(message, repeated, tag = "2")]
    pub additional_ips: Vec<PodIp>,
}

/// An address.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodIp {
    /// In words.
    #[prost(string, tag = "1")]
    pub ip: String,
}

/// What Linux has of a sandbox.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxPodSandboxStatus {
    /// Its namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<Namespace>,
}

/// The namespaces of a sandbox.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Namespace {
    /// As it was asked for them.
    #[prost(message, optional, tag = "2")]
    pub options: Option<NamespaceOption>,
}

/// A state to look for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct PodSandboxStateValue {
    /// The state.
    #[prost(enumeration = "PodSandboxState", tag = "1")]
    pub state: i32,
}

/// Which sandboxes are meant; all, where it says nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandboxFilter {
    /// This one.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Those in this state.
    #[prost(message, optional, tag = "2")]
    pub state: Option<PodSandboxStateValue>,
    /// Those with all of these labels.
    #[prost(btree_map = "string, string", tag = "3")]
    pub label_selector: BTreeMap<String, String>,
}

/// Asks for sandboxes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListPodSandboxRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<PodSandboxFilter>,
}

/// Sandboxes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ListPodSandboxResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// A sandbox of a list.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PodSandbox {
    /// The runtime's.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Whose sandbox it is.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Whether it holds.
    #[prost(enumeration = "PodSandboxState", tag = "3")]
    pub state: i32,
    /// When it was made.
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    /// What it is found by.
    #[prost(btree_map = "string, string", tag = "5")]
    pub labels: BTreeMap<String, String>,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "6")]
    pub annotations: BTreeMap<String, String>,
    /// What made it; empty: the default.
    #[prost(string, tag = "7")]
    pub runtime_handler: String,
}
