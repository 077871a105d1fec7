//! What a runtime is.

use std::collections::BTreeMap;

/// Asks what a runtime is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VersionRequest {
    /// Of the kubelet's side: `v1`.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// What a runtime is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VersionResponse {
    /// Of the kubelet's side.
    #[prost(string, tag = "1")]
    pub version: String,
    /// `containerd`, `cri-o`, `docker`.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Its own.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// Of the interface: `v1`.
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// Asks how a runtime is.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct StatusRequest {
    /// With what is the runtime's own: its configuration.
    #[prost(bool, tag = "1")]
    pub verbose: bool,
}

/// How a runtime is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StatusResponse {
    /// What it says of itself.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
    /// Documents of JSON by name; containerd's `config` has `sandboxImage`.
    #[prost(btree_map = "string, string", tag = "2")]
    pub info: BTreeMap<String, String>,
    /// What pods can ask for by name.
    #[prost(message, repeated, tag = "3")]
    pub runtime_handlers: Vec<RuntimeHandler>,
}

/// What a runtime says of itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeStatus {
    /// Among them `RuntimeReady` and `NetworkReady`.
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

/// One thing that a runtime says of itself.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeCondition {
    /// Its name.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Whether it is so.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// Why not, as a word.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Why not, for people.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// What pods can ask for by name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RuntimeHandler {
    /// Empty: the default.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it can do.
    #[prost(message, optional, tag = "2")]
    pub features: Option<RuntimeHandlerFeatures>,
}

/// What a handler can do.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RuntimeHandlerFeatures {
    /// Mounts that are read-only all the way down.
    #[prost(bool, tag = "1")]
    pub recursive_read_only_mounts: bool,
    /// Pods with a user namespace.
    #[prost(bool, tag = "2")]
    pub user_namespaces: bool,
}

/// Asks how a runtime is configured, where a kubelet must be so too.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RuntimeConfigRequest {}

/// How a runtime is configured.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RuntimeConfigResponse {
    /// On Linux.
    #[prost(message, optional, tag = "1")]
    pub linux: Option<LinuxRuntimeConfiguration>,
}

/// How a runtime is configured on Linux.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LinuxRuntimeConfiguration {
    /// Who makes its cgroups.
    #[prost(enumeration = "CgroupDriver", tag = "1")]
    pub cgroup_driver: i32,
}

/// Who makes a runtime's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum CgroupDriver {
    /// systemd.
    Systemd = 0,
    /// The runtime itself.
    Cgroupfs = 1,
}
