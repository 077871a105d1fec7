//! The processes themselves, where nobody else can say which pods there are.
//!
//! A pod is what kubelet or podman made a cgroup for; its pause is the oldest container's whose
//! first process is named so, or has the score that kubelet gives to nothing but sandboxes. Beside
//! pods, process 1 of a pid namespace that is named pause holds a pod that somebody made by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Source, Told, ToldMember, ToldPause, ToldPod};
use crate::node::place::PodKey;
use crate::node::proc::{Handle, ProcRoot, Process, Snapshot};

/// The score of a sandbox (kubernetes, pkg/kubelet/qos/policy.go, PodInfraOOMAdj).
pub const SANDBOX_SCORE: i32 = -998;
/// The most arguments of which one is looked for.
const MOST_ARGUMENTS: usize = 16;
/// The most that a pod's first processes are looked at.
const MOST_CANDIDATES: usize = 4096;

/// The processes of a node.
#[derive(Debug)]
pub struct Processes<'a> {
    root: &'a ProcRoot,
}

impl<'a> Processes<'a> {
    /// Those of this /proc.
    pub fn of(root: &'a ProcRoot) -> Self {
        Self { root }
    }
}

impl Source for Processes<'_> {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn place(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn ask(&self, snapshot: &Snapshot) -> Result<Told, String> {
        let mut pods: BTreeMap<&PodKey, Containers<'_>> = BTreeMap::new();
        let mut others = Containers::new();
        for process in snapshot.processes.values().filter(|it| it.is_alive()) {
            let (Some(id), containers) = (
                process.place.container.as_deref(),
                match &process.place.pod {
                    Some(key) => pods.entry(key).or_default(),
                    None => &mut others,
                },
            ) else {
                continue;
            };
            // The first process of a container is its oldest.
            let first = containers.entry(id).or_insert(process);
            if (process.started, process.pid) < (first.started, first.pid) {
                *first = process;
            }
        }
        let arguments = self.root.arguments(&nameless(snapshot, &pods));
        let mut told: Vec<_> = pods
            .iter()
            .map(|(key, containers)| self.pod(key, containers, &arguments))
            .collect();
        told.extend(self.by_hand(snapshot, &others, &arguments));
        Ok(Told {
            version: String::new(),
            pods: told,
            image: None,
        })
    }
}

/// The first process of each container.
type Containers<'s> = BTreeMap<&'s str, &'s Process>;

/// The arguments of processes, by pid.
type Arguments = BTreeMap<i32, Vec<String>>;

/// Those whose arguments may tell that they are a pause.
fn nameless<'s>(
    snapshot: &'s Snapshot,
    pods: &BTreeMap<&PodKey, Containers<'s>>,
) -> Vec<&'s Process> {
    let in_pods = pods
        .values()
        .flat_map(|it| it.values().take(MOST_CANDIDATES));
    let by_hand = snapshot.processes.values();
    let by_hand = by_hand.filter(|it| it.is_alive() && it.place.pod.is_none());
    let by_hand = by_hand
        .filter(|it| is_short_name(&it.name))
        .take(MOST_CANDIDATES);
    let all = in_pods.copied().chain(by_hand);
    all.filter(|it| it.name != "pause").collect()
}

impl Processes<'_> {
    fn pod(&self, key: &PodKey, containers: &Containers<'_>, arguments: &Arguments) -> ToldPod {
        let mut sandboxes: Vec<_> = containers
            .iter()
            .take(MOST_CANDIDATES)
            .filter_map(|(id, first)| {
                let likeness = self.likeness(first, arguments)?;
                Some((likeness, first.started, first.pid, *id))
            })
            .collect();
        // What kubelet made goes before what has a name that anybody may take.
        sandboxes.sort();
        let rivals = sandboxes.iter().skip(1);
        let rivals = rivals.filter(|it| it.0 == Likeness::Score);
        let rivals = rivals.map(|it| it.2).collect();
        let pause = sandboxes.first();
        let members = containers.iter().filter(|(id, _)| match pause {
            Some(pause) => pause.3 != **id,
            None => true,
        });
        let (kubernetes, id) = match key {
            PodKey::Kubernetes(uid) => (true, uid),
            PodKey::Podman(id) => (false, id),
        };
        ToldPod {
            id: pause.map_or_else(|| id.clone(), |pause| pause.3.to_owned()),
            uid: kubernetes.then(|| id.clone()),
            name: short(id).to_owned(),
            runs: true,
            pause: match pause {
                Some((_, _, pid, id)) => ToldPause::Runs {
                    pid: Some(*pid),
                    container: Some((*id).to_owned()),
                },
                None => ToldPause::Without(
                    "none of its processes is one: its runtime drops it (drop_infra_ctr), its \
                     sandbox is a shim's, or it has ended"
                        .to_owned(),
                ),
            },
            members: members.map(|(id, first)| member(id, first)).collect(),
            kubernetes,
            rivals,
            ..ToldPod::default()
        }
    }

    /// Whether this looks like a pause, and how surely.
    fn likeness(&self, process: &Process, arguments: &Arguments) -> Option<Likeness> {
        let handle = self.root.hold(process).ok()??;
        let score = handle.text("oom_score_adj").unwrap_or_default();
        if score.trim().parse() == Ok(SANDBOX_SCORE) {
            return Some(Likeness::Score);
        }
        is_named_so(process, arguments).then_some(Likeness::Name)
    }

    /// Pods that no pod's cgroup holds.
    fn by_hand(
        &self,
        snapshot: &Snapshot,
        containers: &Containers<'_>,
        arguments: &Arguments,
    ) -> Vec<ToldPod> {
        let mut nets: BTreeMap<u64, Vec<(&str, &Process)>> = BTreeMap::new();
        for (id, first) in containers {
            let held = self.root.hold(first).ok().flatten();
            if let Some(Ok(net)) = held.map(|it| it.namespace("net")) {
                nets.entry(net).or_default().push((id, first));
            }
        }
        let host = self.root.process(1).and_then(|it| it.namespace("net"));
        let named = snapshot.processes.values();
        let named = named.filter(|it| it.is_alive() && it.place.pod.is_none());
        let named = named
            .filter(|it| is_short_name(&it.name))
            .take(MOST_CANDIDATES);
        named
            .filter_map(|process| {
                let handle = self.root.hold(process).ok()??;
                if !(is_named_so(process, arguments) && is_first(&handle)) {
                    return None;
                }
                let net = handle.namespace("net").ok();
                let net = net.filter(|net| host.as_ref().ok() != Some(net));
                let beside = net.and_then(|net| nets.get(&net)).into_iter().flatten();
                let own = process.place.container.as_deref();
                let beside = beside.filter(|(id, _)| Some(*id) != own);
                // Inside of one container, such as a node of kind, there may be many.
                let holds = |id: &&str| containers.get(*id).is_some_and(|it| it.pid == process.pid);
                let id = own.filter(holds);
                let id = id.map_or_else(|| format!("pid-{}", process.pid), str::to_owned);
                Some(ToldPod {
                    name: short(&id).to_owned(),
                    id,
                    runs: true,
                    pause: ToldPause::Runs {
                        pid: Some(process.pid),
                        container: own.map(str::to_owned),
                    },
                    members: beside.map(|(id, first)| member(id, first)).collect(),
                    ..ToldPod::default()
                })
            })
            .collect()
    }
}

/// How surely a process is a pause; the surer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    Score,
    Name,
}

/// The shared namespaces are not known: those of Kubernetes' pods follow from their kind.
fn member(id: &str, first: &Process) -> ToldMember {
    ToldMember {
        id: id.to_owned(),
        name: first.name.clone(),
        pid: Some(first.pid),
        shares: None,
    }
}

/// The names that pauses go by.
fn is_short_name(name: &str) -> bool {
    name == "pause" || name == "catatonit" || name.starts_with("qemu-")
}

/// `pause`, by its own name or that of an emulator's argument; `catatonit -P`, which is podman's.
fn is_named_so(process: &Process, arguments: &Arguments) -> bool {
    if process.name == "pause" {
        return true;
    }
    let arguments = arguments.get(&process.pid).into_iter().flatten();
    let mut arguments = arguments.take(MOST_ARGUMENTS);
    let is_pause = |word: &String| word == "pause" || word.ends_with("/pause");
    match process.name.as_str() {
        "catatonit" => arguments.any(|word| word == "-P"),
        _ => arguments.take(3).any(is_pause),
    }
}

/// Whether it is process 1 of a pid namespace below the node's.
fn is_first(handle: &Handle) -> bool {
    let pids = handle.status().ok().and_then(|status| status.nspid);
    pids.is_some_and(|pids| pids.len() > 1 && pids.last() == Some(&1))
}

/// As engines abbreviate ids.
pub(crate) fn short(id: &str) -> &str {
    if super::super::place::is_id(id) {
        &id[..12]
    } else {
        id
    }
}
