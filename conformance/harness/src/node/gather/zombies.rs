//! Whose each zombie is: its parent is to wait for it, and nobody else can.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::interrupt;
use crate::node::gather::PodFacts;
use crate::node::proc::{ProcRoot, Process, Snapshot};

/// How far ancestors are named.
const MOST_ANCESTORS: usize = 8;
/// How long a pause may take to reap a child that has just ended, on a busy node.
const REAPS_WITHIN: Duration = Duration::from_millis(500);
/// Zombies that are listed of a pod.
const MOST_LISTED: usize = 1000;

/// A process that has ended and was not waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct Zombie {
    /// The process.
    pub process: Process,
    /// Seconds since it started; it is a zombie for less.
    pub age: f64,
    /// Who is to wait for it.
    pub owner: Owner,
    /// Its ancestors, the nearest first: pid and name.
    pub ancestors: Vec<(i32, String)>,
    /// It was a zombie still when all had been looked at.
    pub stays: bool,
}

/// Whose child a zombie is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The pause's.
    Pause,
    /// Another container's, by name.
    Container(String),
    /// A process outside of the pod, such as a runtime's shim.
    Outside(String),
}

/// Gives each zombie to its pod, and looks at it once more.
pub(super) fn assign(root: &ProcRoot, snapshot: &Snapshot, pods: &mut [PodFacts]) {
    let mut pauses = BTreeMap::new();
    let mut containers = BTreeMap::new();
    for (number, pod) in pods.iter().enumerate() {
        if let Some(pause) = &pod.pause {
            pauses.insert(pause.process.pid, number);
            containers.extend(
                pause
                    .process
                    .place
                    .container
                    .clone()
                    // A pause may be inside a larger container, such as a node of kind: what else
                    // is in that is not its pod's.
                    .filter(|id| *id == pod.told.id)
                    .map(|id| (id, (number, None))),
            );
        }
        for member in &pod.members {
            containers.insert(member.id.clone(), (number, Some(member.name.clone())));
        }
    }
    let place_of = |process: &Process| {
        let id = process.place.container.as_ref()?;
        containers.get(id)
    };
    for zombie in snapshot.processes.values().filter(|it| it.is_zombie()) {
        let parent = snapshot.processes.get(&zombie.parent);
        let (number, owner) = if let Some(number) = pauses.get(&zombie.parent) {
            (*number, Owner::Pause)
        } else if let Some((number, name)) = parent.and_then(place_of) {
            // The parent was started in the sandbox's own container, and is not the pause.
            let name = name.clone().unwrap_or_else(|| "the sandbox".to_owned());
            (*number, Owner::Container(name))
        } else if let Some((number, _)) = place_of(zombie) {
            let name = parent.map_or_else(|| "?".to_owned(), |it| it.name.clone());
            (*number, Owner::Outside(name))
        } else {
            continue;
        };
        if let Some(pod) = pods
            .get_mut(number)
            .filter(|it| it.zombies.len() < MOST_LISTED)
        {
            pod.zombies.push(Zombie {
                process: zombie.clone(),
                age: snapshot.age(zombie),
                owner,
                ancestors: ancestors(snapshot, zombie),
                stays: false,
            });
        }
    }
    look_again(root, pods);
}

/// A child of a pause may have ended right before the picture: it gets time to be reaped.
fn look_again(root: &ProcRoot, pods: &mut [PodFacts]) {
    look(root, pods);
    let mut all = pods.iter().flat_map(|pod| &pod.zombies);
    let is_left = all.any(|it| it.stays && it.owner == Owner::Pause);
    if is_left && interrupt::pause(REAPS_WITHIN).is_ok() {
        look(root, pods);
    }
}

fn look(root: &ProcRoot, pods: &mut [PodFacts]) {
    for zombie in pods.iter_mut().flat_map(|pod| &mut pod.zombies) {
        // One that cannot be looked at again is what it was.
        zombie.stays = root.hold(&zombie.process).map_or(true, |held| {
            let now = held.and_then(|it| it.stat().ok());
            now.is_some_and(|stat| stat.state == 'Z' && stat.ppid == zombie.process.parent)
        });
    }
}

fn ancestors(snapshot: &Snapshot, of: &Process) -> Vec<(i32, String)> {
    let above = |process: &&Process| snapshot.processes.get(&process.parent);
    std::iter::successors(Some(of), above)
        .skip(1)
        .take(MOST_ANCESTORS)
        .map(|it| (it.pid, it.name.clone()))
        .collect()
}
