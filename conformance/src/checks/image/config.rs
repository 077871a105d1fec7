//! Fields of the configuration that container engines act on.

use super::image_of;
use crate::advice::Advice;
use crate::check::{Check, Finding, Level, Needs, Outcome, Pass, Source, ensure};
use crate::context::Context;
use crate::subject::{EntryKind, quote, show_path};

pub(super) static USER_NUMERIC: Check = Check {
    id: "image/user-numeric",
    title: "User is numeric",
    level: Level::Must,
    requirement: "User, where set, MUST be a numeric uid, or uid and gid, each from 0 to 65535, since the image has no passwd file and a pod's user namespace no more ids.",
    source: Source {
        title: "containerd/cri#176",
        url: "https://github.com/containerd/cri/issues/176",
    },
    advice: Advice::new(
        "A runtime has no passwd file to look a name up in, and refuses to start the container; a pod in a user namespace has no id above 65535.",
        "Write numbers: `USER 65535:65535`.",
    ),
    needs: Needs::IMAGE,
    after: &[],
    run: user_numeric,
};

fn user_numeric(cx: &Context<'_>) -> Outcome {
    let Some(user) = &image_of(cx)?.config.user else {
        return Ok(Pass::new("User is not set"));
    };
    let observed = format!("User {}", quote(user));
    ensure(
        ids(user).is_some(),
        "uid or uid:gid, each a number from 0 to 65535",
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

pub(super) static USER_NONROOT: Check = Check {
    id: "image/user-nonroot",
    title: "User is not root",
    level: Level::Should,
    requirement: "User SHOULD give uid and gid, neither of them 0.",
    source: Source {
        title: "kubernetes#97963",
        url: "https://github.com/kubernetes/kubernetes/pull/97963",
    },
    advice: Advice::new(
        "A fault in the program, or in what enters its namespaces, then acts as root.",
        "Write `USER 65535:65535` in the Dockerfile.",
    ),
    needs: Needs::NATIVE_IMAGE,
    after: &["image/user-numeric"],
    run: user_nonroot,
};

fn user_nonroot(cx: &Context<'_>) -> Outcome {
    let user = image_of(cx)?.config.user.as_deref();
    let observed = user.map_or("User is not set".to_owned(), |user| {
        format!("User {}", quote(user))
    });
    let nonroot = matches!(user.and_then(ids), Some((1.., Some(1..))));
    ensure(
        nonroot,
        "uid:gid, neither 0 (upstream has 65535:65535)",
        observed.clone(),
    )?;
    Ok(Pass::new(observed))
}

/// Uid and gid of a numeric User; `None` where it is anything else.
fn ids(user: &str) -> Option<(u16, Option<u16>)> {
    // `parse` would take a leading plus sign.
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    match user.split_once(':') {
        Some((uid, gid)) => Some((number(uid)?, Some(number(gid)?))),
        None => Some((number(user)?, None)),
    }
}

pub(super) static STOP_SIGNAL_SANE: Check = Check {
    id: "image/stop-signal-sane",
    title: "StopSignal ends pause",
    level: Level::Must,
    requirement: "StopSignal MUST be unset, TERM or INT, since container engines send it and pause ends on no other signal.",
    source: Source {
        title: "podman#20196",
        url: "https://github.com/containers/podman/issues/20196",
    },
    advice: Advice::new(
        "An engine that stops the pod sends a signal that pause does not end on, and waits for its grace period to pass each time.",
        "Leave `STOPSIGNAL` out.",
    ),
    needs: Needs::IMAGE,
    after: &[],
    run: stop_signal_sane,
};

fn stop_signal_sane(cx: &Context<'_>) -> Outcome {
    let Some(signal) = &image_of(cx)?.config.stop_signal else {
        return Ok(Pass::new("StopSignal is not set: TERM"));
    };
    let observed = format!("StopSignal {}", quote(signal));
    let Some(wrong) = unfit(signal) else {
        return Ok(Pass::new(observed));
    };
    let expected = "TERM or INT, by name or number";
    Err(Finding::new(expected, format!("{observed}: {wrong}")).into())
}

/// pid_namespaces(7): a signal without a handler does not reach process 1 of a pid namespace.
const KEPT: &str = "pause has no handler for it, and the kernel keeps it from a PID 1 without \
    one: container engines wait, then send KILL";

/// Why a signal cannot be the one that ends pause.
fn unfit(signal: &str) -> Option<&'static str> {
    let upper = signal.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    // Container engines take a number with leading zeros.
    let name = if is_number {
        name.trim_start_matches('0')
    } else {
        name
    };
    let number = |text: &str| text.parse::<u8>().ok();
    let real_time = |text: &str| {
        let offset = text.strip_prefix("RTMIN").or(text.strip_prefix("RTMAX"))?;
        let offset = offset.strip_prefix(['+', '-']).unwrap_or(offset);
        (offset.is_empty() || number(offset).is_some_and(|it| it <= 30)).then_some(())
    };
    match name {
        "TERM" | "15" | "INT" | "2" => None,
        "KILL" | "9" => Some("no program can handle it: pause is killed at once, with status 137"),
        "STOP" | "19" | "TSTP" | "20" | "TTIN" | "21" | "TTOU" | "22" => {
            Some("it stops a process and does not end it: container engines wait, then send KILL")
        }
        "CHLD" | "CLD" | "17" => Some(
            "pause takes it for the end of a child and goes on: container engines wait, then \
             send KILL",
        ),
        "CONT" | "18" | "URG" | "23" | "WINCH" | "28" => {
            Some("it ends no process: container engines wait, then send KILL")
        }
        "37" | "RTMIN+3" => {
            Some("systemd ends on it; pause goes on: container engines wait, then send KILL")
        }
        "HUP" | "QUIT" | "ILL" | "TRAP" | "ABRT" | "IOT" | "BUS" | "FPE" | "USR1" | "SEGV"
        | "USR2" | "PIPE" | "ALRM" | "STKFLT" | "XCPU" | "XFSZ" | "VTALRM" | "PROF" | "IO"
        | "POLL" | "PWR" | "SYS" => Some(KEPT),
        name if is_number && number(name).is_some_and(|it| (1..=64).contains(&it)) => Some(KEPT),
        name if real_time(name).is_some() => Some(KEPT),
        _ => Some("Linux has no such signal, and container engines refuse it"),
    }
}

pub(super) static WORKDIR_EXISTS: Check = Check {
    id: "image/workdir-exists",
    title: "WorkingDir exists",
    level: Level::Must,
    requirement: "WorkingDir MUST be unset or an absolute path to a directory of the image, since the root is read-only when a runtime changes to it.",
    source: Source {
        title: "containerd v2.1.0, podsandbox/sandbox_run_linux.go",
        url: "https://github.com/containerd/containerd/blob/v2.1.0/internal/cri/server/podsandbox/sandbox_run_linux.go",
    },
    advice: Advice::new(
        "The runtime cannot change into the folder, and no pod sandbox starts.",
        "Leave `WORKDIR` out, or name a folder that a layer holds.",
    ),
    needs: Needs::IMAGE.union(Needs::FILES),
    after: &[],
    run: workdir_exists,
};

fn workdir_exists(cx: &Context<'_>) -> Outcome {
    let Some(folder) = &image_of(cx)?.config.working_dir else {
        return Ok(Pass::new("WorkingDir is not set"));
    };
    let expected = "a directory of the image";
    let quoted = format!("WorkingDir {}", quote(folder));
    ensure(folder.starts_with('/'), "an absolute path", quoted.clone())?;
    match cx.subject().rootfs.resolve(folder) {
        Ok((_, entry)) if matches!(entry.kind, EntryKind::Directory) => Ok(Pass::new(quoted)),
        Ok((path, _)) => Err(Finding::new(
            expected,
            format!("{quoted}: {} is not a directory", show_path(&path)),
        )
        .into()),
        Err(error) => Err(Finding::new(expected, format!("{quoted}: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::unfit;

    #[rstest]
    #[case("SIGTERM", None)]
    #[case("term", None)]
    #[case("15", None)]
    #[case("015", None)]
    #[case("2", None)]
    #[case("SIGKILL", Some("no program can handle it"))]
    #[case("9", Some("no program can handle it"))]
    #[case("STOP", Some("it stops a process"))]
    #[case("SIGCHLD", Some("the end of a child"))]
    #[case("winch", Some("it ends no process"))]
    #[case("SIGRTMIN+3", Some("systemd"))]
    #[case("37", Some("systemd"))]
    #[case("HUP", Some("no handler for it"))]
    #[case("64", Some("no handler for it"))]
    #[case("RTMAX-1", Some("no handler for it"))]
    #[case("0", Some("no such signal"))]
    #[case("65", Some("no such signal"))]
    #[case("-15", Some("no such signal"))]
    #[case("TERM ", Some("no such signal"))]
    #[case("RTMIN+99", Some("no such signal"))]
    #[case("SIG", Some("no such signal"))]
    fn a_stop_signal_that_does_not_end_pause_says_what_it_does(
        #[case] signal: &str,
        #[case] says: Option<&str>,
    ) {
        let said = unfit(signal);
        match says {
            None => assert_eq!(said, None),
            Some(says) => assert!(said.is_some_and(|said| said.contains(says)), "{said:?}"),
        }
    }
}
