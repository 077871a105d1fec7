//! One pod of what a source told and what the processes show.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::numbers::Numbers;
use super::{Containers, Descriptors, MemberFacts, PauseFacts, PodFacts, machine};
use crate::interrupt;
use crate::node::descriptors;
use crate::node::inside::{Inside, Seen, words};
use crate::node::place::PodKey;
use crate::node::proc::{Handle, MOST_NAMES, ProcRoot, Process, Snapshot};
use crate::node::source::{Kind, Source, ToldPause, ToldPod};

/// Descriptors that are named of a process; it may have a million.
const MOST_DESCRIPTORS: usize = 16;
/// `.` and `..`, which are read of a folder and left out.
const DOTS: usize = 2;
/// How long a runtime may take to know that a process has ended, on a busy node.
const KNOWS_WITHIN: Duration = Duration::from_millis(500);

/// The age by which a process has closed what it opened to start: an emulator its program, a loader
/// its libraries.
const STARTED: Duration = Duration::from_secs(2);
/// Between two looks at one that starts.
const LOOK: Duration = Duration::from_millis(20);

/// Why a pause that is said to run is not seen.
enum Unseen {
    /// It is not there.
    Gone,
    /// This keeps it from being seen, and says nothing about it.
    Kept(String),
    /// It is no pause: a machine of this name holds the sandbox.
    Machine(String),
}

/// What pods are joined with.
pub(super) struct Join<'a> {
    root: &'a ProcRoot,
    snapshot: &'a Snapshot,
    /// About when the snapshot was taken.
    taken: Instant,
    containers: Containers<'a>,
    pods: BTreeMap<&'a str, BTreeSet<&'a str>>,
    node: BTreeMap<Kind, Seen<u64>>,
    /// Only a part of the node is seen.
    is_part: bool,
    /// How many pauses may be held.
    may_hold: usize,
    held: Cell<usize>,
    notes: RefCell<BTreeSet<String>>,
}

impl<'a> Join<'a> {
    pub(super) fn new(root: &'a ProcRoot, snapshot: &'a Snapshot) -> Self {
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
            taken: Instant::now(),
            containers,
            pods,
            node: node.map(|it| namespaces(&it)).unwrap_or_default(),
            is_part: !snapshot.notes.is_empty(),
            may_hold: descriptors::may_hold().0,
            held: Cell::default(),
            notes: RefCell::default(),
        }
    }

    /// Why this is not all, a line each.
    pub(super) fn notes(&self) -> BTreeSet<String> {
        self.notes.take()
    }

    /// Keeps what keeps pods from being seen; returns it.
    fn note(&self, why: String) -> String {
        self.notes.borrow_mut().insert(why.clone());
        why
    }

    /// The pods of one source. What it said runs and is not there is asked for again: it may have
    /// ended meanwhile.
    pub(super) fn pods(&self, source: &dyn Source, told: Vec<ToldPod>) -> Vec<PodFacts> {
        let numbers = Numbers::of(source, &told, self.root, self.snapshot);
        if numbers == Numbers::Others {
            let name = source.name();
            self.note(format!(
                "{name} tells pids of another pid namespace than {}: run the audit in its pid \
                 namespace (hostPID: true, --pid=host)",
                self.root.path().display()
            ));
        }
        let mut pods: Vec<_> = told
            .into_iter()
            .map(|told| self.pod(source.name(), told, numbers))
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

    fn pod(&self, source: &'static str, mut told: ToldPod, numbers: Numbers) -> PodFacts {
        let pause = match &told.pause {
            ToldPause::Runs { pid, container } => self.pause(*pid, container.as_deref(), numbers),
            ToldPause::Without(_) | ToldPause::Ended => Err(Unseen::Gone),
        };
        let members = self.members(&told, numbers);
        // Another's number would be taken for that of a process here.
        if let (Numbers::Others, ToldPause::Runs { pid, .. }) = (numbers, &mut told.pause) {
            *pid = pause.as_ref().ok().map(|it| it.process.pid);
        }
        let mut unseen = None;
        let pause = match pause {
            Ok(pause) => Some(pause),
            Err(Unseen::Gone) => None,
            Err(Unseen::Machine(name)) => {
                let why = format!("{name} holds the sandbox, in a machine of its own");
                told.pause = ToldPause::Without(why);
                None
            }
            Err(Unseen::Kept(why)) => {
                unseen = Some(why);
                None
            }
        };
        PodFacts {
            source,
            pause,
            members,
            told,
            unseen,
            sandboxes: 0,
            zombies: Vec::new(),
        }
    }

    /// The process that a source means, if it lives and is that container's.
    fn meant(
        &self,
        pid: Option<i32>,
        container: Option<&str>,
        numbers: Numbers,
    ) -> Result<&'a Process, Unseen> {
        let of_container = || Some(*self.containers.get(container?)?.first()?);
        let by_pid = pid.and_then(|pid| self.snapshot.processes.get(&pid));
        let fits = |process: &Process| {
            let own = process.place.container.as_deref();
            match (own, container) {
                (Some(own), Some(container)) => own == container,
                // The number alone tells.
                _ => numbers == Numbers::These,
            }
        };
        let found = match (pid, numbers) {
            (None, _) => of_container(),
            (Some(_), Numbers::These) => by_pid.filter(|it| fits(it)),
            (Some(_), Numbers::Others) => by_pid.filter(|it| fits(it)).or_else(of_container),
        };
        match found.filter(|it| it.is_alive()) {
            Some(process) => Ok(process),
            None if numbers == Numbers::These => Err(Unseen::Gone),
            None => Err(Unseen::Kept(
                "its pid is of another pid namespace".to_owned(),
            )),
        }
    }

    /// Holds a pause, as long as there are descriptors for more.
    fn hold(&self, process: &Process) -> Result<Handle, Unseen> {
        let (_, limit) = descriptors::may_hold();
        let short = |why: String| {
            let limit = limit.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
            Unseen::Kept(self.note(format!(
                "{why}, where RLIMIT_NOFILE is {limit}: not all pauses are judged; raise it \
                 (ulimit -n, LimitNOFILE=)"
            )))
        };
        if self.held.get() >= self.may_hold {
            return Err(short("too few descriptors".to_owned()));
        }
        let held = self.root.hold(process);
        let handle = held.map_err(|error| short(words(&error)))?;
        self.held.set(self.held.get() + 1);
        handle.ok_or(Unseen::Gone)
    }

    fn pause(
        &self,
        pid: Option<i32>,
        container: Option<&str>,
        numbers: Numbers,
    ) -> Result<PauseFacts, Unseen> {
        let process = self.meant(pid, container, numbers)?;
        let handle = Arc::new(self.hold(process)?);
        if let Some(machine) = machine::of(process, &handle) {
            return Err(Unseen::Machine(machine));
        }
        let status = handle.status().map_err(|_| Unseen::Gone)?;
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
        Ok(PauseFacts {
            age: self.snapshot.age(process),
            cpu: self.snapshot.seconds(process.ticks),
            score: score.and_then(|text| text.trim().parse().map_err(|_| "no number".to_owned())),
            of_the_node: Kind::ALL.into_iter().filter(of_the_node).collect(),
            descriptors: self.descriptors(process, &handle),
            inside: Inside::silent(),
            children: children.map(|it| (it.pid, it.name.clone())).collect(),
            namespaces: seen,
            process: process.clone(),
            status,
            handle,
        })
    }

    /// Its descriptors, once it has started.
    fn descriptors(&self, process: &Process, handle: &Handle) -> Seen<Descriptors> {
        let age = Duration::try_from_secs_f64(self.snapshot.age(process)).unwrap_or(STARTED);
        loop {
            let seen = descriptors_of(handle)?;
            let is_started = age + self.taken.elapsed() >= STARTED;
            if seen.count == 0 || is_started || interrupt::pause(LOOK).is_err() {
                return Ok(seen);
            }
        }
    }

    /// The other containers: those that were told of, and those that the pod's cgroup holds.
    fn members(&self, told: &ToldPod, numbers: Numbers) -> Vec<MemberFacts> {
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
                own.map_or(numbers == Numbers::These, |own| own == member.id)
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
            // One that cannot be held shares nothing that is known.
            let handle = handle.and_then(|it| self.root.hold(it).ok().flatten());
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

fn descriptors_of(handle: &Handle) -> Seen<Descriptors> {
    let names = handle.names("fd").map_err(|error| words(&error))?;
    let above = names.iter().filter(|name| {
        let number = name.parse::<u32>();
        number.is_ok_and(|number| number > 2)
    });
    let shown = above.clone().take(MOST_DESCRIPTORS).map(|name| {
        let target = handle.link(&format!("fd/{name}"));
        let target = target.map_or_else(|_| "?".into(), |it| it.to_string_lossy().into_owned());
        format!("{name} → {}", pause_image::escape_text(&target))
    });
    Ok(Descriptors {
        count: above.clone().count(),
        is_part: names.len() + DOTS >= MOST_NAMES,
        shown: shown.collect(),
    })
}
