//! Containers of a pod, made by its runtime from the suite's own image, as a kubelet has them made.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pause_cri::messages::{
    ContainerConfig, ContainerMetadata, ContainerState, ImageSpec, LinuxContainerConfig,
    LinuxContainerSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
};

use super::Place;
use super::pod::{Found, process};
use super::view::Stage;
use crate::backend::{Member, PodContainer, member};
use crate::sys::Child;

/// The name of the image of members, which no other host is asked for.
pub(super) const IMAGE: &str = "localhost/pause-conformance:member";
/// A container has nothing to do at its end.
const AT_ONCE: Duration = Duration::ZERO;

/// A container that runs. Dropping it removes it.
pub(super) struct CriMember {
    place: Arc<Place>,
    sandbox: String,
    of_sandbox: PodSandboxConfig,
    config: ContainerConfig,
    id: String,
    child: Child,
}

impl CriMember {
    /// Has one made in a sandbox, which was asked to be `of_sandbox`, and started.
    ///
    /// # Errors
    /// Where the runtime refuses, or it ends at once.
    pub(super) fn add(
        place: &Arc<Place>,
        (sandbox, of_sandbox): (&str, &PodSandboxConfig),
        number: u64,
        member: &Member,
    ) -> io::Result<Self> {
        let config = config(number, member);
        let (id, child) = start(place, sandbox, &config, of_sandbox)?;
        place.views.see(Stage::Joined, place.client(), sandbox);
        Ok(Self {
            place: Arc::clone(place),
            sandbox: sandbox.to_owned(),
            of_sandbox: of_sandbox.clone(),
            config,
            id,
            child,
        })
    }

    fn remove(&self) -> io::Result<()> {
        let client = self.place.client();
        let stopped = client.stop_container(&self.id, AT_ONCE);
        stopped
            .and_then(|()| client.remove_container(&self.id))
            .map_err(io::Error::other)
    }
}

fn config(number: u64, member: &Member) -> ContainerConfig {
    let pid = if member.shares_pid {
        NamespaceMode::Pod
    } else {
        NamespaceMode::Container
    };
    let namespaces = NamespaceOption {
        network: NamespaceMode::Pod.into(),
        pid: pid.into(),
        ipc: NamespaceMode::Pod.into(),
        ..NamespaceOption::default()
    };
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: format!("member-{number}"),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: IMAGE.to_owned(),
            ..ImageSpec::default()
        }),
        args: member::arguments(member),
        linux: Some(LinuxContainerConfig {
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(namespaces),
                no_new_privs: true,
                ..LinuxContainerSecurityContext::default()
            }),
            ..LinuxContainerConfig::default()
        }),
        ..ContainerConfig::default()
    }
}

/// Has a container made and started: its id, and its process.
fn start(
    place: &Place,
    sandbox: &str,
    config: &ContainerConfig,
    of_sandbox: &PodSandboxConfig,
) -> io::Result<(String, Child)> {
    let client = place.client();
    let made = client.create_container(sandbox, config.clone(), of_sandbox.clone());
    let id = made.map_err(io::Error::other)?;
    let running = || -> io::Result<Child> {
        client.start_container(&id).map_err(io::Error::other)?;
        let look = || {
            let answer = client.container_status(&id, true)?;
            let state = answer.status.map(|status| status.state());
            Ok(Found {
                runs: state == Some(ContainerState::Running),
                info: answer.info,
            })
        };
        let found = process(&id, Instant::now(), look).map_err(io::Error::other)?;
        found.ok_or_else(|| io::Error::other("a container of the pod ended at once"))
    };
    match running() {
        Ok(child) => Ok((id, child)),
        Err(error) => {
            // It goes with its sandbox, at the latest.
            let _ = client.remove_container(&id);
            Err(error)
        }
    }
}

impl PodContainer for CriMember {
    fn host_pid(&self) -> i32 {
        self.child.pid
    }

    fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// As a kubelet does: a container is started once, and the next attempt is another one.
    fn restart(&mut self) -> io::Result<()> {
        self.remove()?;
        if let Some(metadata) = &mut self.config.metadata {
            metadata.attempt += 1;
        }
        let started = start(&self.place, &self.sandbox, &self.config, &self.of_sandbox);
        (self.id, self.child) = started?;
        let (views, client) = (&self.place.views, self.place.client());
        views.see(Stage::Restarted, client, &self.sandbox);
        Ok(())
    }
}

impl Drop for CriMember {
    fn drop(&mut self) {
        // It goes with its sandbox, at the latest.
        let _ = self.remove();
    }
}
