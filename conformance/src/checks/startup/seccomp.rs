//! Starting under the seccomp profiles that container engines install.

use super::{RUNS, TERM_WORKS, not_started};
use crate::advice::Advice;
use crate::backend::Spec;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, Stop};
use crate::context::{Context, Pod, trace};
use crate::seccomp::engines::{PROFILES, Profile};
use crate::seccomp::{self, Answer, Policy};
use pause_sandbox::trace::Call;

pub(super) static DEFAULT_SECCOMP: Check = Check {
    id: "startup/default-seccomp",
    title: "the program works under the default seccomp profiles of container engines",
    level: Level::Must,
    requirement: "The program MUST start, and exit 0 on SIGTERM, under the seccomp profiles that moby, containerd and the users of containers-common (CRI-O, podman) apply by default, without capabilities.",
    source: Source {
        title: "moby/profiles seccomp/default.json",
        url: "https://github.com/moby/profiles/blob/seccomp/v0.2.3/seccomp/default.json",
    },
    // Under an emulator the filter meets the emulator's system calls.
    advice: Advice::new(
        "Where the runtime's default profile is on, the call that it denies ends the program, and no pod starts.",
        "Make no call that the profiles deny; `strace -f` shows which calls are made.",
    ),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::SECCOMP)
        .union(Needs::NATIVE),
    after: TERM_WORKS,
    run: default_seccomp,
};

/// The most refused calls that are named.
const NAMED: usize = 5;

fn default_seccomp(cx: &Context<'_>) -> Outcome {
    let mut works = Vec::new();
    let mut refused: Option<Finding> = None;
    for profile in &PROFILES {
        match works_under(cx, profile) {
            Ok(()) => works.push(profile.engine),
            Err(Stop::NotRunning(finding) | Stop::Ended(finding) | Stop::Fail(finding)) => {
                let first = refused.get_or_insert(Finding {
                    evidence: Vec::new(),
                    ..finding.clone()
                });
                let line = format!("{}: {}", profile.engine, finding.observed);
                first.evidence.push(line);
                first.evidence.extend(finding.evidence);
                first.evidence.extend(refusals(cx, profile));
            }
            Err(other) => return Err(other),
        }
    }
    let works = works.join(", ");
    match refused {
        // Where startup/stays failed, it may have ended by itself.
        Some(finding) if works.is_empty() => Err(Stop::NotRunning(finding)),
        Some(finding) => Err(finding.with(format!("it works under {works}")).into()),
        None => Ok(
            Pass::new(format!("starts under {works}, and exits 0 on SIGTERM"))
                .with("Seccomp: 2 (filter) in its status"),
        ),
    }
}

fn spec(profile: &Profile) -> Result<Spec, Stop> {
    Ok(Spec {
        seccomp: Some(profile.filter()?),
        own_network: false,
        ..Spec::default()
    })
}

fn works_under(cx: &Context<'_>, profile: &Profile) -> Result<(), Stop> {
    let way = format!("under {}'s default seccomp profile", profile.engine);
    let mut pod = cx
        .start(spec(profile)?)
        .map_err(|stop| not_started(stop, &way, profile.source.url))?;
    if pod.status()?.seccomp != Some(2) {
        return Err(Stop::Error("the filter was not installed".to_owned()));
    }
    pod.expect_term_works(&format!("it started {way}"))?;
    Ok(())
}

/// The calls that the profile denies the program, found by one more start; empty where that cannot
/// be seen.
fn refusals(cx: &Context<'_>, profile: &Profile) -> Vec<String> {
    if !cx.offers(Needs::TRACE.union(Needs::HELD)) {
        return Vec::new();
    }
    let policy = profile.policy();
    let mut refused: Vec<String> = Vec::new();
    let seen = spec(profile)
        .and_then(|spec| cx.start_unready(Spec { held: true, ..spec }))
        .and_then(|mut pod| {
            let term = |pod: &mut Pod<'_>| pod.signal(crate::signal::TERM);
            trace(cx, &mut pod, term, |call| {
                if let Answer::Errno(error) = policy.answer(call) {
                    let line = describe(&policy, call, error);
                    if refused.len() < NAMED && !refused.contains(&line) {
                        refused.push(line);
                    }
                }
            })
        });
    match seen {
        Ok(_) => refused,
        Err(stop) => vec![format!("the refused system calls cannot be seen: {stop}")],
    }
}

/// The call with the arguments that the profile looks at.
fn describe(policy: &Policy, call: &Call, error: i32) -> String {
    let arguments: Vec<String> = call
        .arguments
        .iter()
        .take(policy.looks_at(call))
        .map(|argument| format!("{argument:#x}, "))
        .collect();
    format!(
        "refused: {}({}…), answered {}",
        seccomp::name_of(call),
        arguments.concat(),
        nix::errno::Errno::from_raw(error)
    )
}
