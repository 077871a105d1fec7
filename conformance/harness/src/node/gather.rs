//! Joins what sources were told with what the processes show: for each pod its pause, its other
//! containers, and its zombies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use procfs::process::Status;

use crate::node::inside::{self, Inside, Program, Seen};
use crate::node::kubelet::{self, Kubelet};
use crate::node::place::PodKey;
use crate::node::proc::{Handle, ProcRoot, Process, Snapshot};
use crate::node::source::{Kind, Source, Told, ToldImage, ToldPause, ToldPod};

mod join;
mod machine;
mod numbers;
mod zombies;

use join::Join;
pub use zombies::{Owner, Zombie};

/// A node as it was seen.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Who was asked.
    pub sources: Vec<Asked>,
    /// What was seen of each pod, by namespace and name.
    pub pods: Vec<PodFacts>,
    /// The configured sandbox images, by source.
    pub images: Vec<(&'static str, ToldImage)>,
    /// The node's kubelet, where it is seen.
    pub kubelet: Option<Kubelet>,
    /// Why this is not all, a line each.
    pub notes: Vec<String>,
}

/// A source, and whether it answered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name.
    pub name: &'static str,
    /// Where it was asked.
    pub place: PathBuf,
    /// The program that answered, with its version, or why none did.
    pub answer: Result<String, String>,
    /// How many pods it knows.
    pub pods: usize,
}

/// What was seen of a pod.
#[derive(Debug)]
pub struct PodFacts {
    /// Who told.
    pub source: &'static str,
    /// What it told.
    pub told: ToldPod,
    /// The pause, where one runs.
    pub pause: Option<PauseFacts>,
    /// Why none is seen, where that says nothing about the pod.
    pub unseen: Option<String>,
    /// How many sandboxes of this pod run.
    pub sandboxes: usize,
    /// The other containers.
    pub members: Vec<MemberFacts>,
    /// Its zombies.
    pub zombies: Vec<Zombie>,
}

/// What was seen of a pause.
#[derive(Debug)]
pub struct PauseFacts {
    /// The process.
    pub process: Process,
    /// By which it stays known.
    pub handle: Arc<Handle>,
    /// Seconds since it started.
    pub age: f64,
    /// Processor time in seconds.
    pub cpu: f64,
    /// Its `status`.
    pub status: Status,
    /// `oom_score_adj`.
    pub score: Seen<i32>,
    /// Its namespaces, by inode.
    pub namespaces: BTreeMap<Kind, Seen<u64>>,
    /// Those of its namespaces that are the node's own.
    pub of_the_node: BTreeSet<Kind>,
    /// Descriptors above the standard streams.
    pub descriptors: Seen<Descriptors>,
    /// Its program and working directory.
    pub inside: Inside,
    /// Its living children: pid and name.
    pub children: Vec<(i32, String)>,
}

/// Open descriptors of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// How many.
    pub count: usize,
    /// There are more than were counted.
    pub is_part: bool,
    /// What some of them lead to.
    pub shown: Vec<String>,
}

impl PauseFacts {
    /// Its program, where that can be read.
    pub fn program(&self) -> Option<&Program> {
        self.inside.program.as_ref().ok()
    }
}

/// What was seen of another container of a pod.
#[derive(Clone, Debug)]
pub struct MemberFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it shares by its source's word.
    pub shares: Option<Vec<Kind>>,
    /// Namespaces of its first process, by inode; empty where none runs.
    pub namespaces: BTreeMap<Kind, Seen<u64>>,
}

/// The processes of each container; the first is the oldest.
pub(super) type Containers<'s> = BTreeMap<&'s str, Vec<&'s Process>>;

/// Asks all, and looks.
///
/// # Errors
/// Where /proc cannot be read at all.
pub fn gather(root: &ProcRoot, sources: &[Box<dyn Source + '_>]) -> std::io::Result<Gathered> {
    let mut gathered = Gathered::default();
    let nothing = Snapshot::default();
    let (last, engines) = sources
        .split_last()
        .map_or((None, sources), |(last, rest)| (Some(last), rest));
    let mut told: Vec<(&dyn Source, Told)> = Vec::new();
    for source in engines {
        gathered.ask(source.as_ref(), &nothing, &mut told);
    }
    // After the engines: what they told is older than the picture.
    let mut snapshot = root.snapshot()?;
    regroup(&mut snapshot, &told);
    if let Some(last) = last {
        gathered.ask(last.as_ref(), &snapshot, &mut told);
    }
    gathered.notes.extend(snapshot.notes.iter().cloned());
    gathered.kubelet = kubelet::find(root, &snapshot);
    let join = Join::new(root, &snapshot);
    for (source, told) in told {
        gathered
            .images
            .extend(told.image.clone().map(|image| (source.name(), image)));
        let mut fresh = Vec::new();
        for pod in told.pods {
            match gathered.known(&pod) {
                Some(known) => known.complete(&pod),
                None => fresh.push(pod),
            }
        }
        gathered.pods.extend(join.pods(source, fresh));
    }
    gathered.notes.extend(join.notes());
    gathered.look_inside(root);
    gathered.count_sandboxes();
    zombies::assign(root, &snapshot, &mut gathered.pods);
    gathered.pods.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(gathered)
}

impl Gathered {
    fn ask<'s>(
        &mut self,
        source: &'s dyn Source,
        snapshot: &Snapshot,
        told: &mut Vec<(&'s dyn Source, Told)>,
    ) {
        let answer = source.ask(snapshot);
        self.sources.push(Asked {
            name: source.name(),
            place: source.place(),
            pods: answer.as_ref().map_or(0, |told| told.pods.len()),
            answer: match &answer {
                Ok(told) => Ok(told.version.clone()),
                Err(why) => Err(why.clone()),
            },
        });
        if let Ok(answer) = answer {
            told.push((source, answer));
        }
    }

    /// The same pod, where another source has told of it.
    fn known(&mut self, pod: &ToldPod) -> Option<&mut PodFacts> {
        let pid = |pause: &ToldPause| match pause {
            ToldPause::Runs { pid, .. } => *pid,
            _ => None,
        };
        self.pods.iter_mut().find(|known| {
            known.has(&pod.id)
                || (pod.uid.is_some() && known.told.uid == pod.uid)
                || (pid(&pod.pause).is_some() && pid(&known.told.pause) == pid(&pod.pause))
                // Without a pause, by any container.
                || pod.members.iter().any(|it| known.has(&it.id))
        })
    }

    /// Reads what only the pods' own memory and filesystems know, of all pods side by side.
    fn look_inside(&mut self, root: &ProcRoot) {
        let pauses = self.pods.iter_mut().filter_map(|pod| pod.pause.as_mut());
        let mut pauses: Vec<_> = pauses.collect();
        let handles = pauses.iter();
        let handles = handles.map(|it| (it.process.key(), Arc::clone(&it.handle)));
        let seen = inside::look(root.patience(), handles.collect());
        for (pause, inside) in pauses.iter_mut().zip(seen) {
            pause.inside = inside;
        }
    }

    fn count_sandboxes(&mut self) {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for pod in &self.pods {
            let uid = pod.told.uid.iter().filter(|_| pod.pause.is_some());
            uid.for_each(|uid| *counts.entry(uid.clone()).or_default() += 1);
        }
        for pod in &mut self.pods {
            let known = pod.told.uid.as_ref().and_then(|uid| counts.get(uid));
            let own = usize::from(pod.pause.is_some()) + pod.told.rivals.len();
            pod.sandboxes = known.copied().unwrap_or(0).max(own);
        }
    }
}

impl PodFacts {
    fn order(&self) -> (&Option<String>, &str, &str) {
        (&self.told.namespace, &self.told.name, &self.told.id)
    }

    /// Adds what its own source does not say, and another does of the same sandbox: which image it
    /// has, as docker below cri-dockerd. Another sandbox of the pod may have another image.
    fn complete(&mut self, other: &ToldPod) {
        if self.told.image.is_none() && self.told.id == other.id {
            self.told.image.clone_from(&other.image);
            self.told.image_kept = other.image_kept;
        }
    }

    /// Its source says that it has a pause, and none is seen; nothing is known to keep it from that.
    fn is_lost(&self) -> bool {
        let is_known = self.pause.is_some() || self.unseen.is_some();
        !is_known && !matches!(self.told.pause, ToldPause::Without(_))
    }

    fn has(&self, container: &str) -> bool {
        self.told.id == container || self.told.members.iter().any(|it| it.id == container)
    }
}

/// Moves each process that is in a pod's cgroup to its container's, which is below that. Only the
/// engine's own word makes an id a pod's.
fn regroup(snapshot: &mut Snapshot, told: &[(&dyn Source, Told)]) {
    let pods = told.iter().flat_map(|(_, told)| &told.pods);
    let groups: BTreeSet<&String> = pods.filter_map(|pod| pod.group.as_ref()).collect();
    for process in snapshot.processes.values_mut() {
        let place = &mut process.place;
        let Some(group) = place.container.take_if(|id| groups.contains(id)) else {
            continue;
        };
        place.container = place.below.take();
        place.pod = Some(PodKey::Podman(group));
    }
}
