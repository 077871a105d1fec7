//! Joins what sources were told with what the processes show: for each pod its pause, its other
//! containers, and its zombies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use procfs::process::Status;

use crate::interrupt;
use crate::node::inside::{self, Inside, Program, Seen, words};
use crate::node::place::PodKey;
use crate::node::proc::{Handle, ProcRoot, Process, Snapshot};
use crate::node::source::{Kind, Source, Told, ToldImage, ToldPause, ToldPod};

mod zombies;

pub use zombies::{Owner, Zombie};

/// Descriptors that are named of a process; it may have a million.
const MOST_DESCRIPTORS: usize = 16;
/// How long a runtime may take to know that a process has ended, on a busy node.
const KNOWS_WITHIN: Duration = Duration::from_millis(500);

/// A node as it was seen.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Who was asked.
    pub sources: Vec<Asked>,
    /// What was seen of each pod, by namespace and name.
    pub pods: Vec<PodFacts>,
    /// The configured sandbox images, by source.
    pub images: Vec<(&'static str, ToldImage)>,
    /// What kubelet's arguments name as the sandbox image.
    pub kubelet: Option<String>,
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
    /// Descriptors above the standard streams, and what they lead to.
    pub descriptors: Seen<Vec<String>>,
    /// Its program and working directory.
    pub inside: Inside,
    /// Its living children: pid and name.
    pub children: Vec<(i32, String)>,
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
    gathered.kubelet = kubelet(root, &snapshot);
    let join = Join::new(root, &snapshot);
    for (source, told) in told {
        gathered
            .images
            .extend(told.image.clone().map(|image| (source.name(), image)));
        let fresh = told.pods.into_iter().filter(|pod| !gathered.knows(pod));
        let fresh: Vec<_> = fresh.collect();
        gathered.pods.extend(join.pods(source, fresh));
    }
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

    /// Whether another source has told of this pod.
    fn knows(&self, pod: &ToldPod) -> bool {
        let pid = |pause: &ToldPause| match pause {
            ToldPause::Runs { pid, .. } => *pid,
            _ => None,
        };
        self.pods.iter().any(|known| {
            known.told.id == pod.id
                || (pod.uid.is_some() && known.told.uid == pod.uid)
                || (pid(&pod.pause).is_some() && pid(&known.told.pause) == pid(&pod.pause))
                // Without a pause, by any container.
                || pod.members.iter().any(|it| known.has(&it.id))
        })
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

    /// Its source says that it has a pause, and none is seen.
    fn is_lost(&self) -> bool {
        self.pause.is_none() && !matches!(self.told.pause, ToldPause::Without(_))
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

/// The sandbox image in kubelet's arguments.
fn kubelet(root: &ProcRoot, snapshot: &Snapshot) -> Option<String> {
    const OPTION: &str = "--pod-infra-container-image";
    // One in a container may be anybody's.
    let all = snapshot.processes.values();
    let mut all = all.filter(|it| it.name == "kubelet" && it.place.container.is_none());
    let arguments = root.hold(all.next()?)?.arguments().ok()?;
    let at = arguments.iter().position(|word| word.starts_with(OPTION))?;
    match arguments[at].strip_prefix(OPTION)?.strip_prefix('=') {
        Some(image) => Some(image.to_owned()),
        None => arguments.get(at + 1).cloned(),
    }
}

/// What pods are joined with.
struct Join<'a> {
    root: &'a ProcRoot,
    snapshot: &'a Snapshot,
    containers: Containers<'a>,
    pods: BTreeMap<&'a str, BTreeSet<&'a str>>,
    node: BTreeMap<Kind, Seen<u64>>,
    /// Only a part of the node is seen.
    is_part: bool,
}

impl<'a> Join<'a> {
    fn new(root: &'a ProcRoot, snapshot: &'a Snapshot) -> Self {
        let mut containers = Containers::new();
        let mut pods: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for process in snapshot.processes.values() {
            let Some(id) = process.place.container.as_deref() else {
                continue;
            };
            containers.entry(id).or_default().push(process);
            if let Some(PodKey::Kubernetes(uid)) = &process.place.pod {
                pods.entry(uid.as_str()).or_default().insert(id);
            }
        }
        for members in containers.values_mut() {
            members.sort_by_key(|it| (it.started, it.pid));
        }
        let node = root.process(1);
        Self {
            root,
            snapshot,
            containers,
            pods,
            node: node.map(|it| namespaces(&it)).unwrap_or_default(),
            is_part: !snapshot.notes.is_empty(),
        }
    }

    /// The pods of one source. What it said runs and is not there is asked for again: it may have
    /// ended meanwhile.
    fn pods(&self, source: &dyn Source, told: Vec<ToldPod>) -> Vec<PodFacts> {
        let mut pods: Vec<_> = told
            .into_iter()
            .map(|told| self.pod(source.name(), told))
            .collect();
        if !pods.iter().any(PodFacts::is_lost) {
            return pods;
        }
        // Where not one is seen it may be that they are in a /proc of others.
        let elsewhere = self.snapshot.hides || (self.is_part && pods.iter().all(PodFacts::is_lost));
        self.ask_again(source, &mut pods);
        if elsewhere {
            for pod in pods.iter_mut().filter(|pod| pod.is_lost()) {
                if matches!(pod.told.pause, ToldPause::Runs { .. }) {
                    pod.unseen = Some("its processes are not in this /proc".to_owned());
                }
            }
        } else if pods.iter().any(PodFacts::is_lost) && interrupt::pause(KNOWS_WITHIN).is_ok() {
            self.ask_again(source, &mut pods);
        }
        pods
    }

    /// Drops each pod whose pause is not seen and of which the source no longer says the same.
    fn ask_again(&self, source: &dyn Source, pods: &mut Vec<PodFacts>) {
        let again = source.ask(self.snapshot).map(|told| told.pods);
        let again = again.unwrap_or_default();
        let is_said = |told: &ToldPod| {
            let mut again = again.iter();
            again.any(|it| it.id == told.id && it.pause == told.pause)
        };
        pods.retain(|pod| !pod.is_lost() || is_said(&pod.told));
    }

    fn pod(&self, source: &'static str, told: ToldPod) -> PodFacts {
        let pause = match &told.pause {
            ToldPause::Runs { pid, container } => self.pause(*pid, container.as_deref()),
            ToldPause::Without(_) | ToldPause::Ended => None,
        };
        let members = self.members(&told);
        PodFacts {
            source,
            pause,
            members,
            told,
            unseen: None,
            sandboxes: 0,
            zombies: Vec::new(),
        }
    }

    /// The process, if it lives and is that container's.
    fn pause(&self, pid: Option<i32>, container: Option<&str>) -> Option<PauseFacts> {
        let of_container = || Some(*self.containers.get(container?)?.first()?);
        let process = match pid {
            Some(pid) => self.snapshot.processes.get(&pid)?,
            None => of_container()?,
        };
        let own = process.place.container.as_deref();
        if !process.is_alive() || (own.is_some() && container.is_some() && own != container) {
            return None;
        }
        let handle = Arc::new(self.root.hold(process)?);
        let status = handle.status().ok()?;
        let seen = namespaces(&handle);
        let of_the_node = |kind: &Kind| match (seen.get(kind), self.node.get(kind)) {
            (Some(Ok(own)), Some(Ok(node))) => own == node,
            _ => false,
        };
        let score = handle.text("oom_score_adj").map_err(|error| words(&error));
        let children = self
            .snapshot
            .children(process.pid)
            .filter(|it| it.is_alive());
        Some(PauseFacts {
            age: self.snapshot.age(process),
            cpu: self.snapshot.seconds(process.ticks),
            score: score.and_then(|text| text.trim().parse().map_err(|_| "no number".to_owned())),
            of_the_node: Kind::ALL.into_iter().filter(of_the_node).collect(),
            descriptors: descriptors(&handle),
            inside: inside::look(&handle),
            children: children.map(|it| (it.pid, it.name.clone())).collect(),
            namespaces: seen,
            process: process.clone(),
            status,
            handle,
        })
    }

    /// The other containers: those that were told of, and those that the pod's cgroup holds.
    fn members(&self, told: &ToldPod) -> Vec<MemberFacts> {
        let own = match &told.pause {
            ToldPause::Runs { container, .. } => container.as_deref(),
            _ => None,
        };
        let known = |id: &str| told.members.iter().any(|it| it.id == id);
        let beside = told.uid.as_deref().and_then(|uid| self.pods.get(uid));
        let beside = beside.into_iter().flatten().copied();
        let beside = beside.filter(|id| !known(id) && Some(*id) != own && *id != told.id);
        let unnamed = beside.map(|id| {
            let first = self.containers.get(id).and_then(|all| all.first());
            let name = first.map(|first| first.name.clone()).unwrap_or_default();
            (id, name, None, first.copied())
        });
        let named = told.members.iter().map(|member| {
            let oldest = self.containers.get(member.id.as_str());
            let oldest = oldest.and_then(|all| all.first()).copied();
            let by_pid = member.pid.and_then(|pid| self.snapshot.processes.get(&pid));
            let by_pid = by_pid.filter(|it| {
                let own = it.place.container.as_deref();
                own.is_none_or(|own| own == member.id)
            });
            let first = oldest.or(by_pid);
            (
                member.id.as_str(),
                member.name.clone(),
                member.shares.clone(),
                first,
            )
        });
        let all = named.chain(unnamed).map(|(id, name, shares, first)| {
            let handle = first.filter(|it| it.is_alive());
            let handle = handle.and_then(|it| self.root.hold(it));
            MemberFacts {
                id: id.to_owned(),
                name,
                shares,
                namespaces: handle.map(|it| namespaces(&it)).unwrap_or_default(),
            }
        });
        all.collect()
    }
}

fn namespaces(handle: &Handle) -> BTreeMap<Kind, Seen<u64>> {
    let read = |kind: Kind| {
        handle
            .namespace(kind.as_str())
            .map_err(|error| words(&error))
    };
    Kind::ALL.map(|kind| (kind, read(kind))).into()
}

fn descriptors(handle: &Handle) -> Seen<Vec<String>> {
    let names = handle.names("fd").map_err(|error| words(&error))?;
    let above = names.iter().filter(|name| {
        let number = name.parse::<u32>();
        number.is_ok_and(|number| number > 2)
    });
    let shown = above.take(MOST_DESCRIPTORS).map(|name| {
        let target = handle.link(&format!("fd/{name}"));
        let target = target.map_or_else(|_| "?".into(), |it| it.to_string_lossy().into_owned());
        format!("{name} → {}", pause_image::escape_text(&target))
    });
    Ok(shown.collect())
}
