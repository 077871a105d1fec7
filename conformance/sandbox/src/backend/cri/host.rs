//! The host's runtime, with the one image that it is configured for: its configuration is not the
//! suite's to change.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use pause_cri::{Client, Options};
use pause_image::Subject;
use serde_json::Value;

use super::keeper::Keeper;
use crate::backend::StartError;
use crate::backend::run::name_of_run;

/// A runtime that is there.
pub(super) struct Host {
    pub(super) client: Client,
    /// Removed after all sandboxes.
    pub(super) keeper: Keeper,
    /// The name of the run.
    pub(super) run: String,
    /// The image that holds its pods, by name: its configuration says it, or the first pod.
    image: OnceLock<String>,
}

/// Why one cannot be used, and what the user can do.
pub(super) type Unfit = (String, &'static str);

const OWN: &str = "have a containerd of the suite's own: --runtime cri";
const START: &str =
    "start the container runtime, or name its socket: --runtime cri=/path/to/socket";

impl Host {
    /// Asks the runtime at this socket what it is, and which image holds its pods.
    ///
    /// # Errors
    /// Where it does not answer, or a kubelet runs here.
    pub(super) fn at(socket: &Path) -> Result<Self, Unfit> {
        let client = Client::connect(socket, Options::default());
        let client = client.map_err(|error| (error.to_string(), error.hint().unwrap_or(START)))?;
        let named = |cause: &dyn std::fmt::Display| format!("{}: {cause}", socket.display());
        if has_kubelet() {
            let cause = "a kubelet runs here, and removes sandboxes that it has not asked for";
            return Err((named(&cause), OWN));
        }
        let status = client.status(true);
        let mut status = status.map_err(|error| (named(&error), START))?;
        let config = status.info.remove("config").unwrap_or_default();
        let image = sandbox_image(&config).map_or_else(OnceLock::new, OnceLock::from);
        let kept = || {
            let run = name_of_run()?;
            Ok::<_, std::io::Error>((Keeper::start(&client, &run)?, run))
        };
        let (keeper, run) = kept().map_err(|error| (named(&error), START))?;
        Ok(Self {
            client,
            keeper,
            run,
            image,
        })
    }

    /// Learns which image holds a pod, from what is said of the pod: containerd 2 says no more.
    pub(super) fn learn(&self, details: &Value) {
        if let Some(image) = image_in(details, "image") {
            let _ = self.image.set(image);
        }
    }

    /// Whether this is the image that holds its pods.
    ///
    /// # Errors
    /// Where it is another, or is not said.
    pub(super) fn is_held_by(&self, subject: &Subject) -> Result<(), StartError> {
        let unable = |why: String| StartError::Unable { why };
        let (id, _) = subject
            .docker_archive("localhost/pause-conformance:subject")
            .map_err(|error| unable(format!("its configuration is not known: {error}")))?;
        let image = self.image.get().ok_or_else(|| {
            let why = "the runtime does not say which image holds its pods: have a containerd of the \
                       suite's own (--runtime cri)";
            unable(why.to_owned())
        })?;
        let status = self.client.image_status(image, false);
        let held = status.map_err(|error| unable(error.to_string()))?.image;
        let image = pause_image::escape_text(image).to_string();
        let held = held.map(|image| image.id).unwrap_or_default();
        // CRI-O's have no algorithm.
        let digits = |id: &str| id.trim_start_matches("sha256:").to_owned();
        if digits(&held) == digits(&id) {
            return Ok(());
        }
        let held = pause_image::escape_text(&held).to_string();
        Err(unable(format!(
            "the runtime's pods are held by {image}, {held}, not by this image, {id}: judge that \
             one, or have a containerd of the suite's own (--runtime cri)"
        )))
    }
}

/// containerd's configuration, and CRI-O's, say it so.
fn sandbox_image(config: &str) -> Option<String> {
    image_in(&serde_json::from_str(config).ok()?, "sandboxImage")
}

/// The image that a document names.
fn image_in(document: &Value, key: &str) -> Option<String> {
    let image = document[key].as_str()?;
    (!image.is_empty()).then(|| image.to_owned())
}

/// A kubelet, and the programs of k3s and MicroK8s that are one among other things.
const KUBELETS: [&str; 4] = ["kubelet", "k3s-server", "k3s-agent", "kubelite"];

fn has_kubelet() -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut names = processes.filter_map(|it| fs::read_to_string(it.path().join("comm")).ok());
    names.any(|name| KUBELETS.contains(&name.trim_end()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{image_in, sandbox_image};

    /// As containerd 2 tells of a pod, and cri-dockerd, which names none.
    #[test]
    fn the_image_of_a_pod_is_found() {
        let pod = json!({"pid": 12, "image": "localhost/pause:1"});
        assert_eq!(
            image_in(&pod, "image").as_deref(),
            Some("localhost/pause:1")
        );
        for nothing in [json!({"image": ""}), json!({}), json!(null)] {
            assert_eq!(image_in(&nothing, "image"), None);
        }
    }

    #[test]
    fn the_configured_image_is_found() {
        let config = r#"{"sandboxImage": "registry.k8s.io/pause:3.8"}"#;
        assert_eq!(
            sandbox_image(config).as_deref(),
            Some("registry.k8s.io/pause:3.8")
        );
        for nothing in [
            "",
            "{}",
            r#"{"sandboxImage": ""}"#,
            r#"{"sandboxImage": 3}"#,
        ] {
            assert_eq!(sandbox_image(nothing), None);
        }
    }
}
