//! Containers of a pod, as a CRI runtime has them made: by the paths of the pause's namespaces.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pause_image::Subject;

use super::Kind;
use super::config::{self, Place};
use super::container::{Container, await_exec, executable};
use crate::backend::embedded::{Embedded, LentRoot, cgroup, limits};
use crate::backend::lease::Lease;
use crate::backend::member::image;
use crate::backend::stage::Stage;
use crate::backend::{Launch, Member, PodContainer, Spec, StartError, at, member};
use crate::sys::{self, Child};

/// What it takes to make containers.
pub(super) struct Maker {
    /// The container runtime, and its program.
    pub(super) kind: &'static Kind,
    pub(super) program: PathBuf,
    pub(super) stage: Arc<Stage>,
    pub(super) lease: Arc<Lease>,
    pub(super) null: OwnedFd,
    /// How many were made.
    pub(super) made: AtomicU64,
    pub(super) member: Image,
}

/// The image of containers of a pod, the probe alone, whose root is attached in the stage.
pub(super) struct Image {
    subject: Subject,
    root: &'static str,
    #[expect(dead_code, reason = "held, not used")]
    lent: LentRoot,
}

/// Attaches the root of containers of a pod.
///
/// # Errors
/// As the start of a sandbox.
pub(super) fn attach(embedded: &Embedded, stage: &Stage) -> Result<Image, StartError> {
    const ROOT: &str = "member";
    let subject = image();
    let launch = Launch::of(&subject)?;
    let lent = embedded.lend_root(&launch, (0, 0), false, false)?;
    stage
        .make_folder(ROOT)
        .and_then(|()| stage.attach(&lent.detached()?, ROOT))
        .map_err(at("attach the root of containers"))?;
    Ok(Image {
        subject,
        root: ROOT,
        lent,
    })
}

impl Maker {
    /// A container with this number, whose bundle is empty.
    pub(super) fn container(&self, number: u64) -> Result<Container, StartError> {
        let folder = format!("bundle-{number}");
        let made = self.stage.make_folder(&folder);
        made.map_err(at("make its bundle"))?;
        Ok(Container {
            stage: Arc::clone(&self.stage),
            lease: Arc::clone(&self.lease),
            program: self.program.clone(),
            name: self.kind.name,
            id: self.lease.id(number),
            folder,
            own_root: None,
            null: self.null.try_clone().map_err(at("open its streams"))?,
        })
    }

    /// Has a container made of the pod of this pause process, and started.
    ///
    /// # Errors
    /// Where the container runtime refuses.
    pub(super) fn add(
        self: &Arc<Self>,
        pause: i32,
        member: Member,
    ) -> Result<OciMember, StartError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let container = self.container(number)?;
        let launch = Launch::of(&self.member.subject)?;
        let place = Place {
            root: self.stage.path(self.member.root),
            cgroup: self.lease.cgroup(number),
            node: member.shares_pid.then(|| format!("/proc/{pause}/ns/pid")),
            pause: Some(pause),
            limits: (cgroup::MEMORY, limits::processes()),
            launch: &launch,
            user: (0, 0),
            needs_path: self.kind.needs_path,
        };
        let spec = Spec {
            arguments: Some(member::arguments(&member)),
            ..Spec::default()
        };
        config::text(&place, &spec)
            .and_then(|text| self.stage.write(&container.file("config.json"), &text))
            .map_err(at("write its configuration"))?;
        let child = container.create(&launch, &[None, None, None])?;
        let before = executable(child.pid);
        let made = OciMember {
            maker: Arc::clone(self),
            pause,
            member,
            child,
            container: Some(container),
        };
        if let Some(container) = &made.container {
            let started = container.order(&["start", &container.id], container.silent());
            started.map_err(at("start its container"))?;
        }
        await_exec(&made.child, before)?;
        Ok(made)
    }
}

/// Kills and reaps it: it is a child of the suite's, which is a subreaper.
fn end(child: &Child) {
    let _ = sys::send_signal(child.pidfd.as_fd(), nix::libc::SIGKILL);
    let _ = sys::wait(child.pidfd.as_fd());
}

/// A container that runs.
pub(super) struct OciMember {
    maker: Arc<Maker>,
    pause: i32,
    member: Member,
    child: Child,
    /// Dropping it removes it.
    container: Option<Container>,
}

impl PodContainer for OciMember {
    fn host_pid(&self) -> i32 {
        self.child.pid
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// As a kubelet has it done: the old container is removed, and one like it is made.
    fn restart(&mut self) -> io::Result<()> {
        end(&self.child);
        self.container = None;
        let made = self.maker.add(self.pause, self.member);
        *self = made.map_err(io::Error::other)?;
        Ok(())
    }
}

impl Drop for OciMember {
    fn drop(&mut self) {
        end(&self.child);
    }
}
