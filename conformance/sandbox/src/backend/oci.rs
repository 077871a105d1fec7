//! Sandboxes by an OCI runtime, as containerd and CRI-O have them made: runc, crun, youki.
//!
//! The runtime is a short-lived child of the suite for each order: create, start, delete. The pause
//! process becomes the suite's own child, since the suite is a subreaper, so that its true wait
//! status is known. What the runtime makes is in cgroups that a [lease](super::lease) ends, and in a
//! mount namespace of its own.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;

use super::embedded::cgroup::{self, Group};
use super::embedded::ids::Ids;
use super::embedded::init::SandboxInit;
use super::embedded::{Embedded, LentRoot, limits};
use super::inside::Inside;
use super::lease::Lease;
use super::stage::Stage;
use super::{
    Backend, Launch, Member, Root, Sandbox, Spec, StartError, Stream, Unusable, at, facts, program,
};
use crate::Features;
use crate::shortage::Counters;
use crate::sys::Child;

mod config;
mod container;
mod member;
mod sandbox;

use config::Place;
use member::Maker;
use sandbox::OciSandbox;

/// Bundles and state are small.
const BUNDLES: &CStr = c"mode=755,size=64m";
/// How many roots of images stay attached.
const KEPT: usize = 8;

/// An OCI runtime, and what is its own.
#[derive(Debug)]
pub struct Kind {
    /// As it is asked for, and the name of its program.
    pub name: &'static str,
    /// The least memory limit under which it starts a container, in bytes.
    memory_floor: u64,
    /// Whether it starts a container that may have one process.
    starts_one_process: bool,
    /// Whether it looks for no program, also not by its path, without a PATH in the environment.
    needs_path: bool,
}

/// Those that are known.
pub static KINDS: [Kind; 3] = [
    Kind {
        name: "runc",
        // The container's first process is a Go program until it executes.
        memory_floor: 32 << 20,
        starts_one_process: false,
        needs_path: false,
    },
    Kind {
        name: "crun",
        memory_floor: 16 << 20,
        starts_one_process: true,
        needs_path: false,
    },
    Kind {
        name: "youki",
        // Its first process is a copy of itself, and needs another one beside it until it executes.
        memory_floor: 32 << 20,
        starts_one_process: false,
        needs_path: true,
    },
];

/// The backend, prepared.
pub struct Oci {
    kind: &'static Kind,
    version: String,
    embedded: Arc<Embedded>,
    offers: Features,
    lacking: Vec<(Features, String)>,
    /// What it takes to start and remove a sandbox.
    cost: Duration,
    maker: Arc<Maker>,
    /// What it does otherwise than a CRI runtime, as the trial has shown.
    facts: Vec<String>,
    /// Those that are attached in the stage, and where.
    roots: Mutex<Vec<(Arc<LentRoot>, String)>>,
}

impl Oci {
    /// Finds the program, or takes this one, and has it make a container for a trial.
    ///
    /// # Errors
    /// Where it is missing, or refuses.
    pub fn prepare(
        kind: &'static Kind,
        program: Option<&Path>,
        embedded: &Arc<Embedded>,
    ) -> Result<Self, Unusable> {
        let unusable = |cause: String, hint: &str| super::unusable(kind.name, cause, hint);
        super::needs_root(kind.name, embedded)?;
        let found = program.map_or_else(|| program::find(kind.name), |path| Ok(path.to_owned()));
        let hint = format!(
            "install {0}, or name its program: --runtime {0}=/path/to/{0}",
            kind.name
        );
        let found = found.map_err(|error| unusable(error.to_string(), &hint))?;
        let version = program::version(&found)
            .map_err(|error| unusable(format!("{}: {error}", found.display()), &hint))?;
        let made = Self::make(kind, found, version, embedded);
        let mut made = made.map_err(|error| {
            unusable(
                format!("cannot prepare it: {error}"),
                "run the suite where root may mount and make cgroups",
            )
        })?;
        let refused = |error: StartError| unusable(error.to_string(), super::REFUSED);
        // The first also makes what is made once.
        made.try_out(true).map_err(refused)?;
        let began = Instant::now();
        made.try_out(false).map_err(refused)?;
        made.cost = began.elapsed();
        Ok(made)
    }

    fn make(
        kind: &'static Kind,
        program: PathBuf,
        version: String,
        embedded: &Arc<Embedded>,
    ) -> io::Result<Self> {
        // What a container runtime leaves becomes a child of this process.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        let stage = Stage::make(&program, BUNDLES)?;
        stage.make_folder("state")?;
        let stage = Arc::new(stage);
        let member = member::attach(embedded, &stage).map_err(io::Error::other)?;
        let maker = Maker {
            kind,
            program,
            stage,
            lease: Arc::new(Lease::take(&embedded.lend_probe()?)?),
            null: null.into(),
            made: AtomicU64::new(0),
            member,
        };
        let mut made = Self {
            kind,
            version,
            embedded: Arc::clone(embedded),
            offers: Features::empty(),
            lacking: Vec::new(),
            cost: Duration::ZERO,
            maker: Arc::new(maker),
            facts: Vec::new(),
            roots: Mutex::default(),
        };
        made.find_offers();
        Ok(made)
    }

    /// Starts the reference, so that what is refused shows before anything is judged; and sees what
    /// a pod is like.
    fn try_out(&mut self, joined: bool) -> Result<(), StartError> {
        let reference = crate::programs::REFERENCE.into();
        let platform = pause_image::Platform::host();
        let subject = pause_image::Subject::of_program("the reference", reference, platform);
        let launch = Launch::of(&subject)?;
        let sandbox = self.start(&launch, &Spec::default())?;
        if joined {
            let member = Member {
                port: None,
                shares_pid: true,
            };
            let made = sandbox.add_container(&member);
            let made = made.map_err(at("make a container of its pod"))?;
            let facts = facts::of_pod(sandbox.host_pid(), made.host_pid());
            self.facts = facts.map_err(at("look at its pod"))?;
            let ignores = facts::ignores(sandbox.host_pid(), libc::SIGPIPE);
            if ignores.map_err(at("look at its signals"))? {
                let why =
                    "starts a program with SIGPIPE ignored, so that none dies of a broken stream";
                let why = format!("{} {why}", self.kind.name);
                self.offers.remove(Features::STREAMS);
                self.facts.push(why.clone());
                self.lacking.push((Features::STREAMS, why));
            }
            if self.kind.needs_path {
                let name = self.kind.name;
                let given = "a program whose environment has no PATH is given one";
                self.facts
                    .push(format!("{given}: {name} starts none without"));
            }
        }
        Ok(())
    }

    fn find_offers(&mut self) {
        let embedded = self.embedded.offers();
        let name = self.kind.name;
        self.offers = ALWAYS | (embedded & FROM_EMBEDDED);
        let has = |it: bool, feature| if it { feature } else { Features::empty() };
        self.offers |= has(self.kind.starts_one_process, Features::PIDS_LIMIT) & embedded;
        for (feature, why) in LACKING {
            let is_its_own = *feature != Features::PIDS_LIMIT || !self.kind.starts_one_process;
            if is_its_own && !self.offers.contains(*feature) {
                self.lacking.push((*feature, format!("{name} {why}")));
            }
        }
    }

    /// The root for a sandbox, attached; and whether it is that sandbox's alone.
    fn root(
        &self,
        launch: &Launch<'_>,
        user: (u32, u32),
        spec: &Spec,
        folder: &str,
    ) -> Result<(Arc<LentRoot>, String), StartError> {
        let attached = |root: &LentRoot, name: &str| {
            let stage = &self.maker.stage;
            stage
                .make_folder(name)
                .and_then(|()| stage.attach(&root.detached()?, name))
                .map_err(at("attach the image's root"))
        };
        let writable = spec.root == Root::Writable;
        let lent = self
            .embedded
            .lend_root(launch, user, spec.id_range, writable)?;
        if writable {
            let name = format!("{folder}/rootfs");
            attached(&lent, &name)?;
            return Ok((Arc::new(lent), name));
        }
        // Held while one is attached: a panic has changed nothing.
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((root, name)) = roots.iter().find(|(root, _)| root.is(&lent)) {
            return Ok((Arc::clone(root), name.clone()));
        }
        let name = format!("root-{}", self.maker.made.fetch_add(1, Ordering::Relaxed));
        attached(&lent, &name)?;
        let root = Arc::new(lent);
        roots.insert(0, (Arc::clone(&root), name.clone()));
        let kept = KEPT.min(roots.len());
        for (_, old) in roots.drain(kept..) {
            // Sandboxes that have it keep it: it is in their mount namespaces.
            if self.maker.stage.detach(&old).is_ok() {
                self.maker.stage.remove(&old);
            }
        }
        Ok((root, name))
    }

    /// Has the container runtime make the container, whose first process is held.
    fn create(&self, launch: &Launch<'_>, spec: &Spec) -> Result<OciSandbox, StartError> {
        // Only the owner of a network namespace may mount a sysfs, and a runtime mounts one.
        let spec = &Spec {
            own_network: spec.own_network || spec.id_range,
            ..spec.clone()
        };
        let user = spec.user.unwrap_or((
            launch.program.uid.unwrap_or(0),
            launch.program.gid.unwrap_or(0),
        ));
        let number = self.maker.made.fetch_add(1, Ordering::Relaxed);
        let mut container = self.maker.container(number)?;
        let (root, root_name) = self.root(launch, user, spec, &container.folder)?;
        container.own_root = (spec.root == Root::Writable).then(|| root_name.clone());
        let node = (!spec.own_pid_namespace)
            .then(|| self.embedded.lend_node())
            .transpose()
            .map_err(at("make the pid namespace of a node"))?;
        let place = Place {
            root: self.maker.stage.path(&root_name),
            cgroup: self.maker.lease.cgroup(number),
            node: node.as_ref().map(|node| {
                let (suite, namespace) = (std::process::id(), node.pid_namespace().as_raw_fd());
                format!("/proc/{suite}/fd/{namespace}")
            }),
            limits: (
                spec.memory_limit.unwrap_or(cgroup::MEMORY),
                spec.pids_limit.map_or_else(limits::processes, u64::from),
            ),
            pause: None,
            launch,
            user,
            needs_path: self.kind.needs_path,
        };
        let name = container.file("config.json");
        config::text(&place, spec)
            .and_then(|text| self.maker.stage.write(&name, &text))
            .map_err(at("write its configuration"))?;
        let streams = self.embedded.lend_streams(spec);
        let (stdio, streams) = streams.map_err(at("open its streams"))?;
        let child = container.create(launch, &streams)?;
        drop(streams);
        let sandbox = OciSandbox {
            user_namespace: spec.id_range,
            group: Group::found(
                self.maker.lease.directory("memory", number),
                self.maker.lease.directory("pids", number),
                place.limits,
            ),
            judged: spec.memory_limit.is_some() || spec.pids_limit.is_some(),
            held: true,
            stdio,
            inside: self.inside(child, user, node, spec)?,
            root,
            maker: Arc::clone(&self.maker),
            container,
        };
        sandbox.look_inside()
    }

    /// How a sandbox with this pause process is entered.
    fn inside(
        &self,
        child: Child,
        (uid, gid): (u32, u32),
        node: Option<SandboxInit>,
        spec: &Spec,
    ) -> Result<Inside, StartError> {
        Ok(Inside {
            child,
            ended: None,
            ids: Ids {
                uid,
                gid,
                setup: Some((0, 0)),
            },
            user_namespace: None,
            node,
            own_network: spec.own_network,
            own_cgroup: true,
            own_time: false,
            probe: self.embedded.lend_probe().map_err(at("keep the probe"))?,
        })
    }
}

impl Backend for Oci {
    fn describe(&self) -> String {
        format!("{} {}", self.kind.name, self.version)
    }

    fn offers(&self) -> Features {
        self.offers
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        super::why_lacking(&self.lacking, &self.embedded, need)
    }

    fn cost(&self) -> Duration {
        self.cost
    }

    fn memory_floor(&self) -> u64 {
        self.kind.memory_floor
    }

    fn facts(&self) -> Vec<String> {
        self.facts.clone()
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        if let Some(why) = refuses(spec) {
            return Err(StartError::Unable {
                why: format!("{} {why}", self.kind.name),
            });
        }
        let mut sandbox = self.create(launch, spec)?;
        if !spec.held {
            sandbox.release()?;
        }
        Ok(Box::new(sandbox))
    }

    fn counters(&self) -> Counters {
        self.embedded.counters()
    }
}

/// What every OCI runtime gives.
const ALWAYS: Features = Features::OF_ALL
    .union(Features::SANDBOX_PROC)
    .union(Features::ENGINE)
    .union(Features::HELD)
    .union(Features::STREAMS);

/// What it gives where the host does.
const FROM_EMBEDDED: Features = Features::MEMORY_LIMIT
    .union(Features::ID_RANGE)
    .union(Features::USER_NAMESPACE)
    .union(Features::MQUEUE)
    .union(Features::PIDFD_HUP)
    .union(Features::SELF_EXEC);

/// Why it does not give the rest, after its name.
const LACKING: &[(Features, &str)] = &[
    (
        Features::PIDS_LIMIT,
        "has more processes than one itself when it starts a container",
    ),
    (
        Features::SECCOMP,
        "takes lists of system calls, not filters",
    ),
    (
        Features::TRACE,
        "executes the program in a process of its own, which is not traced",
    ),
    (
        Features::STEP,
        "executes the program in a process of its own, which is not followed",
    ),
    (Features::TIME_NAMESPACE, "is asked for no time namespace"),
    (
        Features::CGROUP_NAMESPACE,
        "is asked for no cgroup namespace, as by containerd with cgroups v1",
    ),
    (
        Features::EXEC_ON_ORDER,
        "takes its own time to execute the program",
    ),
    (Features::BARE_ROOT, "mounts /proc and /dev"),
    (
        Features::CLOSED_STREAMS,
        "opens the standard streams that are closed",
    ),
    (Features::DISPOSITIONS, "resets blocked and ignored signals"),
    (Features::BASELINE, "runs no emulator"),
];

/// What of a specification it cannot do.
fn refuses(spec: &Spec) -> Option<&'static str> {
    let closed = [spec.stdin, spec.stdout, spec.stderr].contains(&Stream::Closed);
    [
        (
            matches!(spec.root, Root::Bare | Root::Host),
            "mounts /proc and /dev",
        ),
        (closed, "opens the standard streams that are closed"),
        (
            spec.privileged,
            "would not confine its capabilities: there is no user namespace",
        ),
        (spec.own_time, "is asked for no time namespace"),
        (
            spec.blocked != 0 || spec.ignored != 0,
            "resets blocked and ignored signals",
        ),
        (
            spec.extra_descriptors > 0,
            "is given no further descriptors",
        ),
        (
            spec.seccomp.is_some(),
            "takes lists of system calls, not filters",
        ),
    ]
    .into_iter()
    .find_map(|(asked, why)| asked.then_some(why))
}
