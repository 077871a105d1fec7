//! The family `engine`: a pod as its container engine or OCI runtime makes it, with containers that
//! are made and not only let in.

use std::io;
use std::time::Duration;

use procfs::FromRead as _;
use procfs::process::Stat;

use super::namespaces::network::{ADDRESS, PORT, plug_in, same_network};
use super::namespaces::told;
use super::startup::confined::inside;
use crate::advice::Advice;
use crate::backend::{Join, Member, Spec, Stopped};
use crate::check::{Check, Family, Finding, Level, Needs, Outcome, Pass, Source, Stop, ensure};
use crate::context::{Added, Context, Orphans, Pod, await_reaped};
use crate::probe::Probe;
use crate::process::{self, ExitStatus};
use crate::signal;
use crate::subject;

/// What only engines do.
pub static FAMILY: Family = Family {
    name: "engine",
    title: "a pod as its engine makes it",
    checks: &[
        &TAKES_IMAGE,
        &STOP_IS_CLEAN,
        &MEMBERS_SHARE,
        &MEMBER_RESTARTS,
        &PAUSE_PATH,
        &PS,
    ],
};

/// What every check here needs.
const ENGINE: Needs = Needs::PROGRAM
    .union(Needs::SANDBOX)
    .union(Needs::ENGINE)
    .union(Needs::HOST_PID)
    .union(Needs::NATIVE);

/// What those need that look at a pod with containers.
const MEMBERS: Needs = ENGINE.union(Needs::PROBE).union(Needs::SANDBOX_PROC);

/// A container in all namespaces that its engine has pods share.
const SHARING: Member = Member {
    port: None,
    shares_pid: true,
};
/// One that has a pid namespace of its own.
const PRIVATE: Member = Member {
    port: None,
    shares_pid: false,
};

/// What docker and podman give a container to end, before they kill it.
const GRACE: Duration = Duration::from_secs(10);
/// How soon the end is seen of what an engine says it has stopped.
const SEEN: Duration = Duration::from_secs(10);

const PODS: Source = Source {
    title: "Kubernetes documentation, Pods",
    url: "https://github.com/kubernetes/website/blob/snapshot-final-v1.33/content/en/docs/concepts/workloads/pods/_index.md",
};

static TAKES_IMAGE: Check = Check {
    id: "engine/takes-image",
    title: "the engine takes the image and runs its program",
    level: Level::Must,
    requirement: "A container engine MUST take the image as it is stored, and run the program that its configuration names as the user that it names.",
    source: Source {
        title: "OCI image specification, conversion to a runtime configuration",
        url: "https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md",
    },
    advice: Advice::new(
        "A node whose engine refuses the image starts no pod at all.",
        "Have the image built by a tool that engines agree with; name a numeric user and a program that is there.",
    ),
    needs: ENGINE,
    after: &[],
    run: takes_image,
};

fn takes_image(cx: &Context<'_>) -> Outcome {
    // What was never executed is judged here, whatever else fails for it.
    let mut pod = cx
        .start_unready(Spec::default())
        .map_err(|stop| match stop {
            Stop::NotRunning(finding) => Stop::Fail(finding),
            other => other,
        })?;
    let Ok(program) = &cx.subject().program else {
        return Err(Stop::Error("the image has no program".to_owned()));
    };
    let read = std::fs::read(format!("/proc/{}/exe", pod.pid()));
    let runs = told(&mut pod, "read its program", read)?;
    let path = subject::show_path(&program.path);
    // The kernel executes the interpreter of a script.
    let is_script = program.format == subject::Format::Script;
    ensure(
        is_script || *runs == *program.content,
        format!("it runs {path} of the image"),
        format!("it runs another program, of {} bytes", runs.len()),
    )?;
    let status = pod.status()?;
    let wanted = (program.uid, program.gid);
    // An engine may map ids, as docker's userns-remap does.
    let id = |map, id| Ok::<_, Stop>(inside(&pod, map, id)?.unwrap_or(id));
    let runs_as = (id("uid_map", status.ruid)?, id("gid_map", status.rgid)?);
    ensure(
        wanted.0.is_none_or(|uid| uid == runs_as.0) && wanted.1.is_none_or(|gid| gid == runs_as.1),
        format!("it runs as user {}", user_in_words(wanted)),
        format!("it runs as user {}:{}", runs_as.0, runs_as.1),
    )?;
    Ok(Pass::new(format!(
        "{path} runs as user {}:{}",
        runs_as.0, runs_as.1
    )))
}

fn user_in_words((uid, gid): (Option<u32>, Option<u32>)) -> String {
    let word = |id: Option<u32>| id.map_or("any".to_owned(), |id| id.to_string());
    format!("{}:{}", word(uid), word(gid))
}

static STOP_IS_CLEAN: Check = Check {
    id: "engine/stop-is-clean",
    title: "it ends with status 0 when its engine stops it",
    level: Level::Must,
    requirement: "Where an engine stops the pause container by a signal, the pause process MUST end with status 0 within the grace period, before the engine kills it.",
    source: Source {
        title: "docker container stop",
        url: "https://github.com/docker/cli/blob/v28.0.0/docs/reference/commandline/container_stop.md",
    },
    advice: Advice::new(
        "Each stop of a pod lasts the whole grace period, and the pod is recorded as killed.",
        "End with status 0 on SIGTERM, and set no other StopSignal.",
    ),
    needs: ENGINE,
    after: &[],
    run: stop_is_clean,
};

fn stop_is_clean(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_joined()?;
    let grace = Duration::from_secs(cx.scaled(GRACE).as_secs());
    let (stopped, took) = pod.stop_by_engine(grace)?;
    let killed = ExitStatus::Signaled(signal::KILL);
    match (stopped, pod.await_end(SEEN)?) {
        (_, Some(ExitStatus::Exited(0))) => Ok(Pass::new(format!(
            "exited 0 when its engine stopped it, in {took:.1?}"
        ))),
        // Nothing was asked of the pause process.
        (Stopped::Killed, Some(status)) if status == killed => Err(Stop::Skip(
            "the engine stops a pause container by SIGKILL".to_owned(),
        )),
        (_, status) => {
            let observed = match status {
                Some(status) if status == killed => {
                    format!("the engine killed it after {took:.1?}")
                }
                Some(status) => status.to_string(),
                None => "still running when its engine says that it is stopped".to_owned(),
            };
            let expected = format!("exited 0 within {grace:?} of its engine's stop");
            Err(pod.finding(expected, observed).into())
        }
    }
}

static MEMBERS_SHARE: Check = Check {
    id: "engine/members-share",
    title: "containers that the engine makes share the pause's namespaces",
    level: Level::Must,
    requirement: "Containers that an engine makes of a pod, before and after orphans were reaped, MUST be in the network and IPC namespaces of the pause process, in its pid namespace unless they have one of their own, and in its UTS namespace where that engine shares it.",
    source: PODS,
    advice: Advice::new(
        "Containers that start later would not reach those that run.",
        "Call neither unshare nor setns.",
    ),
    needs: MEMBERS,
    after: &["reaping/one-orphan"],
    run: members_share,
};

/// Namespaces, by their files in /proc, that every engine has the containers of a pod share where it
/// is asked to.
const SHARED: [&str; 3] = ["net", "ipc", "pid"];

fn members_share(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_joined()?;
    let made = pod.namespaces()?;
    let first = pod.add_container(&SHARING)?;
    let probe = pod.enter(&Join::default())?;
    let death = (fixtures::protocol::Death::Exit, 0);
    let orphans = Orphans::spawn(&mut pod, &probe, 4, death, 0, "orphans")?;
    orphans.expect_reaped(&mut pod)?;
    drop(probe);
    let second = pod.add_container(&SHARING)?;
    let alone = pod.add_container(&PRIVATE)?;
    let early = told(&mut pod, "see its namespaces", first.namespaces())?;
    let late = told(&mut pod, "see its namespaces", second.namespaces())?;
    let private = told(&mut pod, "see its namespaces", alone.namespaces())?;
    // An engine gives each container a UTS namespace of its own, or none.
    let shares_uts = early.get("uts") == made.get("uts");
    let kinds = SHARED.iter().chain(shares_uts.then_some(&"uts"));
    let mut pass = Pass::new("three containers, and the pause process, share their namespaces");
    for kind in kinds {
        let all = [&made, &early, &late, &private].map(|all| all.get(*kind).copied());
        let [own, early, late, private] = all.map(Option::unwrap_or_default);
        ensure(
            own != 0 && [early, late] == [own, own],
            format!("the {kind} namespace that was made for the pod, {own}, in both containers"),
            format!("{early} in the first container, {late} in the second"),
        )?;
        // What its engine did not do says nothing of the image.
        if (*kind == "pid") == (private == own) {
            return Err(Stop::Error(format!(
                "a container with a pid namespace of its own is in the {kind} namespace {private}, \
                 the pause process in {own}"
            )));
        }
        pass = pass.with(format!("{kind}: {own}"));
    }
    pod.expect_running("containers were made of its pod")?;
    Ok(pass)
}

static MEMBER_RESTARTS: Check = Check {
    id: "engine/member-restarts",
    title: "a pod keeps its address and ports over a container's restart",
    level: Level::Must,
    requirement: "When an engine restarts a container of a pod, the pause process MUST stay, and the container MUST find the same devices and addresses and serve on the same port, also where it has left an orphan that was killed.",
    source: PODS,
    advice: Advice::new(
        "A container that crashes would take the address of its pod along, and its neighbours with it.",
        "Reap what is left to process 1, whatever its status, and stay in the namespaces of the start.",
    ),
    needs: MEMBERS.union(Needs::NETWORK),
    after: &[],
    run: member_restarts,
};

fn member_restarts(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_joined()?;
    let set_up = plug_in(&mut pod)?;
    let mut server = pod.add_container(&Member {
        port: Some(PORT),
        ..SHARING
    })?;
    let client = pod.enter(&Join::default())?;
    serves(&mut pod, &client, &set_up, "before its restart")?;
    let network = |pod: &mut Pod<'_>, server: &Added| {
        let all = told(pod, "see its namespaces", server.namespaces())?;
        Ok::<_, Stop>(all.get("net").copied())
    };
    let (before, first) = (network(&mut pod, &server)?, server.pid());
    let (_, orphan) = server.child(&mut pod)?;
    pod.restart(&mut server)?;
    // An engine kills what its container has left, or leaves that to whoever runs it.
    let _ = process::send_signal(std::os::fd::AsFd::as_fd(&orphan), signal::KILL);
    let reaped = await_reaped(&mut pod, &orphan)?;
    pod.expect_running("a restart of a container")?;
    let next = pod.enter(&Join::default())?;
    same_network(&mut pod, &next, &set_up, "a container after its restart")?;
    let after = network(&mut pod, &server)?;
    ensure(
        before == after,
        "a container is in the same network namespace after its restart",
        "it is in another network namespace",
    )?;
    serves(&mut pod, &next, &set_up, "after its restart")?;
    pod.expect_running("a restart of a container")?;
    let how = if reaped { "reaped" } else { "not reaped" };
    Ok(Pass::new(format!(
        "{} devices, addresses and routes, and port {PORT}, are the same after a restart",
        set_up.len()
    ))
    .with(format!(
        "its first process was {first}, then {}; its orphan was killed, and {how}",
        server.pid()
    )))
}

/// Reaches the port of a container at the address of the pod.
fn serves(pod: &mut Pod<'_>, client: &Probe, set_up: &[String], when: &str) -> Result<(), Stop> {
    let address = ADDRESS.to_string();
    let has_address = set_up.iter().any(|line| line.contains(&address));
    let attempt = || -> io::Result<()> {
        if has_address {
            client.connect_to(ADDRESS, PORT)
        } else {
            client.connect(PORT)
        }
    };
    let answer = pod.await_served(attempt)?;
    answer.map_err(|error| {
        let expected = format!("a container serves on port {PORT} of the pod {when}");
        pod.blame(
            "reach a container",
            Finding::new(expected, format!("connect: {error}")),
        )
    })
}

static PAUSE_PATH: Check = Check {
    id: "engine/pause-path",
    title: "/pause, run as root, holds a pod",
    level: Level::Should,
    requirement: "/pause of the image, run without arguments and as root whatever user the image names, SHOULD stay until SIGTERM and then end with status 0, since CRI-O runs its pods so.",
    source: Source {
        title: "CRI-O v1.34.0, crio.conf(5), pause_command",
        url: "https://github.com/cri-o/cri-o/blob/v1.34.0/docs/crio.conf.5.md",
    },
    advice: Advice::new(
        "CRI-O starts /pause whatever the image's configuration says, and its pods end or do not stop.",
        "Name the program /pause, or add a link of that name, and let it depend on neither arguments nor user.",
    ),
    needs: ENGINE.union(Needs::USER).union(Needs::ARGUMENTS),
    after: &["signals/term-exits-zero"],
    run: pause_path,
};

fn pause_path(cx: &Context<'_>) -> Outcome {
    const PATH: &str = "/pause";
    if let Err(error) = cx.subject().rootfs.resolve(PATH) {
        return Err(Finding::new("a program at /pause", error.to_string()).into());
    }
    let mut pod = cx.start_or_blame(Spec {
        command: Some(vec![PATH.to_owned()]),
        user: Some((0, 0)),
        ..Spec::default()
    })?;
    let status = pod.status()?;
    let ids = (
        inside(&pod, "uid_map", status.ruid)?,
        inside(&pod, "gid_map", status.rgid)?,
    );
    if ids != (Some(0), Some(0)) {
        let observed = format!("the engine has it run as user {}", status.ruid);
        return Err(Stop::Error(observed));
    }
    let took = pod.expect_term_works("a start as /pause, by root")?;
    Ok(Pass::new(format!(
        "/pause stayed as root, and exited 0 {took:.1?} after SIGTERM"
    )))
}

static PS: Check = Check {
    id: "engine/ps",
    title: "ps in a container shows the pause as PID 1",
    level: Level::Must,
    requirement: "In a container of a pod that shares its pid namespace, /proc/1 MUST be the pause process, with the command line that the image names.",
    source: Source {
        title: "Kubernetes documentation, Share Process Namespace between Containers in a Pod",
        url: "https://github.com/kubernetes/website/blob/snapshot-final-v1.33/content/en/docs/tasks/configure-pod-container/share-process-namespace.md",
    },
    advice: Advice::new(
        "Whoever looks into a pod takes process 1 for something else, as do programs that look for /pause.",
        "Execute nothing else, and leave the arguments as they were given.",
    ),
    needs: MEMBERS,
    after: &["pid1/is-one"],
    run: ps,
};

fn ps(cx: &Context<'_>) -> Outcome {
    let mut pod = cx.start_joined()?;
    let container = pod.add_container(&SHARING)?;
    let read = std::fs::read(container.proc("1/stat"));
    let stat = told(&mut pod, "read /proc/1/stat of a container", read)?;
    let seen = Stat::from_read(stat.as_slice())
        .map_err(|error| Stop::Error(format!("cannot read /proc/1/stat: {error}")))?;
    let pause = pod.stat()?;
    ensure(
        seen.starttime == pause.starttime,
        "/proc/1 of a container is the pause process",
        format!(
            "it is {}, which was started at another time",
            seen.comm.escape_debug()
        ),
    )?;
    let read = std::fs::read(container.proc("1/cmdline"));
    let words = told(&mut pod, "read /proc/1/cmdline of a container", read)?;
    let shown = in_words(&words);
    let program = cx.subject().program.as_ref();
    // Of a script the kernel shows the interpreter, and then what the script executes.
    let is_script = program.is_ok_and(|program| program.format == subject::Format::Script);
    let named = program.map_or(String::new(), |program| {
        subject::escape(program.argv.join(" ").as_bytes())
    });
    ensure(
        is_script || shown == named,
        format!("ps in a container shows PID 1 as {named}"),
        format!("it shows {shown}"),
    )?;
    pod.expect_running("a container looked at it")?;
    let pass = Pass::new(format!("ps in a container shows PID 1 as {shown}"));
    Ok(if is_script {
        pass.with("its program is a script, whose command line is not judged")
    } else {
        pass
    })
}

/// A command line as ps(1) shows it.
fn in_words(words: &[u8]) -> String {
    let words = words.strip_suffix(b"\0").unwrap_or(words);
    let words: Vec<u8> = words
        .iter()
        .map(|byte| if *byte == 0 { b' ' } else { *byte })
        .collect();
    subject::escape(&words)
}

#[cfg(test)]
mod tests {
    use super::{in_words, user_in_words};

    #[test]
    fn a_command_line_is_shown_as_by_ps() {
        assert_eq!(in_words(b"/pause\0"), "/pause");
        assert_eq!(in_words(b"/pause\0-x\0"), "/pause -x");
        assert_eq!(in_words(b""), "");
        assert!(!in_words(b"\x1b[2J\0").contains('\x1b'));
    }

    #[test]
    fn a_user_that_is_not_named_is_any() {
        assert_eq!(user_in_words((Some(7), None)), "7:any");
    }
}
