//! The family `pid1`: the image's program itself is the init of the pod's pid
//! namespace, alone, in the namespaces that the sandbox made.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::advice::{self, Advice};
use crate::backend::Spec;
use crate::check::{Check, Family, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::Context;
use crate::subject;

/// Being the first process of a pod.
pub static FAMILY: Family = Family {
    name: "pid1",
    title: "being the first process of a pod",
    checks: &[
        &IS_ONE,
        &IS_THE_PROGRAM,
        &NO_CHILDREN,
        &OWNS_NAMESPACE,
        &SINGLE_THREAD,
    ],
};

/// A running program whose /proc the suite reads.
const SEEN: Needs = Needs::PROGRAM.union(Needs::SANDBOX).union(Needs::HOST_PID);

const PAUSE_C: Source = Source {
    title: "kubernetes build/pause/linux/pause.c",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
};

const SHARE_PROCESSES: Source = Source {
    title: "Kubernetes documentation, Share Process Namespace between Containers in a Pod",
    url: "https://github.com/kubernetes/website/blob/snapshot-final-v1.33/content/en/docs/tasks/configure-pod-container/share-process-namespace.md",
};

/// The checks here look at a process and its namespaces; none needs a network.
fn spec() -> Spec {
    Spec {
        own_network: false,
        ..Spec::default()
    }
}

static IS_ONE: Check = Check {
    id: "pid1/is-one",
    title: "the pause process is PID 1 of the pod",
    level: Level::Must,
    requirement: "The pause process MUST be process 1 of the pid namespace that the sandbox made for the pod.",
    source: SHARE_PROCESSES,
    advice: Advice::new(
        "Orphans go to process 1 of the namespace; where that is not pause, nobody reaps them.",
        "Start the program itself as the container's process, by the exec form of the entrypoint.",
    ),
    needs: SEEN,
    after: &[],
    run: is_one,
};

fn is_one(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let pids = pod.status()?.nspid.unwrap_or_default();
    ensure(
        pids.len() > 1 && pids.last() == Some(&1),
        "process 1 of a pid namespace of its own",
        format!("NSpid {pids:?}"),
    )?;
    Ok(Pass::new("process 1 of its pid namespace"))
}

static IS_THE_PROGRAM: Check = Check {
    id: "pid1/is-the-program",
    title: "PID 1 runs the image's own program",
    level: Level::Must,
    requirement: "Process 1 of the pod MUST run the program that the image names, not a shell, a wrapper or a copy.",
    source: SHARE_PROCESSES,
    advice: Advice::new(
        "A shell as process 1 neither passes on SIGTERM nor reaps.",
        "Use the exec form, `ENTRYPOINT [\"/pause\"]`; a script has to end with `exec`.",
    ),
    needs: SEEN.union(Needs::NATIVE),
    after: &[],
    run: is_the_program,
};

fn is_the_program(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let Ok(program) = &cx.subject().program else {
        return Err(Stop::Error("the image has no program".to_owned()));
    };
    let proc = PathBuf::from(format!("/proc/{}", pod.pid()));
    let named = proc
        .join("root")
        .join(Path::new(std::ffi::OsStr::from_bytes(&program.path)));
    let identity = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let (wanted, runs) = match (identity(&named), identity(&proc.join("exe"))) {
        (Ok(wanted), Ok(runs)) => (wanted, runs),
        (Err(error), _) | (_, Err(error)) => {
            return Err(pod.harness_failed("see which file it runs", &error));
        }
    };
    let exe = std::fs::read_link(proc.join("exe")).unwrap_or_default();
    let path = subject::show_path(&program.path);
    ensure(
        wanted == runs,
        format!("it runs {path}"),
        format!("it runs {}", subject::escape(exe.as_os_str().as_bytes())),
    )?;
    Ok(Pass::new(format!("it runs {path}")))
}

static NO_CHILDREN: Check = Check {
    id: "pid1/no-children",
    title: "it has no child of its own",
    level: Level::Must,
    requirement: "The pause process MUST NOT have children of its own: the process that holds the pod is the one that waits.",
    source: PAUSE_C,
    advice: Advice::new(
        "A child of pause lives in each pod, and the one that waits is not the one that holds the namespaces.",
        "Do not fork; do the work in process 1.",
    ),
    needs: SEEN,
    after: &[],
    run: no_children,
};

fn no_children(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let children = pod.children()?;
    if children.is_empty() {
        return Ok(Pass::new("no child"));
    }
    let mut finding = pod.finding(
        "no child when idle".to_owned(),
        format!("{} children", children.len()),
    );
    for child in &children {
        let name = std::fs::read(format!("/proc/{}/comm", child.pid())).unwrap_or_default();
        let name = subject::escape(name.trim_ascii_end());
        finding = finding.with(format!("child {} runs {name}", child.pid()));
    }
    Err(finding.into())
}

static OWNS_NAMESPACE: Check = Check {
    id: "pid1/owns-namespace",
    title: "it stays in the namespaces that it was started in",
    level: Level::Must,
    requirement: "The pause process MUST stay in every namespace that the sandbox made for it, for the pod's containers join the namespaces of this process.",
    source: Source {
        title: "Kubernetes CRI api.proto, NamespaceMode",
        url: "https://github.com/kubernetes/cri-api/blob/v0.34.0/pkg/apis/runtime/v1/api.proto",
    },
    advice: Advice::new(
        "Containers join the namespaces of this process; where it has left them they join others than the pod's.",
        "Call neither unshare nor setns.",
    ),
    needs: Needs::CAN_UNSHARE.union(SEEN),
    after: &[],
    run: owns_namespace,
};

fn owns_namespace(cx: &Context<'_>) -> Outcome {
    let (made, found) = cx.namespaces()?;
    for (kind, inode) in &made {
        let now = found.get(kind);
        ensure(
            now == Some(inode),
            format!("{kind} namespace {inode}, as at its start"),
            now.map_or_else(
                || format!("no {kind} namespace"),
                |now| format!("{kind} namespace {now}"),
            ),
        )?;
    }
    Ok(Pass::new(format!(
        "{} namespaces are those of its start",
        made.len()
    )))
}

static SINGLE_THREAD: Check = Check {
    id: "pid1/single-thread",
    title: "it has one thread",
    level: Level::Should,
    requirement: "The pause process SHOULD have one thread.",
    source: PAUSE_C,
    advice: Advice::new(
        "Each thread costs memory in every pod of every node, and signals may reach another thread than the one that waits.",
        "Use one thread, and a loop that waits for signals.",
    )
    .as_in(&advice::THREAD),
    needs: SEEN.union(Needs::NATIVE),
    after: &[],
    run: single_thread,
};

fn single_thread(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start(spec())?;
    let threads = pod.status()?.threads;
    ensure(threads == 1, "1 thread", format!("{threads} threads"))?;
    Ok(Pass::new("1 thread"))
}
