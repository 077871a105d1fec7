//! Backends whose faults are known: the embedded one, behind a wrapper that spoils one thing. They
//! break the checks whose requirement the kernel keeps by itself wherever a backend makes real
//! namespaces: such a check judges the backend, and no program fails it.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::backend::{Backend, Join, Launch, Namespaces, Sandbox, Spec, StartError, Stdio};
use crate::probe::Probe;
use crate::process::{self, ExitStatus};
use crate::shortage::{Counters, Shortage};
use crate::signal;
use crate::wasi_engine::Command;
use crate::workload::Workload;
use pause_sandbox::Features;

/// One faulty backend.
#[derive(Clone, Copy, Debug)]
pub struct EngineFixture {
    /// Unique, in words with hyphens.
    pub name: &'static str,
    /// What is wrong, in a sentence without its subject.
    pub about: &'static str,
    /// The checks that must fail on it, though the program is the reference.
    pub breaks: &'static [&'static str],
    /// Checks that may fail too, or find that something is wrong with the backend: an error.
    pub also: &'static [&'static str],
    fault: Fault,
}

impl EngineFixture {
    /// This fault around another backend.
    pub fn around(&self, engine: Arc<dyn Backend>) -> Arc<dyn Backend> {
        Arc::new(Faulty {
            engine,
            fault: self.fault,
        })
    }
}

/// What is spoilt on the way to a backend and back.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// What is asked of a sandbox.
    spec: fn(&mut Spec),
    /// What is done to one that has just been started as was asked for.
    started: fn(&dyn Sandbox, &Spec) -> io::Result<Option<OwnedFd>>,
    /// How the probe is told to enter.
    join: fn(&mut Join),
    /// What a probe that has just entered as told is made to do.
    entered: fn(Probe, &Join, BorrowedFd<'_>) -> io::Result<Probe>,
    /// What is run beside the pause process.
    beside: fn(&mut Command),
    /// How the pause process is said to have ended.
    status: fn(ExitStatus) -> ExitStatus,
    /// Whether a WASI workload is run beside a pause process of another pod.
    astray: bool,
    /// Whether it sends SIGKILL, which the suite then does not take for a kill from outside.
    kills: bool,
}

/// Spoils nothing.
const NONE: Fault = Fault {
    spec: |_| {},
    started: |_, _| Ok(None),
    join: |_| {},
    entered: |probe, _, _| Ok(probe),
    beside: |_| {},
    status: |status| status,
    astray: false,
    kills: false,
};

/// What needs members in the pause process's pid namespace, or itself as PID 1 there, and cannot
/// tell the backend's fault from the suite's.
const NOT_INSIDE: &[&str] = &[
    "namespaces/cgroup-and-time",
    "namespaces/held-alone",
    "namespaces/pid-private",
    "namespaces/stable",
    "namespaces/teardown",
    "namespaces/wasi-joins",
    "namespaces/wasi-outlives",
    "namespaces/wasi-reaps",
    "namespaces/wasi-teardown",
    "reaping/any-death",
    "reaping/any-user",
    "reaping/before-handler",
    "reaping/burst",
    "reaping/from-sibling-container",
    "reaping/no-lost-wakeup",
    "reaping/one-orphan",
    "reaping/probe-tree",
    "reaping/spares-the-living",
    "reaping/stopped-child",
    "security/denied-exit",
    "signals/child-status-ignored",
    "signals/kill-from-inside-ignored",
    "signals/stop-cont",
    "signals/survives-hup",
    "signals/survives-others",
    "signals/survives-realtime",
    "signals/survives-sent-faults",
    "signals/term-from-inside",
    "signals/term-in-chld-storm",
    "signals/tty-stop-ignored",
    "startup/bare-filesystem",
    "startup/stays",
    "startup/stays-without-stdin",
];

/// Every faulty backend.
pub(super) static ENGINES: &[EngineFixture] = &[
    EngineFixture {
        name: "no-pid-namespace",
        about: "makes no pid namespace for a pod",
        breaks: &["namespaces/pid-shared", "pid1/is-one"],
        also: NOT_INSIDE,
        fault: Fault {
            spec: |spec| spec.own_pid_namespace = false,
            ..NONE
        },
    },
    EngineFixture {
        name: "reports-137",
        about: "reports a death by a signal as an exit with 128 and its number",
        breaks: &["signals/kill-is-137"],
        also: &["security/denied-exit"],
        fault: Fault {
            status: |status| match status {
                ExitStatus::Signaled(number) => ExitStatus::Exited(128 + number),
                exited @ ExitStatus::Exited(_) => exited,
            },
            ..NONE
        },
    },
    EngineFixture {
        name: "reports-success",
        about: "reports every end as an exit with 0",
        breaks: &["signals/kill-is-137"],
        also: &["security/denied-exit"],
        fault: Fault {
            status: |_| ExitStatus::Exited(0),
            ..NONE
        },
    },
    EngineFixture {
        name: "lets-kill-through",
        about: "delivers the KILL that a container of the pod sends to PID 1",
        breaks: &["signals/kill-from-inside-ignored"],
        also: &[],
        fault: Fault {
            entered: |probe, _, pause| {
                let relay = |pause: BorrowedFd<'_>, pid, number| {
                    if (pid, number) == (1, signal::KILL) {
                        // It may be gone; then there is nothing to kill.
                        let _ = process::send_signal(pause, number);
                    }
                };
                Ok(probe.overheard((pause.try_clone_to_owned()?, relay)))
            },
            kills: true,
            ..NONE
        },
    },
    EngineFixture {
        name: "keeps-the-mounts",
        about: "keeps the mount namespace of a pod when the pod has ended",
        breaks: &["namespaces/teardown"],
        also: &[],
        fault: Fault {
            started: |sandbox, _| {
                let path = format!("/proc/{}/ns/mnt", sandbox.host_pid());
                // It may have ended already.
                Ok(File::open(path).ok().map(OwnedFd::from))
            },
            ..NONE
        },
    },
    EngineFixture {
        name: "joins-no-pid-namespace",
        about: "leaves containers outside the pid namespace of their pod",
        breaks: &["namespaces/pid-shared"],
        also: NOT_INSIDE,
        fault: Fault {
            join: |join| join.namespaces -= Namespaces::PID,
            ..NONE
        },
    },
    EngineFixture {
        name: "joins-every-pid-namespace",
        about: "puts containers that are to have a pid namespace of their own into the pod's",
        breaks: &[
            "namespaces/pid-private",
            "namespaces/wasi-joins",
            "namespaces/wasi-teardown",
        ],
        // A member that looks at files ends with the pause, which waits for it to be reaped.
        also: &["namespaces/wasi-outlives", "startup/read-only-root"],
        fault: Fault {
            join: |join| join.namespaces |= Namespaces::PID,
            ..NONE
        },
    },
    EngineFixture {
        name: "listens-elsewhere",
        about: "gives a WASI workload a socket on another port than it was asked for",
        breaks: &["namespaces/wasi-reachable"],
        also: &[],
        fault: Fault {
            beside: |command| {
                for word in &mut command.argv {
                    let port = word.strip_prefix("listen=");
                    if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
                        *word = format!("listen={}", port ^ 0x100);
                    }
                }
            },
            ..NONE
        },
    },
    EngineFixture {
        name: "mounts-into-the-pod",
        about: "mounts a privileged container's files into the pause process's root",
        breaks: &["namespaces/volume-shared"],
        also: &[],
        fault: Fault {
            entered: |probe, join, _| {
                if join.privileged && join.namespaces.contains(Namespaces::MOUNT) {
                    probe.mount_tmpfs("/dev")?;
                }
                Ok(probe)
            },
            ..NONE
        },
    },
    EngineFixture {
        name: "puts-workloads-elsewhere",
        about: "runs a WASI workload in the namespaces of another pod",
        breaks: &["namespaces/wasi-joins", "namespaces/wasi-reachable"],
        also: &[],
        fault: Fault {
            astray: true,
            ..NONE
        },
    },
    EngineFixture {
        name: "kills-user-namespaces",
        about: "kills the pause process of a pod with a range of ids of its own",
        breaks: &["startup/user-namespace"],
        also: &[],
        fault: Fault {
            started: |sandbox, spec| {
                if spec.id_range {
                    // Held: it is to die of what it is, not of what is done to it.
                    sandbox.signal(signal::KILL)?;
                }
                Ok(None)
            },
            kills: true,
            ..NONE
        },
    },
];

struct Faulty {
    engine: Arc<dyn Backend>,
    fault: Fault,
}

impl Backend for Faulty {
    fn describe(&self) -> String {
        self.engine.describe()
    }

    fn offers(&self) -> Features {
        self.engine.offers()
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        self.engine.lacks(need)
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let mut spoilt = spec.clone();
        (self.fault.spec)(&mut spoilt);
        let sandbox = self.engine.start(launch, &spoilt)?;
        let kept = (self.fault.started)(&*sandbox, spec).map_err(|cause| StartError::Host {
            step: "spoil it",
            cause,
        })?;
        let other = self.fault.astray.then(|| {
            let spec = Spec {
                held: false,
                ..spoilt
            };
            self.engine.start(launch, &spec)
        });
        Ok(Box::new(FaultySandbox {
            sandbox,
            other: other.transpose()?,
            fault: self.fault,
            _kept: kept,
        }))
    }

    fn start_engine(&self, command: Command, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.engine.start_engine(command, spec)
    }

    fn counters(&self) -> Counters {
        self.engine.counters()
    }

    fn adopt_thread(&self) -> io::Result<()> {
        self.engine.adopt_thread()
    }
}

struct FaultySandbox {
    sandbox: Box<dyn Sandbox>,
    /// Another pod's.
    other: Option<Box<dyn Sandbox>>,
    fault: Fault,
    _kept: Option<OwnedFd>,
}

impl Sandbox for FaultySandbox {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.sandbox.pidfd()
    }

    fn host_pid(&self) -> i32 {
        self.sandbox.host_pid()
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        self.sandbox.signal(signal)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        Ok(self.sandbox.try_wait()?.map(self.fault.status))
    }

    fn take_stdio(&mut self) -> Stdio {
        self.sandbox.take_stdio()
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        let mut spoilt = *join;
        (self.fault.join)(&mut spoilt);
        let probe = self.sandbox.enter(&spoilt)?;
        (self.fault.entered)(probe, join, self.sandbox.pidfd())
    }

    fn run_beside(&self, mut command: Command, shares_pid: bool) -> io::Result<Workload> {
        (self.fault.beside)(&mut command);
        let mut join = Join::default();
        join.namespaces.set(Namespaces::PID, shares_pid);
        (self.fault.join)(&mut join);
        let shares_pid = join.namespaces.contains(Namespaces::PID);
        let beside = self.other.as_ref().unwrap_or(&self.sandbox);
        beside.run_beside(command, shares_pid)
    }

    fn open_gate(&mut self) -> io::Result<()> {
        self.sandbox.open_gate()
    }

    fn release(&mut self) -> Result<(), StartError> {
        self.sandbox.release()
    }

    fn lacks(&self) -> &[String] {
        self.sandbox.lacks()
    }

    fn memory_used(&self) -> Option<u64> {
        self.sandbox.memory_used()
    }

    fn shortage(&mut self, killed: bool) -> Option<Shortage> {
        // As its own doing it is no shortage.
        self.sandbox.shortage(killed || self.fault.kills)
    }

    fn may_have_been_refused(&mut self) -> bool {
        self.sandbox.may_have_been_refused()
    }
}

#[cfg(test)]
mod tests;
