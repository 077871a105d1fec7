//! The default engine: namespaces made by the suite itself, rootless where the
//! kernel allows it. It treats every image as hostile.
//!
//! **How nothing is left behind.** [`Embedded::prepare`] moves the suite's future
//! children into a pid namespace whose PID 1, the keeper, ends when the suite does; the
//! kernel then kills whatever is in it, sandboxes with their own pid namespaces
//! included. Mounts live in mount namespaces that end with their processes. Cgroups,
//! which nothing takes along, are removed by the keeper; those of a suite that was
//! killed together with its keeper, by the next one that starts. The
//! suite stays in the host's pid namespace, so it is the parent of every pause
//! process and reads its true wait status.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::libc;
use rustix::fs::{MemfdFlags, Mode};
use rustix::pipe::PipeFlags;

use crate::backend::{Backend, Join, Launch, Namespaces, Sandbox, Spec, StartError, Stdio, Stream};
use crate::check::Needs;
use crate::emulator::Emulator;
use crate::probe::Probe;
use crate::sys::{self, Child, ExitStatus, StringVector};
use crate::wasi_engine::Command;
use crate::wasi_host;
use crate::workload::Workload;

mod beside;
mod binfmt;
mod cgroup;
mod child;
mod emulated;
mod ids;
mod keeper;
mod launch;
mod plan;
mod stage;

use binfmt::Rule;
use child::Step;
pub use emulated::Emulated;
use emulated::Emulation;
use ids::Mapping;
use keeper::Keeper;
use plan::{Ids, Plan};
use stage::{Scene, Stage};

/// The user and group of engines: as those of upstream's pause.
const ENGINE_USER: (u32, u32) = (65535, 65535);

/// The engine, prepared.
#[derive(Debug)]
pub struct Embedded {
    mapping: Mapping,
    offers: Needs,
    lacking: Vec<(Needs, String)>,
    null: OwnedFd,
    /// The suite itself, as its children see whether it is there.
    suite: OwnedFd,
    probe: OwnedFd,
    cgroups: cgroup::Cgroups,
    binfmt: Binfmt,
    /// `None` where the host refuses a mount that it needs.
    stage: Option<Stage>,
    /// Those of the last images.
    scenes: Mutex<Vec<Arc<Scene>>>,
    /// The suite's own /proc.
    proc: OwnedFd,
    /// The suite's own, as they stand there.
    arguments: Vec<u8>,
    /// PID 1 of the pid namespace of all sandboxes; the last field, so the last to go.
    keeper: Keeper,
}

/// Where foreign programs' emulators are registered, if anywhere.
#[derive(Debug)]
enum Binfmt {
    /// In a user namespace above those of all sandboxes, for as long as this is open.
    Held(#[expect(dead_code, reason = "held, not used")] OwnedFd),
    /// In each sandbox's own.
    EachSandbox,
    /// Nowhere; says why.
    None(String),
}

/// Why no sandbox can be made on this host.
#[derive(Debug, thiserror::Error)]
#[error("cannot make sandboxes: {what}: {cause}")]
pub struct PrepareError {
    what: &'static str,
    cause: io::Error,
    hint: Option<&'static str>,
}

impl PrepareError {
    fn new(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self {
            what,
            cause,
            hint: None,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl Embedded {
    /// Leaves the host's namespaces for the children to come and starts the keeper.
    /// Call with one thread: unshare(2) refuses a new user namespace otherwise.
    ///
    /// # Errors
    /// When the host allows neither user namespaces nor is the caller root.
    pub fn prepare() -> Result<Self, PrepareError> {
        Self::prepare_for(&[], 1)
    }

    /// As [`Embedded::prepare`], where programs are to run under these emulators, in so many
    /// checks at a time.
    ///
    /// # Errors
    /// As [`Embedded::prepare`].
    pub fn prepare_for(emulators: &[Emulator], checks: usize) -> Result<Self, PrepareError> {
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(PrepareError::new("open /dev/null"))?
            .into();
        let suite = rustix::process::pidfd_open(
            rustix::process::getpid(),
            rustix::process::PidfdFlags::empty(),
        )
        .map_err(|cause| PrepareError::new("open a handle on itself")(cause.into()))?;
        let (mapping, binfmt) = enter_outer_namespaces(emulators)?;
        let probe = probe_file().map_err(PrepareError::new("store the probe"))?;
        let emulated = if emulators.is_empty() { 0 } else { checks };
        let cgroups = cgroup::Cgroups::detect(emulated as u64);
        let keeper = Keeper::start(&probe, &cgroups.groups()).map_err(|cause| {
            cgroups.remove();
            PrepareError::new("start the keeper")(cause)
        })?;
        let proc = sys::proc().map_err(PrepareError::new("open /proc"))?;
        let arguments = std::fs::read("/proc/self/cmdline")
            .map_err(PrepareError::new("read its own arguments"))?;
        let mut engine = Self {
            arguments,
            stage: Stage::build(&keeper, proc.as_fd()).ok(),
            scenes: Mutex::default(),
            proc,
            mapping,
            offers: Needs::empty(),
            lacking: Vec::new(),
            null,
            suite,
            probe,
            cgroups,
            binfmt,
            keeper,
        };
        engine.find_offers();
        Ok(engine)
    }

    /// Makes room for several runs at a time: what bounds one would have them kill each
    /// other's processes. Before the first sandbox.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn expect_runs(&mut self, at_a_time: usize) -> io::Result<()> {
        self.cgroups.expect_runs(at_a_time as u64)
    }

    fn find_offers(&mut self) {
        self.offers = Needs::SANDBOX
            | Needs::PROBE
            | Needs::NATIVE
            | Needs::DEFAULT_ACTIONS
            | Needs::LEAVES
            | Needs::HOST_PID
            | Needs::NETWORK
            | Needs::SECCOMP
            | Needs::TRACE
            | Needs::CGROUP_NAMESPACE
            | Needs::HOST_PID_NAMESPACE
            | Needs::START_CONTROL;
        let mut offer = |need: Needs, have: Result<(), String>| match have {
            Ok(()) => self.offers |= need,
            Err(why) => self.lacking.push((need, why)),
        };
        offer(Needs::MEMORY_LIMIT, self.cgroups.can_limit_memory());
        offer(Needs::PIDS_LIMIT, self.cgroups.can_limit_pids());
        offer(
            Needs::USER_NAMESPACE,
            match self.mapping {
                Mapping::Host => Err("this host allows no user namespaces".to_owned()),
                _ => Ok(()),
            },
        );
        offer(
            Needs::ID_RANGE,
            match self.mapping {
                Mapping::Range => Ok(()),
                Mapping::Single { .. } => Err("a rootless caller maps one id".to_owned()),
                Mapping::Host => Err("this host allows no user namespaces".to_owned()),
            },
        );
        let exists = |path: &str, what: &str| {
            if std::path::Path::new(path).exists() {
                Ok(())
            } else {
                Err(format!("the kernel has no {what}"))
            }
        };
        offer(
            Needs::TIME_NAMESPACE,
            exists("/proc/self/ns/time", "time namespaces"),
        );
        offer(
            Needs::MQUEUE,
            exists("/proc/sys/fs/mqueue", "POSIX message queues"),
        );
        offer(
            Needs::WASI_HOST,
            if wasi_host::is_held() {
                Ok(())
            } else {
                Err("this program does not hold the suite's WASI host".to_owned())
            },
        );
        offer(
            Needs::PIDFD_HUP,
            if kernel_at_least(6, 9) {
                Ok(())
            } else {
                Err("the kernel reports no reaping on a pidfd before Linux 6.9".to_owned())
            },
        );
    }

    fn streams(&self, spec: &Spec) -> io::Result<(Stdio, [Option<OwnedFd>; 3])> {
        let mut ours = Stdio::default();
        let input = match spec.stdin {
            Stream::Null => Some(self.null.try_clone()?),
            Stream::Closed => None,
            Stream::Captured | Stream::Full => {
                let (read, write) = pipe()?;
                ours.stdin = Some(write);
                Some(read)
            }
            Stream::Broken => Some(pipe()?.0),
        };
        let mut unread = Vec::new();
        let mut output = |stream, ours: &mut Option<OwnedFd>| -> io::Result<Option<OwnedFd>> {
            Ok(match stream {
                Stream::Null => Some(self.null.try_clone()?),
                Stream::Closed => None,
                Stream::Captured => {
                    let (read, write) = pipe()?;
                    rustix::io::ioctl_fionbio(&read, true)?;
                    *ours = Some(read);
                    Some(write)
                }
                Stream::Broken => Some(pipe()?.1),
                Stream::Full => {
                    let (read, write) = pipe()?;
                    fill(&write)?;
                    unread.push(read);
                    Some(write)
                }
            })
        };
        let stdout = output(spec.stdout, &mut ours.stdout)?;
        let stderr = output(spec.stderr, &mut ours.stderr)?;
        ours.unread = unread;
        Ok((ours, [input, stdout, stderr]))
    }
}

impl Backend for Embedded {
    fn describe(&self) -> String {
        match self.mapping {
            Mapping::Single { .. } => "embedded (rootless)",
            Mapping::Range => "embedded (root, user namespace)",
            Mapping::Host => "embedded (root, no user namespace)",
        }
        .to_owned()
    }

    fn offers(&self) -> Needs {
        self.offers
    }

    /// The children of this thread go into the keeper's pid namespace and under the
    /// limit of all sandboxes from now on.
    fn adopt_thread(&self) -> io::Result<()> {
        self.cgroups.adopt_thread()?;
        sys::setns(self.keeper.pid_namespace(), libc::CLONE_NEWPID)
    }

    fn lacks(&self, need: Needs) -> Option<&str> {
        self.lacking
            .iter()
            .find(|(bit, _)| *bit == need)
            .map(|(_, why)| why.as_str())
    }

    fn start(&self, launch: &Launch<'_>, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        self.start_under(launch, spec, None)
    }

    fn start_engine(&self, command: Command, spec: &Spec) -> Result<Box<dyn Sandbox>, StartError> {
        let (uid, gid) = spec.user.unwrap_or(ENGINE_USER);
        let path = command.argv.first().cloned().unwrap_or_default();
        let plan = Plan::of_engine(command, spec, self.mapping.ids(uid, gid));
        let plan = plan.map_err(|cause| StartError::Host {
            step: "plan it",
            cause,
        })?;
        self.run(plan, spec, path)
    }
}

impl Embedded {
    fn start_under(
        &self,
        launch: &Launch<'_>,
        spec: &Spec,
        emulation: Option<&Emulation>,
    ) -> Result<Box<dyn Sandbox>, StartError> {
        let host = |step: &'static str| move |cause: io::Error| StartError::Host { step, cause };
        let (uid, gid) = spec.user.unwrap_or((
            launch.program.uid.unwrap_or(0),
            launch.program.gid.unwrap_or(0),
        ));
        let ids = self.mapping.ids(uid, gid);
        if spec.privileged && self.mapping == Mapping::Host {
            return Err(host("confine its capabilities")(
                io::ErrorKind::Unsupported.into(),
            ));
        }
        let plan = Plan::new(launch, spec, ids, emulation).map_err(host("plan it"))?;
        let path = launch.program.argv.first().cloned().unwrap_or_default();
        self.run(plan, spec, path)
    }
}

struct EmbeddedSandbox {
    child: Child,
    status: Option<ExitStatus>,
    stdio: Stdio,
    ids: Ids,
    /// The one that was made for it, wherever the program has gone since.
    user_namespace: Option<OwnedFd>,
    /// PID 1 of the namespace that it is in, where that is not its own.
    node: Option<Keeper>,
    own_network: bool,
    own_time: bool,
    /// Where children of the suite go when no sandbox's is meant.
    keepers_pid_namespace: OwnedFd,
    probe: OwnedFd,
    gate: Option<OwnedFd>,
    progress: OwnedFd,
    path: String,
    cgroup: Option<cgroup::Cgroup>,
}

impl EmbeddedSandbox {
    /// Starts a child of this thread in the pid namespace of the pod.
    fn spawn_member(&self, child: impl FnOnce() -> i32) -> io::Result<Child> {
        let pid_namespace = self
            .node
            .as_ref()
            .map_or_else(|| self.child.pidfd.as_fd(), Keeper::pid_namespace);
        // Of this thread, for its next child only (setns(2)).
        sys::setns(pid_namespace, libc::CLONE_NEWPID)?;
        let child = sys::spawn(0, child);
        sys::setns(self.keepers_pid_namespace.as_fd(), libc::CLONE_NEWPID)?;
        child
    }

    fn write_gate(&self) -> io::Result<()> {
        self.gate.as_ref().map_or(Ok(()), write_gate)
    }

    /// What the child has said of a failure, if it has. That its end of the pipe is closed
    /// need not show: others that were cloned meanwhile have copies until they execute.
    fn failed_before_exec(&mut self) -> Result<(), StartError> {
        match crate::wait::readable(self.progress.as_fd(), Duration::ZERO) {
            Ok(true) => self.await_progress(false),
            _ => Ok(()),
        }
    }

    /// Waits until the child is held or has executed the program.
    fn await_progress(&mut self, held: bool) -> Result<(), StartError> {
        let host = |step: &'static str, cause: io::Error| StartError::Host { step, cause };
        let mut message = [0; 8];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.progress, &mut message))
            .map_err(|e| host("read its status", e.into()))?;
        if length == 0 {
            return if held {
                // Nobody but the kernel ends it there.
                let cause = "the kernel killed it, as where memory is short";
                Err(host("hold it before exec", io::Error::other(cause)))
            } else {
                Ok(())
            };
        }
        let [s0, s1, s2, s3, e0, e1, e2, e3] = message;
        let step = Step::from_number(u32::from_ne_bytes([s0, s1, s2, s3]));
        let cause = io::Error::from_raw_os_error(i32::from_ne_bytes([e0, e1, e2, e3]));
        match step {
            Some(Step::Held) if held => Ok(()),
            Some(Step::Exec) => Err(StartError::Exec {
                path: self.path.clone(),
                cause,
            }),
            Some(step) => Err(host(step.words(), cause)),
            None => Err(host("read its status", io::ErrorKind::InvalidData.into())),
        }
    }
}

impl Sandbox for EmbeddedSandbox {
    fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    fn host_pid(&self) -> i32 {
        self.child.pid
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        sys::send_signal(self.child.pidfd.as_fd(), signal)
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = sys::try_wait(self.child.pidfd.as_fd())?;
        }
        Ok(self.status)
    }

    fn take_stdio(&mut self) -> Stdio {
        std::mem::take(&mut self.stdio)
    }

    fn open_gate(&mut self) -> io::Result<()> {
        self.write_gate()
    }

    fn release(&mut self) -> Result<(), StartError> {
        let host = |cause| StartError::Host {
            step: "open its gate",
            cause,
        };
        match self.write_gate() {
            // It was killed while it was held; its end says so, executed or not.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(host)?,
        }
        self.gate = None;
        self.await_progress(false)
    }

    fn enter(&self, join: &Join) -> io::Result<Probe> {
        let (ours, theirs) = Probe::socket()?;
        let argv = StringVector::new(["probe"])?;
        let envp = StringVector::new(Vec::<String>::new())?;
        let entry = Entry {
            sandbox: self,
            join,
            socket: &theirs,
            argv: &argv,
            envp: &envp,
        };
        let child = if join.namespaces.contains(Namespaces::PID) {
            self.spawn_member(|| entry.run())
        } else {
            sys::spawn(0, || entry.run())
        };
        // With our copy open, the end of a probe that failed would not show.
        drop(theirs);
        Probe::new(child?, ours)
    }

    fn run_beside(&self, command: Command, shares_pid: bool) -> io::Result<Workload> {
        beside::start(self, command, shares_pid)
    }

    fn memory_used(&self) -> Option<u64> {
        self.cgroup.as_ref().and_then(cgroup::Cgroup::memory_peak)
    }
}

impl Drop for EmbeddedSandbox {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = sys::send_signal(self.child.pidfd.as_fd(), libc::SIGKILL);
            // Its namespace ends with it; members that the suite started were reaped
            // by their own owners before.
            let _ = sys::wait(self.child.pidfd.as_fd());
        }
        self.node = None;
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove(Instant::now() + Duration::from_secs(1));
        }
    }
}

/// The way of the probe from clone into the sandbox to exec.
struct Entry<'a> {
    sandbox: &'a EmbeddedSandbox,
    join: &'a Join,
    socket: &'a OwnedFd,
    argv: &'a StringVector,
    envp: &'a StringVector,
}

impl Entry<'_> {
    /// Returns only where a step fails.
    fn run(&self) -> i32 {
        match self.enter() {
            Ok(()) => sys::exec(Some(self.sandbox.probe.as_fd()), c"", self.argv, self.envp),
            Err(error) => error,
        };
        child::FAILED
    }

    fn enter(&self) -> io::Result<()> {
        // Until exec this is a copy of the suite, in reach of the program.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
        let pidfd = self.sandbox.child.pidfd.as_fd();
        let _ =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let _ = rustix::process::setsid();
        let mut joined = self.join.namespaces;
        if !self.sandbox.own_network {
            // Where the suite's children are already; it belongs to the outer user namespace.
            joined -= Namespaces::NETWORK;
        }
        let mut flags = 0;
        for (namespace, flag) in [
            (Namespaces::NETWORK, libc::CLONE_NEWNET),
            (Namespaces::IPC, libc::CLONE_NEWIPC),
            (Namespaces::UTS, libc::CLONE_NEWUTS),
            (Namespaces::CGROUP, libc::CLONE_NEWCGROUP),
            (Namespaces::MOUNT, libc::CLONE_NEWNS),
        ] {
            if joined.contains(namespace) {
                flags |= flag;
            }
        }
        if self.join.namespaces.contains(Namespaces::TIME) && self.sandbox.own_time {
            flags |= libc::CLONE_NEWTIME;
        }
        // With the suite's own privileges, which reach every namespace below its own:
        // a program that left its user namespace stands in nobody's way.
        if flags != 0 {
            sys::setns(pidfd, flags)?;
        }
        if let Some(user_namespace) = &self.sandbox.user_namespace {
            sys::setns(user_namespace.as_fd(), libc::CLONE_NEWUSER)?;
        }
        sys::close_range_cloexec(3)?;
        sys::dup_to(self.socket.as_fd(), 0)?;
        let ids = self
            .join
            .user
            .unwrap_or((self.sandbox.ids.uid, self.sandbox.ids.gid));
        if self.sandbox.ids.setup.is_some() {
            if self.join.privileged {
                sys::set_ids(0, 0)?;
            } else {
                sys::drop_groups()?;
                sys::set_ids(ids.0, ids.1)?;
            }
        }
        if self.join.privileged {
            raise_ambient()?;
        } else {
            let none = rustix::thread::CapabilitySet::empty();
            rustix::thread::set_capabilities(
                None,
                rustix::thread::CapabilitySets {
                    effective: none,
                    permitted: none,
                    inheritable: none,
                },
            )?;
        }
        let _ =
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        sys::reset_signals(0, 0)
    }
}

/// Keeps capabilities across exec for a user that is not the namespace's root.
fn raise_ambient() -> io::Result<()> {
    use rustix::thread::CapabilitySet;
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable = sets.permitted;
    rustix::thread::set_capabilities(None, sets)?;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if sets.permitted.contains(capability) {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

fn enter_outer_namespaces(emulators: &[Emulator]) -> Result<(Mapping, Binfmt), PrepareError> {
    const OUTER: c_int = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let private = !emulators.is_empty() && binfmt::is_private_to_user_namespaces();
    let none = Binfmt::None("user namespaces have none of their own before Linux 6.7".to_owned());
    let (mapping, binfmt) = match (user_namespaces_work(), ids::range_is_there()) {
        (true, true) if private => (Some(Mapping::Range), Binfmt::EachSandbox),
        (true, true) => (Some(Mapping::Range), none),
        // Root of a user namespace that holds few ids is an ordinary user.
        (true, false) => (None, none),
        // Without a user namespace it would be the host's.
        (false, _) => (
            Some(Mapping::Host),
            Binfmt::None("this host allows no user namespaces".to_owned()),
        ),
    };
    if uid == 0
        && let Some(mapping) = mapping
        && sys::unshare(OUTER).is_ok()
    {
        return Ok((mapping, binfmt));
    }
    let mut above = (uid, gid);
    let mut binfmt = Binfmt::None("user namespaces have none of their own here".to_owned());
    if private {
        binfmt = match register_above(emulators, (uid, gid))? {
            Ok(mounted) => Binfmt::Held(mounted),
            Err(error) => Binfmt::None(format!("cannot register it: {error}")),
        };
        above = (0, 0);
    }
    enter_user_namespace(OUTER)?;
    // The suite keeps its own ids, so that files it writes stay the caller's.
    map_caller((uid, gid), above)?;
    Ok((Mapping::Single { uid, gid }, binfmt))
}

/// Enters a user namespace in which emulators are registered: one above that of the
/// sandboxes, since only its id 0 may write there, and a rootless sandbox maps another.
/// Its mounts are the caller's, in a namespace that lets it mount.
fn register_above(
    emulators: &[Emulator],
    caller: (u32, u32),
) -> Result<io::Result<OwnedFd>, PrepareError> {
    enter_user_namespace(libc::CLONE_NEWNS)?;
    map_caller((0, 0), caller)?;
    let register = || {
        let mounted = binfmt::mount()?;
        for emulator in emulators {
            binfmt::register(&mounted, &Rule::new(emulator)?)?;
        }
        Ok(mounted)
    };
    Ok(register())
}

fn enter_user_namespace(others: c_int) -> Result<(), PrepareError> {
    sys::unshare(libc::CLONE_NEWUSER | others).map_err(|cause| PrepareError {
        what: "make a user namespace",
        // ENOSPC here speaks of namespaces and not of disks (unshare(2)).
        cause: match cause.raw_os_error() {
            Some(libc::ENOSPC) => io::Error::other("this host allows no more of them"),
            _ => cause,
        },
        hint: Some(
            "the host forbids user namespaces to this user: see kernel.unprivileged_userns_clone, \
             user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns, or run as root",
        ),
    })
}

/// The caller's one user and group, `above` in the user namespace above, is `inside` from now on.
fn map_caller(inside: (u32, u32), above: (u32, u32)) -> Result<(), PrepareError> {
    let map = |file: &'static str, line: String| {
        std::fs::write(file, line).map_err(PrepareError::new("map the caller's ids"))
    };
    map("/proc/self/setgroups", "deny".to_owned())?;
    map(
        "/proc/self/uid_map",
        format!("{} {} 1\n", inside.0, above.0),
    )?;
    map(
        "/proc/self/gid_map",
        format!("{} {} 1\n", inside.1, above.1),
    )
}

fn user_namespaces_work() -> bool {
    let child = sys::spawn(libc::CLONE_NEWUSER as u64, || 0);
    let Ok(child) = child else { return false };
    matches!(
        sys::wait(child.pidfd.as_fd()),
        Ok(Some(ExitStatus::Exited(0)))
    )
}

/// The probe as an anonymous file that can be executed by descriptor from any root.
fn probe_file() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create(c"probe", flags | MemfdFlags::EXEC)
        // MFD_EXEC is known from Linux 6.3 on.
        .or_else(|_| rustix::fs::memfd_create(c"probe", flags))?;
    // Whoever cannot read what it executes can be traced by nobody, from its first
    // instruction on: ptrace(2), "Ptrace access mode checking"; proc(5), "suid_dumpable".
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o111))?;
    let mut rest = crate::programs::PROBE;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}

fn write_gate(gate: &OwnedFd) -> io::Result<()> {
    rustix::io::write(gate, &[1])?;
    Ok(())
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// Writes until the pipe takes no more, then lets it block again.
fn fill(pipe: &OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(pipe, true)?;
    let page = [b'\n'; 4096];
    for size in [page.len(), 1] {
        while rustix::io::write(pipe, &page[..size]).is_ok() {}
    }
    rustix::io::ioctl_fionbio(pipe, false)?;
    Ok(())
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(a)), Some(Ok(b))) => (a, b) >= (major, minor),
        _ => false,
    }
}
