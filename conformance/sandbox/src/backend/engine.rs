//! Sandboxes by a container engine, which runs the image itself, as it would in a user's hands:
//! docker, podman.
//!
//! The suite asks by the engine's socket, as a client. What it needs of a sandbox once that runs is
//! the pause process: a handle on it, its status, its streams. It is no child of the suite's, so
//! that the kernel, where it is new enough, tells how it ended, else the engine does.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use pause_image::{Platform, Rootfs, Subject};
use procfs::process::Process;

use super::embedded::cgroup::Group;
use super::embedded::ids::Ids;
use super::embedded::limits::ProgramLimits;
use super::embedded::{Embedded, pipe};
use super::inside::Inside;
use super::{
    Backend, Launch, Member, Root, Sandbox, Spec, StartError, Stdio, Stream, at, facts, refused,
};
use crate::Features;
use crate::shortage::Counters;
use crate::shortage::groups::Place as CgroupPlace;
use crate::sys::{self, Child, ExitStatus};

pub(super) mod api;
mod config;
mod container;
mod image;
pub mod keeper;
mod member;
mod output;
mod pod;
mod sandbox;

use api::Api;
use config::Place;
use container::{Container, Started};
use image::{NotLoaded, load};
use keeper::Keeper;
use member::Maker;
use output::{Output, Threads};
use sandbox::{EngineSandbox, Pause};

/// The least memory limit under which engines' OCI runtimes start a container, in bytes.
const MEMORY_FLOOR: u64 = 32 << 20;

/// A container engine, and what is its own.
#[derive(Debug)]
pub(super) struct Kind {
    /// As it is asked for.
    pub(super) name: &'static str,
    /// It limits one resource, and leaves the others as they are.
    pub(super) limits_core: bool,
    /// It makes pods.
    pub(super) has_pods: bool,
    /// It leaves cgroups of what it has removed.
    pub(super) leaves_cgroups: bool,
}

/// A backend that asks a container engine.
pub struct Engine {
    kind: &'static Kind,
    description: String,
    api: Arc<Api>,
    keeper: Arc<Keeper>,
    embedded: Arc<Embedded>,
    offers: Features,
    lacking: Vec<(Features, String)>,
    cost: Duration,
    /// The kernel tells how a process ended that is no child of the suite's.
    is_told: bool,
    /// It makes a pod, where containers are to join.
    has_pods: bool,
    made: Arc<AtomicU64>,
    maker: Arc<Maker>,
    threads: Threads,
    /// What it does otherwise than a CRI runtime, as the trial has shown.
    facts: Vec<String>,
    images: Mutex<Vec<Adopted>>,
    reference: Subject,
}

/// An image that was handed over.
struct Adopted {
    /// The same files are the same image.
    rootfs: Arc<Rootfs>,
    /// By which the engine knows it, or why it does not take it.
    id: Result<String, String>,
}

impl Engine {
    /// Asks what the engine is, and has it run the reference for a trial.
    ///
    /// # Errors
    /// Where it does not answer, or refuses.
    pub(super) fn prepare(
        kind: &'static Kind,
        (api, keeper): (Api, Keeper),
        embedded: &Arc<Embedded>,
    ) -> Result<Self, StartError> {
        let description = describe(kind.name, &api).map_err(at("ask what it is"))?;
        let reference = crate::programs::REFERENCE.into();
        let (api, keeper) = (Arc::new(api), Arc::new(keeper));
        let made = Arc::new(AtomicU64::new(0));
        let maker = maker(kind, (&api, &keeper), &made)?;
        let mut engine = Self {
            kind,
            description,
            api,
            keeper,
            embedded: Arc::clone(embedded),
            offers: ALWAYS | (embedded.offers() & FROM_EMBEDDED),
            lacking: Vec::new(),
            cost: Duration::ZERO,
            is_told: false,
            has_pods: kind.has_pods,
            made,
            maker: Arc::new(maker),
            threads: Threads::start().map_err(at("start a thread"))?,
            facts: Vec::new(),
            images: Mutex::default(),
            reference: Subject::of_program("the reference", reference, Platform::host()),
        };
        engine.adopt(&engine.reference.clone())?;
        // The first also makes what is made once.
        engine.try_pod()?;
        let began = Instant::now();
        engine.try_out(&Spec::default())?;
        engine.cost = began.elapsed();
        engine.lacking = LACKING
            .iter()
            .filter(|(feature, _)| !engine.offers.contains(*feature))
            .map(|(feature, why)| (*feature, format!("{} {why}", kind.name)))
            .collect();
        Ok(engine)
    }

    /// The same with a container of its pod; where the engine makes no pod, without.
    fn try_pod(&mut self) -> Result<(), StartError> {
        let joined = Spec {
            joined: true,
            ..Spec::default()
        };
        match self.try_out(&joined) {
            Err(error) if self.has_pods => {
                self.has_pods = false;
                let why = format!("it makes no pod, and containers join the pause's: {error}");
                self.facts.push(why);
                self.try_out(&joined)
            }
            other => other,
        }
    }

    /// Starts the reference and ends it, and sees what can be seen of that.
    fn try_out(&mut self, spec: &Spec) -> Result<(), StartError> {
        let launch = Launch::of(&self.reference)?;
        let sandbox = self.create(&launch, spec)?;
        let Pause::Found(inside) = &sandbox.pause else {
            let cause = io::Error::other("the reference ended at once");
            return Err(at("try it out")(cause));
        };
        let facts = if spec.joined {
            let member = Member {
                port: None,
                shares_pid: true,
            };
            let made = sandbox.add_container(&member);
            let made = made.map_err(at("make a container of its pod"))?;
            let pause = inside.child.pid;
            let apart = facts::of_pod(pause, made.host_pid());
            let mut facts = apart.map_err(at("look at its pod"))?;
            if self.has_pods {
                facts.push(facts::of_user(pause).map_err(at("look at its pod"))?);
            }
            facts
        } else {
            Vec::new()
        };
        let limits_memory = sandbox.group.limits_memory();
        let killed = || -> io::Result<bool> {
            let pidfd = inside.child.pidfd.as_fd();
            // An older kernel knows no such question.
            if sys::exit_of_another(pidfd).is_err() {
                return Ok(false);
            }
            inside.signal(libc::SIGKILL)?;
            crate::wait::readable(pidfd, Duration::from_mins(1))?;
            sys::await_reaping(pidfd, Duration::from_mins(1))?;
            match sys::exit_of_another(pidfd) {
                Ok(status) => Ok(status == Some(ExitStatus::Signaled(libc::SIGKILL))),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
                Err(error) => Err(error),
            }
        };
        let is_told = killed().map_err(at("learn how its process ended"))?;
        drop(sandbox);
        self.is_told = is_told;
        self.facts.extend(facts);
        self.offers.set(Features::MEMORY_LIMIT, limits_memory);
        Ok(())
    }

    /// The id of a program's image.
    fn image(&self, launch: &Launch<'_>) -> Result<String, StartError> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let adopted = images
            .iter()
            .find(|it| Arc::ptr_eq(&it.rootfs, launch.rootfs));
        let adopted = adopted.ok_or_else(|| StartError::Unable {
            why: format!("{} was not given this image", self.kind.name),
        })?;
        let refused = |why| StartError::Refused { why };
        adopted.id.clone().map_err(refused)
    }

    /// Has the engine make a container, or a pod where others are to join it.
    fn make(
        &self,
        place: &Place<'_>,
        launch: &Launch<'_>,
        spec: &Spec,
    ) -> Result<Container, StartError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (api, keeper) = (&self.api, &self.keeper);
        if spec.joined && self.has_pods {
            return Container::create_pod(api, keeper, number, (place.image, place.cgroup));
        }
        Container::create(api, keeper, number, &config::document(place, launch, spec))
    }

    /// Has the engine make a container and start it.
    fn create(&self, launch: &Launch<'_>, spec: &Spec) -> Result<EngineSandbox, StartError> {
        let node = (!spec.own_pid_namespace)
            .then(|| self.node())
            .transpose()?
            .map(Box::new);
        let place = Place {
            image: &self.image(launch)?,
            run: self.keeper.run(),
            node: node.as_ref().map(|node| node.container.id()),
            limits_core: self.kind.limits_core,
            cgroup: self.maker.cgroup.as_deref(),
        };
        let container = self.make(&place, launch, spec)?;
        let is_pod = container.pod().is_some();
        let (mut output, mut stdio) = (None, Stdio::default());
        if !is_pod && [spec.stdout, spec.stderr].contains(&Stream::Captured) {
            let begun = container.attach();
            let begun = begun.and_then(|stream| Output::begin(stream, &self.threads));
            // Podman prepares a container for that, as for its start.
            let begun = begun.map_err(|error| refused::failure(launch, "take its output", error));
            let (begun, streams) = begun?;
            (output, stdio) = (Some(begun), streams);
        }
        let (pause, group) = match container.start(launch)? {
            Started::Running(child) => {
                if let Some(output) = &mut output {
                    output.of(child.pid);
                }
                let limits = config::limits(spec);
                let group = Group::found(
                    cgroup_of(child.pid, "memory"),
                    cgroup_of(child.pid, "pids"),
                    limits,
                );
                ProgramLimits::set_for(child.pid, &group, spec.spared);
                (Pause::Found(self.inside(child, launch, spec)?), group)
            }
            Started::Gone(status) => {
                let (over, _) = pipe().map_err(at("open a pipe"))?;
                let group = Group::found(None, None, config::limits(spec));
                (Pause::Gone { status, over }, group)
            }
        };
        Ok(EngineSandbox {
            pause,
            stdio,
            output,
            group,
            memory: config::limits(spec).0,
            judged: spec.memory_limit.is_some() || spec.pids_limit.is_some(),
            is_spared: spec.spared,
            sent: AtomicI32::new(0),
            is_told: self.is_told,
            maker: Arc::clone(&self.maker),
            container,
            node,
        })
    }

    /// A container whose pid namespace another joins, as a pod does that shares its node's.
    fn node(&self) -> Result<EngineSandbox, StartError> {
        let launch = Launch::of(&self.reference)?;
        self.create(&launch, &Spec::default())
    }

    /// How a sandbox with this pause process is entered.
    fn inside(&self, child: Child, launch: &Launch<'_>, spec: &Spec) -> Result<Inside, StartError> {
        let entered = || -> io::Result<Inside> {
            let is_pod = spec.joined && self.has_pods;
            let (uid, gid) = match (spec.user, launch.program.uid) {
                (Some(user), _) => user,
                (None, Some(uid)) if !is_pod => (uid, launch.program.gid.unwrap_or(0)),
                // The image names its user, which the engine has looked up; or it is not asked.
                _ => {
                    let status = Process::new(child.pid).and_then(|process| process.status());
                    status.map_or((0, 0), |status| (status.euid, status.egid))
                }
            };
            let own_cgroup = is_another(child.pid, "cgroup")?;
            let user_namespace = is_another(child.pid, "user")?
                .then(|| std::fs::File::open(format!("/proc/{}/ns/user", child.pid)))
                .transpose()?;
            Ok(Inside {
                user_namespace: user_namespace.map(OwnedFd::from),
                child,
                ended: None,
                ids: Ids {
                    uid,
                    gid,
                    setup: Some((0, 0)),
                },
                node: None,
                own_network: true,
                own_cgroup,
                own_time: false,
                probe: self.embedded.lend_probe()?,
            })
        };
        entered().map_err(at("look into its container"))
    }
}

/// Hands over the suite's own image, of which containers of pods are made.
fn maker(
    kind: &Kind,
    (api, keeper): (&Arc<Api>, &Arc<Keeper>),
    made: &Arc<AtomicU64>,
) -> Result<Maker, StartError> {
    let info = api.get("/info", &[]);
    let info = info.map_err(|refusal| at("ask what it is")(refusal.into()))?;
    // Systemd makes and removes cgroups itself, and asks for a slice.
    let is_plain = info["CgroupDriver"].as_str() == Some("cgroupfs");
    // Where a user's may be is the engine's to say.
    let is_rootless = info["Rootless"].as_bool() == Some(true);
    let subject = super::member::image();
    let image = load(kind.name, (api, keeper), made, &subject);
    let image = image.map_err(|not_loaded| match not_loaded {
        NotLoaded::Here(why) | NotLoaded::Refused(why) => StartError::Unable { why },
    })?;
    Ok(Maker {
        api: Arc::clone(api),
        keeper: Arc::clone(keeper),
        image,
        subject,
        made: Arc::clone(made),
        limits_core: kind.limits_core,
        cgroup: (kind.leaves_cgroups && is_plain && !is_rootless).then(|| keeper.cgroup()),
    })
}

/// The cgroup of a process in which this controller limits it, where it is not the suite's too: an
/// engine that may make none leaves its containers there.
fn cgroup_of(pid: i32, controller: &str) -> Option<PathBuf> {
    let own = CgroupPlace::of(controller).map(|place| place.directory);
    let its = CgroupPlace::of_process(pid, controller).map(|place| place.directory);
    its.filter(|its| own.as_ref() != Some(its))
}

/// Whether this namespace of a process is not the suite's; one that has ended is not entered.
fn is_another(pid: i32, kind: &str) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let own = std::fs::metadata(format!("/proc/self/ns/{kind}"))?;
    let its = std::fs::metadata(format!("/proc/{pid}/ns/{kind}"));
    Ok(its.is_ok_and(|its| its.ino() != own.ino()))
}

/// Name and version, and what the engine does otherwise than a CRI runtime.
fn describe(name: &str, api: &Api) -> io::Result<String> {
    let version = api.get("/version", &[])?;
    let info = api.get("/info", &[])?;
    let word = |value: &serde_json::Value| {
        let word = value.as_str().unwrap_or_default();
        pause_image::escape_text(word).to_string()
    };
    let runtime = word(&info["DefaultRuntime"]);
    let runtime = runtime.rsplit('/').next().unwrap_or_default();
    let version = word(&version["Version"]);
    let cgroup = word(&info["CgroupVersion"]);
    let facts = [
        runtime.to_owned(),
        format!("cgroup v{}", cgroup.trim_start_matches('v')),
        "no network but loopback".to_owned(),
        "seccomp unconfined".to_owned(),
    ];
    let facts: Vec<_> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    Ok(format!("{name} {version} ({})", facts.join(", ")))
}

impl Backend for Engine {
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
        if images
            .iter()
            .any(|it| Arc::ptr_eq(&it.rootfs, &subject.rootfs))
        {
            return Ok(());
        }
        let id = match load(
            self.kind.name,
            (&self.api, &self.keeper),
            &self.made,
            subject,
        ) {
            Err(NotLoaded::Here(why)) => return Err(StartError::Unable { why }),
            // Checks say so, as of a program that does not start.
            Err(NotLoaded::Refused(why)) => Err(why),
            Ok(id) => Ok(id),
        };
        images.push(Adopted {
            rootfs: Arc::clone(&subject.rootfs),
            id,
        });
        Ok(())
    }

    fn cost(&self) -> Duration {
        self.cost
    }

    fn memory_floor(&self) -> u64 {
        MEMORY_FLOOR
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
        Ok(Box::new(self.create(launch, spec)?))
    }

    fn counters(&self) -> Counters {
        self.embedded.counters()
    }
}

/// What every engine gives.
const ALWAYS: Features = Features::OF_ALL
    .union(Features::SANDBOX_PROC)
    .union(Features::ENGINE);

/// What it gives where the host does.
const FROM_EMBEDDED: Features = Features::MQUEUE
    .union(Features::PIDFD_HUP)
    .union(Features::SELF_EXEC);

const NO_LIMIT: &str = "makes no cgroup here that limits it";
const EXECUTES: &str = "executes the program in a process of its own";
const MAPS: &str = "maps the ids of all containers alike";
const MOUNTS: &str = "mounts /proc and /dev";
const CONNECTS: &str = "connects the standard streams to itself";
const RESETS: &str = "resets blocked and ignored signals";
const NO_TIME: &str = "is asked for no time namespace";
const LISTS: &str = "takes lists of system calls, not filters";

/// Why it does not give the rest, after its name.
const LACKING: &[(Features, &str)] = &[
    (Features::MEMORY_LIMIT, NO_LIMIT),
    (
        Features::PIDS_LIMIT,
        "has more processes than one itself when it starts a container",
    ),
    (Features::SECCOMP, LISTS),
    (Features::TRACE, EXECUTES),
    (Features::STEP, EXECUTES),
    (Features::ID_RANGE, MAPS),
    (Features::USER_NAMESPACE, MAPS),
    (Features::TIME_NAMESPACE, NO_TIME),
    (
        Features::CGROUP_NAMESPACE,
        "is asked for no cgroup namespace",
    ),
    (
        Features::HELD,
        "starts a container and executes its program in one step",
    ),
    (Features::EXEC_ON_ORDER, EXECUTES),
    (Features::BARE_ROOT, MOUNTS),
    (Features::STREAMS, CONNECTS),
    (Features::CLOSED_STREAMS, CONNECTS),
    (Features::DISPOSITIONS, RESETS),
    (Features::BASELINE, "runs no emulator"),
];

/// What of a specification it cannot do.
fn refuses(spec: &Spec) -> Option<&'static str> {
    let streams = [spec.stdin, spec.stdout, spec.stderr];
    let outputs = [spec.stdout, spec.stderr];
    let is_odd = |it: &Stream| matches!(it, Stream::Broken | Stream::Full);
    [
        (matches!(spec.root, Root::Bare | Root::Host), MOUNTS),
        (
            streams.contains(&Stream::Closed)
                || outputs.iter().any(is_odd)
                || spec.stdin == Stream::Full,
            CONNECTS,
        ),
        (
            spec.privileged,
            "would not confine its capabilities: there is no user namespace",
        ),
        (spec.own_time, NO_TIME),
        (spec.id_range, MAPS),
        (spec.blocked != 0 || spec.ignored != 0, RESETS),
        (
            spec.extra_descriptors > 0,
            "is given no further descriptors",
        ),
        (spec.seccomp.is_some(), LISTS),
    ]
    .into_iter()
    .find_map(|(asked, why)| asked.then_some(why))
}
