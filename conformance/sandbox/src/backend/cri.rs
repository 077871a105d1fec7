//! Sandboxes by the Container Runtime Interface, asked for as a kubelet asks: containerd.
//!
//! A kubelet does not say which image holds a pod: the runtime's configuration does. So each image
//! that is judged has a [containerd of its own](daemon), configured for it; that of the host is
//! neither asked nor changed. Where its socket is named, [it](host) runs the one image that it is
//! configured for. What the interface cannot say is not offered: it has no way to give a
//! pause process arguments, streams or limits.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pause_cri::Client;
use pause_image::{Platform, Rootfs, Subject};
use procfs::process::Process;

use super::embedded::cgroup::{self, Group};
use super::embedded::ids::Ids;
use super::embedded::{Embedded, limits};
use super::inside::Inside;
use super::lease::Lease;
use super::{Backend, Launch, Root, Sandbox, Spec, StartError, Stream, Unusable, at, program};
use crate::Features;
use crate::shortage::Counters;
use crate::shortage::groups::{self, Place as CgroupPlace};
use crate::sys::{self, Child, ExitStatus};

mod daemon;
mod host;
pub mod keeper;
mod member;
mod pod;
mod sandbox;
mod view;

use daemon::{Daemon, Programs};
use host::Host;
use pod::{Pod, Run};
use sandbox::CriSandbox;
use view::Views;

const NAME: &str = "cri";
/// The program that is taken where none is named.
const PROGRAM: &str = "containerd";
const INSTALL: &str = "install containerd and the network plugins, or name its program: --runtime cri=/path/to/containerd";
/// Ids that no image names, for a trial.
const STRANGER: (u32, u32) = (12345, 54321);
/// How long a process may take to end once it is stopped.
const STOPPED: Duration = Duration::from_mins(1);

/// A backend that asks a CRI runtime.
pub struct Cri {
    description: String,
    facts: Vec<String>,
    /// By which what it cannot do is said.
    name: String,
    maker: Maker,
    run: Run,
    embedded: Arc<Embedded>,
    offers: Features,
    lacking: Vec<(Features, String)>,
    cost: Duration,
    made: Arc<AtomicU64>,
    images: Mutex<Vec<Adopted>>,
    reference: Subject,
}

/// What runs pods.
enum Maker {
    /// One for each image.
    Own(Programs, Arc<Lease>),
    /// One that is there, for the one image that it is configured for.
    Host(Arc<Host>),
}

impl Maker {
    /// By which name, as which run, and with what it offers.
    fn is_used_so(&self) -> (String, Run, Features) {
        match self {
            Maker::Own(_, lease) => {
                let parent = lease.parent();
                let name = parent.trim_start_matches('/').to_owned();
                let run = Run {
                    name,
                    cgroup_parent: parent,
                };
                (PROGRAM.to_owned(), run, ALWAYS | Features::ENGINE)
            }
            Maker::Host(host) => {
                let run = Run {
                    name: host.run.clone(),
                    cgroup_parent: String::new(),
                };
                let name = &host.client.version().runtime_name;
                (pause_image::escape_text(name).to_string(), run, ALWAYS)
            }
        }
    }
}

/// An image that was taken.
struct Adopted {
    subject: Subject,
    /// How the runtime has shown its pods.
    views: Arc<Views>,
    /// None while it is not run.
    place: Option<Arc<Place>>,
}

impl Adopted {
    fn is_of(&self, rootfs: &Arc<Rootfs>) -> bool {
        Arc::ptr_eq(&self.subject.rootfs, rootfs)
    }

    fn of(subject: &Subject, runtime: Runtime) -> Self {
        let views = Arc::<Views>::default();
        Self {
            subject: subject.clone(),
            place: Some(Place::of(runtime, &views)),
            views,
        }
    }
}

/// Where the pods of an image are made.
struct Place {
    runtime: Runtime,
    views: Arc<Views>,
}

enum Runtime {
    Own(Daemon),
    Host(Arc<Host>),
}

impl Place {
    fn of(runtime: Runtime, views: &Arc<Views>) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            views: Arc::clone(views),
        })
    }

    fn client(&self) -> &Client {
        match &self.runtime {
            Runtime::Own(daemon) => &daemon.client,
            Runtime::Host(host) => &host.client,
        }
    }

    /// Has something made of which the keeper knows, where there is one.
    fn kept<T>(&self, make: impl FnOnce() -> Result<T, StartError>) -> Result<T, StartError> {
        let Runtime::Host(host) = &self.runtime else {
            return make();
        };
        host.keeper
            .makes()
            .map_err(at("tell the keeper of a sandbox"))?;
        let answer = make();
        host.keeper.made();
        answer
    }
}

/// Finds the program, or takes this program or socket, and has it run a pod for a trial.
///
/// # Errors
/// Where it is missing, or refuses.
pub fn prepare(place: Option<&Path>, embedded: &Arc<Embedded>) -> Result<Cri, Unusable> {
    let unusable = |cause: String, hint: &str| super::unusable(NAME, cause, hint);
    super::needs_root(NAME, embedded)?;
    let socket = place.filter(|place| {
        let file = std::fs::metadata(place);
        file.is_ok_and(|file| file.file_type().is_socket())
    });
    if let Some(socket) = socket {
        let host = Host::at(socket).map_err(|(cause, hint)| unusable(cause, hint))?;
        let made = Cri::make(Maker::Host(Arc::new(host)), embedded);
        let named = |error: StartError| format!("{}: {error}", socket.display());
        return made.map_err(|error| unusable(named(error), super::REFUSED));
    }
    let found = place.map_or_else(|| program::find(PROGRAM), |path| Ok(path.to_owned()));
    let found = found.map_err(|error| unusable(error.to_string(), INSTALL))?;
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", found.display());
    program::version(&found).map_err(|error| unusable(named(&error), INSTALL))?;
    let programs = Programs::find(&found);
    let programs = programs.map_err(|error| unusable(error.to_string(), INSTALL))?;
    let lease = embedded.lend_probe().and_then(|probe| Lease::take(&probe));
    let lease = lease.map_err(|error| {
        let cause = format!("cannot make its cgroups: {error}");
        unusable(cause, "run the suite where root may make cgroups")
    })?;
    let made = Cri::make(Maker::Own(programs, Arc::new(lease)), embedded);
    made.map_err(|error| unusable(named(&error), super::REFUSED))
}

impl Cri {
    fn make(maker: Maker, embedded: &Arc<Embedded>) -> Result<Self, StartError> {
        let (name, run, offers) = maker.is_used_so();
        let reference = crate::programs::REFERENCE.into();
        let mut made = Self {
            description: String::new(),
            facts: Vec::new(),
            name,
            maker,
            run,
            embedded: Arc::clone(embedded),
            offers: offers | (embedded.offers() & FROM_EMBEDDED),
            lacking: Vec::new(),
            cost: Duration::ZERO,
            made: Arc::default(),
            images: Mutex::default(),
            reference: Subject::of_program("the reference", reference, Platform::host()),
        };
        match &made.maker {
            Maker::Own(..) => made.adopt(&made.reference.clone())?,
            // It runs another, which is as good for a trial.
            Maker::Host(host) => {
                let runtime = Runtime::Host(Arc::clone(host));
                made.images = Mutex::new(vec![Adopted::of(&made.reference, runtime)]);
            }
        }
        // The first also makes what is made once.
        made.try_out()?;
        let began = Instant::now();
        made.try_out()?;
        made.cost = began.elapsed();
        if matches!(made.maker, Maker::Host(_)) {
            made.try_what_differs()?;
        }
        made.images = Mutex::default();
        let lacking = LACKING.iter();
        made.lacking = lacking
            .filter(|(feature, _)| !made.offers.contains(*feature))
            .map(|(feature, why)| (*feature, format!("{} {why}", made.name)))
            .collect();
        Ok(made)
    }

    /// Starts the reference and ends it, and sees what can be seen of that.
    fn try_out(&mut self) -> Result<(), StartError> {
        let launch = Launch::of(&self.reference)?;
        let sandbox = self.create(&launch, &Spec::default())?;
        sandbox.pod.stop().map_err(at("stop its pod sandbox"))?;
        let ended = how_it_ended(sandbox.inside.child.pidfd.as_fd())?;
        let version = sandbox.place.client().version().clone();
        let info = sandbox
            .pod
            .status()
            .and_then(|mut it| it.info.remove("info"));
        drop(sandbox);
        let details = pod::details(&info.unwrap_or_default());
        if let Maker::Host(host) = &self.maker {
            host.learn(&details);
        }
        self.description = describe(&version, &details);
        self.facts = vec![format!("what holds a pod {ended} when the pod is stopped")];
        Ok(())
    }

    /// Sees whether it does what not every runtime does of what it is asked for.
    fn try_what_differs(&mut self) -> Result<(), StartError> {
        let launch = Launch::of(&self.reference)?;
        let stranger = Spec {
            user: Some(STRANGER),
            ..Spec::default()
        };
        let ids = self.create(&launch, &stranger)?.inside.ids;
        let of_node = Spec {
            own_pid_namespace: false,
            ..Spec::default()
        };
        let has_process = self.create(&launch, &of_node).is_ok();
        self.offers
            .set(Features::USER, (ids.uid, ids.gid) == STRANGER);
        self.offers.set(Features::HOST_PID_NAMESPACE, has_process);
        Ok(())
    }

    fn place(&self, launch: &Launch<'_>) -> Result<Arc<Place>, StartError> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let adopted = images.iter_mut().find(|it| it.is_of(launch.rootfs));
        let adopted = adopted.ok_or_else(|| StartError::Unable {
            why: format!("{} was not given this image", self.name),
        })?;
        if let Some(place) = &adopted.place {
            return Ok(Arc::clone(place));
        }
        // It was let go of: its times are measured once more.
        let place = Place::of(self.runtime(&adopted.subject)?, &adopted.views);
        Ok(Arc::clone(adopted.place.insert(place)))
    }

    /// What runs pods that this image holds.
    fn runtime(&self, subject: &Subject) -> Result<Runtime, StartError> {
        match &self.maker {
            Maker::Own(programs, lease) => {
                let number = self.made.fetch_add(1, Ordering::Relaxed);
                let daemon = Daemon::start(programs, lease, number, subject);
                daemon
                    .map(Runtime::Own)
                    .map_err(|error| StartError::Unable {
                        why: format!("{} does not take it: {error}", self.name),
                    })
            }
            Maker::Host(host) => {
                host.is_held_by(subject)?;
                Ok(Runtime::Host(Arc::clone(host)))
            }
        }
    }

    /// Has a pod sandbox made, whose pause process runs.
    fn create(&self, launch: &Launch<'_>, spec: &Spec) -> Result<CriSandbox, StartError> {
        let place = self.place(launch)?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let pod = place.kept(|| Pod::run(place.client(), &self.run, number, launch, spec))?;
        let Some(child) = pod.process()? else {
            let path = launch.program.argv.first().cloned().unwrap_or_default();
            let cause = "it ended at once, and the runtime does not say how";
            let cause = io::Error::other(cause);
            return Err(StartError::Exec { path, cause });
        };
        place
            .views
            .see(view::Stage::Alone, place.client(), pod.id());
        Ok(CriSandbox {
            group: limit(child.pid, pod.id()),
            inside: self.inside(child)?,
            pod,
            made: Arc::clone(&self.made),
            place,
        })
    }

    /// How a sandbox with this pause process is entered.
    fn inside(&self, child: Child) -> Result<Inside, StartError> {
        let entered = || -> io::Result<Inside> {
            // Whatever it is asked for, and the image says: CRI-O runs it as root.
            let status = Process::new(child.pid).and_then(|process| process.status());
            let (uid, gid) = status.map_or((0, 0), |status| (status.euid, status.egid));
            Ok(Inside {
                child,
                ended: None,
                ids: Ids {
                    uid,
                    gid,
                    setup: Some((0, 0)),
                },
                user_namespace: None,
                node: None,
                own_network: true,
                own_cgroup: true,
                own_time: false,
                probe: self.embedded.lend_probe()?,
            })
        };
        entered().map_err(at("look into its sandbox"))
    }
}

/// How a pause process has ended whose sandbox is stopped: what a runtime does not do in time is not
/// what the kernel does not tell.
fn how_it_ended(pidfd: BorrowedFd<'_>) -> Result<ExitStatus, StartError> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let step = "await the end of a pause process whose sandbox the runtime has stopped";
    let ends = crate::wait::readable(pidfd, STOPPED).map_err(at(step))?;
    ends.then_some(()).ok_or_else(late).map_err(at(step))?;
    let step = "await that the runtime waits for a pause process that has ended";
    let reaped = sys::await_reaping(pidfd, STOPPED).map_err(at(step))?;
    reaped.then_some(()).ok_or_else(late).map_err(at(step))?;
    let untold = "learn how its process ended, which the kernel tells since Linux 6.15";
    let ended = sys::exit_of_another(pidfd).map_err(at(untold))?;
    ended.ok_or_else(|| at(untold)(io::ErrorKind::InvalidData.into()))
}

/// Limits a sandbox as those of other backends are, which the interface cannot: from now on.
fn limit(pid: i32, id: &str) -> Group {
    let limits = (cgroup::MEMORY, limits::processes());
    let of_it = |controller: &str| {
        let place = CgroupPlace::of_process(pid, controller)?;
        let is_its_own = place.directory.to_string_lossy().contains(id);
        is_its_own.then_some(place)
    };
    let limited = |place: CgroupPlace, file: &str, limit: u64| {
        let written = std::fs::write(place.directory.join(file), limit.to_string());
        written.is_ok().then_some(place.directory)
    };
    let memory = of_it("memory").and_then(|place| {
        let file = groups::memory_limit_file(place.version);
        limited(place, file, limits.0)
    });
    let pids = of_it("pids").and_then(|place| limited(place, "pids.max", limits.1));
    Group::found(memory, pids, limits)
}

/// Name and version, and how it makes sandboxes.
fn describe(version: &pause_cri::messages::VersionResponse, details: &serde_json::Value) -> String {
    let words = |text: &str| pause_image::escape_text(text).to_string();
    let cgroup = CgroupPlace::of("pids").map(|place| match place.version {
        groups::Version::V1 => "cgroup v1",
        groups::Version::V2 => "cgroup v2",
    });
    let facts = [
        format!("{} {}", version.runtime_name, version.runtime_version),
        details["runtimeType"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        cgroup.unwrap_or_default().to_owned(),
        "seccomp unconfined".to_owned(),
        "its output is not seen".to_owned(),
    ];
    let facts = facts.iter().filter(|fact| !fact.trim().is_empty());
    let facts: Vec<_> = facts.map(|fact| words(fact)).collect();
    format!("{NAME} ({})", facts.join(", "))
}

impl Backend for Cri {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn offers(&self) -> Features {
        self.offers
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        super::why_lacking(&self.lacking, &self.embedded, need)
    }

    fn adopt(&self, subject: &Subject) -> Result<(), StartError> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if images.iter().any(|it| it.is_of(&subject.rootfs)) {
            return Ok(());
        }
        images.push(Adopted::of(subject, self.runtime(subject)?));
        Ok(())
    }

    /// Its daemon ends with its last sandbox.
    fn release(&self, subject: &Subject) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_it = images.iter_mut().filter(|it| it.is_of(&subject.rootfs));
        let place = of_it.next().and_then(|it| it.place.take());
        drop(images);
        // Not while others wait for the lock.
        drop(place);
    }

    fn cost(&self) -> Duration {
        self.cost
    }

    fn facts(&self) -> Vec<String> {
        self.facts.clone()
    }

    fn shows(&self, subject: &Subject) -> Vec<String> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = images.iter().find(|it| it.is_of(&subject.rootfs));
        of_it.map_or_else(Vec::new, |it| it.views.lines())
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        if let Some(why) = refuses(spec) {
            return Err(StartError::Unable {
                why: format!("{} {why}", self.name),
            });
        }
        Ok(Box::new(self.create(launch, spec)?))
    }

    fn counters(&self) -> Counters {
        self.embedded.counters()
    }
}

/// What the interface gives.
const ALWAYS: Features = Features::OF_ALL
    .union(Features::SANDBOX_PROC)
    .difference(Features::INPUT)
    .difference(Features::OUTPUT)
    .difference(Features::ARGUMENTS)
    .difference(Features::WRITABLE_ROOT)
    .difference(Features::NO_PRIVILEGES)
    .difference(Features::OWN_MOUNTS)
    .difference(Features::QUICK_END);

/// What it gives where the host does.
const FROM_EMBEDDED: Features = Features::MQUEUE
    .union(Features::PIDFD_HUP)
    .union(Features::SELF_EXEC);

const NO_OUTPUT: &str = "does not hand over the streams of a sandbox";
const NO_ARGUMENTS: &str = "is given no arguments and no environment for a sandbox";
const NO_LIMIT: &str = "is asked for no limit of a sandbox";
const EXECUTES: &str = "executes the program in a process of its own";
const ONE_USER_NAMESPACE: &str = "is asked for no user namespace";
const MOUNTS: &str = "mounts /proc and /dev";
const READ_ONLY: &str = "is asked for no sandbox with a writable root";
const KEEPS: &str = "gives a sandbox the capabilities of every container";
const RESETS: &str = "resets blocked and ignored signals";
const NO_TIME: &str = "is asked for no time namespace";
const PROFILES: &str = "takes profiles of system calls, not filters";

/// Why it does not give the rest, after its name.
const LACKING: &[(Features, &str)] = &[
    (Features::INPUT, NO_OUTPUT),
    (Features::OUTPUT, NO_OUTPUT),
    (Features::STREAMS, NO_OUTPUT),
    (Features::CLOSED_STREAMS, NO_OUTPUT),
    (Features::ARGUMENTS, NO_ARGUMENTS),
    (Features::MEMORY_LIMIT, NO_LIMIT),
    (Features::PIDS_LIMIT, NO_LIMIT),
    (Features::SECCOMP, PROFILES),
    (Features::TRACE, EXECUTES),
    (Features::STEP, EXECUTES),
    (Features::ID_RANGE, ONE_USER_NAMESPACE),
    (Features::USER_NAMESPACE, ONE_USER_NAMESPACE),
    (Features::TIME_NAMESPACE, NO_TIME),
    (
        Features::CGROUP_NAMESPACE,
        "is asked for no cgroup namespace",
    ),
    (
        Features::HELD,
        "makes a sandbox and executes its program in one step",
    ),
    (Features::EXEC_ON_ORDER, EXECUTES),
    (Features::WRITABLE_ROOT, READ_ONLY),
    (Features::BARE_ROOT, MOUNTS),
    (Features::DISPOSITIONS, RESETS),
    (Features::NO_PRIVILEGES, KEEPS),
    (
        Features::OWN_MOUNTS,
        "holds the mounts and the network of a sandbox itself",
    ),
    (
        Features::ENGINE,
        "is not given an image for containers of its pods",
    ),
    (
        Features::QUICK_END,
        "does not say how a pause process ended",
    ),
    (
        Features::USER,
        "runs what holds a pod as a user of its own choice",
    ),
    (
        Features::HOST_PID_NAMESPACE,
        "holds a pod that shares its node's pid namespace without a process",
    ),
    (Features::BASELINE, "runs no emulator"),
];

/// What of a specification it cannot do.
fn refuses(spec: &Spec) -> Option<&'static str> {
    let outputs = [spec.stdout, spec.stderr];
    // What is captured is nothing.
    let is_odd = |it: &Stream| !matches!(it, Stream::Null | Stream::Captured);
    [
        (spec.root == Root::Writable, READ_ONLY),
        (spec.root != Root::ReadOnly, MOUNTS),
        (
            // What is read from either is the end.
            outputs.iter().any(is_odd) || !matches!(spec.stdin, Stream::Null | Stream::Broken),
            NO_OUTPUT,
        ),
        (
            spec.arguments.is_some() || spec.command.is_some() || spec.env.is_some(),
            NO_ARGUMENTS,
        ),
        (spec.privileged || !spec.bounding_set, KEEPS),
        (spec.own_time, NO_TIME),
        (spec.id_range, ONE_USER_NAMESPACE),
        (spec.blocked != 0 || spec.ignored != 0, RESETS),
        (
            spec.extra_descriptors > 0,
            "is given no further descriptors",
        ),
        (spec.seccomp.is_some(), PROFILES),
        (
            spec.memory_limit.is_some() || spec.pids_limit.is_some(),
            NO_LIMIT,
        ),
    ]
    .into_iter()
    .find_map(|(asked, why)| asked.then_some(why))
}
