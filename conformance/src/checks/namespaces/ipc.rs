//! System V and POSIX IPC objects, which outlive the member that made them.

use super::{MEMBERS, held, outside, told};
use crate::advice::Advice;
use crate::backend::{Join, Spec};
use crate::check::{Check, Level, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Context, Pod};

/// Key of System V objects, and number in the names of the others.
const KEY: u64 = 0x7061_7573;

pub(super) static SHARED: Check = Check {
    id: "namespaces/ipc-shared",
    title: "members share IPC objects",
    level: Level::Must,
    requirement: "All members of a pod MUST find the System V and POSIX IPC objects that one of them made, also after that one has left.",
    source: Source {
        title: "ipc_namespaces(7)",
        url: "https://man7.org/linux/man-pages/man7/ipc_namespaces.7.html",
    },
    advice: Advice::new(
        "Shared memory and semaphores of a pod's containers would be lost.",
        "Keep running, in the namespaces of the start, and remove no IPC object.",
    ),
    needs: MEMBERS,
    after: &[],
    run: ipc_shared,
};

fn ipc_shared(cx: &Context<'_>) -> Outcome {
    let quick = || Spec {
        own_network: false,
        ..Spec::default()
    };
    let mut pod = held(cx, quick())?;
    let made = leave_ipc_objects(&mut pod)?;
    pod.release()?;
    pod.await_ready()?;
    for member in ["a member", "another member"] {
        finds_ipc_objects(&mut pod, made, member)?;
    }
    let (mut control, outside) = outside(cx, quick())?;
    let seen = told(&mut control, "look for IPC objects", outside.ipc_find(KEY))?;
    ensure(
        seen == 0,
        "a process of another sandbox finds none of them",
        format!("a process of another sandbox finds {}", ipc_names(seen)),
    )?;
    Ok(Pass::new(format!(
        "two members found what one that had left made: {}",
        ipc_names(made)
    )))
}

/// Has a member make IPC objects and leave; which objects.
pub(super) fn leave_ipc_objects(pod: &mut Pod<'_>) -> Result<u64, Stop> {
    let member = pod.enter(&Join::default())?;
    match told(pod, "make IPC objects", member.ipc_make(KEY))? {
        0 => Err(Stop::Inconclusive(
            "this host lets no member make an IPC object of any kind".to_owned(),
        )),
        made => Ok(made),
    }
}

pub(super) fn finds_ipc_objects(pod: &mut Pod<'_>, made: u64, whose: &str) -> Result<(), Stop> {
    let member = pod.enter(&Join::default())?;
    let found = told(pod, "look for IPC objects", member.ipc_find(KEY))?;
    ensure(
        found == made,
        format!("{whose} finds {}", ipc_names(made)),
        format!("it does not find {}", ipc_names(made & !found)),
    )
}

fn ipc_names(bits: u64) -> String {
    use fixtures::protocol::ipc;
    [
        (ipc::SHM, "System V shared memory"),
        (ipc::SEM, "System V semaphores"),
        (ipc::MSG, "System V messages"),
        (ipc::MQ, "a POSIX message queue"),
        (ipc::DEV_SHM, "a file in /dev/shm"),
    ]
    .into_iter()
    .filter_map(|(bit, name)| (bits & bit != 0).then_some(name))
    .collect::<Vec<_>>()
    .join(", ")
}
