//! Containers of a pod, made by its engine from the suite's own image: `--net`, `--ipc` and `--pid`
//! of the pause container, in docker's words.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pause_image::Subject;

use super::api::Api;
use super::config::{self, Place};
use super::container::{Container, Started};
use super::keeper::Keeper;
use crate::backend::{Launch, Member, PodContainer};
use crate::sys::Child;

/// What it takes to make containers of pods.
pub(super) struct Maker {
    pub(super) api: Arc<Api>,
    pub(super) keeper: Arc<Keeper>,
    /// The id of the suite's image.
    pub(super) image: String,
    /// That image.
    pub(super) subject: Subject,
    /// How many containers and images the run has made.
    pub(super) made: Arc<AtomicU64>,
    pub(super) limits_core: bool,
    /// The cgroup below which its own is to be, where not the engine's.
    pub(super) cgroup: Option<String>,
}

impl Maker {
    /// Has a container of this pause container's pod made and started.
    ///
    /// # Errors
    /// Where the engine refuses, or it ends at once.
    pub(super) fn add(&self, pause: &Container, member: &Member) -> io::Result<EngineMember> {
        let program = self.subject.program.as_ref();
        let program = program.map_err(|why| io::Error::other(why.to_string()))?;
        let place = Place {
            image: &self.image,
            run: self.keeper.run(),
            node: None,
            limits_core: self.limits_core,
            cgroup: self.cgroup.as_deref(),
        };
        let path = program.argv.first().map_or("", |path| path);
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (api, keeper) = (&self.api, &self.keeper);
        let container = if let Some(pod) = pause.pod() {
            Container::add(api, keeper, number, |name| {
                pod.add((name, keeper.run()), (&self.image, path), member)
            })
        } else {
            let document = config::member(&place, path, pause.id(), member);
            Container::create(api, keeper, number, &document)
        };
        let container = container.map_err(io::Error::other)?;
        let launch = Launch {
            rootfs: &self.subject.rootfs,
            program,
        };
        let started = container.start(&launch).map_err(io::Error::other)?;
        Ok(EngineMember {
            child: running(started)?,
            container,
        })
    }
}

fn running(started: Started) -> io::Result<Child> {
    match started {
        Started::Running(child) => Ok(child),
        Started::Gone(status) => Err(io::Error::other(format!(
            "a container of the pod ended at once: {status}"
        ))),
    }
}

/// A container that runs.
pub(super) struct EngineMember {
    child: Child,
    /// Dropping it removes it.
    container: Container,
}

impl PodContainer for EngineMember {
    fn host_pid(&self) -> i32 {
        self.child.pid
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    fn restart(&mut self) -> io::Result<()> {
        self.child = running(self.container.restart()?)?;
        Ok(())
    }
}
