//! The messages of the interface, as far as pods and what holds them go. Names and field numbers
//! are those of kubernetes/cri-api, pkg/apis/runtime/v1/api.proto; what a runtime sends beyond
//! them is passed over. Times are nanoseconds since the epoch.

mod container;
mod image;
mod runtime;
mod sandbox;

pub use container::*;
pub use image::*;
pub use runtime::*;
pub use sandbox::*;

/// A number that may be missing.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Int64Value {
    /// The number.
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum NamespaceMode {
    /// All containers of the pod share it.
    Pod = 0,
    /// Each container has its own.
    Container = 1,
    /// It is the node's.
    Node = 2,
    /// It is that of the container `target_id`.
    Target = 3,
}

/// The namespaces of a sandbox or container.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NamespaceOption {
    /// network_namespaces(7): the pod's or the node's.
    #[prost(enumeration = "NamespaceMode", tag = "1")]
    pub network: i32,
    /// pid_namespaces(7).
    #[prost(enumeration = "NamespaceMode", tag = "2")]
    pub pid: i32,
    /// ipc_namespaces(7): the pod's or the node's.
    #[prost(enumeration = "NamespaceMode", tag = "3")]
    pub ipc: i32,
    /// Of `Target`: the container.
    #[prost(string, tag = "4")]
    pub target_id: String,
    /// user_namespaces(7), where the pod has one.
    #[prost(message, optional, tag = "5")]
    pub userns_options: Option<UserNamespace>,
}

/// The user namespace of a pod.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct UserNamespace {
    /// `Pod`: one of its own. `Node`: none.
    #[prost(enumeration = "NamespaceMode", tag = "1")]
    pub mode: i32,
    /// How user ids are mapped.
    #[prost(message, repeated, tag = "2")]
    pub uids: Vec<IdMapping>,
    /// How group ids are mapped.
    #[prost(message, repeated, tag = "3")]
    pub gids: Vec<IdMapping>,
}

/// A line of `/proc/PID/uid_map`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IdMapping {
    /// The first id outside.
    #[prost(uint32, tag = "1")]
    pub host_id: u32,
    /// The first id inside.
    #[prost(uint32, tag = "2")]
    pub container_id: u32,
    /// How many.
    #[prost(uint32, tag = "3")]
    pub length: u32,
}

/// Which profile is used, of seccomp or AppArmor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ProfileType {
    /// The runtime's own.
    RuntimeDefault = 0,
    /// None.
    Unconfined = 1,
    /// One of the node's.
    Localhost = 2,
}

/// A profile of seccomp or AppArmor.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SecurityProfile {
    /// Which.
    #[prost(enumeration = "ProfileType", tag = "1")]
    pub profile_type: i32,
    /// Of `Localhost`: its name.
    #[prost(string, tag = "2")]
    pub localhost_ref: String,
}

/// The name of an image.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImageSpec {
    /// A reference, or an id.
    #[prost(string, tag = "1")]
    pub image: String,
    /// Free words.
    #[prost(btree_map = "string, string", tag = "2")]
    pub annotations: std::collections::BTreeMap<String, String>,
    /// As the pod's author wrote it.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
    /// Whose image it is, where runtimes keep images apart.
    #[prost(string, tag = "19")]
    pub runtime_handler: String,
}

/// Limits of a container or sandbox; 0 where there is none.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct LinuxContainerResources {
    /// Microseconds.
    #[prost(int64, tag = "1")]
    pub cpu_period: i64,
    /// Microseconds of each period.
    #[prost(int64, tag = "2")]
    pub cpu_quota: i64,
    /// A weight, beside those of others.
    #[prost(int64, tag = "3")]
    pub cpu_shares: i64,
    /// Bytes.
    #[prost(int64, tag = "4")]
    pub memory_limit_in_bytes: i64,
    /// As in proc_pid_oom_score_adj(5).
    #[prost(int64, tag = "5")]
    pub oom_score_adj: i64,
    /// Files of cgroups v2.
    #[prost(btree_map = "string, string", tag = "9")]
    pub unified: std::collections::BTreeMap<String, String>,
    /// Bytes of memory and swap.
    #[prost(int64, tag = "10")]
    pub memory_swap_limit_in_bytes: i64,
}
