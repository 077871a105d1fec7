//! The calls of the interface.

use std::time::Duration;

use crate::client::Method;
use crate::messages::{
    Container, ContainerConfig, ContainerFilter, ContainerId, ContainerStatusRequest,
    ContainerStatusResponse, CreateContainerRequest, Empty, Image, ImageSpec, ImageStatusRequest,
    ImageStatusResponse, ListContainersRequest, ListContainersResponse, ListImagesRequest,
    ListImagesResponse, ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox,
    PodSandboxConfig, PodSandboxFilter, PodSandboxId, PodSandboxStatusRequest,
    PodSandboxStatusResponse, RunPodSandboxRequest, RuntimeConfigRequest, RuntimeConfigResponse,
    StatusRequest, StatusResponse, StopContainerRequest,
};
use crate::{Client, Error};

/// A method of the service of sandboxes and containers.
macro_rules! runtime {
    ($name:literal) => {
        Method {
            path: concat!("/runtime.v1.RuntimeService/", $name),
            name: $name,
        }
    };
}

/// A method of the service of images.
macro_rules! image {
    ($name:literal) => {
        Method {
            path: concat!("/runtime.v1.ImageService/", $name),
            name: $name,
        }
    };
}

impl Client {
    /// How the runtime is; `verbose`: with its configuration.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn status(&self, verbose: bool) -> Result<StatusResponse, Error> {
        self.question(runtime!("Status"), StatusRequest { verbose })
    }

    /// How the runtime makes cgroups; none where it is too old to say (containerd before 2.0,
    /// CRI-O before 1.28).
    ///
    /// # Errors
    /// As [`Error`].
    pub fn runtime_config(&self) -> Result<Option<RuntimeConfigResponse>, Error> {
        match self.question(runtime!("RuntimeConfig"), RuntimeConfigRequest {}) {
            Err(error) if error.is_unimplemented() => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// The sandboxes that the filter lets through, or all.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn pod_sandboxes(
        &self,
        filter: Option<PodSandboxFilter>,
    ) -> Result<Vec<PodSandbox>, Error> {
        let question = ListPodSandboxRequest { filter };
        let answer: ListPodSandboxResponse = self.question(runtime!("ListPodSandbox"), question)?;
        Ok(answer.items)
    }

    /// How a sandbox is; `verbose`: with its process's id, its image and its specification.
    ///
    /// # Errors
    /// As [`Error`]; [`Error::is_not_found`] where there is none.
    pub fn pod_sandbox_status(
        &self,
        id: &str,
        verbose: bool,
    ) -> Result<PodSandboxStatusResponse, Error> {
        let question = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose,
        };
        self.question(runtime!("PodSandboxStatus"), question)
    }

    /// Has a sandbox made, by the handler of this name, or by the default where it is empty. Its id.
    ///
    /// # Errors
    /// As [`Error`]. A sandbox may be there all the same: find it by its labels.
    pub fn run_pod_sandbox(
        &self,
        config: PodSandboxConfig,
        runtime_handler: &str,
    ) -> Result<String, Error> {
        let question = RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: runtime_handler.to_owned(),
        };
        let answer: PodSandboxId = self.order(runtime!("RunPodSandbox"), question)?;
        Ok(answer.pod_sandbox_id)
    }

    /// Has a sandbox's processes ended and its network taken down. It may have been already.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let Empty {} = self.order(runtime!("StopPodSandbox"), pod(id))?;
        Ok(())
    }

    /// Has a sandbox removed, and its containers. It may be gone already.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let Empty {} = self.order(runtime!("RemovePodSandbox"), pod(id))?;
        Ok(())
    }

    /// The containers that the filter lets through, or all. Pause containers are none of them.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>, Error> {
        let question = ListContainersRequest { filter };
        let answer: ListContainersResponse = self.question(runtime!("ListContainers"), question)?;
        Ok(answer.containers)
    }

    /// How a container is; `verbose`: with its process's id.
    ///
    /// # Errors
    /// As [`Error`]; [`Error::is_not_found`] where there is none.
    pub fn container_status(
        &self,
        id: &str,
        verbose: bool,
    ) -> Result<ContainerStatusResponse, Error> {
        let question = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose,
        };
        self.question(runtime!("ContainerStatus"), question)
    }

    /// Has a container made in a sandbox, which was asked to be `of_sandbox`. Its id.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        of_sandbox: PodSandboxConfig,
    ) -> Result<String, Error> {
        let question = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(of_sandbox),
        };
        let answer: ContainerId = self.order(runtime!("CreateContainer"), question)?;
        Ok(answer.container_id)
    }

    /// Has a container started, which can be done once.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn start_container(&self, id: &str) -> Result<(), Error> {
        let Empty {} = self.order(runtime!("StartContainer"), container(id))?;
        Ok(())
    }

    /// Has a container stopped: by SIGKILL where it has not ended `grace` after its stop signal.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn stop_container(&self, id: &str, grace: Duration) -> Result<(), Error> {
        let question = StopContainerRequest {
            container_id: id.to_owned(),
            timeout: i64::try_from(grace.as_secs()).unwrap_or(i64::MAX),
        };
        let deadline = self.options().order.saturating_add(grace);
        let Empty {} = self.call(runtime!("StopContainer"), question, deadline)?;
        Ok(())
    }

    /// Has a container removed. It may be gone already.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn remove_container(&self, id: &str) -> Result<(), Error> {
        let Empty {} = self.order(runtime!("RemoveContainer"), container(id))?;
        Ok(())
    }

    /// The images that the runtime has.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn images(&self) -> Result<Vec<Image>, Error> {
        let question = ListImagesRequest { filter: None };
        let answer: ListImagesResponse = self.question(image!("ListImages"), question)?;
        Ok(answer.images)
    }

    /// The image of this name or id, if the runtime has it; `verbose`: with its configuration.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn image_status(&self, name: &str, verbose: bool) -> Result<ImageStatusResponse, Error> {
        let image = Some(ImageSpec {
            image: name.to_owned(),
            ..ImageSpec::default()
        });
        self.question(image!("ImageStatus"), ImageStatusRequest { image, verbose })
    }
}

fn pod(id: &str) -> PodSandboxId {
    PodSandboxId {
        pod_sandbox_id: id.to_owned(),
    }
}

fn container(id: &str) -> ContainerId {
    ContainerId {
        container_id: id.to_owned(),
    }
}
