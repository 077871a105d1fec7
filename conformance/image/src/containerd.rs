//! Images that containerd holds, those of a kubelet's pods for one: `ctr images export`, which
//! comes with containerd. Its own interface for that is gRPC, and CRI has no export at all.

use std::env;

use super::LoadOptions;
use super::archive::Archive;
use super::error::Error;
use super::exported::Export;

/// Where the images of CRI are.
const NAMESPACE: &str = "k8s.io";

/// The image as containerd exports it: an OCI layout with what is there of it.
pub(crate) fn export(text: &str, image: &str, options: &LoadOptions) -> Result<Archive, Error> {
    let of = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let mut args = Vec::new();
    // What ctr is told by variables of its own is left to it.
    if of("CONTAINERD_ADDRESS").is_none()
        && let Some(endpoint) = of("CONTAINER_RUNTIME_ENDPOINT")
    {
        if endpoint.contains("crio") {
            return Err(Error::new(
                text,
                format_args!("the runtime at {endpoint} is no containerd"),
            )
            .with_hint("CRI-O's images are read by containers-storage:REF"));
        }
        let address = endpoint.strip_prefix("unix://").unwrap_or(&endpoint);
        args.extend(["--address".to_owned(), address.to_owned()]);
    }
    let namespace = of("CONTAINERD_NAMESPACE").unwrap_or_else(|| NAMESPACE.to_owned());
    args.extend(["--namespace".to_owned(), namespace.clone()]);
    args.extend(["images", "export", "-", image].map(str::to_owned));
    Export {
        what: text,
        program: "ctr",
        args,
        install: "install ctr, which comes with containerd; or export it where it is: \
                  ctr --namespace k8s.io images export FILE IMAGE, then oci-archive:FILE",
        hint: format!("ctr --namespace {namespace} images ls lists what it has; it takes root"),
    }
    .archive(options)
}
