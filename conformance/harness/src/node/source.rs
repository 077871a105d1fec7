//! Who knows which pods there are: each source says what it was told, and none decides.

use std::path::PathBuf;

use crate::node::proc::{ProcRoot, Snapshot};

#[cfg(feature = "cri")]
pub mod cri;
#[cfg(feature = "engines")]
pub mod docker;
#[cfg(feature = "engines")]
mod http;
#[cfg(feature = "engines")]
pub mod podman;
pub mod proc;

/// What asks for pods.
pub trait Source: std::fmt::Debug {
    /// A word: `docker`, `podman`, `proc`.
    fn name(&self) -> &'static str;

    /// Where it is asked: a socket, or a folder.
    fn place(&self) -> PathBuf;

    /// Asks. Nothing is changed by it.
    ///
    /// # Errors
    /// Why there is no answer, in a line.
    fn ask(&self, snapshot: &Snapshot) -> Result<Told, String>;
}

/// What a source says of the node.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The program that answered, with its version.
    pub version: String,
    /// Its pods.
    pub pods: Vec<ToldPod>,
    /// Its sandbox image, where that is known.
    pub image: Option<ToldImage>,
}

/// What a source says of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldPod {
    /// Id of the sandbox: of its container, or of the pod.
    pub id: String,
    /// Id of the pod, where its engine has one beside that of its pause.
    pub group: Option<String>,
    /// Uid of the pod, where Kubernetes made it.
    pub uid: Option<String>,
    /// Namespace in the API, where Kubernetes made it.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The image that its pause was made from, as its source names it.
    pub image: Option<String>,
    /// Whether that image is still there; `None` where it was not asked.
    pub image_kept: Option<bool>,
    /// The source says that it runs.
    pub runs: bool,
    /// The pause.
    pub pause: ToldPause,
    /// The other containers.
    pub members: Vec<ToldMember>,
    /// It was made by Kubernetes.
    pub kubernetes: bool,
    /// Other processes that look like its pause.
    pub rivals: Vec<i32>,
}

/// What a source says of a pod's pause.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ToldPause {
    /// It runs: the pid, and the id of its container, where that is known.
    Runs {
        /// As this /proc has it; where it is not known the container tells.
        pid: Option<i32>,
        /// 64 hexadecimal digits.
        container: Option<String>,
    },
    /// There is to be none, and why.
    Without(String),
    /// It should run, and does not.
    #[default]
    Ended,
}

/// What a source says of a container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldMember {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// The first process, where the source says.
    pub pid: Option<i32>,
    /// What it shares with the pause by its source's word; `None` where that is not known.
    pub shares: Option<Vec<Kind>>,
}

/// The namespaces that containers of a pod may share.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Devices, addresses, ports.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Processes.
    Pid,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Net, Self::Ipc, Self::Uts, Self::Pid];

    /// Its name below `/proc/PID/ns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Pid => "pid",
        }
    }
}

/// The sandbox image of a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldImage {
    /// As it is configured, or as its pods name it.
    pub reference: String,
    /// How it is known to be the one.
    pub basis: Basis,
    /// It is in the runtime's store.
    pub present: bool,
    /// It is kept from garbage collection; `None` where the runtime does not say.
    pub pinned: Option<bool>,
    /// `os/architecture`, where the runtime says.
    pub platform: Option<String>,
}

/// How a sandbox image is known to be a runtime's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// The runtime says that it is configured with it.
    #[default]
    Configured,
    /// The runtime does not say: most of its pods run it.
    Pods,
}

/// All sources of this host, in the order in which they are believed; `sockets` are those of CRI
/// that the user names.
pub fn all<'a>(root: &'a ProcRoot, sockets: &[String]) -> Vec<Box<dyn Source + 'a>> {
    let mut all: Vec<Box<dyn Source + 'a>> = Vec::new();
    #[cfg(feature = "cri")]
    {
        let named: Vec<_> = sockets.iter().map(|it| cri::Cri::at(it)).collect();
        let found = if named.is_empty() {
            cri::Cri::find()
        } else {
            named
        };
        all.extend(found.into_iter().map(|it| Box::new(it) as Box<dyn Source>));
    }
    #[cfg(not(feature = "cri"))]
    let _ = sockets;
    #[cfg(feature = "engines")]
    {
        all.extend(docker::Docker::find().map(|it| Box::new(it) as Box<dyn Source>));
        all.extend(podman::Podman::find().map(|it| Box::new(it) as Box<dyn Source>));
    }
    all.push(Box::new(proc::Processes::of(root)));
    all
}
