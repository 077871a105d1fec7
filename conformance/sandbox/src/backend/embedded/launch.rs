//! From a plan to a sandbox that runs: where it stands, the clone, and what is done to it
//! from outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use rustix::fs::{Mode, OFlags};

use super::cgroup::Held;
use super::child::{Pipes, Step, ToExec};
use super::ids::Mapping;
use super::keeper::Keeper;
use super::limits::ProgramLimits;
use super::plan::{Ground, Plan};
use super::root::{COPY, ImageRoot, Maker, Wanted};
use super::sandbox::EmbeddedSandbox;
use super::stage::Stage;
use super::{Embedded, pipe, write_gate};
use crate::backend::{Root, Sandbox, Spec, StartError};
use crate::sys::{self, NewNamespaces};
use crate::wait;

/// Namespaces that every sandbox has; pid, network and time are the [`Spec`]'s.
const COMMON: NewNamespaces = NewNamespaces::MOUNT
    .union(NewNamespaces::UTS)
    .union(NewNamespaces::IPC)
    .union(NewNamespaces::CGROUP);

/// How long the program's turns on a processor are: among children of its own that never rest
/// it would wait for many turns of theirs, and with it whoever judges it.
const SLICE: Duration = Duration::from_micros(500);

/// What was found and opened from outside, while the child had yet to execute anything.
struct Outside {
    /// As the suite's /proc numbers it.
    pid: i32,
    user_namespace: Option<OwnedFd>,
    /// Its oom_score_adj, where it can be written.
    score: Option<OwnedFd>,
}

impl Embedded {
    /// Makes a sandbox as planned, on this root, in which `path` is what is executed.
    pub(super) fn run(
        &self,
        mut plan: Plan,
        root: Option<&Arc<ImageRoot>>,
        spec: &Spec,
        path: String,
    ) -> Result<Box<dyn Sandbox>, StartError> {
        let host = |step: &'static str| move |cause: io::Error| StartError::Host { step, cause };
        let (stdio, streams) = self.streams(spec).map_err(host("open its streams"))?;
        let (gate_read, gate) = pipe().map_err(host("open the gate"))?;
        let (status, status_write) = pipe().map_err(host("open the status pipe"))?;
        let cgroup = self
            .limit(&mut plan, spec)
            .map_err(host("make its cgroup"))?;
        let mounts = self.ground(&plan, root.map(Arc::as_ref));
        let pipes = Pipes {
            gate: gate_read.as_fd(),
            suite: self.suite.as_fd(),
            status: status_write.as_fd(),
            streams: [
                streams[0].as_ref(),
                streams[1].as_ref(),
                streams[2].as_ref(),
            ],
        };
        // Before there is a child.
        let keepers_pid_namespace = self.keeper.pid_namespace().try_clone_to_owned();
        let keepers_pid_namespace =
            keepers_pid_namespace.map_err(host("keep its pid namespace"))?;
        let probe = self.probe.try_clone().map_err(host("keep the probe"))?;
        let node = (!spec.own_pid_namespace)
            .then(|| Keeper::start_node(&self.probe))
            .transpose()
            .map_err(host("make the pid namespace of a node"))?;
        let first = || self.go_where_it_begins(cgroup.as_ref(), node.as_ref(), mounts);
        let child = ToExec {
            plan: &plan,
            pipes: &pipes,
        };
        let at_once = |pidfd: BorrowedFd<'_>| {
            self.set_up(pidfd, &plan, spec, &gate)
                .inspect_err(|_| drop(sys::send_signal(pidfd, libc::SIGKILL)))
        };
        // A copy of the suite is dear. But one that is held, and moved under a limit, must not
        // have the suite's memory: who reaches the limit is killed with all that share it.
        let in_place = !plan.held && !spec.own_time;
        let namespaces = self.namespaces(spec);
        let (mut child, outside) = if in_place {
            sys::spawn_sibling_in_place(namespaces, first, child, at_once)
        } else {
            sys::spawn_sibling(namespaces, first, child, at_once)
        }
        .map_err(host("clone"))?;
        drop((gate_read, status_write, streams));
        let (outside, failed) = match outside {
            Ok(outside) => (Some(outside), None),
            Err(failed) => (None, Some(failed)),
        };
        let (user_namespace, score) = outside.map_or((None, None), |outside| {
            child.pid = outside.pid;
            (outside.user_namespace, outside.score)
        });
        let mut sandbox = EmbeddedSandbox {
            child,
            status: None,
            memory_peak: 0,
            stdio,
            ids: plan.ids,
            user_namespace,
            node,
            own_network: spec.own_network,
            own_time: spec.own_time,
            is_first: spec.own_pid_namespace,
            keepers_pid_namespace,
            probe,
            gate: plan.held.then_some(gate),
            progress: status,
            path,
            root: root.cloned(),
            is_spared: spec.spared,
            cgroup,
        };
        if let Some((step, cause)) = failed {
            // Of two failures the sandbox's own was first.
            sandbox.failed_before_exec()?;
            return Err(host(step)(cause));
        }
        if in_place {
            self.await_own_memory(&sandbox);
            rank(&sandbox, score.as_ref());
            sandbox.failed_before_exec()?;
        } else {
            rank(&sandbox, score.as_ref());
            sandbox.await_progress(plan.held)?;
        }
        sandbox.enter_cgroup()?;
        if plan.held && !spec.held {
            sandbox.release()?;
        }
        Ok(Box::new(sandbox))
    }

    /// Of the helper that makes the clone: to the cgroup and the namespaces in which the sandbox
    /// is to begin.
    fn go_where_it_begins(
        &self,
        cgroup: Option<&Held>,
        node: Option<&Keeper>,
        mounts: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        match cgroup.and_then(Held::group) {
            Some(group) if !cgroup.is_some_and(|cgroup| cgroup.judged) => group.join()?,
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
        // the suite, as an image's unpacked files are to the engine.
        // And who may not exit, for a filter denies it, does not leave the suite's memory.
        let judged = cgroup.as_ref().is_some_and(|cgroup| cgroup.judged);
        plan.held = spec.held || judged || plan.seccomp.is_some();
        // With no user namespace, it is the host's that would be at stake.
        plan.bounding_set &= self.mapping != Mapping::Host;
        Ok(cgroup)
    }

    /// What is written for one process goes for all that share its memory, and the kernel says
    /// that it leaves the suite's a moment before it has left: then its arguments are others.
    fn await_own_memory(&self, sandbox: &EmbeddedSandbox) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("{}/cmdline", sandbox.child.pid);
        let has_suites = || {
            let mut arguments = vec![0; self.arguments.len()];
            let read = rustix::fs::openat(&self.proc, &path, flags, Mode::empty())
                .and_then(|file| rustix::io::read(&file, &mut arguments[..]));
            // Without memory it has no arguments, and once reaped it has no file.
            read.is_ok_and(|length| arguments.get(..length) == Some(&self.arguments))
        };
        // Whoever has executed has closed its end, also where it was given the suite's arguments.
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
        let stage = self.stage_for(plan);
        let by = Maker {
            // Whoever is not cloned from it has the root detached from it.
            stage: self.stage.as_ref(),
            keeper: &self.keeper,
            proc: self.proc.as_fd(),
        };
        plan.dev.clone_from(&wanted.dev);
        // A mount that is attached, and not inherited, is not locked: with capabilities the
        // program could make it writable.
        let alone = plan.privileged && stage.is_none();
        let needs_own = plan.root == Root::Writable || alone;
        // Asked last: of a big image it takes longer than all else here.
        let copies = || stage.is_none() || self.refuses_overlay() || wanted.is_small();
        let root = if needs_own && copies() {
            let own = self.roots.own(&wanted, by).map_err(failed)?;
            own.ok_or_else(unable_to_copy)?
        } else {
            plan.overlay = needs_own;
            self.roots.shared(wanted, by).map_err(failed)?
        };
        plan.ground = Ground::Stage;
        if stage.is_none() {
            plan.ground = Ground::Host;
            plan.tree = Some(root.detached().map_err(failed)?);
        } else if plan.root == Root::ReadOnly && plan.own_pid_namespace && !plan.privileged {
            // Below its own /proc lies the stage's, from which capabilities could take it off.
            if root.scene(self.proc.as_fd()).is_some() {
                plan.ground = Ground::Scene;
            }
        }
        Ok(root)
    }

    /// The stage, where a plan does without the host's files: an engine's are the host's, an
    /// emulator is executed by its path, or told to the kernel by a path below /proc.
    fn stage_for(&self, plan: &Plan) -> Option<&Stage> {
        let without = |stage: &&Stage| {
            plan.root != Root::Host
                && plan.emulator.is_none()
                && (plan.rule.is_none() || stage.has_proc())
        };
        self.stage.as_ref().filter(without)
    }

    /// The mounts that a plan's child begins with, where they are not the suite's.
    fn ground<'a>(&self, plan: &Plan, root: Option<&'a ImageRoot>) -> Option<BorrowedFd<'a>> {
        match (plan.ground, root) {
            (Ground::Scene, Some(root)) => root.scene(self.proc.as_fd()),
            (Ground::Stage, Some(root)) => Some(root.namespace()),
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

    /// What is done to a sandbox from outside, while its process does what needs nobody else.
    /// That needs the first gate for most of it, and the second to end.
    fn set_up(
        &self,
        pidfd: BorrowedFd<'_>,
        plan: &Plan,
        spec: &Spec,
        gate: &OwnedFd,
    ) -> Result<Outside, (&'static str, io::Error)> {
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
            // Of the helper, which does not come back.
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

/// What no disk can be given for: there nothing bounds what a program writes.
fn unable_to_copy() -> StartError {
    let most = COPY >> 20;
    StartError::Unable {
        why: format!(
            "this host mounts no overlay on the image's root, and of an image of more than {most} MiB \
             no sandbox has a copy in memory"
        ),
    }
}

/// Puts a sandbox behind the suite for memory, and before its own children for a processor.
fn rank(sandbox: &EmbeddedSandbox, score: Option<&OwnedFd>) {
    // Where memory runs short, in the limit of all sandboxes or on the host, the kernel is
    // to end sandboxes and nothing else (proc_pid_oom_score_adj(5)).
    if let Some(score) = score {
        let _ = rustix::io::write(score, b"1000");
    }
    let _ = sys::ask_for_slice(sandbox.child.pid, SLICE);
}
