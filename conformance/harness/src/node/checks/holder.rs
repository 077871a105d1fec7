//! What a pause is there for: it lives, alone, as the first process, holds what the pod shares, and
//! reaps.

use super::{Judgement, Miss, NodeCheck, missing, pause, unseen};
use crate::advice::{Advice, REAP};
use crate::event::Want;
use crate::node::gather::{Owner, PodFacts, Zombie};
use crate::node::source::{Kind, ToldPause};
use crate::outcome::{Finding, Pass};
use crate::requirement::{Level, Source};

/// Zombies that a report names.
const MOST_NAMED: usize = 10;

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

pub(super) static PAUSE_ALIVE: NodeCheck<PodFacts> = NodeCheck {
    id: "node/pause-alive",
    title: "the pause of a pod that runs is alive",
    level: Level::Must,
    requirement: "A pod sandbox that its runtime says runs MUST have a pause process that lives, unless it is made without one.",
    source: Source {
        title: "Kubernetes, CRI API, PodSandboxState",
        url: "https://github.com/kubernetes/cri-api/blob/v0.34.0/pkg/apis/runtime/v1/api.proto",
    },
    advice: Advice::new(
        "Without its pause a pod has no namespaces to start a container in, and kubelet does not know.",
        "Find out what ended it (dmesg for the OOM killer, the runtime's log), and delete the pod.",
    ),
    judge: |pod, _| match (&pod.pause, &pod.told.pause) {
        (Some(pause), _) => Ok(Pass::new(format!("pid {} lives", pause.process.pid))),
        (None, ToldPause::Without(why)) => Err(Miss::Skip(Want::Subject, why.clone())),
        (None, told) => {
            if let Some(why) = &pod.unseen {
                return Err(Miss::Skip(Want::Host, why.clone()));
            }
            let observed = match told {
                ToldPause::Runs { pid: Some(pid), .. } => format!("pid {pid} has ended"),
                ToldPause::Runs { pid: None, .. } => "no process of it lives".to_owned(),
                _ => "it has ended, and containers of the pod run".to_owned(),
            };
            Err(Finding::new("a pause that lives", observed).into())
        }
    },
};

pub(super) static ONE_PAUSE: NodeCheck<PodFacts> = NodeCheck {
    id: "node/one-pause",
    title: "a pod has one pause",
    level: Level::Must,
    requirement: "A pod MUST have no more than one sandbox that runs.",
    source: Source {
        title: "Kubernetes, kuberuntime podSandboxChanged",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/kubelet/kuberuntime/util/util.go",
    },
    advice: Advice::new(
        "Containers of one pod are then in two networks, and one of the two is never cleaned up.",
        "Let kubelet clean up: restart it; else remove the older sandbox with crictl stopp and rmp.",
    ),
    judge: |pod, _| match pod.sandboxes {
        0 => Err(Miss::Skip(Want::Subject, "it has no pause".to_owned())),
        1 => Ok(Pass::new("one")),
        more => {
            let others = pod.told.rivals.iter().map(|pid| format!("also pid {pid}"));
            let found = Finding::new("one pause", format!("{more}"));
            Err(others.fold(found, Finding::with).into())
        }
    },
};

pub(super) static FIRST_PROCESS: NodeCheck<PodFacts> = NodeCheck {
    id: "node/first-process",
    title: "it is process 1 of its pid namespace",
    level: Level::Must,
    requirement: "The pause process MUST be process 1 of its pid namespace, unless the pod has the node's.",
    source: Source {
        title: "pid_namespaces(7)",
        url: "https://man7.org/linux/man-pages/man7/pid_namespaces.7.html",
    },
    advice: Advice::new(
        "Orphans of the pod go to process 1: another one does not reap them, and may end before the pod.",
        "Have the runtime start the image's program itself, without a wrapper.",
    ),
    judge: |pod, _| {
        let pause = pause(pod)?;
        let pids = pause.status.nspid.as_ref();
        let pids = pids.ok_or_else(|| missing("NSpid", "this kernel is older than 4.1"))?;
        if pids.last() == Some(&1) {
            return Ok(Pass::new("it is"));
        }
        if pause.of_the_node.contains(&Kind::Pid) || pids.len() < 2 {
            let why = "the pod has the node's pid namespace".to_owned();
            return Err(Miss::Skip(Want::Subject, why));
        }
        let last = pids.last().copied().unwrap_or_default();
        Err(Finding::new("process 1", format!("process {last}")).into())
    },
};

pub(super) static NAMESPACES_SHARED: NodeCheck<PodFacts> = NodeCheck {
    id: "node/namespaces-shared",
    title: "its containers share the namespaces that they are to",
    level: Level::Must,
    requirement: "Each container of the pod MUST be in the namespaces of the pause that the pod shares.",
    source: Source {
        title: "Kubernetes, Pods: resource sharing",
        url: "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking",
    },
    advice: Advice::new(
        "A container in another network or IPC namespace is not reached by its pod's address, nor by its neighbours.",
        "The pause was replaced below the container: delete the pod, and look why its sandbox was made anew.",
    ),
    judge: namespaces_shared,
};

fn namespaces_shared(pod: &PodFacts, _: &super::Options) -> Judgement {
    let pause = pause(pod)?;
    // What every runtime has containers share; cri-dockerd gives each a host name of its own.
    let by_kind = pod.told.kubernetes.then(|| vec![Kind::Net, Kind::Ipc]);
    let mut compared = 0;
    let mut apart = Vec::new();
    let mut hidden = None;
    for member in &pod.members {
        let shares = member.shares.as_ref().or(by_kind.as_ref());
        for kind in shares.into_iter().flatten() {
            match (pause.namespaces.get(kind), member.namespaces.get(kind)) {
                (Some(Ok(own)), Some(Ok(other))) => {
                    compared += 1;
                    if own != other {
                        let name = pause_image::escape_text(&member.name);
                        let kind = kind.as_str();
                        apart.push(format!(
                            "{name} has {kind}:[{other}], the pause {kind}:[{own}]"
                        ));
                    }
                }
                (Some(Err(why)), _) | (_, Some(Err(why))) => hidden = Some(why),
                // It does not run.
                (None, _) | (_, None) => {}
            }
        }
    }
    if let [first, ..] = &apart[..] {
        let found = Finding::new("the pause's namespaces", first.clone());
        return Err(apart[1..]
            .iter()
            .fold(found, |found, it| found.with(it.clone()))
            .into());
    }
    match (compared, hidden) {
        (0, Some(why)) => Err(unseen("its namespaces", why)),
        (0, None) => {
            let why = "no other container of it runs that is to share one".to_owned();
            Err(Miss::Skip(Want::Subject, why))
        }
        (n, hidden) => {
            let pass = Pass::new(format!("{n} as they are to be"));
            Ok(hidden.into_iter().fold(pass, |pass, why| {
                pass.with(format!("others cannot be read: {why}"))
            }))
        }
    }
}

pub(super) static ZOMBIES_REAPED: NodeCheck<PodFacts> = NodeCheck {
    id: "node/zombies-reaped",
    title: "it has reaped its children that ended",
    level: Level::Must,
    requirement: "The pause process MUST reap the orphans that the kernel gives to it.",
    source: PAUSE_C,
    advice: Advice::new(
        "Zombies fill the pod's process limit, then the node's: nothing more can be started.",
        "Use a pause that waits for all children on SIGCHLD: upstream's does since 3.1.",
    )
    .as_in(&REAP),
    judge: |pod, options| {
        pause(pod)?;
        let own = pod.zombies.iter().filter(|it| it.owner == Owner::Pause);
        let (old, young): (Vec<_>, Vec<_>) =
            own.partition(|it| it.stays && it.age >= options.zombie_age);
        if old.is_empty() {
            let young = match young.len() {
                0 => "no zombie is its child".to_owned(),
                n => format!("{n} have just ended"),
            };
            return Ok(Pass::new(young));
        }
        let observed = format!("{} zombies are its children", old.len());
        let found = Finding::new("none", observed);
        Err(old
            .iter()
            .take(MOST_NAMED)
            .fold(found, |found, it| found.with(line(it)))
            .into())
    },
};

pub(super) static ZOMBIES_OF_CONTAINERS: NodeCheck<PodFacts> = NodeCheck {
    id: "node/containers-reap",
    title: "its containers have reaped their children that ended",
    level: Level::Should,
    requirement: "A container of the pod SHOULD wait for the children of its own processes.",
    source: Source {
        title: "wait(2), NOTES",
        url: "https://man7.org/linux/man-pages/man2/wait.2.html#NOTES",
    },
    advice: Advice::new(
        "The zombies are the container's own, and no pause can reap them while their parent lives.",
        "Mend the program that is named as their parent, or start it below an init; share the pid namespace only helps orphans.",
    ),
    judge: |pod, options| {
        let others = pod.zombies.iter().filter(|it| it.owner != Owner::Pause);
        let old: Vec<_> = others
            .filter(|it| it.stays && it.age >= options.zombie_age)
            .collect();
        let Some(first) = old.first() else {
            return Ok(Pass::new("no zombie is a child of theirs"));
        };
        let whose = match &first.owner {
            Owner::Pause => String::new(),
            Owner::Container(name) => format!("of container {}", pause_image::escape_text(name)),
            Owner::Outside(name) => {
                format!("of {}, outside of the pod", pause_image::escape_text(name))
            }
        };
        let found = Finding::new("none", format!("{} zombies, the first {whose}", old.len()));
        Err(old
            .iter()
            .take(MOST_NAMED)
            .fold(found, |found, it| found.with(line(it)))
            .into())
    },
};

/// A zombie with its parent.
fn line(zombie: &Zombie) -> String {
    let name = pause_image::escape_text(&zombie.process.name);
    let above = zombie.ancestors.first();
    let parent = above.map_or_else(
        || format!("pid {}", zombie.process.parent),
        |(pid, name)| format!("pid {pid} ({})", pause_image::escape_text(name)),
    );
    format!(
        "pid {} ({name}), started {:.0} s ago, child of {parent}",
        zombie.process.pid, zombie.age
    )
}
