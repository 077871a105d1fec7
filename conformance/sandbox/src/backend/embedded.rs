//! The default backend: namespaces that the suite itself makes, rootless where the kernel allows
//! it. It treats every image as hostile.
//!
//! **How nothing is left behind.** [`Embedded::prepare`] moves the suite's future children into a
//! pid namespace whose PID 1, the sandbox init, ends when the suite does. The kernel then kills
//! every process in it, and in the pid namespaces of sandboxes below it. A mount namespace ends
//! with its last process. Nothing removes cgroups and the folders of big images on its own: the
//! sandbox init does; where it was killed together with the suite, the next suite does.
//!
//! The suite stays in the host's pid namespace, so it is the parent of every pause process and
//! reads its true wait status.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::libc;
use rustix::fs::{MemfdFlags, Mode};
use rustix::pipe::PipeFlags;

use crate::Features;
use crate::backend::{Backend, Entered, Launch, Root, Sandbox, Spec, StartError, Stdio, Stream};
use crate::emulator::Emulator;
use crate::shortage::Counters;
use crate::sys;
use crate::workload::Command;
use pause_image::{Platform, Rootfs};

mod base;
pub(super) mod before_exec;
mod binfmt;
pub(super) mod capabilities;
pub(super) mod cgroup;
mod child;
mod cost;
mod emulated;
mod fill;
mod folder;
mod holder;
pub(super) mod ids;
pub(super) mod init;
mod launch;
mod lend;
pub(super) mod limits;
pub(super) mod mounts;
mod obstacles;
mod offers;
mod outer;
pub(super) mod plan;
mod root;
mod sandbox;
mod trial;

use base::BaseMounts;
use cost::Cost;
pub use emulated::Emulated;
use emulated::Emulation;
use ids::Mapping;
use init::SandboxInit;
pub(super) use lend::LentRoot;
use obstacles::{Host, Refusal};
use plan::Plan;
use root::{Roots, Wanted};

/// The scheduler slice of the suite's own threads: a check does little at a time, while a program
/// that spins uses its whole slice.
const SLICE: Duration = Duration::from_micros(100);

/// The user and group of WASI runtimes: those of upstream's pause.
const ENGINE_USER: (u32, u32) = (65535, 65535);

/// The backend, prepared.
#[derive(Debug)]
pub struct Embedded {
    mapping: Mapping,
    /// In the user namespace of an engine, whose root is an ordinary user.
    is_in_engines: bool,
    /// Why sandboxes cannot be made as root, which would offer more.
    instead_of: Option<Refusal>,
    offers: Features,
    lacking: Vec<(Features, String)>,
    null: OwnedFd,
    /// A pidfd of the suite, by which its children see whether it has ended.
    suite: OwnedFd,
    probe: OwnedFd,
    /// What stands in place of a program that is held.
    holder: OwnedFd,
    cgroups: cgroup::Cgroups,
    binfmt: Binfmt,
    /// The emulator of this host's own processor, or why there is none, once that was asked for.
    own_emulator: OnceLock<Result<Emulator, String>>,
    /// `None` where the host refuses a mount that it needs.
    base: Option<BaseMounts>,
    /// The roots of the last images.
    roots: Roots,
    /// Whether an overlay was refused in a user namespace.
    refuses_overlay: AtomicBool,
    /// The suite's own /proc.
    proc: OwnedFd,
    /// The suite's own command line, as /proc shows it.
    arguments: Vec<u8>,
    /// PID 1 of the pid namespace of all sandboxes; the last field, so it is dropped last.
    init: SandboxInit,
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
#[error("{line}")]
pub struct PrepareError {
    line: String,
    hint: Option<String>,
}

impl PrepareError {
    /// What the user can do.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Embedded {
    /// Leaves the host's namespaces, for the children that follow, and starts the sandbox init.
    /// Call with one thread: unshare(2) refuses a new user namespace otherwise.
    ///
    /// # Errors
    /// When the caller cannot make sandboxes here in any way.
    pub fn prepare() -> Result<Self, PrepareError> {
        Self::prepare_for(&[])
    }

    /// As [`Embedded::prepare`], where programs are to run under these emulators.
    ///
    /// Each way of making sandboxes is tried by making one; where it fails, the next is tried:
    /// a caller with more privileges is never worse off.
    ///
    /// # Errors
    /// As [`Embedded::prepare`].
    pub fn prepare_for(emulators: &[Emulator]) -> Result<Self, PrepareError> {
        Self::prepare_in(emulators, None)
    }

    /// As [`Embedded::prepare_for`], in the user namespace of an engine where the suite has entered
    /// one.
    ///
    /// # Errors
    /// As [`Embedded::prepare`].
    pub fn prepare_in(
        emulators: &[Emulator],
        entered: Option<Entered>,
    ) -> Result<Self, PrepareError> {
        sys::return_large_buffers();
        let host = Host::before();
        let mut refused = Vec::new();
        for way in outer::ways(entered) {
            match Self::by(way, emulators, entered.is_some()) {
                Ok(mut engine) => {
                    engine.instead_of = refused.pop().map(|(_, refusal)| refusal);
                    return Ok(engine);
                }
                Err(refusal) => refused.push((way, refusal)),
            }
        }
        // For root without user namespaces the first refusal says more, for all others the last.
        let refusal = match refused.first() {
            Some((Mapping::Host, refusal)) => Some(refusal),
            _ => refused.last().map(|(_, refusal)| refusal),
        };
        let (line, hint) = refusal.map_or_else(Default::default, |it| host.looked_at().explain(it));
        Err(PrepareError { line, hint })
    }

    /// Whether the files of an image have a place on this host, looked at before anything is
    /// made: in memory, or in a folder for temporary files.
    ///
    /// # Errors
    /// What is wrong with each such folder, with the figures.
    pub fn has_place_for(rootfs: &Rootfs) -> io::Result<()> {
        if root::is_small(rootfs) {
            return Ok(());
        }
        folder::has_place(Cost::of(rootfs).disk)
    }

    fn by(way: Mapping, emulators: &[Emulator], is_in_engines: bool) -> Result<Self, Refusal> {
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(Refusal::at("open /dev/null"))?
            .into();
        let suite = rustix::process::pidfd_open(
            rustix::process::getpid(),
            rustix::process::PidfdFlags::empty(),
        )
        .map_err(|cause| Refusal::at("open a handle on itself")(cause.into()))?;
        let binfmt = outer::enter(way, emulators)?;
        // A process whose executable is unreadable is not dumpable, so nothing can ptrace it
        // (ptrace(2), "Ptrace access mode checking"; proc(5), "suid_dumpable").
        let probe = probe_file(0o111).map_err(Refusal::at("store the probe"))?;
        // The suite itself is to find its files in /proc, and to trace it.
        let holder = probe_file(0o555).map_err(Refusal::at("store the holder"))?;
        folder::sweep();
        let cgroups = cgroup::Cgroups::detect(limits::processes());
        let init = SandboxInit::start(&probe, &cgroups.groups(), &cgroups.locks());
        let init = init.map_err(|cause| {
            cgroups.remove();
            Refusal::at("start the sandbox init")(cause)
        })?;
        let proc = sys::proc().map_err(Refusal::at("open /proc"))?;
        let arguments =
            std::fs::read("/proc/self/cmdline").map_err(Refusal::at("read its own arguments"))?;
        let mut engine = Self {
            arguments,
            base: BaseMounts::build(&init, proc.as_fd()).ok(),
            roots: Roots::default(),
            refuses_overlay: AtomicBool::new(false),
            proc,
            mapping: way,
            is_in_engines,
            instead_of: None,
            offers: Features::empty(),
            lacking: Vec::new(),
            null,
            suite,
            probe,
            holder,
            cgroups,
            binfmt,
            own_emulator: OnceLock::new(),
            init,
        };
        let shown = trial::run(&engine)?;
        engine.find_offers(&shown);
        Ok(engine)
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
        let way = match self.mapping {
            Mapping::Single { .. } => "rootless",
            _ if self.is_in_engines => "rootless, in the engine's user namespace",
            Mapping::Range { .. } => "root, user namespace",
            Mapping::Host => "root, no user namespace",
        };
        let proc = if self.offers.contains(Features::SANDBOX_PROC) {
            ""
        } else {
            ", no /proc"
        };
        let trace = if self.offers.contains(Features::STEP) {
            ""
        } else {
            ", no tracing"
        };
        let instead = self.instead_of.as_ref();
        let instead = instead.map_or_else(String::new, |it| format!("; as root: {it}"));
        format!("embedded ({way}{proc}{trace}{instead})")
    }

    fn offers(&self) -> Features {
        self.offers
    }

    /// The children of this thread go into the sandbox init's pid namespace and out of the suite's
    /// own cgroup from now on; the thread itself gets short scheduler slices.
    fn adopt_thread(&self) -> io::Result<()> {
        self.cgroups.adopt_thread()?;
        // It works without them, too.
        let _ = sys::ask_for_slice(0, SLICE);
        sys::setns(self.init.pid_namespace(), libc::CLONE_NEWPID)
    }

    fn counters(&self) -> Counters {
        self.cgroups.counters()
    }

    fn lacks(&self, need: Features) -> Option<&str> {
        self.lacking
            .iter()
            .find(|(bit, _)| *bit == need)
            .map(|(_, why)| why.as_str())
    }

    fn on_baseline(self: Arc<Self>) -> Result<(Arc<dyn Backend>, &'static str), String> {
        let find = || Emulator::find(&Platform::host()).map_err(|error| error.to_string());
        let emulator = self.own_emulator.get_or_init(find).clone()?;
        Emulated::on_baseline(self, &emulator)
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
        self.run(plan, None, spec, path)
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
            return Err(StartError::Unable {
                why: "its capabilities would not be confined: there is no user namespace"
                    .to_owned(),
            });
        }
        let start = || {
            let mut plan = Plan::new(launch, spec, ids, emulation).map_err(host("plan it"))?;
            // A big image is made once: there its mount points are empty directories.
            let bare = spec.root == Root::Bare && root::is_small(launch.rootfs);
            let wanted = Wanted::new(launch, self.mapping, (uid, gid), bare)?;
            let root = self.take_root(&mut plan, wanted)?;
            let path = launch.program.argv.first().cloned().unwrap_or_default();
            self.run(plan, Some(&root), spec, path)
        };
        match start() {
            Err(StartError::Host { step, .. }) if step == child::Step::Overlay.words() => {
                // From now on each sandbox gets a copy.
                self.refuses_overlay.store(true, Ordering::Relaxed);
                start()
            }
            other => other,
        }
    }

    fn refuses_overlay(&self) -> bool {
        self.refuses_overlay.load(Ordering::Relaxed)
    }
}

/// The probe as an anonymous file that can be executed by descriptor from any root.
fn probe_file(mode: u32) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create(c"probe", flags | MemfdFlags::EXEC)
        // MFD_EXEC is known from Linux 6.3 on.
        .or_else(|_| rustix::fs::memfd_create(c"probe", flags))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
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

pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
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
