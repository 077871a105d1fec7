//! From a plan to a sandbox that runs: where it stands, the clone, and what is done to it
//! from outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use rustix::fs::{Mode, OFlags};

use super::base::BaseMounts;
use super::cgroup::Held;
use super::child::{Pipes, Step, ToExec};
use super::holder::{Holder, Told};
use super::ids::Mapping;
use super::init::SandboxInit;
use super::limits::ProgramLimits;
use super::plan::{MountsFrom, Plan};
use super::root::{COPY, ImageRoot, Maker, Wanted};
use super::sandbox::EmbeddedSandbox;
use super::{Embedded, pipe, write_gate};
use crate::backend::inside::Inside;
use crate::backend::{Root, Sandbox, Spec, StartError, Stdio};
use crate::sys::{self, Child, NewNamespaces};
use crate::wait;

/// Namespaces that every sandbox has; pid, network and time are the [`Spec`]'s.
const COMMON: NewNamespaces = NewNamespaces::MOUNT
    .union(NewNamespaces::UTS)
    .union(NewNamespaces::IPC)
    .union(NewNamespaces::CGROUP);

/// The scheduler slice of the program. Among children of its own that spin it would wait for many
/// of their slices, and so would the check.
const SLICE: Duration = Duration::from_micros(500);

/// The suite's ends of a sandbox's pipes.
struct Ours {
    stdio: Stdio,
    gate: OwnedFd,
    status: OwnedFd,
}

/// The ends that its first process takes.
struct Theirs {
    gate: OwnedFd,
    status: OwnedFd,
    streams: [Option<OwnedFd>; 3],
}

impl Theirs {
    fn pipes<'a>(&'a self, suite: BorrowedFd<'a>) -> Pipes<'a> {
        let [stdin, stdout, stderr] = &self.streams;
        Pipes {
            gate: self.gate.as_fd(),
            suite,
            status: self.status.as_fd(),
            streams: [stdin.as_ref(), stdout.as_ref(), stderr.as_ref()],
        }
    }
}

/// What the suite finds and opens from outside, before the child executes anything.
struct Outside {
    /// As the suite's /proc numbers it.
    pid: i32,
    user_namespace: Option<OwnedFd>,
    /// Its oom_score_adj, where it can be written.
    score: Option<OwnedFd>,
}

/// A step of the suite that failed.
type Failed = (&'static str, io::Error);

/// Names the step of the suite at which a start failed.
fn at(step: &'static str) -> impl Fn(io::Error) -> StartError {
    move |cause| StartError::Host { step, cause }
}

impl Embedded {
    /// Makes a sandbox as planned, with this root, in which `path` is what is executed.
    pub(super) fn run(
        &self,
        mut plan: Plan,
        root: Option<&Arc<ImageRoot>>,
        spec: &Spec,
        path: String,
    ) -> Result<Box<dyn Sandbox>, StartError> {
        let (ours, theirs) = self.open_pipes(spec)?;
        let cgroup = self.limit(&mut plan, spec).map_err(at("make its cgroup"))?;
        // Before the clone: where one of these fails, there is no child to end.
        let probe = self.probe.try_clone().map_err(at("keep the probe"))?;
        let node = (!spec.own_pid_namespace)
            .then(|| SandboxInit::start_node(&self.probe))
            .transpose()
            .map_err(at("make the pid namespace of a node"))?;
        let mounts = self.mounts(&plan, root.map(Arc::as_ref));
        let first = || self.go_where_it_begins(cgroup.as_ref(), node.as_ref(), mounts);
        let pipes = theirs.pipes(self.suite.as_fd());
        if spec.held && !spec.own_time && plan.seccomp.is_none() && !is_judged(cgroup.as_ref()) {
            let holder = self.holder(&plan, &pipes);
            plan.holder = Some(holder.map_err(at("hold it before exec"))?);
        }
        let (child, outside) = self
            .clone_child(&plan, spec, &ours.gate, &pipes, first)
            .map_err(at("clone"))?;
        drop(theirs);
        let mut sandbox = EmbeddedSandbox {
            inside: Inside {
                child,
                ended: None,
                ids: plan.ids,
                user_namespace: None,
                node,
                own_network: spec.own_network,
                own_cgroup: true,
                own_time: spec.own_time,
                probe,
            },
            stdio: ours.stdio,
            gate: plan.held.then_some(ours.gate),
            progress: ours.status,
            path,
            root: root.cloned(),
            is_spared: spec.spared,
            cgroup,
        };
        let score = sandbox.adopt(outside)?;
        self.await_start(&mut sandbox, &plan, spec, score.as_ref())?;
        Ok(Box::new(sandbox))
    }

    /// What holds a plan's program, in a sandbox with these pipes.
    fn holder(&self, plan: &Plan, pipes: &Pipes<'_>) -> io::Result<Holder> {
        let (executed, path) = plan.executed();
        let told = Told {
            says: [Step::Held as u32, Step::Exec as u32],
            gate: pipes.gate,
            suite: pipes.suite,
            status: pipes.status,
            executed,
            path,
            argv: &plan.argv,
            keep: &plan.keep,
        };
        Holder::new(&self.holder, &told)
    }

    fn open_pipes(&self, spec: &Spec) -> Result<(Ours, Theirs), StartError> {
        let (stdio, streams) = self.streams(spec).map_err(at("open its streams"))?;
        let (gate_read, gate) = pipe().map_err(at("open the gate"))?;
        let (status, status_write) = pipe().map_err(at("open the status pipe"))?;
        let ours = Ours {
            stdio,
            gate,
            status,
        };
        let theirs = Theirs {
            gate: gate_read,
            status: status_write,
            streams,
        };
        Ok((ours, theirs))
    }

    /// Clones the sandbox's first process, and sets it up from outside while it runs.
    fn clone_child(
        &self,
        plan: &Plan,
        spec: &Spec,
        gate: &OwnedFd,
        pipes: &Pipes<'_>,
        first: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<(Child, Result<Outside, Failed>)> {
        let child = ToExec { plan, pipes };
        let at_once = |pidfd: BorrowedFd<'_>| {
            self.set_up(pidfd, plan, spec, gate)
                .inspect_err(|_| drop(sys::send_signal(pidfd, libc::SIGKILL)))
        };
        let namespaces = self.namespaces(spec);
        if shares_memory(plan, spec) {
            sys::spawn_sibling_in_place(namespaces, first, child, at_once)
        } else {
            sys::spawn_sibling(namespaces, first, child, at_once)
        }
    }

    /// Waits until the program is executed, or held just before that.
    fn await_start(
        &self,
        sandbox: &mut EmbeddedSandbox,
        plan: &Plan,
        spec: &Spec,
        score: Option<&OwnedFd>,
    ) -> Result<(), StartError> {
        if shares_memory(plan, spec) {
            self.await_own_memory(sandbox);
            rank(sandbox, score);
            if plan.holder.is_some() {
                sandbox.await_progress(true)?;
            } else {
                sandbox.failed_before_exec()?;
            }
        } else {
            rank(sandbox, score);
            sandbox.await_progress(plan.held)?;
        }
        sandbox.enter_cgroup()?;
        if plan.held && !spec.held {
            sandbox.release()?;
        }
        Ok(())
    }

    /// In the helper that makes the clone: joins the cgroup and the namespaces in which the sandbox
    /// begins.
    fn go_where_it_begins(
        &self,
        cgroup: Option<&Held>,
        node: Option<&SandboxInit>,
        mounts: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        match cgroup.and_then(Held::group) {
            Some(group) if !is_judged(cgroup) => group.join()?,
            _ => self.cgroups.join_all()?,
        }
        if let Some(node) = node {
            sys::setns(node.pid_namespace(), libc::CLONE_NEWPID)?;
        }
        mounts.map_or(Ok(()), |mounts| sys::setns(mounts, libc::CLONE_NEWNS))
    }

    /// Bounds what it may use, and what its program may do.
    fn limit(&self, plan: &mut Plan, spec: &Spec) -> io::Result<Option<Held>> {
        let (memory, pids) = (spec.memory_limit, spec.pids_limit);
        let cgroup = self.cgroups.take(memory, pids)?;
        let group = cgroup.as_ref().and_then(Held::group);
        plan.limits = ProgramLimits::new(group, self.mapping, spec.spared);
        // Limits that are judged are for the program: what making its root took is charged to
        // the suite, as an image's unpacked files are to the container engine. And a process whose
        // filter denies exit would never leave the suite's memory.
        plan.held = spec.held || is_judged(cgroup.as_ref()) || plan.seccomp.is_some();
        // Without a user namespace it would be the host's bounding set.
        plan.bounding_set &= self.mapping != Mapping::Host;
        Ok(cgroup)
    }

    /// oom_score_adj applies to every process that shares the memory, and the kernel reports that a
    /// child leaves the suite's memory a moment before it does. Once it has left, its arguments
    /// differ from the suite's.
    fn await_own_memory(&self, sandbox: &EmbeddedSandbox) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("{}/cmdline", sandbox.inside.child.pid);
        let has_suites = || {
            let mut arguments = vec![0; self.arguments.len()];
            let read = rustix::fs::openat(&self.proc, &path, flags, Mode::empty())
                .and_then(|file| rustix::io::read(&file, &mut arguments[..]));
            // Without memory it has no arguments, and once reaped it has no file.
            read.is_ok_and(|length| arguments.get(..length) == Some(&self.arguments))
        };
        // A process that has executed has closed its end, also where its arguments are the suite's.
        let executed = || wait::readable(sandbox.progress.as_fd(), Duration::ZERO).unwrap_or(true);
        while has_suites() && !executed() {
            std::thread::yield_now();
        }
    }

    /// The image's root for a sandbox, which the plan says how to take; `None` for one that has
    /// the host's.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(super) fn take_root(
        &self,
        plan: &mut Plan,
        wanted: Wanted,
    ) -> Result<Arc<ImageRoot>, StartError> {
        let failed = |cause| StartError::Host {
            step: "make the image's root",
            cause,
        };
        let base = self.base_for(plan);
        let by = Maker {
            // A sandbox whose mount namespace is the host's gets the root detached from it.
            base: self.base.as_ref(),
            init: &self.init,
            proc: self.proc.as_fd(),
        };
        plan.dev.clone_from(&wanted.dev);
        // A mount that is attached, and not inherited, is not locked: with capabilities the
        // program could make it writable.
        let alone = plan.privileged && base.is_none();
        let needs_own = plan.root == Root::Writable || alone;
        // Asked last: of a big image it takes longer than all else here.
        let copies = || base.is_none() || self.refuses_overlay() || wanted.is_small();
        let root = if needs_own && copies() {
            let own = self.roots.own(&wanted, by).map_err(failed)?;
            own.ok_or_else(unable_to_copy)?
        } else {
            plan.overlay = needs_own;
            self.roots.shared(wanted, by).map_err(failed)?
        };
        plan.mounts_from = MountsFrom::Base;
        if base.is_none() {
            plan.mounts_from = MountsFrom::Host;
            plan.tree = Some(root.detached().map_err(failed)?);
        } else if plan.root == Root::ReadOnly && plan.own_pid_namespace && !plan.privileged {
            // Its own /proc is mounted on that of the base mount namespace: with capabilities the
            // program could unmount it and see that.
            if root.image_namespace(self.proc.as_fd()).is_some() {
                plan.mounts_from = MountsFrom::Image;
            }
        }
        Ok(root)
    }

    /// The base mount namespace, where a plan needs no files of the host: a WASI runtime's files
    /// are the host's, and an emulator is executed, or registered, by a path of the host's.
    fn base_for(&self, plan: &Plan) -> Option<&BaseMounts> {
        let without = |base: &&BaseMounts| {
            plan.root != Root::Host
                && plan.emulator.is_none()
                && (plan.rule.is_none() || base.has_proc())
        };
        self.base.as_ref().filter(without)
    }

    /// The mount namespace that the sandbox's is a copy of, where it is not the suite's.
    fn mounts<'a>(&self, plan: &Plan, root: Option<&'a ImageRoot>) -> Option<BorrowedFd<'a>> {
        match (plan.mounts_from, root) {
            (MountsFrom::Image, Some(root)) => root.image_namespace(self.proc.as_fd()),
            (MountsFrom::Base, Some(root)) => Some(root.namespace()),
            _ => None,
        }
    }

    fn namespaces(&self, spec: &Spec) -> NewNamespaces {
        let mut namespaces = COMMON;
        namespaces.set(NewNamespaces::USER, self.mapping != Mapping::Host);
        namespaces.set(NewNamespaces::PID, spec.own_pid_namespace);
        namespaces.set(NewNamespaces::NETWORK, spec.own_network);
        namespaces.set(NewNamespaces::TIME, spec.own_time);
        namespaces
    }

    /// Sets a sandbox up from outside, while its first process does what it can alone. That process
    /// waits for the first gate before most of its work, and for the second at its end.
    fn set_up(
        &self,
        pidfd: BorrowedFd<'_>,
        plan: &Plan,
        spec: &Spec,
        gate: &OwnedFd,
    ) -> Result<Outside, Failed> {
        let at = |step: &'static str| move |cause: io::Error| (step, cause);
        let proc = self.proc.as_fd();
        let pid = sys::pid_of(proc, pidfd).map_err(at("find its process id"))?;
        self.mapping
            .write(proc, pid, plan.ids)
            .map_err(at("map its ids"))?;
        write_gate(gate).map_err(at("open its gate"))?;
        let open = |name: &str, flags: OFlags| {
            let path = format!("{pid}/{name}");
            rustix::fs::openat(proc, path, flags | OFlags::CLOEXEC, Mode::empty())
        };
        let user_namespace = match self.mapping {
            Mapping::Host => None,
            _ => Some(
                open("ns/user", OFlags::RDONLY)
                    .map_err(io::Error::from)
                    .map_err(at("open its user namespace"))?,
            ),
        };
        let score = open("oom_score_adj", OFlags::WRONLY).ok();
        if spec.own_network {
            // The helper ends here, so its namespaces need not be restored.
            sys::setns(pidfd, libc::CLONE_NEWNET)
                .and_then(|()| sys::bring_loopback_up())
                .map_err(at(Step::Network.words()))?;
        }
        write_gate(gate).map_err(at("open its gate"))?;
        Ok(Outside {
            pid,
            user_namespace,
            score,
        })
    }
}

impl EmbeddedSandbox {
    /// Takes what was opened from outside; its oom_score_adj.
    fn adopt(&mut self, outside: Result<Outside, Failed>) -> Result<Option<OwnedFd>, StartError> {
        match outside {
            Ok(outside) => {
                self.inside.child.pid = outside.pid;
                self.inside.user_namespace = outside.user_namespace;
                Ok(outside.score)
            }
            Err((step, cause)) => {
                // Where the child failed as well, it failed first.
                self.failed_before_exec()?;
                Err(at(step)(cause))
            }
        }
    }
}

/// Whether the child uses the suite's memory until its exec: copying that is slow.
///
/// One that is moved under a limit before it must not: the OOM killer, which it may meet there,
/// kills every process that shares the memory.
fn shares_memory(plan: &Plan, spec: &Spec) -> bool {
    (!plan.held || plan.holder.is_some()) && !spec.own_time
}

/// Whether the limits of a sandbox are what a check is about.
fn is_judged(cgroup: Option<&Held>) -> bool {
    cgroup.is_some_and(|cgroup| cgroup.judged)
}

/// Such an image is on disk, and nothing bounds what a program writes there.
fn unable_to_copy() -> StartError {
    let most = COPY >> 20;
    StartError::Unable {
        why: format!(
            "this host mounts no overlay on the image's root, and of an image of more than {most} MiB \
             no sandbox has a copy in memory"
        ),
    }
}

/// Has the OOM killer choose a sandbox before the suite, and gives it a short scheduler slice.
fn rank(sandbox: &EmbeddedSandbox, score: Option<&OwnedFd>) {
    // In the limit of all sandboxes and on the host, the OOM killer is to kill sandboxes and
    // nothing else (proc_pid_oom_score_adj(5)).
    if let Some(score) = score {
        let _ = rustix::io::write(score, b"1000");
    }
    let _ = sys::ask_for_slice(sandbox.inside.child.pid, SLICE);
}
