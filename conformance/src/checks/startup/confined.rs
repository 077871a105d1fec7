//! Starting with little: no privileges, any user, a user namespace.

use super::{RUNS, TERM_WORKS, starts};
use crate::advice::Advice;
use crate::backend::Spec;
use crate::check::{Check, Level, Needs, Outcome, Source, Stop};
use crate::context::{Context, Pod};

const KEP_127: Source = Source {
    title: "KEP-127: support user namespaces in stateless pods",
    url: "https://github.com/kubernetes/enhancements/issues/127",
};

pub(super) static NO_PRIVILEGES: Check = Check {
    id: "startup/no-privileges",
    title: "the program needs no capability",
    level: Level::Must,
    requirement: "The program MUST start with no_new_privs set and without any capability.",
    source: Source {
        title: "kubernetes#90948",
        url: "https://github.com/kubernetes/kubernetes/issues/90948",
    },
    advice: Advice::new(
        "Runtimes start pause without capabilities and with no_new_privs: a program that needs more never starts.",
        "Make no call that needs a capability: no mount, no setuid, no prctl that is privileged.",
    ),
    needs: RUNS.union(Needs::HOST_PID).union(Needs::NO_PRIVILEGES),
    after: TERM_WORKS,
    run: no_privileges,
};

fn no_privileges(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        bounding_set: false,
        ..Spec::default()
    };
    starts(cx, spec, "without privileges", |pod| {
        let status = pod.status()?;
        let sets = [
            Some(status.capinh),
            Some(status.capprm),
            Some(status.capeff),
            status.capbnd,
            status.capamb,
        ];
        if status.nonewprivs == Some(1) && sets.iter().flatten().all(|set| *set == 0) {
            return Ok("NoNewPrivs 1, all capability sets empty".to_owned());
        }
        Err(Stop::Error(format!(
            "it still has privileges: NoNewPrivs {:?}, capability sets {sets:x?}",
            status.nonewprivs
        )))
    })
}

/// Ids that no image uses by chance.
const STRANGER: (u32, u32) = (12345, 54321);

pub(super) static ANY_UID: Check = Check {
    id: "startup/any-uid",
    title: "the program works as any user and group",
    level: Level::Must,
    requirement: "The program MUST start as any user and group that the runtime is told to run it as.",
    source: Source {
        title: "CRI api.proto LinuxSandboxSecurityContext.run_as_user",
        url: "https://github.com/kubernetes/cri-api/blob/v0.34.0/pkg/apis/runtime/v1/api.proto",
    },
    advice: Advice::new(
        "A pod's securityContext may choose any user: the program must not depend on its own.",
        "Ask for no user name and no home folder, and own no file.",
    ),
    needs: RUNS.union(Needs::HOST_PID).union(Needs::USER),
    after: TERM_WORKS,
    run: any_uid,
};

fn any_uid(cx: &Context<'_>) -> Outcome {
    let (uid, gid) = STRANGER;
    let spec = Spec {
        user: Some(STRANGER),
        ..Spec::default()
    };
    starts(cx, spec, &format!("as {uid}:{gid}"), |pod| {
        let status = pod.status()?;
        let inside = (
            inside(pod, "uid_map", status.euid)?,
            inside(pod, "gid_map", status.egid)?,
        );
        if inside == (Some(uid), Some(gid)) {
            return Ok(format!("Uid {uid}, Gid {gid} in its user namespace"));
        }
        Err(Stop::Error(format!("it runs with other ids: {inside:?}")))
    })
}

/// The id, inside the process's user namespace, of an id outside (user_namespaces(7)).
pub(in crate::checks) fn inside(
    pod: &Pod<'_>,
    map: &str,
    outside: u32,
) -> Result<Option<u32>, Stop> {
    // Such a map is shown from above, and ids as the suite has them.
    if shares_user_namespace(pod)? {
        return Ok(Some(outside));
    }
    Ok(id_map(pod, map)?
        .into_iter()
        .find_map(|[first, base, count]| {
            let offset = outside.checked_sub(base)?;
            first.checked_add(offset).filter(|_| offset < count)
        }))
}

fn shares_user_namespace(pod: &Pod<'_>) -> Result<bool, Stop> {
    use std::os::unix::fs::MetadataExt as _;

    let inode = |process: &str| {
        let path = format!("/proc/{process}/ns/user");
        let file = std::fs::metadata(&path);
        file.map(|file| file.ino())
            .map_err(|error| Stop::Error(format!("cannot look at {path}: {error}")))
    };
    Ok(inode(&pod.pid().to_string())? == inode("self")?)
}

/// Lines of /proc/PID/uid_map: first id inside, first outside, how many.
fn id_map(pod: &Pod<'_>, map: &str) -> Result<Vec<[u32; 3]>, Stop> {
    let path = format!("/proc/{}/{map}", pod.pid());
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Stop::Error(format!("cannot read {path}: {error}")))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut numbers = line
                .split_ascii_whitespace()
                .map(|number| number.parse().ok());
            Some([numbers.next()??, numbers.next()??, numbers.next()??])
        })
        .collect())
}

pub(super) static USER_NAMESPACE: Check = Check {
    id: "startup/user-namespace",
    title: "the program works in a user namespace of 65536 ids",
    level: Level::Should,
    requirement: "The program SHOULD start in a user namespace that maps the ids 0 to 65535 alone, as pods with hostUsers: false have.",
    source: KEP_127,
    advice: Advice::new(
        "Pods with `hostUsers: false` do not start.",
        "Use no id above 65535, in the program as in the files of the image.",
    ),
    needs: RUNS
        .union(Needs::HOST_PID)
        .union(Needs::USER_NAMESPACE)
        .union(Needs::ID_RANGE),
    after: TERM_WORKS,
    run: user_namespace,
};

fn user_namespace(cx: &Context<'_>) -> Outcome {
    let spec = Spec {
        id_range: true,
        ..Spec::default()
    };
    starts(cx, spec, "in a user namespace of 65536 ids", |pod| {
        let maps = [id_map(pod, "uid_map")?, id_map(pod, "gid_map")?];
        if maps
            .iter()
            .all(|map| matches!(map.as_slice(), [[0, base, 65536]] if *base != 0))
        {
            return Ok(format!(
                "maps ids 0 to 65535 onto {} and above",
                maps[0][0][1]
            ));
        }
        Err(Stop::Error(format!(
            "the ids are mapped otherwise: {maps:?}"
        )))
    })
}
