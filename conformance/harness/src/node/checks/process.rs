//! The pause as a process: its program, what it keeps, what it may do, what it costs.

use super::{Judgement, Miss, NodeCheck, Options, missing, pause, unseen};
use crate::advice::{self, Advice};
use crate::event::Want;
use crate::node::gather::{PauseFacts, PodFacts};
use crate::node::inside::NoFile;
use crate::node::source::Kind;
use crate::node::source::proc::SANDBOX_SCORE;
use crate::outcome::{Finding, Pass};
use crate::requirement::{Level, Source};
use crate::subject::Platform;

/// Resident memory that is good, in KiB.
const GOOD_MEMORY: u64 = 1024;
/// Processor time that a start and some orphans may cost, in seconds.
const START: f64 = 1.0;
/// The part of its life that a pause may run.
const SHARE: f64 = 0.001;

const DOCKERFILE: Source = Source {
    title: "kubernetes build/pause/Dockerfile",
    url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/Dockerfile",
};

pub(super) static OWN_PROGRAM: NodeCheck<PodFacts> = NodeCheck {
    id: "node/own-program",
    title: "it runs the program of its image",
    level: Level::Must,
    requirement: "The pause process MUST run the program that its image holds.",
    source: DOCKERFILE,
    advice: Advice::new(
        "What holds the pod is not what was published, scanned and signed.",
        "Find out what replaced it, take the node out of service, and make the pod anew.",
    ),
    judge: own_program,
};

fn own_program(pod: &PodFacts, _: &Options) -> Judgement {
    let pause = pause(pod)?;
    let program = pause.inside.program.as_ref();
    let program = program.map_err(|why| unseen("its program", why))?;
    let path = pause_image::escape_text(&program.path);
    if let Some(emulator) = &program.emulator {
        let emulator = pause_image::escape_text(emulator);
        let of = program.architecture.map(|it| format!(" for {it}"));
        let of = of.unwrap_or_default();
        let why = format!("{emulator} runs {path}{of}: what is executed is the emulator's");
        return Err(Miss::Skip(Want::Host, why));
    }
    match &program.file {
        Ok(file) if *file == program.digest => {
            Ok(Pass::new(format!("{path}, sha256:{}", program.digest)))
        }
        Ok(file) => Err(Finding::new(
            format!("{path} of its image, sha256:{file}"),
            format!("sha256:{}", program.digest),
        )
        .into()),
        Err(NoFile::Host(why)) => Err(missing("the program of its image", why)),
        Err(NoFile::Mounted) => Err(Miss::Skip(
            Want::Subject,
            format!("{path} is mounted into its root: its image does not hold it"),
        )),
        Err(NoFile::Missing(why)) => Err(Miss::Inconclusive(format!(
            "its first argument leads to no program in its root: {path}: {why}"
        ))),
    }
}

pub(super) static ARCHITECTURE: NodeCheck<PodFacts> = NodeCheck {
    id: "node/architecture",
    title: "its program is for this node's architecture",
    level: Level::Must,
    requirement: "The program of the pause MUST be one that the node's processor executes, not an emulator.",
    source: Source {
        title: "kubernetes#87325",
        url: "https://github.com/kubernetes/kubernetes/issues/87325",
    },
    advice: Advice::new(
        "An emulator takes the memory of many pauses in every pod, and where it is not registered no pod starts.",
        "Name an image in the runtime's configuration whose index holds this platform, and make the pods anew.",
    ),
    judge: architecture,
};

fn architecture(pod: &PodFacts, _: &Options) -> Judgement {
    let program = pause(pod)?.inside.program.as_ref();
    let program = program.map_err(|why| unseen("its program", why))?;
    let host = Platform::host().architecture;
    if let Some(emulator) = &program.emulator {
        let of = program.architecture.map_or_else(
            || "a program of an architecture that is not known".to_owned(),
            |it| format!("a program for {it}"),
        );
        let emulator = pause_image::escape_text(emulator);
        let found = Finding::new(
            format!("a program for {host}"),
            format!("{emulator} runs {of}"),
        );
        let path = pause_image::escape_text(&program.path);
        return Err(found.with(format!("{path} of its image")).into());
    }
    match program.architecture {
        Some(own) if own == host => Ok(Pass::new(host)),
        Some(own) => Ok(Pass::new(format!(
            "{own}, which this kernel executes itself"
        ))),
        None => Err(missing(
            "its architecture",
            "its program is no ELF file that is known",
        )),
    }
}

pub(super) static SINGLE_THREAD: NodeCheck<PodFacts> = NodeCheck {
    id: "node/single-thread",
    title: "it has one thread",
    level: Level::Should,
    requirement: "The pause process SHOULD have one thread.",
    source: DOCKERFILE,
    advice: Advice::new(
        "Each thread counts against the pod's process limit, and costs memory in every pod.",
        "Use a pause without a runtime of a language.",
    )
    .as_in(&advice::THREAD),
    judge: |pod, _| {
        let pause = pause(pod)?;
        if pause.program().is_some_and(|it| it.emulator.is_some()) {
            let why = "an emulator has threads of its own".to_owned();
            return Err(Miss::Skip(Want::Host, why));
        }
        match pause.process.threads {
            1 => Ok(Pass::new("1")),
            n => Err(Finding::new("1", n.to_string()).into()),
        }
    },
};

pub(super) static NO_CHILDREN: NodeCheck<PodFacts> = NodeCheck {
    id: "node/no-children",
    title: "it has started nothing",
    level: Level::Should,
    requirement: "The pause process SHOULD have no child where no container shares its pid namespace.",
    source: Source {
        title: "kubernetes build/pause/linux/pause.c",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/build/pause/linux/pause.c",
    },
    advice: Advice::new(
        "A process in the sandbox itself is in no container: no limit, no probe and no log is about it.",
        "Look what it is: something was executed in the sandbox, or the image starts more than a pause.",
    ),
    judge: |pod, _| {
        let pause = pause(pod)?;
        let own = pause
            .namespaces
            .get(&Kind::Pid)
            .and_then(|it| it.as_ref().ok());
        let shares = pod.members.iter().any(|member| {
            let other = member
                .namespaces
                .get(&Kind::Pid)
                .and_then(|it| it.as_ref().ok());
            other.is_none() || other == own
        });
        if pause.children.is_empty() {
            return Ok(Pass::new("none"));
        }
        if shares || pause.of_the_node.contains(&Kind::Pid) {
            let why = "orphans of other containers may be its children".to_owned();
            return Err(Miss::Skip(Want::Subject, why));
        }
        let observed = match pause.children.len() {
            1 => "one child".to_owned(),
            n => format!("{n} children"),
        };
        let found = Finding::new("none", observed);
        let lines = pause.children.iter().take(10);
        let lines =
            lines.map(|(pid, name)| format!("pid {pid} ({})", pause_image::escape_text(name)));
        Err(lines.fold(found, Finding::with).into())
    },
};

pub(super) static NO_DESCRIPTORS: NodeCheck<PodFacts> = NodeCheck {
    id: "node/no-descriptors",
    title: "it keeps no descriptor but the standard streams",
    level: Level::Should,
    requirement: "The pause process SHOULD keep no descriptor above 2 open.",
    source: Source {
        title: "catatonit#12",
        url: "https://github.com/openSUSE/catatonit/issues/12",
    },
    advice: Advice::new(
        "A descriptor of the runtime's that leaks keeps files and mounts of the node busy.",
        "Close what is inherited; a descriptor of the runtime's is that one's fault.",
    )
    .as_in(&advice::FDS),
    judge: |pod, _| {
        let seen = pause(pod)?.descriptors.as_ref();
        let seen = seen.map_err(|why| unseen("its descriptors", why))?;
        if seen.count == 0 {
            return Ok(Pass::new("none"));
        }
        let or_more = if seen.is_part { " or more" } else { "" };
        let found = Finding::new("none", format!("{}{or_more}", seen.count));
        let found = seen.shown.iter().cloned().fold(found, Finding::with);
        let rest = seen.count - seen.shown.len();
        let rest = (rest > 0).then(|| format!("and {rest}{or_more}"));
        Err(rest.into_iter().fold(found, Finding::with).into())
    },
};

pub(super) static WORKING_DIRECTORY: NodeCheck<PodFacts> = NodeCheck {
    id: "node/working-directory",
    title: "its working directory is its root",
    level: Level::Should,
    requirement: "The working directory of the pause process SHOULD be its root.",
    source: Source {
        title: "catatonit#28",
        url: "https://github.com/openSUSE/catatonit/issues/28",
    },
    advice: Advice::new(
        "Another directory keeps the mount that it is on busy for as long as the pod lives.",
        "Set no WorkingDir in the image.",
    ),
    judge: |pod, _| {
        let at_root = pause(pod)?.inside.at_root.as_ref();
        match at_root.map_err(|why| unseen("its working directory", why))? {
            true => Ok(Pass::new("/")),
            false => Err(Finding::new("/", "another directory").into()),
        }
    },
};

pub(super) static USER: NodeCheck<PodFacts> = NodeCheck {
    id: "node/user",
    title: "it does not run as root",
    level: Level::Should,
    requirement: "The pause process SHOULD not run as user 0 of the node.",
    source: DOCKERFILE,
    advice: Advice::new(
        "Root in the sandbox is root of the node, should the pause or the kernel have a hole.",
        "Use an image that sets USER, as upstream's does since 3.5; CRI-O ignores it.",
    ),
    judge: |pod, _| {
        let status = &pause(pod)?.status;
        match status.euid {
            0 => Err(Finding::new("another user", "user 0").into()),
            uid => Ok(Pass::new(format!("user {uid}"))),
        }
    },
};

pub(super) static CAPABILITIES: NodeCheck<PodFacts> = NodeCheck {
    id: "node/capabilities",
    title: "it has no capability",
    level: Level::Should,
    requirement: "The pause process SHOULD have no capability in its effective set.",
    source: Source {
        title: "capabilities(7)",
        url: "https://man7.org/linux/man-pages/man7/capabilities.7.html",
    },
    advice: Advice::new(
        "It needs none, and what it has another may use through it.",
        "Use an image that sets a USER other than root: the kernel then drops them at exec.",
    ),
    judge: |pod, _| {
        let status = &pause(pod)?.status;
        match status.capeff {
            0 => Ok(Pass::new("none")),
            some => Err(Finding::new("none", format!("CapEff {some:016x}")).into()),
        }
    },
};

pub(super) static NO_NEW_PRIVILEGES: NodeCheck<PodFacts> = NodeCheck {
    id: "node/no-new-privileges",
    title: "it cannot gain privileges",
    level: Level::Should,
    requirement: "The pause process of a pod of Kubernetes SHOULD have no_new_privs set.",
    source: Source {
        title: "kubernetes#90948",
        url: "https://github.com/kubernetes/kubernetes/pull/90948",
    },
    advice: Advice::new(
        "A set-user-id file in its root would give it root.",
        "Nothing in the image: the runtime sets it; use one of today.",
    ),
    judge: |pod, _| {
        let status = &pause(pod)?.status;
        of_kubernetes(pod)?;
        match status.nonewprivs {
            None => Err(missing("NoNewPrivs", "this kernel is older than 4.10")),
            Some(1) => Ok(Pass::new("set")),
            Some(_) => Err(Finding::new("set", "not set").into()),
        }
    },
};

pub(super) static SECCOMP: NodeCheck<PodFacts> = NodeCheck {
    id: "node/seccomp",
    title: "it runs under a seccomp filter",
    level: Level::Should,
    requirement: "The pause process of a pod of Kubernetes SHOULD run under a seccomp filter.",
    source: Source {
        title: "kubernetes#90949",
        url: "https://github.com/kubernetes/kubernetes/pull/90949",
    },
    advice: Advice::new(
        "It needs a handful of system calls; all others are ways into the kernel.",
        "Set the runtime's default profile for sandboxes, or kubelet's seccompDefault.",
    ),
    judge: |pod, _| {
        let status = &pause(pod)?.status;
        of_kubernetes(pod)?;
        match status.seccomp {
            None => Err(missing("Seccomp", "this kernel has none")),
            Some(2) => Ok(Pass::new("filtered")),
            Some(mode) => Err(Finding::new("mode 2, filtered", format!("mode {mode}")).into()),
        }
    },
};

pub(super) static OOM_SCORE: NodeCheck<PodFacts> = NodeCheck {
    id: "node/oom-score",
    title: "it is the last that the OOM killer takes",
    level: Level::Should,
    requirement: "The pause process of a pod of Kubernetes SHOULD have the oom_score_adj -998 that kubelet asks for, or one below.",
    source: Source {
        title: "kubernetes pkg/kubelet/qos/policy.go",
        url: "https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/kubelet/qos/policy.go",
    },
    advice: Advice::new(
        "Where it is killed for memory that others took, the whole pod is lost.",
        "The runtime sets it: look for restrict_oom_score_adj, and whether the runtime may set it.",
    ),
    judge: |pod, _| {
        let pause = pause(pod)?;
        of_kubernetes(pod)?;
        let score = pause.score.as_ref();
        match score.map_err(|why| unseen("oom_score_adj", why))? {
            score if *score <= SANDBOX_SCORE => Ok(Pass::new(score.to_string())),
            score => Err(Finding::new(SANDBOX_SCORE.to_string(), score.to_string()).into()),
        }
    },
};

pub(super) static MEMORY: NodeCheck<PodFacts> = NodeCheck {
    id: "node/memory",
    title: "it takes little memory",
    level: Level::Should,
    requirement: "The resident memory of the pause process SHOULD be 1 MiB or less.",
    source: DOCKERFILE,
    advice: Advice::new(
        "Every pod has one: what it takes, a node pays a hundred times.",
        "Use a pause without a C library or a runtime of a language.",
    )
    .as_in(&advice::SMALL),
    judge: |pod, _| {
        let pause = pause(pod)?;
        if pause.program().is_some_and(|it| it.emulator.is_some()) {
            let why = "an emulator takes memory of its own".to_owned();
            return Err(Miss::Skip(Want::Host, why));
        }
        match pause.status.vmrss {
            None => Err(missing("VmRSS", "it is not in its status")),
            Some(size) if size <= GOOD_MEMORY => Ok(Pass::new(format!("{size} KiB"))),
            Some(size) => {
                let found = Finding::new(format!("{GOOD_MEMORY} KiB"), format!("{size} KiB"));
                let anonymous = pause.status.rssanon;
                Err(anonymous
                    .map(|size| format!("{size} KiB of it are anonymous"))
                    .into_iter()
                    .fold(found, Finding::with)
                    .into())
            }
        }
    },
};

pub(super) static PROCESSOR_TIME: NodeCheck<PodFacts> = NodeCheck {
    id: "node/processor-time",
    title: "it sleeps",
    level: Level::Should,
    requirement: "The pause process SHOULD have run for no more than a second and a thousandth of its life.",
    source: Source {
        title: "kubernetes#95840",
        url: "https://github.com/kubernetes/kubernetes/issues/95840",
    },
    advice: Advice::new(
        "A pause that spins takes a processor from the pods of the node, and nobody looks at it.",
        "Look what it does (strace -p PID for a moment): it polls, or wakes for orphans of a container.",
    )
    .as_in(&advice::WAIT),
    judge: |pod, _| {
        let pause = pause(pod)?;
        let most = START + SHARE * pause.age;
        if pause.cpu <= most {
            return Ok(Pass::new(spent(pause)));
        }
        Err(Finding::new(format!("{most:.2} s or less"), spent(pause)).into())
    },
};

fn spent(pause: &PauseFacts) -> String {
    format!("{:.2} s in {:.0} s", pause.cpu, pause.age)
}

/// What only kubelet and its runtimes promise.
fn of_kubernetes(pod: &PodFacts) -> Result<(), Miss> {
    if pod.told.kubernetes {
        return Ok(());
    }
    let why = "no pod of Kubernetes".to_owned();
    Err(Miss::Skip(Want::Subject, why))
}
