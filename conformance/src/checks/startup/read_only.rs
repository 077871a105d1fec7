//! A program writes nothing: neither where its root is read-only, nor where it is not.

use std::time::Duration;

use fixtures::protocol::Death;

use super::{RUNS, TERM_WORKS, starts};
use crate::advice::Advice;
use crate::backend::{Join, Root, Spec};
use crate::check::{Check, Level, Needs, Outcome, Source, Stop, ensure};
use crate::context::files::{self, Files, FilesView};
use crate::context::{Context, Orphans, Pod};
use crate::signal;

/// How long a program is watched for writes, where it is not shown that nothing wakes it.
const LATER: Duration = Duration::from_millis(600);

pub(super) static READ_ONLY_ROOT: Check = Check {
    id: "startup/read-only-root",
    title: "the program needs no writable root and writes nothing",
    level: Level::Must,
    requirement: "The program MUST start on a read-only root filesystem, and MUST write no file where it could: not at its start, nor later, nor when it reaps, nor at its end.",
    source: Source {
        title: "containerd podsandbox/sandbox_run_linux.go",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/server/podsandbox/sandbox_run_linux.go",
    },
    advice: Advice::new(
        "CRI runtimes mount the root of a sandbox read-only: the program fails, or leaves files in every pod.",
        "Write no file: no pid file, no log, no cache.",
    ),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::HELD)
        .union(Needs::WRITABLE_ROOT)
        .union(Needs::USER)
        .union(Needs::PROBE)
        .union(Needs::WAITS),
    after: TERM_WORKS,
    run: read_only_root,
};

fn read_only_root(cx: &Context<'_>) -> Outcome {
    let mut pass = starts(
        cx,
        Spec::default(),
        "on a read-only root",
        has_read_only_root,
    )?;
    let (count, lacks) = match stays_unwritten(cx, false) {
        // Once more, to say when.
        Err(Stop::Fail(finding)) => {
            stays_unwritten(cx, true)?;
            return Err(Stop::Fail(finding));
        }
        other => other?,
    };
    pass = pass.with(format!(
        "on a writable root none of {count} files changed, from its start to its end"
    ));
    for lack in lacks {
        pass = pass.with(lack);
    }
    Ok(pass)
}

/// Has it live on a writable root, from its start to its end; how many files that root has, and what
/// it lacks of the image. They are compared at its end, which tells all that was done to them, or
/// `each` time that it did something: a big image has many.
fn stays_unwritten(cx: &Context<'_>, each: bool) -> Result<(usize, Vec<String>), Stop> {
    let ((mut pod, view, before), spec) = start_as_root(cx)?;
    let unwritten = |when: &str| {
        let written = files::differences(&before, &view.files()?);
        ensure(
            written.is_empty(),
            "no file made, changed or removed on a writable root",
            format!("{when}: {}", listed(&written)),
        )
    };
    let then = |when| if each { unwritten(when) } else { Ok(()) };
    then("at its start")?;
    pod.leave_alone(cx.to_be_watched(spec, &[], 0, LATER)?)?;
    then("while it waited")?;
    match reap_one(&mut pod) {
        // Other checks judge whether it reaps.
        Ok(()) | Err(Stop::Fail(_) | Stop::Ended(_)) => {}
        Err(other) => return Err(other),
    }
    then("when an orphan had ended")?;
    let lives = pod.ended()?.is_none();
    if lives {
        pod.expect_term_works("it started on a writable root")?;
    }
    unwritten(if lives {
        "when it was told to end"
    } else {
        "by its end"
    })?;
    Ok((before.len(), pod.lacks().clone()))
}

/// The evidence that its root is read-only, or an error of the suite.
fn has_read_only_root(pod: &mut Pod<'_>) -> Result<String, Stop> {
    let mounts = pod.process()?.mountinfo();
    let mounts = mounts.map_err(|error| Stop::Error(format!("cannot read its mounts: {error}")))?;
    let root = mounts
        .0
        .iter()
        .find(|mount| mount.mount_point.as_os_str() == "/");
    let options = root.map(|root| &root.mount_options);
    if options.is_some_and(|options| options.contains_key("ro")) {
        Ok("its root is mounted read-only".to_owned())
    } else {
        Err(Stop::Error("the root is not read-only".to_owned()))
    }
}

/// One that was started, a view of its files, and what they were before.
type Started<'a> = (Pod<'a>, FilesView, Files);

/// Starts it as root, which may write everywhere; as the image's user where it does not run so,
/// since an image may have files for that user alone. Also how it was started.
fn start_as_root<'a>(cx: &Context<'a>) -> Result<(Started<'a>, Spec), Stop> {
    let spec = |user| Spec {
        root: Root::Writable,
        own_network: false,
        user,
        ..Spec::default()
    };
    let (root, own) = (spec(Some((0, 0))), spec(None));
    match start_seen(cx, &root) {
        Err(Stop::NotRunning(_)) => Ok((start_seen(cx, &own)?, own)),
        other => Ok((other?, root)),
    }
}

/// Starts it so.
fn start_seen<'a>(cx: &Context<'a>, spec: &Spec) -> Result<Started<'a>, Stop> {
    let mut pod = cx.start_unready(Spec {
        held: true,
        ..spec.clone()
    })?;
    let view = pod.files_view()?;
    let before = view.files()?;
    pod.release()?;
    pod.await_ready()?;
    Ok((pod, view, before))
}

/// Has it reap an orphan.
fn reap_one(pod: &mut Pod<'_>) -> Result<(), Stop> {
    let probe = pod.enter(&Join::default())?;
    let orphan = Orphans::spawn(pod, &probe, 1, (Death::Exit, 0), 0, "an orphan")?;
    orphan.expect_reaped(pod)?;
    pod.settle(signal::CHLD, "an orphan ended").map(drop)
}

/// The first paths, and how many more there are.
fn listed(paths: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut list = paths.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    if paths.len() > SHOWN {
        list.push(format!("and {} more", paths.len() - SHOWN));
    }
    list.join(", ")
}
